/*
 * The datagram rings of UDP, raw, ping and packet sockets: receiving whole messages, and what their
 * operation tables have in common. Sending is in mailbox_send.c.
 *
 * A datagram socket has no control block: names, options and the four ring positions in its record
 * are all there is. Receive ring: it is made when the socket can receive, and holds whole messages
 * only. A message is written beyond the published end of the ring, then the end moves, in the
 * record; what finds no room is dropped and counted. Transmit ring: made when the client asks.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "inet/sockx.h"
#include "ip/addr.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <sys/socket.h>

/* So that the longest message fits wherever the ring's end lies: filler and message are 64 KiB
 * each. */
#define RING_MIN (256u << 10)

/* ---- receive */

int mailbox_open(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t cap = max_of(round_up_pow2(k->rcvbuf), RING_MIN);
	int ret;

	if (k->rx.cap >= cap)
		return 0;
	ret = sock_rx_ring(s, sk, cap, k->rx_tail);
	/* While it cannot grow (the client still reads from the ring before), the one there is will
	 * do. */
	return ret && !k->rx.cap ? -ENOBUFS : 0;
}

/* Bytes to skip so that a message of `room` lies contiguous. */
static uint64_t filler(const struct sock_rec *k, uint64_t room)
{
	uint64_t in = (k->rx_tail - k->rx.base) & (k->rx.cap - 1);

	return in + room > k->rx.cap ? k->rx.cap - in : 0;
}

static void write_skip(struct stack *s, const struct sock_rec *k, uint64_t bytes)
{
	struct cm_dgram h = {.len = (uint32_t)(bytes - sizeof(h)), .flags = CM_DGRAM_SKIP};

	if (bytes)
		ring_write(s->mem, &k->rx, k->rx_tail, &h, sizeof(h));
}

/* How much may wait, in the kernel's doubled measure. A packet socket may have a mapped ring
 * besides, which is filled from here: its limit is its ring. */
static uint64_t limit(const struct sock_rec *k)
{
	if (k->family == AF_PACKET)
		return UINT64_MAX;
	return k->flags & SOCK_F_RCVBUF_SET ? 2ull * k->rcvbuf : k->rcvbuf;
}

/* A user's limit may be far below what readers wait for before they tell how far they are: then
 * they shall tell at once. */
static bool tell_at_once(const struct sock_rec *k)
{
	return (k->flags & SOCK_F_RCVBUF_SET) && k->rx_tail - k->rx_head > limit(k) / 2;
}

uint8_t *mailbox_reserve(
    struct stack *s, uint32_t sk, const struct sock_rec *k, uint32_t len, struct mailbox_place *at)
{
	uint64_t room = cm_dgram_room(len);
	uint32_t run = 0;
	uint8_t *dst;

	if (k->rx_tail - k->rx_head > limit(k))
		return NULL;
	if (!k->rx.cap) {
		if (mailbox_open(s, sk))
			return NULL;
		k = sock_peek(s, sk);
	}
	at->skip = filler(k, room);
	at->pos = k->rx_tail + at->skip;
	if (at->skip + room > k->rx.cap - (k->rx_tail - k->rx_head))
		return NULL;
	dst = ring_span(s->mem, &k->rx, at->pos + sizeof(struct cm_dgram), len, &run);
	return run < len ? NULL : dst;
}

void mailbox_append(
    struct stack *s, uint32_t sk, const struct mailbox_place *at, const struct cm_dgram *h)
{
	struct sock_rec *k = sock_get(s, sk);

	write_skip(s, k, at->skip);
	ring_write(s->mem, &k->rx, at->pos, h, sizeof(*h));
	k->rx_tail = at->pos + cm_dgram_room(h->len);
	KILLPOINT("mailbox.put");
	sock_changed(s, sk);
}

bool mailbox_put(struct stack *s, uint32_t sk, const struct letter *l)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t body = l->h.len - l->head_len - l->tail_len;
	struct mailbox_place at;
	uint8_t *dst;

	if (k->flags & SOCK_F_ORPHAN)
		return true;
	dst = mailbox_reserve(s, sk, k, l->h.len, &at);
	if (dst && l->head_len)
		memcpy(dst, l->head, l->head_len);
	if (!dst || (body && !packet_read(l->p, l->off, dst + l->head_len, body))) {
		sock_get(s, sk)->drops++;
		return false;
	}
	if (l->tail_len)
		memcpy(dst + l->head_len + body, l->tail, l->tail_len);
	mailbox_append(s, sk, &at, &l->h);
	return true;
}

uint32_t mailbox_options(const struct stack *s, uint32_t sk, const struct ip_meta *m,
    struct cm_dgram *h, struct cm_options *o)
{
	*o = (struct cm_options){.len = 0};
	if (sockx_peek(s, sk)->flags & SOCKX_RXQ_OVFL)
		o->drops = sock_peek(s, sk)->drops;
	if (m && m->header_len > IPV4_LEN) {
		o->len = (uint8_t)(m->header_len - IPV4_LEN);
		memcpy(o->bytes, m->header + IPV4_LEN, o->len);
	}
	if (!o->len && !o->drops)
		return 0;
	h->flags |= CM_DGRAM_OPTIONS;
	h->len += (uint32_t)sizeof(*o);
	return sizeof(*o);
}

/* The address of ours that an answer should come from: the kernel's specific destination. */
static uint32_t specific(const struct stack *s, const struct ip_meta *m)
{
	struct ipaddr own;

	if (!m->to_broadcast && !m->to_multicast)
		return ipaddr_to_v4(&m->dst);
	return addr_select(s, m->dev, &m->src, &own) ? ipaddr_to_v4(&own) : 0;
}

struct cm_dgram mailbox_header(const struct stack *s, const struct ip_meta *m, uint32_t len)
{
	return (struct cm_dgram){.len = len,
	    .ttl = m->ttl,
	    .tos = m->tos,
	    .peer = {.addr = m->src},
	    .local = {.addr = m->dst},
	    .ifindex = IFINDEX(m->dev),
	    .spec_dst = specific(s, m),
	    .time_ns = s->now};
}

/* ---- rows of the operation tables */

int mailbox_shutdown(struct stack *s, uint32_t sk, int how)
{
	struct sock_rec *k = sock_get(s, sk);

	if (how == SHUT_RD || how == SHUT_RDWR)
		k->flags |= SOCK_F_SHUT_RD;
	if (how == SHUT_WR || how == SHUT_RDWR)
		k->flags |= SOCK_F_SHUT_WR;
	sock_changed(s, sk);
	return sock_connected(k) ? 0
				 : -ENOTCONN; /* and remembered all the same, as in the kernel */
}

/* What waits in the transmit ring goes on. */
int mailbox_reindex(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);

	filter_reindex(s, sk);
	if (k->tx_head != k->tx_tail || (k->flags & SOCK_F_ORPHAN))
		mailbox_stall(s, sk);
	return 0;
}

void mailbox_publish(const struct stack *s, uint32_t sk, struct sock_view *v)
{
	const struct sock_rec *k = sock_peek(s, sk);

	v->state = CM_ST_OPEN;
	if (k->family != AF_PACKET && sock_connected(k))
		v->state |= CM_ST_CONNECTED;
	if (tell_at_once(k))
		v->state |= CM_ST_ACK_OWED;
	if (k->flags & SOCK_F_SHUT_RD)
		v->state |= CM_ST_RX_EOF;
	if (k->flags & SOCK_F_SHUT_WR)
		v->state |= CM_ST_TX_SHUT;
	if ((k->flags & SOCK_F_SHUT_RD) && (k->flags & SOCK_F_SHUT_WR))
		v->state |= CM_ST_HUP;
	v->rx_tail = k->rx_tail;
	v->tx_head = k->tx_head;
	v->tcp_state =
	    v->state & CM_ST_CONNECTED ? 1 : 7; /* TCP_ESTABLISHED, TCP_CLOSE: as ss shows them */
}

void mailbox_live_range(const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to)
{
	const struct sock_rec *k = sock_peek(s, sk);

	*from = rx ? k->rx_head : k->tx_head;
	*to = rx ? k->rx_tail : k->tx_tail;
}

int mailbox_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	int ret;

	if (level == SOL_SOCKET && name == SO_LOCK_FILTER)
		return filter_setsockopt(s, sk, val, len);
	ret = sock_setsockopt(s, sk, level, name, val, len);
	if (!ret && level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE) &&
	    sock_peek(s, sk)->rx.cap)
		(void)mailbox_open(
		    s, sk); /* the smaller ring goes on serving if there is no memory */
	return ret;
}
