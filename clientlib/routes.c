/* netd's routes and neighbours as a program may ask for them: like interfaces (ifaces.c), from the daemon at each question. */
#include "clientlib/control.h"
#include <linux/neighbour.h>
#include <stdlib.h>
#include <string.h>

static uint32_t index_of(const struct ns_iface *v, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (name && !strcmp(v[i].name, name))
			return v[i].index;
	return 0;
}

static bool take_route(
    const Netd__Control__Route *r, const struct ns_iface *v, int n, struct ns_route *to)
{
	*to = (struct ns_route){.prefix = r->prefix < 32 ? r->prefix : 32,
	    .metric = r->metric,
	    .ifindex = index_of(v, n, r->dev)};
	(void)control_v4(&r->gateway, &to->gateway);
	(void)control_v4(&r->source, &to->source);
	return control_v4(&r->dst, &to->dst) && to->ifindex;
}

int ns_routes(const struct ns_iface *v, int n, struct ns_route **out)
{
	Netd__Control__Response *a;
	struct reply r;
	int ret, k = 0;

	*out = NULL;
	ret = control_list(NETD__CONTROL__REQUEST__BODY_ROUTE_LIST, &r, &a);
	if (ret < 0)
		return ret;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_ROUTES) {
		*out = calloc(a->routes->n_route + 1, sizeof(**out));
		for (size_t i = 0; *out && i < a->routes->n_route; i++)
			k += take_route(a->routes->route[i], v, n, &(*out)[k]);
	}
	netd__control__response__free_unpacked(a, NULL);
	reply_free(&r);
	return *out ? k : -ENOMEM;
}

static uint16_t state_of(const char *name)
{
	static const struct {
		const char *name;
		uint16_t state;
	} states[] = {{"incomplete", NUD_INCOMPLETE}, {"reachable", NUD_REACHABLE},
	    {"stale", NUD_STALE}, {"delay", NUD_DELAY}, {"probe", NUD_PROBE},
	    {"failed", NUD_FAILED}, {"permanent", NUD_PERMANENT}};

	for (size_t i = 0; name && i < sizeof(states) / sizeof(states[0]); i++)
		if (!strcmp(states[i].name, name))
			return states[i].state;
	return NUD_NONE;
}

static bool take_neigh(
    const Netd__Control__Neigh *e, const struct ns_iface *v, int n, struct ns_neigh *to)
{
	*to = (struct ns_neigh){.ifindex = index_of(v, n, e->dev), .state = state_of(e->state)};
	if (e->mac.len == sizeof(to->mac))
		memcpy(to->mac, e->mac.data, sizeof(to->mac));
	return control_v4(&e->addr, &to->addr) && to->ifindex;
}

int ns_neighs(const struct ns_iface *v, int n, struct ns_neigh **out)
{
	Netd__Control__Response *a;
	struct reply r;
	int ret, k = 0;

	*out = NULL;
	ret = control_list(NETD__CONTROL__REQUEST__BODY_NEIGH_LIST, &r, &a);
	if (ret < 0)
		return ret;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_NEIGHS) {
		*out = calloc(a->neighs->n_neigh + 1, sizeof(**out));
		for (size_t i = 0; *out && i < a->neighs->n_neigh; i++)
			k += take_neigh(a->neighs->neigh[i], v, n, &(*out)[k]);
	}
	netd__control__response__free_unpacked(a, NULL);
	reply_free(&r);
	return *out ? k : -ENOMEM;
}
