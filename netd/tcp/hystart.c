/*
 * HyStart++, RFC 9406: the first slow start ends before it has filled the queue at the bottleneck, and not by losing
 * half of what is in flight. When the shortest round trip of a round is longer than that of the round before, the
 * window grows more slowly (conservative slow start); if it was only jitter, the round trip becomes shorter again and
 * slow start goes on, else it is over after some rounds.
 *
 * A queue of less than the path's round trip overflows before that shows, within a round. So there is a second sign, that of
 * the kernel's HyStart: acknowledgements that come without a break for more than half of the shortest round trip. Twice as
 * much would fill the path. From then on conservative slow start goes all its rounds.
 *
 * A round ends when what was sent at its begin is acknowledged. Round trips are those that timestamps tell: one with
 * each acknowledgement, in milliseconds, which is fine enough for thresholds of 4 ms and more; without timestamps slow
 * start goes on until something is lost. What is kept lies where CUBIC's own state lies later: it is in force as long
 * as nothing has set ssthresh, and who sets it or takes it back resets (congestion_ops).
 */
#include "tcp/layer.h"

#define WINDOW_MIN 16u /* segments; with less there is no queue to speak of */
#define SAMPLES	   8u
#define THRESH_MIN 4u /* ms */
#define THRESH_MAX 16u
#define GROWTH	   4u
#define ROUNDS	   5u
#define UNKNOWN	   UINT16_MAX
#define GAP_MAX	   2u  /* ms, within a train of acknowledgements */
#define TRAIN_MIN  10u /* ms: with less, milliseconds are too coarse */
#define NO_RETURN  1u  /* as base_ms: no round trip is shorter */

void hystart_reset(struct tcp_rec *t)
{
	t->hystart = (struct tcp_hystart){
	    .round_end = (uint32_t)t->snd_nxt, .last_ms = UNKNOWN, .min_ms = UNKNOWN};
}

static bool in_conservative(const struct tcp_hystart *h)
{
	return h->base_ms;
}

static void next_round(struct tcp_rec *t, struct tcp_hystart *h, uint16_t now)
{
	h->round_end = (uint32_t)t->snd_nxt;
	h->begin_ms = h->ack_ms = now;
	h->last_ms = h->min_ms;
	h->min_ms = UNKNOWN;
	h->samples = 0;
	h->rounds += in_conservative(h);
}

static bool has_grown(const struct tcp_hystart *h)
{
	uint32_t thresh = max_of(THRESH_MIN, min_of(h->last_ms / 8u, THRESH_MAX));

	return h->last_ms != UNKNOWN && h->min_ms >= h->last_ms + thresh;
}

/* Does what is acknowledged come in one train that lasts for more than half of the round trip? */
static bool fills_half(const struct tcp_rec *t, struct tcp_hystart *h, uint16_t now)
{
	if ((uint16_t)(now - h->ack_ms) > GAP_MAX)
		return false;
	h->ack_ms = now;
	return t->rtt_min / 2000 >= TRAIN_MIN / 2 &&
	       (uint16_t)(now - h->begin_ms) > t->rtt_min / 2000;
}

static void judge(struct tcp_hystart *h)
{
	if (h->samples < SAMPLES)
		return;
	if (in_conservative(h) && h->min_ms < h->base_ms) {
		h->base_ms = 0;
		h->rounds = 0;
	} else if (!in_conservative(h) && has_grown(h)) {
		h->base_ms = h->min_ms;
	}
}

uint32_t hystart(struct stack *s, struct tcp_rec *t, uint32_t rtt_us, uint32_t bytes)
{
	struct tcp_hystart *h = &t->hystart;
	uint16_t now = (uint16_t)clock_ms(s);
	bool train = fills_half(t, h, now);

	if (rtt_us) {
		h->min_ms = (uint16_t)min_of((uint32_t)h->min_ms, max_of(rtt_us / 1000, 1u));
		h->samples = (uint8_t)min_of(h->samples + 1u, SAMPLES);
	}
	if (t->cwnd >= WINDOW_MIN * t->mss) {
		judge(h);
		if (train)
			h->base_ms = NO_RETURN;
	}
	if (!seq_before((uint32_t)t->snd_una, h->round_end))
		next_round(t, h, now);
	if (!in_conservative(h))
		return bytes;
	if (h->rounds >= ROUNDS) {
		t->ssthresh = t->cwnd;
		congestion_of(t)->reset(t);
	}
	return bytes / GROWTH;
}
