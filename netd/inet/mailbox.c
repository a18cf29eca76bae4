/*
 * The datagram rings of raw, ping and packet sockets: receiving and sending whole messages.
 *
 * The same discipline as UDP's. Receive: the message is written beyond the published end of the
 * ring, then the end moves, in the record; what finds no room is dropped and counted. Transmit: the
 * ring lies in the client's memory, each header is copied once, checked, and only the copy is used;
 * tx_head in the record says how far the ring was sent. A header that no library writes is a lie
 * (-EPROTO); a wish that cannot be granted is an error of the socket, and the message is gone, as
 * it would be in the kernel after sendto(). A device without room stops the walk where it is.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "inet/raw.h"
#include <errno.h>
#include <sys/socket.h>

#define RING_MIN (256u << 10) /* the longest message and a filler, wherever the ring's end lies */
#define FLAGS                                                                                      \
	(CM_DGRAM_SKIP | CM_DGRAM_TTL | CM_DGRAM_TOS | CM_DGRAM_ASK | CM_DGRAM_LINK |              \
	    CM_DGRAM_CONFIRM)
#define LEN_MASK	0xffffffu
#define CHUNKS_PER_ROOM 16 /* at least: device_room() counts frames of 64 KiB */

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

/* Header, first bytes and the packet's, at `at`. */
static bool write_letter(
    struct stack *s, const struct sock_rec *k, uint64_t at, const struct letter *l)
{
	uint32_t body = l->h.len - l->head_len, run = 0;
	uint8_t *dst = ring_span(s->mem, &k->rx, at + sizeof(l->h), l->h.len, &run);

	if (!dst || run < l->h.len)
		return false;
	if (l->head_len)
		memcpy(dst, l->head, l->head_len);
	if (body && !packet_read(l->p, l->off, dst + l->head_len, body))
		return false;
	ring_write(s->mem, &k->rx, at, &l->h, sizeof(l->h));
	return true;
}

bool mailbox_put(struct stack *s, uint32_t sk, const struct letter *l)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint64_t room = cm_dgram_room(l->h.len), skip = 0, at = 0;
	struct sock_rec *w;
	bool fits = false;

	if (k->flags & (SOCK_F_ORPHAN | SOCK_F_SHUT_RD))
		return true;
	if (k->rx.cap || !mailbox_open(s, sk)) {
		k = sock_peek(s, sk);
		skip = filler(k, room);
		at = k->rx_tail + skip;
		fits = skip + room <= k->rx.cap - (k->rx_tail - k->rx_head) &&
		       write_letter(s, k, at, l);
	}
	w = sock_get(s, sk);
	if (!fits) {
		w->drops++;
		return false;
	}
	write_skip(s, w, skip);
	w->rx_tail = at + room;
	KILLPOINT("mailbox.put");
	sock_changed(s, sk);
	return true;
}

/* ---- transmit */

bool mailbox_fill(
    struct stack *s, uint32_t sk, uint64_t pos, struct packet *p, uint32_t skip, uint32_t len)
{
	const struct sock_rec *k = sock_peek(s, sk);

	for (uint16_t i = 0; i < p->segs && len; i++) {
		uint32_t n = min_of(p->seg[i].len - skip, len), run = 0;
		const uint8_t *src = ring_span(s->mem, &k->tx, pos, n, &run);

		if (!src || run < n)
			return false;
		memcpy(p->seg[i].data + skip, src, n);
		pos += n;
		len -= n;
		skip = 0;
	}
	return !len;
}

bool mailbox_room(const struct stack *s, uint32_t dev, uint32_t len)
{
	const struct device_rec *d = device_peek(s, dev);
	uint32_t room = device_room(s, dev), mtu = d ? max_of(d->mtu, 68u) : 1;

	return room && d && room * CHUNKS_PER_ROOM >= min_of(len / mtu, d->chunks / 8);
}

/* Does the header at k->tx_head describe something that lies between there and k->tx_tail? */
static bool header_ok(const struct sock_rec *k, const struct cm_dgram *h, uint64_t room)
{
	uint64_t avail = k->tx_tail - k->tx_head, in = (k->tx_head - k->tx.base) & (k->tx.cap - 1);

	if (h->flags & ~FLAGS)
		return false;
	/* A filler need not reach the ring's end: it may be from before the ring's last move. */
	if (h->len > LEN_MASK || room > avail || in + room > k->tx.cap)
		return false;
	return (h->flags & CM_DGRAM_SKIP) || h->len <= CM_DGRAM_MAX;
}

int mailbox_transmit(struct stack *s, uint32_t sk, mailbox_send send)
{
	struct sock_rec *k = sock_get(s, sk);

	sock_changed(s, sk);
	if (k->flags & SOCK_F_SHUT_WR)
		k->tx_head = k->tx_tail;
	while (k->tx_head != k->tx_tail) {
		struct cm_dgram h;
		uint64_t room;
		int ret = 0;

		if (k->tx_tail - k->tx_head < sizeof(h) || !memory_base(s->mem, k->tx.mem))
			return -EPROTO;
		ring_read(s->mem, &k->tx, k->tx_head, &h, sizeof(h));
		/* Read once: what is checked below is what is used. */
		__asm__ __volatile__("" ::: "memory");
		h.peer.pad = h.local.pad = 0;
		room = cm_dgram_room(h.len & LEN_MASK);
		if (!header_ok(k, &h, room))
			return -EPROTO;
		if (!(h.flags & CM_DGRAM_SKIP))
			ret = send(s, sk, &h, k->tx_head + sizeof(h));
		if (ret == MAILBOX_FULL) {
			udp_stall(s, sk);
			return 0;
		}
		if (h.flags & CM_DGRAM_ASK)
			k->sent_err = (int16_t)-ret;
		else if (ret)
			sock_set_error(s, sk, -ret);
		k->tx_head += room;
		KILLPOINT("mailbox.sent");
	}
	return 0;
}

void mailbox_resume(struct stack *s, uint32_t sk, mailbox_send send)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = 0;

	if (k->tx_head != k->tx_tail)
		ret = mailbox_transmit(s, sk, send);
	if (ret) { /* the client changed what it had already shown: nothing of it is sent */
		struct sock_rec *w = sock_get(s, sk);

		w->tx_head = w->tx_tail;
		sock_set_error(s, sk, EPROTO);
	}
	k = sock_peek(s, sk);
	if ((k->flags & SOCK_F_ORPHAN) && k->tx_head == k->tx_tail)
		sock_free(s, sk);
}

/* ---- rows of the operation tables */

int mailbox_poke(
    struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail, mailbox_send send)
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
	return w->tx_head == tx_tail ? 0 : mailbox_transmit(s, sk, send);
}

/* What was written goes out as far as devices take it now; the rest waits in the ring, orphaned. */
void mailbox_close(struct stack *s, uint32_t sk, mailbox_send send)
{
	const struct sock_rec *k = sock_peek(s, sk);

	raw_unlist(s, sk); /* it hears no more */
	if (k->tx_head == k->tx_tail || mailbox_transmit(s, sk, send)) {
		sock_free(s, sk);
		return;
	}
	k = sock_peek(s, sk);
	if (k->tx_head == k->tx_tail)
		sock_free(s, sk);
}

int mailbox_reindex(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);

	if (k->tx_head != k->tx_tail || (k->flags & SOCK_F_ORPHAN))
		udp_stall(s, sk);
	return 0;
}

void mailbox_publish(const struct stack *s, uint32_t sk, struct sock_view *v)
{
	const struct sock_rec *k = sock_peek(s, sk);

	v->state = CM_ST_OPEN;
	if (k->family != AF_PACKET && sock_connected(k))
		v->state |= CM_ST_CONNECTED;
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
	int ret = sock_setsockopt(s, sk, level, name, val, len);

	if (!ret && level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE) &&
	    sock_peek(s, sk)->rx.cap)
		(void)mailbox_open(
		    s, sk); /* the smaller ring goes on serving if there is no memory */
	return ret;
}
