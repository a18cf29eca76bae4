/*
 * Client memory: what one client session shares with netd-inet.
 *
 *   header | submission ring | completion ring | event ring | wait sets | socket slots | descriptions | ring heap
 *
 * Theory of operation
 *
 * - The memory is a sealed memfd that netd-inet created; offsets stand in the header, are copied once
 *   by the client, and never read again. netd-inet does not read them at all: it computes them from
 *   the session record. All words have one writer; each line has one writing side.
 * - A request is an entry in the submission ring (struct cm_sqe), in order. Every request but CM_POKE
 *   is answered by exactly one entry (struct cm_cqe) with the same token, at once: nothing pends in the
 *   daemon. Waiting (a connection to be established, a child to accept, bytes to come) is done on the
 *   socket's own state.
 * - A client names its sockets: `slot` is its choice of a free slot, for CM_SOCKET and for the child of
 *   CM_ACCEPT. The slot is free again once the completion of CM_CLOSE was seen.
 * - Payload does not pass through the submission ring. The client appends to the socket's transmit
 *   ring, publishes tx_tail, then submits CM_POKE for the slot; likewise after it consumed from the
 *   receive ring (rx_head) when the window should open. A poke need not be repeated while the previous
 *   one has not been taken: `sq_taken` (hint, stored with a full fence before the daemon reads the
 *   socket's positions) is above its place in the ring once a new one is needed.
 * - The daemon tells of news on a socket by: the words in the slot; `ev_seq` of the slot, a futex word
 *   that is woken if the client's `want` is non-zero; an entry in the event ring if the slot names a
 *   wait set; the bell (pipe) of each named set whose `arm` is odd and was not rung for yet.
 * - The event ring carries slot numbers, hints only, at most one unconsumed entry a slot. If
 *   `incarnation` changed (or `ev_lost` did), the client looks at every slot it has.
 * - A shared socket (proto/share.h) has its words in a share's slot; the holder's own slot then says
 *   CM_ST_SHARED and carries nothing but `ev_seq`, `want`, `tx_want` and `set`: how this process is woken.
 * - Bells towards the daemon: after publishing sq_prod and a full fence, write one byte to the daemon's
 *   pipe if `daemon_sleeps` is set. Do not block in it: a full pipe has been rung already.
 * - The client must not have more requests unanswered than the completion ring holds; the daemon stops
 *   taking requests when the completion ring has no room.
 */
#pragma once
#include "proto/endpoint.h"
#include "proto/ring.h"

#define CM_MAGIC   0x4e44434du /* "NDCM" */
#define CM_VERSION 3

#define CM_SQ_ENTRIES 1024u
#define CM_CQ_ENTRIES 1024u
#define CM_SETS       64u
#define CM_NO_SET     0xffffu
#define CM_SLOT_SETS  4

/* What a session may keep from its time as root's (Identify in control.proto). */
enum cm_right {
	CM_RIGHT_BIND = 1,  /* CAP_NET_BIND_SERVICE */
	CM_RIGHT_RAW = 2,   /* CAP_NET_RAW */
	CM_RIGHT_ADMIN = 4, /* CAP_NET_ADMIN: options only, not to change the network */
};
/* One of these it takes to set an option to this value, as in the kernel; 0: everybody may. And what who may not is told. */
uint32_t cm_option_rights(int level, int name, int value);
int cm_option_error(int level, int name);

enum cm_op {
	CM_NOP = 0,
	CM_SOCKET,     /* arg0 family, arg1 type (no flags), arg2 protocol */
	CM_BIND,       /* ep; arg0 family of the caller's address */
	CM_LISTEN,     /* arg0 backlog */
	CM_CONNECT,    /* ep; 0 for datagrams, -EINPROGRESS for streams; port 0 and wildcard with arg0 = AF_UNSPEC dissolves */
	CM_ACCEPT,     /* slot is the listener, arg0 the slot of the child; -EAGAIN if there is none; completion ep = peer */
	CM_SHUTDOWN,   /* arg0 SHUT_RD, SHUT_WR, SHUT_RDWR; arg1: only if nobody else holds the socket (-EBUSY) */
	CM_CLOSE,      /* */
	CM_SETSOCKOPT, /* arg0 level, arg1 name, arg2 length; data */
	CM_GETSOCKOPT, /* arg0 level, arg1 name, arg2 room, part: offset; completion arg = length from there, data: what it holds of that */
	CM_GROW,       /* arg0 wanted capacity of the transmit ring, bytes: the client has parked as its producer until the completion; 0 or -ENOMEM */
	CM_FILTER,     /* a piece of SO_ATTACH_FILTER: arg0 instruction number of the first, arg1 instructions in all, arg2 of them here; data. The last piece attaches. arg1 0: detaches */
	CM_POKE,       /* look at this slot's positions; arg0: more is to be written at once (MSG_MORE); no completion */
	CM_SENT,       /* what became of the newest datagram with CM_DGRAM_ASK: 0 or a negative errno, told once */
	CM_ERROR,      /* the oldest entry of the error queue: arg0 = enum cm_error_part, or the offset of a piece of its payload; -EAGAIN */
	CM_URGENT,     /* data: stream offset (64 bits) of the end of what will be written next; the byte before it is urgent */
	CM_COPIED,     /* a send with MSG_ZEROCOPY was copied into the ring: with SO_ZEROCOPY it gets the next number, and the error queue tells it */
	CM_OPS
};
#define CM_FILTER_PIECE 8u /* instructions of one CM_FILTER */

struct cm_sqe {
	uint64_t token; /* opaque, returned in the completion */
	uint32_t op;
	uint32_t slot;
	int32_t arg[3];
	uint32_t part;
	struct endpoint ep;
	uint8_t data[64];
	uint8_t pad2[12];
};
static_assert(sizeof(struct cm_sqe) == 128, "layout");

struct cm_cqe {
	uint64_t token;
	int32_t res; /* 0 or negative errno */
	uint32_t arg;
	struct endpoint ep;
	uint8_t data[80];
	uint8_t pad[12];
};
static_assert(sizeof(struct cm_cqe) == 128, "layout");

/*
 * The multicast options of IPPROTO_IP (IP_ADD_MEMBERSHIP to IP_MSFILTER, MCAST_JOIN_GROUP to MCAST_MSFILTER) have this one
 * form on their way, under their own names. Addresses as in struct in_addr. Of CM_GETSOCKOPT `data` is the question.
 */
#define CM_GROUP_SOURCES 10u /* igmp_max_msf */
struct cm_group {
	uint32_t ifindex, interface; /* 0: not said */
	uint32_t group;
	uint16_t mode;	  /* MCAST_INCLUDE, MCAST_EXCLUDE: of the filters */
	uint16_t sources;
	uint32_t source[CM_GROUP_SOURCES];
};
static_assert(sizeof(struct cm_group) == 56, "fits into a request");

/* Readiness, in the bits of poll(2), plus facts of the connection. */
enum cm_state {
	CM_ST_OPEN = 1 << 0,       /* the slot is in use */
	CM_ST_CONNECTING = 1 << 1, /* SYN_SENT or SYN_RECEIVED */
	CM_ST_CONNECTED = 1 << 2,
	CM_ST_LISTENING = 1 << 3,
	CM_ST_RX_EOF = 1 << 4,  /* the peer's FIN is at rx_tail, or shutdown for reading: after rx_tail there is nothing */
	CM_ST_TX_SHUT = 1 << 5, /* no more writing: EPIPE */
	CM_ST_DEAD = 1 << 6,    /* the connection is gone (reset, timed out, closed): so_error says why */
	CM_ST_HUP = 1 << 7,     /* both directions are closed */
	CM_ST_OOBINLINE = 1 << 9, /* SO_OOBINLINE: urgent bytes are read like all others */
	CM_ST_ACK_OWED = 1 << 10, /* the daemon wants to know (CM_POKE) when everything is read, of datagrams each. No news in itself */
	CM_ST_FIN = 1 << 11, /* the peer's FIN is at rx_tail: the end is read whatever went wrong after it. No news in itself */
	CM_ST_SHARED = 1 << 8,  /* a holder's slot: everything else about the socket stands in its share */
};

/*
 * One socket as its client sees it: 256 bytes, the daemon's lines first.
 * Several words of the daemon's that must be read together (place of a ring, names) are guarded by
 * `layout_seq`: odd while they change, as a seqlock.
 */
struct cm_slot {
	/* ---- line 0, daemon: what changes with traffic */
	_Alignas(CACHELINE) uint32_t ev_seq; /* futex: grows with every piece of news */
	uint32_t state;                      /* enum cm_state */
	uint64_t rx_tail;                    /* received up to here, in order */
	uint64_t tx_head;                    /* acknowledged up to here: room is capacity - (tx_tail - tx_head) */
	uint32_t accept_ready;               /* children waiting */
	int32_t so_error;                    /* pending error, positive errno ... */
	uint32_t so_error_seq;               /* ... new whenever this differs from what the client took */
	uint32_t layout_seq;
	uint64_t tx_sent; /* streams: sent up to here, acknowledged or not */
	uint64_t urgent;  /* streams: place of the newest urgent byte that was announced, plus one; 0: none yet */
	uint64_t rx_time; /* streams with SO_TIMESTAMP: when the newest byte came, CLOCK_MONOTONIC ns */
	/* ---- line 1, daemon: places */
	_Alignas(CACHELINE) struct ring_place rx;
	struct ring_place tx;
	/* ---- line 2, daemon: names and what changes rarely */
	_Alignas(CACHELINE) struct endpoint local;
	struct endpoint remote;
	uint32_t errors;        /* entries in the error queue */
	uint32_t notsent_lowat; /* TCP_NOTSENT_LOWAT, 0: none */
	uint8_t tcp_state;      /* TCP_ESTABLISHED ... as in <netinet/tcp.h> */
	uint8_t pad1[3];
	uint32_t tx_limit; /* SO_SNDBUF as it counts: a stream has at most so much in its ring; 0: what the ring holds */
	uint64_t notsent_most; /* TCP_NOTSENT_LOWAT: a writer may leave so much unsent */
	/* ---- line 3, client */
	_Alignas(CACHELINE) uint64_t rx_head; /* consumed up to here */
	uint64_t tx_tail;                     /* written up to here */
	uint32_t want;                        /* a thread sleeps on ev_seq */
	uint32_t tx_want;                     /* the client met a full transmit ring: tell when there is room */
	uint16_t set[CM_SLOT_SETS];           /* wait sets this socket belongs to, CM_NO_SET for none */
	uint32_t rx_epoch_ack, tx_epoch_ack;  /* newest places the client uses; older ones may be freed */
	uint32_t tx_parked; /* in a share: session + 1 of the holder that asks for CM_GROW; for others it is refused (-EAGAIN) */
	uint32_t pad2[5];
};
static_assert(sizeof(struct cm_slot) == 256, "four lines");

/* How far a stream's transmit ring grows by itself, where SO_SNDBUF was never set; the daemon may be configured for less. */
#define CM_STREAM_TX_MOST (4u << 20)

/* How much a stream may have in a transmit ring of `cap` bytes under that limit. */
static inline uint64_t cm_tx_bound(uint64_t cap, uint32_t limit)
{
	return limit && limit < cap ? limit : cap;
}

/*
 * What the processes that share a socket keep together about it (the kernel's "open file description"):
 * theirs alone, the daemon never looks at it. Used in shares only, beside the slot of the same number.
 */
#define CM_DESC_SIZE 256u

struct cm_set {
	_Alignas(CACHELINE) uint32_t arm; /* client: odd = about to sleep; each arming is a new odd number */
	uint32_t pad[15];
};
static_assert(sizeof(struct cm_set) == CACHELINE, "one line");

/* What AF_PACKET tells about a frame besides its name. */
struct cm_frame {
	uint32_t len;	 /* on the wire: more than was kept, if a filter cut it */
	uint16_t status; /* TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID */
	uint16_t net;	 /* network header, from the start of what was kept */
};

/* A datagram in a datagram ring: this header, then `len` bytes, the next header at a multiple of 64. */
struct cm_dgram {
	uint32_t len;   /* payload bytes, at most CM_DGRAM_MAX */
	uint16_t flags; /* enum cm_dgram_flags */
	uint8_t ttl, tos; /* send: only with CM_DGRAM_TTL, CM_DGRAM_TOS */
	struct endpoint peer;  /* receive: from; send: to (port 0 and wildcard: the connected peer). AF_PACKET: proto/link.h */
	union {
		struct endpoint local; /* receive: destination it came to; send: source wanted, or wildcard */
		struct cm_frame frame; /* receive, AF_PACKET */
	};
	uint16_t ifindex;      /* receive: device it came from; send: device wanted, 0: any */
	uint16_t gso;          /* the payload is datagrams of this size, the last one may be shorter (UDP_SEGMENT, UDP_GRO); 0: it is one */
	uint32_t spec_dst;     /* receive: own IPv4 address for an answer, host order */
	uint64_t time_ns;      /* receive: when, CLOCK_MONOTONIC; send: see CM_DGRAM_STAMP */
};
static_assert(sizeof(struct cm_dgram) == 64, "one line");
/*
 * Options of the IP header, and what else few datagrams have. They stand behind the payload, and cm_dgram.len counts them in.
 * Receive: of UDP and ping sockets, whose payload is without the header. Send: they take the place of the socket's own.
 */
struct cm_options {
	uint8_t len;
	uint8_t bytes[40];
	uint8_t pad[3];
	uint32_t drops; /* receive, with SO_RXQ_OVFL: so many were dropped before this one */
};
static_assert(sizeof(struct cm_options) == 48, "without holes");
#define CM_DGRAM_ALIGN 64u
#define CM_DGRAM_MAX   (65549u + (uint32_t)sizeof(struct cm_options)) /* the longest packet, and a link header */

enum cm_dgram_flags {
	CM_DGRAM_SKIP = 1 << 0,  /* filler up to the ring's end: no datagram; `len` bytes follow */
	CM_DGRAM_TTL = 1 << 1,   /* send: `ttl` is wanted */
	CM_DGRAM_TOS = 1 << 2,   /* send: `tos` is wanted */
	CM_DGRAM_MORE = 1 << 3,  /* send: the next entry goes on with the same datagram (MSG_MORE, UDP_CORK) */
	CM_DGRAM_ASK = 1 << 4,   /* send: its error is for CM_SENT, not for SO_ERROR */
	CM_DGRAM_LINK = 1 << 5,  /* send: only to a neighbour (MSG_DONTROUTE) */
	CM_DGRAM_CONFIRM = 1 << 6, /* send: the neighbour is known to be alive (MSG_CONFIRM) */
	CM_DGRAM_OPTIONS = 1 << 7, /* a struct cm_options ends the payload */
	CM_DGRAM_STAMP = 1 << 8,   /* send: the error queue is to tell when it went out, under the number `time_ns`, ... */
	CM_DGRAM_QUEUED = 1 << 9,  /* ... when the device's queue got it, likewise, ... */
	CM_DGRAM_BARE = 1 << 10,   /* ... and not the frame with it */
};


/*
 * An entry of the error queue (IP_RECVERR, SO_TIMESTAMPING), as CM_ERROR answers it: the completion's ep is the destination
 * of the packet that it is about, data is this. The payload, `len` bytes of that packet behind its transport header, or of
 * the frame of which the time is told, comes in pieces. The entry stays until CM_ERROR_TAKE names its number.
 */
struct cm_error {
	uint32_t number;
	uint32_t err; /* positive errno */
	uint8_t origin, type, code, ttl; /* SO_EE_ORIGIN_...; ttl and tos of the ICMP packet */
	uint32_t info; /* MTU, the parameter problem's pointer, or SCM_TSTAMP_... */
	struct endpoint offender; /* who says so; wildcard: we ourselves */
	struct endpoint local;    /* our address, to which the ICMP packet came */
	uint16_t len, ifindex;
	uint8_t tos, pad[3];
	uint32_t data, pad2; /* SO_EE_ORIGIN_TIMESTAMPING: the datagram's number */
	uint64_t time_ns;
};
static_assert(sizeof(struct cm_error) == 80, "fits a completion");
enum cm_error_part {
	CM_ERROR_HEAD = -1,
	CM_ERROR_TAKE = -2, /* arg1 = number: it is done with; -EAGAIN if it is gone already */
	CM_ERROR_TAKE_COPIES = -3, /* the same of an entry of SO_EE_ORIGIN_ZEROCOPY */
};
/* Bytes that a datagram of `len` takes in its ring. A datagram lies contiguous: where it would cross the ring's end a CM_DGRAM_SKIP fills the rest. */
static inline uint64_t cm_dgram_room(uint32_t len)
{
	return (sizeof(struct cm_dgram) + len + CM_DGRAM_ALIGN - 1) & ~(uint64_t)(CM_DGRAM_ALIGN - 1);
}

struct cm_header {
	/* ---- facts, written by the daemon before the client has the memory */
	uint32_t magic, version;
	uint64_t size;
	uint32_t sq_entries, cq_entries, ev_entries, slots, sets, session;
	uint64_t sq_off, cq_off, ev_off, set_off, slot_off, desc_off, heap_off;
	/* ---- daemon-written */
	_Alignas(CACHELINE) uint64_t sq_cons; /* requests done */
	uint64_t cq_prod;
	uint64_t sq_taken; /* hint for pokes, see above */
	uint64_t ev_prod;
	uint32_t daemon_sleeps; /* "ring me" */
	uint32_t cq_seq;        /* futex: grows with every batch of completions */
	uint32_t incarnation;   /* of the daemon that told everything last; one that knows what was missed tells that only */
	uint32_t ev_lost;       /* grows when an event found no room */
	/* ---- client-written */
	_Alignas(CACHELINE) uint64_t sq_prod;
	uint64_t cq_cons;
	uint64_t ev_cons;
	uint32_t cq_want; /* a thread sleeps on cq_seq */
	uint32_t pad;
};

/* Offsets for a session with `slots` sockets (power of two) in `size` bytes. Returns 0 or -EINVAL. */
int cm_layout(struct cm_header *h, uint64_t size, uint32_t slots);
/* Does the header describe itself and a memory of `size` bytes? 0 or -EPROTO. For clients. */
int cm_check(const struct cm_header *h, uint64_t size);
