/*
 * CUBIC, RFC 9438, in integers.
 *
 * W(t) = C (t - K)^3 + W_max, with C = 0.4 segments/s^3; here t and K are milliseconds and windows
 * are bytes. The epoch begins with the first acknowledgement in congestion avoidance after a
 * reduction; a pause of the daemon is taken out of it (tcp_resume), so that the window does not
 * leap. The first slow start ends by HyStart++, as section 4.10 recommends.
 */
#include "tcp/layer.h"

#define BETA_NUM   7u /* beta = 0.7 */
#define BETA_DEN   10u
#define WINDOW_MAX (1u << 30)
#define MS_MAX	   1000000ll

static uint32_t cube_root(uint64_t v)
{
	uint64_t low = 0, high = 2642245; /* its cube is just below 2^64 */

	while (low < high) {
		uint64_t mid = (low + high + 1) / 2;

		if (mid * mid * mid <= v)
			low = mid;
		else
			high = mid - 1;
	}
	return (uint32_t)low;
}

static uint32_t cubic_ssthresh(struct tcp_rec *t)
{
	uint32_t w = t->cwnd, w_max = in_first_slow_start(t) ? 0 : t->w_max;

	t->epoch_ms = 0;
	/* Fast convergence, 4.7 */
	t->w_max =
	    w < w_max ? (uint32_t)((uint64_t)w * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN)) : w;
	return max_of((uint32_t)((uint64_t)w * BETA_NUM / BETA_DEN), 2 * t->mss);
}

static void epoch_begin(struct stack *s, struct tcp_rec *t)
{
	t->epoch_ms = max_of(clock_ms(s), 1u);
	t->w_est = t->cwnd;
	if (t->cwnd < t->w_max) {
		uint64_t segs_x1000 = (uint64_t)(t->w_max - t->cwnd) * 1000 / t->mss;

		t->k_ms = cube_root(segs_x1000 * 2500000); /* (segments / 0.4) s^3 in ms^3 */
	} else {
		t->k_ms = 0;
		t->w_max = t->cwnd;
	}
}

/* W(t) for t in ms since the epoch began. */
static uint64_t window_at(const struct tcp_rec *t, uint64_t ms)
{
	int64_t d = (int64_t)min_of(ms, (uint64_t)MS_MAX) - (int64_t)t->k_ms, w;

	d = d < -MS_MAX ? -MS_MAX : d;
	/* 0.4 segments * (d / 1000)^3 */
	w = d * d * d / 1000000 * 4 / 10000 * (int64_t)t->mss;
	w += (d * d * d / 1000000 * 4 % 10000) * (int64_t)t->mss / 10000;
	w += (int64_t)t->w_max;
	return w < 0 ? 0 : (uint64_t)w;
}

static void cubic_acked(struct stack *s, struct tcp_rec *t, uint32_t bytes, uint32_t rtt_us)
{
	uint64_t target, ms, alpha = 53; /* 3 (1 - beta) / (1 + beta), in hundredths */

	if (in_first_slow_start(t))
		bytes = hystart(s, t, rtt_us, bytes);
	bytes = slow_start(t, bytes);
	if (!bytes)
		return;
	if (!t->epoch_ms)
		epoch_begin(s, t);
	ms = clock_ms(s) - t->epoch_ms;
	target = window_at(t, ms + t->srtt / 1000);
	target = min_of(max_of(target, (uint64_t)t->cwnd), (uint64_t)t->cwnd * 3 / 2);
	/* The Reno-friendly region, 4.3 */
	if (t->w_est >= t->w_max)
		alpha = 100;
	t->w_est = (uint32_t)min_of(
	    t->w_est + alpha * t->mss * bytes / 100 / t->cwnd, (uint64_t)WINDOW_MAX);
	if (window_at(t, ms) < t->w_est)
		t->cwnd = max_of(t->cwnd, t->w_est);
	else
		t->cwnd += (uint32_t)((target - t->cwnd) * bytes / t->cwnd);
	t->cwnd = min_of(t->cwnd, WINDOW_MAX);
}

static void cubic_reset(struct tcp_rec *t)
{
	if (in_first_slow_start(t)) {
		hystart_reset(t);
		return;
	}
	t->epoch_ms = 0;
	t->w_max = 0;
}

const struct congestion_ops congestion_cubic = {"cubic", cubic_ssthresh, cubic_acked, cubic_reset};
