/* What the files of the IP layer share: all of it derived, rebuilt after a restart. Private to ip/.
 */
#pragma once
#include "ip/icmp.h"
#include "ip/ip.h"
#include "state/stack.h"

#define ROUTE_CACHE  1024 /* destinations remembered */
#define PMTU_CACHE   256
#define FRAG_BUCKETS 256
#define ICMP_PEERS   256
#define GROUP_BUCKETS 256

enum fib_type {
	FIB_LOCAL,     /* our own address */
	FIB_BROADCAST, /* of one of our subnets */
	FIB_UNICAST,
};

struct fib_entry {
	uint8_t key[16]; /* masked; IPv4 as v4-mapped, so the prefix counts from 96 */
	uint8_t bits;	 /* 0..128 */
	uint8_t type;	 /* enum fib_type */
	uint32_t dev;
	uint32_t metric;
	uint32_t order; /* of the record: the first one wins a tie */
	struct ipaddr gateway, source;
};

struct fib {
	struct fib_entry *entry; /* longest prefix first, then key, then type, metric, order */
	uint32_t n, room;
	uint32_t first[130]; /* entries of prefix length `bits` are [first[bits], first[bits] +
				count[bits]) */
	uint32_t count[130];
	uint8_t used[130]; /* prefix lengths that occur, longest first */
	uint32_t n_used;
	bool stale;
	uint32_t version; /* grows with every change; void cache lines have another one */
};

struct route_line {
	uint32_t version; /* 0: never used */
	uint32_t oif;
	struct ipaddr dst, source;
	struct route r;
};

struct pmtu_line {
	struct ipaddr dst;
	uint32_t mtu;
	uint64_t until_ns;
};

struct bucket { /* of tokens */
	struct ipaddr peer;
	uint64_t tokens_ns; /* time saved up */
	uint64_t last_ns;
};

struct group_next { /* index + 1 */
	uint32_t in_group, of_owner;
};

struct group_table { /* of KIND_MEMBER; heads are index + 1 */
	uint32_t by_group[GROUP_BUCKETS], by_owner[GROUP_BUCKETS];
	struct group_next next[]; /* by record */
};

struct ip_layer {
	struct group_table *groups; /* NULL until somebody joins */
	struct fib fib;
	bool routes_lost; /* to corruption: until the reindex */
	struct route_line cache[ROUTE_CACHE];
	struct pmtu_line pmtu[PMTU_CACHE];
	/* Reassembly: index of KIND_FRAG by key, and what is held */
	uint32_t frag_head[FRAG_BUCKETS];
	uint32_t *frag_next;
	uint32_t frag_room, frag_pieces;
	/* The header of the packet being delivered, as it was checked: for errors that quote it */
	uint8_t header[60];
	uint32_t header_len;
	/* Identification: [id_next, id_end) is reserved in the world's record */
	uint32_t id_next, id_end;
	struct bucket icmp_all, icmp_peer[ICMP_PEERS];
	uint8_t scratch[65536];
};

static inline struct ip_layer *ip_of(const struct stack *s)
{
	return s->ip;
}

/* group.c */
int group_reindex(struct stack *s);

/* fib.c: addresses or routes have changed. */
void fib_changed(struct stack *s);
/* Longest prefix, then metric; entries of other devices than `oif` (unless NO_INDEX) do not count,
 * our own addresses always do. */
const struct fib_entry *fib_lookup(const struct stack *s, const struct ipaddr *dst, uint32_t oif);
void fib_free(struct fib *f);
/* icmp.c: quotes the packet in hand, whose front is behind the header of `m`. */
void icmp_quote_packet(
    struct stack *s, struct icmp_quote *q, const struct packet *p, const struct ip_meta *m);
