/*
 * What is lost, and what is only late: RFC 8985 (RACK), by the scoreboard.
 *
 * RACK asks of each segment when it was sent: it is lost if one that was sent later has arrived,
 * and the reordering window is over since. The scoreboard knows no segments, but it knows of each
 * hole since when the peer has something from above it (since_us), and that comes to the same: what
 * lies in the hole was sent before, and would have arrived before. A hole that a run splits stays
 * as old as it was. Of a retransmission it knows when it was sent, and by `mark` and rack_us
 * whether something sent later has arrived. A retransmission that has arrived says the same of all that was
 * sent before it: so the tail, above which there is nothing, need not wait for the timer.
 *
 * The reordering window is a quarter of the smallest round trip, so that two acknowledgements
 * suffice if there are no more. Where three segments (or a recovery) say that something is missing
 * it is nothing, as long as this path has never been seen to reorder; from then on it is always
 * waited for. It widens by a quarter with each recovery in which something came twice (RFC 2883),
 * narrows with each in which nothing did, and is never longer than the smoothed round trip, nor
 * shorter than a millisecond.
 *
 * Reordering is seen where something arrives that was sent once, below what had arrived.
 */
#include "tcp/layer.h"

#define REO_MORE_MAX 15u
#define REO_MIN_US   1000u

static bool in_recovery(const struct tcp_rec *t)
{
	return t->ca_state == CA_RECOVERY || t->ca_state == CA_LOSS;
}

/* Do three segments, or as many acknowledgements, say that something is missing? */
static bool enough(const struct tcp_rec *t, const struct tcpx_rec *x)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < x->n_run; i++)
		bytes += x->run[i].end - x->run[i].start;
	return x->n_run >= TCP_DUP_THRESH || t->dupacks >= TCP_DUP_THRESH ||
	       bytes > (TCP_DUP_THRESH - 1) * t->mss;
}

static uint32_t reordering_window(const struct tcp_rec *t, const struct tcpx_rec *x)
{
	if (!t->reordering && (in_recovery(t) || enough(t, x)))
		return 0;
	return max_of(min_of(t->rtt_min / 4 * (1 + t->reo_more), t->srtt), REO_MIN_US);
}

static uint32_t round_trip(const struct tcp_rec *t, const struct tcpx_rec *x)
{
	return (t->reordering ? t->srtt : t->rtt_min) + reordering_window(t, x);
}

/* Up to here all was sent before a retransmission that has arrived; 0 if none has. */
static uint64_t overtaken_edge(const struct tcp_rec *t, const struct tcpx_rec *x)
{
	int64_t mark = seq_unwrap(x->rack_mark, t->snd_una, (uint32_t)t->snd_una);

	return x->rack_us && mark > (int64_t)t->snd_una ? min_of((uint64_t)mark, t->snd_nxt) : 0;
}

uint64_t rack_edge(const struct stack *s, const struct tcp_rec *t, const struct tcpx_rec *x)
{
	uint32_t window = reordering_window(t, x);
	uint64_t edge = overtaken_edge(t, x);

	if (edge && clock_us(s) - x->rack_us < round_trip(t, x))
		edge = 0;
	for (unsigned i = x->n_run; i--;)
		if (clock_us(s) - x->hole[i].since_us >= window)
			return max_of(edge, x->run[i].start);
	return edge;
}

/* ---- retransmissions */

static bool sent_again(const struct tcp_rec *t, const struct tcpx_rec *x, unsigned i)
{
	return x->hole[i].rtx_end > hole_start(t, x, i);
}

/* Has something arrived that was sent after it? */
static bool overtaken(const struct tcpx_rec *x, unsigned i)
{
	return x->run[x->n_run - 1].end > x->hole[i].mark ||
	       (x->rack_us && seq_after(x->rack_us, x->hole[i].rtx_us));
}

void rack_lost_again(const struct stack *s, const struct tcp_rec *t, struct tcpx_rec *x)
{
	for (unsigned i = 0; i < x->n_run; i++)
		if (sent_again(t, x, i) && overtaken(x, i) &&
		    clock_us(s) - x->hole[i].rtx_us >= round_trip(t, x))
			x->hole[i].rtx_end = 0;
}

/* ---- when next */

static uint32_t left_of(const struct stack *s, uint32_t since, uint32_t window)
{
	uint32_t gone = clock_us(s) - since;

	return gone < window ? window - gone : 0;
}

uint32_t rack_wait(const struct stack *s, const struct tcp_rec *t, const struct tcpx_rec *x)
{
	uint32_t wait = overtaken_edge(t, x) > x->loss_end ? left_of(s, x->rack_us, round_trip(t, x)) : 0;

	for (unsigned i = 0; i < x->n_run; i++) {
		uint32_t left = 0;

		if (x->run[i].start > x->loss_end)
			left = left_of(s, x->hole[i].since_us, reordering_window(t, x));
		else if (sent_again(t, x, i) && overtaken(x, i))
			left = left_of(s, x->hole[i].rtx_us, round_trip(t, x));
		if (left && (!wait || left < wait))
			wait = left;
	}
	return wait;
}

/* ---- what arrives */

/* Something has come that was sent so many bytes before what had come already. */
static void late_by(struct tcp_rec *t, uint64_t bytes)
{
	uint64_t segments = (bytes + t->mss - 1) / t->mss;

	t->reordering = (uint8_t)max_of(t->reordering, min_of(segments, (uint64_t)UINT8_MAX));
}

void rack_arrived(const struct stack *s, struct tcp_rec *t, struct tcpx_rec *x, unsigned i,
    uint64_t from, uint64_t to, uint64_t high, struct ack_news *n)
{
	const struct tcp_hole *h = &x->hole[i];

	uint64_t once = max_of(from, h->rtx_end);

	if (from >= to)
		return;
	if (once < to) {
		n->original |= once < t->recover;
		if (once < high)
			late_by(t, high - once);
	}
	/* Sooner than any round trip: it is the first one that has arrived. */
	if (from < h->rtx_end && clock_us(s) - h->rtx_us >= t->rtt_min &&
	    (!x->rack_us || seq_after(h->rtx_us, x->rack_us))) {
		x->rack_us = h->rtx_us;
		x->rack_mark = (uint32_t)h->mark;
	}
}

void rack_adapt(struct tcp_rec *t, const struct tcpx_rec *x)
{
	if (x->dsack)
		t->reo_more = (uint8_t)min_of(t->reo_more + 1u, REO_MORE_MAX);
	else if (t->reo_more)
		t->reo_more--;
}

void rack_shift(struct tcpx_rec *x, uint32_t us)
{
	x->rack_us += x->rack_us ? us : 0;
	for (unsigned i = 0; i <= x->n_run; i++) {
		x->hole[i].rtx_us += us;
		x->hole[i].since_us += us;
	}
}
