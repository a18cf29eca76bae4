/*
 * The table of congestion controls, and what they have in common: slow start, the restart after
 * idleness. Windows are in bytes.
 *
 * Reno is RFC 5681. The window grows by what was acknowledged, however many segments an
 * acknowledgement covers (RFC 3465 without its limit, as in the kernel): peers that receive
 * super-frames acknowledge many segments at once.
 */
#include "tcp/layer.h"

#define WINDOW_MAX     (1u << 30)
#define FIRST_SEGMENTS 10u /* RFC 6928 */

uint32_t slow_start(struct tcp_rec *t, uint32_t bytes)
{
	uint32_t n = t->cwnd < t->ssthresh ? min_of(bytes, t->ssthresh - t->cwnd) : 0;

	t->cwnd = min_of(t->cwnd + n, WINDOW_MAX);
	return bytes - n;
}

static uint32_t reno_ssthresh(struct tcp_rec *t)
{
	t->cwnd_cnt = 0;
	return max_of(min_of((uint64_t)t->cwnd, flight_of(t)) / 2, 2ull * t->mss);
}

static void reno_acked(struct stack *s, struct tcp_rec *t, uint32_t bytes, uint32_t rtt_us)
{
	(void)s;
	(void)rtt_us;
	bytes = slow_start(t, bytes);
	t->cwnd_cnt += bytes;
	while (t->cwnd_cnt >= t->cwnd) {
		t->cwnd_cnt -= t->cwnd;
		t->cwnd = min_of(t->cwnd + t->mss, WINDOW_MAX);
	}
}

static void reno_reset(struct tcp_rec *t)
{
	t->cwnd_cnt = 0;
}

static const struct congestion_ops congestion_reno = {
    "reno", reno_ssthresh, reno_acked, reno_reset};

/* The first one is the default. */
static const struct congestion_ops *const table[] = {&congestion_cubic, &congestion_reno};

const struct congestion_ops *congestion_of(const struct tcp_rec *t)
{
	return table[t->cc < ARRAY_SIZE(table) ? t->cc : 0];
}

int congestion_find(const char *name, uint32_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (strnlen(name, len) == strlen(table[i]->name) &&
		    !strncmp(name, table[i]->name, len))
			return (int)i;
	return -ENOENT;
}

const char *congestion_name(unsigned i)
{
	return i < ARRAY_SIZE(table) ? table[i]->name : NULL;
}

void congestion_init(struct tcp_rec *t)
{
	t->cwnd = FIRST_SEGMENTS * t->mss;
	t->ssthresh = UINT32_MAX;
	congestion_of(t)->reset(t);
}

void congestion_idle(struct stack *s, struct tcp_rec *t)
{
	uint64_t rto = (t->rto ? t->rto : TCP_RTO_FIRST_US) * NSEC_PER_USEC;
	uint64_t idle = (uint64_t)(clock_ms(s) - t->sent_ms) * NSEC_PER_MSEC;
	uint32_t first = FIRST_SEGMENTS * t->mss;

	if (!t->sent_ms || idle < rto || t->cwnd <= first)
		return;
	t->ssthresh = max_of(t->ssthresh, t->cwnd / 4 * 3);
	for (; idle >= rto && t->cwnd > first; idle -= rto)
		t->cwnd /= 2;
	t->cwnd = max_of(t->cwnd, first);
	congestion_of(t)->reset(t);
}
