/*
 * Answers to questions: tables of what there is, from the records, after the commit.
 *
 * All rows of an answer are in one packet; a table that would not fit is cut at ROWS_MAX, and says so
 * (the socket list has pages instead: socklist.c).
 */
#include "socket/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "ip/addr.h"
#include "ip/route.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include <errno.h>
#include <stdlib.h>

typedef Netd__Control__Response response;

#define ROWS_MAX 512 /* at most about 100 bytes each: one packet */

static ProtobufCBinaryData bytes(const void *data, size_t len)
{
	return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

static char *text(const char *t)
{
	return (char *)(uintptr_t)t;
}

static char *device_name(const struct stack *s, uint32_t dev)
{
	const struct device_rec *d = device_peek(s, dev);

	return text(d ? d->name : "");
}

/* The number of rows that are shown of `n`. */
static size_t shown(response *a, uint32_t n)
{
	if (n <= ROWS_MAX)
		return n;
	a->text = text("only the first rows are shown");
	return ROWS_MAX;
}

/* ---- status */

#define COMPONENTS_MAX CLOCK_COMPONENTS

static void fill_component(const struct stack *s, const Netd__Component__ComponentStatus *from,
    Netd__Control__Component *to)
{
	*to = (Netd__Control__Component)NETD__CONTROL__COMPONENT__INIT;
	to->name = from->name;
	to->pid = from->pid;
	to->state = from->state;
	to->restarts = from->restarts;
	to->hangs = from->hangs;
	to->last_death = from->last_death;
	if (from->started_ns && s->now > from->started_ns)
		to->uptime_ms = (s->now - from->started_ns) / NSEC_PER_MSEC;
	to->pause_last_us = from->pause_last_us;
	to->pause_max_us = from->pause_max_us;
}

static int status_answer(struct stack *s, int conn, response *a)
{
	const struct socket_env *env = &s->socket->env;
	const Netd__Component__Status *from = env->status ? env->status(env->arg) : NULL;
	const struct world_rec *w = world_peek(s);
	Netd__Control__Component row[COMPONENTS_MAX], *rows[COMPONENTS_MAX];
	Netd__Control__Status st = NETD__CONTROL__STATUS__INIT;
	uint64_t started = from && from->started_ns ? from->started_ns : w ? w->started_ns : 0;

	for (size_t i = 0; from && i < from->n_component && i < COMPONENTS_MAX; i++) {
		fill_component(s, from->component[i], &row[i]);
		rows[i] = &row[i];
		st.n_components++;
	}
	st.components = rows;
	st.incarnation = w ? w->incarnation : 0;
	st.sessions = s->socket->attached;
	st.sockets = state_count(s->state, KIND_SOCK);
	st.uptime_ms = s->now > started ? (s->now - started) / NSEC_PER_MSEC : 0;
	st.version = text(NETD_VERSION);
	st.supervised = !env->supervised || env->supervised(env->arg);
	a->body_case = NETD__CONTROL__RESPONSE__BODY_STATUS;
	a->status = &st;
	return channel_send(conn, &a->base, NULL, 0);
}

/* ---- links, addresses, routes, neighbours */

/* Rows of `n` messages and pointers to them, one allocation; NULL without memory. */
static void *row_space(size_t n, size_t size, void ***rows)
{
	uint8_t *p = calloc(n ? n : 1, size + sizeof(void *));

	if (!p)
		return NULL;
	*rows = (void **)(void *)p;
	for (size_t i = 0; i < n; i++)
		(*rows)[i] = p + n * sizeof(void *) + i * size;
	return p;
}

static int link_answer(struct stack *s, int conn, response *a)
{
	Netd__Control__LinkTable t = NETD__CONTROL__LINK_TABLE__INIT;
	size_t n = shown(a, state_count(s->state, KIND_DEVICE));
	void *space = row_space(n, sizeof(Netd__Control__Link), (void ***)(void *)&t.link);
	int ret;

	for (uint32_t i = state_next(s->state, KIND_DEVICE, 0);
	     space && i != NO_INDEX && t.n_link < n; i = state_next(s->state, KIND_DEVICE, i + 1)) {
		const struct device_rec *d = state_peek(s->state, KIND_DEVICE, i);
		Netd__Control__Link *row = t.link[t.n_link++];

		*row = (Netd__Control__Link)NETD__CONTROL__LINK__INIT;
		row->index = i;
		row->name = text(d->name);
		row->driver = text(d->driver);
		row->mac = bytes(d->mac, sizeof(d->mac));
		row->mtu = d->mtu;
		row->up = d->up;
		row->features = d->features;
		row->rx_frames = d->rx_frames;
		row->rx_bytes = d->rx_bytes;
		row->tx_frames = d->tx_frames;
		row->tx_bytes = d->tx_bytes;
		row->rx_dropped = d->rx_dropped;
		row->tx_dropped = d->tx_dropped;
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_LINKS;
	a->links = &t;
	ret = space ? channel_send(conn, &a->base, NULL, 0) : -ENOBUFS;
	free(space);
	return ret;
}

static int addr_answer(struct stack *s, int conn, response *a)
{
	Netd__Control__AddrTable t = NETD__CONTROL__ADDR_TABLE__INIT;
	size_t n = shown(a, state_count(s->state, KIND_ADDR));
	void *space = row_space(n, sizeof(Netd__Control__Addr), (void ***)(void *)&t.addr);
	int ret;

	for (uint32_t i = state_next(s->state, KIND_ADDR, 0);
	     space && i != NO_INDEX && t.n_addr < n; i = state_next(s->state, KIND_ADDR, i + 1)) {
		const struct addr_rec *r = state_peek(s->state, KIND_ADDR, i);
		Netd__Control__Addr *row = t.addr[t.n_addr++];

		*row = (Netd__Control__Addr)NETD__CONTROL__ADDR__INIT;
		row->dev = device_name(s, r->dev);
		row->addr = bytes(r->addr.b, sizeof(r->addr.b));
		row->prefix = r->prefix;
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_ADDRS;
	a->addrs = &t;
	ret = space ? channel_send(conn, &a->base, NULL, 0) : -ENOBUFS;
	free(space);
	return ret;
}

static int route_answer(struct stack *s, int conn, response *a)
{
	Netd__Control__RouteTable t = NETD__CONTROL__ROUTE_TABLE__INIT;
	size_t n = shown(a, state_count(s->state, KIND_ROUTE));
	void *space = row_space(n, sizeof(Netd__Control__Route), (void ***)(void *)&t.route);
	int ret;

	for (uint32_t i = state_next(s->state, KIND_ROUTE, 0);
	     space && i != NO_INDEX && t.n_route < n; i = state_next(s->state, KIND_ROUTE, i + 1)) {
		const struct route_rec *r = state_peek(s->state, KIND_ROUTE, i);
		Netd__Control__Route *row = t.route[t.n_route++];

		*row = (Netd__Control__Route)NETD__CONTROL__ROUTE__INIT;
		row->dst = bytes(r->dst.b, sizeof(r->dst.b));
		row->prefix = r->prefix;
		if (!ipaddr_is_any(&r->gateway))
			row->gateway = bytes(r->gateway.b, sizeof(r->gateway.b));
		if (!ipaddr_is_any(&r->source))
			row->source = bytes(r->source.b, sizeof(r->source.b));
		row->dev = device_name(s, r->dev);
		row->metric = r->metric;
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_ROUTES;
	a->routes = &t;
	ret = space ? channel_send(conn, &a->base, NULL, 0) : -ENOBUFS;
	free(space);
	return ret;
}

static const char *neigh_state_name(uint8_t state)
{
	static const char *const names[] = {[NEIGH_INCOMPLETE] = "incomplete",
	    [NEIGH_REACHABLE] = "reachable",
	    [NEIGH_STALE] = "stale",
	    [NEIGH_DELAY] = "delay",
	    [NEIGH_PROBE] = "probe",
	    [NEIGH_FAILED] = "failed",
	    [NEIGH_PERMANENT] = "permanent"};

	return state < ARRAY_SIZE(names) && names[state] ? names[state] : "?";
}

static int neigh_answer(struct stack *s, int conn, response *a)
{
	Netd__Control__NeighTable t = NETD__CONTROL__NEIGH_TABLE__INIT;
	size_t n = shown(a, state_count(s->state, KIND_NEIGH));
	void *space = row_space(n, sizeof(Netd__Control__Neigh), (void ***)(void *)&t.neigh);
	int ret;

	for (uint32_t i = state_next(s->state, KIND_NEIGH, 0);
	     space && i != NO_INDEX && t.n_neigh < n; i = state_next(s->state, KIND_NEIGH, i + 1)) {
		const struct neigh_rec *r = state_peek(s->state, KIND_NEIGH, i);
		Netd__Control__Neigh *row = t.neigh[t.n_neigh++];

		*row = (Netd__Control__Neigh)NETD__CONTROL__NEIGH__INIT;
		row->dev = device_name(s, r->dev);
		row->addr = bytes(r->addr.b, sizeof(r->addr.b));
		row->mac = bytes(r->mac, sizeof(r->mac));
		row->state = text(neigh_state_name(r->state));
		row->permanent = r->state == NEIGH_PERMANENT;
		if (s->now > r->updated_ns)
			row->age_ms = (uint32_t)min_of(
			    (s->now - r->updated_ns) / NSEC_PER_MSEC, UINT32_MAX * 1ull);
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_NEIGHS;
	a->neighs = &t;
	ret = space ? channel_send(conn, &a->base, NULL, 0) : -ENOBUFS;
	free(space);
	return ret;
}

/* ---- kill points */

#define KILLPOINTS_MAX 1024

static int killpoints_answer(int conn, response *a)
{
	Netd__Control__KillPoints t = NETD__CONTROL__KILL_POINTS__INIT;
	char *names[KILLPOINTS_MAX];
	const char *name;

	for (unsigned i = 0; i < KILLPOINTS_MAX && (name = killpoint_name(i)); i++)
		names[t.n_name++] = text(name);
	t.name = names;
	a->body_case = NETD__CONTROL__RESPONSE__BODY_KILL_POINTS;
	a->kill_points = &t;
	return channel_send(conn, &a->base, NULL, 0);
}

int tables_answer(struct stack *s, int conn, const Netd__Control__Request *r, response *a)
{
	switch (r->body_case) {
	case NETD__CONTROL__REQUEST__BODY_STATUS:
		return status_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_ADDR_LIST:
		return addr_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_ROUTE_LIST:
		return route_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_NEIGH_LIST:
		return neigh_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_LINK_LIST:
		return link_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_SOCK_LIST:
		return socklist_answer(s, conn, r, a);
	case NETD__CONTROL__REQUEST__BODY_BLACK_BOX:
		return box_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_STATS:
		return stats_answer(s, conn, a);
	case NETD__CONTROL__REQUEST__BODY_KILL_POINT:
		return killpoints_answer(conn, a);
	default:
		a->error = -EOPNOTSUPP;
		a->text = text("unknown request");
		return channel_send(conn, &a->base, NULL, 0);
	}
}
