/*
 * Urgent data, RFC 6093: a mark in the stream, on the byte before the one that the peer's pointer
 * points to, as everybody does it.
 *
 * Receiving. The byte lies in the stream and in the ring like any other; where it is stands in the
 * socket's sockx record and in the slot. The client keeps it from its reader, gives it out of band,
 * or leaves it in line; which of this it has done is its own fact. Only the newest mark counts.
 *
 * Sending. The client says where its urgent byte will be before it shows the byte. Until that is
 * acknowledged, segments that begin before it carry the pointer, and none is a super-frame, for the
 * pointer is counted from each segment's start.
 */
#include "tcp/layer.h"
#include "inet/sockx.h"

#define POINTER_MAX 65535u

void urgent_arrived(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	const struct sockx_rec *p = sockx_peek(s, sk);
	int64_t at = rcv_off(t, g->h.seq) + g->h.urgent - (g->h.urgent ? 1 : 0);
	struct sockx_rec *x;

	if (at < (int64_t)t->rcv_nxt || at < (int64_t)t->rx_head)
		return;
	if ((p->flags & SOCKX_URGENT_IN) && at <= (int64_t)p->rcv_up)
		return;
	x = sockx_get(s, sk);
	if (!x)
		return;
	x->flags |= SOCKX_URGENT_IN;
	x->rcv_up = (uint64_t)at;
	sock_changed(s, sk);
}

void urgent_mark(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t end)
{
	struct sockx_rec *x;

	if (end <= t->snd_una || end > tx_head_of(t) + sock_peek(s, sk)->tx.cap ||
	    (t->flags & TCB_FIN_WANTED))
		return;
	x = sockx_get(s, sk);
	if (!x)
		return;
	x->flags |= SOCKX_URGENT_OUT;
	x->snd_up = end;
	t->flags |= TCB_URGENT;
	tcp_want_output(s, sk);
}

void urgent_fill(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t off, struct tcp_header *h)
{
	uint64_t up = sockx_peek(s, sk)->snd_up;

	if (!(t->flags & TCB_URGENT) || off >= up)
		return;
	h->flags |= TCP_F_URG;
	h->urgent = (uint16_t)min_of(up - off, (uint64_t)POINTER_MAX);
}

void urgent_acked(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	if (t->snd_una >= sockx_peek(s, sk)->snd_up)
		t->flags &= ~(uint32_t)TCB_URGENT;
}
