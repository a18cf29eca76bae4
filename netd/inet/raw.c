/*
 * SOCK_RAW of AF_INET: its record, names and options; and the lists of all sockets that hear
 * packets beside their owners. See raw.h.
 */
#include "inet/raw.h"
#include "inet/layer.h"
#include "inet/sockx.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* ---- lists and records */

int raw_attach(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	uint32_t index;
	struct raw_rec *r = state_alloc(s->state, KIND_RAW, &index);

	if (!r)
		return -ENOBUFS;
	r->sk = sk;
	r->hdrincl = k->family == AF_INET && k->protocol == IPPROTO_RAW;
	r->ethertype = k->family == AF_PACKET ? k->local.port : 0;
	k->raw = (uint16_t)(index + 1);
	return 0;
}

void raw_list(struct stack *s, uint32_t sk, uint32_t *head)
{
	struct sock_rare *n = &s->inet->rare[sk];

	if (n->raw_head)
		raw_unlist(s, sk);
	n->raw_head = head;
	n->raw_prev = 0;
	n->raw_next = *head;
	if (*head)
		s->inet->rare[*head - 1].raw_prev = sk + 1;
	*head = sk + 1;
}

void raw_unlist(struct stack *s, uint32_t sk)
{
	struct sock_rare *n = sock_rare(s, sk);

	if (!n || !n->raw_head)
		return;
	if (n->raw_prev)
		s->inet->rare[n->raw_prev - 1].raw_next = n->raw_next;
	else
		*n->raw_head = n->raw_next;
	if (n->raw_next)
		s->inet->rare[n->raw_next - 1].raw_prev = n->raw_prev;
	if (n->raw_head == &s->inet->taps && !s->inet->taps)
		device_taps(s, false);
	n->raw_head = NULL;
}

void raw_forget(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct raw_rec *r = raw_get(s, k);

	raw_unlist(s, sk);
	if (!r)
		return;
	tap_leave(s, r);
	filter_free(s, r);
	state_free(s->state, KIND_RAW, k->raw - 1u);
}

int raw_reindex(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_RAW, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_RAW, i + 1)) {
		const struct raw_rec *r = state_peek(s->state, KIND_RAW, i);
		const struct sock_rec *k = sock_peek(s, r->sk);

		if (k && k->raw == i + 1)
			continue;
		state_free(s->state, KIND_RAW, i); /* its socket's record was lost */
	}
	return 0;
}

/* ---- the socket */

static int raw_create(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	int ret = raw_attach(s, sk);

	if (ret)
		return ret;
	k->local.port = k->protocol; /* as the kernel shows it */
	if (k->protocol == IPPROTO_RAW)
		return 0; /* for sending only */
	raw_list(s, sk, &s->inet->raw[k->protocol]);
	return mailbox_open(s, sk);
}

static int raw_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	struct sock_rec *k = sock_get(s, sk);
	bool any = ipaddr_is_any(&ep->addr);

	if (!any && !ip_is_local(s, &ep->addr) && !ip_is_multicast(&ep->addr) &&
	    !ip_is_broadcast(s, &ep->addr) && !(k->flags & SOCK_F_FOREIGN))
		return -EADDRNOTAVAIL;
	k->local.addr = ep->addr;
	k->flags = any ? k->flags & ~(uint32_t)SOCK_F_BOUND_ADDR : k->flags | SOCK_F_BOUND_ADDR;
	sock_changed(s, sk);
	return 0;
}

int raw_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	static const struct ipaddr any;
	struct sock_rec *k = sock_get(s, sk);
	struct ipaddr local = k->flags & SOCK_F_BOUND_ADDR ? k->local.addr : any;
	struct endpoint peer = {.addr = ep->addr, .port = ep->port};
	struct route r;
	int ret = udp_may_send(s, k, &peer.addr);

	if (!ret)
		ret = sock_route(s, sk, &peer.addr, &local, k->bound_dev, &r);
	if (ret)
		return ret;
	if (ipaddr_is_any(&peer.addr))
		peer.addr = r.next_hop; /* this host */
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		k->local.addr = r.source;
	k->remote = peer;
	sock_changed(s, sk);
	return 0;
}

static int raw_disconnect(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	memset(&k->remote, 0, sizeof(k->remote));
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		memset(&k->local.addr, 0, sizeof(k->local.addr));
	sock_changed(s, sk);
	return 0;
}

static void raw_close(struct stack *s, uint32_t sk, bool killed)
{
	(void)killed;
	mailbox_close(s, sk, &raw_way);
}

static int raw_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	return mailbox_poke(s, sk, rx_head, tx_tail, &raw_way);
}

static void raw_resume(struct stack *s, uint32_t sk)
{
	mailbox_resume(s, sk, &raw_way);
}

static int raw_sock_reindex(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);

	if (k->protocol != IPPROTO_RAW && !(k->flags & SOCK_F_ORPHAN))
		raw_list(s, sk, &s->inet->raw[k->protocol]);
	return mailbox_reindex(s, sk);
}

/* ---- options */

static int set_icmp_filter(struct raw_rec *r, const void *val, uint32_t len)
{
	memcpy(&r->icmp_filter, val, min_of(len, (uint32_t)sizeof(r->icmp_filter)));
	return 0;
}

static int raw_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct raw_rec *r = raw_get(s, k);
	int v = 0;

	if (!r)
		return -EBADF;
	if (level == SOL_RAW) {
		if (name != ICMP_FILTER)
			return -ENOPROTOOPT;
		return k->protocol == IPPROTO_ICMP ? set_icmp_filter(r, val, len) : -EOPNOTSUPP;
	}
	if (level == IPPROTO_IP && name == IP_HDRINCL) {
		if (!len)
			return -EINVAL;
		memcpy(&v, val, len >= sizeof(v) ? sizeof(v) : 1);
		r->hdrincl = v != 0;
		return 0;
	}
	return mailbox_setsockopt(s, sk, level, name, val, len);
}

static int raw_getsockopt(
    struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct raw_rec *r = raw_peek(s, k);
	uint32_t v;

	if (!r)
		return -EBADF;
	if (level == SOL_RAW) {
		if (name != ICMP_FILTER)
			return -ENOPROTOOPT;
		if (k->protocol != IPPROTO_ICMP)
			return -EOPNOTSUPP;
		v = r->icmp_filter;
	} else if (level == IPPROTO_IP && name == IP_HDRINCL) {
		v = r->hdrincl;
	} else {
		return sock_getsockopt(s, sk, level, name, val, len);
	}
	*len = min_of(*len, (uint32_t)sizeof(v));
	memcpy(val, &v, *len);
	return 0;
}

/* ---- the way of a datagram, for raw and ping sockets */

int raw_choose(struct stack *s, uint32_t sk, const struct mailbox_job *j, struct ip_send *how,
    struct route *r, struct ipopt *o)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct cm_dgram *h = &j->h;
	bool given = h->peer.port || !ipaddr_is_any(&h->peer.addr);
	const struct sockx_rec *x = sockx_peek(s, sk);
	bool link = (h->flags & CM_DGRAM_LINK) || (x->flags & SOCKX_DONTROUTE);
	struct ipaddr src;
	uint32_t oif;
	int ret;

	if (!given && !sock_connected(k))
		return -EDESTADDRREQ;
	how->dst = given ? h->peer.addr : k->remote.addr;
	ret = udp_may_send(s, k, &how->dst);
	if (!ret)
		ret = way_options(s, sk, j, how, o);
	if (!ret)
		ret = way_wish(s, k, h, &src, &oif);
	if (!ret)
		ret = sock_route(s, sk, &how->dst, &src, oif, r);
	if (ret)
		return ret;
	link |= o->strict;
	if (link && !r->local && !ip_is_multicast(&how->dst) && !ipaddr_eq(&r->next_hop, &how->dst))
		return -ENETUNREACH;
	how->proto = k->protocol;
	way_fill(k, x, h, r, how);
	return 0;
}

int raw_fragmenting(
    struct stack *s, uint32_t sk, uint32_t total, bool whole, struct ip_send *how, struct route *r)
{
	bool strict = way_dont_fragment(s, sock_peek(s, sk), total, how, r);
	struct endpoint to = {.addr = how->dst};

	return total > r->mtu && (strict || whole) ? way_too_long(s, sk, &to, r) : 0;
}

const struct sock_ops raw_ops = {
    .name = "raw",
    .create = raw_create,
    .bind = raw_bind,
    .connect = raw_connect,
    .disconnect = raw_disconnect,
    .shutdown = mailbox_shutdown,
    .close = raw_close,
    .poke = raw_poke,
    .setsockopt = raw_setsockopt,
    .getsockopt = raw_getsockopt,
    .publish = mailbox_publish,
    .live_range = mailbox_live_range,
    .filter = filter_piece,
    .resume = raw_resume,
    .reindex = raw_sock_reindex,
};
