/* Sockets that several processes hold (share.c); the contract is proto/share.h. */
#pragma once
#include "clientlib/session.h"
#include "proto/control.pb-c.h"
#include "proto/share.h"

struct share { /* a mapping of one; every socket in it keeps it */
	struct home home;
	uint64_t slot_off, desc_off;
	uint32_t slots;
	uint32_t refs; /* atomic */
	uint8_t secret[sizeof(((struct ns_key *)0)->secret)];
};

/*
 * Moves sockets of one session, of which the caller has references, into a share. Those that cannot
 * be (shared already, not made, lent to the caller) stay as they are. 0 or what the daemon said.
 * share_lock held.
 */
int share_sockets(struct session *ss, struct nsock **v, unsigned n);
/* It, unless it is shared already. */
int share_one(struct nsock *s);
/*
 * A new socket object becomes a holder by the control request Join, of which the slot is filled in here. With one
 * reference. 0 or what the daemon said.
 */
int share_join(struct session *ss, Netd__Control__Join *m, bool watch, struct nsock **out);
/* The socket leaves its share, if it is in one: nobody may use it any more. */
void share_leave(struct nsock *s);

extern pthread_mutex_t
    share_lock; /* one sharing at a time: only who holds it takes more than one lock of a side */
