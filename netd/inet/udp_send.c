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
 * A datagram may be written in pieces (CM_DGRAM_MORE): it waits in the ring until its last piece is
 * there. How a datagram goes out is in udp_output.c. Its error is the socket's, or, where the
 * client waits for it (CM_DGRAM_ASK), kept in the record for CM_SENT.
 *
 * A device without room stops the walk where it is; it goes on at completions (udp_resume) or when
 * a short timer runs out.
 */
#include "inet/udp.h"
#include "inet/layer.h"
#include "base/util.h"
#include <errno.h>
#include <netinet/in.h>

#define STALL_NS (1 * NSEC_PER_MSEC)
#define ANY_FLAG                                                                                   \
	(CM_DGRAM_SKIP | CM_DGRAM_TTL | CM_DGRAM_TOS | CM_DGRAM_MORE | CM_DGRAM_ASK |              \
	    CM_DGRAM_LINK | CM_DGRAM_CONFIRM)

/* ---- the ring */

/* Does the header at `pos` describe something that lies between there and k->tx_tail? */
static bool header_ok(
    const struct sock_rec *k, uint64_t pos, const struct cm_dgram *h, uint64_t room)
{
	uint64_t avail = k->tx_tail - pos, in = (pos - k->tx.base) & (k->tx.cap - 1);

	if (h->flags & ~ANY_FLAG)
		return false;
	/* A filler need not reach the ring's end: it may be from before the ring's last move. */
	if (room > avail || in + room > k->tx.cap)
		return false;
	return (h->flags & CM_DGRAM_SKIP) || h->len <= CM_DGRAM_MAX;
}

/* The entry at `pos`, read once: what is checked is what is used. Its length in the ring, or
 * -EPROTO. */
static int64_t read_entry(
    struct stack *s, const struct sock_rec *k, uint64_t pos, struct cm_dgram *h)
{
	uint64_t room;

	if (k->tx_tail - pos < sizeof(*h) || !memory_base(s->mem, k->tx.mem))
		return -EPROTO;
	ring_read(s->mem, &k->tx, pos, h, sizeof(*h));
	__asm__ __volatile__("" ::: "memory");
	h->peer.pad = h->local.pad = 0;
	/* No length above 64 KiB gets further than header_ok(). */
	room = cm_dgram_room(h->len & 0xffffff);
	return h->len > 0xffffff || !header_ok(k, pos, h, room) ? -EPROTO : (int64_t)room;
}

/* Everything up to the end of the next datagram. 1; 0 if it is not whole yet; -EPROTO. */
static int collect(struct stack *s, const struct sock_rec *k, struct udp_job *j)
{
	uint64_t pos = k->tx_head;

	j->n = j->len = 0;
	while (pos != k->tx_tail) {
		struct cm_dgram h;
		int64_t room = read_entry(s, k, pos, &h);

		if (room < 0)
			return -EPROTO;
		if (!(h.flags & CM_DGRAM_SKIP)) {
			if (!j->n)
				j->h = h;
			j->h.flags |= h.flags & CM_DGRAM_ASK;
			j->len += h.len;
			if (j->n < UDP_PIECES)
				j->piece[j->n++] = (struct udp_piece){pos + sizeof(h), h.len};
			else
				j->len = UINT32_MAX / 2; /* too many to be sent */
		}
		pos += (uint64_t)room;
		j->next = pos;
		if (!(h.flags & (CM_DGRAM_SKIP | CM_DGRAM_MORE)))
			return 1;
	}
	return 0;
}

static void sent(struct stack *s, uint32_t sk, const struct udp_job *j, int err)
{
	struct sock_rec *k = sock_get(s, sk);

	k->tx_head = j->next;
	if (j->h.flags & CM_DGRAM_ASK)
		k->sent_err = (int16_t)-err;
	else if (err)
		sock_set_error(s, sk, -err);
}

int udp_transmit(struct stack *s, uint32_t sk)
{
	static const struct ipaddr any;
	struct sock_rec *k = sock_get(s, sk);
	struct udp_job j;
	int ret;

	sock_changed(s, sk);
	if (k->flags & SOCK_F_SHUT_WR) {
		k->tx_head = k->tx_tail;
		return 0;
	}
	while ((ret = collect(s, k, &j)) > 0) {
		ret = udp_autobind(s, sk, &any);
		ret = ret ? ret : udp_send_job(s, sk, &j);
		if (ret == UDP_FULL) {
			udp_stall(s, sk);
			return UDP_FULL;
		}
		sent(s, sk, &j, ret);
	}
	if (!ret && !j.n) /* nothing but fillers */
		k->tx_head = k->tx_tail;
	return ret;
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
	if (ret < 0) { /* the client changed what it had already shown: nothing of it is sent */
		struct sock_rec *w = sock_get(s, sk);

		w->tx_head = w->tx_tail;
		sock_set_error(s, sk, EPROTO);
	}
	if ((k->flags & SOCK_F_ORPHAN) && ret != UDP_FULL)
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
		const struct sock_ops *ops = k ? sock_ops_of(s, k) : NULL;

		s->inet->node[sk].stalled = false;
		if (ops && ops->resume)
			ops->resume(s, sk);
	}
	memmove(l->v, l->v + n, (l->n - n) * sizeof(*l->v));
	l->n -= n;
}
