/*
 * Inside the core: the session, sockets and sets as the core's own files see them.
 *
 * Locks, in the order in which they may be taken:
 *	table_lock    (fdtable.c) numbers
 *	attach_lock   (attach.c)  making a session
 *	share_lock    (share.c)   moving sockets into a share
 *	side_lock (view.c)        a socket's consumer and producer side; never both at once
 *	                          but under share_lock
 *	ctl_lock                  a request on the control connection and its answer
 *	ev_lock                   event ring, membership of sockets in sets, lists of news
 *	wait_lock                 a socket's count of sleepers
 *	req_lock                  submission and completion ring, requests under way, free slots
 *	pool_lock     (pool.c)    unused objects
 * None is held while a thread sleeps, except tx_lock during CM_GROW (which the daemon answers at
 *once).
 */
#pragma once
#include "clientlib/core.h"
#include "clientlib/desc.h"
#include "clientlib/lock.h"
#include "clientlib/pool.h"
#include "clientlib/sys.h"
#include <netinet/in.h>
#include "proto/client.h"
#include <errno.h>
#include <pthread.h>

#define SS_BROKEN  1 /* lost, or the other side broke the contract */
#define SS_FOREIGN 2 /* of the process that forked us */

#define PLAIN_SETS 3		 /* sets whose descriptor is just their bell, see set.c */
#define COMMON_SET (CM_SETS - 1) /* the bell that all further sets share */

struct waiter { /* a thread waiting for its completion; on its stack */
	bool done;
	struct cm_cqe cqe;
};

enum request_kind { REQ_FREE, REQ_WAITED, REQ_IGNORED, REQ_SOCKET, REQ_CLOSE };

struct request {
	uint8_t kind;
	uint32_t gen;	       /* against stale tokens */
	uint32_t slot;	       /* REQ_SOCKET, REQ_CLOSE */
	uint32_t next;	       /* free list */
	struct nsock *sock;    /* REQ_SOCKET; NULL once it is gone */
	struct waiter *waiter; /* REQ_WAITED */
};

struct bell { /* a wait set's number and bell, kept for the next set when one is freed */
	uint32_t set;
	int fd;
};

/* The memory that a socket's slot and rings lie in: its session's, or a share's. */
struct home {
	uint8_t *mem;
	uint32_t number; /* of the session or share: places in it have memory id number + 1 */
	uint64_t heap_off, size;
};

struct session {
	unsigned dead; /* SS_*, atomic */
	int pid;
	uint32_t uid,
	    kept; /* as the daemon knows them; kept: capabilities that another user than root has still */
	int ctl;
	int bell;
	int bell_reader;  /* our own reading end of it, so that writing never raises SIGPIPE; or -1
			   */
	uint64_t next_id; /* of control requests; ctl_lock */
	pthread_mutex_t ctl_lock;
	uint8_t *mem;
	struct home home;
	struct cm_header lay; /* facts, copied once and checked */
	struct cm_header *h;  /* the shared one: positions only */
	/* requests */
	pthread_mutex_t req_lock;
	uint64_t sq_prod, cq_cons;
	unsigned cq_sleepers;
	struct request req[CM_CQ_ENTRIES];
	uint32_t req_free, req_busy;
	uint32_t *free_slot; /* stack */
	uint32_t free_slots, closing;
	struct nsock *held; /* the shared sockets, until their CM_CLOSE */
	/* events and sets */
	pthread_mutex_t make_lock; /* one set is made at a time */
	pthread_mutex_t ev_lock;
	uint64_t ev_cons;
	uint32_t incarnation, ev_lost;
	struct nsock **member_of_slot; /* sockets that are in a set, by slot */
	struct nset *sets;
	struct bell spare[CM_SETS];
	uint32_t spares, sets_made, plain;
	int common_fd;
	uint32_t common_arm, common_sleepers;
	struct session *older; /* sessions are never freed: other threads may still look */
};

struct member { /* a socket in a set */
	struct nset *set;
	struct nsock *sock;
	void *udata;
	struct member *next_of_sock;
	struct member *next_of_set, *prev_of_set;
	struct member *next_pending; /* NULL: not on the list of news, whose last one names `news_end` */
};
static_assert(sizeof(struct member) == 56, "compact: a process may have a hundred thousand");

struct tpacket;

struct nset {
	struct session *ss;
	uint32_t idx; /* the daemon's number, CM_NO_SET if there was none left */
	int bell, kick, fd;
	uint32_t arm, sleepers;
	bool plain, kicked, of_calls;
	struct member *members, *pending, *newest; /* newest: of the pending ones, if there are any */
	struct nset *next;
};

/* One direction of a socket: this process's private, believed copy. */
struct side {
	struct ring_place place;
	uint64_t pos;	 /* rx_head or tx_tail */
	uint32_t layout; /* the layout_seq (an even one) at which `place` was read, and one more; 0: it was not read */
	uint32_t lent;	 /* zero copy: bytes lent to the caller */
};

struct nsock {
	uint32_t refs; /* atomic; 0: in the pool */
	uint32_t fds;  /* numbers in the fdtable, under its lock */
	uint32_t slot;
	uint16_t family, type, protocol;
	bool has_slot, ready, closed; /* atomic */
	bool inherited;		      /* by fork */
	bool watch;		      /* held to hear its news only (watch.c) */
	bool seen;		      /* by fdtable_sockets(), under its lock */
	struct session *ss;
	struct cm_slot *ev;	 /* the session's slot: how this process is woken */
	struct cm_slot *sl;	 /* what the daemon says of the socket: the same, or a share's */
	struct desc *d;		 /* own_desc, or beside `sl` in the share */
	const struct home *home; /* where `sl` and the rings lie */
	struct share *share;	 /* NULL: ours alone */
	struct nsock *next_held, **link_held; /* in the session's list, if shared; req_lock */
	uint64_t token_key;		      /* of the token at its numbers, 0 for none; atomic */
	int create_err;			      /* what CM_SOCKET answered */
	unsigned user;
	uint32_t known;	    /* names this socket as it is set up now, see known.c; atomic */
	uint32_t kick;	    /* futex: wakes this process's sleepers */
	uint64_t poke_next; /* place in the ring after the last poke, atomic */
	struct small_lock wait_lock, rx_lock, tx_lock; /* the latter two while it is ours alone */
	uint32_t sleepers;
	uint32_t spin;
	uint32_t tx_skip; /* zero copy transmit: filler before the datagram; with `tx` */
	struct side rx, tx; /* under side_lock() */
	struct desc own_desc;
	union {
		struct member *members;	 /* ev_lock */
		struct nsock *pool_next; /* while it is in the pool */
	};
	struct nset *event; /* ns_event_fd(); atomic */
	struct tpacket *tpacket; /* AF_PACKET: a mapped ring (tpacket.c) */
};
static_assert(sizeof(struct nsock) == 368, "compact: a process may have a hundred thousand");

/* attach.c */
extern struct session *ns_current, *all_sessions; /* atomic; attach_lock */
extern pthread_mutex_t attach_lock;
int session_get(struct session **out);
int session_new_set(struct session *ss, uint32_t set, int *fd);
bool session_alive(struct session *ss);
void session_break(struct session *ss);
void session_unbuild(struct session *ss);
int session_identify(struct session *ss, bool wait);
/* The same, waiting, if we are others than the daemon knows. Before what it allows to some only. */
int session_identify_changed(struct session *ss);
/* The same, and has this process one of these CM_RIGHT_* still, as far as that can be seen from here? 0, `err`, or what went wrong. */
int session_may(struct session *ss, uint32_t rights, int err);
/* To be called when an answer carried an end whose last copy says something. */
void session_settle(struct session *ss);
static inline unsigned session_dead(const struct session *ss)
{
	return load_once(&ss->dead);
}

/* request.c */
int request_wait(struct session *ss, const struct cm_sqe *e, struct cm_cqe *out);
int request_async(
    struct session *ss, const struct cm_sqe *e, enum request_kind kind, struct nsock *s);
void request_poke(struct nsock *s);
/* The same; `more`: the rest of what is written comes at once. */
void request_poke_more(struct nsock *s, bool more);
void request_forget(struct nsock *s);
void request_hold(struct nsock *s);
void request_close(struct nsock *s);
void request_drain(struct session *ss);
int slot_take(struct session *ss, uint32_t *slot);
void slot_give(struct session *ss, uint32_t slot);
void session_rings_init(struct session *ss);

/* view.c */
void side_lock(struct nsock *s, bool rx);
void side_unlock(struct nsock *s, bool rx);
int sock_lied(struct nsock *s);
int sock_check(const struct nsock *s);
int side_follow(struct nsock *s, bool rx);
int rx_avail(struct nsock *s, uint64_t *n);
int tx_used(struct nsock *s, uint64_t *n);
uint64_t tx_bound(const struct nsock *s);
int tx_room(struct nsock *s, uint64_t *n);
/*
 * Bytes of a stream that were written and not sent yet; and what TCP_NOTSENT_LOWAT says of them, as in the kernel. A writer
 * may go on until so many are unsent, but the last buffer may always be filled: the daemon says where that ends. There is
 * room to be told of when fewer than half of what it says are.
 */
uint64_t tx_unsent(const struct nsock *s);
uint64_t tx_lowat_room(const struct nsock *s);
bool tx_lowat_roomy(const struct nsock *s);
uint64_t rx_lowat(const struct nsock *s);
uint32_t sock_state(struct nsock *s);
int sock_names(struct nsock *s, struct endpoint *local, struct endpoint *remote);
bool sock_has_error(struct nsock *s);
int sock_take_error(struct nsock *s);
void rx_consume(struct nsock *s, uint64_t n, uint64_t avail);
void tx_publish(struct nsock *s, uint64_t n, bool more);
int tx_grow(struct nsock *s, uint64_t need);
uint64_t tx_most(const struct nsock *s);
bool tx_may_grow(const struct nsock *s);
int sock_settle(struct nsock *s);

/* sock.c */
int sock_new(struct session *ss, struct nsock **out);
void sock_drop(struct nsock *s);

/* sleep.c */
struct sleep_seen {
	uint32_t ev, kick;
};
struct sleep_seen sock_seen(const struct nsock *s);
int sock_sleep(struct nsock *s, struct sleep_seen seen, uint64_t deadline);
uint64_t now_ns(void);
static inline uint64_t deadline_of(uint64_t timeout)
{
	return timeout ? now_ns() + timeout : 0;
}

static inline bool is_udp(const struct nsock *s)
{
	return s->type == SOCK_DGRAM && s->protocol == IPPROTO_UDP;
}

/* peek.c */
/* Has it SO_PEEK_OFF? */
bool takes_peek_off(const struct nsock *s);
/* Where a call with these flags begins to read. */
uint32_t peek_offset(const struct nsock *s, int flags);
/* One with these flags has read `n`. */
void peek_moved(struct nsock *s, int flags, ssize_t n);

/* self.c */
/* The socket has a local place now that others may talk to. */
void self_made(struct nsock *s);
/* The socket talks to `peer` (port 0: to whom it is connected). */
void self_met(struct nsock *s, const struct endpoint *peer);

/* pool.c */
struct nsock *sock_take(void);
void sock_give(struct nsock *s);
void pool_fork_prepare(void);
void pool_fork_done(bool child);

/* set.c, set_member.c */
extern struct pool member_pool;
void set_forget(struct nsock *s, bool all);

/* urgent.c */
uint64_t urgent_limit(struct nsock *s, uint64_t at, uint64_t avail, bool started, bool *over, bool *stop);
bool urgent_ready(struct nsock *s);
bool urgent_at_mark(struct nsock *s);
uint64_t urgent_before(struct nsock *s, uint64_t avail);
ssize_t urgent_recv(struct nsock *s, struct msghdr *m, int flags);
int urgent_announce(struct nsock *s, uint64_t end);

/* stream.c, dgram.c (control messages: cmsg.h) */
#define RECV_TO_MARK 0x8000000 /* beside the flags of recvmsg(2): see ns_recv_to_mark() */
ssize_t stream_send(struct nsock *s, const struct msghdr *m, int flags, bool nonblock);
ssize_t stream_recv(struct nsock *s, struct msghdr *m, int flags, bool nonblock);
ssize_t dgram_send(struct nsock *s, const struct msghdr *m, int flags, bool nonblock);
ssize_t dgram_recv(struct nsock *s, struct msghdr *m, int flags, bool nonblock);
/* Spreads a message over the caller's buffers: the bytes that found room, or -EFAULT. */
ssize_t user_scatter(const struct msghdr *m, const uint8_t *data, size_t len);
int dgram_head(struct nsock *s, struct cm_dgram *d, const uint8_t **data);
int dgram_reserve(struct nsock *s, size_t len, uint8_t **at, uint64_t *skip);
void dgram_write(struct nsock *s, uint8_t *at, uint64_t skip, const struct cm_dgram *d);
bool dgram_connected(struct nsock *s);
int dgram_uncork(struct nsock *s);
int stream_writable(struct nsock *s);
