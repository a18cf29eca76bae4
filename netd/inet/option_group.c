/*
 * Options of multicast memberships, with the kernel's rules (ip_mc_join_group, ip_mc_source,
 * ip_mc_msfilter). The client library has turned all of their structures into one (struct
 * cm_group).
 */
#include "inet/option.h"
#include "base/util.h"
#include "device/device.h"
#include "ip/addr.h"
#include "ip/group.h"
#include "proto/client.h"
#include <errno.h>
#include <netinet/in.h>

static bool is_group(const struct cm_group *g)
{
	struct ipaddr a = ipaddr_v4(ntohl(g->group));

	return ip_is_multicast(&a);
}

/* The device that was named, or has the address that was named, or leads to the group; NO_INDEX. */
static uint32_t device_of(struct stack *s, const struct cm_group *g)
{
	struct ipaddr interface = ipaddr_v4(ntohl(g->interface)),
		      group = ipaddr_v4(ntohl(g->group));
	struct route r;

	if (g->ifindex)
		return device_peek(s, g->ifindex - 1) ? g->ifindex - 1 : NO_INDEX;
	if (g->interface)
		return addr_device(s, &interface);
	return ip_route(s, &group, NULL, NO_INDEX, &r) ? NO_INDEX : r.dev;
}

static struct group_wish wish(const struct cm_group *g, uint32_t dev)
{
	return (struct group_wish){
	    .dev = dev, .group = ntohl(g->group), .address = ntohl(g->interface)};
}

static int join(struct stack *s, uint32_t sk, struct sock_rec *k, const struct cm_group *g,
    enum group_mode mode)
{
	struct group_wish w = wish(g, is_group(g) ? device_of(s, g) : NO_INDEX);

	if (!is_group(g))
		return -EINVAL;
	if (w.dev == NO_INDEX)
		return -ENODEV;
	w.mode = (uint8_t)mode;
	k->flags |= SOCK_F_MEMBER;
	return group_join(s, sk, &w);
}

static int leave(struct stack *s, uint32_t sk, const struct cm_group *g)
{
	struct group_wish w = wish(g, device_of(s, g));
	uint32_t member;

	if (w.dev == NO_INDEX && !g->interface && !g->ifindex)
		return -ENODEV;
	if (w.dev == NO_INDEX && g->ifindex)
		return -EADDRNOTAVAIL;
	member = group_find(s, sk, &w);
	if (member == NO_INDEX)
		return -EADDRNOTAVAIL;
	group_leave(s, member);
	return 0;
}

/* ---- sources */

static int add_source(struct member_rec *m, uint32_t source)
{
	uint32_t at = 0;

	if (m->sources >= GROUP_SOURCES)
		return -ENOBUFS;
	while (at < m->sources && m->source[at] < source)
		at++;
	if (at < m->sources && m->source[at] == source)
		return -EADDRNOTAVAIL;
	memmove(m->source + at + 1, m->source + at, (m->sources - at) * sizeof(m->source[0]));
	m->source[at] = source;
	m->sources++;
	m->listed = true;
	return 0;
}

static int drop_source(struct member_rec *m, uint32_t source)
{
	uint32_t at = 0;

	while (at < m->sources && m->source[at] != source)
		at++;
	if (at == m->sources)
		return -EADDRNOTAVAIL;
	m->sources--;
	memmove(m->source + at, m->source + at + 1, (m->sources - at) * sizeof(m->source[0]));
	return 0;
}

/* One source more or less. The last one that is wanted is the membership itself. */
static int one_source(
    struct stack *s, uint32_t sk, const struct cm_group *g, enum group_mode mode, bool add)
{
	struct group_wish w = wish(g, is_group(g) ? device_of(s, g) : NO_INDEX);
	struct member_rec m;
	uint32_t member;
	int ret;

	if (!is_group(g))
		return -EINVAL;
	if (w.dev == NO_INDEX)
		return -ENODEV;
	member = group_find(s, sk, &w);
	if (member == NO_INDEX)
		return -EINVAL;
	m = *group_peek(s, member);
	if (m.listed && m.mode != mode)
		return -EINVAL;
	m.mode = (uint8_t)mode;
	ret = add ? add_source(&m, ntohl(g->source[0])) : drop_source(&m, ntohl(g->source[0]));
	if (!ret && mode == GROUP_INCLUDE && !m.sources)
		group_leave(s, member);
	else if (!ret || m.mode != group_peek(s, member)->mode)
		group_change(s, member, &m);
	return ret;
}

static int join_source(struct stack *s, uint32_t sk, struct sock_rec *k, const struct cm_group *g)
{
	int ret = join(s, sk, k, g, GROUP_INCLUDE);

	return ret && ret != -EADDRINUSE ? ret : one_source(s, sk, g, GROUP_INCLUDE, true);
}

/* The whole list at once. */
static int set_filter(struct stack *s, uint32_t sk, const struct cm_group *g)
{
	struct group_wish w = wish(g, is_group(g) ? device_of(s, g) : NO_INDEX);
	struct member_rec m;
	uint32_t member;

	if (!is_group(g) || g->mode > GROUP_INCLUDE)
		return -EINVAL;
	if (w.dev == NO_INDEX)
		return -ENODEV;
	if (g->mode == GROUP_INCLUDE && !g->sources)
		return leave(s, sk, g);
	member = group_find(s, sk, &w);
	if (member == NO_INDEX)
		return -EINVAL;
	m = *group_peek(s, member);
	m.mode = (uint8_t)g->mode;
	m.sources = 0;
	m.listed = g->sources > 0;
	for (uint32_t i = 0; i < g->sources; i++)
		(void)add_source(&m, ntohl(g->source[i])); /* one that is named twice counts once */
	group_change(s, member, &m);
	return 0;
}

/* ---- the options */

static bool ours(int name)
{
	return name >= IP_ADD_MEMBERSHIP && name <= MCAST_MSFILTER;
}

static int read_group(const void *val, uint32_t len, struct cm_group *g)
{
	if (len < sizeof(*g))
		return -EINVAL;
	memcpy(g, val, sizeof(*g));
	return g->sources > CM_GROUP_SOURCES ? -ENOBUFS : 0;
}

int group_setsockopt(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len)
{
	struct cm_group g;
	int ret;

	if (!ours(name))
		return 1;
	ret = read_group(val, len, &g);
	if (ret)
		return ret;
	switch (name) {
	case IP_ADD_MEMBERSHIP:
	case MCAST_JOIN_GROUP:
		return join(s, sk, k, &g, GROUP_EXCLUDE);
	case IP_DROP_MEMBERSHIP:
	case MCAST_LEAVE_GROUP:
		return leave(s, sk, &g);
	case IP_ADD_SOURCE_MEMBERSHIP:
	case MCAST_JOIN_SOURCE_GROUP:
		return join_source(s, sk, k, &g);
	case IP_DROP_SOURCE_MEMBERSHIP:
	case MCAST_LEAVE_SOURCE_GROUP:
		return one_source(s, sk, &g, GROUP_INCLUDE, false);
	case IP_BLOCK_SOURCE:
	case MCAST_BLOCK_SOURCE:
		return one_source(s, sk, &g, GROUP_EXCLUDE, true);
	case IP_UNBLOCK_SOURCE:
	case MCAST_UNBLOCK_SOURCE:
		return one_source(s, sk, &g, GROUP_EXCLUDE, false);
	default:
		return set_filter(s, sk, &g);
	}
}

int group_getsockopt(struct stack *s, uint32_t sk, int name, void *val, uint32_t *len)
{
	const struct member_rec *m;
	struct group_wish w;
	struct cm_group g;
	uint32_t member;
	int ret;

	if (name != IP_MSFILTER && name != MCAST_MSFILTER)
		return 1;
	ret = read_group(val, *len, &g);
	if (ret)
		return ret;
	if (!is_group(&g))
		return -EINVAL;
	w = wish(&g, name == IP_MSFILTER ? device_of(s, &g) : g.ifindex - 1);
	if (name == IP_MSFILTER && w.dev == NO_INDEX)
		return -ENODEV;
	member = w.dev == NO_INDEX ? NO_INDEX : group_find(s, sk, &w);
	if (member == NO_INDEX)
		return -EADDRNOTAVAIL;
	m = group_peek(s, member);
	g.mode = m->mode;
	g.sources = m->sources;
	for (uint32_t i = 0; i < m->sources; i++)
		g.source[i] = htonl(m->source[i]);
	return option_give(val, len, &g, sizeof(g));
}
