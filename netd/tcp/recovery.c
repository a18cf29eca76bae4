/*
 * Loss recovery: with SACK by RFC 6675's scoreboard and RFC 8985's judgement (rack.c), without by RFC 6582
 * (NewReno); RFC 5681 and 6298 around both.
 *
 * The scoreboard (tcpx_rec) is a list of runs that the peer has, and what lies between them: holes.
 * Each hole knows how far it was sent again, and how far the stream had been sent then: if the peer
 * later has data from well beyond that point, the retransmission was lost, too.
 *
 *   snd_una      run 0        run 1                 snd_nxt
 *   |--hole 0--|#######|-1--|######|----- hole 2 ----|
 *
 * Lost is what lies in a hole below loss_end, which only moves on as long as the recovery lasts: to what RACK
 * says, to everything at a timeout, by one segment in NewReno. What is lost and was not
 * sent again is not in the network; the rest of the holes is. Without SACK each duplicate
 * acknowledgement says that one segment has left it.
 *
 * A block that would need one run too many is not noted; that costs a superfluous retransmission.
 */
#include "tcp/layer.h"

/* How far the hole was sent again, within the hole. */
static uint64_t resent_to(const struct tcpx_rec *x, unsigned i, uint64_t start, uint64_t end)
{
	uint64_t r = x->hole[i].rtx_end;

	return r < start ? start : min_of(r, end);
}

uint64_t recovery_pipe(const struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);
	uint64_t pipe = 0, left = t->flags & TCB_SACK ? 0 : (uint64_t)t->dupacks * t->mss;

	if (!x) {
		pipe = flight_of(t);
		return pipe > left ? pipe - left : 0;
	}
	for (unsigned i = 0; i <= x->n_run; i++) {
		uint64_t start = hole_start(t, x, i), end = hole_end(t, x, i);
		uint64_t lost = x->loss_end > start ? min_of(x->loss_end, end) : start;

		pipe += end - lost + resent_to(x, i, start, lost) - start;
	}
	return pipe > left ? pipe - left : 0;
}

void recovery_count(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t *lost, uint64_t *resent)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	*lost = *resent = 0;
	if (!x || (t->ca_state != CA_RECOVERY && t->ca_state != CA_LOSS))
		return;
	for (unsigned i = 0; i <= x->n_run; i++) {
		uint64_t start = hole_start(t, x, i);
		uint64_t end = min_of(hole_end(t, x, i), max_of(x->loss_end, start));

		*lost += end - start;
		*resent += resent_to(x, i, start, end) - start;
	}
}

bool recovery_next(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t *off, uint64_t *end)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);
	uint64_t edge;

	if (!x || (t->ca_state != CA_RECOVERY && t->ca_state != CA_LOSS))
		return false;
	edge = x->loss_end;
	for (unsigned i = 0; i <= x->n_run; i++) {
		uint64_t start = hole_start(t, x, i), stop = min_of(hole_end(t, x, i), edge);

		if (start >= edge)
			return false;
		*off = resent_to(x, i, start, stop);
		*end = stop;
		if (*off < stop)
			return true;
	}
	return false;
}

void recovery_sent(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t off, uint64_t end)
{
	struct tcpx_rec *x = tcpx_get(s, sk);

	for (unsigned i = 0; x && i <= x->n_run; i++) {
		if (off < hole_start(t, x, i) || off >= hole_end(t, x, i))
			continue;
		x->hole[i].rtx_end = end;
		x->hole[i].mark = t->snd_nxt;
		x->hole[i].rtx_us = clock_us(s);
		x->prr.out += (uint32_t)(end - off);
		undo_resent(s, t, x, (uint32_t)(end - off));
		return;
	}
}

void recovery_sent_new(struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t len)
{
	if ((t->ca_state == CA_RECOVERY || t->ca_state == CA_CWR) && tcpx_peek(s, sk))
		tcpx_get(s, sk)->prr.out += len;
}

/* ---- the scoreboard */

static void remove_runs(struct tcpx_rec *x, unsigned from, unsigned n)
{
	memmove(&x->run[from], &x->run[from + n], (x->n_run - from - n) * sizeof(x->run[0]));
	memmove(&x->hole[from], &x->hole[from + n], (x->n_run + 1 - from - n) * sizeof(x->hole[0]));
	x->n_run = (uint8_t)(x->n_run - n);
}

void recovery_trim(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t una, struct ack_news *n)
{
	struct tcpx_rec *x = tcpx_peek(s, sk) ? tcpx_get(s, sk) : NULL;
	uint64_t high;
	unsigned gone = 0;

	n->delivered = n->acked;
	if (!x)
		return;
	high = x->n_run ? x->run[x->n_run - 1].end : 0;
	for (unsigned i = 0; i <= x->n_run; i++) {
		rack_arrived(
		    s, t, x, i, i ? x->run[i - 1].end : una, min_of(hole_end(t, x, i), t->snd_una), high, n);
		if (i < x->n_run && x->run[i].start < t->snd_una)
			n->delivered -= min_of(x->run[i].end, t->snd_una) - x->run[i].start;
	}
	while (gone < x->n_run && x->run[gone].end <= t->snd_una)
		gone++;
	remove_runs(x, 0, gone);
	if (x->n_run && x->run[0].start < t->snd_una)
		x->run[0].start = t->snd_una;
}

/* Returns bytes newly covered. */
static uint64_t add_run(
    const struct stack *s, struct tcp_rec *t, struct tcpx_rec *x, struct tcp_run r, struct ack_news *n)
{
	uint64_t old = 0, high = x->n_run ? x->run[x->n_run - 1].end : 0;
	unsigned i = 0, j;

	while (i < x->n_run && x->run[i].end < r.start)
		i++;
	for (j = i; j < x->n_run && x->run[j].start <= r.end; j++)
		old += x->run[j].end - x->run[j].start;
	if (i == j && x->n_run == TCP_RUN_MAX)
		return 0;
	for (unsigned h = i; h <= j; h++)
		rack_arrived(s, t, x, h, max_of(r.start, hole_start(t, x, h)), min_of(r.end, hole_end(t, x, h)), high, n);
	if (i == j) {
		memmove(&x->run[i + 1], &x->run[i], (x->n_run - i) * sizeof(x->run[0]));
		memmove(&x->hole[i + 1], &x->hole[i], (x->n_run + 1 - i) * sizeof(x->hole[0]));
		if (i == x->n_run)
			x->hole[i].since_us = clock_us(s);
		x->run[i] = r;
		x->n_run++;
		return r.end - r.start;
	}
	r.start = min_of(r.start, x->run[i].start);
	r.end = max_of(r.end, x->run[j - 1].end);
	x->run[i] = r;
	/* hole[i] stays before the merged run, hole[j] follows it */
	memmove(&x->run[i + 1], &x->run[j], (x->n_run - j) * sizeof(x->run[0]));
	memmove(&x->hole[i + 1], &x->hole[j], (x->n_run + 1 - j) * sizeof(x->hole[0]));
	x->n_run = (uint8_t)(x->n_run - (j - i - 1));
	return r.end - r.start - old;
}

/* RFC 2883, 4: is the first block below what the same segment acknowledges, or within the second? Then it came twice. */
static uint32_t twice(const struct tcp_rec *t, const struct tcp_header *h)
{
	const struct tcp_sack_block *d = &h->sack[0], *o = &h->sack[1];

	if (!seq_before(d->start, d->end) || d->end - d->start > t->max_wnd)
		return 0;
	if (!seq_after(d->end, h->ack))
		return d->end - d->start;
	return h->n_sack > 1 && !seq_before(d->start, o->start) && !seq_after(d->end, o->end) ? d->end - d->start : 0;
}

uint64_t recovery_sack(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_header *h, struct ack_news *n)
{
	struct tcpx_rec *x = NULL;
	uint64_t fresh = 0;

	n->twice = twice(t, h);
	for (unsigned i = 0; i < h->n_sack; i++) {
		int64_t start = snd_off(t, h->sack[i].start), end = snd_off(t, h->sack[i].end);

		/* D-SACKs, old blocks and nonsense say nothing about holes. */
		if (start >= end || end > (int64_t)t->snd_nxt || start < (int64_t)t->snd_una)
			continue;
		if (!x && !(x = tcpx_make(s, sk)))
			return 0;
		fresh += add_run(s, t, x, (struct tcp_run){(uint64_t)start, (uint64_t)end}, n);
	}
	n->delivered += fresh;
	return fresh;
}

/* ---- congestion: what it means */

/* What goes out again is timed from now; a tail probe that was due is not any more. */
static void restart_timer(struct tcp_rec *t)
{
	t->rtx_at = 0;
	t->rtx_kind = RTX_NONE;
}

/* Nothing was sent again yet. */
static void forget_resent(struct tcpx_rec *x)
{
	for (unsigned i = 0; i <= x->n_run; i++)
		x->hole[i].rtx_end = 0;
	x->rack_us = 0;
}

static void reduce(struct tcp_rec *t, struct tcpx_rec *x)
{
	prr_begin(t, x);
	t->ssthresh = congestion_of(t)->ssthresh(t);
	ecn_reduced(t);
}

static void start_recovery(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	bool reduced = t->ca_state == CA_CWR;
	struct tcpx_rec *x = tcpx_make(s, sk);

	if (!x)
		return;
	if (!reduced) {
		undo_begin(t, x);
		reduce(t, x);
		t->cwnd = t->ssthresh;
	}
	t->recover = t->snd_nxt;
	t->flags |= TCB_RTX_NOW;
	t->flags &= ~(uint32_t)TCB_TIMING;
	x->loss_end = max_of(t->snd_una + t->mss, t->flags & TCB_SACK ? rack_edge(s, t, x) : 0);
	t->ca_state = CA_RECOVERY;
	forget_resent(x);
	if ((t->flags & TCB_SACK) && !reduced)
		prr_ack(t, x, n, recovery_pipe(s, sk, t), true);
	restart_timer(t);
	s->count.tcp_fast_retrans++;
}

static void end_recovery(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_get(s, sk);

	if (t->ca_state == CA_RECOVERY && (t->flags & TCB_SACK))
		t->cwnd = t->ssthresh;
	else if (t->ca_state == CA_RECOVERY)
		t->cwnd =
		    min_of(t->ssthresh, (uint32_t)max_of(flight_of(t), (uint64_t)t->mss) + t->mss);
	t->ca_state = x && x->n_run ? CA_DISORDER : CA_OPEN;
	t->dupacks = 0;
	t->flags &= ~(uint32_t)TCB_RTX_NOW;
	if (x) {
		x->loss_end = 0;
		x->rack_us = 0;
		x->undo.end = t->snd_nxt;
		if (t->flags & TCB_TS) /* they would have told */
			x->undo.cwnd = 0;
		rack_adapt(t, x);
	}
	tcpx_release(s, sk, t);
}

/* Nothing was lost: as if there had been no recovery. */
static void undone(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_get(s, sk);

	t->ca_state = x->n_run ? CA_DISORDER : CA_OPEN;
	t->dupacks = 0;
	t->flags &= ~(uint32_t)(TCB_RTX_NOW | TCB_ECN_CWR);
	x->loss_end = 0;
	forget_resent(x);
	restart_timer(t);
	rack_adapt(t, x);
	s->count.tcp_undone++;
	tcpx_release(s, sk, t);
}

/* ---- a mark instead of a loss */

static void start_cwr(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_make(s, sk);

	if (!x)
		return;
	x->undo.cwnd = 0;
	reduce(t, x);
	t->recover = t->snd_nxt;
	t->ca_state = CA_CWR;
}

/* It ends when something is acknowledged that was sent after its begin: then the peer has our CWR. */
static void cwr_ack(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	if (t->snd_una > t->recover) {
		t->cwnd = t->ssthresh;
		t->ca_state = CA_OPEN;
	} else if (n->delivered && tcpx_peek(s, sk)) {
		prr_ack(t, tcpx_get(s, sk), n, recovery_pipe(s, sk, t), false);
	}
}

static void grow(struct stack *s, struct tcp_rec *t, const struct ack_news *n)
{
	/* Only a window that was in use says something about the network: RFC 7661. */
	if ((t->flags & TCB_CWND_LIMITED) || (t->cwnd < t->ssthresh && t->cwnd < 2 * n->flight))
		congestion_of(t)->acked(s, t, (uint32_t)min_of(n->acked, (uint64_t)UINT32_MAX), n->rtt_us);
}

static bool is_loss(const struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	if (!(t->flags & TCB_SACK))
		return t->dupacks >= TCP_DUP_THRESH &&
		       (t->snd_una > t->recover || !t->recover || t->ca_state == CA_CWR);
	return x && rack_edge(s, t, x) > t->snd_una;
}

static void ack_open(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);
	bool disorder;

	if (x && x->undo.cwnd && t->snd_una >= x->undo.end)
		tcpx_get(s, sk)->undo.cwnd = 0;
	if (n->ece && t->ca_state != CA_CWR)
		start_cwr(s, sk, t);
	if (n->acked)
		t->dupacks = 0;
	if (n->duplicate && !n->acked && t->dupacks < UINT16_MAX)
		t->dupacks++;
	if (t->ca_state == CA_CWR)
		cwr_ack(s, sk, t, n);
	else if (n->acked)
		grow(s, t, n);
	x = tcpx_peek(s, sk);
	disorder = t->dupacks || (x && x->n_run);
	if (t->ca_state != CA_CWR)
		t->ca_state = disorder ? CA_DISORDER : CA_OPEN;
	if (disorder && is_loss(s, sk, t))
		start_recovery(s, sk, t, n);
	else if (x)
		tcpx_release(s, sk, t);
}

/*
 * RFC 6582, 3.2, step 3: the next hole is where the partial acknowledgement ends. With SACK, too: a
 * retransmission that was sent after that segment has arrived before it.
 */
static void ack_partial(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	struct tcpx_rec *x = tcpx_get(s, sk);
	uint32_t left = (uint32_t)min_of((n->acked + t->mss - 1) / t->mss, (uint64_t)UINT32_MAX);

	t->dupacks = (uint16_t)(t->dupacks - min_of((uint32_t)t->dupacks, left ? left - 1 : 0));
	if (!x)
		return;
	if (!(t->flags & TCB_SACK) || !t->reordering) /* else RACK says it */
		x->loss_end = max_of(x->loss_end, t->snd_una + t->mss);
	if (!(t->flags & TCB_SACK))
		x->hole[0].rtx_end = 0;
	if (x->hole[0].rtx_end <= t->snd_una)
		t->flags |= TCB_RTX_NOW;
}

/* In a recovery with SACK; `before` was in the network as long as nothing more was taken for lost. */
static void judge(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n, uint64_t before)
{
	struct tcpx_rec *x = tcpx_get(s, sk);
	uint64_t pipe;

	if (!x)
		return;
	rack_lost_again(s, t, x);
	x->loss_end = max_of(x->loss_end, rack_edge(s, t, x));
	pipe = recovery_pipe(s, sk, t);
	if (t->ca_state == CA_RECOVERY)
		prr_ack(t, x, n, pipe, pipe < before);
}

static bool was_spurious(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	struct tcpx_rec *x = tcpx_peek(s, sk) ? tcpx_get(s, sk) : NULL;

	return x && undo_if_spurious(t, x, n);
}

void recovery_ack(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n)
{
	uint64_t pipe;

	if (was_spurious(s, sk, t, n))
		undone(s, sk, t);
	if (t->ca_state != CA_RECOVERY && t->ca_state != CA_LOSS) {
		ack_open(s, sk, t, n);
		return;
	}
	if (t->ca_state == CA_LOSS && n->acked)
		congestion_of(t)->acked(s, t, (uint32_t)min_of(n->acked, (uint64_t)UINT32_MAX), n->rtt_us);
	if (t->snd_una >= t->recover) {
		end_recovery(s, sk, t);
		return;
	}
	pipe = recovery_pipe(s, sk, t);
	if (t->ca_state == CA_RECOVERY) {
		if (n->duplicate && !n->acked && t->dupacks < UINT16_MAX)
			t->dupacks++;
		if (n->acked)
			ack_partial(s, sk, t, n);
	}
	if (t->flags & TCB_SACK)
		judge(s, sk, t, n, pipe);
}

void recovery_reorder_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_get(s, sk);

	if (!x)
		return;
	if (t->ca_state != CA_RECOVERY && t->ca_state != CA_LOSS) {
		if (rack_edge(s, t, x) > t->snd_una)
			start_recovery(s, sk, t, &(struct ack_news){.delivered = t->mss});
		return;
	}
	rack_lost_again(s, t, x);
	x->loss_end = max_of(x->loss_end, rack_edge(s, t, x));
	t->flags |= TCB_RTX_NOW;
}

/* RFC 5681, 3.1: all that is outstanding is taken for lost. */
void recovery_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_make(s, sk);

	if (!x)
		return;
	if (t->ca_state != CA_LOSS && t->ca_state != CA_RECOVERY)
		undo_begin(t, x);
	x->frto = t->ca_state != CA_LOSS && t->ca_state != CA_RECOVERY && (t->flags & TCB_SACK);
	if (t->ca_state == CA_OPEN || t->ca_state == CA_DISORDER)
		t->ssthresh = congestion_of(t)->ssthresh(t);
	ecn_reduced(t);
	t->cwnd = t->mss;
	t->dupacks = 0;
	t->recover = t->snd_nxt;
	t->ca_state = CA_LOSS;
	t->flags |= TCB_RTX_NOW;
	t->flags &= ~(uint32_t)(TCB_TIMING | TCB_PROBED);
	/* The peer has what begins at snd_una, and yet does not acknowledge it: it has reneged (RFC
	 * 2018, 8). */
	if (x->n_run && x->run[0].start == t->snd_una)
		x->n_run = 0;
	x->loss_end = t->snd_nxt;
	forget_resent(x);
}

void recovery_resend_all(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = tcpx_make(s, sk);

	if (!x || !flight_of(t))
		return;
	if (t->ca_state != CA_LOSS)
		t->ca_state = CA_RECOVERY;
	if (in_first_slow_start(t)) {
		t->ssthresh = t->cwnd;
		congestion_of(t)->reset(t);
	}
	t->ssthresh = min_of(t->ssthresh, t->cwnd);
	x->undo.cwnd = 0;
	prr_begin(t, x);
	t->recover = t->snd_nxt;
	t->flags |= TCB_RTX_NOW;
	t->flags &= ~(uint32_t)TCB_TIMING;
	x->loss_end = t->snd_nxt;
	forget_resent(x);
	restart_timer(t);
}

void recovery_window_opened(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcpx_rec *x = t->ca_state == CA_LOSS ? tcpx_get(s, sk) : NULL;

	if (!x)
		return;
	x->hole[0].rtx_end = 0;
	t->flags |= TCB_RTX_NOW;
	t->retries = 0;
	restart_timer(t);
}
