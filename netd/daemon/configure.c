/* From the configuration's words to devices, addresses and routes. */
#include "daemon/daemon.h"
#include "base/address.h"
#include "base/log.h"
#include "device/device.h"
#include "ip/addr.h"
#include "ip/route.h"
#include <errno.h>
#include <string.h>

/* Its driver is gone, or going. What still waits in its chunks keeps it: then it only stays silent. */
static void let_go(struct daemon *d, unsigned i)
{
	struct handed_device *h = &d->hand.device[i];
	int ret = d->device_index[i] < 0 ? 0 : device_detach(&d->stack, (uint32_t)d->device_index[i]);

	if (ret < 0 && ret != -ENODEV) {
		log_warn("device %s cannot be let go of now: %s", h->name, strerror(-ret));
		return;
	}
	if (i < d->bells)
		uv_poll_stop(&d->watch_bell[i]);
	h->attached = false;
	handover_drop_device(h);
}

int configure_devices(struct daemon *d)
{
	for (unsigned i = 0; i < d->hand.devices; i++)
		if (d->hand.device[i].gone && d->hand.device[i].attached)
			let_go(d, i);
	for (unsigned i = 0; i < d->hand.devices; i++) {
		struct handed_device *h = &d->hand.device[i];
		int index;

		if (h->attached || h->gone)
			continue;
		index = device_attach(&d->stack, h->name, h->driver, h->region, h->region_size, h->driver_bell);
		d->device_index[i] = index;
		h->attached = true;
		if (index < 0)
			log_error("device %s: %s", h->name, strerror(-index));
	}
	return 0;
}

static void change_addresses(struct daemon *d, const Netd__Component__DeviceConfig *c, size_t i, bool add)
{
	int dev = device_find(&d->stack, c->name), ret = -EINVAL;
	struct ipaddr a;
	unsigned prefix;

	if (dev < 0)
		return;
	if (!prefix_parse(c->address[i], &a, &prefix))
		ret = add ? addr_add(&d->stack, (uint32_t)dev, &a, (uint8_t)prefix)
			  : addr_delete(&d->stack, (uint32_t)dev, &a, (uint8_t)prefix);
	if (ret < 0 && ret != (add ? -EEXIST : -EADDRNOTAVAIL))
		log_warn("address %s on %s: %s", c->address[i], c->name, strerror(-ret));
}

static void change_route(struct daemon *d, const Netd__Component__RouteConfig *c, bool add)
{
	struct route_rec r = {.dev = NO_INDEX, .metric = c->metric};
	unsigned prefix = 0;
	bool valid = !strcmp(c->destination, "default") || !prefix_parse(c->destination, &r.dst, &prefix);
	int ret = -EINVAL;

	r.prefix = (uint8_t)prefix;
	if (c->device && *c->device) {
		int dev = device_find(&d->stack, c->device);

		valid = valid && dev >= 0;
		r.dev = (uint32_t)dev;
	}
	if (c->gateway && *c->gateway)
		valid = valid && !address_parse(c->gateway, &r.gateway);
	if (valid)
		ret = add ? route_add(&d->stack, &r) : route_delete(&d->stack, &r);
	if (ret < 0 && ret != (add ? -EEXIST : -ESRCH))
		log_warn("route %s: %s", c->destination, strerror(-ret));
}

static enum stack_ecn ecn_of(Netd__Component__Ecn e)
{
	switch (e) {
	case NETD__COMPONENT__ECN__ECN_ON:
		return STACK_ECN_ON;
	case NETD__COMPONENT__ECN__ECN_OFF:
		return STACK_ECN_OFF;
	default:
		return STACK_ECN_PASSIVE;
	}
}

void configure_limits(struct daemon *d)
{
	const Netd__Component__Config *c = d->hand.config;

	if (!c)
		return;
	d->stack.ecn = ecn_of(c->tcp_ecn);
	if (!c->limits)
		return;
	d->stack.rcvbuf_max = c->limits->rcvbuf_max;
	d->stack.sndbuf_max = c->limits->sndbuf_max;
}

void configure_addresses(struct daemon *d)
{
	const Netd__Component__Config *c = d->hand.config;

	if (!c)
		return;
	for (size_t i = 0; i < c->n_device; i++)
		for (size_t k = 0; k < c->device[i]->n_address; k++)
			change_addresses(d, c->device[i], k, true);
	for (size_t i = 0; i < c->n_route; i++)
		change_route(d, c->route[i], true);
}

void configure_in_force(struct daemon *d)
{
	struct world_rec *w = world_get(&d->stack);

	if (w)
		w->config_id = d->hand.config_id;
	handover_in_force(&d->hand, d->hand.config_id);
}

/* ---- what a reload took out */

static const Netd__Component__DeviceConfig *device_of(const Netd__Component__Config *c, const char *name)
{
	for (size_t i = 0; i < c->n_device; i++)
		if (!strcmp(c->device[i]->name, name))
			return c->device[i];
	return NULL;
}

static bool has_address(const Netd__Component__DeviceConfig *c, const char *address)
{
	for (size_t i = 0; c && i < c->n_address; i++)
		if (!strcmp(c->address[i], address))
			return true;
	return false;
}

static bool has_route(const Netd__Component__Config *c, const Netd__Component__RouteConfig *r)
{
	for (size_t i = 0; i < c->n_route; i++) {
		const Netd__Component__RouteConfig *o = c->route[i];

		if (!strcmp(o->destination, r->destination) && !strcmp(o->gateway, r->gateway) &&
		    !strcmp(o->device, r->device) && o->metric == r->metric)
			return true;
	}
	return false;
}

static void remove_what_was(struct daemon *d, const Netd__Component__Config *was, const Netd__Component__Config *now)
{
	for (size_t i = 0; i < was->n_route; i++)
		if (!has_route(now, was->route[i]))
			change_route(d, was->route[i], false);
	for (size_t i = 0; i < was->n_device; i++) {
		const Netd__Component__DeviceConfig *dev = was->device[i], *still = device_of(now, dev->name);

		if (!still)
			log_info("device %s is not in the configuration any more", dev->name);
		for (size_t k = 0; k < dev->n_address; k++)
			if (!has_address(still, dev->address[k]))
				change_addresses(d, dev, k, false);
	}
}

void configure_remove(struct daemon *d)
{
	for (unsigned i = 0; d->hand.config && i < d->hand.n_was; i++)
		remove_what_was(d, d->hand.was[i].config, d->hand.config);
}
