/*
 * ICMP errors about segments of ours. Believed only if the number they quote is one that is in
 * flight, or the next one, which bare acknowledgements have (RFC 5927, 4.1). They end an attempt to connect, nothing else (RFC 5927, 5.2): in an open
 * connection they are only remembered for the case that it times out.
 */
#include "tcp/layer.h"
#include "inet/errq.h"
#include "inet/sockx.h"
#include "proto/endian.h"
#include "wire/icmp.h"
#include <netinet/in.h>

/* Soft ones end it too, as in the kernel: nobody need wait two minutes for a host that is not there. */
static void for_opening(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ip_error *e)
{
	if (e->mtu) {
		ip_pmtu_update(s, &e->about.dst, e->mtu);
		return;
	}
	if (sock_peek(s, sk)->flags & SOCK_F_RECVERR)
		errq_icmp(s, sk, e, &sock_peek(s, sk)->remote, 0);
	(void)tcp_done(s, sk, t, e->err);
}

/*
 * RFC 6069: a router says that there is no way, so what was sent last was not lost by congestion, and to wait twice as long for
 * it was for nothing. As long as it says so of every try there is one at each timeout, and none is late when the way is back.
 */
static void take_back_off(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ip_error *e)
{
	if (e->type != ICMP_T_UNREACHABLE || (e->code != ICMP_C_NET && e->code != ICMP_C_HOST) || !t->retries ||
	    t->rtx_kind != RTX_RTO || !t->rtx_at)
		return;
	t->retries--;
	t->rtx_at = min_of(t->rtx_at, max_of(clock_of_mark(s, t->sent_ms) + rto_of(t), s->now));
	timer_arm(s, sk, t);
}

static void for_connection(struct stack *s, uint32_t sk, uint32_t seq, const struct ip_error *e)
{
	struct tcp_rec *t = tcb_get(s, sk);
	int64_t off;

	if (!t || ((sock_peek(s, sk)->flags & SOCK_F_MINTTL) && e->about.ttl < sockx_peek(s, sk)->min_ttl))
		return;
	off = snd_off(t, seq);
	if (t->state == TCPS_SYN_SENT || t->state == TCPS_SYN_RECV) {
		if (off == (int64_t)t->snd_una - 1)
			for_opening(s, sk, t, e);
		return;
	}
	if (off < (int64_t)t->snd_una || off > (int64_t)t->snd_nxt)
		return;
	if (!e->mtu) {
		t->soft_err = (int16_t)e->err;
		if (off == (int64_t)t->snd_una)
			take_back_off(s, sk, t, e);
		if (sock_peek(s, sk)->flags & SOCK_F_RECVERR) /* the program wants to know, and the connection goes on */
			sock_set_error(s, sk, e->err);
		return;
	}
	if (off == (int64_t)t->snd_nxt || e->mtu >= t->mss + TCP_HEADERS + (t->flags & TCB_TS ? TCP_TS_LEN : 0))
		return;
	ip_pmtu_update(s, &e->about.dst, e->mtu);
	recovery_resend_all(s, sk, t);
	tcp_want_output(s, sk);
}

/* Nobody waits for it yet: as in the kernel it ends with the path, not with what the peer says of itself. */
static bool no_way_back(const struct ip_error *e)
{
	return e->type != ICMP_T_UNREACHABLE || e->code == ICMP_C_NET || e->code == ICMP_C_HOST;
}

static void for_half_open(struct stack *s, uint32_t index, uint32_t seq, const struct ip_error *e)
{
	const struct synrcv_rec *r = state_peek(s->state, KIND_SYNRCV, index);

	if (!r || seq != r->iss)
		return;
	if (e->mtu)
		ip_pmtu_update(s, &e->about.dst, e->mtu);
	else if (no_way_back(e))
		tcp_synrcv_drop(s, index);
}

void tcp_icmp_error(struct stack *s, const struct ip_error *e)
{
	const uint8_t *head = e->quote;
	struct endpoint local = {.addr = e->about.src, .port = be16_at(head)};
	struct endpoint remote = {.addr = e->about.dst, .port = be16_at(head + 2)};
	uint32_t seq = be32_at(head + 4);
	struct conn_ref ref;

	if (!conn_find(s, IPPROTO_TCP, &local, &remote, &ref))
		return;
	if (ref.kind == KIND_SOCK)
		for_connection(s, ref.index, seq, e);
	else if (ref.kind == KIND_SYNRCV)
		for_half_open(s, ref.index, seq, e);
}
