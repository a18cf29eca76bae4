/* Addresses: the KIND_ADDR records and what hangs on them. */
#include "ip/addr.h"
#include "device/device.h"
#include "ip/layer.h"
#include "ip/route.h"
#include <errno.h>

static struct ipaddr subnet_of(const struct ipaddr *a, uint8_t prefix)
{
	uint32_t mask = prefix ? UINT32_MAX << (32 - prefix) : 0;

	return ipaddr_v4(ipaddr_to_v4(a) & mask);
}

static uint32_t find(const struct stack *s, uint32_t dev, const struct ipaddr *addr, uint8_t prefix)
{
	const struct addr_rec *a;

	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a))
		if (a->dev == dev && a->prefix == prefix && ipaddr_eq(&a->addr, addr))
			return i;
	return NO_INDEX;
}

uint32_t addr_next(const struct stack *s, uint32_t from, const struct addr_rec **a)
{
	uint32_t i = state_next(s->state, KIND_ADDR, from);

	*a = i == NO_INDEX ? NULL : state_peek(s->state, KIND_ADDR, i);
	return i;
}

/* The connected route of an address; none for a host address. */
static bool connected_route(const struct addr_rec *a, struct route_rec *r)
{
	if (a->prefix == 32)
		return false;
	*r = (struct route_rec){.dst = subnet_of(&a->addr, a->prefix),
	    .source = a->addr,
	    .dev = a->dev,
	    .prefix = a->prefix,
	    .origin = ROUTE_CONNECTED};
	return true;
}

int addr_add(struct stack *s, uint32_t dev, const struct ipaddr *addr, uint8_t prefix)
{
	const struct device_rec *d = device_peek(s, dev);
	struct addr_rec *a;
	struct route_rec r;
	uint32_t index;
	int ret;

	if (!d)
		return -ENODEV;
	if (!ipaddr_is_v4(addr))
		return -EAFNOSUPPORT;
	if (!prefix || prefix > 32 || ipaddr_is_any(addr) || ip_is_multicast(addr) ||
	    ipaddr_to_v4(addr) == UINT32_MAX || (ip_is_loopback(addr) && !d->is_lo))
		return -EINVAL;
	if (find(s, dev, addr, prefix) != NO_INDEX)
		return -EEXIST;
	a = state_alloc(s->state, KIND_ADDR, &index);
	if (!a)
		return -ENOSPC;
	*a = (struct addr_rec){.addr = *addr, .dev = dev, .prefix = prefix};
	fib_changed(s);
	if (d->is_lo || !connected_route(a, &r))
		return 0;
	ret = route_add(s, &r);
	if (ret && ret != -EEXIST) {
		state_free(s->state, KIND_ADDR, index);
		fib_changed(s);
		return ret;
	}
	return 0;
}

void addr_connect(struct stack *s)
{
	const struct addr_rec *a;
	struct route_rec r;

	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a))
		if (a->dev != DEVICE_LO && connected_route(a, &r))
			route_add(s, &r);
}

/* Another address of ours in the same subnet takes the connected route over. */
static void hand_on_route(struct stack *s, const struct addr_rec *gone)
{
	struct route_rec r;
	const struct addr_rec *a;

	if (!connected_route(gone, &r))
		return;
	route_delete(s, &r);
	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a)) {
		struct route_rec other;

		if (a->dev != gone->dev || !connected_route(a, &other) ||
		    other.prefix != r.prefix || !ipaddr_eq(&other.dst, &r.dst))
			continue;
		route_add(s, &other);
		return;
	}
}

int addr_delete(struct stack *s, uint32_t dev, const struct ipaddr *addr, uint8_t prefix)
{
	uint32_t index = find(s, dev, addr, prefix);
	struct addr_rec gone;

	if (index == NO_INDEX)
		return -EADDRNOTAVAIL;
	gone = *(const struct addr_rec *)state_peek(s->state, KIND_ADDR, index);
	state_free(s->state, KIND_ADDR, index);
	fib_changed(s);
	hand_on_route(s, &gone);
	return 0;
}

bool addr_select(const struct stack *s, uint32_t dev, const struct ipaddr *to, struct ipaddr *out)
{
	const struct addr_rec *a;
	bool found = false;

	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a)) {
		struct ipaddr net, other;

		if (a->dev != dev)
			continue;
		net = subnet_of(&a->addr, a->prefix);
		other = subnet_of(to, a->prefix);
		if (ipaddr_eq(&net, &other)) {
			*out = a->addr;
			return true;
		}
		if (!found)
			*out = a->addr;
		found = true;
	}
	return found;
}

uint32_t addr_device(const struct stack *s, const struct ipaddr *addr)
{
	const struct addr_rec *a;

	if (ip_is_loopback(addr))
		return DEVICE_LO;
	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a))
		if (ipaddr_eq(&a->addr, addr))
			return a->dev;
	return NO_INDEX;
}
