/*
 * rtnetlink(7): what interfaces, addresses, routes and neighbours netd has, in the kernel's messages. Nothing can be changed by
 * it: that is netctl's.
 */
#include "clientlib/preload/netlink.h"
#include <arpa/inet.h>
#include <linux/fib_rules.h>
#include <linux/in_route.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#define LOWER_UP  0x10000u /* IFF_LOWER_UP, which no header has beside <net/if.h> */
#define OPER_UP	  6	   /* RFC 2863, as in <linux/if.h> */
#define OPER_DOWN 2
#define QUEUE_LEN 1000

/* ---- writing */

static void *room_for(struct netlink_reply *r, size_t n)
{
	size_t want = r->len + NLMSG_ALIGN(n);
	uint8_t *p;

	if (want > r->room) {
		p = realloc(r->buf, 2 * want);
		if (!p) {
			r->failed = true;
			return NULL;
		}
		r->buf = p;
		r->room = 2 * want;
	}
	p = r->buf + r->len;
	memset(p, 0, NLMSG_ALIGN(n));
	r->len = want;
	return p;
}

static void put(struct netlink_reply *r, const void *v, size_t n)
{
	void *p = room_for(r, n);

	if (p)
		memcpy(p, v, n);
}

static void begin(
    struct netlink_reply *r, uint16_t type, uint16_t flags, const void *body, size_t n)
{
	struct nlmsghdr h = {
	    .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = r->seq, .nlmsg_pid = r->port};

	r->open = r->len;
	put(r, &h, sizeof(h));
	put(r, body, n);
}

static void attr(struct netlink_reply *r, uint16_t type, const void *v, size_t n)
{
	struct rtattr a = {.rta_len = (uint16_t)RTA_LENGTH(n), .rta_type = type};

	put(r, &a, sizeof(a));
	put(r, v, n);
}

static void attr_number(struct netlink_reply *r, uint16_t type, uint32_t v)
{
	attr(r, type, &v, sizeof(v));
}

static void attr_v4(struct netlink_reply *r, uint16_t type, uint32_t addr)
{
	attr_number(r, type, htonl(addr));
}

static void end(struct netlink_reply *r)
{
	uint32_t n = (uint32_t)(r->len - r->open);

	if (!r->failed)
		memcpy(r->buf + r->open, &n, sizeof(n));
}

static void end_of_dump(struct netlink_reply *r)
{
	begin(r, NLMSG_DONE, NLM_F_MULTI, &(int){0}, sizeof(int));
	end(r);
}

/* What went wrong, or with 0 that it went well. */
static void say(struct netlink_reply *r, const struct nlmsghdr *q, int err)
{
	struct nlmsgerr e = {.error = err, .msg = *q};

	begin(r, NLMSG_ERROR, NLM_F_CAPPED, &e, sizeof(e));
	end(r);
}

/* ---- reading */

/* The request's own header after netlink's: as much as there is of it, the rest 0. */
static void body(const struct nlmsghdr *q, void *to, size_t n)
{
	size_t have = q->nlmsg_len - NLMSG_HDRLEN;

	memset(to, 0, n);
	memcpy(to, NLMSG_DATA(q), have < n ? have : n);
}

/* An attribute behind a header of `skip` bytes: its length, 0 if there is none. Copies what there is room for. */
static size_t find(const struct nlmsghdr *q, size_t skip, uint16_t type, void *to, size_t room)
{
	const uint8_t *p = (const uint8_t *)q + NLMSG_SPACE(skip);
	size_t left = q->nlmsg_len > NLMSG_SPACE(skip) ? q->nlmsg_len - NLMSG_SPACE(skip) : 0;

	while (left >= sizeof(struct rtattr)) {
		struct rtattr a;
		size_t n, step;

		memcpy(&a, p, sizeof(a));
		if (a.rta_len < sizeof(a) || a.rta_len > left)
			break;
		n = a.rta_len - sizeof(a);
		if ((a.rta_type & NLA_TYPE_MASK) == type) {
			memcpy(to, p + sizeof(a), n < room ? n : room);
			return n;
		}
		step = RTA_ALIGN(a.rta_len);
		if (step >= left)
			break;
		p += step;
		left -= step;
	}
	return 0;
}

/* ---- interfaces */

static void attr_stats(struct netlink_reply *r, const struct ns_iface *i)
{
	struct rtnl_link_stats64 wide = {.rx_packets = i->rx.frames,
	    .rx_bytes = i->rx.bytes,
	    .rx_dropped = i->rx.dropped,
	    .tx_packets = i->tx.frames,
	    .tx_bytes = i->tx.bytes,
	    .tx_dropped = i->tx.dropped};
	struct rtnl_link_stats narrow;

	ns_iface_stats(i, &narrow);
	attr(r, IFLA_STATS64, &wide, sizeof(wide));
	attr(r, IFLA_STATS, &narrow, sizeof(narrow));
}

static void link_message(struct netlink_reply *r, const struct ns_iface *i, uint16_t flags)
{
	static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255}, none[6];
	unsigned have = ns_iface_flags(i);
	struct ifinfomsg m = {.ifi_family = AF_UNSPEC,
	    .ifi_type = i->loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER,
	    .ifi_index = (int)i->index,
	    .ifi_flags = have & IFF_UP ? have | LOWER_UP : have};
	uint8_t state = i->loopback ? 0 : i->up ? OPER_UP : OPER_DOWN;

	begin(r, RTM_NEWLINK, flags, &m, sizeof(m));
	attr(r, IFLA_IFNAME, i->name, strnlen(i->name, sizeof(i->name) - 1) + 1);
	attr_number(r, IFLA_TXQLEN, QUEUE_LEN);
	attr(r, IFLA_OPERSTATE, &state, sizeof(state));
	attr(r, IFLA_LINKMODE, &(uint8_t){0}, 1);
	attr_number(r, IFLA_MTU, i->mtu);
	attr_number(r, IFLA_GROUP, 0);
	attr(r, IFLA_QDISC, "noqueue", sizeof("noqueue"));
	attr(r, IFLA_ADDRESS, i->mac, sizeof(i->mac));
	attr(r, IFLA_BROADCAST, i->loopback ? none : broadcast, sizeof(i->mac));
	attr_stats(r, i);
	end(r);
}

/* The link that a request is about, by number or by name. 0, -ENODEV, -EINVAL if it says neither. */
static int link_of(
    const struct nlmsghdr *q, const struct ns_iface *v, int n, const struct ns_iface **out)
{
	char name[sizeof(v->name)] = "";
	struct ifinfomsg want;

	body(q, &want, sizeof(want));
	if (!find(q, sizeof(want), IFLA_IFNAME, name, sizeof(name) - 1))
		(void)find(q, sizeof(want), IFLA_ALT_IFNAME, name, sizeof(name) - 1);
	if (want.ifi_index <= 0 && !name[0])
		return -EINVAL;
	for (int i = 0; i < n; i++) {
		*out = &v[i];
		if (want.ifi_index > 0 ? (int)v[i].index == want.ifi_index
				       : !strcmp(v[i].name, name))
			return 0;
	}
	return -ENODEV;
}

static int links(struct netlink_reply *r, const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	const struct ns_iface *one;
	int ret = 0;

	if (q->nlmsg_flags & NLM_F_DUMP)
		for (int i = 0; i < n; i++)
			link_message(r, &v[i], NLM_F_MULTI);
	else if ((ret = link_of(q, v, n, &one)) == 0)
		link_message(r, one, 0);
	return ret;
}

/* Links are changed with netctl; this may be a change of flags that are so already. */
static int set_link(const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	const struct ns_iface *one;
	struct ifinfomsg want;
	int ret = link_of(q, v, n, &one);

	body(q, &want, sizeof(want));
	if (ret < 0 || q->nlmsg_len > NLMSG_LENGTH(sizeof(want)))
		return ret == -ENODEV ? ret : -EPERM;
	return ns_iface_keep_flags(one, want.ifi_flags, want.ifi_change || !want.ifi_flags ? want.ifi_change : ~0u);
}

/* Why a link cannot be deleted. */
static int undeletable(const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	const struct ns_iface *one;
	int ret = link_of(q, v, n, &one);

	return ret < 0 ? ret : one->loopback ? -EOPNOTSUPP : -EPERM;
}

static uint32_t mask(unsigned prefix)
{
	return prefix ? ~0u << (32 - prefix) : 0;
}

static void addr_message(
    struct netlink_reply *r, const struct ns_iface *i, const struct ns_iface_addr *a)
{
	struct ifa_cacheinfo forever = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
	struct ifaddrmsg m = {.ifa_family = AF_INET,
	    .ifa_prefixlen = (uint8_t)a->prefix,
	    .ifa_flags = IFA_F_PERMANENT,
	    .ifa_scope = i->loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
	    .ifa_index = i->index};

	begin(r, RTM_NEWADDR, NLM_F_MULTI, &m, sizeof(m));
	attr_v4(r, IFA_ADDRESS, a->addr);
	attr_v4(r, IFA_LOCAL, a->addr);
	if (!i->loopback && a->prefix < 31)
		attr_v4(r, IFA_BROADCAST, a->addr | ~mask(a->prefix));
	attr(r, IFA_LABEL, i->name, strnlen(i->name, sizeof(i->name) - 1) + 1);
	attr_number(r, IFA_FLAGS, IFA_F_PERMANENT);
	attr(r, IFA_CACHEINFO, &forever, sizeof(forever));
	end(r);
}

static int addrs(struct netlink_reply *r, const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	if (!(q->nlmsg_flags & NLM_F_DUMP))
		return -EOPNOTSUPP;
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < v[i].addrs; k++)
			addr_message(r, &v[i], &v[i].addr[k]);
	return 0;
}

/* ---- routes */

static const struct ns_iface *iface_of(const struct ns_iface *v, int n, uint32_t index)
{
	for (int i = 0; i < n; i++)
		if (v[i].index == index)
			return &v[i];
	return NULL;
}

/* The address of ours for what goes to `hop` by this route; 0: none. */
static uint32_t source_of(const struct ns_route *t, const struct ns_iface *i, uint32_t hop)
{
	if (t->source || !i || !i->addrs)
		return t->source;
	for (unsigned k = 0; k < i->addrs; k++)
		if (!((i->addr[k].addr ^ hop) & mask(i->addr[k].prefix)))
			return i->addr[k].addr;
	return i->addr[0].addr;
}

/* Attributes in the kernel's order, for there are programs that miss the last one (nmap). */
static void route_message(
    struct netlink_reply *r, const struct ns_route *t, const struct ns_iface *i)
{
	struct rtmsg m = {.rtm_family = AF_INET,
	    .rtm_dst_len = (uint8_t)t->prefix,
	    .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = t->gateway ? RTPROT_BOOT : RTPROT_KERNEL,
	    .rtm_scope = t->gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
	    .rtm_type = RTN_UNICAST};
	uint32_t source = t->gateway ? t->source : source_of(t, i, t->dst);

	begin(r, RTM_NEWROUTE, NLM_F_MULTI, &m, sizeof(m));
	attr_number(r, RTA_TABLE, RT_TABLE_MAIN);
	if (t->prefix)
		attr_v4(r, RTA_DST, t->dst);
	if (t->metric)
		attr_number(r, RTA_PRIORITY, t->metric);
	if (source)
		attr_v4(r, RTA_PREFSRC, source);
	if (t->gateway)
		attr_v4(r, RTA_GATEWAY, t->gateway);
	attr_number(r, RTA_OIF, t->ifindex);
	end(r);
}

/* The way to one address, in the form of a route to it alone. */
static void way_message(
    struct netlink_reply *r, uint32_t to, const struct ns_route *t, bool local, uint32_t source)
{
	struct rta_cacheinfo unused = {0};
	struct rtmsg m = {.rtm_family = AF_INET,
	    .rtm_dst_len = 32,
	    .rtm_table = RT_TABLE_MAIN, /* unless the table was asked for; local ones, too */
	    .rtm_scope = RT_SCOPE_UNIVERSE,
	    .rtm_type = local ? RTN_LOCAL : RTN_UNICAST,
	    .rtm_flags = RTM_F_CLONED | (local ? RTCF_LOCAL : 0)};

	begin(r, RTM_NEWROUTE, 0, &m, sizeof(m));
	attr_number(r, RTA_TABLE, RT_TABLE_MAIN);
	attr_v4(r, RTA_DST, to);
	attr_number(r, RTA_OIF, t->ifindex);
	if (source)
		attr_v4(r, RTA_PREFSRC, source);
	if (t->gateway)
		attr_v4(r, RTA_GATEWAY, t->gateway);
	attr_number(r, RTA_UID, getuid());
	attr(r, RTA_CACHEINFO, &unused, sizeof(unused));
	end(r);
}

static bool is_own(const struct ns_iface *v, int n, uint32_t addr)
{
	for (int i = 0; i < n; i++)
		for (unsigned k = 0; k < v[i].addrs; k++)
			if (v[i].addr[k].addr == addr ||
			    (v[i].loopback &&
				!((v[i].addr[k].addr ^ addr) & mask(v[i].addr[k].prefix))))
				return true;
	return false;
}

static bool goes_by(const struct ns_route *t, uint32_t to, uint32_t oif)
{
	return (!oif || t->ifindex == oif) && !((t->dst ^ to) & mask(t->prefix));
}

static int way(struct netlink_reply *r, const struct nlmsghdr *q, const struct ns_iface *v, int n,
    const struct ns_route *t, int routes)
{
	const struct ns_route *best = NULL, lo = {.ifindex = 1};
	uint32_t to = 0, oif = 0;

	if (find(q, sizeof(struct rtmsg), RTA_DST, &to, sizeof(to)) != sizeof(to))
		return -EINVAL;
	(void)find(q, sizeof(struct rtmsg), RTA_OIF, &oif, sizeof(oif));
	to = ntohl(to);
	if (is_own(v, n, to)) {
		way_message(r, to, &lo, true, to);
		return 0;
	}
	for (int i = 0; i < routes; i++)
		if (goes_by(&t[i], to, oif) &&
		    (!best || t[i].prefix > best->prefix ||
			(t[i].prefix == best->prefix && t[i].metric < best->metric)))
			best = &t[i];
	if (!best)
		return -ENETUNREACH;
	way_message(r, to, best, false,
	    source_of(best, iface_of(v, n, best->ifindex), best->gateway ? best->gateway : to));
	return 0;
}

static int routes(
    struct netlink_reply *r, const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	struct ns_route *t;
	int count = ns_routes(v, n, &t), ret = count < 0 ? count : 0;

	if (ret == 0 && !(q->nlmsg_flags & NLM_F_DUMP))
		ret = way(r, q, v, n, t, count);
	else
		for (int i = 0; i < count; i++)
			route_message(r, &t[i], iface_of(v, n, t[i].ifindex));
	free(t);
	return ret;
}

/* ---- neighbours */

static int neighbours(
    struct netlink_reply *r, const struct nlmsghdr *q, const struct ns_iface *v, int n)
{
	static const uint8_t unknown[6];
	struct ns_neigh *t;
	int count;

	if (!(q->nlmsg_flags & NLM_F_DUMP))
		return -EOPNOTSUPP;
	count = ns_neighs(v, n, &t);
	for (int i = 0; i < count; i++) {
		struct ndmsg m = {.ndm_family = AF_INET,
		    .ndm_ifindex = (int)t[i].ifindex,
		    .ndm_state = t[i].state,
		    .ndm_type = RTN_UNICAST};

		begin(r, RTM_NEWNEIGH, NLM_F_MULTI, &m, sizeof(m));
		attr_v4(r, NDA_DST, t[i].addr);
		if (memcmp(t[i].mac, unknown, sizeof(unknown)) != 0)
			attr(r, NDA_LLADDR, t[i].mac, sizeof(t[i].mac));
		end(r);
	}
	free(t);
	return count < 0 ? count : 0;
}

/* ---- rules */

/* Those that every kernel begins with: netd has no others. */
static int rules(struct netlink_reply *r, const struct nlmsghdr *q)
{
	static const struct {
		uint32_t priority;
		uint8_t table;
	} rule[] = {{0, RT_TABLE_LOCAL}, {32766, RT_TABLE_MAIN}, {32767, RT_TABLE_DEFAULT}};

	if (!(q->nlmsg_flags & NLM_F_DUMP))
		return -EOPNOTSUPP;
	for (size_t i = 0; i < sizeof(rule) / sizeof(rule[0]); i++) {
		struct fib_rule_hdr m = {
		    .family = AF_INET, .table = rule[i].table, .action = FR_ACT_TO_TBL};

		begin(r, RTM_NEWRULE, NLM_F_MULTI, &m, sizeof(m));
		attr_number(r, FRA_TABLE, rule[i].table);
		attr_number(r, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
		if (rule[i].priority)
			attr_number(r, FRA_PRIORITY, rule[i].priority);
		end(r);
	}
	return 0;
}

/* ---- any request */

static int answer(struct netlink_reply *r, const struct nlmsghdr *q)
{
	bool v4, asks = (q->nlmsg_type & 3) ==
			(RTM_GETLINK & 3); /* of each four: new, delete, get, set */
	bool link = q->nlmsg_type >= RTM_NEWLINK && q->nlmsg_type <= RTM_SETLINK;
	struct rtgenmsg any;
	struct ns_iface *v;
	int n, ret;

	if (!asks && !link)
		return -EPERM;
	body(q, &any, sizeof(any));
	v4 = any.rtgen_family == AF_INET || any.rtgen_family == AF_UNSPEC;
	if (!v4 && asks && q->nlmsg_type != RTM_GETLINK)
		return q->nlmsg_flags & NLM_F_DUMP ? 0 : -EOPNOTSUPP;
	n = ns_ifaces(&v);
	if (n < 0)
		return -ENETDOWN;
	ret = q->nlmsg_type == RTM_GETLINK    ? links(r, q, v, n)
	      : q->nlmsg_type == RTM_DELLINK  ? undeletable(q, v, n)
	      : link			      ? set_link(q, v, n)
	      : q->nlmsg_type == RTM_GETADDR  ? addrs(r, q, v, n)
	      : q->nlmsg_type == RTM_GETROUTE ? routes(r, q, v, n)
	      : q->nlmsg_type == RTM_GETNEIGH ? neighbours(r, q, v, n)
	      : q->nlmsg_type == RTM_GETRULE  ? rules(r, q)
					      : -EOPNOTSUPP;
	free(v);
	return ret;
}

void rtnetlink_answer(struct netlink_reply *r, const struct nlmsghdr *q)
{
	int ret = answer(r, q);

	if (ret < 0)
		say(r, q, ret);
	else if (q->nlmsg_flags & NLM_F_DUMP)
		end_of_dump(r);
	else if (q->nlmsg_flags & NLM_F_ACK)
		say(r, q, 0);
}
