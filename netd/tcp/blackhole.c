/*
 * A path on which large segments vanish without a word: a router drops what is too large for its next link, and its ICMP
 * message does not arrive (RFC 2923, 2.1). The kernel's answer with tcp_mtu_probing 1, RFC 4821:
 *
 *   down   when the fourth timeout in a row has passed (R1 of RFC 1122, 4.2.3.5) a segment carries 1,024 bytes, after the next
 *          one 512: that goes through anywhere
 *   up     it may have been another reason. So after ten quiet seconds one segment of what the path is said to carry goes
 *          out, amid small ones that tell if it gets lost. If it arrives all are as large again. If not, the largest that does
 *          is searched by halves, a trial each ten seconds; when it is known within 32 bytes all rests for ten minutes
 *
 * The connections that are ever in need of this are few: what is known stands in sockx_rec, and TCB_MSS_LOW says that it does.
 */
#include "tcp/layer.h"
#include "inet/sockx.h"

#define R1	    3u
#define MSS_BASE    1024u
#define MSS_LEAST   512u
#define NEAR_ENOUGH 32u
#define TRY_S	    10u
#define TRY_AGAIN_S 600u
#define BEHIND	    (TCP_DUP_THRESH + 1) /* segments that follow a trial, so that its loss shows */

static bool is_due(const struct stack *s, const struct sockx_rec *x)
{
	return !x->mss_try_end && (int32_t)(clock_s(s) - x->mss_at_s) >= 0;
}

uint32_t blackhole_mss(const struct stack *s, uint32_t sk, uint32_t mss)
{
	uint32_t low = sockx_peek(s, sk)->mss_low;

	return low ? min_of(mss, low) : mss; /* 0: the record was corrupt, and is as at first */
}

void blackhole_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	uint32_t low = t->mss > MSS_BASE ? MSS_BASE : MSS_LEAST;
	struct sockx_rec *x;

	if (t->retries <= R1 || t->mss <= MSS_LEAST || flight_of(t) <= low ||
	    !(x = sockx_get(s, sk)))
		return;
	t->flags |= TCB_MSS_LOW;
	t->mss = low;
	x->mss_low = (uint16_t)low;
	x->mss_high = 0;
	x->mss_try_end = 0;
	x->mss_at_s = clock_s(s) + TRY_S;
}

uint32_t blackhole_trial(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t whole, uint64_t room)
{
	const struct sockx_rec *x = sockx_peek(s, sk);
	uint32_t n = x->mss_high ? min_of(whole, (x->mss_low + (uint32_t)x->mss_high) / 2) : whole;

	if (t->ca_state != CA_OPEN || !is_due(s, x) || n <= t->mss || room < n + BEHIND * t->mss)
		return 0;
	return n;
}

void blackhole_tried(struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t len)
{
	struct sockx_rec *x = sockx_get(s, sk);

	if (!x)
		return;
	x->mss_try = (uint16_t)len;
	x->mss_try_end = t->snd_nxt;
}

/* What can be known is known; but paths change, so later the search begins anew. */
static void rest(const struct stack *s, struct sockx_rec *x)
{
	x->mss_high = 0;
	x->mss_at_s = clock_s(s) + TRY_AGAIN_S;
}

void blackhole_acked(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sockx_rec *peek = sockx_peek(s, sk);
	struct sockx_rec *x;

	if (!peek->mss_try_end || t->snd_una < peek->mss_try_end || !(x = sockx_get(s, sk)))
		return;
	x->mss_try_end = 0;
	x->mss_at_s = clock_s(s) + TRY_S;
	if (t->ca_state == CA_RECOVERY || t->ca_state == CA_LOSS)
		x->mss_high = x->mss_try;
	else if (x->mss_high)
		x->mss_low = x->mss_try;
	else
		t->flags &= ~(uint32_t)TCB_MSS_LOW;
	if (x->mss_high && x->mss_high < x->mss_low + NEAR_ENOUGH)
		rest(s, x);
}
