/*
 * SIGHUP: the configuration is read again. It is taken whole or not at all: what is not sound, or changes what only a
 * restart can change, is refused with a message.
 */
#include "supervisor/supervisor.h"
#include <string.h>

static bool same(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* What a running driver cannot be told. */
static const char *device_change(const struct config_device *a, const struct config_device *b)
{
	if (!same(a->driver, b->driver))
		return "driver";
	if (!same(a->ifname, b->ifname))
		return "ifname";
	if (memcmp(a->mac_bytes, b->mac_bytes, 6) != 0)
		return "mac";
	if (!same(a->host_address, b->host_address))
		return "host_address";
	if (!same(a->netns, b->netns))
		return "netns";
	if (a->mtu != b->mtu)
		return "mtu";
	if (a->chunks != b->chunks)
		return "chunks";
	if (a->txqueuelen != b->txqueuelen)
		return "txqueuelen";
	return *a->offloads != *b->offloads ? "offloads" : NULL;
}

/* NULL, or the key that only a restart can change. */
static const char *refusal(const struct config *old, const struct config *new, char *buf, size_t size)
{
	if (!same(old->socket, new->socket))
		return "socket";
	if (!same(old->pidfile_dir, new->pidfile_dir))
		return "pidfile_dir";
	if (old->arena_mib != new->arena_mib)
		return "arena_mib";
	if (old->daemon_memory_mib != new->daemon_memory_mib)
		return "daemon_memory_mib";
	for (unsigned i = 0; i < new->devices_count; i++) {
		const struct config_device *d = config_find_device(old, new->devices[i].name);
		const char *key = d ? device_change(d, &new->devices[i]) : NULL;

		if (!key)
			continue;
		snprintf(buf, size, "devices: %s: %s", d->name, key);
		return buf;
	}
	return NULL;
}

static void remove_devices(struct supervisor *s)
{
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		struct device *d = s->device[i];
		struct component *driver = d ? driver_of(s, d) : NULL;

		if (!d || d->removed || config_find_device(s->config, d->name))
			continue;
		log_info("device %s is removed", d->name);
		d->removed = true;
		if (driver)
			send_stop(driver);
		else
			device_destroy(s, d);
	}
}

static void apply(struct supervisor *s)
{
	log_init("netd", (enum log_level)s->config->log_level);
	log_pass_level((enum log_level)s->config->log_level);
	remove_devices(s);
	for (unsigned i = 0; i < s->config->devices_count; i++) {
		struct device *d = device_by_name(s, s->config->devices[i].name);

		if (d && d->removed)
			log_error("device %s is still being removed: reload again", d->name);
	}
	start_devices(s);
	for (struct component *c = s->components; c; c = c->next) {
		component_priority(c);
		if (is_inet(c))
			send_config(c);
	}
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++)
		if (s->device[i] && !uv_is_active((uv_handle_t *)&s->device[i]->history.timer))
			restart_driver(s, s->device[i], 0);
	tick_period(s);
	maintain_inets(s);
	s->changed = true;
}

void supervisor_reload(struct supervisor *s)
{
	struct config *new, *old = s->config;
	char err[512];
	const char *key;

	if (s->stopping)
		return;
	if (config_load(s->config_path, &new, err, sizeof(err)) < 0) {
		log_error("not reloaded: %s", err);
		return;
	}
	key = refusal(old, new, err, sizeof(err));
	if (key) {
		log_error("not reloaded: %s: %s changes only with a restart", s->config_path, key);
		config_free(new);
		return;
	}
	s->config = new;
	config_free(old);
	apply(s);
	log_info("reloaded %s", s->config_path);
}
