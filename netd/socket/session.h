/*
 * The session record: a control connection, and, once it has attached, a client session.
 *
 *   CONTROL   connection accepted; may ask, may attach. Deposit: DEPOSIT_CONTROL.
 *   ATTACHED  has client memory and sockets. Deposit: DEPOSIT_SESSION, one DEPOSIT_WAIT_SET a further
 *             wait set, and DEPOSIT_ANSWER as long as the client may not have its ends of new bells.
 *   DYING     the client is gone or was thrown out: its requests are drained, its sockets are being
 *             closed, some a cycle.
 *   DEAD      all closed; the memory (and its deposit) stays while rings in it are needed.
 *
 *   SHARE     no client: the memory of sockets that several sessions hold (proto/share.h). DEAD when the last is closed.
 *
 * CONTROL -> ATTACHED -> DYING -> DEAD -> freed; CONTROL -> freed; SHARE -> DEAD -> freed.
 */
#pragma once
#include <stdint.h>

enum session_state {
	SESSION_CONTROL = 1,
	SESSION_ATTACHED,
	SESSION_DYING,
	SESSION_DEAD,
	SESSION_SHARE,
};

enum session_made {
	MADE_NOTHING,
	MADE_CLONE, /* a session */
	MADE_TOKEN,
};

#define SESSION_NAME_MAX 32
#define SHARE_SECRET	 16

struct session_rec {
	uint8_t state;    /* enum session_state */
	uint8_t answered; /* ctl_id and ctl_error hold a request */
	uint8_t thrown;   /* it lied: the client lives and is to learn of its end */
	uint8_t made_what; /* enum session_made: what its newest control request made ... */
	uint32_t version; /* CM_VERSION of its client library */
	uint32_t uid, gid; /* the peer's, as it was identified last */
	uint32_t kept;	   /* CM_RIGHT_*, beside what the uid may */
	int32_t pid;
	uint32_t slots;
	uint64_t memory_size;
	uint64_t sq_cons, cq_prod; /* facts; the words in client memory are published copies */
	uint64_t sets;             /* wait sets that exist, a bit each */
	uint64_t ctl_id;           /* newest control request that changed something ... */
	int32_t ctl_error;         /* ... and what came of it: a repeated one is answered, not done again */
	uint32_t slot_high;        /* no slot at or above it was ever used */
	uint32_t made, made_gen; /* ... and where, for an answer that has to be given again */
	uint64_t since_ns;
	char name[SESSION_NAME_MAX];
	uint8_t secret[SHARE_SECRET]; /* SHARE: told to its holders, by which those they tell it may watch its sockets */
};
