/* Messages to components: one function each. */
#include "supervisor/supervisor.h"
#include "proto/region.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

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

static struct fdset *duplicates(const int *fds, int n)
{
	int dup[CHANNEL_FDS_MAX];

	for (int i = 0; i < n; i++)
		dup[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
	return fdset_take(dup, n);
}

void component_send_copies(struct component *c, to_component *m, const int *fds, int n)
{
	struct fdset *set = duplicates(fds, n);

	component_send(c, m, set);
	fdset_unref(set);
}

static void start_driver(struct component *c, Netd__Component__Start *start)
{
	const struct device *d = c->device;
	const struct config_device *conf = config_find_device(c->sup->config, d->name);
	Netd__Component__DriverConfig dc = NETD__COMPONENT__DRIVER_CONFIG__INIT;
	to_component m = TO_COMPONENT(START, start, start);
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
	component_send_copies(c, &m, fds, 4);
}

void send_start(struct component *c)
{
	struct supervisor *s = c->sup;
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	to_component m = TO_COMPONENT(START, start, &start);
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
	component_send_copies(c, &m, fds, 4);
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
	to_component m = TO_COMPONENT(HANDED, handed, &handed);

	key_out(key, &k);
	handed.key = &k;
	component_send(c, &m, fds);
}

/* One without content: all of these are the same empty message, in a union. */
static void send_empty(struct component *c, Netd__Component__ToComponent__BodyCase what)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	to_component m = TO_COMPONENT(HANDED_END, handed_end, &empty);

	m.body_case = what;
	component_send(c, &m, NULL);
}

void send_handed_end(struct component *c)
{
	send_empty(c, NETD__COMPONENT__TO_COMPONENT__BODY_HANDED_END);
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
	to_component m = TO_COMPONENT(KEEP, keep, &keep);

	keep.name = (char *)name;
	component_send_copies(c, &m, &fd, 1);
}

void send_forget(struct component *c, const char *name)
{
	Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
	to_component m = TO_COMPONENT(FORGET, forget, &keep);

	keep.name = (char *)name;
	component_send(c, &m, NULL);
}

void send_withdrawn(struct component *c, const struct escrow_key *key)
{
	Netd__Component__Key k;
	to_component m = TO_COMPONENT(WITHDRAWN, withdrawn, &k);

	key_out(key, &k);
	component_send(c, &m, NULL);
}

void send_granted(struct component *c, uint64_t died_ns)
{
	Netd__Component__TakeOverGranted granted = NETD__COMPONENT__TAKE_OVER_GRANTED__INIT;
	to_component m = TO_COMPONENT(TAKE_OVER_GRANTED, take_over_granted, &granted);

	granted.died_ns = died_ns;
	component_send(c, &m, NULL);
}

void send_ping(struct component *c, uint64_t number)
{
	Netd__Component__Ping p = NETD__COMPONENT__PING__INIT;
	to_component m = TO_COMPONENT(PING, ping, &p);

	p.number = number;
	component_send(c, &m, NULL);
}

void send_redeposit(struct component *c)
{
	send_empty(c, NETD__COMPONENT__TO_COMPONENT__BODY_REDEPOSIT);
}

void send_stop(struct component *c)
{
	send_empty(c, NETD__COMPONENT__TO_COMPONENT__BODY_STOP);
	c->state = COMPONENT_STOPPING;
	c->stop_ns = now_ns();
}

void send_driver_restarted(struct supervisor *s, const struct device *d)
{
	Netd__Component__DriverRestarted restarted = NETD__COMPONENT__DRIVER_RESTARTED__INIT;
	to_component m = TO_COMPONENT(DRIVER_RESTARTED, driver_restarted, &restarted);

	restarted.device = (char *)d->name;
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c))
			component_send(c, &m, NULL);
}
