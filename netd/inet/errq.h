/*
 * Error queues (IP_RECVERR): what ICMP, or this host itself, had to say about packets that a socket
 * sent.
 *
 * An entry is a record of its own, made only where a socket has asked for them, and gone when the
 * client has taken it: so it is told exactly once across a restart. A queue (oldest first) is
 * derived from the entries' numbers. No socket can hold more than ERRQ_PER_SOCKET entries; what
 * comes then, or finds no record left, is dropped: the pending error (SO_ERROR) tells of it all the
 * same, as in the kernel.
 *
 * Sends with MSG_ZEROCOPY (SO_ZEROCOPY) are numbered, and done with at once, for the client's library has copied them.
 * All that are not told yet are one entry without a record, behind all others: a run of numbers in the socket's sockx_rec.
 */
#pragma once
#include "inet/sock.h"

#define ERRQ_DATA                                                                                  \
	520u /* of the packet behind its transport header; as much as ICMP errors of RFC 1812      \
		quote */
#define ERRQ_PER_SOCKET 64u

struct errq_rec {
	uint32_t sk, sk_gen;
	uint64_t order;	      /* from the same counter as accept queues */
	struct endpoint name; /* where the packet went */
	struct cm_error e;
	uint8_t data[ERRQ_DATA];
};

struct ip_error;

/* Appends an entry: `e` but for number and len, and the packet's payload. */
void errq_push(struct stack *s, uint32_t sk, const struct cm_error *e, const struct endpoint *name,
    const void *data, uint32_t len);
/* The same from an ICMP error; the payload is what it quotes behind the first `skip` transport
 * bytes. */
void errq_icmp(struct stack *s, uint32_t sk, const struct ip_error *e, const struct endpoint *name,
    uint32_t skip);
/* One that this host found itself: SO_EE_ORIGIN_LOCAL. */
void errq_local(struct stack *s, uint32_t sk, int err, uint32_t info, const struct endpoint *name);
uint32_t errq_count(const struct stack *s, uint32_t sk);
/* The oldest entry, NULL. */
const struct errq_rec *errq_first(const struct stack *s, uint32_t sk);
/* It is taken: the pending error, if it was this one's, is the next one's, or none. -EAGAIN if the
 * oldest has another number. */
int errq_take(struct stack *s, uint32_t sk, uint32_t number);
/* A send with MSG_ZEROCOPY; nothing without SO_ZEROCOPY. */
void errq_copied(struct stack *s, uint32_t sk);
/* The entry for those that are not told yet; false if there are none. */
bool errq_copies(const struct stack *s, uint32_t sk, struct cm_error *e);
/* It is taken. -EAGAIN if it is gone. */
int errq_take_copies(struct stack *s, uint32_t sk, uint32_t number);
/* All of them, with the socket. */
void errq_drop(struct stack *s, uint32_t sk);
int errq_reindex(struct stack *s);
