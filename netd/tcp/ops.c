/* The stream socket's operations, as the socket layer calls them. */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include "inet/sockx.h"

static int tcp_create(struct stack *s, uint32_t sk)
{
	struct tcp_rec *t = state_alloc_at(s->state, KIND_TCP, sk);
	struct sock_rec *k = sock_get(s, sk);

	if (!t || !k)
		return -ENOMEM;
	k->rcvbuf = min_of(TCP_RCVBUF, stack_rcvbuf_max(s));
	k->sndbuf = min_of(TCP_SNDBUF, stack_sndbuf_max(s));
	t->state = TCPS_CLOSE;
	sock_get(s, sk)->listener = NO_INDEX;
	return 0;
}

static int tcp_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);
	int ret;

	if (!t || !k)
		return -EINVAL;
	if (t->state != TCPS_CLOSE)
		return (ret = port_address(s, sk, &ep->addr)) ? ret : -EINVAL;
	return port_bind(s, sk, ep);
}

/* The transmit ring's room as the client may have used it. */
static bool tx_tail_ok(const struct sock_rec *k, const struct tcp_rec *t, uint64_t tx_tail)
{
	return tx_tail >= t->tx_tail && tx_tail - tx_head_of(t) <= k->tx.cap;
}

/* A control block that was made anew believes the first positions that it hears of. */
static void poke_lost(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	struct tcp_rec *t = tcb_get(s, sk);

	if (!t || (t->rx_head == rx_head && t->tx_tail == tx_tail))
		return;
	t->rx_head = t->rcv_nxt = t->rcv_adv = rx_head;
	t->rcv_acked = (uint32_t)rx_head;
	t->tx_tail = t->snd_una = t->snd_nxt = tx_tail;
	sock_changed(s, sk);
}

static int tcp_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	const struct tcp_rec *p = tcb_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);
	struct tcp_rec *t;

	if (!p || !k)
		return 0;
	if (p->flags & TCB_LOST) {
		poke_lost(s, sk, rx_head, tx_tail);
		return 0;
	}
	if (rx_head < p->rx_head || rx_head > rx_tail_of(p))
		return -EPROTO;
	/* Behind its own end of stream, or the connection's, a writer may have been late: that
	 * counts for nothing. */
	if ((p->flags & TCB_FIN_WANTED) ||
	    !(state_synchronized(p->state) || p->state == TCPS_SYN_RECV))
		tx_tail = tx_tail < p->tx_tail || tx_tail - tx_head_of(p) > k->tx.cap ? UINT64_MAX
										      : p->tx_tail;
	if (!tx_tail_ok(k, p, tx_tail))
		return -EPROTO;
	if (rx_head == p->rx_head && tx_tail == p->tx_tail)
		return 0;
	t = tcb_get(s, sk);
	if (!t)
		return -ENOMEM;
	if (tx_tail != t->tx_tail) {
		t->tx_tail = tx_tail;
		tcp_want_output(s, sk);
	}
	if (rx_head != t->rx_head) {
		t->rx_head = rx_head;
		receive_consumed(s, sk, t);
		timer_arm(s, sk, t);
	}
	return 0;
}

static void tcp_hint(struct stack *s, uint32_t sk, enum sock_hint hint, uint64_t pos)
{
	const struct tcp_rec *p = tcb_peek(s, sk);
	bool more = hint == SOCK_MORE;
	struct tcp_rec *t;

	if (!p || !state_synchronized(p->state) || (hint != SOCK_URGENT && more == !!(p->flags & TCB_MORE)))
		return;
	t = tcb_get(s, sk);
	if (!t)
		return;
	if (hint == SOCK_URGENT) {
		urgent_mark(s, sk, t, pos);
		return;
	}
	t->flags = more ? t->flags | TCB_MORE : t->flags & ~(uint32_t)TCB_MORE;
	tcp_want_output(s, sk);
}

static uint32_t client_state(const struct sock_rec *k, const struct tcp_rec *t)
{
	bool fin = t->flags & TCB_FIN_RCVD, eof = fin || (k->flags & SOCK_F_SHUT_RD);
	bool shut = (t->flags & TCB_FIN_WANTED) || (k->flags & SOCK_F_SHUT_WR);
	uint32_t st = (fin ? CM_ST_FIN : 0u) | (eof ? CM_ST_RX_EOF : 0u) | (shut ? CM_ST_TX_SHUT : 0u) |
		      (eof && shut ? CM_ST_HUP : 0u);

	switch (t->state) {
	case TCPS_LISTEN:
		return CM_ST_LISTENING;
	case TCPS_SYN_SENT:
	case TCPS_SYN_RECV:
		return CM_ST_CONNECTING | st;
	case TCPS_CLOSE:
		if (t->flags & TCB_DEAD)
			return CM_ST_DEAD | CM_ST_HUP | st | (t->flags & TCB_WAS_OPEN ? CM_ST_CONNECTED : 0u);
		if (t->flags & TCB_WAS_OPEN)
			return CM_ST_CONNECTED | CM_ST_RX_EOF | CM_ST_TX_SHUT | CM_ST_HUP | st;
		return st;
	default:
		return CM_ST_CONNECTED | st;
	}
}

static void tcp_publish(const struct stack *s, uint32_t sk, struct sock_view *v)
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);
	const struct tcp_listener *q = queue_of(s, sk);

	if (!t || !k)
		return;
	v->state = client_state(k, t);
	v->rx_tail = rx_tail_of(t);
	v->tx_head = tx_head_of(t);
	v->accept_ready = t->state == TCPS_LISTEN && q ? q->ready : 0;
	v->tx_sent = fin_sent(t) ? t->tx_tail : t->snd_nxt;
	v->notsent_lowat = t->notsent_lowat;
	v->notsent_most = t->notsent_lowat ? tcp_notsent_most(t) : 0;
	if (sockx_peek(s, sk)->flags & SOCKX_URGENT_IN)
		v->urgent = sockx_peek(s, sk)->rcv_up + 1;
	if (k->flags & SOCK_F_TIMESTAMP)
		v->rx_time = sockx_peek(s, sk)->rx_time;
	if (k->flags & SOCK_F_OOBINLINE)
		v->state |= CM_ST_OOBINLINE;
	if (receive_acks_reading(t))
		v->state |= CM_ST_ACK_OWED;
	v->tcp_state = t->state;
}

static void tcp_live_range(
    const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to)
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	*from = *to = 0;
	if (!t)
		return;
	*from = rx ? t->rx_head : tx_head_of(t);
	*to = rx ? rx_tail_of(t) : t->tx_tail;
	if (rx && x && x->n_ooo)
		*to = max_of(*to, x->ooo[x->n_ooo - 1].end);
}

const struct sock_ops tcp_ops = {
    .name = "tcp",
    .create = tcp_create,
    .bind = tcp_bind,
    .listen = tcp_listen,
    .connect = tcp_connect,
    .disconnect = tcp_disconnect,
    .accept = tcp_accept,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .poke = tcp_poke,
    .hint = tcp_hint,
    .setsockopt = tcp_setsockopt,
    .getsockopt = tcp_getsockopt,
    .publish = tcp_publish,
    .live_range = tcp_live_range,
};
