/*
 * UDP sockets: the operation table and ICMP's errors. Sending is in udp_output.c, receiving in
 * udp_receive.c, the rings are mailbox.c's.
 *
 * Connected sockets stand in the connected table as far as their 4-tuple is free there; a second
 * socket with the same one (SO_REUSEADDR allows that) stays among the unconnected and is found by
 * its points (inet/lookup.c).
 */
#include "inet/udp.h"
#include "inet/errq.h"
#include "inet/layer.h"
#include "base/util.h"
#include <errno.h>
#include <netinet/in.h>
#include "proto/endian.h"
#include "wire/udp.h"
#include <sys/socket.h>

static int udp_create(struct stack *s, uint32_t sk)
{
	(void)s;
	(void)sk;
	return 0;
}

/* ---- names */

static int udp_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	int ret = port_bind(s, sk, ep);

	if (ret)
		return ret;
	sock_get(s, sk)->arrival =
	    ++world_get(s)->arrival; /* the newest of equals gets the packets */
	ret = mailbox_open(s, sk);
	if (ret)
		port_release(s, sk);
	return ret;
}

int udp_autobind(struct stack *s, uint32_t sk, const struct ipaddr *local)
{
	struct ipaddr own = *local;
	int ret;

	if (sock_peek(s, sk)->flags & SOCK_F_BOUND)
		return 0;
	if (sock_peek(s, sk)->flags & SOCK_F_BOUND_ADDR) /* IP_BIND_ADDRESS_NO_PORT */
		own = sock_peek(s, sk)->local.addr;
	ret = port_autobind(s, sk, &own, NULL);
	return ret ? ret : mailbox_open(s, sk);
}

int udp_may_send(const struct stack *s, const struct sock_rec *k, const struct ipaddr *to)
{
	if (!ipaddr_is_v4(to))
		return k->family == AF_INET ? -EAFNOSUPPORT : -ENETUNREACH;
	if (k->family == AF_INET6 && (k->flags & SOCK_F_V6ONLY))
		return -ENETUNREACH;
	return ip_is_broadcast(s, to) && !(k->flags & SOCK_F_BROADCAST) ? -EACCES : 0;
}

static void forget_peer(struct stack *s, uint32_t sk, struct sock_rec *k)
{
	sock_unhash(s, sk);
	memset(&k->remote, 0, sizeof(k->remote));
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		memset(&k->local.addr, 0, sizeof(k->local.addr));
	sock_changed(s, sk);
}

static int udp_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
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
	ret = udp_autobind(s, sk, &any);
	if (ret)
		return ret;
	forget_peer(s, sk, k);
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		k->local.addr = r.source;
	k->remote = peer;
	ret = sock_hash_connected(s, sk);
	if (ret == -ENOMEM) {
		forget_peer(s, sk, k);
		return ret;
	}
	return 0;
}

static int udp_disconnect(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	forget_peer(s, sk, k);
	if (!(k->flags & SOCK_F_PORT_USER))
		port_release(s, sk);
	return 0;
}

/* ---- the rest of the table */

static void udp_close(struct stack *s, uint32_t sk, bool killed)
{
	(void)killed;
	mailbox_close(s, sk, &udp_way);
}

static int udp_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	return mailbox_poke(s, sk, rx_head, tx_tail, &udp_way);
}

static void udp_resume(struct stack *s, uint32_t sk)
{
	mailbox_resume(s, sk, &udp_way);
}

/* ---- errors */

/* Does the socket hear of it? A "too big" counts for those that wanted to know. */
static bool error_counts(const struct sock_rec *k, const struct ip_error *e)
{
	if (e->mtu && k->mtu_discover == IP_PMTUDISC_DONT)
		return false;
	return (k->flags & SOCK_F_RECVERR) || (sock_connected(k) && (e->hard || e->mtu));
}

static void udp_error(struct stack *s, const struct ip_error *e)
{
	const uint8_t *head = e->quote;
	struct endpoint local = {.addr = e->about.src, .port = be16_at(head)};
	struct endpoint remote = {.addr = e->about.dst, .port = be16_at(head + 2)};
	uint32_t sk = sock_lookup_connected(s, IPPROTO_UDP, &local, &remote);

	if (sk == NO_INDEX)
		sk = sock_lookup_bound(s, IPPROTO_UDP, &local, &remote, NO_INDEX);
	if (sk == NO_INDEX)
		return;
	if (e->mtu)
		ip_pmtu_update(s, &e->about.dst, e->mtu);
	if (!error_counts(sock_peek(s, sk), e))
		return;
	if (sock_peek(s, sk)->flags & SOCK_F_RECVERR)
		errq_icmp(s, sk, e, &remote, UDP_LEN);
	sock_set_error(s, sk, e->err);
}

const struct sock_ops udp_ops = {
    .name = "udp",
    .create = udp_create,
    .bind = udp_bind,
    .connect = udp_connect,
    .disconnect = udp_disconnect,
    .shutdown = mailbox_shutdown,
    .close = udp_close,
    .poke = udp_poke,
    .setsockopt = udp_setsockopt,
    .getsockopt = udp_getsockopt,
    .publish = mailbox_publish,
    .filter = filter_piece,
    .live_range = mailbox_live_range,
    .resume = udp_resume,
    .reindex = mailbox_reindex,
};

const struct inet_proto udp_proto = {
    .number = IPPROTO_UDP,
    .input = udp_input,
    .error = udp_error,
};
