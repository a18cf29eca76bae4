/*
 * IP as the transports see it. RFC 791, 1122, 1812.
 */
#pragma once
#include "device/packet.h"
#include "proto/endpoint.h"

struct stack;
struct ipopt;

int ip_layer_init(struct stack *s);
void ip_layer_exit(struct stack *s);
/* Rebuilds what is derived (route and local tables, reassembly index) and claims the chunks of KIND_FRAG. */
int ip_reindex(struct stack *s);

/* A way to a destination: the answer of the routing table. */
struct route {
	uint32_t dev;
	uint32_t mtu;
	struct ipaddr next_hop; /* the destination itself when on link */
	struct ipaddr source;   /* chosen for this way */
	bool local;             /* the destination is one of our own addresses: dev is lo */
	bool broadcast;
};

/*
 * Longest prefix, then metric. `source` may be the wildcard (then it is chosen) and `oif` NO_INDEX.
 * The wildcard as destination means this host: the loopback address, or `source`; r->next_hop then
 * tells which. r->mtu is the path MTU where one is known, else the device's.
 * Returns 0, -ENETUNREACH (IPv6 too: there is no route), -EADDRNOTAVAIL (source is not ours), -EINVAL
 * (loopback source to another device).
 */
int ip_route(struct stack *s, const struct ipaddr *dst, const struct ipaddr *source, uint32_t oif, struct route *r);
/* A transport believes a "fragmentation needed": remembered for ten minutes, no less than 552. */
void ip_pmtu_update(struct stack *s, const struct ipaddr *dst, uint32_t mtu);
/* The route's device MTU, whatever the path's is. */
uint32_t ip_device_mtu(const struct stack *s, uint32_t dev);
/* Broadcast address (of one of our subnets, or 255.255.255.255)? */
bool ip_is_broadcast(const struct stack *s, const struct ipaddr *a);
static inline bool ip_is_multicast(const struct ipaddr *a)
{
	return ipaddr_is_v4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}
static inline bool ip_is_loopback(const struct ipaddr *a)
{
	return ipaddr_is_v4(a) && a->b[12] == 127;
}
/* Is this one of our addresses (127.0.0.0/8 included)? */
bool ip_is_local(const struct stack *s, const struct ipaddr *a);

struct ip_meta { /* of a received packet; the front is at the transport header */
	struct ipaddr src, dst;
	uint32_t dev;
	uint8_t proto, ttl, tos;
	bool to_broadcast, to_multicast;
	uint8_t header_len;
	const uint8_t *header; /* as it was checked, this host added to its options; while it is delivered */
};

struct ip_send { /* what an outgoing packet asks for */
	struct ipaddr src, dst;
	uint8_t proto, ttl, tos;
	bool dont_fragment;
	bool no_loop;  /* to a group: not heard on this host */
	bool zero_ttl; /* a ttl of 0 is meant: the packet stays on this host */
	const struct ipopt *options; /* NULL: none */
	struct ipaddr final;	     /* with options: the end of a source route, of which dst is the first hop */
};

/*
 * Sends: the front is at the transport header. Pushes the IP header, passes LOCAL_OUT and
 * POST_ROUTING, fragments if it must, resolves the neighbour. Takes the packet, which was allocated
 * for r->dev. GSO packets pass whole. 0, -EMSGSIZE (dont_fragment and too long), -ENOBUFS, -EHOSTUNREACH.
 */
int ip_output(struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how);
/* The same for a packet that has its IP header, complete. It is not fragmented. */
int ip_output_header(struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how);
/* `n` identifications for packets of this flow; the first. */
uint16_t ip_next_id(struct stack *s, const struct ip_send *how, uint32_t n);

/* Sum of the pseudo header (not complemented), to seed a transport checksum. */
uint32_t ip_pseudo_sum(const struct ipaddr *src, const struct ipaddr *dst, uint8_t proto, uint32_t len);

/* An ICMP error about a packet that we sent. */
struct ip_error {
	struct ip_meta about; /* that packet: src is ours */
	struct ip_meta by;    /* the ICMP packet: src says so */
	uint8_t type, code;
	bool hard;
	int err;       /* positive errno */
	uint32_t mtu;  /* non-zero for "fragmentation needed" */
	uint32_t info; /* the same, or where the parameter problem is */
	const uint8_t *quote; /* the packet's transport bytes, as far as they are quoted: at least 8 */
	uint32_t quote_len;
};

/* Handlers that transports register in the switchboard's inet_protos table. */
struct inet_proto {
	uint8_t number;
	/* The front is at the transport header; p->len is the transport's length (padding already cut). */
	void (*input)(struct stack *s, struct packet *p, const struct ip_meta *m);
	/* An ICMP error came for a packet of this protocol that we sent. */
	void (*error)(struct stack *s, const struct ip_error *e);
};

/* Answers a packet that cannot be delivered. `p` as the input handler got it. RFC 1122, 3.2.2. */
void icmp_unreachable(struct stack *s, struct packet *p, const struct ip_meta *m, uint8_t code);
