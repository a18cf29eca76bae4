/*
 * All ways out of a connection.
 *
 *   shutdown(SHUT_WR)     what was written is delivered, then a FIN
 *   close()               the same without owner; but a RST if input is left unread (RFC 2525, 2.17), or
 *                         SO_LINGER is on with 0 seconds, or there are too many orphans
 *   the owner was killed  as close()
 *   reset, timeout        tcp_done() with an error, or tcp_abort(), which tells the peer
 *
 * An orphan needs its transmit ring until the last byte is acknowledged. As soon as our FIN is, what
 * remains is a small KIND_TIMEWAIT record, and the socket is free.
 */
#include "tcp/layer.h"
#include "base/log.h"
#include <sys/socket.h>

bool tcp_done(struct stack *s, uint32_t sk, struct tcp_rec *t, int err)
{
	const struct sock_rec *k = sock_peek(s, sk);
	bool was_open = state_synchronized(t->state);

	if (t->state == TCPS_LISTEN)
		tcp_stop_listening(s, sk);
	tcp_set_state(s, sk, t, tcp_next_state(t->state, TCP_EV_OVER));
	t->flags |= (err ? TCB_DEAD : 0u) | (was_open || !err ? TCB_WAS_OPEN : 0u);
	t->flags &= ~(uint32_t)(TCB_URGENT | TCB_MORE | TCB_ACK_NOW | TCB_RTX_NOW | TCB_SYN_NOW | TCB_TIMING);
	t->ca_state = CA_OPEN;
	t->rtx_kind = RTX_NONE;
	t->rtx_at = t->ack_at = t->keep_at = 0;
	tcp_keep_times(s, t, false);
	state_free(s->state, KIND_TCPX, sk);
	sock_unhash(s, sk);
	if (k->flags & SOCK_F_ORPHAN) {
		tcp_free(s, sk);
		return false;
	}
	port_give_back(s, sk);
	if (err)
		sock_set_error(s, sk, err);
	sock_changed(s, sk);
	return false;
}

void tcp_abort(struct stack *s, uint32_t sk, struct tcp_rec *t, int err)
{
	if (state_synchronized(t->state) || t->state == TCPS_SYN_RECV)
		tcp_send_rst(s, sk, t);
	(void)tcp_done(s, sk, t, err);
}

/*
 * Closed by its owner in a way that means a reset. What was written before goes out as far as the windows let it, for the
 * kernel would have sent it when it was written. A dead owner's is not looked at: its memory may be lost.
 */
static void reset_by_owner(struct stack *s, uint32_t sk, struct tcp_rec *t, bool killed)
{
	if (!killed)
		tcp_output(s, sk, t);
	tcp_abort(s, sk, t, 0);
}

/* The stream ends at tx_tail. */
static void send_fin(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	if (t->flags & TCB_FIN_WANTED)
		return;
	t->flags |= TCB_FIN_WANTED;
	(void)tcp_event(s, sk, t, TCP_EV_CLOSE);
	tcp_want_output(s, sk);
}

/* ---- requests */

int tcp_shutdown(struct stack *s, uint32_t sk, int how)
{
	struct tcp_rec *t = tcb_get(s, sk);
	struct sock_rec *k = sock_get(s, sk);

	if (!t || !k)
		return -ENOMEM;
	switch (t->state) {
	case TCPS_CLOSE: /* refused, but remembered, as in the kernel */
		k->flags |= (how != SHUT_WR ? SOCK_F_SHUT_RD : 0u) | (how != SHUT_RD ? SOCK_F_SHUT_WR : 0u);
		sock_changed(s, sk);
		return -ENOTCONN;
	case TCPS_LISTEN:
		if (how != SHUT_WR) {
			tcp_stop_listening(s, sk);
			tcp_set_state(s, sk, t, TCPS_CLOSE);
		}
		return 0;
	case TCPS_SYN_SENT:
		return tcp_disconnect(s, sk);
	default:
		break;
	}
	if (how != SHUT_WR)
		k->flags |= SOCK_F_SHUT_RD;
	if (how != SHUT_RD) {
		k->flags |= SOCK_F_SHUT_WR;
		send_fin(s, sk, t);
	}
	sock_changed(s, sk);
	return 0;
}

int tcp_disconnect(struct stack *s, uint32_t sk)
{
	struct tcp_rec *t = tcb_get(s, sk);
	struct sock_rec *k = sock_get(s, sk);

	if (!t || !k)
		return -ENOMEM;
	if (t->state == TCPS_LISTEN) {
		tcp_stop_listening(s, sk);
		tcp_set_state(s, sk, t, TCPS_CLOSE);
	} else if (t->state != TCPS_CLOSE) {
		reset_by_owner(s, sk, t, false);
		sock_set_error(s, sk, ECONNRESET); /* whoever still uses it hears of it */
	}
	t->flags &=
	    ~(uint32_t)(TCB_WAS_OPEN | TCB_DEAD | TCB_FIN_WANTED | TCB_FIN_RCVD | TCB_FIN_SEEN);
	t->snd_una = t->snd_nxt = t->tx_tail; /* what was not sent never will be */
	k->flags &= ~(uint32_t)(SOCK_F_SHUT_RD | SOCK_F_SHUT_WR);
	k->remote = (struct endpoint){.port = 0};
	port_give_back(s, sk);
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		memset(&k->local.addr, 0, sizeof(k->local.addr));
	sock_changed(s, sk);
	return 0;
}

/* Does closing now lose something that the peer has been told we have? */
static bool must_reset(struct stack *s, const struct sock_rec *k, const struct tcp_rec *t)
{
	if (rx_tail_of(t) > t->rx_head)
		return true;
	if ((k->flags & SOCK_F_LINGER) && !k->linger_s)
		return true;
	return tcp_of(s)->orphans >= TCP_ORPHANS_MAX;
}

static void make_orphan(struct stack *s, struct tcp_rec *t)
{
	if (t->flags & TCB_ORPHAN)
		return;
	t->flags |= TCB_ORPHAN;
	tcp_of(s)->orphans++;
}

void tcp_close(struct stack *s, uint32_t sk, bool killed)
{
	struct tcp_rec *t = tcb_get(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);

	if (!t || !k)
		return;
	if (killed)
		log_debug("tcp %u: its owner is gone", sk);
	switch (t->state) {
	case TCPS_LISTEN:
	case TCPS_SYN_SENT:
		(void)tcp_done(s, sk, t, 0);
		return;
	case TCPS_CLOSE:
		tcp_free(s, sk);
		return;
	case TCPS_FIN_WAIT2:
		if (must_reset(s, k, t))
			tcp_abort(s, sk, t, 0);
		else
			timewait_enter(s, sk, t, TCPS_FIN_WAIT2);
		return;
	default:
		break;
	}
	if (must_reset(s, k, t)) {
		reset_by_owner(s, sk, t, killed);
		return;
	}
	make_orphan(s, t);
	t->retries = 0;
	send_fin(s, sk, t);
	timer_arm(s, sk, t);
}
