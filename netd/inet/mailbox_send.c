/*
 * Datagrams from a client's transmit ring, of UDP, raw, ping and packet sockets.
 *
 * Theory of operation. The ring lies in the client's memory, which it can change at any moment:
 * each header is copied once, checked, and only the copy is used; the payload is copied once into
 * the packet, and a checksum is of that copy. tx_head in the record says how far the ring was
 * sent, so across a restart nothing is sent twice that was committed, and what was not committed
 * never went out. A header that no library writes costs the session (-EPROTO); a wish that cannot
 * be granted is an error of the socket, and the datagram is gone, as it would be in the kernel
 * after sendto().
 *
 * Where the kind of socket allows it, a datagram may be written in pieces (CM_DGRAM_MORE): it waits
 * in the ring until its last piece is there. How a datagram goes out is the kind's (struct
 * mailbox_way: udp_output.c, raw_send.c, ping.c, tap_send.c). Its error is the socket's, or, where
 * the client waits for it (CM_DGRAM_ASK), kept in the record for CM_SENT.
 *
 * A device without room stops the walk where it is; it goes on at completions (sock_resume) or
 * when a short timer runs out.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>
#include <sys/socket.h>

#define STALL_NS (1 * NSEC_PER_MSEC)
#define TIMED (CM_DGRAM_STAMP | CM_DGRAM_QUEUED)
#define FLAGS                                                                                      \
	(CM_DGRAM_SKIP | CM_DGRAM_TTL | CM_DGRAM_TOS | CM_DGRAM_ASK | CM_DGRAM_LINK |              \
	    CM_DGRAM_CONFIRM | TIMED | CM_DGRAM_BARE)
#define LEN_MASK	0xffffffu
#define CHUNKS_PER_ROOM 16 /* at least: device_room() counts frames of 64 KiB */

/* ---- the ring */

/* Does the header at `pos` describe something that lies between there and k->tx_tail? */
static bool header_ok(
    const struct sock_rec *k, uint64_t pos, const struct cm_dgram *h, uint64_t room)
{
	uint64_t avail = k->tx_tail - pos, in = (pos - k->tx.base) & (k->tx.cap - 1);

	/* A filler need not reach the ring's end: it may be from before the ring's last move. */
	if (room > avail || in + room > k->tx.cap)
		return false;
	return (h->flags & CM_DGRAM_SKIP) || h->len <= CM_DGRAM_MAX;
}

/* The entry at `pos`, read once: what is checked is what is used. Its length in the ring, or
 * -EPROTO. */
static int64_t read_entry(
    struct stack *s, const struct sock_rec *k, uint64_t pos, uint32_t flags, struct cm_dgram *h)
{
	uint64_t room;

	if (k->tx_tail - pos < sizeof(*h) || !memory_base(s->mem, k->tx.mem))
		return -EPROTO;
	ring_read(s->mem, &k->tx, pos, h, sizeof(*h));
	__asm__ __volatile__("" ::: "memory");
	h->peer.pad = h->local.pad = 0;
	if ((h->flags & ~flags) || h->len > LEN_MASK)
		return -EPROTO;
	room = cm_dgram_room(h->len);
	return header_ok(k, pos, h, room) ? (int64_t)room : -EPROTO;
}

/* Its IP options, read once, are not of its payload. 0 or -EPROTO. */
static int take_options(
    struct stack *s, const struct sock_rec *k, struct mailbox_job *j, struct mailbox_piece *piece)
{
	struct cm_options *o = &j->options;

	if (piece->len < sizeof(*o))
		return -EPROTO;
	piece->len -= (uint32_t)sizeof(*o);
	ring_read(s->mem, &k->tx, piece->pos + piece->len, o, sizeof(*o));
	__asm__ __volatile__("" ::: "memory");
	return o->len > sizeof(o->bytes) ? -EPROTO : 0;
}

/* One more entry of the datagram. 0 or -EPROTO. */
static int add_piece(struct stack *s, const struct sock_rec *k, struct mailbox_job *j,
    const struct cm_dgram *h, uint64_t pos)
{
	struct mailbox_piece piece = {pos + sizeof(*h), h->len};

	if ((h->flags & CM_DGRAM_OPTIONS) && (j->n || take_options(s, k, j, &piece)))
		return -EPROTO;
	if (!j->n)
		j->h = *h;
	j->h.flags |= h->flags & CM_DGRAM_ASK;
	j->len += piece.len;
	if (j->n < MAILBOX_PIECES)
		j->piece[j->n++] = piece;
	else
		j->len = UINT32_MAX / 2; /* too many to be sent */
	return 0;
}

/* Everything up to the end of the next datagram. 1; 0 if it is not whole yet; -EPROTO. */
static int collect(struct stack *s, const struct sock_rec *k, uint32_t flags, struct mailbox_job *j)
{
	uint64_t pos = k->tx_head;

	j->n = j->len = 0;
	while (pos != k->tx_tail) {
		struct cm_dgram h;
		int64_t room = read_entry(s, k, pos, flags, &h);

		if (room < 0)
			return -EPROTO;
		if (!(h.flags & CM_DGRAM_SKIP) && add_piece(s, k, j, &h, pos))
			return -EPROTO;
		pos += (uint64_t)room;
		j->next = pos;
		if (!(h.flags & (CM_DGRAM_SKIP | CM_DGRAM_MORE)))
			return 1;
	}
	return 0;
}

static void sent(
    struct stack *s, uint32_t sk, struct sock_rec *k, const struct mailbox_job *j, int err)
{
	k->tx_head = j->next;
	if (j->h.flags & CM_DGRAM_ASK)
		k->sent_err = (int16_t)-err;
	else if (err)
		sock_set_error(s, sk, -err);
	KILLPOINT("mailbox.sent");
}

/*
 * Sends what lies between k->tx_head and k->tx_tail. 0; MAILBOX_FULL: the rest goes later; -EPROTO
 * if the ring's content is a lie.
 */
static int transmit(struct stack *s, uint32_t sk, const struct mailbox_way *way)
{
	struct sock_rec *k = sock_get(s, sk);
	struct mailbox_job j;
	int ret;

	sock_changed(s, sk);
	if ((k->flags & SOCK_F_SHUT_WR) && k->type != SOCK_RAW) {
		k->tx_head = k->tx_tail;
		return 0;
	}
	while ((ret = collect(s, k, FLAGS | way->flags, &j)) > 0) {
		ret = j.h.flags & TIMED ? txstamp_send(s, sk, way, &j) : way->send(s, sk, &j);
		if (ret == MAILBOX_FULL) {
			mailbox_stall(s, sk);
			return MAILBOX_FULL;
		}
		sent(s, sk, k, &j, ret);
	}
	if (!ret && !j.n) /* nothing but fillers */
		k->tx_head = k->tx_tail;
	return ret;
}

int mailbox_poke(
    struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail, const struct mailbox_way *way)
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
	return w->tx_head == tx_tail || transmit(s, sk, way) >= 0 ? 0 : -EPROTO;
}

/* What was written goes out as far as devices take it now; the rest waits in the ring, orphaned. */
void mailbox_close(struct stack *s, uint32_t sk, const struct mailbox_way *way)
{
	const struct sock_rec *k = sock_peek(s, sk);

	raw_unlist(s, sk); /* it hears no more */
	if (k->tx_head == k->tx_tail || transmit(s, sk, way) != MAILBOX_FULL)
		sock_free(s, sk); /* a datagram without an end is never sent */
}

/* ---- into packets */

/* A piece of payload goes from the ring into the packet, at `at` behind its front. */
static bool fill(struct stack *s, const struct ring_place *ring, const struct mailbox_piece *from,
    struct packet *p, uint32_t at)
{
	uint64_t pos = from->pos;
	uint32_t len = from->len;

	for (uint16_t i = 0; i < p->segs && len; i++) {
		uint32_t n, run = 0;
		const uint8_t *src;

		if (at >= p->seg[i].len) {
			at -= p->seg[i].len;
			continue;
		}
		n = min_of(p->seg[i].len - at, len);
		src = ring_span(s->mem, ring, pos, n, &run);
		if (!src || run < n)
			return false;
		memcpy(p->seg[i].data + at, src, n);
		pos += n;
		len -= n;
		at = 0;
	}
	return !len;
}

int mailbox_packet(struct stack *s, uint32_t sk, const struct mailbox_job *j, uint32_t dev,
    uint32_t front, struct packet *p)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = packet_alloc(s, p, dev, front + j->len);

	if (ret)
		return ret == -ENOBUFS ? MAILBOX_FULL : ret;
	for (uint32_t i = 0; i < j->n; front += j->piece[i++].len) {
		if (fill(s, &k->tx, &j->piece[i], p, front))
			continue;
		packet_free(s, p);
		return -EFAULT;
	}
	return 0;
}

bool mailbox_room(const struct stack *s, uint32_t dev, uint32_t len, uint32_t size)
{
	const struct device_rec *d = device_peek(s, dev);
	uint32_t room = device_room(s, dev);

	if (!size)
		size = d ? max_of(d->mtu, 68u) : 1;
	/* A small device is not waited for for ever. */
	return room && d && room * CHUNKS_PER_ROOM >= min_of(len / size, d->chunks / 8);
}

/* ---- full devices */

void mailbox_stall(struct stack *s, uint32_t sk)
{
	struct sock_node *n = sock_node(s, sk);

	timer_set(s->timers, KIND_SOCK, sk, s->now + STALL_NS);
	if (n && !n->stalled)
		n->stalled = !index_list_add(&s->inet->stalled, sk);
}

void mailbox_resume(struct stack *s, uint32_t sk, const struct mailbox_way *way)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = 0;

	if (k->tx_head != k->tx_tail)
		ret = transmit(s, sk, way);
	if (ret < 0) { /* the client changed what it had already shown: nothing of it is sent */
		struct sock_rec *w = sock_get(s, sk);

		w->tx_head = w->tx_tail;
		sock_set_error(s, sk, EPROTO);
	}
	if ((k->flags & SOCK_F_ORPHAN) && ret != MAILBOX_FULL)
		sock_free(s, sk);
}

void sock_resume(struct stack *s)
{
	struct index_list *l = &s->inet->stalled;
	uint32_t n = l->n;

	if (!n)
		return;
	/* Those that stall again go behind the ones that stand here now. */
	for (uint32_t i = 0; i < n; i++) {
		uint32_t sk = l->v[i];
		const struct sock_rec *k = sock_peek(s, sk);
		const struct sock_ops *ops = k ? sock_ops_of(s, k) : NULL;

		s->inet->node[sk].stalled = false;
		if (ops && ops->resume)
			ops->resume(s, sk);
	}
	memmove(l->v, l->v + n, (l->n - n) * sizeof(*l->v));
	l->n -= n;
}
