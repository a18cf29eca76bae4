/*
 * TCP_INFO, in the kernel's structure and units. What netd does not count is 0: the time in which the send buffer
 * was the limit, rates that were measured, what came out of order or twice.
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include <linux/tcp.h>
#include <stddef.h>

/* What newer kernels tell than this system's header may know of. */
struct info_tail {
	uint32_t rcv_wnd, rehash;
	uint16_t total_rto, total_rto_recoveries;
	uint32_t total_rto_ms;
	uint32_t accurate_ecn[8];
};
#define INFO_TAIL (offsetof(struct tcp_info, tcpi_snd_wnd) + sizeof(uint32_t))
_Static_assert(INFO_TAIL + sizeof(struct info_tail) == TCP_INFO_LEN, "the kernel's layout");

static uint8_t options_of(const struct tcp_rec *t)
{
	return (uint8_t)((t->flags & TCB_TS ? TCPI_OPT_TIMESTAMPS : 0) |
			 (t->flags & TCB_SACK ? TCPI_OPT_SACK : 0) |
			 (t->flags & TCB_WS ? TCPI_OPT_WSCALE : 0) |
			 (t->flags & TCB_ECN ? TCPI_OPT_ECN : 0) |
			 (t->flags & TCB_ECN_SEEN ? TCPI_OPT_ECN_SEEN : 0));
}

static uint32_t ms_since(const struct stack *s, uint32_t mark_ms)
{
	return mark_ms ? (uint32_t)((s->now - clock_of_mark(s, mark_ms)) / NSEC_PER_MSEC) : 0;
}

/* tcb.h says how such a time is kept. */
static uint64_t us_of(const struct stack *s, const struct tcp_rec *t, uint32_t flag, uint32_t kept_ms)
{
	uint32_t ms = t->flags & flag ? kept_ms + clock_ms(s) : kept_ms;

	return ms * (NSEC_PER_MSEC / NSEC_PER_USEC);
}

/* What the peer was told that we take in a segment, and what the path carries as it is known by now. */
static void fill_path(struct stack *s, uint32_t sk, const struct tcp_rec *t, struct tcp_info *i)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t options = (t->flags & TCB_TS) && t->state != TCPS_SYN_SENT ? TCP_TS_LEN : 0;
	const struct device_rec *d;
	struct route r;

	i->tcpi_advmss = TCP_MSS_DEFAULT;
	i->tcpi_pmtu = i->tcpi_snd_mss + TCP_HEADERS + options;
	if (t->state == TCPS_CLOSE || sock_route(s, sk, &k->remote.addr, &k->local.addr, k->bound_dev, &r))
		return;
	d = device_peek(s, r.dev);
	i->tcpi_pmtu = r.mtu;
	i->tcpi_advmss = tcp_our_mss(k, d ? d->mtu : r.mtu) - options;
}

static void fill_window(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, struct tcp_info *i)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t mss = t->mss ? t->mss : TCP_MSS_DEFAULT;
	uint64_t sacked = 0, lost, resent;

	for (unsigned r = 0; x && r < x->n_run; r++)
		sacked += x->run[r].end - x->run[r].start;
	recovery_count(s, sk, t, &lost, &resent);
	i->tcpi_lost = (uint32_t)((lost + mss - 1) / mss);
	i->tcpi_retrans = (uint32_t)((resent + mss - 1) / mss);
	i->tcpi_reordering = max_of(t->reordering, TCP_DUP_THRESH);
	i->tcpi_reord_seen = !!t->reordering;
	i->tcpi_snd_mss = mss;
	i->tcpi_rcv_mss = t->rcv_mss;
	i->tcpi_rcv_rtt = t->rcv_rtt_ms * 1000u;
	i->tcpi_unacked = (uint32_t)((flight_of(t) + mss - 1) / mss);
	i->tcpi_sacked = (uint32_t)((sacked + mss - 1) / mss);
	i->tcpi_snd_cwnd = max_of(t->cwnd / mss, 1u);
	i->tcpi_snd_ssthresh =
	    t->ssthresh == UINT32_MAX || !t->ssthresh ? 0x7fffffff : t->ssthresh / mss;
	i->tcpi_rcv_space = (uint32_t)(t->rcv_adv > t->rcv_nxt ? t->rcv_adv - t->rcv_nxt : 0);
	i->tcpi_rcv_ssthresh = k->rx.cap ? k->rx.cap : t->rx_cap;
	i->tcpi_snd_wnd = (uint32_t)(t->snd_edge > t->snd_una ? t->snd_edge - t->snd_una : 0);
}

/* As the kernel counts: a FIN is a byte, and of the SYNs that of connect(). */
static void fill_counts(const struct tcp_rec *t, struct tcp_info *i)
{
	bool opened = t->cwnd;
	uint32_t outstanding = i->tcpi_unacked - min_of(i->tcpi_unacked, i->tcpi_sacked);
	uint32_t once = t->data_out - min_of(t->data_out, t->total_retrans);

	i->tcpi_bytes_acked = t->snd_una + (opened && (t->flags & TCB_ACTIVE));
	i->tcpi_bytes_received = t->rcv_nxt;
	i->tcpi_bytes_sent = t->snd_nxt - fin_sent(t) + t->bytes_retrans;
	i->tcpi_bytes_retrans = t->bytes_retrans;
	i->tcpi_segs_in = t->segs_in;
	i->tcpi_segs_out = t->segs_out;
	i->tcpi_data_segs_in = t->data_in;
	i->tcpi_data_segs_out = t->data_out;
	i->tcpi_delivered = opened + fin_acked(t) + once - min_of(once, outstanding);
	i->tcpi_min_rtt = t->rtt_min;
	i->tcpi_max_pacing_rate = UINT64_MAX;
	if (t->srtt) /* netd does not pace; the kernel without a pacing qdisc neither, and tells what it would be */
		i->tcpi_pacing_rate = (uint64_t)t->cwnd * (NSEC_PER_SEC / NSEC_PER_USEC) / t->srtt *
				      (t->cwnd < t->ssthresh / 2 ? 200 : 120) / 100;
}

static void fill(struct stack *s, uint32_t sk, const struct tcp_rec *t, struct tcp_info *i)
{
	if (!t || !sock_peek(s, sk)) {
		i->tcpi_state = TCPS_CLOSE;
		return;
	}
	i->tcpi_state = t->state;
	if (t->state == TCPS_LISTEN) {
		i->tcpi_unacked = queue_of(s, sk) ? queue_of(s, sk)->ready : 0;
		i->tcpi_sacked = sock_peek(s, sk)->backlog;
		return;
	}
	i->tcpi_ca_state = t->ca_state;
	i->tcpi_retransmits = t->retries;
	i->tcpi_probes = t->keep_probes;
	i->tcpi_backoff = t->retries;
	i->tcpi_options = options_of(t);
	i->tcpi_snd_wscale = t->snd_wscale;
	i->tcpi_rcv_wscale = t->rcv_wscale;
	i->tcpi_rto = t->rto ? t->rto : TCP_RTO_FIRST_US;
	i->tcpi_ato = (uint32_t)(TCP_DELACK_NS / NSEC_PER_USEC);
	i->tcpi_rtt = t->srtt;
	i->tcpi_rttvar = t->rttvar;
	i->tcpi_total_retrans = t->total_retrans;
	i->tcpi_last_data_sent = ms_since(s, t->sent_ms);
	i->tcpi_last_data_recv = ms_since(s, t->rcv_data_ms);
	i->tcpi_last_ack_recv = ms_since(s, t->rcv_ms);
	i->tcpi_notsent_bytes = (uint32_t)(t->tx_tail > t->snd_nxt ? t->tx_tail - t->snd_nxt : 0);
	i->tcpi_busy_time = us_of(s, t, TCB_BUSY, t->busy_ms);
	i->tcpi_rwnd_limited = us_of(s, t, TCB_SHUT_OUT, t->shut_out_ms);
	fill_window(s, sk, t, i);
	fill_path(s, sk, t, i);
	fill_counts(t, i);
}

void tcp_fill_info(struct stack *s, uint32_t sk, uint8_t info[TCP_INFO_LEN])
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	struct info_tail tail = {.rcv_wnd = 0};
	struct tcp_info i = {0};

	fill(s, sk, t, &i);
	if (t && t->rcv_adv > t->rcv_nxt)
		tail.rcv_wnd = (uint32_t)(t->rcv_adv - t->rcv_nxt);
	memcpy(info, &i, INFO_TAIL);
	memcpy(info + INFO_TAIL, &tail, sizeof(tail));
}
