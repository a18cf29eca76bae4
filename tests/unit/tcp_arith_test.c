/* Sequence arithmetic, round-trip estimation and congestion controls: what needs no network. */
#include "tcp/layer.h"
#include <criterion/criterion.h>

Test(seq, wraps)
{
	cr_assert(seq_before(0xffffffff, 0));
	cr_assert(seq_after(5, 0xfffffff0));
	cr_assert_not(seq_before(7, 7));
	cr_assert(seq_between(0xfffffffe, 1, 3));
	cr_assert_not(seq_between(0xfffffffe, 4, 3));
	cr_assert(seq_between(9, 9, 9));
}

Test(seq, unwraps_to_the_nearest)
{
	cr_assert_eq(seq_unwrap(5, 1ull << 40, 0xfffffffb), (1ll << 40) + 10);
	cr_assert_eq(seq_unwrap(0xfffffffb, 1ull << 40, 5), (1ll << 40) - 10);
	cr_assert_eq(seq_unwrap(0xffffffff, 0, 0), -1);
}

Test(offsets, there_and_back)
{
	struct tcp_rec t = {.iss = 0xffffff00, .irs = 77, .snd_una = 6ull << 32, .rcv_nxt = 5000};

	cr_assert_eq(snd_off(&t, snd_seq(&t, (6ull << 32) + 1000)), (6ll << 32) + 1000);
	cr_assert_eq(rcv_off(&t, rcv_seq(&t, 4000)), 4000);
	cr_assert_eq(rcv_off(&t, 77), -1);
}

Test(rtt, rfc6298)
{
	struct tcp_rec t = {.retries = 0};

	cr_assert_eq(rto_of(&t), NSEC_PER_SEC);
	rtt_sample(&t, 100000);
	cr_assert_eq(t.srtt, 100000);
	cr_assert_eq(t.rttvar, 50000);
	cr_assert_eq(rto_of(&t), 300 * NSEC_PER_MSEC);
	for (int i = 0; i < 100; i++)
		rtt_sample(&t, 10000);
	cr_assert_lt(t.srtt, 11000);
	cr_assert_geq(rto_of(&t), 210 * NSEC_PER_MSEC); /* never below 200 ms over the round trip */
	t.retries = 30;
	cr_assert_eq(rto_of(&t), 120 * NSEC_PER_SEC);
}

static struct tcp_rec flow(const char *cc)
{
	struct tcp_rec t = {.mss = 1000, .cc = (uint8_t)congestion_find(cc, 16), .srtt = 100000};

	congestion_init(&t);
	return t;
}

Test(congestion, table)
{
	cr_assert_eq(congestion_find("cubic", 5), 0);
	cr_assert_eq(congestion_find("reno", 16), 1);
	cr_assert_eq(congestion_find("ren", 3), -ENOENT);
	cr_assert_str_eq(congestion_of(&(struct tcp_rec){.cc = 200})->name, "cubic");
}

Test(congestion, slow_start_doubles)
{
	struct stack s = {.now = 1};
	struct tcp_rec t = flow("reno");

	cr_assert_eq(t.cwnd, 10000);
	congestion_of(&t)->acked(&s, &t, 10000, 0);
	cr_assert_eq(t.cwnd, 20000);
}

Test(congestion, reno_adds_one_segment_a_round_trip)
{
	struct stack s = {.now = 1};
	struct tcp_rec t = flow("reno");

	t.ssthresh = 10000;
	for (int i = 0; i < 10; i++)
		congestion_of(&t)->acked(&s, &t, 1000, 0);
	cr_assert_eq(t.cwnd, 11000);
	t.snd_nxt = 11000;
	cr_assert_eq(congestion_of(&t)->ssthresh(&t), 5500);
	t.cwnd = 1000;
	cr_assert_eq(congestion_of(&t)->ssthresh(&t), 2000);
}

/* RFC 9438: after a loss the window is back at W_max after K seconds, flat there, then grows
 * faster. */
Test(congestion, cubic_curve)
{
	struct stack s = {.now = 1000 * NSEC_PER_SEC};
	struct tcp_rec t = flow("cubic");
	uint32_t at_k, k_ms;

	t.cwnd = 1000000; /* 1,000 segments: K = cbrt(300 / 0.4) = 9.09 s */
	t.ssthresh = t.cwnd = congestion_of(&t)->ssthresh(&t);
	cr_assert_eq(t.cwnd, 700000);
	congestion_of(&t)->acked(&s, &t, 1000, 0);
	k_ms = t.k_ms;
	cr_assert(k_ms > 9050 && k_ms < 9120, "K is %u ms", k_ms);
	for (int i = 0; i < 91; i++) { /* round trips of 100 ms */
		s.now += 100 * NSEC_PER_MSEC;
		congestion_of(&t)->acked(&s, &t, t.cwnd, 0);
	}
	at_k = t.cwnd;
	cr_assert(at_k > 990000 && at_k < 1020000, "%u at K", at_k);
	for (int i = 0; i < 91; i++) {
		s.now += 100 * NSEC_PER_MSEC;
		congestion_of(&t)->acked(&s, &t, t.cwnd, 0);
	}
	cr_assert(t.cwnd > 1280000 && t.cwnd < 1340000, "%u at 2 K", t.cwnd);
}

Test(congestion, cubic_converges_fast)
{
	struct tcp_rec t = flow("cubic");

	t.ssthresh = t.cwnd = 100000;
	t.w_max = 200000;
	cr_assert_eq(congestion_of(&t)->ssthresh(&t), 70000);
	cr_assert_eq(t.w_max, 85000);
}

/* One round trip of the first slow start: all of the window is acknowledged, by segments that come `gap_ms` apart. */
static void round_trip(struct stack *s, struct tcp_rec *t, uint32_t rtt_ms, uint32_t gap_ms)
{
	uint32_t n = t->cwnd / t->mss;

	s->now += 100 * NSEC_PER_MSEC;
	t->snd_nxt = t->snd_una + t->cwnd;
	t->rtt_min = t->rtt_min ? min_of(t->rtt_min, rtt_ms * 1000) : rtt_ms * 1000;
	for (uint32_t i = 0; i < n; i++) {
		t->snd_una += t->mss;
		t->snd_nxt += 2 * t->mss;
		congestion_of(t)->acked(s, t, t->mss, rtt_ms * 1000);
		s->now += gap_ms * NSEC_PER_MSEC;
	}
}

/* RFC 9406: a queue that grows makes slow start slower, and ends it. */
Test(congestion, a_longer_round_trip_ends_slow_start)
{
	struct stack s = {.now = 1000 * NSEC_PER_SEC};
	struct tcp_rec t = flow("cubic");
	uint32_t before;

	round_trip(&s, &t, 40, 0);
	round_trip(&s, &t, 40, 0);
	cr_assert_eq(t.cwnd, 40000);
	round_trip(&s, &t, 44, 0); /* an eighth of 40: 5 ms are too many */
	cr_assert_eq(t.cwnd, 80000);
	round_trip(&s, &t, 50, 0);
	before = t.cwnd;
	cr_assert(before < 120000, "%u", before);
	cr_assert(in_first_slow_start(&t));
	round_trip(&s, &t, 50, 0);
	cr_assert(t.cwnd > before * 5 / 4 - 2000 && t.cwnd <= before * 5 / 4 + 2000, "%u after %u", t.cwnd, before);
	for (int i = 0; i < 4; i++)
		round_trip(&s, &t, 60, 0);
	cr_assert(!in_first_slow_start(&t));
	cr_assert_leq(t.ssthresh, t.cwnd);
}

/* Jitter does not. */
Test(congestion, a_round_trip_that_is_short_again_goes_on_with_slow_start)
{
	struct stack s = {.now = 1000 * NSEC_PER_SEC};
	struct tcp_rec t = flow("cubic");
	uint32_t before;

	round_trip(&s, &t, 40, 0);
	round_trip(&s, &t, 40, 0);
	round_trip(&s, &t, 60, 0);
	round_trip(&s, &t, 40, 0);
	before = t.cwnd;
	round_trip(&s, &t, 40, 0);
	cr_assert_eq(t.cwnd, 2 * before - before % t.mss);
	cr_assert(in_first_slow_start(&t));
}

/* The path is half full: the next round would overflow a queue that is too short to be seen. */
Test(congestion, a_long_train_of_acknowledgements_ends_slow_start)
{
	struct stack s = {.now = 1000 * NSEC_PER_SEC};
	struct tcp_rec t = flow("cubic");

	round_trip(&s, &t, 100, 1);
	round_trip(&s, &t, 100, 1);
	cr_assert_eq(t.cwnd, 40000);
	round_trip(&s, &t, 100, 1);
	cr_assert_eq(t.cwnd, 80000);
	round_trip(&s, &t, 100, 1); /* 80 ms */
	cr_assert(t.cwnd < 150000, "%u", t.cwnd);
	for (int i = 0; i < 5; i++)
		round_trip(&s, &t, 100, 1);
	cr_assert(!in_first_slow_start(&t));
}

Test(records, are_compact)
{
	cr_assert_leq(sizeof(struct tcp_rec), 320);
	cr_assert_leq(sizeof(struct tcpx_rec), 1024);
	cr_assert_leq(sizeof(struct synrcv_rec), 136);
	cr_assert_leq(sizeof(struct timewait_rec), 112);
}
