/* Defaults, and what must hold beyond the schema. See config_check.h. */
#include "supervisor/config_check.h"
#include "base/address.h"
#include "base/log.h"
#include "base/siphash.h"
#include "base/util.h"
#include "proto/channel.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

static int text_default(char **field, const char *value)
{
	if (!*field)
		*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static void number_default(uint32_t *field, uint32_t value)
{
	if (!*field)
		*field = value;
}

/* A locally administered address that this machine gives to this device name every time. */
static void derive_mac(const char *name, uint8_t mac[6])
{
	static const struct siphash_key key = {{0x6e6574642d6d6163, 0x616464726573735f}};
	char id[256] = "";
	uint64_t h;
	size_t n = 0;
	FILE *f = fopen("/etc/machine-id", "re");

	if (f) {
		n = fread(id, 1, 64, f);
		fclose(f);
	}
	n += (size_t)snprintf(id + n, sizeof(id) - n, "%.100s", name);
	h = siphash(&key, id, n);
	memcpy(mac, &h, 6);
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

static int device_defaults(struct config_device *d)
{
	if (text_default(&d->driver, "tap") || text_default(&d->ifname, d->name) ||
	    text_default(&d->host_address, "") || text_default(&d->netns, ""))
		return -ENOMEM;
	number_default(&d->mtu, 1500);
	number_default(&d->chunks, 8192);
	number_default(&d->txqueuelen, 10000);
	if (!d->offloads) {
		d->offloads = malloc(sizeof(*d->offloads));
		if (!d->offloads)
			return -ENOMEM;
		*d->offloads = true;
	}
	derive_mac(d->name, d->mac_bytes);
	return 0;
}

int config_defaults(struct config *c)
{
	if (text_default(&c->socket, "/run/netd/netd.sock") || text_default(&c->pidfile_dir, "/run/netd") ||
	    text_default(&c->crash_dir, "/var/lib/netd/crash"))
		return -ENOMEM;
	if (!c->standbys) {
		c->standbys = malloc(sizeof(*c->standbys));
		if (!c->standbys)
			return -ENOMEM;
		*c->standbys = 3;
	}
	if (!c->nice) {
		c->nice = malloc(sizeof(*c->nice));
		if (!c->nice)
			return -ENOMEM;
		*c->nice = 0;
	}
	number_default(&c->hang_ms, 200);
	number_default(&c->log_level, LOG_LEVEL_INFO);
	number_default(&c->arena_mib, 3072);
	number_default(&c->daemon_memory_mib, 4096);
	number_default(&c->limits.session_memory_mib, 4096);
	number_default(&c->limits.session_sockets, 16384);
	number_default(&c->limits.user_sockets, 65536);
	number_default(&c->limits.user_memory_mib, 8192);
	number_default(&c->limits.rcvbuf_max_kib, 6144);
	number_default(&c->limits.sndbuf_max_kib, 4096);
	for (unsigned i = 0; i < c->devices_count; i++)
		if (device_defaults(&c->devices[i]))
			return -ENOMEM;
	return 0;
}

/* Where an error is reported to, so that a check is one line. */
struct report {
	char *key, *why;
	size_t key_size, why_size;
	char base[64]; /* "devices[0].": before the keys of the entry being checked */
};

static int wrong(struct report *r, const char *key, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int wrong(struct report *r, const char *key, const char *fmt, ...)
{
	va_list ap;

	snprintf(r->key, r->key_size, "%s%s", r->base, key);
	va_start(ap, fmt);
	vsnprintf(r->why, r->why_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int range(struct report *r, const char *key, uint32_t v, uint32_t min, uint32_t max)
{
	if (v >= min && v <= max)
		return 0;
	return wrong(r, key, "%u is not between %u and %u", v, min, max);
}

static int address(struct report *r, const char *key, const char *text)
{
	struct ipaddr a;

	return address_parse(text, &a) ? wrong(r, key, "'%s' is not an IP address", text) : 0;
}

static int prefix(struct report *r, const char *key, const char *text)
{
	struct ipaddr a;
	unsigned bits;

	if (!strchr(text, '/') || prefix_parse(text, &a, &bits))
		return wrong(r, key, "'%s' is not an IP address with a prefix length", text);
	return 0;
}

static int path(struct report *r, const char *key, const char *text, size_t max)
{
	if (text[0] != '/')
		return wrong(r, key, "'%s' is not an absolute path", text);
	return strlen(text) < max ? 0 : wrong(r, key, "longer than %zu characters", max - 1);
}

static int name(struct report *r, const char *key, const char *text)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (strlen(text) > 15 || text[strspn(text, legal)] || text[0] == '.')
		return wrong(r, key, "'%s' is not a name of 1 to 15 letters, digits, '_', '-', '.'", text);
	return 0;
}

static int mac(struct report *r, struct config_device *d)
{
	unsigned b[6];
	char rest;

	if (!d->mac)
		return 0;
	if (sscanf(d->mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6)
		return wrong(r, "mac", "'%s' is not an Ethernet address", d->mac);
	for (unsigned i = 0; i < 6; i++)
		d->mac_bytes[i] = (uint8_t)b[i];
	if (b[0] & 1)
		return wrong(r, "mac", "'%s' is a multicast address", d->mac);
	return 0;
}

static int check_device(struct report *r, const struct config *c, unsigned i)
{
	struct config_device *d = &c->devices[i];
	char key[32];
	int ret;

	snprintf(r->base, sizeof(r->base), "devices[%u].", i);
	if ((ret = name(r, "name", d->name)) || (ret = name(r, "ifname", d->ifname)))
		return ret;
	if (!strcmp(d->name, "lo") || config_find_device(c, d->name) != d)
		return wrong(r, "name", "'%s' is taken already", d->name);
	if (strcmp(d->driver, "tap") != 0)
		return wrong(r, "driver", "there is no driver '%s' (known: tap)", d->driver);
	if ((ret = range(r, "mtu", d->mtu, 576, 65521)) || (ret = range(r, "chunks", d->chunks, 64, 1u << 20)) ||
	    (ret = range(r, "txqueuelen", d->txqueuelen, 1, 1u << 20)) || (ret = mac(r, d)))
		return ret;
	if (d->host_address[0] && (ret = prefix(r, "host_address", d->host_address)))
		return ret;
	if (d->netns[0] && (ret = path(r, "netns", d->netns, 256)))
		return ret;
	for (unsigned k = 0; k < d->addresses_count; k++) {
		snprintf(key, sizeof(key), "addresses[%u]", k);
		if ((ret = prefix(r, key, d->addresses[k])))
			return ret;
	}
	return 0;
}

static int check_route(struct report *r, const struct config *c, unsigned i)
{
	struct config_route *t = &c->routes[i];
	int ret;

	snprintf(r->base, sizeof(r->base), "routes[%u].", i);
	if (strcmp(t->destination, "default") != 0 && (ret = prefix(r, "destination", t->destination)))
		return ret;
	if (t->gateway && (ret = address(r, "gateway", t->gateway)))
		return ret;
	if (t->device && !config_find_device(c, t->device))
		return wrong(r, "device", "there is no device '%s'", t->device);
	if (!t->gateway && !t->device)
		return wrong(r, "destination", "a route needs a gateway or a device");
	return 0;
}

static int check_lists(struct report *r, const struct config *c)
{
	char key[32];
	int ret;

	for (unsigned i = 0; i < c->devices_count; i++)
		if ((ret = check_device(r, c, i)))
			return ret;
	for (unsigned i = 0; i < c->routes_count; i++)
		if ((ret = check_route(r, c, i)))
			return ret;
	for (unsigned i = 0; i < c->pass_through_count; i++) {
		snprintf(r->base, sizeof(r->base), "pass_through[%u].", i);
		if ((ret = address(r, "address", c->pass_through[i].address)) ||
		    (ret = range(r, "port", c->pass_through[i].port, 0, 65535)))
			return ret;
	}
	r->base[0] = 0;
	for (unsigned i = 0; i < c->name_servers_count; i++) {
		snprintf(key, sizeof(key), "name_servers[%u]", i);
		if ((ret = address(r, key, c->name_servers[i])))
			return ret;
	}
	return 0;
}

/* Bytes of a text in a message, with tag and length. */
static size_t packed(const char *t)
{
	return 4 + (t ? strlen(t) : 0);
}

/* netd-inet gets all of it in one message (send_config.c); the numbers beside the texts take less than is counted here. */
static int check_size(struct report *r, const struct config *c)
{
	size_t size = 1024;

	for (unsigned i = 0; i < c->devices_count; i++) {
		const struct config_device *d = &c->devices[i];

		size += 32 + packed(d->name) + packed(d->driver);
		for (unsigned k = 0; k < d->addresses_count; k++)
			size += packed(d->addresses[k]);
	}
	for (unsigned i = 0; i < c->routes_count; i++)
		size += 16 + packed(c->routes[i].destination) + packed(c->routes[i].gateway) + packed(c->routes[i].device);
	for (unsigned i = 0; i < c->pass_through_count; i++)
		size += 16 + packed(c->pass_through[i].address);
	for (unsigned i = 0; i < c->name_servers_count; i++)
		size += packed(c->name_servers[i]);
	size += 8 * ((size_t)c->admin_uids_count + c->raw_uids_count);
	return size <= CHANNEL_MSG_MAX ? 0
	                               : wrong(r, "routes", "all addresses and routes take %zu bytes; there is room for %d", size,
	                                     CHANNEL_MSG_MAX);
}

static int check_limits(struct report *r, const struct config_limits *l)
{
	int ret;

	snprintf(r->base, sizeof(r->base), "limits.");
	if ((ret = range(r, "session_memory_mib", l->session_memory_mib, 16, 1u << 20)) ||
	    (ret = range(r, "session_sockets", l->session_sockets, 16, 65536)) ||
	    (ret = range(r, "user_sockets", l->user_sockets, 16, 1u << 20)) ||
	    (ret = range(r, "user_memory_mib", l->user_memory_mib, 1, 1u << 24)) ||
	    (ret = range(r, "rcvbuf_max_kib", l->rcvbuf_max_kib, 4, 1u << 20)) ||
	    (ret = range(r, "sndbuf_max_kib", l->sndbuf_max_kib, 4, 1u << 20)))
		return ret;
	r->base[0] = 0;
	return 0;
}

int config_check(struct config *c, char *key, size_t key_size, char *why, size_t why_size)
{
	struct report r = {.key = key, .why = why, .key_size = key_size, .why_size = why_size};
	int ret;

	if ((ret = path(&r, "socket", c->socket, sizeof(((struct sockaddr_un *)0)->sun_path))) ||
	    (ret = path(&r, "pidfile_dir", c->pidfile_dir, 200)) ||
	    (ret = path(&r, "crash_dir", c->crash_dir, 200)) ||
	    (ret = range(&r, "standbys", *c->standbys, 0, CONFIG_STANDBYS_MAX)) ||
	    (ret = *c->nice >= -20 && *c->nice <= 19 ? 0 : wrong(&r, "nice", "%d is not between -20 and 19", *c->nice)) ||
	    (ret = range(&r, "hang_ms", c->hang_ms, 20, 60000)) ||
	    (ret = range(&r, "arena_mib", c->arena_mib, 64, 1u << 20)) ||
	    (ret = range(&r, "daemon_memory_mib", c->daemon_memory_mib, 64, 1u << 20)))
		return ret;
	if ((ret = check_lists(&r, c)) || (ret = check_size(&r, c)))
		return ret;
	return check_limits(&r, &c->limits);
}
