/*
 * A make-believe netd-inet in a thread of the test: it speaks the client memory's contract over a
 * real control socket, and every connection is an echo. The tests may reach into the memory behind
 * the client's back (under rig_lock) to move rings, to lie, to stop answering.
 */
#pragma once
#include "proto/channel.h"
#include "proto/client.h"
#include <pthread.h>

#define RIG_SLOTS 256u
#define RIG_SIZE  (64ull << 20)

enum { RIG_PORT_REFUSED = 1, RIG_PORT_SILENT = 2 }; /* where connect() fails, or never ends */

struct rig_sock {
	bool used, dgram, listening;
	uint64_t rx_tail, tx_head;
	struct ring_place rx, tx;
	uint32_t state, err_seq, children;
	int option;
	uint64_t sent_most; /* the peer's window: so much of the stream is sent */
};

struct rig {
	pthread_t thread;
	pthread_mutex_t lock;
	volatile bool stop, pause;
	char path[64];
	int listener, ctl, bell, set_bell[CM_SETS];
	uint8_t *mem;
	struct cm_header *h;
	struct cm_header lay;
	uint64_t sq_cons, cq_prod, ev_prod, heap;
	uint32_t rung[CM_SETS];
	unsigned pokes, requests;
	struct rig_sock sock[RIG_SLOTS];
};

extern struct rig rig;

/* Starts it and sets NETD_SOCKET. */
void rig_start(void);
void rig_stop(void);
struct cm_slot *rig_slot(uint32_t slot);
/* All below with the lock held. */
void rig_lock(void);
void rig_unlock(void);
/* Ends the session: all that was of it is gone, and the next one may come. */
void rig_hang_up(void);
/* Stores what the socket is into its slot, and tells of it. */
void rig_tell(uint32_t slot);
/* A new place of `cap` bytes for a ring, its bytes moved. */
void rig_move(uint32_t slot, bool rx, uint32_t cap);
/* Bytes, or a datagram, for the client. */
void rig_push(uint32_t slot, const void *data, uint32_t len);
void rig_push_dgram(uint32_t slot, const void *data, uint32_t len, const struct endpoint *from);
