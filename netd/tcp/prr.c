/*
 * Proportional rate reduction, RFC 9937: in a recovery the window goes down to ssthresh by sending,
 * for what arrives, in proportion; not by waiting until enough has arrived, and then sending in
 * bursts. If more is lost than the window goes down by, it comes up again by what arrives, and one
 * segment with each acknowledgement that brings the recovery forward and tells of no more losses.
 */
#include "tcp/layer.h"

void prr_begin(const struct tcp_rec *t, struct tcpx_rec *x)
{
	x->prr = (struct tcp_prr){.flight = (uint32_t)min_of(flight_of(t), (uint64_t)UINT32_MAX)};
}

/* More than was sent for what has arrived; 0 if it is less. */
static uint64_t less_out(const struct tcpx_rec *x, uint64_t allowed)
{
	return allowed > x->prr.out ? allowed - x->prr.out : 0;
}

void prr_ack(struct tcp_rec *t, struct tcpx_rec *x, const struct ack_news *n, uint64_t pipe, bool lost)
{
	uint64_t flight = max_of(x->prr.flight, 1u), may;

	x->prr.delivered += (uint32_t)n->delivered;
	if (pipe > t->ssthresh) {
		may = less_out(x, ((uint64_t)x->prr.delivered * t->ssthresh + flight - 1) / flight);
	} else {
		may = max_of(less_out(x, x->prr.delivered), n->delivered) + (n->acked && !lost ? t->mss : 0);
		may = min_of(may, t->ssthresh - pipe);
	}
	if (!x->prr.out)
		may = max_of(may, (uint64_t)t->mss);
	t->cwnd = (uint32_t)max_of(pipe + may, (uint64_t)t->mss);
}
