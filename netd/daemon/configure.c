/* From the configuration's words to devices, addresses and routes. */
#include "daemon/daemon.h"
#include "base/log.h"
#include "device/device.h"
#include "ip/addr.h"
#include "ip/route.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "10.0.0.1", or with `prefix` "10.0.0.1/24". False if it is not that. */
static bool parse_address(const char *text, struct ipaddr *addr, uint8_t *prefix)
{
	char buf[64];
	char *slash, *end;
	struct in_addr v4;
	unsigned long bits = 32;

	if (strlen(text) >= sizeof(buf))
		return false;
	strcpy(buf, text);
	slash = strchr(buf, '/');
	if (slash) {
		*slash = 0;
		bits = strtoul(slash + 1, &end, 10);
		if (!prefix || *end || end == slash + 1 || bits > 32)
			return false;
	}
	if (inet_pton(AF_INET, buf, &v4) != 1)
		return false;
	*addr = ipaddr_v4(ntohl(v4.s_addr));
	if (prefix)
		*prefix = (uint8_t)bits;
	return true;
}

int configure_devices(struct daemon *d)
{
	for (unsigned i = 0; i < d->hand.devices; i++) {
		struct handed_device *h = &d->hand.device[i];
		int index;

		if (h->attached)
			continue;
		index = device_attach(&d->stack, h->name, h->driver, h->region, h->region_size, h->driver_bell);
		d->device_index[i] = index;
		h->attached = true;
		if (index < 0)
			log_error("device %s: %s", h->name, strerror(-index));
	}
	return 0;
}

static void add_addresses(struct daemon *d, const Netd__Component__DeviceConfig *c)
{
	int dev = device_find(&d->stack, c->name);

	for (size_t i = 0; dev >= 0 && i < c->n_address; i++) {
		struct ipaddr a;
		uint8_t prefix;
		int ret = -EINVAL;

		if (parse_address(c->address[i], &a, &prefix))
			ret = addr_add(&d->stack, (uint32_t)dev, &a, prefix);
		if (ret < 0 && ret != -EEXIST)
			log_warn("address %s on %s: %s", c->address[i], c->name, strerror(-ret));
	}
}

static void add_route(struct daemon *d, const Netd__Component__RouteConfig *c)
{
	struct route_rec r = {.dev = NO_INDEX, .metric = c->metric};
	bool valid = !strcmp(c->destination, "default") || parse_address(c->destination, &r.dst, &r.prefix);
	int ret = -EINVAL;

	if (c->device && *c->device) {
		int dev = device_find(&d->stack, c->device);

		valid = valid && dev >= 0;
		r.dev = (uint32_t)dev;
	}
	if (c->gateway && *c->gateway)
		valid = valid && parse_address(c->gateway, &r.gateway, NULL);
	if (valid)
		ret = route_add(&d->stack, &r);
	if (ret < 0 && ret != -EEXIST)
		log_warn("route %s: %s", c->destination, strerror(-ret));
}

void configure_limits(struct daemon *d)
{
	const Netd__Component__Config *c = d->hand.config;

	if (!c || !c->limits)
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
		add_addresses(d, c->device[i]);
	for (size_t i = 0; i < c->n_route; i++)
		add_route(d, c->route[i]);
}
