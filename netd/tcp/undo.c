/*
 * A recovery that was for nothing: what was taken for lost was only late. Window and threshold are then as before. That
 * it was shows in one of three ways:
 *
 *   the echoed timestamp   is older than the first retransmission, yet what it acknowledges was missing: the original
 *                          has arrived (RFC 3522, Eifel)
 *   an original arrives    after a timeout, of which nothing but the first segment has been sent again yet (RFC 5682,
 *                          F-RTO, with SACK)
 *   all came twice         every byte that was sent again is reported so (RFC 2883, RFC 3708), if need be within the
 *                          round trip after the recovery
 */
#include "tcp/layer.h"

void undo_begin(struct tcp_rec *t, struct tcpx_rec *x)
{
	x->undo = (struct tcp_undo){.cwnd = t->cwnd, .ssthresh = t->ssthresh};
	x->dsack = 0;
	x->frto = 0;
}

void undo_resent(struct stack *s, struct tcp_rec *t, struct tcpx_rec *x, uint32_t len)
{
	if (!x->undo.rtx_ms)
		x->undo.rtx_ms = max_of(tcp_clock(s) + t->ts_off, 1u);
	x->undo.resent += len;
}

static bool all_came_twice(struct tcpx_rec *x, uint32_t twice)
{
	uint32_t before = x->undo.resent;

	if (!twice)
		return false;
	x->dsack = 1;
	x->undo.resent -= min_of(twice, before);
	return before && !x->undo.resent;
}

bool undo_if_spurious(struct tcp_rec *t, struct tcpx_rec *x, const struct ack_news *n)
{
	bool twice = all_came_twice(x, n->twice);

	if (!x->undo.cwnd)
		return false;
	if (!twice &&
	    !(n->acked && n->ts_ecr && x->undo.rtx_ms && seq_before(n->ts_ecr, x->undo.rtx_ms)) &&
	    !(x->frto && n->original && t->ca_state == CA_LOSS))
		return false;
	if (!x->frto)
		t->reordering = max_of(t->reordering, (uint8_t)1);
	t->cwnd = max_of(t->cwnd, x->undo.cwnd);
	t->ssthresh = max_of(t->ssthresh, x->undo.ssthresh);
	if (in_first_slow_start(t))
		congestion_of(t)->reset(t);
	x->undo.cwnd = 0;
	return true;
}
