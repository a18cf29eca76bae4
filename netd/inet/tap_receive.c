/*
 * ptype_all and packet_rcv: what a frame looks like to the packet sockets that hear it.
 *
 * Taps of every ethertype see what goes out, too; those of one see only what comes in; and a socket
 * never sees what it sends itself. Of a super-frame all see the whole, as the device does, with the
 * checksum open that the device will put in (TP_STATUS_CSUMNOTREADY). lo has no link header: one of
 * zeros is put before its packets.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "inet/raw.h"
#include "proto/endian.h"
#include "proto/link.h"
#include "wire/bpf.h"
#include "wire/ether.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <sys/socket.h>

struct sight {
	const struct packet *p;
	uint8_t link[ETHERNET_LEN];
	uint32_t off;	/* of the network header in the packet */
	uint32_t total; /* with a link header */
	struct link_name from;
	uint16_t ethertype, status;
	bool outgoing;
};

static bool read_at(const void *arg, uint32_t off, void *dst, uint32_t n)
{
	const struct sight *v = arg;
	uint8_t *to = dst;

	for (; n && off < ETHERNET_LEN; n--)
		*to++ = v->link[off++];
	return !n || packet_read(v->p, off - ETHERNET_LEN + v->off, to, n);
}

static uint8_t pkttype_of(const struct sight *v, const struct device_rec *d)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (v->outgoing)
		return PACKET_OUTGOING;
	if (v->link[0] & 1)
		return memcmp(v->link, all, 6) ? PACKET_MULTICAST : PACKET_BROADCAST;
	return memcmp(v->link, d->mac, 6) ? PACKET_OTHERHOST : PACKET_HOST;
}

/* The link header, made for lo, and what it says. */
static bool look(struct sight *v, const struct device_rec *d)
{
	uint8_t version = 0;

	if (d->is_lo) {
		if (!packet_read(v->p, 0, &version, 1))
			return false;
		v->link[12] = version >> 4 == 6 ? ETH_P_IPV6 >> 8 : ETH_P_IP >> 8;
		v->link[13] = version >> 4 == 6 ? ETH_P_IPV6 & 0xff : ETH_P_IP & 0xff;
		v->total = v->p->len + ETHERNET_LEN;
	} else {
		if (!packet_read(v->p, 0, v->link, ETHERNET_LEN))
			return false;
		v->off = ETHERNET_LEN;
		v->total = v->p->len;
	}
	v->ethertype = be16_at(v->link + 12);
	if (v->ethertype < ETH_P_802_3_MIN)
		v->ethertype = ETH_P_802_2;
	v->from = (struct link_name){.halen = 6,
	    .pkttype = pkttype_of(v, d),
	    .ifindex = v->p->dev + 1,
	    .hatype = d->is_lo ? ARPHRD_LOOPBACK : ARPHRD_ETHER};
	memcpy(v->from.addr, v->link + 6, 6);
	v->status = v->p->flags & DESC_CSUM_NEEDED		    ? TP_STATUS_CSUMNOTREADY
		    : !v->outgoing && v->p->flags & DESC_CSUM_VALID ? TP_STATUS_CSUM_VALID
								    : 0;
	return true;
}

static bool wants(const struct sock_rec *k, const struct raw_rec *r, const struct sight *v)
{
	uint32_t ifindex = link_of_endpoint(&k->local).ifindex;

	if (k->flags & SOCK_F_ORPHAN || (ifindex && ifindex != v->from.ifindex))
		return false;
	if (r->ethertype == ETH_P_ALL)
		return !(v->outgoing && r->ignore_outgoing);
	return !v->outgoing && r->ethertype == v->ethertype;
}

static void show(struct stack *s, uint32_t sk, const struct sock_rec *k, const struct sight *v)
{
	bool whole = k->type == SOCK_RAW;
	uint32_t data = whole ? 0 : ETHERNET_LEN, len = v->total - data, kept;
	struct bpf_packet view = {.read = read_at,
	    .arg = v,
	    .len = v->total,
	    .data = data,
	    .net = ETHERNET_LEN,
	    .facts = {.protocol = v->ethertype,
		.pkttype = v->from.pkttype,
		.ifindex = v->from.ifindex,
		.hatype = v->from.hatype}};
	struct cm_options options;
	struct letter l = {
	    .h = {.peer = link_to_endpoint(&v->from, v->ethertype),
		.frame = {.len = len, .status = v->status, .net = whole ? ETHERNET_LEN : 0},
		.ifindex = (uint16_t)v->from.ifindex,
		.time_ns = s->now},
	    .head = v->link,
	    .p = v->p,
	    .off = v->off,
	    .tail = &options};
	struct raw_rec *r;

	kept = min_of(filter_run(s, raw_peek(s, k), &view), CM_DGRAM_MAX);
	kept = min_of(kept, len);
	if (!kept)
		return;
	l.h.len = kept;
	l.head_len = whole ? min_of(kept, (uint32_t)ETHERNET_LEN) : 0;
	l.tail_len = mailbox_options(s, sk, NULL, &l.h, &options);
	r = raw_get(s, k);
	if (!r)
		return;
	if (mailbox_put(s, sk, &l))
		r->packets++;
	else
		r->dropped++;
}

void tap_input(struct stack *s, const struct packet *p, bool outgoing)
{
	const struct device_rec *d = device_peek(s, p->dev);
	struct sight v = {.p = p, .outgoing = outgoing};

	if (!d || !look(&v, d))
		return;
	if (outgoing && s->inet->txstamp)
		txstamp_frame(s, p, v.link, v.off, v.ethertype);
	if (v.from.pkttype == PACKET_OTHERHOST &&
	    (p->dev >= DEVICES_MAX || !s->inet->promisc[p->dev]))
		return;
	if (outgoing)
		s->count.tap_out++;
	else
		s->count.tap_in++;
	for (uint32_t i = s->inet->taps, next; i; i = next) {
		const struct sock_rec *k = sock_peek(s, i - 1);
		const struct raw_rec *r = k ? raw_peek(s, k) : NULL;

		next = s->inet->rare[i - 1].raw_next;
		if (r && wants(k, r, &v) && !(outgoing && s->inet->tap_sends == i))
			show(s, i - 1, k, &v);
	}
}
