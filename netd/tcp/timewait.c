/*
 * TIME_WAIT, and FIN_WAIT2 without owner: records of their own, small, without rings.
 *
 * RFC 9293, 3.6.1: an old segment is answered; a new SYN may open a new connection (RFC 6191, 2) if
 * its timestamp or its number is beyond what the old one saw, and somebody listens. A RST exactly where it is
 * expected, and not older than what came before it, ends TIME_WAIT, as in the kernel (RFC 1337 would
 * rather not).
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include <netinet/in.h>

static uint64_t lifetime(const struct tcp_rec *t, enum tcp_state state)
{
	if (state == TCPS_FIN_WAIT2 && t->linger2_s)
		return t->linger2_s < 0 ? 0 : (uint64_t)t->linger2_s * NSEC_PER_SEC;
	return state == TCPS_FIN_WAIT2 ? TCP_FIN_NS : TCP_TIMEWAIT_NS;
}

static void fill(struct stack *s, const struct sock_rec *k, const struct tcp_rec *t,
    struct timewait_rec *w, enum tcp_state state)
{
	w->local = k->local;
	w->remote = k->remote;
	w->snd_nxt = snd_seq(t, t->snd_nxt);
	w->rcv_nxt = rcv_seq(t, t->rcv_nxt);
	w->rcv_wnd = (uint32_t)(t->rcv_adv > t->rcv_nxt ? t->rcv_adv - t->rcv_nxt : 0);
	w->ts_recent = t->ts_recent;
	w->ts_off = t->ts_off;
	w->has_ts = !!(t->flags & TCB_TS);
	w->rcv_wscale = t->rcv_wscale;
	w->ttl = k->ttl;
	w->tos = k->tos;
	w->bound_dev = k->bound_dev;
	w->uid = k->uid;
	w->reuse = k->flags & (SOCK_F_REUSEADDR | SOCK_F_REUSEPORT);
	w->family = (uint8_t)k->family;
	w->state = (uint8_t)state;
	w->since = s->now;
	w->ends_at = s->now + lifetime(t, state);
}

/* It keeps its port from binds as its socket did. */
static int enter_table(struct stack *s, const struct timewait_rec *w, uint32_t index)
{
	struct port_claim claim = {.flags = w->reuse, .uid = w->uid, .dev = w->bound_dev};

	return conn_insert_claim(s, IPPROTO_TCP, &w->local, &w->remote,
	    (struct conn_ref){KIND_TIMEWAIT, index}, &claim);
}

static void acknowledge(struct stack *s, const struct timewait_rec *w)
{
	struct tcp_bare b = {w->local, w->remote, w->bound_dev, w->ttl, w->tos};
	struct tcp_header h = {.seq = w->snd_nxt,
	    .ack = w->rcv_nxt,
	    .flags = TCP_F_ACK,
	    .has_ts = w->has_ts,
	    .ts_val = tcp_clock(s) + w->ts_off,
	    .ts_ecr = w->ts_recent};

	h.window = (uint16_t)min_of(w->rcv_wnd >> w->rcv_wscale, 65535u);
	tcp_send_bare(s, &b, &h);
}

void timewait_enter(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_state state)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct timewait_rec *w = NULL;
	uint32_t index;

	if (lifetime(t, state))
		w = state_alloc(s->state, KIND_TIMEWAIT, &index);
	if (w) {
		fill(s, k, t, w, state);
		sock_unhash(s, sk);
		if (enter_table(s, w, index))
			state_free(s->state, KIND_TIMEWAIT, index);
		else
			timer_set(s->timers, KIND_TIMEWAIT, index, w->ends_at);
		/* The acknowledgement of a FIN does not wait for the socket's own output, which
		 * ends here. */
		if (t->flags & TCB_ACK_NOW)
			acknowledge(s, w);
	}
	(void)tcp_done(s, sk, t, 0);
}

void timewait_drop(struct stack *s, uint32_t index)
{
	const struct timewait_rec *w = state_peek(s->state, KIND_TIMEWAIT, index);

	if (!w)
		return;
	conn_remove(s, IPPROTO_TCP, &w->local, &w->remote, (struct conn_ref){KIND_TIMEWAIT, index});
	timer_cancel(s->timers, KIND_TIMEWAIT, index);
	state_free(s->state, KIND_TIMEWAIT, index);
}

void tcp_timewait_expired(struct stack *s, uint32_t index)
{
	const struct timewait_rec *w = state_peek(s->state, KIND_TIMEWAIT, index);

	if (!w)
		return;
	if (w->ends_at > s->now)
		timer_set(s->timers, KIND_TIMEWAIT, index, w->ends_at);
	else
		timewait_drop(s, index);
}

/* ---- segments */

/* An answer to an old segment; without payload not more than twice a second. */
static void answer(struct stack *s, struct timewait_rec *w, const struct tcp_seg *g)
{
	if (g->h.flags & TCP_F_RST)
		return;
	if (!g->len && !(g->h.flags & TCP_F_FIN)) {
		if (w->oow_at && s->now - w->oow_at < TCP_OOW_NS)
			return;
		w->oow_at = s->now;
	}
	acknowledge(s, w);
}

static void update_ts(struct timewait_rec *w, const struct tcp_header *h)
{
	if (w->has_ts && h->has_ts && !seq_before(h->ts_val, w->ts_recent))
		w->ts_recent = h->ts_val;
}

static bool in_window(const struct timewait_rec *w, uint32_t seq, uint32_t end)
{
	uint32_t edge = w->rcv_nxt + w->rcv_wnd;

	return seq == w->rcv_nxt || (seq_after(end, w->rcv_nxt) && seq_before(seq, edge)) || (seq == edge && end == edge);
}

/* The half that still waits for the peer's FIN; in the kernel's order of the tests. */
static void fin_wait2(struct stack *s, uint32_t index, struct timewait_rec *w, struct tcp_seg *g)
{
	const struct tcp_header *h = &g->h;
	uint32_t end = h->seq + g->len + !!(h->flags & TCP_F_FIN) + !!(h->flags & TCP_F_SYN);
	bool syn = h->flags & TCP_F_SYN;

	if (!in_window(w, h->seq, end)) {
		answer(s, w, g);
		return;
	}
	if (h->flags & TCP_F_RST) {
		timewait_drop(s, index);
		return;
	}
	if (!syn && (!(h->flags & TCP_F_ACK) || !seq_after(end, w->rcv_nxt) || end == h->seq))
		return;
	if (syn || !(h->flags & TCP_F_FIN) || end != w->rcv_nxt + 1) { /* nobody will read it */
		tcp_refuse(s, g);
		timewait_drop(s, index);
		return;
	}
	update_ts(w, h);
	w->rcv_nxt = end;
	w->state = TCPS_TIME_WAIT;
	w->since = s->now;
	w->ends_at = s->now + TCP_TIMEWAIT_NS;
	timer_set(s->timers, KIND_TIMEWAIT, index, w->ends_at);
	acknowledge(s, w);
}

static bool may_open(const struct timewait_rec *w, const struct tcp_header *h)
{
	if ((h->flags & (TCP_F_SYN | TCP_F_ACK | TCP_F_RST | TCP_F_FIN)) != TCP_F_SYN)
		return false;
	if (w->has_ts && h->has_ts && seq_after(h->ts_val, w->ts_recent))
		return true;
	return seq_after(h->seq, w->rcv_nxt) &&
	       !(w->has_ts && h->has_ts && seq_before(h->ts_val, w->ts_recent));
}

static bool has_ear(const struct stack *s, const struct tcp_seg *g)
{
	return sock_lookup_bound(s, IPPROTO_TCP, &g->local, &g->remote, g->m->dev) != NO_INDEX;
}

bool timewait_segment(struct stack *s, uint32_t index, struct tcp_seg *g, uint32_t *iss)
{
	struct timewait_rec *w = state_get(s->state, KIND_TIMEWAIT, index);
	const struct tcp_header *h = &g->h;

	if (!w)
		return false;
	if (w->has_ts && h->has_ts && seq_before(h->ts_val, w->ts_recent)) {
		s->count.tcp_paws++;
		answer(s, w, g);
		return false;
	}
	if (w->state == TCPS_FIN_WAIT2) {
		fin_wait2(s, index, w, g);
		return false;
	}
	if ((h->flags & TCP_F_RST) && h->seq == w->rcv_nxt) {
		timewait_drop(s, index);
		return false;
	}
	if (may_open(w, h) && has_ear(s, g)) {
		*iss = w->snd_nxt + 65535 + 2;
		*iss += !*iss;
		timewait_drop(s, index);
		return true;
	}
	/* The plain acknowledgement of our FIN or of nothing new says nothing that needs an answer.
	 */
	if (h->seq == w->rcv_nxt && !g->len && !(h->flags & (TCP_F_SYN | TCP_F_FIN)))
		return false;
	if (h->flags & TCP_F_FIN)
		w->ends_at = s->now + TCP_TIMEWAIT_NS;
	answer(s, w, g);
	return false;
}

int timewait_reindex(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_TIMEWAIT, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_TIMEWAIT, i + 1)) {
		const struct timewait_rec *w = state_peek(s->state, KIND_TIMEWAIT, i);
		int ret = enter_table(s, w, i);

		if (ret == -EADDRINUSE)
			state_free(s->state, KIND_TIMEWAIT, i);
		else if (ret)
			return ret;
		else
			timer_set(s->timers, KIND_TIMEWAIT, i, w->ends_at);
	}
	return 0;
}
