/* Control messages. Inside the core. */
#pragma once
#include "clientlib/session.h"

enum want_cmsg {
	WANT_PKTINFO = 1 << 0,
	WANT_TTL = 1 << 1,
	WANT_TOS = 1 << 2,
	WANT_PKTINFO6 = 1 << 3,
	WANT_HOPLIMIT = 1 << 4,
	WANT_TCLASS = 1 << 5,
	WANT_ORIGDST = 1 << 6,
	WANT_ORIGDST6 = 1 << 7,
	WANT_TIME = 1 << 8,
	WANT_TIME_NS = 1 << 9,
	WANT_GRO = 1 << 10,
	WANT_TIME_NEW = 1 << 11,
	WANT_TIME_NS_NEW = 1 << 12,
	WANT_INQ = 1 << 13,
	WANT_ERRPRI = 1 << 14, /* SO_SELECT_ERR_QUEUE: no message, but a bit of poll() */
	WANT_AUXDATA = 1 << 15,
	WANT_RECVOPTS = 1 << 16,
	WANT_RETOPTS = 1 << 17,
	WANT_DROPS = 1 << 18,
	WANT_ANY_TIME = WANT_TIME | WANT_TIME_NS | WANT_TIME_NEW | WANT_TIME_NS_NEW,
};

/* cmsg.c */
/*
 * An option that only says which control messages come along: 0, or 1 if the daemon has to be told
 * as well; -ENOPROTOOPT if it is not one.
 */
int cmsg_option(struct nsock *s, int level, int name, bool set, int *val);
/* setsockopt() of such an option: 0 or its error; 1 if the daemon is to be asked as well, or alone.
 */
int cmsg_check(struct nsock *s, int level, int name, const void *val, socklen_t len);
void cmsg_append(struct msghdr *m, size_t *used, int level, int type, const void *data, size_t len);
/* When something was received, or `sent`. */
void cmsg_time(const struct nsock *s, struct msghdr *m, size_t *used, uint64_t mono, bool sent);
/* SIOCGSTAMP and SIOCGSTAMPNS (`ns`): when what was read last came. 0, -ENOENT. */
int cmsg_stamp(const struct nsock *s, bool ns, void *arg);
bool cmsg_wants_time(const struct nsock *s);
/* What the IP header said; `data` is the payload, options behind it, NULL: there are none to be told. */
void cmsg_ip(const struct nsock *s, struct msghdr *m, size_t *used, const struct cm_dgram *d, const uint8_t *data);
/* All of a datagram's. */
void cmsg_put(const struct nsock *s, struct msghdr *m, const struct cm_dgram *d, const uint8_t *data);

/* cmsg_send.c: what the sender of a datagram asks for; `o` is filled in with CM_DGRAM_OPTIONS. 0 or -EINVAL. */
int cmsg_get(const struct nsock *s, const struct msghdr *m, struct cm_dgram *d, struct cm_options *o);
/* The same for a stream, where none means anything: 0 or -EINVAL. */
int cmsg_stream(const struct nsock *s, const struct msghdr *m);

#define TS_OPT_ID 81 /* SCM_TS_OPT_ID, which this system's headers may not have yet */

/* stamping.c: SO_TIMESTAMPING. 0 or the option's error. */
int stamping_set(struct nsock *s, const void *val, socklen_t len);
/* What a datagram is to be sent with, by the option; by a control message; and its number, at last (tx_lock held). */
uint16_t stamping_wish(const struct nsock *s);
int stamping_message(const struct nsock *s, const struct cmsghdr *c, struct cm_dgram *d);
void stamping_number(struct nsock *s, struct cm_dgram *d);

/* cmsg_options.c: IP_RECVOPTS and IP_RETOPTS. */
void cmsg_options(const struct nsock *s, struct msghdr *m, size_t *used, const struct cm_dgram *d, const uint8_t *data);

/* group.c: options of multicast memberships. */
bool group_option(int level, int name);
/* What is to be set, or asked, in the form of the requests. 0 or the option's error. */
int group_read(const struct nsock *s, int name, const void *val, socklen_t len, struct cm_group *g);
int group_question(int name, const void *val, socklen_t len, struct cm_group *g);
/* The daemon's answer in the asker's structure, of which at least its head has been read. */
void group_answer(int name, const struct cm_group *g, void *val, socklen_t *len);

/* errqueue.c: MSG_ERRQUEUE. */
ssize_t errqueue_recv(struct nsock *s, struct msghdr *m);

/* known.c: destinations that the daemon has found a way to, for this socket as it is set up now. */
bool known_has(const struct nsock *s, const struct cm_dgram *d);
void known_add(const struct nsock *s, const struct cm_dgram *d);
/* One that we heard from. */
void known_peer(const struct nsock *s, const struct endpoint *from);
/* Something was changed: everything is to be asked anew. */
void known_forget(struct nsock *s);
