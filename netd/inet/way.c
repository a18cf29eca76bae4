/* The way of a socket's packets, by its options. */
#include "inet/sock.h"
#include "inet/sockx.h"
#include "ip/ip.h"
#include <errno.h>

bool route_on_link(const struct route *r, const struct ipaddr *to)
{
	return r->local || r->broadcast || ip_is_multicast(to) || ipaddr_eq(&r->next_hop, to);
}

int sock_route(struct stack *s, uint32_t sk, const struct ipaddr *to, const struct ipaddr *source,
    uint32_t oif, struct route *r)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = ip_route(s, to, source, oif, r);

	if (ret == -EADDRNOTAVAIL && (k->flags & SOCK_F_FREEBIND) &&
	    ipaddr_eq(source, &k->local.addr)) {
		ret = ip_route(s, to, NULL, oif, r);
		r->source = *source;
	}
	if (!ret && (sockx_peek(s, sk)->flags & SOCKX_DONTROUTE) && !route_on_link(r, to) &&
	    !ipaddr_is_any(to))
		return -ENETUNREACH;
	return ret;
}
