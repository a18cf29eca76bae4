/*
 * The socket record: what every kind of socket has, the INET layer's view of it, and the operation
 * tables through which the socket layer drives the protocols.
 *
 * A stream socket's control block is the KIND_TCP record of the same index; a datagram socket needs
 * no more than this record. Receive and transmit positions are facts: TCP keeps its own in its
 * control block, datagram sockets keep theirs here.
 *
 * A socket that its client has closed stays (session NO_INDEX, `orphan`) while its protocol still
 * needs it: unsent bytes lie in its transmit ring.
 */
#pragma once
#include "proto/client.h"
#include "proto/ring.h"
#include "state/stack.h"

enum sock_flags {
	SOCK_F_REUSEADDR = 1 << 0,
	SOCK_F_REUSEPORT = 1 << 1,
	SOCK_F_KEEPALIVE = 1 << 2,
	SOCK_F_BROADCAST = 1 << 3,
	SOCK_F_NODELAY = 1 << 4,
	SOCK_F_CORK = 1 << 5,
	SOCK_F_LINGER = 1 << 6,
	SOCK_F_V6ONLY = 1 << 7,
	SOCK_F_BOUND = 1 << 8,      /* has a local port */
	SOCK_F_BOUND_ADDR = 1 << 9, /* the address was chosen by the user */
	SOCK_F_ORPHAN = 1 << 10,    /* closed by its client */
	SOCK_F_SHUT_RD = 1 << 11,
	SOCK_F_SHUT_WR = 1 << 12,
	SOCK_F_PORT_USER = 1 << 13, /* the port was chosen by the user (SOCK_BINDPORT_LOCK) */
	SOCK_F_QUICKACK = 1 << 14,
	SOCK_F_RCVBUF_SET = 1 << 15,
	SOCK_F_SNDBUF_SET = 1 << 16,
	SOCK_F_TIMESTAMP = 1 << 17,
	SOCK_F_OOBINLINE = 1 << 18,
	SOCK_F_RECVERR = 1 << 19,
	SOCK_F_LISTEN = 1 << 20,   /* set by port_listen(): SYNs are looked up among these only */
	SOCK_F_HASHED = 1 << 21,   /* in the connected table: sock_hash_connected() */
	SOCK_F_FREEBIND = 1 << 22,
	SOCK_F_PKTINFO = 1 << 23,  /* the client's; every datagram's header carries it anyway */
	SOCK_F_RECVTTL = 1 << 24,
	SOCK_F_RECVTOS = 1 << 25,
	SOCK_F_MEMBER = 1 << 26,   /* may have memberships (ip/group.h) */
	SOCK_F_MINTTL = 1 << 27,   /* sockx_rec.min_ttl counts */
	SOCK_F_CLAMP = 1 << 28,	   /* sockx_rec.window_clamp counts */
	SOCK_F_TRANSPARENT = 1 << 29,
	/* May bind addresses that are not ours, and speak for them. */
	SOCK_F_FOREIGN = SOCK_F_FREEBIND | SOCK_F_TRANSPARENT,
};

struct ring_left { /* a ring that was left: what is needed to give it back */
	uint64_t off;
	uint32_t cap, mem;
};

struct sock_rec {
	uint16_t family;  /* AF_INET, AF_INET6: as the client asked; addresses are mapped */
	uint8_t type;     /* SOCK_STREAM, SOCK_DGRAM, SOCK_RAW */
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP: never 0 but for AF_PACKET */
	uint32_t flags;   /* enum sock_flags */
	/* Owner: a session's slot; NO_INDEX when nobody has accepted it yet, or it is an orphan. */
	uint32_t session, session_gen, slot;
	uint32_t uid;     /* who is charged */
	struct endpoint local, remote;
	uint32_t bound_dev; /* NO_INDEX */
	int32_t err;        /* pending error, positive errno; err_seq grows with each */
	uint32_t err_seq;
	uint32_t linger_s;
	struct ring_place rx, tx;
	struct ring_left rx_old; /* receive ring before its last move, until the client acknowledges the epoch */
	uint32_t rcvbuf, sndbuf; /* bytes wanted; as the user set them (undoubled) or the default */
	uint64_t arrival;        /* of a child that nobody accepted: its place in the queue; of a datagram socket: when it was bound */
	union {
		struct { /* streams */
			uint32_t backlog;
			uint32_t listener, listener_gen; /* of a child that nobody accepted; NO_INDEX */
			uint32_t keep_idle_s, keep_intvl_s, keep_cnt;
			uint32_t user_timeout_ms;
			uint16_t maxseg;
			uint8_t defer_accept, syncnt; /* TCP_DEFER_ACCEPT in SYN-ACKs sent again */
		};
		struct { /* datagrams: receive written/consumed, transmit consumed/checked written */
			uint64_t rx_tail, rx_head, tx_head, tx_tail;
			uint32_t drops;
			int16_t sent_err; /* of the newest one whose sender waits to hear, positive errno */
			uint16_t raw;     /* its KIND_RAW record + 1, 0: none; always 0 in a stream, which has nothing here */
		};
	};
	uint8_t ttl, tos;
	uint8_t mtu_discover;
	uint8_t mcast_ttl;
	uint32_t rcvlowat;
	uint32_t priority, mark;
};
_Static_assert(sizeof(struct sock_rec) <= 232, "compact: two images of each lie in the arena");

/*
 * What a type of socket can do; `sk` is the index of its record. All return 0 or a negative errno
 * unless said otherwise. Called by the socket layer only, in the work step.
 */
struct sock_view;
enum sock_hint { SOCK_MORE, SOCK_NO_MORE, SOCK_URGENT };
struct sock_ops {
	const char *name; /* "tcp" */
	int (*create)(struct stack *s, uint32_t sk); /* fills its own record; family, type, protocol, uid are set */
	int (*bind)(struct stack *s, uint32_t sk, const struct endpoint *ep);
	int (*listen)(struct stack *s, uint32_t sk, uint32_t backlog);
	int (*connect)(struct stack *s, uint32_t sk, const struct endpoint *ep); /* -EINPROGRESS */
	int (*disconnect)(struct stack *s, uint32_t sk);
	/* First child in arrival order, detached from the queue; -EAGAIN. The caller sets its session and moves its rings. */
	int (*accept)(struct stack *s, uint32_t sk, uint32_t *child);
	int (*shutdown)(struct stack *s, uint32_t sk, int how);
	/*
	 * The owner is gone (record already marked orphan, final positions already checked by poke).
	 * `killed`: it died. The protocol frees the socket with sock_free() at once or when it is done with it.
	 */
	void (*close)(struct stack *s, uint32_t sk, bool killed);
	/*
	 * The client's positions as they stand in shared memory, read once. -EPROTO if they are a lie
	 * (backwards, beyond what exists): costs the session.
	 */
	int (*poke)(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail);
	/* How the writer goes on; `pos` is for SOCK_URGENT: the byte before it will be urgent. Streams only, may be NULL. */
	void (*hint)(struct stack *s, uint32_t sk, enum sock_hint hint, uint64_t pos);
	/* -ENOPROTOOPT for what the level does not know. */
	int (*setsockopt)(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len);
	int (*getsockopt)(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len);
	/* Fills state, positions, accept_ready, TCP facts of line 0 and 2; the socket layer does the rest (seqlock, places, names, wakes). */
	void (*publish)(const struct stack *s, uint32_t sk, struct sock_view *v);
	/* Before and after a ring is moved: copy range, i.e. positions between which bytes must be kept. */
	void (*live_range)(const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to);
	/* A piece of SO_ATTACH_FILTER (CM_FILTER): `n` of `total` instructions, from number `at` on. May be NULL. */
	int (*filter)(struct stack *s, uint32_t sk, uint32_t at, uint32_t total, const void *insns, uint32_t n);
	/* Datagrams wait in the transmit ring and the device may have room again; there is no request to answer. */
	void (*resume)(struct stack *s, uint32_t sk);
	/* After a restart: what is derived for this socket. 0 or a negative errno. May be NULL. */
	int (*reindex)(struct stack *s, uint32_t sk);
};

/* What ops->publish() tells; plain copy, the socket layer stores it in the slot. */
struct sock_view {
	uint32_t state; /* enum cm_state */
	uint64_t rx_tail, tx_head;
	uint32_t accept_ready;
	uint64_t tx_sent, urgent, rx_time;
	uint32_t notsent_lowat;
	uint64_t notsent_most;
	uint32_t tx_limit; /* filled by the socket layer */
	uint32_t errors; /* of the error queue: filled by the socket layer */
	uint8_t tcp_state;
};

/* ---- the INET layer's half: sockets and ports. inet/sock.c, inet/ports.c */

int inet_layer_init(struct stack *s);
void inet_layer_exit(struct stack *s);
/* Rebuilds port and connection tables from KIND_SOCK. */
int inet_reindex(struct stack *s);

static inline struct sock_rec *sock_get(struct stack *s, uint32_t sk)
{
	return state_get(s->state, KIND_SOCK, sk);
}

/* Connected: a peer is set (its port may be 0 for datagrams). */
static inline bool sock_connected(const struct sock_rec *k)
{
	return !ipaddr_is_any(&k->remote.addr);
}

static inline const struct sock_rec *sock_peek(const struct stack *s, uint32_t sk)
{
	return state_peek(s->state, KIND_SOCK, sk);
}

const struct sock_ops *sock_ops_of(const struct stack *s, const struct sock_rec *k);

/* A new socket record with defaults; no session yet. NULL when there are no more. */
struct sock_rec *sock_alloc(struct stack *s, uint32_t *sk);
/* Frees record, rings, table entries. The socket layer hears of it by sock_changed(). */
void sock_free(struct stack *s, uint32_t sk);

/*
 * Something that the client can see has changed (positions, state, error, places): the socket layer
 * publishes it in the speak step. Cheap, may be called any number of times.
 */
void sock_changed(struct stack *s, uint32_t sk);
/* Takes the next changed socket of this cycle, NO_INDEX after the last. For the socket layer. */
uint32_t sock_next_changed(struct stack *s);
/* Sets the pending error (positive errno). */
void sock_set_error(struct stack *s, uint32_t sk, int err);

/*
 * A ring with at least `cap` bytes for the socket (in its session's memory, or the daemon's while it
 * has none), moved if there is one already; positions stay. 0 or -ENOMEM. `pos` is the position at
 * which a ring that had no memory starts.
 */
int sock_rx_ring(struct stack *s, uint32_t sk, uint32_t cap, uint64_t pos);
int sock_tx_ring(struct stack *s, uint32_t sk, uint32_t cap, uint64_t pos);

/*
 * Gives an empty receive ring back: its client has read everything, so it reads in no place of it. The next bytes get a new
 * one. False if it is not empty, or there is none.
 */
bool sock_rx_give_back(struct stack *s, uint32_t sk);

/*
 * The client uses the receive ring of this epoch: the place before is freed. While rx_old is pending
 * another move of the receive ring is refused with -EBUSY.
 */
void sock_epoch_ack(struct stack *s, uint32_t sk, uint32_t rx_epoch);
/* Nobody reads the old place any more, for sure. */
void sock_forget_old_ring(struct stack *s, struct sock_rec *k);
/*
 * Accepting: the socket gets its owner and its rings move from the daemon's memory into the session's.
 * 0, -ENOMEM, -ENOENT; then the owner is set all the same and the caller closes the socket.
 */
int sock_adopt(struct stack *s, uint32_t sk, uint32_t session, uint32_t session_gen, uint32_t slot);

/*
 * Options of SOL_SOCKET, IPPROTO_IP and IPPROTO_IPV6 that all types have (inet/sockopt.c); a
 * protocol's ops call these for levels that are not theirs. -ENOPROTOOPT for what is not known.
 */
int sock_setsockopt(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len);
int sock_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len);

/* KIND_SOCK's timer (datagrams that found the device full); belongs into the switchboard's records table. */
void sock_expired(struct stack *s, uint32_t sk);
/* Devices have room again: goes on with what waits in transmit rings. Also done by a short timer. */
void sock_resume(struct stack *s);

struct route;
/*
 * ip_route() for a socket: with SOCK_F_FOREIGN the source that it is bound to need not be ours, with SO_DONTROUTE the
 * destination must be a neighbour (-ENETUNREACH). inet/way.c.
 */
int sock_route(struct stack *s, uint32_t sk, const struct ipaddr *to, const struct ipaddr *source, uint32_t oif,
    struct route *r);
/* Does this way lead to the destination without a router? */
bool route_on_link(const struct route *r, const struct ipaddr *to);

/* ---- ports (inet/ports.c). Tables are derived from the records. */

/*
 * Gives the socket its local endpoint by the kernel's rules for SO_REUSEADDR and SO_REUSEPORT; port 0
 * takes an ephemeral one (32768..60999). -EADDRINUSE, -EADDRNOTAVAIL, -EINVAL (bound already).
 */
/* May the socket have this address? 0, -EADDRNOTAVAIL, -EAFNOSUPPORT, -EINVAL. */
int port_address(const struct stack *s, uint32_t sk, const struct ipaddr *a);
int port_bind(struct stack *s, uint32_t sk, const struct endpoint *ep);
/* The same without regard to IP_BIND_ADDRESS_NO_PORT: it has a port afterwards. */
int port_take(struct stack *s, uint32_t sk, const struct endpoint *ep);
/* Picks a port for a connect to `remote` from `local` address such that the 4-tuple is free. -EADDRNOTAVAIL. */
int port_autobind(struct stack *s, uint32_t sk, const struct ipaddr *local, const struct endpoint *remote);
void port_release(struct stack *s, uint32_t sk);
/* The same, but the name can still be read, and a port that the user chose stays: what it was bound for is over. */
void port_give_back(struct stack *s, uint32_t sk);
/*
 * The bound socket starts to listen: two listeners may not share an address without SO_REUSEPORT even
 * if both have SO_REUSEADDR. Sets SOCK_F_LISTEN. 0, -EADDRINUSE. port_unlisten() takes it back.
 */
int port_listen(struct stack *s, uint32_t sk);
void port_unlisten(struct stack *s, uint32_t sk);

/*
 * The connected table holds 4-tuples of any kind of record, so that half-open connections and
 * TIME_WAITs are found by the same look. The INET layer enters KIND_SOCK itself at inet_reindex();
 * whoever owns another kind enters it at its own reindex.
 */
struct conn_ref {
	enum record_kind kind;
	uint32_t index;
};
/* 0, -EADDRINUSE (the 4-tuple is there already), -ENOMEM. */
int conn_insert(struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote, struct conn_ref ref);
/* The same for what goes on without its socket, and keeps the local port from binds as that would have. */
struct port_claim {
	uint32_t flags; /* SOCK_F_REUSEADDR, SOCK_F_REUSEPORT */
	uint32_t uid, dev;
};
int conn_insert_claim(struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote, struct conn_ref ref,
    const struct port_claim *claim);
/* Takes the entry out if it is this one. */
void conn_remove(struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote, struct conn_ref ref);
bool conn_find(const struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote, struct conn_ref *ref);

/* The connected socket of this exact 4-tuple, or NO_INDEX. */
uint32_t sock_lookup_connected(const struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote);
/* The best bound/listening socket: exact address before wildcard; NO_INDEX. For SO_REUSEPORT groups one is chosen by the hash of remote. */
uint32_t sock_lookup_bound(const struct stack *s, uint8_t protocol, const struct endpoint *local, const struct endpoint *remote, uint32_t dev);
/*
 * Enters the socket with its local and remote endpoint into the connected table, and counts it as an
 * owner of its local port (a listener's child needs no port_bind()). Sets SOCK_F_HASHED and SOCK_F_BOUND.
 * -EADDRINUSE if the 4-tuple is taken, -ENOMEM.
 */
int sock_hash_connected(struct stack *s, uint32_t sk);
/* Out of the connected table; it keeps its port. Before local or remote are changed. */
void sock_unhash(struct stack *s, uint32_t sk);
