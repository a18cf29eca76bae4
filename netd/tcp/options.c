/* The options MSS, window scale (RFC 7323, 2), timestamps with PAWS (RFC 7323, 3 to 5) and SACK
 * (RFC 2018). */
#include "tcp/layer.h"

#define PAWS_AGE_S (24u * 24 * 3600) /* RFC 7323, 5.5 */

void options_syn(struct tcp_header *h, uint32_t flags, uint16_t mss, uint8_t ws, uint32_t ts_val,
    uint32_t ts_ecr)
{
	h->has_mss = true;
	h->mss = mss;
	h->has_ws = flags & TCB_WS;
	h->ws = ws;
	h->sack_permitted = flags & TCB_SACK;
	h->has_ts = flags & TCB_TS;
	h->ts_val = ts_val;
	h->ts_ecr = ts_ecr;
}

uint32_t options_agree(const struct tcp_header *syn)
{
	return (syn->has_ws ? TCB_WS : 0u) | (syn->has_ts ? TCB_TS : 0u) |
	       (syn->sack_permitted ? TCB_SACK : 0u);
}

bool options_paws(const struct stack *s, const struct tcp_rec *t, const struct tcp_header *h)
{
	return (t->flags & TCB_TS) && h->has_ts && !(h->flags & TCP_F_RST) &&
	       seq_before(h->ts_val, t->ts_recent) && clock_s(s) - t->ts_recent_s < PAWS_AGE_S;
}

void options_ts_recent(
    struct stack *s, struct tcp_rec *t, const struct tcp_header *h, int64_t start)
{
	if (!(t->flags & TCB_TS) || !h->has_ts || start > (int64_t)rcv_acked(t))
		return;
	if (seq_before(h->ts_val, t->ts_recent) && clock_s(s) - t->ts_recent_s < PAWS_AGE_S)
		return;
	t->ts_recent = h->ts_val;
	t->ts_recent_s = clock_s(s);
}

static void add_block(
    const struct tcp_rec *t, struct tcp_header *h, const struct tcp_run *r, unsigned room)
{
	if (h->n_sack < room)
		h->sack[h->n_sack++] =
		    (struct tcp_sack_block){rcv_seq(t, r->start), rcv_seq(t, r->end)};
}

static bool is_recent(const struct tcpx_rec *x, uint64_t start)
{
	for (unsigned r = 0; r < ARRAY_SIZE(x->ooo_recent); r++)
		if (x->ooo_recent[r] == start)
			return true;
	return false;
}

void options_sack(const struct stack *s, uint32_t sk, const struct tcp_rec *t, struct tcp_header *h)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);
	unsigned room = t->flags & TCB_TS ? 3 : 4;

	if (!(t->flags & TCB_SACK))
		return;
	if (t->flags & TCB_DSACK) /* RFC 2883 */
		h->sack[h->n_sack++] = (struct tcp_sack_block){t->dsack_start, t->dsack_start + t->dsack_len};
	/* RFC 2018, 4: those that grew last, the newest first; so that each is told several times. */
	for (unsigned r = 0; x && r < ARRAY_SIZE(x->ooo_recent); r++)
		for (unsigned i = 0; i < x->n_ooo; i++)
			if (x->ooo[i].start == x->ooo_recent[r])
				add_block(t, h, &x->ooo[i], room);
	for (unsigned i = 0; x && i < x->n_ooo; i++)
		if (!is_recent(x, x->ooo[i].start))
			add_block(t, h, &x->ooo[i], room);
}
