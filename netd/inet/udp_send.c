/*
 * udp_sendmsg: datagrams from a client's transmit ring.
 *
 * Theory of operation. The ring lies in the client's memory, which it can change at any moment:
 * each header is copied once, checked, and only the copy is used; the payload is copied once into
 * the packet, and the checksum is of that copy. tx_head in the record says how far the ring was
 * sent, so across a restart nothing is sent twice that was committed, and what was not committed
 * never went out. A header that no library writes costs the session (-EPROTO); a wish that cannot
 * be granted is an error of the socket, and the datagram is gone, as it would be in the kernel
 * after sendto().
 *
 * A device without room stops the walk where it is; it goes on at completions (udp_resume) or when
 * a short timer runs out.
 */
#include "inet/udp.h"
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "wire/checksum.h"
#include "wire/udp.h"
#include <errno.h>
#include <netinet/in.h>

#define STALL_NS	(1 * NSEC_PER_MSEC)
#define IP_LEN		20u
#define FULL		1  /* the device has no room now */
#define CHUNKS_PER_ROOM 16 /* at least: device_room() counts frames of 64 KiB */

/* ---- one datagram */

struct sending {
	struct endpoint to;
	struct ip_send how;
	struct route r;
	uint32_t len;
};

static int choose_destination(
    const struct stack *s, const struct sock_rec *k, const struct cm_dgram *h, struct sending *d)
{
	bool given = h->peer.port || !ipaddr_is_any(&h->peer.addr);

	if (!given && !sock_connected(k))
		return -EDESTADDRREQ;
	d->to = given ? h->peer : k->remote;
	if (!d->to.port)
		return -EINVAL;
	return udp_may_send(s, k, &d->to.addr);
}

/* Where from, and which way. */
static int choose_way(
    struct stack *s, const struct sock_rec *k, const struct cm_dgram *h, struct sending *d)
{
	uint32_t oif = k->bound_dev != NO_INDEX ? k->bound_dev
		       : h->ifindex		? h->ifindex - 1
						: NO_INDEX;
	struct ipaddr src = !ipaddr_is_any(&h->local.addr) ? h->local.addr : k->local.addr;
	int ret;

	if (ip_is_multicast(&src) || ip_is_broadcast(s, &src))
		src = ipaddr_v4(0);
	ret = ip_route(s, &d->to.addr, &src, oif, &d->r);
	if (ret)
		return ret;
	if (ipaddr_is_any(&d->to.addr))
		d->to.addr = d->r.next_hop;
	d->how.src = d->r.source;
	d->how.dst = d->to.addr;
	d->how.proto = IPPROTO_UDP;
	d->how.tos = h->tos ? h->tos : k->tos;
	d->how.ttl = h->ttl ? h->ttl : ip_is_multicast(&d->to.addr) ? k->mcast_ttl : k->ttl;
	return 0;
}

static int choose_fragmenting(struct stack *s, const struct sock_rec *k, struct sending *d)
{
	uint32_t total = d->len + UDP_LEN + IP_LEN;

	if (k->mtu_discover == IP_PMTUDISC_PROBE || k->mtu_discover >= IP_PMTUDISC_INTERFACE)
		d->r.mtu = ip_device_mtu(s, d->r.dev);
	d->how.dont_fragment = k->mtu_discover == IP_PMTUDISC_DO ||
			       k->mtu_discover == IP_PMTUDISC_PROBE ||
			       (k->mtu_discover == IP_PMTUDISC_WANT && total <= d->r.mtu);
	if (total > d->r.mtu && (d->how.dont_fragment || k->mtu_discover == IP_PMTUDISC_INTERFACE))
		return -EMSGSIZE;
	return 0;
}

/* The payload goes from the ring into the packet, behind the header. */
static bool fill(
    struct stack *s, const struct ring_place *ring, uint64_t pos, struct packet *p, uint32_t len)
{
	uint32_t skip = UDP_LEN;

	for (uint16_t i = 0; i < p->segs && len; i++) {
		uint32_t n = min_of(p->seg[i].len - skip, len), run = 0;
		const uint8_t *src = ring_span(s->mem, ring, pos, n, &run);

		if (!src || run < n)
			return false;
		memcpy(p->seg[i].data + skip, src, n);
		pos += n;
		len -= n;
		skip = 0;
	}
	return !len;
}

static void put_header(
    struct stack *s, const struct sock_rec *k, const struct sending *d, struct packet *p)
{
	uint32_t pseudo = ip_pseudo_sum(&d->how.src, &d->how.dst, IPPROTO_UDP, p->len);
	const struct device_rec *dev = device_peek(s, d->r.dev);
	bool offload =
	    dev && !dev->is_lo && (dev->features & REGION_F_CSUM) && p->len + IP_LEN <= d->r.mtu;
	struct udp_header h = {.src = k->local.port, .dst = d->to.port, .len = (uint16_t)p->len};
	uint8_t *at = p->seg[0].data;

	if (offload) {
		h.checksum = (uint16_t)csum_fold(pseudo);
		p->flags |= DESC_CSUM_NEEDED;
		p->csum_at = at;
		p->csum_offset = UDP_CSUM_OFFSET;
	} else if (dev && dev->is_lo) {
		p->flags |= DESC_CSUM_VALID; /* it never leaves this machine */
	}
	udp_emit(&h, at, UDP_LEN);
	if (offload || (p->flags & DESC_CSUM_VALID))
		return;
	h.checksum = csum_finish_udp(packet_sum(p, 0, p->len, pseudo));
	udp_emit(&h, at, UDP_LEN);
}

/* Is there room for the datagram and, if it is long, its fragments? A small device is not waited
 * for for ever. */
static bool has_room(const struct stack *s, const struct sending *d)
{
	uint32_t room = device_room(s, d->r.dev), frames = (d->len + UDP_LEN + IP_LEN) / d->r.mtu;
	const struct device_rec *dev = device_peek(s, d->r.dev);

	return room && dev && room * CHUNKS_PER_ROOM >= min_of(frames, dev->chunks / 8);
}

/* 0, FULL, or the error that the socket gets. */
static int send_one(struct stack *s, uint32_t sk, const struct cm_dgram *h, uint64_t payload)
{
	struct sock_rec *k = sock_get(s, sk);
	struct sending d = {.len = h->len};
	struct packet p;
	int ret;

	if (h->len > UDP_PAYLOAD_MAX)
		return -EMSGSIZE;
	if ((ret = choose_destination(s, k, h, &d)) || (ret = choose_way(s, k, h, &d)) ||
	    (ret = choose_fragmenting(s, k, &d)))
		return ret;
	if (!has_room(s, &d))
		return FULL;
	ret = packet_alloc(s, &p, d.r.dev, UDP_LEN + h->len);
	if (ret)
		return ret == -ENOBUFS ? FULL : ret;
	if (!fill(s, &k->tx, payload, &p, h->len)) {
		packet_free(s, &p);
		return -EFAULT;
	}
	put_header(s, k, &d, &p);
	s->count.udp_out++;
	ret = ip_output(s, &p, &d.r, &d.how);
	return ret == -ENOBUFS ? 0 : ret; /* dropped on the way, as by a queueing discipline */
}

/* ---- the ring */

/* Does the header at k->tx_head describe something that lies between there and k->tx_tail? */
static bool header_ok(const struct sock_rec *k, const struct cm_dgram *h, uint64_t room)
{
	uint64_t avail = k->tx_tail - k->tx_head, in = (k->tx_head - k->tx.base) & (k->tx.cap - 1);

	if (h->flags & ~CM_DGRAM_SKIP)
		return false;
	/* A filler need not reach the ring's end: it may be from before the ring's last move. */
	if (room > avail || in + room > k->tx.cap)
		return false;
	return (h->flags & CM_DGRAM_SKIP) || h->len <= CM_DGRAM_MAX;
}

int udp_transmit(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	sock_changed(s, sk);
	if (k->flags & SOCK_F_SHUT_WR) {
		k->tx_head = k->tx_tail;
		return 0;
	}
	while (k->tx_head != k->tx_tail) {
		struct cm_dgram h;
		uint64_t room;
		int ret;

		if (k->tx_tail - k->tx_head < sizeof(h) || !memory_base(s->mem, k->tx.mem))
			return -EPROTO;
		ring_read(s->mem, &k->tx, k->tx_head, &h, sizeof(h));
		__asm__ __volatile__(
		    "" ::
			: "memory"); /* read once: what is checked below is what is used */
		h.peer.pad = h.local.pad = 0;
		room = cm_dgram_room(
		    h.len & 0xffffff); /* no length above 64 KiB gets further than header_ok() */
		if (h.len > 0xffffff || !header_ok(k, &h, room))
			return -EPROTO;
		if (!(h.flags & CM_DGRAM_SKIP)) {
			static const struct ipaddr any;

			ret = udp_autobind(s, sk, &any);
			ret = ret ? ret : send_one(s, sk, &h, k->tx_head + sizeof(h));
			if (ret == FULL) {
				udp_stall(s, sk);
				return 0;
			}
			if (ret)
				sock_set_error(s, sk, -ret);
		}
		k->tx_head += room;
	}
	return 0;
}

/* ---- full devices */

void udp_stall(struct stack *s, uint32_t sk)
{
	struct sock_node *n = sock_node(s, sk);

	timer_set(s->timers, KIND_SOCK, sk, s->now + STALL_NS);
	if (n && !n->stalled)
		n->stalled = !index_list_add(&s->inet->stalled, sk);
}

void udp_transmit_stalled(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = 0;

	if (k->tx_head != k->tx_tail)
		ret = udp_transmit(s, sk);
	if (ret) { /* the client changed what it had already shown: nothing of it is sent */
		struct sock_rec *w = sock_get(s, sk);

		w->tx_head = w->tx_tail;
		sock_set_error(s, sk, EPROTO);
	}
	if ((k->flags & SOCK_F_ORPHAN) && sock_peek(s, sk)->tx_head == sock_peek(s, sk)->tx_tail)
		sock_free(s, sk);
}

void udp_resume(struct stack *s)
{
	struct index_list *l = &s->inet->stalled;
	uint32_t n = l->n;

	if (!n)
		return;
	/* Those that stall again go behind the ones that stand here now. */
	for (uint32_t i = 0; i < n; i++) {
		uint32_t sk = l->v[i];
		const struct sock_rec *k = sock_peek(s, sk);

		s->inet->node[sk].stalled = false;
		if (k && k->protocol == IPPROTO_UDP)
			udp_transmit_stalled(s, sk);
	}
	memmove(l->v, l->v + n, (l->n - n) * sizeof(*l->v));
	l->n -= n;
}
