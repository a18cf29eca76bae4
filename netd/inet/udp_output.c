/*
 * One datagram of a client, from the wish in its header to IP: where to, which way, how long it may
 * be, how it is cut.
 *
 * What cannot be granted is the error of the call, or the socket's (mailbox_send.c); a "too long"
 * is also an entry of the error queue where the socket has one. A datagram may have been written in
 * several pieces (MSG_MORE), and may be many datagrams (UDP_SEGMENT): then it goes out as one
 * super-frame, which the device or device/segment.c cuts.
 */
#include "inet/layer.h"
#include "inet/sockx.h"
#include "inet/udp.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "wire/checksum.h"
#include "wire/ipopt.h"
#include "wire/udp.h"
#include <errno.h>
#include <netinet/in.h>

#define IP_LEN	     20u
#define SEGMENTS_MAX 128u

struct sending {
	struct endpoint to;
	struct ip_send how;
	struct route r;
	uint32_t len;
	uint32_t gso; /* 0: one datagram */
	struct ipopt options;
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
static int choose_way(struct stack *s, uint32_t sk, const struct sock_rec *k,
    const struct sockx_rec *x, const struct mailbox_job *j, struct sending *d)
{
	const struct cm_dgram *h = &j->h;
	bool wish = !ipaddr_is_any(&h->local.addr);
	struct ipaddr src;
	uint32_t oif;
	int ret = way_wish(s, k, h, &src, &oif);

	d->how.proto = IPPROTO_UDP;
	d->how.dst = d->to.addr;
	if (ret || (ret = way_options(s, sk, j, &d->how, &d->options)))
		return ret;
	ret = sock_route(s, sk, &d->how.dst, &src, oif, &d->r);
	if (ret)
		return ret == -EADDRNOTAVAIL && wish ? -ENETUNREACH : ret;
	if (((h->flags & CM_DGRAM_LINK) || d->options.strict) && !route_on_link(&d->r, &d->how.dst))
		return -ENETUNREACH;
	way_fill(k, x, h, &d->r, &d->how);
	if (!d->options.source)
		d->to.addr = d->how.dst;
	return 0;
}

static int choose_fragmenting(
    struct stack *s, uint32_t sk, const struct sock_rec *k, struct sending *d)
{
	uint32_t total = (d->gso ? d->gso : d->len) + UDP_LEN + IP_LEN + d->options.len;
	bool strict = way_dont_fragment(s, k, total, &d->how, &d->r);

	if (d->gso)
		return total > d->r.mtu || d->len > d->gso * SEGMENTS_MAX ? -EINVAL : 0;
	return total > d->r.mtu && strict ? way_too_long(s, sk, &d->to, &d->r) : 0;
}

static void choose_segments(const struct sockx_rec *x, const struct cm_dgram *h, struct sending *d)
{
	d->gso = h->gso ? h->gso : x->gso_size;
	if (d->gso >= d->len)
		d->gso = 0;
}

static void put_header(struct stack *s, const struct sock_rec *k, const struct sockx_rec *x,
    const struct sending *d, struct packet *p)
{
	uint32_t pseudo = ip_pseudo_sum(&d->how.src, &d->to.addr, IPPROTO_UDP, p->len);
	const struct device_rec *dev = device_peek(s, d->r.dev);
	bool offload = d->gso || (dev && !dev->is_lo && (dev->features & REGION_F_CSUM) &&
				     p->len + IP_LEN + d->options.len <= d->r.mtu);
	struct udp_header h = {.src = k->local.port, .dst = d->to.port, .len = (uint16_t)p->len};
	uint8_t *at = p->seg[0].data;

	if (x->flags & SOCKX_NO_CHECK) {
		udp_emit(&h, at, UDP_LEN);
		return;
	}
	if (offload) {
		h.checksum = (uint16_t)csum_fold(pseudo);
		p->flags |= DESC_CSUM_NEEDED;
		p->csum_at = at;
		p->csum_offset = UDP_CSUM_OFFSET;
	} else if (dev && dev->is_lo) {
		p->flags |= DESC_CSUM_VALID; /* it never leaves this machine */
	}
	if (d->gso) {
		p->gso_type = GSO_UDP;
		p->gso_size = (uint16_t)d->gso;
	}
	udp_emit(&h, at, UDP_LEN);
	if (offload || (p->flags & DESC_CSUM_VALID))
		return;
	h.checksum = csum_finish_udp(packet_sum(p, 0, p->len, pseudo));
	udp_emit(&h, at, UDP_LEN);
}

/* Is there room for the datagram and, if it is long, its fragments? */
static bool has_room(const struct stack *s, const struct sending *d)
{
	return mailbox_room(s, d->r.dev, d->len + UDP_LEN + IP_LEN, d->gso ? d->gso : d->r.mtu);
}

static int udp_send(struct stack *s, uint32_t sk, const struct mailbox_job *j)
{
	static const struct ipaddr any;
	const struct sock_rec *k;
	const struct sockx_rec *x;
	struct sending d = {.len = j->len};
	struct packet p;
	int ret = udp_autobind(s, sk, &any);

	if (ret)
		return ret;
	if (j->len > UDP_PAYLOAD_MAX)
		return -EMSGSIZE;
	k = sock_peek(s, sk);
	x = sockx_peek(s, sk);
	choose_segments(x, &j->h, &d);
	if ((ret = choose_destination(s, k, &j->h, &d)) || (ret = choose_way(s, sk, k, x, j, &d)) ||
	    (ret = choose_fragmenting(s, sk, k, &d)))
		return ret;
	if (d.gso && (x->flags & SOCKX_NO_CHECK))
		return -EINVAL;
	if (!has_room(s, &d))
		return MAILBOX_FULL;
	ret = mailbox_packet(s, sk, j, d.r.dev, UDP_LEN, &p);
	if (ret)
		return ret;
	put_header(s, k, x, &d, &p);
	s->count.udp_out++;
	if ((j->h.flags & CM_DGRAM_CONFIRM) && d.r.dev != DEVICE_LO)
		neigh_confirm(s, d.r.dev, &d.r.next_hop);
	ret = ip_output(s, &p, &d.r, &d.how);
	return ret == -ENOBUFS ? 0 : ret; /* dropped on the way, as by a queueing discipline */
}

const struct mailbox_way udp_way = {.send = udp_send, .flags = CM_DGRAM_MORE | CM_DGRAM_OPTIONS};
