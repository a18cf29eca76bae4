/*
 * An acknowledgement: what it covers, the peer's window, the round-trip time; then loss recovery
 * and congestion control (recovery.c) decide what it means.
 */
#include "tcp/layer.h"

/*
 * RFC 9293, 3.10.7.4, with the kernel's order of the tests: what says nothing new but a smaller window is taken for an old
 * one that was overtaken, except that a window that closes is always believed. Returns whether the edge moved.
 */
static bool update_window(struct tcp_rec *t, const struct tcp_header *h, uint64_t ack)
{
	uint32_t wnd = peer_window(t, h);
	uint64_t edge = ack + wnd, old = t->snd_edge;

	if (ack <= t->snd_una && !seq_after(h->seq, t->snd_wl1) &&
	    !(h->seq == t->snd_wl1 && (edge > t->snd_edge || !wnd)))
		return false;
	t->snd_wl1 = h->seq;
	t->snd_edge = edge;
	t->max_wnd = max_of(t->max_wnd, wnd);
	return edge != old;
}

/* RFC 7323, 4: in recovery no segment is timed (Karn), but what the peer echoes is unambiguous. */
static void sample_rtt(struct stack *s, struct tcp_rec *t, uint32_t echoed_us)
{
	if (!(t->flags & TCB_TIMING)) {
		if (echoed_us && (t->ca_state != CA_OPEN || t->retries))
			rtt_sample(t, echoed_us);
		return;
	}
	if (seq_before((uint32_t)t->snd_una, t->rtt_pos))
		return;
	rtt_timed(s, t);
}

static void advance(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_header *h, struct ack_news *n)
{
	uint64_t una = t->snd_una;

	t->snd_una += n->acked;
	n->rtt_us = rtt_echoed(s, t, h);
	sample_rtt(s, t, n->rtt_us);
	t->retries = 0;
	t->soft_err = 0;
	t->stall_at = s->now;
	t->rtx_at = 0; /* from anew, by the output that follows */
	t->rtx_kind = RTX_NONE;
	t->flags = (t->flags & ~(uint32_t)TCB_PROBED) | TCB_PROGRESS;
	if (t->flags & TCB_MSS_LOW)
		blackhole_acked(s, sk, t);
	recovery_trim(s, sk, t, una, n);
	if (t->flags & TCB_URGENT)
		urgent_acked(s, sk, t);
	sock_changed(s, sk);
}

/* RFC 5961, 5 */
static bool acceptable(struct stack *s, uint32_t sk, struct tcp_rec *t, int64_t ack)
{
	if (ack <= (int64_t)t->snd_nxt && ack >= (int64_t)t->snd_una - (int64_t)t->max_wnd)
		return true;
	tcp_challenge(s, sk, t);
	return false;
}

/* RFC 6675, 4: every acknowledgement's blocks count, one that was overtaken has as much to tell. */
static void old_sack(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_header *h, struct ack_news *n)
{
	if (!(t->flags & TCB_SACK) || !h->n_sack)
		return;
	n->sacked = recovery_sack(s, sk, t, h, n);
	if (!n->sacked && !n->twice)
		return;
	n->duplicate = n->sacked;
	recovery_ack(s, sk, t, n);
	tcp_want_output(s, sk);
}

bool tcp_ack(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	const struct tcp_header *h = &g->h;
	int64_t ack = snd_off(t, h->ack);
	struct ack_news n = {.flight = flight_of(t), .ts_ecr = (t->flags & TCB_TS) && h->has_ts ? h->ts_ecr : 0};
	bool was_fin_acked = fin_acked(t), was_shut = t->snd_edge <= t->snd_una, moved;

	if (!acceptable(s, sk, t, ack))
		return false;
	if (ack < (int64_t)t->snd_una) { /* an old one; its payload may still be new, and what it says of holes */
		old_sack(s, sk, t, h, &n);
		return true;
	}
	n.acked = (uint64_t)ack - t->snd_una;
	moved = update_window(t, h, (uint64_t)ack);
	if (t->rtx_kind == RTX_PERSIST && moved) /* while it is closed probes become rarer, answered or not */
		t->rtx_at = 0, t->rtx_kind = RTX_NONE;
	if (was_shut && t->snd_edge > t->snd_una)
		recovery_window_opened(s, sk, t);
	if (n.acked)
		advance(s, sk, t, h, &n);
	if ((t->flags & TCB_SACK) && h->n_sack)
		n.sacked = recovery_sack(s, sk, t, h, &n);
	n.duplicate = t->flags & TCB_SACK
			  ? n.sacked > 0
			  : !n.acked && !g->len && !moved && n.flight && !(h->flags & TCP_F_FIN);
	n.ece = ecn_echoed(t, h);
	if (n.acked || n.duplicate || n.twice || n.ece)
		recovery_ack(s, sk, t, &n);
	if (n.acked || n.duplicate || n.twice || n.ece || moved)
		tcp_want_output(s, sk);
	if (!was_fin_acked && fin_acked(t))
		return tcp_event(s, sk, t, TCP_EV_FIN_ACKED);
	return true;
}
