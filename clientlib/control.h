/* Requests on the control connection (control.c). */
#pragma once
#include "clientlib/session.h"
#include "proto/control.pb-c.h"

struct reply {
	uint8_t *data;
	size_t len;
	int fds[8];
	int nfds;
	bool lost; /* the descriptors: this process had no room for all, and has none of them */
};

/* Connects to the control socket: a descriptor, or what connect() said. */
int control_connect(void);
/*
 * One request and its answer. 0 with *out and *r, to be freed; the daemon's error; -EPIPE when the
 * connection ended. Descriptors that found no room are for those to miss who want them: what the daemon did is done.
 */
int control_call(
    int fd, const Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out);
void reply_free(struct reply *r);
/* Are there `n` descriptors in the answer? 0, -EMFILE if they found no room, -EPROTO if they were not sent. */
int reply_holds(const struct reply *r, int n);
/* A descriptor of the answer, moved to its place: ours now. Or what reply_holds() says. */
int reply_take(struct reply *r, int i);
/*
 * control_call() of a session: gives the request its id. A connection that ended breaks the session
 * (-ENETDOWN). session_ask_locked(): with ctl_lock held.
 */
int session_ask(
    struct session *ss, Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out);
int session_ask_locked(
    struct session *ss, Netd__Control__Request *q, struct reply *r, Netd__Control__Response **out);
/* One of the questions that ask for a whole table, by this process's session. */
int control_list(
    Netd__Control__Request__BodyCase what, struct reply *r, Netd__Control__Response **out);
/* The IPv4 address in a field of an answer, 0 for none in particular; false if it is no such address. */
bool control_v4(const ProtobufCBinaryData *from, uint32_t *to);
/* attach.c: a session from an answer. */
struct session *session_build(
    const Netd__Control__Attached *a, struct reply *r, int first, int ctl, int *err);
