/*
 * The derived routing table.
 *
 * Theory of operation. Addresses (KIND_ADDR) and routes (KIND_ROUTE) are the facts; from both one
 * sorted array is made: our own addresses and 127.0.0.0/8 as local entries, broadcast addresses of
 * our subnets, then routes. It is sorted by prefix length (longest first), network, and preference;
 * a lookup does one binary search for each prefix length that occurs, which is a handful. The array
 * is made anew at the first lookup after a change, so a thousand changes in a row cost one sort.
 *
 * The kernel keeps local and main tables apart and asks the local one first. Here one table has
 * both: local and broadcast entries are host entries (but for 127.0.0.0/8), and win ties.
 */
#include "ip/layer.h"
#include "ip/addr.h"
#include "ip/route.h"
#include "base/log.h"
#include "device/device.h"
#include <stdlib.h>

static void mask_to(uint8_t key[16], const struct ipaddr *a, unsigned bits)
{
	memset(key, 0, 16);
	memcpy(key, a->b, bits / 8);
	if (bits % 8)
		key[bits / 8] = (uint8_t)(a->b[bits / 8] & (0xff00 >> (bits % 8)));
}

/* As keys are: the IPv4 wildcard is ::ffff:0.0.0.0 here, so that default routes have 96 bits. */
static struct ipaddr key_of(const struct ipaddr *a)
{
	struct ipaddr k = *a;

	if (ipaddr_is_any(a))
		k.b[10] = k.b[11] = 0xff;
	return k;
}

static struct fib_entry *fib_add(
    struct fib *f, const struct ipaddr *dst, unsigned v4_prefix, enum fib_type type)
{
	struct ipaddr k = key_of(dst);
	struct fib_entry *e;

	if (f->n == f->room) {
		uint32_t room = f->room ? f->room * 2 : 64;
		struct fib_entry *grown = realloc(f->entry, room * sizeof(*grown));

		if (!grown)
			return NULL;
		f->entry = grown;
		f->room = room;
	}
	e = &f->entry[f->n];
	*e = (struct fib_entry){
	    .bits = (uint8_t)(96 + v4_prefix), .type = (uint8_t)type, .order = f->n};
	mask_to(e->key, &k, e->bits);
	f->n++;
	return e;
}

static int by_key(const struct fib_entry *e, const uint8_t key[16])
{
	return memcmp(e->key, key, 16);
}

#define ORDER(a, b)                                                                                \
	do {                                                                                       \
		if ((a) != (b))                                                                    \
			return (a) < (b) ? -1 : 1;                                                 \
	} while (0)

static int compare(const void *va, const void *vb)
{
	const struct fib_entry *a = va, *b = vb;
	int c;

	ORDER(b->bits, a->bits);
	c = by_key(a, b->key);
	if (c)
		return c;
	ORDER(a->type, b->type);
	ORDER(a->metric, b->metric);
	ORDER(a->order, b->order);
	return 0;
}

static bool add_addresses(const struct stack *s, struct fib *f)
{
	const struct ipaddr loopback = ipaddr_v4(0x7f000001), net = ipaddr_v4(0x7f000000);
	const struct addr_rec *a;
	struct fib_entry *e = fib_add(f, &net, 8, FIB_LOCAL);

	if (!e)
		return false;
	e->dev = DEVICE_LO;
	e->source = loopback;
	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a)) {
		uint32_t host = a->prefix < 32 ? UINT32_MAX >> a->prefix : 0;
		struct ipaddr all = ipaddr_v4(ipaddr_to_v4(&a->addr) | host);

		e = fib_add(f, &a->addr, 32, FIB_LOCAL);
		if (!e)
			return false;
		e->dev = DEVICE_LO;
		e->source = a->addr;
		if (a->prefix > 30)
			continue;
		e = fib_add(f, &all, 32, FIB_BROADCAST);
		if (!e)
			return false;
		e->dev = a->dev;
		e->source = a->addr;
	}
	return true;
}

static bool add_routes(const struct stack *s, struct fib *f)
{
	const struct route_rec *r;

	for (uint32_t i = route_next(s, 0, &r); i != NO_INDEX; i = route_next(s, i + 1, &r)) {
		struct fib_entry *e = fib_add(f, &r->dst, r->prefix, FIB_UNICAST);

		if (!e)
			return false;
		e->dev = r->dev;
		e->metric = r->metric;
		e->gateway = r->gateway;
		e->source = r->source;
	}
	return true;
}

static void index_lengths(struct fib *f)
{
	memset(f->count, 0, sizeof(f->count));
	f->n_used = 0;
	for (uint32_t i = 0; i < f->n; i++) {
		uint8_t bits = f->entry[i].bits;

		if (!f->count[bits]++) {
			f->first[bits] = i;
			f->used[f->n_used++] = bits;
		}
	}
}

static void rebuild(const struct stack *s, struct fib *f)
{
	f->n = 0;
	if (!add_addresses(s, f) || !add_routes(s, f))
		log_error("no memory for the routing table: it is not complete");
	if (f->n)
		qsort(f->entry, f->n, sizeof(*f->entry), compare);
	index_lengths(f);
	f->stale = false;
}

void fib_changed(struct stack *s)
{
	struct fib *f = &ip_of(s)->fib;

	f->stale = true;
	f->version++;
	if (!f->version)
		f->version = 1;
}

void fib_free(struct fib *f)
{
	free(f->entry);
}

/* The first entry of this length whose key is not below `key`. */
static uint32_t lower_bound(const struct fib *f, uint8_t bits, const uint8_t key[16])
{
	uint32_t low = f->first[bits], high = low + f->count[bits];

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (by_key(&f->entry[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct fib_entry *fib_lookup(const struct stack *s, const struct ipaddr *dst, uint32_t oif)
{
	struct fib *f = &ip_of(s)->fib;
	struct ipaddr full = key_of(dst);

	if (f->stale)
		rebuild(s, f);
	for (uint32_t u = 0; u < f->n_used; u++) {
		uint8_t bits = f->used[u], key[16];
		uint32_t end = f->first[bits] + f->count[bits];

		mask_to(key, &full, bits);
		for (uint32_t i = lower_bound(f, bits, key); i < end && !by_key(&f->entry[i], key);
		     i++)
			if (oif == NO_INDEX || f->entry[i].type == FIB_LOCAL ||
			    f->entry[i].dev == oif)
				return &f->entry[i];
	}
	return NULL;
}
