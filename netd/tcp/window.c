/*
 * The window that we offer.
 *
 * Its right edge is a fact (rcv_adv) and never goes back: what was promised is accepted, whatever
 * the wire's scaled field could say of it since. The edge stays one scaling unit below the ring's
 * end, so that a field rounded up still promises only what fits. TCP_WINDOW_CLAMP is an end, too.
 */
#include "tcp/layer.h"
#include "inet/sockx.h"

/* Room for what SO_RCVLOWAT waits for, twice, or a reader would wait for what has no room. */
uint32_t tcp_first_capacity(const struct stack *s, const struct sock_rec *k, uint32_t our_mss)
{
	uint32_t cap = min_of(TCP_RX_FIRST, round_up_pow2(stack_rcvbuf_max(s)));

	if (k->flags & SOCK_F_RCVBUF_SET)
		cap = max_of(round_up_pow2(k->rcvbuf), 4096u);
	else
		cap = max_of(cap, round_up_pow2(4 * our_mss));
	return max_of(cap, round_up_pow2(2 * min_of(k->rcvlowat, stack_rcvbuf_max(s))));
}

uint8_t tcp_window_scale(const struct stack *s, const struct sock_rec *k)
{
	uint32_t wish = max_of(k->rcvbuf, 2 * min_of(k->rcvlowat, stack_rcvbuf_max(s)));
	uint32_t most = round_up_pow2(max_of(stack_rcvbuf_max(s), wish));
	uint8_t ws = 0;

	while (ws < 14 && (65535u << ws) < most)
		ws++;
	return ws;
}

uint32_t tcp_clamp(const struct stack *s, uint32_t sk)
{
	return sock_peek(s, sk)->flags & SOCK_F_CLAMP ? sockx_peek(s, sk)->window_clamp : UINT32_MAX;
}

uint32_t tcp_first_window(const struct stack *s, uint32_t sk, uint32_t cap, uint8_t wscale)
{
	uint32_t most = min_of(65535u, cap - (1u << wscale));

	return min_of(most, tcp_clamp(s, sk));
}

uint16_t tcp_window(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint64_t room = k->rx.cap ? k->rx.cap : t->rx_cap, unit = 1ull << t->rcv_wscale;
	uint64_t cap = min_of(room, (uint64_t)tcp_clamp(s, sk));
	uint64_t hard = min_of(t->rx_head + room, t->rcv_nxt + cap);
	uint64_t edge = cap > unit ? hard - unit : hard, field;

	/* Silly window avoidance, RFC 9293, 3.8.6.2.2: the edge moves on in large steps. */
	if (edge < t->rcv_adv + min_of(cap / 2, (uint64_t)t->rcv_mss))
		edge = t->rcv_adv;
	if (edge < t->rcv_nxt)
		edge = t->rcv_nxt;
	field = (edge - t->rcv_nxt + unit - 1) >> t->rcv_wscale;
	if (t->rcv_nxt + (field << t->rcv_wscale) > hard)
		field = (edge - t->rcv_nxt) >> t->rcv_wscale;
	field = min_of(field, 65535ull);
	t->rcv_adv = max_of(t->rcv_adv, t->rcv_nxt + (field << t->rcv_wscale));
	return (uint16_t)field;
}
