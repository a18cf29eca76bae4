/* Round-trip time and retransmission timeout, RFC 6298. */
#include "tcp/layer.h"

/*
 * The timeout is at least TCP_RTO_MIN_US above the smoothed round trip, as in the kernel: a peer
 * may delay its acknowledgement by up to 200 ms.
 */
static uint32_t compute(const struct tcp_rec *t)
{
	uint64_t rto = (uint64_t)t->srtt + max_of(4ull * t->rttvar, (uint64_t)TCP_RTO_MIN_US);

	return (uint32_t)min_of(rto, (uint64_t)TCP_RTO_MAX_US);
}

void rtt_sample(struct tcp_rec *t, uint64_t us)
{
	uint32_t r = (uint32_t)min_of(max_of(us, 1ull), (uint64_t)TCP_RTO_MAX_US);

	t->rtt_min = t->rtt_min ? min_of(t->rtt_min, r) : r;
	if (!t->srtt) {
		t->srtt = r;
		t->rttvar = r / 2;
	} else {
		uint32_t off = t->srtt > r ? t->srtt - r : r - t->srtt;

		t->rttvar = (uint32_t)((3ull * t->rttvar + off) / 4);
		t->srtt = (uint32_t)((7ull * t->srtt + r) / 8);
		t->srtt = max_of(t->srtt, 1u);
	}
	t->rto = compute(t);
}

void rtt_timed(const struct stack *s, struct tcp_rec *t)
{
	uint32_t us = clock_us(s) - t->rtt_us;

	if ((t->flags & TCB_TIMING) && us * NSEC_PER_USEC <= s->now - s->resumed_ns)
		rtt_sample(t, us);
	t->flags &= ~(uint32_t)TCB_TIMING;
}

uint32_t rtt_echoed(const struct stack *s, const struct tcp_rec *t, const struct tcp_header *h)
{
	uint32_t ms = tcp_clock(s) + t->ts_off - h->ts_ecr;

	if (!(t->flags & TCB_TS) || !h->has_ts || !h->ts_ecr || ms > TCP_RTO_MAX_US / 1000 ||
	    s->now < s->resumed_ns + (uint64_t)(ms + 1) * NSEC_PER_MSEC)
		return 0;
	return ms ? ms * 1000 : 500;
}

uint64_t rto_of(const struct tcp_rec *t)
{
	uint64_t us = t->rto ? t->rto : TCP_RTO_FIRST_US;
	unsigned doublings = t->retries;

	if (t->state == TCPS_SYN_SENT)
		doublings -= min_of(doublings, TCP_SYN_LINEAR);
	us <<= min_of(doublings, 20u);
	return min_of(us, (uint64_t)TCP_RTO_MAX_US) * NSEC_PER_USEC;
}
