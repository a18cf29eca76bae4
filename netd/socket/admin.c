/*
 * Changes that an administrator asks for: addresses, routes, neighbours. What the message says is
 * checked here; whether it can be is the layer's business that keeps the records.
 */
#include "socket/layer.h"
#include "device/device.h"
#include "device/neigh.h"
#include "ip/addr.h"
#include "ip/route.h"
#include <errno.h>
#include <string.h>

typedef Netd__Control__Request request;

/* A v4-mapped address of 16 bytes; `empty` allows none, which is the wildcard. */
static int get_addr(const ProtobufCBinaryData *from, bool empty, struct ipaddr *to)
{
	memset(to, 0, sizeof(*to));
	if (!from->len && empty)
		return 0;
	if (from->len != sizeof(to->b))
		return -EINVAL;
	memcpy(to->b, from->data, sizeof(to->b));
	return 0;
}

/* A device by name; `any` allows none. NO_INDEX for that, or a negative errno. */
static int get_dev(const struct stack *s, const char *name, bool any, uint32_t *dev)
{
	int i;

	*dev = NO_INDEX;
	if (any && !*name)
		return 0;
	i = device_find(s, name);
	if (i < 0)
		return -ENODEV;
	*dev = (uint32_t)i;
	return 0;
}

static int change_addr(struct stack *s, const Netd__Control__Addr *m, bool add, const char **why)
{
	struct ipaddr a;
	uint32_t dev;

	*why = "not an address and a prefix length";
	if (get_addr(&m->addr, false, &a) < 0 || m->prefix > 128)
		return -EINVAL;
	*why = "no such device";
	if (get_dev(s, m->dev, false, &dev) < 0)
		return -ENODEV;
	*why = add ? "this address cannot be added" : "there is no such address";
	return add ? addr_add(s, dev, &a, (uint8_t)m->prefix)
		   : addr_delete(s, dev, &a, (uint8_t)m->prefix);
}

static int change_route(struct stack *s, const Netd__Control__Route *m, bool add, const char **why)
{
	struct route_rec r = {
	    .metric = m->metric, .prefix = (uint8_t)m->prefix, .origin = ROUTE_STATIC};

	*why = "no such device";
	if (get_dev(s, m->dev, true, &r.dev) < 0)
		return -ENODEV;
	*why = "not a destination, a gateway or a source";
	if (m->prefix > 128 || get_addr(&m->dst, !m->prefix, &r.dst) < 0 ||
	    get_addr(&m->gateway, true, &r.gateway) < 0 ||
	    get_addr(&m->source, true, &r.source) < 0)
		return -EINVAL;
	if (add && r.dev == NO_INDEX && ipaddr_is_any(&r.gateway)) {
		*why = "a route needs a gateway or a device";
		return -EINVAL;
	}
	*why = add ? "this route cannot be added" : "there is no such route";
	return add ? route_add(s, &r) : route_delete(s, &r);
}

static int change_neigh(struct stack *s, const Netd__Control__Neigh *m, bool add, const char **why)
{
	struct ipaddr a;
	uint32_t dev;
	uint8_t mac[6] = {0};

	*why = "no such device";
	if (get_dev(s, m->dev, false, &dev) < 0)
		return -ENODEV;
	*why = "not an address and a hardware address";
	if (get_addr(&m->addr, false, &a) < 0 || (add && m->mac.len != sizeof(mac)))
		return -EINVAL;
	if (add)
		memcpy(mac, m->mac.data, sizeof(mac));
	*why = add ? "this neighbour cannot be added" : "there is no such neighbour";
	return neigh_set(s, dev, &a, add ? mac : NULL);
}

int admin_change(struct stack *s, const request *r, const char **why)
{
	switch (r->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ADDR_ADD:
		return change_addr(s, r->addr_add, true, why);
	case NETD__CONTROL__REQUEST__BODY_ADDR_DEL:
		return change_addr(s, r->addr_del, false, why);
	case NETD__CONTROL__REQUEST__BODY_ROUTE_ADD:
		return change_route(s, r->route_add, true, why);
	case NETD__CONTROL__REQUEST__BODY_ROUTE_DEL:
		return change_route(s, r->route_del, false, why);
	case NETD__CONTROL__REQUEST__BODY_NEIGH_ADD:
		return change_neigh(s, r->neigh_add, true, why);
	case NETD__CONTROL__REQUEST__BODY_NEIGH_DEL:
		return change_neigh(s, r->neigh_del, false, why);
	default:
		*why = "unknown request";
		return -EOPNOTSUPP;
	}
}
