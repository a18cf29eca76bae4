/*
 * AF_PACKET: sockets that hear and speak frames. Their record, names, options, memberships.
 *
 * The local name is a link address (proto/link.h): ethertype, and the device, if it is bound to
 * one. A socket without an ethertype hears nothing and stands in no list.
 *
 * A network card keeps frames for other hosts to itself unless it is promiscuous. netd's devices
 * are handed them all, so that is decided here: such a frame is shown to taps while somebody has
 * asked for promiscuity on its device. Multicast is always taken; to ask for it changes nothing.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "inet/raw.h"
#include "proto/link.h"
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define RING_MAX (64u << 20)

/* ---- names */

static void set_name(struct stack *s, uint32_t sk, uint32_t ifindex, uint16_t ethertype)
{
	const struct device_rec *d = ifindex ? device_peek(s, ifindex - 1) : NULL;
	struct link_name n = {.ifindex = ifindex};
	struct sock_rec *k = sock_get(s, sk);

	if (d) {
		n.hatype = d->is_lo ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
		n.halen = sizeof(n.addr);
		memcpy(n.addr, d->mac, sizeof(n.addr));
	}
	k->local = link_to_endpoint(&n, ethertype);
	sock_changed(s, sk);
}

/* In the list of taps while it has an ethertype. */
static int hear(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct raw_rec *r = raw_peek(s, k);

	if (!r || !r->ethertype || (k->flags & SOCK_F_ORPHAN)) {
		raw_unlist(s, sk);
		return 0;
	}
	raw_list(s, sk, &s->inet->taps);
	device_taps(s, true);
	return 0;
}

static int tap_create(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	uint16_t ethertype = k->local.port;
	int ret = raw_attach(s, sk);

	if (ret)
		return ret;
	set_name(s, sk, 0, ethertype);
	if (ethertype)
		ret = mailbox_open(s, sk);
	return ret ? ret : hear(s, sk);
}

static int tap_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	struct link_name want = link_of_endpoint(ep);
	const struct device_rec *d = NULL;
	struct raw_rec *r = raw_get(s, sock_peek(s, sk));
	int ret = 0;

	if (!r)
		return -EBADF;
	if (want.ifindex && !(d = device_peek(s, want.ifindex - 1)))
		return -ENODEV;
	if (ep->port)
		r->ethertype = ep->port;
	set_name(s, sk, want.ifindex, r->ethertype);
	if (r->ethertype)
		ret = mailbox_open(s, sk);
	if (!ret && r->ethertype && d && !d->up)
		sock_set_error(s, sk, ENETDOWN);
	return ret ? ret : hear(s, sk);
}

static int tap_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	(void)s;
	(void)sk;
	(void)ep;
	return -EOPNOTSUPP;
}

static int tap_shutdown(struct stack *s, uint32_t sk, int how)
{
	(void)s;
	(void)sk;
	(void)how;
	return -EOPNOTSUPP;
}

/* ---- memberships */

static void promisc(struct stack *s, const struct raw_member *m, int change)
{
	if (m->count && m->type == PACKET_MR_PROMISC && m->dev < DEVICES_MAX)
		s->inet->promisc[m->dev] = (uint16_t)(s->inet->promisc[m->dev] + change);
}

static struct raw_member *member_of(struct raw_rec *r, const struct packet_mreq *m, uint32_t dev)
{
	for (unsigned i = 0; i < RAW_MEMBERS; i++) {
		struct raw_member *have = &r->member[i];

		if (have->count && have->dev == dev && have->type == m->mr_type &&
		    have->alen == m->mr_alen && !memcmp(have->addr, m->mr_address, m->mr_alen))
			return have;
	}
	return NULL;
}

static int join(struct stack *s, struct raw_rec *r, const struct packet_mreq *m)
{
	const struct device_rec *d =
	    m->mr_ifindex > 0 ? device_peek(s, (uint32_t)m->mr_ifindex - 1) : NULL;
	uint32_t dev = (uint32_t)m->mr_ifindex - 1;
	struct raw_member *have;

	if (!d)
		return -ENODEV;
	if (m->mr_type == PACKET_MR_UNICAST)
		return -EOPNOTSUPP; /* a device has one address */
	if (m->mr_type > PACKET_MR_ALLMULTI || m->mr_alen > sizeof(d->mac))
		return -EINVAL;
	have = member_of(r, m, dev);
	if (have) {
		have->count++;
		return 0;
	}
	for (unsigned i = 0; i < RAW_MEMBERS; i++) {
		if (r->member[i].count)
			continue;
		r->member[i] = (struct raw_member){
		    .dev = dev, .count = 1, .type = m->mr_type, .alen = m->mr_alen};
		memcpy(r->member[i].addr, m->mr_address, m->mr_alen);
		promisc(s, &r->member[i], 1);
		return 0;
	}
	return -ENOBUFS;
}

static int leave(struct stack *s, struct raw_rec *r, const struct packet_mreq *m)
{
	struct raw_member *have = m->mr_alen <= sizeof(m->mr_address)
				      ? member_of(r, m, (uint32_t)m->mr_ifindex - 1)
				      : NULL;

	if (!have)
		return -EADDRNOTAVAIL;
	if (have->count == 1)
		promisc(s, have, -1);
	have->count--;
	return 0;
}

void tap_leave(struct stack *s, struct raw_rec *r)
{
	for (unsigned i = 0; i < RAW_MEMBERS; i++) {
		promisc(s, &r->member[i], -1);
		r->member[i].count = 0;
	}
}

/* ---- options */

static int set_number(struct stack *s, uint32_t sk, struct raw_rec *r, int name, int v)
{
	switch (name) {
	case PACKET_IGNORE_OUTGOING:
		if (v < 0 || v > 1)
			return -EINVAL;
		r->ignore_outgoing = (uint8_t)v;
		return 0;
	case PACKET_RX_RING: /* bytes: the client library keeps the mapped ring, and its frames wait
				here */
		if (v < 0)
			return -EINVAL;
		sock_get(s, sk)->rcvbuf = min_of((uint32_t)v, RING_MAX);
		return sock_peek(s, sk)->rx.cap ? mailbox_open(s, sk) : 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int tap_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	struct raw_rec *r = raw_get(s, sock_peek(s, sk));
	struct packet_mreq m = {0};
	int v;

	if (!r)
		return -EBADF;
	if (level == SOL_SOCKET)
		return mailbox_setsockopt(s, sk, level, name, val, len);
	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	if (name == PACKET_ADD_MEMBERSHIP || name == PACKET_DROP_MEMBERSHIP) {
		if (len < sizeof(m))
			return -EINVAL;
		memcpy(&m, val, sizeof(m));
		return name == PACKET_ADD_MEMBERSHIP ? join(s, r, &m) : leave(s, r, &m);
	}
	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	return set_number(s, sk, r, name, v);
}

static int give(void *val, uint32_t *len, const void *from, uint32_t size)
{
	*len = min_of(*len, size);
	memcpy(val, from, *len);
	return 0;
}

/* Counts since the last time. */
static int statistics(struct raw_rec *r, void *val, uint32_t *len)
{
	struct tpacket_stats st = {.tp_packets = 0};

	if (!r)
		return -EBADF;
	st.tp_packets = r->packets + r->dropped;
	st.tp_drops = r->dropped;
	r->packets = r->dropped = 0;
	return give(val, len, &st, sizeof(st));
}

static int tap_getsockopt(
    struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	const struct raw_rec *r = raw_peek(s, sock_peek(s, sk));
	int v;

	if (!r)
		return -EBADF;
	if (level == SOL_SOCKET)
		return sock_getsockopt(s, sk, level, name, val, len);
	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	if (name == PACKET_STATISTICS)
		return statistics(raw_get(s, sock_peek(s, sk)), val, len);
	if (name != PACKET_IGNORE_OUTGOING)
		return -ENOPROTOOPT;
	v = r->ignore_outgoing;
	return give(val, len, &v, sizeof(v));
}

/* ---- the rest of the table */

static void tap_close(struct stack *s, uint32_t sk, bool killed)
{
	(void)killed;
	mailbox_close(s, sk, &tap_way);
}

static int tap_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	return mailbox_poke(s, sk, rx_head, tx_tail, &tap_way);
}

static void tap_resume(struct stack *s, uint32_t sk)
{
	mailbox_resume(s, sk, &tap_way);
}

static int tap_reindex(struct stack *s, uint32_t sk)
{
	const struct raw_rec *r = raw_peek(s, sock_peek(s, sk));

	if (!r)
		return 0;
	for (unsigned i = 0; i < RAW_MEMBERS; i++)
		promisc(s, &r->member[i], 1);
	hear(s, sk);
	return mailbox_reindex(s, sk);
}

const struct sock_ops tap_ops = {
    .name = "packet",
    .create = tap_create,
    .bind = tap_bind,
    .connect = tap_connect,
    .shutdown = tap_shutdown,
    .close = tap_close,
    .poke = tap_poke,
    .setsockopt = tap_setsockopt,
    .getsockopt = tap_getsockopt,
    .publish = mailbox_publish,
    .live_range = mailbox_live_range,
    .filter = filter_piece,
    .resume = tap_resume,
    .reindex = tap_reindex,
};
