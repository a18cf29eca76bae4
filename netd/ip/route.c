/*
 * Routing: the KIND_ROUTE records, and the question that every sender asks, ip_route().
 *
 * Answers are remembered in a direct-mapped cache by a keyed hash of the question; a line is void
 * when the table has changed since. What a path's MTU is (RFC 1191) is remembered by destination;
 * both are hints and begin empty after a restart.
 */
#include "ip/route.h"
#include "ip/addr.h"
#include "ip/layer.h"
#include "base/siphash.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>

#define PMTU_MIN	  552
#define PMTU_LIFE_NS	  (600 * NSEC_PER_SEC)
#define LIMITED_BROADCAST UINT32_MAX
#define LOOPBACK_BROADCAST 0x7fffffffu /* of lo's subnet */

/* ---- records */

static bool same_route(const struct route_rec *a, const struct route_rec *b)
{
	return a->prefix == b->prefix && a->metric == b->metric && ipaddr_eq(&a->dst, &b->dst);
}

uint32_t route_next(const struct stack *s, uint32_t from, const struct route_rec **r)
{
	uint32_t i = state_next(s->state, KIND_ROUTE, from);

	*r = i == NO_INDEX ? NULL : state_peek(s->state, KIND_ROUTE, i);
	return i;
}

/* Makes sense of a wish: its device, and everything that must hold. */
static int check_route(const struct stack *s, struct route_rec *r)
{
	uint32_t dst = ipaddr_to_v4(&r->dst);
	const struct fib_entry *e;

	if (!ipaddr_is_v4(&r->dst) || !ipaddr_is_v4(&r->gateway) || !ipaddr_is_v4(&r->source))
		return -EAFNOSUPPORT;
	if (r->prefix > 32 || (r->prefix < 32 && (dst & UINT32_MAX >> r->prefix)))
		return -EINVAL;
	if (!ipaddr_is_any(&r->source) && !ip_is_local(s, &r->source))
		return -EADDRNOTAVAIL;
	if (!ipaddr_is_any(&r->gateway)) {
		e = fib_lookup(s, &r->gateway, r->dev);
		if (!e || e->type != FIB_UNICAST || !ipaddr_is_any(&e->gateway))
			return -ENETUNREACH;
		if (r->dev == NO_INDEX)
			r->dev = e->dev;
	}
	return device_peek(s, r->dev) ? 0 : -ENODEV;
}

int route_add(struct stack *s, const struct route_rec *want)
{
	struct route_rec r = *want, *rec;
	const struct route_rec *other;
	uint32_t index;
	int ret = check_route(s, &r);

	if (ret)
		return ret;
	for (uint32_t i = route_next(s, 0, &other); i != NO_INDEX; i = route_next(s, i + 1, &other))
		if (same_route(other, &r))
			return -EEXIST;
	rec = state_alloc(s->state, KIND_ROUTE, &index);
	if (!rec)
		return -ENOSPC;
	*rec = r;
	fib_changed(s);
	return 0;
}

void route_lost(struct stack *s, uint32_t index)
{
	(void)index;
	ip_of(s)->routes_lost = true;
}

int route_delete(struct stack *s, const struct route_rec *which)
{
	const struct route_rec *r;

	for (uint32_t i = route_next(s, 0, &r); i != NO_INDEX; i = route_next(s, i + 1, &r)) {
		if (r->prefix != which->prefix || !ipaddr_eq(&r->dst, &which->dst) ||
		    (!ipaddr_is_any(&which->gateway) && !ipaddr_eq(&r->gateway, &which->gateway)) ||
		    (which->dev != NO_INDEX && r->dev != which->dev) ||
		    (which->metric && r->metric != which->metric))
			continue;
		state_free(s->state, KIND_ROUTE, i);
		fib_changed(s);
		return 0;
	}
	return -ESRCH;
}

/* ---- what kind of address is this? */

bool ip_is_local(const struct stack *s, const struct ipaddr *a)
{
	const struct fib_entry *e;

	if (!ipaddr_is_v4(a) || ipaddr_is_any(a))
		return false;
	if (ip_is_loopback(a))
		return ipaddr_to_v4(a) != LOOPBACK_BROADCAST;
	e = fib_lookup(s, a, NO_INDEX);
	return e && e->type == FIB_LOCAL;
}

bool ip_is_broadcast(const struct stack *s, const struct ipaddr *a)
{
	const struct fib_entry *e;

	if (!ipaddr_is_v4(a) || ipaddr_is_any(a))
		return false;
	if (ipaddr_to_v4(a) == LIMITED_BROADCAST || ipaddr_to_v4(a) == LOOPBACK_BROADCAST)
		return true;
	e = fib_lookup(s, a, NO_INDEX);
	return e && e->type == FIB_BROADCAST;
}

/* ---- path MTU */

static struct pmtu_line *pmtu_line(const struct stack *s, const struct ipaddr *dst)
{
	return &ip_of(s)->pmtu[siphash(&world_peek(s)->hash_key, dst, sizeof(*dst)) % PMTU_CACHE];
}

void ip_pmtu_update(struct stack *s, const struct ipaddr *dst, uint32_t mtu)
{
	struct pmtu_line *l = pmtu_line(s, dst);

	if (ip_is_local(s, dst))
		return;
	*l = (struct pmtu_line){
	    .dst = *dst, .mtu = max_of(mtu, (uint32_t)PMTU_MIN), .until_ns = s->now + PMTU_LIFE_NS};
}

uint32_t ip_device_mtu(const struct stack *s, uint32_t dev)
{
	const struct device_rec *d = device_peek(s, dev);

	return d ? d->mtu : 0;
}

static uint32_t path_mtu(const struct stack *s, const struct ipaddr *dst, uint32_t dev)
{
	uint32_t mtu = ip_device_mtu(s, dev);
	const struct pmtu_line *l = pmtu_line(s, dst);

	if (l->until_ns > s->now && ipaddr_eq(&l->dst, dst))
		return min_of(mtu, l->mtu);
	return mtu;
}

/* ---- the question */

static int choose_source(
    const struct stack *s, const struct fib_entry *e, const struct ipaddr *source, struct route *r)
{
	if (!ipaddr_is_any(source))
		r->source = *source;
	else if (e && !ipaddr_is_any(&e->source))
		r->source = e->source;
	else if (!addr_select(s, r->dev, &r->next_hop, &r->source)) {
		/* The device has no address of its own: any other of ours (RFC 1122, 3.3.4.3). */
		const struct addr_rec *a;

		if (addr_next(s, 0, &a) == NO_INDEX)
			return -ENETUNREACH;
		r->source = a->addr;
	}
	if (ip_is_loopback(&r->source) && r->dev != DEVICE_LO)
		return -EINVAL;
	return 0;
}

/* Multicast and limited broadcast leave by the device of their source where nothing else is said.
 */
static uint32_t group_device(const struct stack *s, const struct ipaddr *source, uint32_t oif)
{
	return oif == NO_INDEX && !ipaddr_is_any(source) ? addr_device(s, source) : oif;
}

static int resolve(const struct stack *s, const struct ipaddr *dst, const struct ipaddr *source,
    uint32_t oif, struct route *r)
{
	bool limited = ipaddr_to_v4(dst) == LIMITED_BROADCAST,
	     group = limited || ip_is_multicast(dst);
	const struct fib_entry *e;

	memset(r, 0, sizeof(*r));
	if (group)
		oif = group_device(s, source, oif);
	e = fib_lookup(s, dst, oif);
	if (!e && oif == NO_INDEX)
		return -ENETUNREACH;
	if (!e && !device_peek(s, oif))
		return -ENETUNREACH;
	/* Told to use a device without a route: the destination is taken to be on its link, as in
	 * the kernel. */
	r->dev = e ? e->dev : oif;
	r->local = e && e->type == FIB_LOCAL;
	r->broadcast = limited || ipaddr_to_v4(dst) == LOOPBACK_BROADCAST || (e && e->type == FIB_BROADCAST);
	r->next_hop = e && !group && !ipaddr_is_any(&e->gateway) ? e->gateway : *dst;
	return choose_source(s, e, source, r);
}

static struct route_line *cache_line(
    const struct stack *s, const struct ipaddr *dst, const struct ipaddr *source, uint32_t oif)
{
	struct {
		struct ipaddr dst, source;
		uint32_t oif;
	} key = {*dst, *source, oif};

	return &ip_of(s)->cache[siphash(&world_peek(s)->hash_key, &key, sizeof(key)) % ROUTE_CACHE];
}

static int cached(struct stack *s, const struct ipaddr *dst, const struct ipaddr *source,
    uint32_t oif, struct route *r)
{
	struct route_line *l = cache_line(s, dst, source, oif);
	uint32_t version = ip_of(s)->fib.version;
	int ret;

	if (l->version == version && l->oif == oif && ipaddr_eq(&l->dst, dst) &&
	    ipaddr_eq(&l->source, source)) {
		*r = l->r;
		return 0;
	}
	if (!ipaddr_is_any(source) && !ip_is_local(s, source))
		return -EADDRNOTAVAIL;
	ret = resolve(s, dst, source, oif, r);
	if (ret)
		return ret;
	*l = (struct route_line){
	    .version = version, .oif = oif, .dst = *dst, .source = *source, .r = *r};
	return 0;
}

int ip_route(struct stack *s, const struct ipaddr *dst, const struct ipaddr *source, uint32_t oif,
    struct route *r)
{
	static const struct ipaddr any;
	struct ipaddr to = *dst;
	int ret;

	if (!source)
		source = &any;
	if (!ipaddr_is_v4(dst) || !ipaddr_is_v4(source))
		return -ENETUNREACH;
	if (ipaddr_is_any(dst))
		to = ipaddr_is_any(source) ? ipaddr_v4(0x7f000001) : *source;
	ret = cached(s, &to, source, oif, r);
	if (ret) {
		s->count.ip_no_route += ret == -ENETUNREACH;
		return ret;
	}
	r->mtu = path_mtu(s, &to, r->dev);
	return 0;
}
