/* Active opens: connect(), SYN_SENT, simultaneous open; and what both kinds of opens end in. */
#include "tcp/layer.h"
#include "base/siphash.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define SYN_FLAGS (TCB_TS | TCB_SACK | TCB_WS)
#define ECN_FLAGS (TCB_ECN | TCB_ECN_ECHO | TCB_ECN_CWR | TCB_ECN_SEEN)

struct tuple {
	struct ipaddr local, remote;
	uint16_t local_port, remote_port;
	uint32_t what;
};

/* RFC 6528: a keyed hash of the names, plus a clock of 4 microseconds. */
uint32_t tcp_isn(const struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	struct tuple t = {local->addr, remote->addr, local->port, remote->port, 0};

	return (uint32_t)siphash(&world_peek(s)->isn_key, &t, sizeof(t)) +
	       (uint32_t)(s->now / 4096);
}

/* RFC 7323, 5.4: the clock starts elsewhere for each pair of hosts, so that it tells nothing of
 * ours. */
uint32_t tcp_ts_offset(
    const struct stack *s, const struct endpoint *local, const struct endpoint *remote)
{
	struct tuple t = {local->addr, remote->addr, 0, 0, 1};
	const struct world_rec *w = world_peek(s);

	return w->ts_offset + (uint32_t)siphash(&w->isn_key, &t, sizeof(t));
}

uint16_t tcp_our_mss(const struct sock_rec *k, uint32_t mtu)
{
	uint32_t mss = mtu > TCP_HEADERS + TCP_MSS_MIN ? mtu - TCP_HEADERS : TCP_MSS_MIN;

	if (k->maxseg)
		mss = min_of(mss, (uint32_t)k->maxseg);
	return (uint16_t)min_of(mss, 65535u - TCP_HEADERS);
}

/* ---- connect() */

static int connect_state(const struct tcp_rec *t)
{
	switch (t->state) {
	case TCPS_CLOSE:
		return 0;
	case TCPS_SYN_SENT:
	case TCPS_SYN_RECV:
		return -EALREADY;
	default:
		return -EISCONN;
	}
}

/* Gives the socket its names; undone by the caller on failure. */
static int take_names(struct stack *s, uint32_t sk, const struct endpoint *ep, uint32_t *mtu)
{
	struct sock_rec *k = sock_get(s, sk);
	struct endpoint to = *ep, from;
	struct conn_ref ref;
	struct route r;
	int ret = sock_route(s, sk, &ep->addr, &k->local.addr, k->bound_dev, &r);

	if (ret)
		return ret;
	if (ipaddr_is_any(&to.addr))
		to.addr = r.next_hop;
	if (r.broadcast || ip_is_multicast(&to.addr))
		return -ENETUNREACH;
	*mtu = r.mtu;
	to.pad = 0;
	if ((k->flags & SOCK_F_BOUND) && !(k->flags & (SOCK_F_PORT_USER | SOCK_F_BOUND_ADDR)))
		port_release(s, sk);
	if (!(k->flags & SOCK_F_BOUND) && (ret = port_autobind(s, sk, &r.source, &to)))
		return ret;
	from = (struct endpoint){.addr = ipaddr_is_any(&k->local.addr) ? r.source : k->local.addr,
	    .port = k->local.port};
	/* A user's port may still be in TIME_WAIT with this peer: RFC 6191 lets timestamps tell
	 * them apart. */
	if (conn_find(s, IPPROTO_TCP, &from, &to, &ref)) {
		const struct timewait_rec *w = ref.kind == KIND_TIMEWAIT
						   ? state_peek(s->state, KIND_TIMEWAIT, ref.index)
						   : NULL;

		if (!w || !w->has_ts || s->now - w->since < NSEC_PER_SEC)
			return -EADDRNOTAVAIL;
		timewait_drop(s, ref.index);
	}
	k->local.addr = from.addr;
	k->remote = to;
	ret = sock_hash_connected(s, sk);
	return ret == -EADDRINUSE ? -EADDRNOTAVAIL : ret;
}

static void init_tcb(struct stack *s, uint32_t sk, struct tcp_rec *t, uint32_t mtu)
{
	const struct sock_rec *k = sock_peek(s, sk);

	t->flags = (t->flags & ~(uint32_t)(TCB_FIN_WANTED | TCB_FIN_ALONE | TCB_FIN_RCVD | TCB_FIN_SEEN | TCB_DEAD |
					   TCB_WAS_OPEN | TCB_MSS_LOW | ECN_FLAGS)) |
		   SYN_FLAGS | TCB_SYN_NOW | TCB_ACTIVE | (s->ecn == STACK_ECN_ON ? TCB_ECN : 0);
	t->iss = tcp_isn(s, &k->local, &k->remote) - (uint32_t)t->tx_tail;
	t->ts_off = tcp_ts_offset(s, &k->local, &k->remote);
	t->ts_recent = 0;
	t->snd_una = t->snd_nxt = t->snd_edge = t->tx_tail;
	t->snd_sml = (uint32_t)t->tx_tail;
	t->recover = t->snd_una;
	t->rcv_wscale = tcp_window_scale(s, k) & 0xf;
	t->snd_wscale = 0;
	t->rx_cap = tcp_first_capacity(s, k, tcp_our_mss(k, mtu));
	t->rcv_adv = t->rcv_nxt + tcp_first_window(s, sk, t->rx_cap, t->rcv_wscale);
	t->rcv_acked = (uint32_t)t->rcv_nxt;
	t->srtt = t->rttvar = t->rto = t->rtt_min = 0;
	t->rcv_rtt_ms = 0;
	t->segs_in = t->segs_out = t->data_in = t->data_out = t->total_retrans = 0;
	t->bytes_retrans = 0;
	t->busy_ms = t->shut_out_ms = 0;
	t->cwnd = 0; /* until it is open */
	t->retries = 0;
	t->soft_err = 0;
	t->ca_state = CA_OPEN;
	t->stall_at = s->now;
}

int tcp_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	struct tcp_rec *t = tcb_get(s, sk);
	struct sock_rec *k = sock_get(s, sk);
	uint32_t mtu;
	int ret;

	if (!t || !k)
		return -ENOMEM;
	if ((ret = connect_state(t)))
		return ret;
	if (t->flags & TCB_LOST)
		return -ECONNRESET;
	if (!ep->port)
		return -ECONNREFUSED; /* nobody can listen there */
	if ((ret = take_names(s, sk, ep, &mtu))) {
		k->remote = (struct endpoint){.port = 0};
		return ret;
	}
	k->flags &= ~(uint32_t)(SOCK_F_SHUT_RD | SOCK_F_SHUT_WR);
	init_tcb(s, sk, t, mtu);
	tcp_set_state(s, sk, t, tcp_next_state(t->state, TCP_EV_SYN_SENT));
	tcp_want_output(s, sk);
	return -EINPROGRESS;
}

/* ---- the answer to our SYN, RFC 9293, 3.10.7.3 */

static void take_syn(struct stack *s, struct tcp_rec *t, const struct tcp_header *h)
{
	uint32_t agreed = options_agree(h) | (ecn_granted(t, h) ? TCB_ECN : 0);

	t->irs = h->seq - (uint32_t)t->rcv_nxt;
	t->flags &= ~(uint32_t)(SYN_FLAGS | TCB_ECN) | agreed;
	t->snd_wscale = agreed & TCB_WS ? h->ws & 0xf : 0;
	if (!(agreed & TCB_WS))
		t->rcv_wscale = 0;
	t->peer_mss = h->has_mss && h->mss ? h->mss : TCP_MSS_DEFAULT;
	if (agreed & TCB_TS) {
		t->ts_recent = h->ts_val;
		t->ts_recent_s = clock_s(s);
	}
	t->max_wnd = peer_window(t, h);
	t->snd_edge = t->snd_una + t->max_wnd;
	t->snd_wl1 = h->seq;
}

void tcp_syn_sent_segment(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g)
{
	const struct tcp_header *h = &g->h;
	bool ack = h->flags & TCP_F_ACK;

	if (!segment_verify(g))
		return;
	if (ack && snd_off(t, h->ack) != (int64_t)t->snd_una) {
		tcp_refuse(s, g);
		return;
	}
	if (h->flags & TCP_F_RST) {
		if (ack)
			(void)tcp_done(s, sk, t, ECONNREFUSED);
		return;
	}
	if (!(h->flags & TCP_F_SYN))
		return;
	take_syn(s, t, h);
	if (!ack) {
		tcp_set_state(s, sk, t, tcp_next_state(t->state, TCP_EV_SYN_RECEIVED));
		t->flags |= TCB_SYN_NOW;
		t->retries = 0;
		tcp_want_output(s, sk);
		return;
	}
	if (!tcp_established(s, sk, t))
		return;
	s->count.tcp_connected++;
	t->flags |= TCB_ACK_NOW;
	tcp_want_output(s, sk);
}

/* ---- both kinds of opens */

static uint32_t first_tx_capacity(const struct stack *s, const struct sock_rec *k)
{
	if (k->flags & SOCK_F_SNDBUF_SET)
		return min_of(max_of(round_up_pow2(k->sndbuf), 4096u), TCP_TX_FIRST);
	return min_of(TCP_TX_FIRST, max_of(round_up_pow2(stack_sndbuf_max(s)), 4096u));
}

bool tcp_established(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	bool syn_lost = t->retries > 1; /* one says little: RFC 6298, 5.7, with a first timeout of 1 s, and the kernel */
	struct tcp_path path;

	rtt_timed(s, t);
	t->flags &= ~(uint32_t)TCB_SYN_NOW;
	t->retries = 0;
	t->rtx_at = 0;
	t->rtx_kind = RTX_NONE;
	t->rcv_ms = t->rcv_data_ms = clock_mark_ms(s);
	t->rcv_mss = min_of(TCP_MSS_DEFAULT, t->peer_mss);
	t->quick = TCP_QUICK_ACKS;
	if (sock_tx_ring(s, sk, first_tx_capacity(s, k), t->tx_tail) < 0) {
		tcp_abort(s, sk, t, ENOBUFS);
		return false;
	}
	k = sock_peek(s, sk);
	(void)tcp_path_to(s, sk, t, &path);
	if (!t->mss)
		t->mss = TCP_MSS_DEFAULT;
	congestion_init(t);
	if (syn_lost)
		t->cwnd = t->mss;
	tcp_set_state(s, sk, t, tcp_next_state(t->state, TCP_EV_ESTABLISHED));
	timer_keepalive(s, k, t);
	sock_changed(s, sk);
	if (t->flags & TCB_FIN_WANTED)
		return tcp_event(s, sk, t, TCP_EV_CLOSE);
	return true;
}
