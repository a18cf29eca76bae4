/* Messages to components: one function each. */
#include "supervisor/supervisor.h"
#include "proto/region.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define BODY(which) NETD__COMPONENT__TO_COMPONENT__BODY_##which
#define MESSAGE(which, field, value)                                                               \
	{.base = PROTOBUF_C_MESSAGE_INIT(&netd__component__to_component__descriptor),              \
	    .body_case = BODY(which), .field = (value)}

static void want_room(struct component *c)
{
	bool waits = c->out.n && !c->out.starved;

	watch_events(c->channel_watch, UV_READABLE | (waits ? UV_WRITABLE : 0));
}

static void channel_broken(struct component *c, int ret)
{
	char name[48];

	component_name(c, name, sizeof(name));
	log_debug("%s does not take messages: %s", name, strerror(-ret));
	outq_clear(&c->out); /* its death will tell */
}

void component_send(struct component *c, to_component *m, struct fdset *fds)
{
	int ret;

	if (c->channel < 0 || c->state == COMPONENT_DEAD)
		return;
	ret = outq_send(&c->out, c->channel, &m->base, fds);
	if (ret < 0)
		channel_broken(c, ret);
	want_room(c);
}

void component_flush(struct component *c)
{
	int ret = outq_flush(&c->out, c->channel);

	if (ret < 0)
		channel_broken(c, ret);
	want_room(c);
}

/* The message may have to wait, so it gets descriptors of its own. */
static struct fdset *duplicates(const int *fds, int n)
{
	int dup[CHANNEL_FDS_MAX];

	for (int i = 0; i < n; i++)
		dup[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
	return fdset_take(dup, n);
}

static void send_with(struct component *c, to_component *m, const int *fds, int n)
{
	struct fdset *set = duplicates(fds, n);

	component_send(c, m, set);
	fdset_unref(set);
}

static const struct config_device *config_of(const struct supervisor *s, const struct device *d)
{
	return config_find_device(s->config, d->name);
}

static void start_driver(struct component *c, Netd__Component__Start *start)
{
	const struct device *d = c->device;
	const struct config_device *conf = config_of(c->sup, d);
	Netd__Component__DriverConfig dc = NETD__COMPONENT__DRIVER_CONFIG__INIT;
	to_component m = MESSAGE(START, start, start);
	const int fds[] = {d->region, d->driver_bell[0], d->inet_bell[1], c->sup->clock_fd};

	if (!conf)
		return;
	dc.type = conf->driver;
	dc.device = conf->name;
	dc.ifname = conf->ifname;
	dc.mac.data = (uint8_t *)conf->mac_bytes;
	dc.mac.len = sizeof(conf->mac_bytes);
	dc.mtu = conf->mtu;
	dc.host_address = conf->host_address;
	dc.txqueuelen = conf->txqueuelen;
	dc.offloads = *conf->offloads ? UINT32_MAX : 0;
	dc.netns = conf->netns;
	start->role = (char *)"driver";
	start->name = conf->name;
	start->region_size = d->region_size;
	start->driver = &dc;
	send_with(c, &m, fds, 4);
}

void send_start(struct component *c)
{
	struct supervisor *s = c->sup;
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	to_component m = MESSAGE(START, start, &start);
	const int fds[] = {s->arena, s->memory, s->clock_fd, s->listening};

	start.slot = c->slot;
	if (!is_inet(c)) {
		start_driver(c, &start);
		return;
	}
	start.role = (char *)"inet";
	start.name = (char *)(c->number ? "standby" : "inet");
	start.standby = c->number > 0;
	start.arena_size = s->arena_size;
	start.memory_size = s->memory_size;
	send_with(c, &m, fds, 4);
}

static void config_devices(const struct supervisor *s, Netd__Component__Config *config,
    Netd__Component__DeviceConfig *dev, Netd__Component__DeviceConfig **list, int *fds, int *n)
{
	config->device = list;
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		const struct device *d = s->device[i];
		const struct config_device *conf = d && !d->removed ? config_of(s, d) : NULL;
		Netd__Component__DeviceConfig *out = &dev[config->n_device];

		if (!conf)
			continue;
		netd__component__device_config__init(out);
		out->name = conf->name;
		out->driver = conf->driver;
		out->region_size = d->region_size;
		out->address = conf->addresses;
		out->n_address = conf->addresses_count;
		out->mtu = conf->mtu;
		list[config->n_device++] = out;
		fds[(*n)++] = d->region;
		fds[(*n)++] = d->inet_bell[0];
		fds[(*n)++] = d->driver_bell[1];
	}
}

static void config_limits(const struct config_limits *l, Netd__Component__Limits *out)
{
	netd__component__limits__init(out);
	out->session_memory = (uint64_t)l->session_memory_mib << 20;
	out->session_sockets = l->session_sockets;
	out->user_sockets = l->user_sockets;
	out->user_memory = (uint64_t)l->user_memory_mib << 20;
	out->rcvbuf_max = l->rcvbuf_max_kib << 10;
	out->sndbuf_max = l->sndbuf_max_kib << 10;
}

static char *text(char *t)
{
	return t ? t : (char *)protobuf_c_empty_string;
}

/* An array of messages and one of pointers to them; false without memory. */
static bool pointers(void **items, void ***list, size_t n, size_t size)
{
	*items = calloc(n ? n : 1, size);
	*list = calloc(n ? n : 1, sizeof(void *));
	for (size_t i = 0; *items && *list && i < n; i++)
		(*list)[i] = (char *)*items + i * size;
	return *items && *list;
}

void send_config(struct component *c)
{
	const struct config *conf = c->sup->config;
	Netd__Component__Config config = NETD__COMPONENT__CONFIG__INIT;
	Netd__Component__DeviceConfig dev[CONFIG_DEVICES_MAX], *devs[CONFIG_DEVICES_MAX];
	Netd__Component__RouteConfig *route, **routes;
	Netd__Component__PassThrough *pass, **passes;
	Netd__Component__GidRange ping = NETD__COMPONENT__GID_RANGE__INIT;
	Netd__Component__Limits limits;
	to_component m = MESSAGE(CONFIG, config, &config);
	int fds[3 * CONFIG_DEVICES_MAX], n = 0;
	bool ok = pointers((void **)&route, (void ***)&routes, conf->routes_count, sizeof(*route));

	ok &= pointers((void **)&pass, (void ***)&passes, conf->pass_through_count, sizeof(*pass));
	for (unsigned i = 0; ok && i < conf->routes_count; i++) {
		netd__component__route_config__init(&route[i]);
		route[i].destination = text(conf->routes[i].destination);
		route[i].gateway = text(conf->routes[i].gateway);
		route[i].device = text(conf->routes[i].device);
		route[i].metric = conf->routes[i].metric;
	}
	for (unsigned i = 0; ok && i < conf->pass_through_count; i++) {
		netd__component__pass_through__init(&pass[i]);
		pass[i].address = text(conf->pass_through[i].address);
		pass[i].port = conf->pass_through[i].port;
	}
	config_devices(c->sup, &config, dev, devs, fds, &n);
	config_limits(&conf->limits, &limits);
	config.route = routes;
	config.n_route = conf->routes_count;
	config.pass_through = passes;
	config.n_pass_through = conf->pass_through_count;
	config.name_server = conf->name_servers;
	config.n_name_server = conf->name_servers_count;
	config.limits = &limits;
	config.admin_uid = conf->admin_uids;
	config.n_admin_uid = conf->admin_uids_count;
	config.raw_uid = conf->raw_uids;
	config.n_raw_uid = conf->raw_uids_count;
	if (conf->ping_gids_count == 2) {
		ping.first = conf->ping_gids[0];
		ping.last = conf->ping_gids[1];
		config.ping_gids = &ping;
	}
	if (ok)
		send_with(c, &m, fds, n);
	free(route);
	free(routes);
	free(pass);
	free(passes);
}

static void key_out(const struct escrow_key *key, Netd__Component__Key *out)
{
	netd__component__key__init(out);
	out->kind = key->kind;
	out->index = key->index;
	out->generation = key->generation;
}

void send_handed(struct component *c, const struct escrow_key *key, struct fdset *fds)
{
	Netd__Component__Key k;
	Netd__Component__Handed handed = NETD__COMPONENT__HANDED__INIT;
	to_component m = MESSAGE(HANDED, handed, &handed);

	key_out(key, &k);
	handed.key = &k;
	component_send(c, &m, fds);
}

void send_handed_end(struct component *c)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	to_component m = MESSAGE(HANDED_END, handed_end, &empty);

	component_send(c, &m, NULL);
}

void send_deposits(struct component *c)
{
	const struct deposit *d = escrow_first(c->sup->escrow, escrow_owner(c->device));

	for (; d; d = d->next)
		send_handed(c, &d->key, d->fds);
	send_handed_end(c);
}

void send_keep(struct component *c, const char *name, int fd)
{
	Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
	to_component m = MESSAGE(KEEP, keep, &keep);

	keep.name = (char *)name;
	send_with(c, &m, &fd, 1);
}

void send_forget(struct component *c, const char *name)
{
	Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
	to_component m = MESSAGE(FORGET, forget, &keep);

	keep.name = (char *)name;
	component_send(c, &m, NULL);
}

void send_withdrawn(struct component *c, const struct escrow_key *key)
{
	Netd__Component__Key k;
	to_component m = MESSAGE(WITHDRAWN, withdrawn, &k);

	key_out(key, &k);
	component_send(c, &m, NULL);
}

void send_granted(struct component *c, uint64_t died_ns)
{
	Netd__Component__TakeOverGranted granted = NETD__COMPONENT__TAKE_OVER_GRANTED__INIT;
	to_component m = MESSAGE(TAKE_OVER_GRANTED, take_over_granted, &granted);

	granted.died_ns = died_ns;
	component_send(c, &m, NULL);
}

void send_ping(struct component *c, uint64_t number)
{
	Netd__Component__Ping p = NETD__COMPONENT__PING__INIT;
	to_component m = MESSAGE(PING, ping, &p);

	p.number = number;
	component_send(c, &m, NULL);
}

void send_redeposit(struct component *c)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	to_component m = MESSAGE(REDEPOSIT, redeposit, &empty);

	component_send(c, &m, NULL);
}

void send_stop(struct component *c)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	to_component m = MESSAGE(STOP, stop, &empty);

	component_send(c, &m, NULL);
	c->state = COMPONENT_STOPPING;
	c->stop_ns = now_ns();
}

void send_driver_restarted(struct supervisor *s, const struct device *d)
{
	Netd__Component__DriverRestarted restarted = NETD__COMPONENT__DRIVER_RESTARTED__INIT;
	to_component m = MESSAGE(DRIVER_RESTARTED, driver_restarted, &restarted);

	restarted.device = (char *)d->name;
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c))
			component_send(c, &m, NULL);
}
