/* The way of a socket's packets, by its options, and which of those to a group it hears. */
#include "inet/errq.h"
#include "inet/layer.h"
#include "inet/sockx.h"
#include "device/device.h"
#include "ip/group.h"
#include "wire/ipopt.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

bool route_on_link(const struct route *r, const struct ipaddr *to)
{
	return r->local || r->broadcast || ip_is_multicast(to) || ipaddr_eq(&r->next_hop, to);
}

int sock_route(struct stack *s, uint32_t sk, const struct ipaddr *to, const struct ipaddr *source,
    uint32_t oif, struct route *r)
{
	static const struct ipaddr any;
	const struct sock_rec *k = sock_peek(s, sk);
	const struct sockx_rec *x = sockx_peek(s, sk);
	int ret;

	if (ip_is_multicast(source) || ip_is_broadcast(s, source))
		source = &any; /* it is bound to what it hears, not to what it says */
	if (ip_is_multicast(to)) {
		source = ipaddr_is_any(source) ? &x->mcast_source : source;
		oif = oif == NO_INDEX && x->mcast_dev ? x->mcast_dev - 1 : oif;
	} else if (oif == NO_INDEX && x->unicast_dev && k->type != SOCK_STREAM && !ip_is_local(s, to)) {
		oif = x->unicast_dev - 1;
	}
	ret = ip_route(s, to, source, oif, r);
	if (ret == -EADDRNOTAVAIL && (k->flags & SOCK_F_FOREIGN) &&
	    ipaddr_eq(source, &k->local.addr)) {
		ret = ip_route(s, to, NULL, oif, r);
		r->source = *source;
	}
	if (!ret && (x->flags & SOCKX_DONTROUTE) && !route_on_link(r, to) &&
	    !ipaddr_is_any(to))
		return -ENETUNREACH;
	return ret;
}

/* ---- of a datagram: its header's wishes come before those of its socket */

int way_options(const struct stack *s, uint32_t sk, const struct mailbox_job *j,
    struct ip_send *how, struct ipopt *o)
{
	const struct sockx_rec *x = sockx_peek(s, sk);
	bool own = j->h.flags & CM_DGRAM_OPTIONS;
	uint8_t bad;

	if (ipopt_parse(o, own ? j->options.bytes : x->options,
		own ? j->options.len : x->options_len, own ? IPOPT_FROM_USER : IPOPT_FROM_ROOT,
		&bad))
		return -EINVAL;
	if (!o->len)
		return 0;
	how->options = o;
	how->final = how->dst;
	how->dst = ipaddr_v4(ipopt_first_hop(o, ipaddr_to_v4(&how->dst)));
	return 0;
}

int way_wish(const struct stack *s, const struct sock_rec *k, const struct cm_dgram *h,
    struct ipaddr *src, uint32_t *oif)
{
	*oif = k->bound_dev != NO_INDEX ? k->bound_dev : h->ifindex ? h->ifindex - 1u : NO_INDEX;
	if (*oif != NO_INDEX && !device_peek(s, *oif))
		return -ENODEV;
	*src = ipaddr_is_any(&h->local.addr) ? k->local.addr : h->local.addr;
	return 0;
}

void way_fill(const struct sock_rec *k, const struct sockx_rec *x, const struct cm_dgram *h,
    const struct route *r, struct ip_send *how)
{
	bool group = ip_is_multicast(&how->dst);

	if (ipaddr_is_any(&how->dst))
		how->dst = r->next_hop; /* this host */
	how->src = r->source;
	how->tos = h->flags & CM_DGRAM_TOS ? h->tos : k->tos;
	how->ttl = h->flags & CM_DGRAM_TTL ? h->ttl : group ? k->mcast_ttl : k->ttl;
	how->no_loop = x->flags & SOCKX_NO_LOOP;
	how->zero_ttl = group && !how->ttl;
}

bool way_dont_fragment(const struct stack *s, const struct sock_rec *k, uint32_t total,
    struct ip_send *how, struct route *r)
{
	if (k->mtu_discover >= IP_PMTUDISC_PROBE)
		r->mtu = ip_device_mtu(s, r->dev);
	how->dont_fragment = k->mtu_discover == IP_PMTUDISC_DO ||
			     k->mtu_discover == IP_PMTUDISC_PROBE ||
			     (k->mtu_discover == IP_PMTUDISC_WANT && total <= r->mtu);
	return k->mtu_discover >= IP_PMTUDISC_DO && k->mtu_discover != IP_PMTUDISC_OMIT;
}

int way_too_long(struct stack *s, uint32_t sk, const struct endpoint *to, const struct route *r)
{
	if (sock_peek(s, sk)->flags & SOCK_F_RECVERR)
		errq_local(s, sk, EMSGSIZE, r->mtu, to);
	return -EMSGSIZE;
}

bool sock_hears(const struct stack *s, uint32_t sk, const struct ip_meta *m)
{
	const struct sock_rec *k = sock_peek(s, sk);
	bool all = !!(sockx_peek(s, sk)->flags & SOCKX_ALL) ^ (k->family == AF_INET);

	return k->flags & SOCK_F_MEMBER ? group_allows(s, sk, m, all) : all;
}
