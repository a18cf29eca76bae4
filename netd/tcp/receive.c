/*
 * Payload that arrives.
 *
 * Two steps. receive_stage() copies the payload from the chunks straight to its place in the
 * receive ring, in order or not, and sums it on the way if nobody has checked the checksum yet:
 * what is behind rcv_nxt and outside the committed intervals is nobody's, so a copy that turns out
 * wrong has harmed nothing. Committed intervals are never written again. receive_data() then makes
 * it true: rcv_nxt moves on, or an interval is noted. A segment that would need one interval too
 * many is dropped unacknowledged.
 *
 * Buffer tuning. The ring holds at least twice what the client consumes in a round trip, or the window would be what
 * limits the flow; on a long path four times, for a peer in slow start sends twice as much in the next round trip, and
 * a larger window gets to it one later. To grow is a move; one at a time, see sock_rx_ring. The round trip is what the
 * timestamps say that come back with the data: who only receives has no other since the handshake, and after a
 * cookie or a repeated SYN-ACK not even that.
 */
#include "tcp/layer.h"
#include "inet/sockx.h"
#include "wire/checksum.h"
#include <sys/socket.h>

#define TUNE_RTT_MIN_US 1000u

static bool state_receives(uint8_t state)
{
	return state == TCPS_ESTABLISHED || state == TCPS_FIN_WAIT1 || state == TCPS_FIN_WAIT2;
}

/* ---- staging */

struct staging {
	struct stack *s;
	const struct packet *p;
	const struct sock_rec *k;
	uint64_t pos;  /* stream offset of the next payload byte */
	uint32_t off;  /* its place in the packet */
	uint32_t done; /* payload bytes behind us */
	uint32_t sum;
	bool want_sum;
};

static void stage_sum(struct staging *g, const uint8_t *data, uint32_t len)
{
	g->sum = csum_add_at(g->sum, csum(data, len, 0), g->done);
}

/* One contiguous piece of a chunk, to the ring (where it may wrap) or past it. */
static void stage_piece(struct staging *g, const uint8_t *src, uint32_t len, bool keep)
{
	while (len) {
		uint32_t run = len;
		uint8_t *dst = keep ? ring_span(g->s->mem, &g->k->rx, g->pos, len, &run) : NULL;

		if (!dst)
			run = len;
		if (dst && g->want_sum)
			g->sum = csum_add_at(g->sum, csum_copy(dst, src, run, 0), g->done);
		else if (dst)
			memcpy(dst, src, run);
		else if (g->want_sum)
			stage_sum(g, src, run);
		src += run;
		len -= run;
		g->pos += run;
		g->done += run;
	}
}

/* The next `len` payload bytes. */
static void stage_run(struct staging *g, uint64_t len, bool keep)
{
	uint32_t off = g->off;

	g->off += (uint32_t)len;
	for (unsigned i = 0; len && i < g->p->segs; i++) {
		const struct packet_seg *seg = &g->p->seg[i];
		uint32_t n;

		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		n = (uint32_t)min_of(len, (uint64_t)(seg->len - off));
		stage_piece(g, seg->data + off, n, keep);
		len -= n;
		off = 0;
	}
}

/* [from, to) to the ring, except what lies there already. */
static void stage_around(struct staging *g, const struct tcpx_rec *x, uint64_t to)
{
	for (unsigned i = 0; x && i < x->n_ooo && g->pos < to; i++) {
		const struct tcp_run *r = &x->ooo[i];

		if (r->end <= g->pos)
			continue;
		if (r->start > g->pos)
			stage_run(g, min_of(r->start, to) - g->pos, true);
		if (g->pos < to && g->pos >= r->start)
			stage_run(g, min_of(r->end, to) - g->pos, false);
	}
	if (g->pos < to)
		stage_run(g, to - g->pos, true);
}

/* What of the payload is new and fits the window. False if nothing. */
static bool clip(
    const struct tcp_rec *t, const struct sock_rec *k, struct tcp_seg *g, int64_t start)
{
	int64_t limit = (int64_t)min_of(t->rcv_adv, t->rx_head + k->rx.cap), end = start + g->len;

	if (start < (int64_t)t->rcv_nxt)
		start = (int64_t)t->rcv_nxt;
	if (end > limit)
		end = limit;
	if (start >= end)
		return false;
	g->from = (uint64_t)start;
	g->to = (uint64_t)end;
	return true;
}

bool receive_stage(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int64_t start = rcv_off(t, g->h.seq);
	struct staging st = {.s = s, .p = g->p, .off = g->h.hdr_len, .want_sum = !g->verified};

	if (g->staged)
		return true;
	if (!state_receives(t->state) || (k->flags & SOCK_F_ORPHAN) ||
	    (g->h.flags & (TCP_F_SYN | TCP_F_RST)))
		return segment_verify(g);
	if (!k->rx.cap && sock_rx_ring(s, sk, t->rx_cap, t->rx_head) < 0)
		return segment_verify(g);
	st.k = k = sock_peek(s, sk);
	if (!clip(t, k, g, start))
		return segment_verify(g);
	st.pos = (uint64_t)start;
	stage_run(&st, g->from - st.pos, false);
	stage_around(&st, tcpx_peek(s, sk), g->to);
	stage_run(&st, g->len - st.done, false);
	if (st.want_sum && csum_add(g->sum, st.sum) != 0xffff)
		return false;
	g->verified = true;
	g->staged = true;
	return true;
}

/* ---- intervals */

/* The interval that starts at `from` and ends at `to` has grown: those that it took in are no longer. */
static void note_recent(struct tcpx_rec *x, uint64_t from, uint64_t to)
{
	uint64_t recent[ARRAY_SIZE(x->ooo_recent)] = {from};
	unsigned n = 1;

	for (unsigned i = 0; i < ARRAY_SIZE(recent) && n < ARRAY_SIZE(recent); i++)
		if (x->ooo_recent[i] < from || x->ooo_recent[i] > to)
			recent[n++] = x->ooo_recent[i];
	memcpy(x->ooo_recent, recent, sizeof(recent));
}

/* Returns false if there is no room for one more. */
static bool add_interval(struct tcpx_rec *x, uint64_t from, uint64_t to)
{
	unsigned i = 0, j;

	while (i < x->n_ooo && x->ooo[i].end < from)
		i++;
	for (j = i; j < x->n_ooo && x->ooo[j].start <= to; j++) {
		from = min_of(from, x->ooo[j].start);
		to = max_of(to, x->ooo[j].end);
	}
	if (i == j) {
		if (x->n_ooo == TCP_OOO_MAX)
			return false;
		memmove(&x->ooo[i + 1], &x->ooo[i], (x->n_ooo - i) * sizeof(x->ooo[0]));
		x->n_ooo++;
	} else if (j - i > 1) {
		memmove(&x->ooo[i + 1], &x->ooo[j], (x->n_ooo - j) * sizeof(x->ooo[0]));
		x->n_ooo = (uint8_t)(x->n_ooo - (j - i - 1));
	}
	x->ooo[i] = (struct tcp_run){from, to};
	note_recent(x, from, to);
	return true;
}

/* RFC 2883: the first stretch that came twice is told with the next acknowledgement. */
static void note_dsack(struct tcp_rec *t, int64_t from, int64_t to)
{
	if (!(t->flags & TCB_SACK) || (t->flags & TCB_DSACK) || from >= to)
		return;
	t->flags |= TCB_DSACK;
	t->dsack_start = rcv_seq(t, (uint64_t)from);
	t->dsack_len = (uint16_t)min_of(to - from, 65535ll);
}

/* What of a segment lay in an interval already. */
static void note_overlap(const struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t from, uint64_t to)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	for (unsigned i = 0; x && i < x->n_ooo; i++)
		note_dsack(t, (int64_t)max_of(from, x->ooo[i].start), (int64_t)min_of(to, x->ooo[i].end));
}

static void out_of_order(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	struct tcpx_rec *x = tcpx_make(s, sk);

	if (!x || !add_interval(x, g->from, g->to))
		s->count.tcp_ooo_full++;
	else
		s->count.tcp_ooo++;
	/* One duplicate acknowledgement a segment, not one a batch: the sender may be counting
	 * them. */
	t->flags |= TCB_ACK_NOW;
	tcp_send_ack(s, sk, t);
}

/* rcv_nxt has moved on: what lies there already is in order now. True if intervals were touched. */
static bool join_intervals(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x;
	unsigned gone = 0;

	if (!tcpx_peek(s, sk) || !tcpx_peek(s, sk)->n_ooo)
		return false;
	x = tcpx_get(s, sk);
	while (gone < x->n_ooo && x->ooo[gone].start <= t->rcv_nxt) {
		t->rcv_nxt = max_of(t->rcv_nxt, x->ooo[gone].end);
		gone++;
	}
	memmove(&x->ooo[0], &x->ooo[gone], (x->n_ooo - gone) * sizeof(x->ooo[0]));
	x->n_ooo = (uint8_t)(x->n_ooo - gone);
	tcpx_release(s, sk, t);
	return true;
}

/* ---- taking it into account */

/* Lower ones are believed at once: what is echoed late, after a rest of the peer's, only makes them higher. */
static void time_receiver(struct tcp_rec *t, uint32_t us)
{
	uint32_t ms = min_of(max_of(us / 1000, 1u), (uint32_t)UINT16_MAX), old = t->rcv_rtt_ms;

	if (!us)
		return;
	t->rcv_rtt_ms = (uint16_t)(!old || ms < old ? ms : old + (ms - old) / 8);
}

static void in_order(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g)
{
	uint32_t full = g->p->gso_size ? g->p->gso_size : g->len;

	if (sock_peek(s, sk)->flags & SOCK_F_TIMESTAMP) {
		struct sockx_rec *x = sockx_get(s, sk);

		if (x)
			x->rx_time = s->now;
	}
	t->rcv_nxt = g->to;
	t->rcv_data_ms = clock_mark_ms(s);
	t->rcv_mss = (uint16_t)max_of(t->rcv_mss, min_of(full, (uint32_t)UINT16_MAX));
	if (full >= t->rcv_mss)
		time_receiver(t, rtt_echoed(s, t, &g->h));
	if (join_intervals(s, sk, t) || t->quick || (sock_peek(s, sk)->flags & SOCK_F_QUICKACK))
		t->flags |= TCB_ACK_NOW;
	/* Every second full segment, RFC 9293, 3.8.6.3. */
	if ((uint32_t)t->rcv_nxt - t->rcv_acked > t->rcv_mss)
		t->flags |= TCB_ACK_NOW;
	if (!(t->flags & TCB_ACK_NOW) && !t->ack_at)
		t->ack_at = s->now + TCP_DELACK_NS;
	if (!t->tune_us) {
		t->tune_us = clock_us(s);
		t->tune_pos = (uint32_t)t->rx_head;
	}
	sock_changed(s, sk);
}

/* A FIN at rcv_nxt. False if the socket is gone. */
static bool fin_in_order(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	t->rcv_nxt++;
	t->flags |= TCB_FIN_RCVD | TCB_ACK_NOW;
	t->flags &= ~(uint32_t)TCB_DSACK; /* nothing more will come that knowing it could help */
	t->rcv_adv = max_of(t->rcv_adv, t->rcv_nxt);
	if (tcpx_peek(s, sk) &&
	    tcpx_peek(s, sk)->n_ooo) { /* beyond the end of the stream: nonsense */
		tcpx_get(s, sk)->n_ooo = 0;
		tcpx_release(s, sk, t);
	}
	sock_changed(s, sk);
	return tcp_event(s, sk, t, TCP_EV_FIN_RECEIVED);
}

static void take_payload(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g, int64_t start)
{
	int64_t end = start + (int64_t)g->len;

	if (start < (int64_t)t->rcv_nxt)
		note_dsack(t, start, min_of(end, (int64_t)t->rcv_nxt));
	if (end <= (int64_t)t->rcv_nxt) {
		t->flags |= TCB_ACK_NOW;
		return;
	}
	if (!g->staged) { /* no window, no memory */
		t->flags |= TCB_ACK_NOW;
		return;
	}
	if (start < (int64_t)t->rcv_nxt)
		t->flags |= TCB_ACK_NOW;
	note_overlap(s, sk, t, g->from, g->to);
	if (g->from == t->rcv_nxt)
		in_order(s, sk, t, g);
	else
		out_of_order(s, sk, t, g);
}

bool receive_data(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g)
{
	int64_t start = rcv_off(t, g->h.seq), end = start + g->len;
	bool fin = g->h.flags & TCP_F_FIN;

	if (!g->len && !fin)
		return true;
	tcp_want_output(s, sk);
	if (!state_receives(t->state)) { /* the peer's FIN is behind us: again what we have */
		t->flags |= TCB_ACK_NOW;
		return true;
	}
	if (g->len && (sock_peek(s, sk)->flags & SOCK_F_ORPHAN) && end > (int64_t)t->rcv_nxt) {
		/* Nobody will ever read it: RFC 2525, 2.17. The number is what the peer expects next, which
		 * need not be ours: else it would take the reset for a stranger's (RFC 5961, 3.2). */
		tcp_refuse(s, g);
		return tcp_done(s, sk, t, 0);
	}
	if (g->len) {
		if (!receive_stage(s, sk, t, g))
			return true;
		ecn_arrived(s, t, g);
		take_payload(s, sk, t, g, start);
	}
	if (fin && end >= (int64_t)t->rcv_nxt && (!g->len || end <= (int64_t)t->rcv_adv)) {
		t->flags |= TCB_FIN_SEEN | TCB_ACK_NOW;
		t->fin_off = (uint32_t)end;
	}
	if ((t->flags & TCB_FIN_SEEN) && t->fin_off == (uint32_t)t->rcv_nxt)
		return fin_in_order(s, sk, t);
	return true;
}

/* ---- the client's half */

/* Enlarges the ring if the window is what limits this flow. */
static void tune(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t rtt = max_of(t->rcv_rtt_ms ? t->rcv_rtt_ms * 1000u : t->srtt, TUNE_RTT_MIN_US);
	uint32_t since = clock_us(s) - t->tune_us, most = round_up_pow2(stack_rcvbuf_max(s)), want;

	if (!t->tune_us || since < rtt)
		return;
	want = min_of((uint32_t)t->rx_head - t->tune_pos, most) * (rtt > TUNE_RTT_MIN_US ? 4 : 2);
	want = min_of(round_up_pow2(want), most);
	if (since / 4 < rtt && want > k->rx.cap && !(k->flags & (SOCK_F_RCVBUF_SET | SOCK_F_ORPHAN)) &&
	    k->session != NO_INDEX && state_receives(t->state))
		(void)sock_rx_ring(s, sk, want, t->rx_head);
	t->tune_us = clock_us(s);
	t->tune_pos = (uint32_t)t->rx_head;
}

void receive_consumed(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	uint64_t unit = 1ull << t->rcv_wscale, offered, could, cap;
	const struct sock_rec *k;

	tune(s, sk, t);
	k = sock_peek(s, sk);
	if (!state_receives(t->state) || !k->rx.cap)
		return;
	if (receive_acks_reading(t) && t->rx_head == t->rcv_nxt) {
		t->flags |= TCB_ACK_NOW;
		tcp_want_output(s, sk);
	}
	offered = t->rcv_adv - t->rcv_nxt;
	could = t->rx_head + k->rx.cap - unit;
	could = could > t->rcv_nxt ? could - t->rcv_nxt : 0;
	cap = min_of(k->rx.cap, tcp_clamp(s, sk));
	could = min_of(could, cap);
	/* A window update is worth a segment when it doubles what the peer knows of. */
	if (could >= 2 * offered &&
	    could >= offered + min_of((uint64_t)t->rcv_mss, cap / 2)) {
		t->flags |= TCB_ACK_NOW;
		tcp_want_output(s, sk);
	}
}
