/* What the parts of the make-believe netd-inet (share_rig.h) know of each other. */
#pragma once
#include "share_rig.h"
#include <stddef.h>
#include <sys/types.h>

#define SLOTS	1024u
#define SIZE	(256ull << 20)
#define MEMS	512u
#define SOCKS	2048
#define TOKENS	512
#define HOLDERS 64
#define QUEUE	512
#define RX_CAP	65536u
#define TX_MAX	262144u
#define CLASSES 32
#define FREE	256

struct mem {
	bool used;
	int fd;
	uint8_t *p;
	struct cm_header *h;
	uint64_t heap, free[CLASSES][FREE]; /* by size: powers of two */
	unsigned frees[CLASSES];
	unsigned slots, holds; /* share: slots given out, sockets alive */
	/* of a session */
	int ctl, bell, set_bell[CM_SETS];
	uint32_t rung[CM_SETS];
	uint64_t sq_cons, cq_prod, ev_prod;
	int held[SLOTS]; /* socket + 1 */
	uid_t uid;
};

struct holder {
	unsigned mem, slot;
};

/* Two connected sockets are each other's `peer`; one without is an echo. */
struct sock {
	bool used, shut, orphan; /* wrote its last; nobody holds it, and it lives until its bytes
				    are with its peer */
	unsigned mem, slot;	 /* mem 0: not accepted yet */
	struct holder holder[HOLDERS];
	unsigned holders;
	uint32_t state, error_seq;
	int32_t error;
	uint64_t rx_tail, tx_head;
	struct ring_place rx, tx;
	struct endpoint local, remote;
	int peer;      /* + 1 */
	uint8_t *left; /* what an orphan had written */
	size_t left_at, left_len;
	int queue[QUEUE]; /* a listener's children */
	unsigned queued;
};

struct token {
	int fd, sock;
	uint8_t secret[16];
};

extern struct mem rig_mems[MEMS];
extern struct sock rig_socks[SOCKS];
extern struct token rig_tokens[TOKENS];

/* ---- share_rig_memory.c */

struct cm_slot *rig_slot(unsigned mem, unsigned slot);
unsigned rig_memory_new(void);
void rig_memory_free(unsigned i);
void rig_place_free(unsigned mem, const struct ring_place *p);
void rig_place_new(const struct sock *k, struct ring_place *p, uint32_t cap, uint64_t base);
/* A new place with the bytes [from, to) of the old one, which was in `old_mem`. */
void rig_move_ring(struct sock *k, struct ring_place *p, uint32_t cap, uint64_t from, uint64_t to,
    unsigned old_mem);

/* ---- share_rig_sock.c */

int rig_sock_new(void);
/* Ends it if nobody holds it any more. */
void rig_sock_check(int i);
void rig_hold(unsigned n, unsigned slot, int s, uint32_t state);
void rig_let_go(unsigned mem, unsigned slot);
/* Publishes it to its holders. */
void rig_tell(int i);
/* Moves its bytes. */
void rig_look(int i);

/* ---- share_rig_calls.c */

void rig_serve_rings(unsigned n);

/* ---- share_rig_control.c */

int rig_with_credentials(int fd);
void rig_serve_control(unsigned n);
/* Has its holder closed it? */
void rig_token_end(int t);
