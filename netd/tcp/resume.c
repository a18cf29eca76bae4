/*
 * After a restart: of the daemon (everything derived is made again, the pause is taken out of the
 * timers), or of a driver (frames may be lost: peers are woken).
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include "base/log.h"
#include <sys/socket.h>

#define WAKE_BATCH 256
#define WAKE_NS	   NSEC_PER_MSEC
#define ACTIVE_NS  NSEC_PER_SEC

/*
 * The control block of a socket was corrupt. The INET layer is not there yet: tcp_reindex() finds
 * the socket without one.
 */
void tcp_lost(struct stack *s, uint32_t sk)
{
	(void)s;
	log_error("tcp %u: its control block is lost, the connection is reset", sk);
}

/* A socket without control block gets a new one: a listener goes on, a connection is reset. */
static int revive(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct tcp_rec *t = state_alloc_at(s->state, KIND_TCP, sk);

	if (!t)
		return -ENOMEM;
	if (k->flags & SOCK_F_LISTEN) {
		t->state = TCPS_LISTEN;
		return 0;
	}
	t->state = TCPS_CLOSE;
	t->flags = TCB_LOST | TCB_DEAD;
	sock_unhash(s, sk);
	if ((k->flags & SOCK_F_ORPHAN))
		tcp_free(s, sk);
	else
		sock_set_error(s, sk, ECONNRESET);
	return 0;
}

static int revive_all(struct stack *s)
{
	for (uint32_t sk = state_next(s->state, KIND_SOCK, 0); sk != NO_INDEX;
	     sk = state_next(s->state, KIND_SOCK, sk + 1)) {
		int ret = 0;

		if (sock_peek(s, sk)->type == SOCK_STREAM && !state_live(s->state, KIND_TCP, sk))
			ret = revive(s, sk);
		if (ret)
			return ret;
	}
	for (uint32_t sk = state_next(s->state, KIND_TCP, 0); sk != NO_INDEX;
	     sk = state_next(s->state, KIND_TCP, sk + 1))
		if (!state_live(s->state, KIND_SOCK, sk))
			state_free(s->state, KIND_TCP, sk);
	for (uint32_t sk = state_next(s->state, KIND_TCPX, 0); sk != NO_INDEX;
	     sk = state_next(s->state, KIND_TCPX, sk + 1))
		if (!state_live(s->state, KIND_TCP, sk))
			state_free(s->state, KIND_TCPX, sk);
	return 0;
}

/* Could it have stood in the list of those that want a look, or of those whose device was full? */
static bool may_send(const struct tcp_rec *t)
{
	return !state_synchronized(t->state) || t->tx_tail > t->snd_una ||
	       ((t->flags & TCB_FIN_WANTED) && !fin_acked(t)) ||
	       (t->flags & (TCB_ACK_NOW | TCB_RTX_NOW | TCB_SYN_NOW | TCB_FORCE | TCB_PROGRESS));
}

static int index_one(struct stack *s, uint32_t sk, struct queue_waiting *waiting)
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);

	if (t->flags & TCB_ORPHAN)
		tcp_of(s)->orphans++;
	if (t->state == TCPS_LISTEN)
		return queue_open(s, sk);
	if (k->listener != NO_INDEX && queue_note(waiting, k, sk))
		return -ENOMEM;
	if (t->state == TCPS_CLOSE)
		return 0;
	/* Its transmit ring cannot be where the record says: bytes that were promised are lost. */
	if (state_synchronized(t->state) && (!k->tx.cap || !(k->flags & SOCK_F_HASHED))) {
		tcp_abort(s, sk, tcb_get(s, sk), ECONNRESET);
		return 0;
	}
	timer_arm(s, sk, t);
	if (may_send(t))
		tcp_want_output(s, sk);
	return 0;
}

int tcp_reindex(struct stack *s)
{
	struct queue_waiting waiting = {.n = 0};
	int ret = revive_all(s);

	for (uint32_t sk = state_next(s->state, KIND_TCP, 0); sk != NO_INDEX && !ret;
	     sk = state_next(s->state, KIND_TCP, sk + 1)) {
		state_prefetch(s->state, KIND_SOCK, sk + PREFETCH_AHEAD);
		ret = index_one(s, sk, &waiting);
	}
	queue_reindex(s, &waiting);
	if (!ret)
		ret = synrcv_reindex(s);
	return ret ? ret : timewait_reindex(s);
}

static void shift(uint64_t *at, uint64_t by)
{
	if (*at)
		*at += by;
}

/*
 * Had it anything under way? What an idle connection remembers (when it last sent, say) is not worth a new
 * image of each: of many connections most are idle.
 */
static bool was_active(const struct stack *s, const struct tcp_rec *t, uint64_t pause_ns)
{
	uint64_t lately = pause_ns + ACTIVE_NS;

	return t->rtx_at || clock_ms(s) - t->sent_ms < lately / NSEC_PER_MSEC ||
	       clock_us(s) - t->tune_us < lately / NSEC_PER_USEC;
}

void tcp_resume(struct stack *s, uint64_t pause_ns)
{
	for (uint32_t sk = state_next(s->state, KIND_TCP, 0); sk != NO_INDEX;
	     sk = state_next(s->state, KIND_TCP, sk + 1)) {
		struct tcp_rec *t;

		if (!was_active(s, tcb_peek(s, sk), pause_ns))
			continue;
		t = tcb_get(s, sk);
		if (!t)
			continue;
		shift(&t->rtx_at, pause_ns);
		if (tcpx_peek(s, sk))
			rack_shift(tcpx_get(s, sk), (uint32_t)(pause_ns / NSEC_PER_USEC));
		if (t->sent_ms)
			t->sent_ms += (uint32_t)(pause_ns / NSEC_PER_MSEC);
		if (congestion_of(t) == &congestion_cubic && !in_first_slow_start(t) && t->epoch_ms)
			t->epoch_ms += (uint32_t)(pause_ns / NSEC_PER_MSEC);
		if (t->tune_us)
			t->tune_us += (uint32_t)(pause_ns / NSEC_PER_USEC);
		if (t->state != TCPS_CLOSE && t->state != TCPS_LISTEN)
			timer_arm(s, sk, t);
	}
	for (uint32_t i = state_next(s->state, KIND_SYNRCV, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SYNRCV, i + 1)) {
		struct synrcv_rec *r = state_get(s->state, KIND_SYNRCV, i);

		if (r)
			shift(&r->rtx_at, pause_ns);
	}
}

/* ---- a driver's restart */

static void wake(struct stack *s, uint32_t sk, uint32_t dev)
{
	const struct tcp_rec *p = tcb_peek(s, sk);
	const struct sock_rec *k = sock_peek(s, sk);
	struct tcp_rec *t;
	struct route r;

	if (!k ||
	    !(state_synchronized(p->state) || p->state == TCPS_SYN_SENT ||
		p->state == TCPS_SYN_RECV) ||
	    ip_route(s, &k->remote.addr, &k->local.addr, k->bound_dev, &r) || r.dev != dev)
		return;
	t = tcb_get(s, sk);
	if (!t)
		return;
	if (!state_synchronized(t->state)) {
		t->flags |= TCB_SYN_NOW;
	} else {
		t->flags |= TCB_ACK_NOW; /* the last acknowledgement and the window again */
		if (flight_of(t)) {
			t->rtx_kind = RTX_PROBE;
			t->rtx_at = s->now;
		}
	}
	timer_arm(s, sk, t);
	tcp_want_output(s, sk);
}

/* The next batch, if a walk is on and its moment has come. */
void resume_walk(struct stack *s)
{
	struct tcp_layer *l = tcp_of(s);
	uint32_t sk;

	if (l->wake_dev == NO_INDEX || s->now < l->wake_at)
		return;
	sk = state_next(s->state, KIND_TCP, l->wake_next);
	for (unsigned n = 0; sk != NO_INDEX && n < WAKE_BATCH;
	     n++, sk = state_next(s->state, KIND_TCP, sk + 1))
		wake(s, sk, l->wake_dev);
	l->wake_next = sk;
	l->wake_at = s->now + WAKE_NS;
	if (sk == NO_INDEX)
		l->wake_dev = NO_INDEX;
	else
		timer_set(s->timers, KIND_TCP, sk, l->wake_at);
}

void tcp_driver_restarted(struct stack *s, uint32_t dev)
{
	struct tcp_layer *l = tcp_of(s);

	l->wake_dev = dev;
	l->wake_next = 0;
	l->wake_at = s->now;
	resume_walk(s);
}
