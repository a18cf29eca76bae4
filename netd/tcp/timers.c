/*
 * All timers of TCP. Deadlines are facts of the records; a record has one entry in state/timer.h, for the earliest of
 * them.
 *
 * KIND_TCP, rtx_at (one at a time, rtx_kind says which):
 *   retransmission  the oldest segment was not acknowledged in time: RFC 6298, doubling, from 200 ms to 120 s.
 *                   SYNs: 1 s, from the sixth on doubling, 4 + 6 times (4 + TCP_SYNCNT), but not longer than so many would
 *                   take that all double. Data: as long as 15 times take, without owner 8 times; or until
 *                   TCP_USER_TIMEOUT. A router that says that there is no way takes one doubling back (error.c)
 *   tail probe      two round trips after the last segment of a flight, or when the retransmission timer would run out
 *                   first: it may have been lost without anything behind it to tell (RFC 8985, 7); then the
 *                   retransmission timer. Never in recovery
 *   reordering      what is missing is only late until then (rack.c)
 *   persist         the peer's window is closed, or too small, and nothing is in flight: a probe, ever more rarely as
 *                   retransmissions, as long as the peer answers; also ends TCP_CORK after 200 ms
 * KIND_TCP, ack_at: delayed acknowledgement, 40 ms after the first segment that is owed one
 * KIND_TCP, keep_at: SO_KEEPALIVE, after TCP_KEEPIDLE of silence, each TCP_KEEPINTVL, TCP_KEEPCNT times
 * KIND_TCP, nothing of its own: a receive ring that has been empty for 10 s is given back; the moment follows from
 *   rcv_ms. A ring that is in use is looked at once in this time
 * KIND_SYNRCV: SYN-ACK again, 1 s, doubling, 5 times (listen.c)
 * KIND_TIMEWAIT: the end of TIME_WAIT, 60 s, or of FIN_WAIT2 without owner, 60 s (TCP_LINGER2; timewait.c)
 *
 * A pause of the daemon is taken out of rtx_at, and of KIND_SYNRCV's; the others go on with the clock.
 */
#include "tcp/layer.h"
#include "inet/sockx.h"
#include "tcp/tcp.h"
#include <limits.h>

#define RING_IDLE_NS (10 * NSEC_PER_SEC)
#define PROBE_MIN_NS (5 * NSEC_PER_MSEC)
#define PROBE_ALONE_NS                                                                             \
	(200 * NSEC_PER_MSEC) /* a single segment: its acknowledgement may be delayed */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return b && b < a ? b : a;
}

/* When the receive ring is to be looked at for having been empty; 0: it is not. */
static uint64_t ring_idle_at(const struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	if ((x && x->n_ooo) || (sockx_peek(s, sk)->flags & SOCKX_URGENT_IN)) /* out of band it may be read still */
		return 0;
	return k && k->rx.cap && t->rx_head == rx_tail_of(t) && t->rcv_ms ? clock_of_mark(s, t->rcv_ms) + RING_IDLE_NS : 0;
}

/* What the ring could take was promised to the peer: the next one is as large. */
static void give_ring_back(struct stack *s, uint32_t sk)
{
	uint32_t cap = sock_peek(s, sk)->rx.cap;

	if (sock_rx_give_back(s, sk))
		tcb_get(s, sk)->rx_cap = cap;
}

void timer_arm(struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	uint64_t at = UINT64_MAX;

	at = earlier(at, ring_idle_at(s, sk, t));

	at = earlier(at, t->rtx_at);
	at = earlier(at, t->ack_at);
	at = earlier(at, t->keep_at);
	timer_set(s->timers, KIND_TCP, sk, at);
}

/* ---- setting */

/* RFC 8985, 7.2: not later than the retransmission timer would run out. */
static uint64_t probe_timeout(const struct stack *s, const struct tcp_rec *t)
{
	uint64_t pto = 2ull * t->srtt * NSEC_PER_USEC, rto_at = t->stall_at + rto_of(t);

	if (flight_of(t) <= t->mss)
		pto += PROBE_ALONE_NS;
	return min_of(max_of(pto, PROBE_MIN_NS), rto_at > s->now ? rto_at - s->now : 0);
}

static void start_rtx(
    struct stack *s, const struct sock_rec *k, struct tcp_rec *t, enum tcb_rtx kind, uint64_t in)
{
	uint64_t until = t->stall_at + k->user_timeout_ms * NSEC_PER_MSEC;

	t->rtx_kind = (uint8_t)kind;
	t->rtx_at = s->now + in;
	if (k->user_timeout_ms && until > s->now)
		t->rtx_at = min_of(t->rtx_at, until);
}

/* RFC 8985, 6.3: until something that is missing is lost. */
static uint64_t reorder_wait(const struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	const struct tcpx_rec *x = t->flags & TCB_SACK ? tcpx_peek(s, sk) : NULL;

	return x ? rack_wait(s, t, x) * NSEC_PER_USEC : 0;
}

void timer_rtx(struct stack *s, uint32_t sk, struct tcp_rec *t, bool restart, bool window_closed)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint64_t rto = rto_of(t), wait = reorder_wait(s, sk, t);

	if (flight_of(t) && wait) {
		if (t->rtx_kind == RTX_REORDER || !t->rtx_at || s->now + wait < t->rtx_at)
			start_rtx(s, k, t, RTX_REORDER, wait);
		return;
	}
	if (t->rtx_kind == RTX_REORDER)
		restart = true;
	if (flight_of(t)) {
		if (!restart && t->rtx_at && t->rtx_kind != RTX_PERSIST)
			return;
		if ((t->flags & TCB_SACK) && t->srtt && (t->ca_state == CA_OPEN || t->ca_state == CA_CWR) && !t->retries &&
		    !(t->flags & TCB_PROBED))
			start_rtx(s, k, t, RTX_PROBE, probe_timeout(s, t));
		else
			start_rtx(s, k, t, RTX_RTO, rto);
		return;
	}
	if (window_closed && t->tx_tail > t->snd_nxt) {
		if (t->rtx_kind == RTX_PERSIST && t->rtx_at)
			return;
		if (!t->retries)
			t->stall_at = s->now;
		start_rtx(s, k, t, RTX_PERSIST, rto);
		return;
	}
	t->rtx_at = 0;
	t->rtx_kind = RTX_NONE;
}

static uint64_t keep_idle(const struct sock_rec *k)
{
	return (k->keep_idle_s ? k->keep_idle_s : 7200) * NSEC_PER_SEC;
}

void timer_keepalive(struct stack *s, const struct sock_rec *k, struct tcp_rec *t)
{
	t->keep_probes = 0;
	t->keep_at = k->flags & SOCK_F_KEEPALIVE && state_synchronized(t->state)
			 ? max_of(clock_of_mark(s, t->rcv_ms) + keep_idle(k), s->now + 1)
			 : 0;
}

/* ---- running out; all return false if the socket is gone */

static unsigned data_retries(const struct sock_rec *k)
{
	return k->flags & SOCK_F_ORPHAN ? TCP_ORPHAN_RETRIES : TCP_RTX_RETRIES;
}

/* Has the peer been silent for too long, after this many tries? */
static bool give_up(struct stack *s, const struct sock_rec *k, const struct tcp_rec *t,
    unsigned tries, unsigned limit)
{
	if (k->user_timeout_ms && s->now - t->stall_at >= k->user_timeout_ms * NSEC_PER_MSEC)
		return true;
	return tries >= limit;
}

/* It took back the window that the data was sent into, and is there (RFC 9293, 3.8.6.2.1): what is sent again is a probe. */
static bool window_withdrawn(const struct stack *s, const struct sock_rec *k, const struct tcp_rec *t)
{
	return t->snd_edge <= t->snd_una && !(k->flags & SOCK_F_ORPHAN) &&
	       s->now - clock_of_mark(s, t->rcv_ms) <= 2ull * TCP_RTO_MAX_US * NSEC_PER_USEC;
}

static void one_more_try(struct tcp_rec *t)
{
	if (t->retries < UINT8_MAX)
		t->retries++;
}

static bool timed_out(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	return tcp_done(s, sk, t, t->soft_err ? t->soft_err : ETIMEDOUT);
}

/* So long so many tries take that begin with this timeout, as the kernel counts them: some may have been for nothing
 * (error.c), and then a connection must end all the same. */
static uint64_t patience(uint64_t us, unsigned tries)
{
	uint64_t total = us;

	for (; tries; tries--) {
		us = min_of(2 * us, (uint64_t)TCP_RTO_MAX_US);
		total += us;
	}
	return total * NSEC_PER_USEC;
}

static bool rtx_syn(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	unsigned most = k->syncnt ? k->syncnt : TCP_SYN_RETRIES;
	bool late = !k->user_timeout_ms && s->now - t->stall_at >= patience(TCP_RTO_FIRST_US, most);

	if (give_up(s, k, t, t->retries, most + (t->state == TCPS_SYN_SENT ? TCP_SYN_LINEAR : 0)) || late)
		return timed_out(s, sk, t);
	one_more_try(t);
	t->total_retrans++;
	s->count.tcp_rto++;
	t->flags |= TCB_SYN_NOW;
	start_rtx(s, k, t, RTX_RTO, rto_of(t));
	tcp_want_output(s, sk);
	return true;
}

static bool rtx_data(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	bool withdrawn = window_withdrawn(s, k, t);

	if (give_up(s, k, t, 0, UINT_MAX) || (!withdrawn && s->now - t->stall_at >= patience(TCP_RTO_MIN_US, data_retries(k))))
		return timed_out(s, sk, t);
	one_more_try(t);
	s->count.tcp_rto++;
	if (!withdrawn)
		blackhole_timeout(s, sk, t);
	recovery_timeout(s, sk, t);
	start_rtx(s, k, t, RTX_RTO, rto_of(t));
	tcp_want_output(s, sk);
	sock_changed(s, sk);
	return true;
}

static bool persist(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);

	if (give_up(s, k, t, t->keep_probes, data_retries(k)))
		return timed_out(s, sk, t);
	t->keep_probes++;
	one_more_try(t);
	if (t->snd_edge > t->snd_nxt) {
		t->flags |= TCB_FORCE; /* what fits, however little */
		tcp_want_output(s, sk);
	} else {
		tcp_send_keepalive(s, sk, t);
	}
	start_rtx(s, k, t, RTX_PERSIST, rto_of(t));
	return true;
}

static bool probe_tail(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	t->flags |= TCB_PROBED;
	tcp_send_probe(s, sk, t);
	start_rtx(s, sock_peek(s, sk), t, RTX_RTO, rto_of(t));
	return true;
}

static bool run_rtx(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	enum tcb_rtx kind = t->rtx_kind;

	t->rtx_at = 0;
	if (t->state == TCPS_SYN_SENT || t->state == TCPS_SYN_RECV)
		return rtx_syn(s, sk, t);
	if (kind == RTX_PERSIST)
		return persist(s, sk, t);
	if (!flight_of(t))
		return true;
	if (kind == RTX_REORDER) {
		recovery_reorder_timeout(s, sk, t);
		tcp_want_output(s, sk);
		return true;
	}
	return kind == RTX_PROBE ? probe_tail(s, sk, t) : rtx_data(s, sk, t);
}

static bool run_keepalive(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint64_t idle = keep_idle(k), since = s->now - clock_of_mark(s, t->rcv_ms);
	uint32_t cnt = k->keep_cnt ? k->keep_cnt : 9,
		 intvl = k->keep_intvl_s ? k->keep_intvl_s : 75;

	t->keep_at = 0;
	if (!(k->flags & SOCK_F_KEEPALIVE) || !state_synchronized(t->state))
		return true;
	if (flight_of(t) || t->tx_tail > t->snd_nxt) { /* other timers see to it */
		t->keep_at = s->now + idle;
		return true;
	}
	if (since < idle) {
		t->keep_at = clock_of_mark(s, t->rcv_ms) + idle;
		return true;
	}
	if (k->user_timeout_ms ? t->keep_probes && since >= k->user_timeout_ms * NSEC_PER_MSEC
			       : t->keep_probes >= cnt) {
		tcp_abort(s, sk, t, t->soft_err ? t->soft_err : ETIMEDOUT);
		return false;
	}
	t->keep_probes++;
	tcp_send_keepalive(s, sk, t);
	t->keep_at = s->now + intvl * NSEC_PER_SEC;
	return true;
}

bool timer_run(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	if (t->ack_at && t->ack_at <= s->now) {
		t->ack_at = 0;
		t->flags &= ~(uint32_t)TCB_PINGPONG; /* no answer came */
		t->flags |= TCB_ACK_NOW;
		tcp_want_output(s, sk);
	}
	if (t->rtx_at && t->rtx_at <= s->now && !run_rtx(s, sk, t))
		return false;
	if (t->keep_at && t->keep_at <= s->now && !run_keepalive(s, sk, t))
		return false;
	return true;
}

static bool due(const struct stack *s, const struct tcp_rec *t)
{
	return (t->rtx_at && t->rtx_at <= s->now) || (t->ack_at && t->ack_at <= s->now) ||
	       (t->keep_at && t->keep_at <= s->now);
}

void tcp_expired(struct stack *s, uint32_t sk)
{
	const struct tcp_rec *t = tcb_peek(s, sk);

	resume_walk(s);
	if (t && sock_peek(s, sk) && due(s, t))
		timer_run(s, sk, tcb_get(s, sk));
	t = tcb_peek(s, sk);
	if (t && ring_idle_at(s, sk, t) && ring_idle_at(s, sk, t) <= s->now)
		give_ring_back(s, sk);
	if (t)
		timer_arm(s, sk, tcb_peek(s, sk));
}
