/* The configuration as a message to netd-inet: what it needs of it, and with each device its memory and bells. */
#include "supervisor/supervisor.h"
#include <stdlib.h>

static void config_devices(const struct supervisor *s, Netd__Component__Config *config,
    Netd__Component__DeviceConfig *dev, Netd__Component__DeviceConfig **list, int *fds, int *n)
{
	config->device = list;
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		const struct device *d = s->device[i];
		const struct config_device *conf = d && !d->removed ? config_find_device(s->config, d->name) : NULL;
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

static void config_routes(const struct config *conf, Netd__Component__RouteConfig *route)
{
	for (unsigned i = 0; i < conf->routes_count; i++) {
		netd__component__route_config__init(&route[i]);
		route[i].destination = text(conf->routes[i].destination);
		route[i].gateway = text(conf->routes[i].gateway);
		route[i].device = text(conf->routes[i].device);
		route[i].metric = conf->routes[i].metric;
	}
}

static void config_pass_through(const struct config *conf, Netd__Component__PassThrough *pass)
{
	for (unsigned i = 0; i < conf->pass_through_count; i++) {
		netd__component__pass_through__init(&pass[i]);
		pass[i].address = text(conf->pass_through[i].address);
		pass[i].port = conf->pass_through[i].port;
	}
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
	to_component m = TO_COMPONENT(CONFIG, config, &config);
	int fds[3 * CONFIG_DEVICES_MAX], n = 0;
	bool ok = pointers((void **)&route, (void ***)&routes, conf->routes_count, sizeof(*route));

	ok &= pointers((void **)&pass, (void ***)&passes, conf->pass_through_count, sizeof(*pass));
	if (ok) {
		config_routes(conf, route);
		config_pass_through(conf, pass);
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
	config.tcp_ecn = (Netd__Component__Ecn)conf->tcp_ecn;
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
		component_send_copies(c, &m, fds, n);
	free(route);
	free(routes);
	free(pass);
	free(passes);
}
