/*
 * What the files of the INET layer share: tables by port and by connection, all derived. Private to
 * inet/.
 *
 * Theory of operation. Every owner of a local port stands in the bucket of (protocol, port):
 * sockets without a peer in the list `idle`, which is what a lookup of listeners and unconnected
 * datagram sockets walks; sockets of the connected table in `busy`, which only a bind walks, and
 * may be a million for a server's port; TIME_WAIT connections in `others`, by what they left behind.
 * An entry of the connected table is small, for its socket's record has the names; of records of other
 * kinds, which belong to layers above, it keeps them beside the table (struct conn_names).
 */
#pragma once
#include "inet/sock.h"
#include "ip/ip.h"

#define DEVICES_MAX 32u /* KIND_DEVICE's capacity */

#define PORT_MIN 32768u /* ephemeral ports, as the kernel's ip_local_port_range */
#define PORT_MAX 60999u

struct conn_entry {
	uint32_t next; /* in its hash chain, or in the free list */
	uint32_t hash;
	uint32_t index; /* of the record */
	uint32_t names; /* kinds other than KIND_SOCK: in conn_table.names */
	uint8_t kind, protocol;
};

/* What a socket leaves behind in TIME_WAIT that binds must ask about; see port_claim. */
struct conn_names {
	struct endpoint local, remote;
	struct port_claim claim;
	uint32_t bucket;     /* of the local port, 0: it claims none ... */
	uint32_t prev, next; /* ... and its list in it; `next` in the free list, too */
};

struct conn_table {
	struct conn_entry *entry; /* 1-based: 0 is none */
	uint32_t room, used, free;
	struct conn_names *names; /* 1-based */
	uint32_t names_room, names_used, names_free;
	uint32_t *head;
	uint32_t buckets, count;
};

struct port_bucket {
	uint32_t next; /* in its hash chain, or in the free list */
	uint16_t port;
	uint8_t protocol;
	uint32_t idle, busy; /* sockets, index + 1; 0 is none */
	uint32_t others;     /* conn_table.names: TIME_WAITs */
};

struct port_table {
	struct port_bucket *bucket; /* 1-based */
	uint32_t room, used, free;
	uint32_t *head;
	uint32_t buckets, count;
};

/* A socket's place in the tables. */
struct sock_node {
	uint32_t bucket;     /* 0: owns no port */
	uint32_t prev, next; /* in the bucket's list, index + 1 */
	bool busy;	     /* which list */
	bool changed;	     /* stands in inet_layer.changed */
	bool stalled;	     /* stands in inet_layer.stalled */
};

/* What few sockets need: apart, so that it costs memory for those only. */
struct sock_rare {
	uint32_t err_first, err_last, errors; /* error queue: records, index + 1 */
	/* Raw sockets of a protocol, or taps: their list, index + 1. They own no port. */
	uint32_t raw_prev, raw_next, *raw_head;
};

struct index_list {
	uint32_t *v;
	uint32_t n, room, at;
};

struct inet_layer {
	struct conn_table conn;
	struct port_table port;
	struct sock_node *node; /* by socket index */
	struct sock_rare *rare; /* likewise */
	uint32_t nodes;
	struct index_list changed;
	struct index_list stalled;    /* datagram sockets whose device was full */
	uint32_t *err_next;	      /* by KIND_ERRQ, index + 1 of the same socket's next; made at first use */
	uint32_t port_next, port_end; /* reserved part of world_rec.port_cursor */
	uint32_t raw[256];	      /* raw sockets by protocol, index + 1 */
	uint32_t taps;		      /* packet sockets that have a protocol */
	uint32_t tap_sends;	      /* the tap whose frame goes out now: it does not see it; index + 1 */
	struct txstamp *txstamp;      /* a datagram is being sent whose time is wanted */
	uint16_t promisc[DEVICES_MAX];
};

static inline struct inet_layer *inet_of(const struct stack *s)
{
	return s->inet;
}

/* sock.c */
/* The node, made if there is none yet; NULL without memory. */
struct sock_node *sock_node(struct stack *s, uint32_t sk);
static inline const struct sock_node *sock_node_peek(const struct stack *s, uint32_t sk)
{
	static const struct sock_node none;

	return sk < s->inet->nodes ? &s->inet->node[sk] : &none;
}
static inline struct sock_rare *sock_rare(const struct stack *s, uint32_t sk)
{
	return sk < s->inet->nodes ? &s->inet->rare[sk] : NULL;
}
static inline const struct sock_rare *sock_rare_peek(const struct stack *s, uint32_t sk)
{
	static const struct sock_rare none;

	return sk < s->inet->nodes ? &s->inet->rare[sk] : &none;
}
int index_list_add(struct index_list *l, uint32_t v);

/* bucket.c: owners of ports */
uint32_t bucket_find(const struct stack *s, uint8_t protocol, uint16_t port);
/* Finds or makes it; 0 without memory. */
uint32_t bucket_get(struct stack *s, uint8_t protocol, uint16_t port);
/* Gives it back when nobody owns the port any more. */
void bucket_put(struct stack *s, uint32_t b);
static inline struct port_bucket *bucket_at(const struct stack *s, uint32_t b)
{
	return &s->inet->port.bucket[b];
}
/* Enters the socket as an owner of k->local.port. 0 or -ENOMEM. */
int owner_add(struct stack *s, uint32_t sk, bool busy);
void owner_remove(struct stack *s, uint32_t sk);
void owner_move(struct stack *s, uint32_t sk, bool busy);
void bucket_exit(struct port_table *t);

/* conn.c */
/* Room for so many at once, as many as there will be after a restart; `named` of them are not KIND_SOCK. 0 or -ENOMEM. */
int conn_reserve(struct stack *s, uint32_t n, uint32_t named);
void conn_exit(struct conn_table *t);
/* The entry of the 4-tuple, 0 if there is none. */
uint32_t conn_entry_of(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote);

/* lookup.c: may this socket get what comes to `local` from `remote` on `dev`? Higher is better, 0:
 * no. */
unsigned sock_score(const struct sock_rec *k, const struct endpoint *local,
    const struct endpoint *remote, uint32_t dev);

struct ip_meta;
struct packet;

/* As the kernel counts: lo is 1. */
#define IFINDEX(dev) ((uint16_t)((dev) + 1))

/* raw.c: lists and records of raw and packet sockets */
struct raw_rec;
static inline const struct raw_rec *raw_peek(const struct stack *s, const struct sock_rec *k)
{
	return k->raw ? state_peek(s->state, KIND_RAW, k->raw - 1u) : NULL;
}
static inline struct raw_rec *raw_get(struct stack *s, const struct sock_rec *k)
{
	return k->raw ? state_get(s->state, KIND_RAW, k->raw - 1u) : NULL;
}
/* A KIND_RAW record for the socket. 0, -ENOBUFS. */
int raw_attach(struct stack *s, uint32_t sk);
/* Into a list (&inet_layer.raw[protocol], &inet_layer.taps), and out of the one it is in. */
void raw_list(struct stack *s, uint32_t sk, uint32_t *head);
void raw_unlist(struct stack *s, uint32_t sk);
/* All that a socket has of it goes; any socket may be asked. */
void raw_forget(struct stack *s, uint32_t sk);
/* After the sockets: records without their socket, and memory of filters. */
int raw_reindex(struct stack *s);

/* filter.c */
struct bpf_packet;
/* CM_FILTER: see proto/client.h. */
int filter_piece(struct stack *s, uint32_t sk, uint32_t at, uint32_t total, const void *insns, uint32_t n);
void filter_free(struct stack *s, struct raw_rec *r);
/* Claims its memory after a restart; a program that is not there any more means that nothing passes. */
void filter_reindex(struct stack *s, uint32_t sk);
/* Bytes of the packet that pass; 0: it is not wanted. */
uint32_t filter_run(const struct stack *s, const struct raw_rec *r, const struct bpf_packet *p);
/* An IP packet as a filter sees it. */
struct filter_ip {
	const uint8_t *header;
	uint32_t header_len;
	const struct packet *p; /* its front behind the IP header; `len` bytes of it count, without `skip` bytes from `gap` on */
	uint32_t len, gap, skip;
	bool transport; /* the program's offset 0 is behind the IP header */
};
/* Bytes of it that pass the socket's filter, counted from the program's offset 0. */
uint32_t filter_run_ip(const struct stack *s, const struct sock_rec *k, const struct ip_meta *m, const struct filter_ip *v);
/* SO_LOCK_FILTER. */
int filter_setsockopt(struct stack *s, uint32_t sk, const void *val, uint32_t len);

/* mailbox.c: datagram rings of UDP, raw, ping and packet sockets */
/* Memory for what will come. 0 or -ENOBUFS. */
int mailbox_open(struct stack *s, uint32_t sk);
struct mailbox_place { /* of a message in the receive ring */
	uint64_t pos;
	uint64_t skip; /* filler before it */
};
/* Where `len` bytes of payload go, beyond the ring's end; the ring is made if there is none. NULL: no room. */
uint8_t *mailbox_reserve(struct stack *s, uint32_t sk, const struct sock_rec *k, uint32_t len, struct mailbox_place *at);
/* The payload is there: its header, and the ring's end moves. */
void mailbox_append(struct stack *s, uint32_t sk, const struct mailbox_place *at, const struct cm_dgram *h);
/* What every header tells of an IP packet; there are no ports in it. */
struct cm_dgram mailbox_header(const struct stack *s, const struct ip_meta *m, uint32_t len);
/*
 * The options of the packet's header (`m` NULL: a frame, which has none), and what else there is to follow its payload: what
 * that adds to it, and to `h`; 0 if it is nothing.
 */
uint32_t mailbox_options(const struct stack *s, uint32_t sk, const struct ip_meta *m, struct cm_dgram *h, struct cm_options *o);
struct letter { /* one message for a receive ring: `head` bytes, what lies in the packet, `tail` bytes */
	struct cm_dgram h;
	const uint8_t *head;
	uint32_t head_len;
	const struct packet *p;
	uint32_t off; /* from its front; what h.len has beside head and tail */
	const void *tail;
	uint32_t tail_len;
};
/* Into the socket's receive ring. False: no room, and it is counted. */
bool mailbox_put(struct stack *s, uint32_t sk, const struct letter *l);
/* Marks the directions; what the client library makes of that depends on the kind of socket. */
int mailbox_shutdown(struct stack *s, uint32_t sk, int how);
int mailbox_reindex(struct stack *s, uint32_t sk);
void mailbox_publish(const struct stack *s, uint32_t sk, struct sock_view *v);
void mailbox_live_range(const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to);
int mailbox_setsockopt(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len);

/* mailbox_send.c */
#define MAILBOX_FULL   1 /* the device has no room now */
#define MAILBOX_PIECES 256u

struct mailbox_piece { /* of a datagram's payload, in the transmit ring */
	uint64_t pos;
	uint32_t len;
};

/* A datagram to be sent: private copies of what its entries say. */
struct mailbox_job {
	struct cm_dgram h; /* of the first entry */
	uint32_t n, len;
	uint64_t next; /* the ring's position behind it */
	struct cm_options options; /* with CM_DGRAM_OPTIONS */
	struct mailbox_piece piece[MAILBOX_PIECES];
};

/* How a kind of socket sends. */
struct mailbox_way {
	/* 0, MAILBOX_FULL, or the error that its sender gets. */
	int (*send)(struct stack *s, uint32_t sk, const struct mailbox_job *j);
	uint32_t flags; /* of headers, beside those that all kinds know */
};
extern const struct mailbox_way udp_way, raw_way, tap_way; /* udp_output.c, raw_send.c, tap_send.c */
int mailbox_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail, const struct mailbox_way *way);
void mailbox_close(struct stack *s, uint32_t sk, const struct mailbox_way *way);
/* Goes on at a timer or a completion: there is no request to answer. */
void mailbox_resume(struct stack *s, uint32_t sk, const struct mailbox_way *way);
/* Looks at the socket's transmit ring soon. */
void mailbox_stall(struct stack *s, uint32_t sk);
/* A packet for the device with the datagram's payload, `front` bytes behind its front. 0, MAILBOX_FULL, or a negative errno. */
int mailbox_packet(struct stack *s, uint32_t sk, const struct mailbox_job *j, uint32_t dev, uint32_t front, struct packet *p);
/* Has the device room for `len` bytes now, cut into frames of `size`, 0: of its MTU? */
bool mailbox_room(const struct stack *s, uint32_t dev, uint32_t len, uint32_t size);

/* txstamp.c: way->send() for a datagram with CM_DGRAM_STAMP or CM_DGRAM_QUEUED. */
int txstamp_send(struct stack *s, uint32_t sk, const struct mailbox_way *way, const struct mailbox_job *j);
/* A frame that goes out meanwhile: its link header, and what follows that from `off` on. */
void txstamp_frame(struct stack *s, const struct packet *p, const uint8_t *link, uint32_t off, uint16_t ethertype);

/* tap.c */
/* Its memberships end. */
void tap_leave(struct stack *s, struct raw_rec *r);

/* May the socket have this packet, which came to a group? */
bool sock_hears(const struct stack *s, uint32_t sk, const struct ip_meta *m);

/* way.c: a datagram to `to`, by what its header and its socket wish */
struct sockx_rec;
/* IP options of the datagram, or else of its socket, and what of `how` follows from them: how->dst becomes the first hop of a
 * source route. `o` lives as long as `how`. 0, -EINVAL. */
struct ipopt;
int way_options(const struct stack *s, uint32_t sk, const struct mailbox_job *j, struct ip_send *how, struct ipopt *o);
/* Source, or wildcard, and device, or NO_INDEX. 0, -ENODEV. */
int way_wish(const struct stack *s, const struct sock_rec *k, const struct cm_dgram *h, struct ipaddr *src, uint32_t *oif);
/* The route is there: addresses, TOS, TTL. how->dst is set. */
void way_fill(const struct sock_rec *k, const struct sockx_rec *x, const struct cm_dgram *h, const struct route *r, struct ip_send *how);
/* DF of a packet of `total` bytes, by IP_MTU_DISCOVER. True: it may not go if it is longer than r->mtu. */
bool way_dont_fragment(const struct stack *s, const struct sock_rec *k, uint32_t total, struct ip_send *how, struct route *r);
/* Then this is its error, and an entry of the error queue if the socket has one. */
int way_too_long(struct stack *s, uint32_t sk, const struct endpoint *to, const struct route *r);

/* names that raw and ping sockets share: raw.c */
int raw_connect(struct stack *s, uint32_t sk, const struct endpoint *ep);
/* Where a datagram goes, and which way: `how` and `r` filled in from datagram and socket; `o` as above. */
int raw_choose(struct stack *s, uint32_t sk, const struct mailbox_job *j, struct ip_send *how, struct route *r, struct ipopt *o);
/* DF by IP_MTU_DISCOVER; -EMSGSIZE, and an entry of the error queue, if `total` bytes with the IP header cannot go; `whole`: not in fragments. */
int raw_fragmenting(struct stack *s, uint32_t sk, uint32_t total, bool whole, struct ip_send *how, struct route *r);

/* udp_option.c */
int udp_setsockopt(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len);
int udp_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len);

/* udp_receive.c */
void udp_input(struct stack *s, struct packet *p, const struct ip_meta *m);

/* udp.c */
/* Binds the socket to an ephemeral port if it has none. */
int udp_autobind(struct stack *s, uint32_t sk, const struct ipaddr *local);
/* May this socket send to the address? 0, -EACCES, -ENETUNREACH, -EAFNOSUPPORT. */
int udp_may_send(const struct stack *s, const struct sock_rec *k, const struct ipaddr *to);
