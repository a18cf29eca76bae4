/*
 * UDP sockets: the operation table and ICMP's errors. Sending is in udp_send.c, receiving in
 * udp_receive.c.
 *
 * A datagram socket has no control block: names, options and the four ring positions in its record
 * are all there is. Receive ring: it is made when the socket can receive (bound), and holds whole
 * datagrams only; what does not fit is dropped and counted. Transmit ring: made when the client
 * asks.
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
#include "wire/udp.h"
#include <sys/socket.h>

/* So that the largest datagram fits wherever the ring's end lies: filler and datagram are 64 KiB
 * each. */
#define RING_MIN (256u << 10)

static int udp_create(struct stack *s, uint32_t sk)
{
	(void)s;
	(void)sk;
	return 0;
}

int udp_receive_ring(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t cap = max_of(round_up_pow2(k->rcvbuf), RING_MIN);
	int ret;

	if (k->rx.cap >= cap)
		return 0;
	ret = sock_rx_ring(s, sk, cap, k->rx_tail);
	/* Where it cannot grow now (the client still reads from the ring before), the one there is
	 * will do. */
	return ret && !k->rx.cap ? -ENOBUFS : 0;
}

/* ---- names */

static int udp_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	int ret = port_bind(s, sk, ep);

	if (ret)
		return ret;
	sock_get(s, sk)->arrival =
	    ++world_get(s)->arrival; /* the newest of equals gets the packets */
	ret = udp_receive_ring(s, sk);
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
	return ret ? ret : udp_receive_ring(s, sk);
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

static int udp_shutdown(struct stack *s, uint32_t sk, int how)
{
	struct sock_rec *k = sock_get(s, sk);

	if (how == SHUT_RD || how == SHUT_RDWR)
		k->flags |= SOCK_F_SHUT_RD;
	if (how == SHUT_WR || how == SHUT_RDWR)
		k->flags |= SOCK_F_SHUT_WR;
	sock_changed(s, sk);
	return sock_connected(k) ? 0 : -ENOTCONN; /* and remembered all the same, as in the kernel */
}

/* What was written goes out as far as devices take it now; the rest waits in the ring, orphaned. */
static void udp_close(struct stack *s, uint32_t sk, bool killed)
{
	const struct sock_rec *k = sock_peek(s, sk);

	(void)killed;
	if (k->tx_head == k->tx_tail || udp_transmit(s, sk) != UDP_FULL)
		sock_free(s, sk); /* a datagram without an end is never sent */
}

static int udp_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct sock_rec *w;

	if (rx_head - k->rx_head > k->rx_tail - k->rx_head || rx_head % CM_DGRAM_ALIGN)
		return -EPROTO;
	if (tx_tail - k->tx_tail > k->tx.cap || ring_avail(tx_tail, k->tx_head, k->tx.cap) < 0 ||
	    tx_tail % CM_DGRAM_ALIGN)
		return -EPROTO;
	if (rx_head == k->rx_head && tx_tail == k->tx_head)
		return 0;
	w = sock_get(s, sk);
	w->rx_head = rx_head;
	w->tx_tail = tx_tail;
	return w->tx_head == tx_tail || udp_transmit(s, sk) >= 0 ? 0 : -EPROTO;
}

static void udp_publish(const struct stack *s, uint32_t sk, struct sock_view *v)
{
	const struct sock_rec *k = sock_peek(s, sk);

	v->state = CM_ST_OPEN;
	if (sock_connected(k))
		v->state |= CM_ST_CONNECTED;
	if (k->flags & SOCK_F_SHUT_RD)
		v->state |= CM_ST_RX_EOF;
	if (k->flags & SOCK_F_SHUT_WR)
		v->state |= CM_ST_TX_SHUT;
	if ((k->flags & SOCK_F_SHUT_RD) && (k->flags & SOCK_F_SHUT_WR))
		v->state |= CM_ST_HUP;
	v->rx_tail = k->rx_tail;
	v->tx_head = k->tx_head;
	v->tcp_state = sock_connected(k)
			   ? 1
			   : 7; /* TCP_ESTABLISHED, TCP_CLOSE: as ss shows datagram sockets */
}

static void udp_live_range(
    const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to)
{
	const struct sock_rec *k = sock_peek(s, sk);

	*from = rx ? k->rx_head : k->tx_head;
	*to = rx ? k->rx_tail : k->tx_tail;
}

/* What waits in the transmit ring goes on. */
static int udp_reindex(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);

	if (k->tx_head != k->tx_tail || (k->flags & SOCK_F_ORPHAN))
		udp_stall(s, sk);
	return 0;
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
	struct endpoint local = {.addr = e->about.src, .port = (uint16_t)(head[0] << 8 | head[1])};
	struct endpoint remote = {.addr = e->about.dst, .port = (uint16_t)(head[2] << 8 | head[3])};
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
    .shutdown = udp_shutdown,
    .close = udp_close,
    .poke = udp_poke,
    .setsockopt = udp_setsockopt,
    .getsockopt = udp_getsockopt,
    .publish = udp_publish,
    .live_range = udp_live_range,
    .resume = udp_transmit_stalled,
    .reindex = udp_reindex,
};

const struct inet_proto udp_proto = {
    .number = IPPROTO_UDP,
    .input = udp_input,
    .error = udp_error,
};
