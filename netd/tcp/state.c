/*
 * The state machine: one function of event and state, one place that changes the state, and the
 * order in which a segment for a connection is examined (RFC 9293, 3.10.7.4, with RFC 5961 and RFC
 * 7323).
 */
#include "tcp/layer.h"
#include "base/log.h"

static const char *state_name(enum tcp_state state)
{
	static const char *const names[] = {"?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1",
	    "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"};

	return state < ARRAY_SIZE(names) ? names[state] : names[0];
}

void tcp_set_state(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_state state)
{
	if (t->state == state)
		return;
	log_debug("tcp %u: %s -> %s", sk, state_name(t->state), state_name(state));
	t->state = (uint8_t)state;
	sock_changed(s, sk);
}

enum tcp_state tcp_next_state(enum tcp_state state, enum tcp_event ev)
{
	switch (ev) {
	case TCP_EV_SYN_SENT:
		return state == TCPS_CLOSE ? TCPS_SYN_SENT : state;
	case TCP_EV_SYN_RECEIVED:
		return state == TCPS_SYN_SENT ? TCPS_SYN_RECV : state;
	case TCP_EV_ESTABLISHED:
		return state == TCPS_SYN_SENT || state == TCPS_SYN_RECV || state == TCPS_CLOSE
			   ? TCPS_ESTABLISHED
			   : state;
	case TCP_EV_CLOSE:
		return state == TCPS_ESTABLISHED  ? TCPS_FIN_WAIT1
		       : state == TCPS_CLOSE_WAIT ? TCPS_LAST_ACK
						  : state;
	case TCP_EV_FIN_RECEIVED:
		return state == TCPS_ESTABLISHED ? TCPS_CLOSE_WAIT
		       : state == TCPS_FIN_WAIT1 ? TCPS_CLOSING
		       : state == TCPS_FIN_WAIT2 ? TCPS_TIME_WAIT
						 : state;
	case TCP_EV_FIN_ACKED:
		return state == TCPS_FIN_WAIT1	? TCPS_FIN_WAIT2
		       : state == TCPS_CLOSING	? TCPS_TIME_WAIT
		       : state == TCPS_LAST_ACK ? TCPS_CLOSE
						: state;
	case TCP_EV_OVER:
		return TCPS_CLOSE;
	}
	return state;
}

bool tcp_event(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_event ev)
{
	enum tcp_state next = tcp_next_state(t->state, ev);

	if (next == t->state)
		return true;
	switch (next) {
	case TCPS_TIME_WAIT:
		timewait_enter(s, sk, t, TCPS_TIME_WAIT);
		return state_live(s->state, KIND_TCP, sk);
	case TCPS_CLOSE:
		return tcp_done(s, sk, t, 0);
	default:
		break;
	}
	tcp_set_state(s, sk, t, next);
	return true;
}

/* ---- a segment */

void tcp_challenge(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	if (oow_answered(s, t))
		return;
	if (!tcp_may_challenge(s))
		return;
	t->oow_ms = clock_ms(s);
	t->flags |= TCB_ACK_NOW;
	tcp_want_output(s, sk);
}

/*
 * An answer to what is not acceptable. With payload it may be a retransmission, which is always
 * answered; without, not more than twice a second, so that two such ends do not answer each other.
 */
static void not_acceptable(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	if (g->h.flags & TCP_F_RST)
		return;
	if (!g->len && !(g->h.flags & TCP_F_FIN)) {
		if (oow_answered(s, t))
			return;
		t->oow_ms = clock_ms(s);
	} else if ((t->flags & TCB_SACK) && g->len && rcv_off(t, g->h.seq) < (int64_t)t->rcv_nxt) {
		t->flags |= TCB_DSACK;
		t->dsack_start = g->h.seq;
		t->dsack_len = (uint16_t)g->len;
	}
	t->flags |= TCB_ACK_NOW;
	tcp_want_output(s, sk);
}

/* RFC 9293, 3.4: does the segment touch the window? */
static bool acceptable(const struct tcp_rec *t, const struct tcp_seg *g, int64_t start)
{
	int64_t end = start + g->len + !!(g->h.flags & TCP_F_FIN);

	return end >= (int64_t)rcv_acked(t) && start <= (int64_t)max_of(t->rcv_adv, t->rcv_nxt);
}

static void got_reset(struct stack *s, uint32_t sk, struct tcp_rec *t, int64_t start)
{
	if (start != (int64_t)t->rcv_nxt) { /* RFC 5961, 3.2 */
		tcp_challenge(s, sk, t);
		return;
	}
	(void)tcp_done(s, sk, t,
	    t->state == TCPS_SYN_RECV	  ? ECONNREFUSED
	    : t->state == TCPS_CLOSE_WAIT ? EPIPE
					  : ECONNRESET);
}

/* The tests before the acknowledgement counts. True: go on. */
static bool examine(
    struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g, int64_t start)
{
	const struct tcp_header *h = &g->h;

	if (t->state == TCPS_SYN_RECV && (h->flags & TCP_F_SYN) &&
	    start == (int64_t)t->rcv_nxt - 1) {
		/* The peer's SYN again, or its SYN-ACK, which ends a simultaneous open */
		if (h->flags & TCP_F_ACK)
			return true;
		t->flags |= TCB_SYN_NOW;
		tcp_want_output(s, sk);
		return false;
	}
	if (options_paws(s, t, h)) {
		s->count.tcp_paws++;
		not_acceptable(s, sk, t, g);
		return false;
	}
	if (!acceptable(t, g, start)) {
		not_acceptable(s, sk, t, g);
		return false;
	}
	if (h->flags & TCP_F_RST) {
		got_reset(s, sk, t, start);
		return false;
	}
	if (h->flags & TCP_F_SYN) { /* RFC 5961, 4.2 */
		tcp_challenge(s, sk, t);
		return false;
	}
	return h->flags & TCP_F_ACK;
}

/* SYN_RECV of a simultaneous open: the acknowledgement of our SYN. False: no further. */
static bool finish_open(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	if (snd_off(t, g->h.ack) != (int64_t)t->snd_una) {
		tcp_refuse(s, g);
		return false;
	}
	t->max_wnd = peer_window(t, &g->h);
	t->snd_edge = t->snd_una + t->max_wnd;
	t->snd_wl1 = g->h.seq;
	return tcp_established(s, sk, t);
}

static bool expected(const struct tcp_rec *t, const struct tcp_seg *g)
{
	return t->state == TCPS_ESTABLISHED && (g->h.flags & ~TCP_F_PSH) == TCP_F_ACK &&
	       g->h.seq == rcv_seq(t, t->rcv_nxt) &&
	       (!(t->flags & TCB_TS) || !g->h.has_ts || !seq_before(g->h.ts_val, t->ts_recent));
}

/* A super-frame that the device joined counts as what it was on the wire. */
static void count_arrival(struct tcp_rec *t, const struct tcp_seg *g)
{
	uint32_t n = g->p->gso_size ? (g->len + g->p->gso_size - 1) / g->p->gso_size : 1;

	t->segs_in += n;
	if (g->len)
		t->data_in += n;
}

void tcp_segment(struct stack *s, uint32_t sk, struct tcp_seg *g)
{
	struct tcp_rec *t = tcb_get(s, sk);
	int64_t start;

	if (!t || t->state == TCPS_CLOSE || t->state == TCPS_LISTEN) {
		if (segment_verify(g))
			tcp_refuse(s, g);
		return;
	}
	if (!g->verified && !receive_stage(s, sk, t, g)) {
		s->count.tcp_bad++;
		return;
	}
	count_arrival(t, g);
	if (t->state == TCPS_SYN_SENT) {
		tcp_syn_sent_segment(s, sk, t, g);
		return;
	}
	start = rcv_off(t, g->h.seq);
	/* Header prediction: the next segment of an open connection needs none of the tests. */
	if (!expected(t, g) && !examine(s, sk, t, g, start)) {
		if (state_live(s->state, KIND_TCP, sk))
			timer_arm(s, sk, t);
		return;
	}
	if (t->state == TCPS_SYN_RECV && !finish_open(s, sk, t, g))
		return;
	t->rcv_ms = clock_mark_ms(s);
	t->keep_probes = 0;
	if (!tcp_ack(s, sk, t, g))
		return;
	options_ts_recent(s, t, &g->h, start); /* a segment whose acknowledgement is impossible says nothing */
	if (g->h.flags & TCP_F_URG)
		urgent_arrived(s, sk, t, g);
	if (!receive_data(s, sk, t, g))
		return;
	/* Only the peer's FIN is still to come, and nobody waits for it. */
	if (t->state == TCPS_FIN_WAIT2 && (sock_peek(s, sk)->flags & SOCK_F_ORPHAN)) {
		timewait_enter(s, sk, t, TCPS_FIN_WAIT2);
		return;
	}
	if (t->flags & TCB_ACK_NOW)
		tcp_want_output(s, sk);
	timer_arm(s, sk, t);
}
