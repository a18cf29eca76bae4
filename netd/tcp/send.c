/*
 * Output of a connection: tcp_output() sends whatever may be sent now.
 *
 * Order: a SYN that is due; lost pieces; new data; and if nothing of that carried it, an
 * acknowledgement of its own. What holds data back: the peer's window, the congestion window less
 * what is in the network (recovery_pipe), Nagle's rule in Minshall's form, TCP_CORK, and a silly
 * window (RFC 9293, 3.8.6.2.1). A full device stops everything; it goes on when there is room
 * again.
 */
#include "tcp/layer.h"
#include "device/neigh.h"

enum verdict {
	SENT,	 /* go on */
	NOTHING, /* nothing is left that may go */
	WINDOW,	 /* the peer's window holds data back */
	CWND,	 /* the congestion window does */
	DEVICE,	 /* the device does */
};

/* Largest payload of one packet: whole segments, as long as IP and the device allow. */
static uint32_t burst_max(const struct tcp_rec *t, const struct tcp_path *path, uint32_t full)
{
	uint32_t most = 65535u - 20 - TCP_LEN_MAX;

	return path->tso && most > full && !(t->flags & (TCB_URGENT | TCB_ECN_CWR)) ? most - most % full : full;
}

/* The kernel's buffers are as long as a super-frame, and half of the largest window; one is begun while fewer bytes are unsent. */
uint64_t tcp_notsent_most(const struct tcp_rec *t)
{
	uint32_t wnd = t->max_wnd > TCP_MSS_DEFAULT ? t->max_wnd / 2 : t->max_wnd;
	uint32_t mss = max_of(t->mss, TCP_MSS_MIN), buffer = min_of(65535u - 20 - TCP_LEN_MAX, wnd);

	buffer = max_of(buffer - buffer % mss, mss);
	return ((uint64_t)t->notsent_lowat + buffer - 1) / buffer * buffer;
}

static bool is_corked(const struct sock_rec *k, const struct tcp_rec *t)
{
	return (k->flags & SOCK_F_CORK) || (t->flags & TCB_MORE);
}

/* Of a small segment that went long ago the low half of the offset says nothing: it may be anywhere. */
static bool small_in_flight(const struct tcp_rec *t)
{
	return seq_after(t->snd_sml, (uint32_t)t->snd_una) && !seq_after(t->snd_sml, (uint32_t)t->snd_nxt);
}

/* May this many bytes, less than a full segment and all there are, go? */
static bool small_may_go(const struct sock_rec *k, const struct tcp_rec *t)
{
	if (t->flags & (TCB_FIN_WANTED | TCB_FORCE | TCB_URGENT))
		return true;
	if (is_corked(k, t))
		return false;
	return (k->flags & SOCK_F_NODELAY) || !small_in_flight(t);
}

/* How much of the `avail` new bytes may go in one packet now; 0 and why not. */
static uint32_t how_much(const struct sock_rec *k, const struct tcp_rec *t,
    const struct tcp_path *path, uint32_t full, uint64_t avail, uint64_t pipe, enum verdict *why)
{
	uint64_t wnd = t->snd_edge > t->snd_nxt ? t->snd_edge - t->snd_nxt : 0;
	uint64_t room = t->cwnd > pipe ? t->cwnd - pipe : 0, n = min_of(avail, wnd);

	if (n > room) {
		n = room >= full ? room : 0;
		*why = CWND;
	} else if (n < avail) {
		*why = WINDOW;
	} else {
		*why = NOTHING;
	}
	if (n >= full) {
		n = min_of(n, (uint64_t)burst_max(t, path, full));
		if (n == avail && n % full && !small_may_go(k, t))
			n -= n % full;
		return (uint32_t)(n == avail ? n : n - n % full);
	}
	if (n == avail)
		return n && small_may_go(k, t) ? (uint32_t)n : 0;
	/* Cut short by the window: worth it only if it is large for this peer. */
	if (n && *why == WINDOW && (n >= t->max_wnd / 2 || (t->flags & TCB_FORCE)))
		return (uint32_t)n;
	return 0;
}

static void start_timing(struct stack *s, struct tcp_rec *t)
{
	if (t->flags & TCB_TIMING)
		return;
	t->flags |= TCB_TIMING;
	t->rtt_pos = (uint32_t)t->snd_nxt;
	t->rtt_us = clock_us(s);
}

static void data_sent(struct stack *s, struct tcp_rec *t, uint32_t len, uint32_t full)
{
	if (!flight_of(t)) {
		t->stall_at = s->now;
		t->retries = 0; /* probes of a closed window are over */
	}
	if (t->rtx_kind == RTX_PROBE) { /* the tail is another one now */
		t->rtx_at = 0;
		t->rtx_kind = RTX_NONE;
	}
	t->snd_nxt += len;
	if (len % full)
		t->snd_sml = (uint32_t)t->snd_nxt;
	t->sent_ms = clock_mark_ms(s);
	/* An application that answers: the answers carry the acknowledgements. */
	if (t->rcv_nxt && clock_ms(s) - t->rcv_data_ms < TCP_DELACK_NS / NSEC_PER_MSEC) {
		t->quick = 0;
		t->flags |= TCB_PINGPONG;
	}
}

/* Of a super-frame: the peer's device joins segments and hands them up at a PSH, and the next ones are not near. */
static uint8_t push_of(uint32_t len, uint32_t full)
{
	return len > full ? TCP_F_PSH : 0;
}

/* Less than asked for, and then without the flags of its end, if chunks are smaller here. False: no room. */
static bool transmit_fitting(struct stack *s, uint32_t sk, struct tcp_rec *t,
    const struct tcp_path *path, uint8_t *flags, uint64_t off, uint32_t *n)
{
	uint32_t full = tcp_payload_max(s, sk, t);
	int ret;

	while ((ret = tcp_transmit(s, sk, t, path, *flags, off, *n)) == -EMSGSIZE && *n > full) {
		*n = *n / 2 > full ? *n / 2 - *n / 2 % full : full;
		*flags &= *n > full ? TCP_F_PSH : 0;
	}
	return !ret;
}

/* One larger segment amid the others: blackhole.c. */
static enum verdict send_trial(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path, uint64_t *pipe)
{
	uint64_t wnd = t->snd_edge > t->snd_nxt ? t->snd_edge - t->snd_nxt : 0;
	uint64_t room = min_of(t->tx_tail - t->snd_nxt, t->cwnd > *pipe ? t->cwnd - *pipe : 0);
	uint32_t low = t->mss, n;
	int ret;

	room = min_of(room, wnd);
	n = blackhole_trial(s, sk, t, path->mss, room);
	if (!n)
		return NOTHING;
	t->mss = n;
	ret = tcp_payload_max(s, sk, t) == n ? tcp_transmit(s, sk, t, path, 0, t->snd_nxt, n) : -EMSGSIZE;
	t->mss = low;
	if (ret)
		return ret == -EMSGSIZE ? NOTHING : DEVICE;
	data_sent(s, t, n, n);
	recovery_sent_new(s, sk, t, n);
	start_timing(s, t);
	blackhole_tried(s, sk, t, n);
	*pipe += n;
	return SENT;
}

static enum verdict send_new(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path, uint64_t *pipe)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint64_t avail = t->tx_tail > t->snd_nxt ? t->tx_tail - t->snd_nxt : 0;
	uint32_t full = tcp_payload_max(s, sk, t), n;
	enum verdict why = NOTHING;
	uint8_t flags = 0;

	if (fin_sent(t) || (!avail && !(t->flags & TCB_FIN_WANTED)))
		return NOTHING;
	if ((t->flags & TCB_MSS_LOW) && avail && (why = send_trial(s, sk, t, path, pipe)) != NOTHING)
		return why;
	n = avail ? how_much(k, t, path, full, avail, *pipe, &why) : 0;
	if (avail && !n)
		return why;
	if (n == avail) {
		flags = (t->flags & TCB_MORE) && !t->keep_probes ? 0 : TCP_F_PSH; /* a probe pushes */
		if (t->flags & TCB_FIN_WANTED)
			flags = TCP_F_FIN | (n ? TCP_F_PSH : 0);
	}
	flags |= push_of(n, full);
	if (!transmit_fitting(s, sk, t, path, &flags, t->snd_nxt, &n))
		return DEVICE;
	data_sent(s, t, n + !!(flags & TCP_F_FIN), full);
	recovery_sent_new(s, sk, t, n);
	if (flags & TCP_F_FIN) {
		t->snd_sml = (uint32_t)t->snd_una;
		if (!n)
			t->flags |= TCB_FIN_ALONE;
	}
	start_timing(s, t);
	*pipe += n;
	return SENT;
}

static enum verdict send_lost(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path, uint64_t *pipe)
{
	uint32_t full = tcp_payload_max(s, sk, t), most = full, n, segments;
	uint64_t off, end, data_end;
	uint8_t flags = 0;

	if (!recovery_next(s, sk, t, &off, &end))
		return NOTHING;
	if (*pipe + full > t->cwnd && *pipe && !(t->flags & TCB_RTX_NOW))
		return CWND;
	if (t->cwnd > *pipe + full)
		most = (uint32_t)min_of(t->cwnd - *pipe, (uint64_t)burst_max(t, path, full));
	end = min_of(end, off + most - most % full);
	data_end = (t->flags & TCB_FIN_WANTED) ? min_of(end, t->tx_tail) : end;
	if (end > data_end)
		flags = TCP_F_FIN;
	n = (uint32_t)(data_end - off);
	flags |= n && data_end == t->tx_tail ? TCP_F_PSH : push_of(n, full);
	if (!transmit_fitting(s, sk, t, path, &flags, off, &n))
		return DEVICE;
	end = off + n + !!(flags & TCP_F_FIN);
	t->flags &= ~(uint32_t)(TCB_RTX_NOW | TCB_TIMING); /* Karn */
	recovery_sent(s, sk, t, off, end);
	segments = n > full ? (n + full - 1) / full : 1;
	t->total_retrans += segments;
	t->bytes_retrans += n;
	t->sent_ms = clock_mark_ms(s);
	s->count.tcp_retrans += segments;
	*pipe += end - off;
	return SENT;
}

static enum verdict send_data(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path)
{
	uint64_t pipe = recovery_pipe(s, sk, t), nxt = t->snd_nxt;
	enum verdict v;

	if (!flight_of(t) && t->tx_tail > t->snd_nxt)
		congestion_idle(s, t);
	do {
		if (!device_room(s, path->r.dev))
			return recovery_next(s, sk, t, &(uint64_t){0}, &(uint64_t){0}) ||
				       t->tx_tail > t->snd_nxt ||
				       ((t->flags & TCB_FIN_WANTED) && !fin_sent(t))
				   ? DEVICE
				   : NOTHING;
		v = send_lost(s, sk, t, path, &pipe);
		if (v == NOTHING) {
			t->flags &= ~(uint32_t)TCB_RTX_NOW;
			v = send_new(s, sk, t, path, &pipe);
		}
	} while (v == SENT);
	t->flags &= ~(uint32_t)TCB_FORCE;
	if (t->notsent_lowat && t->snd_nxt > nxt)
		sock_changed(s, sk); /* there may be room now, before anything is acknowledged */
	if (v == CWND || (t->snd_nxt > nxt && pipe + t->mss > t->cwnd))
		t->flags |= TCB_CWND_LIMITED;
	else if (v != DEVICE && t->snd_nxt > nxt)
		t->flags &= ~(uint32_t)TCB_CWND_LIMITED;
	return v;
}

static void output_syn(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path)
{
	if (!(t->flags & TCB_SYN_NOW))
		return;
	if (tcp_send_syn(s, sk, t, path)) {
		tcp_blocked(s, sk, path->r.dev);
		return;
	}
	t->flags &= ~(uint32_t)TCB_SYN_NOW;
	t->rtx_kind = RTX_RTO;
	t->rtx_at = s->now + rto_of(t);
	if (!t->retries) {
		t->flags |= TCB_TIMING;
		t->rtt_us = clock_us(s);
		t->stall_at = s->now;
	} else {
		t->flags &= ~(uint32_t)TCB_TIMING;
	}
}

/* A time that tcp_rec keeps runs, or it stands still. */
static void let_run(const struct stack *s, struct tcp_rec *t, uint32_t flag, uint32_t *ms, bool run)
{
	if (run == !!(t->flags & flag))
		return;
	t->flags ^= flag;
	*ms += run ? -clock_ms(s) : clock_ms(s);
}

void tcp_keep_times(const struct stack *s, struct tcp_rec *t, bool shut_out)
{
	bool busy = state_synchronized(t->state) && (flight_of(t) || t->tx_tail > t->snd_nxt);

	let_run(s, t, TCB_BUSY, &t->busy_ms, busy);
	let_run(s, t, TCB_SHUT_OUT, &t->shut_out_ms, busy && shut_out);
}

void tcp_output(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	bool opening = t->state == TCPS_SYN_SENT || t->state == TCPS_SYN_RECV;
	struct tcp_path path;
	enum verdict v = NOTHING;

	if (!opening && !state_synchronized(t->state))
		return;
	if (tcp_path_to(s, sk, t, &path)) {
		/* No way there now: as if it were sent and lost. */
		if (!t->rtx_at && (opening || t->tx_tail > t->snd_nxt || flight_of(t))) {
			t->rtx_kind = opening || flight_of(t) ? RTX_RTO : RTX_PERSIST;
			t->rtx_at = s->now + rto_of(t);
		}
		tcp_keep_times(s, t, false);
		timer_arm(s, sk, t);
		return;
	}
	if (t->flags & TCB_PROGRESS) {
		t->flags &= ~(uint32_t)TCB_PROGRESS;
		neigh_confirm(s, path.r.dev, &path.r.next_hop);
	}
	if (opening)
		output_syn(s, sk, t, &path);
	else
		v = send_data(s, sk, t, &path);
	if ((t->flags & TCB_ACK_NOW) && t->state != TCPS_SYN_SENT &&
	    tcp_transmit(s, sk, t, &path, 0, t->snd_nxt, 0))
		v = DEVICE;
	if (v == DEVICE)
		tcp_blocked(s, sk, path.r.dev);
	tcp_keep_times(s, t, v == WINDOW);
	if (!opening)
		timer_rtx(
		    s, sk, t, false, v == WINDOW || (v == NOTHING && is_corked(k, t)));
	timer_arm(s, sk, t);
}

void tcp_send_ack(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcp_path path;

	if (!tcp_path_to(s, sk, t, &path))
		(void)tcp_transmit(s, sk, t, &path, 0, t->snd_nxt, 0);
}

void tcp_send_probe(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcp_path path;
	uint64_t pipe, off, end = t->snd_nxt, data_end;
	uint32_t full;

	if (tcp_path_to(s, sk, t, &path) || !flight_of(t))
		return;
	full = tcp_payload_max(s, sk, t);
	pipe = t->cwnd > full ? t->cwnd - full : 0; /* one segment, even if the window is full */
	if (send_new(s, sk, t, &path, &pipe) == SENT)
		return;
	data_end = (t->flags & TCB_FIN_WANTED) ? min_of(end, t->tx_tail) : end;
	off = end - t->snd_una > full ? end - full : t->snd_una;
	off = end > data_end && (t->flags & TCB_FIN_ALONE) ? data_end : min_of(off, data_end);
	if (tcp_transmit(s, sk, t, &path, end > data_end ? TCP_F_FIN : TCP_F_PSH, off, (uint32_t)(data_end - off)))
		return;
	t->flags &= ~(uint32_t)TCB_TIMING;
	t->bytes_retrans += data_end - off;
	t->total_retrans++;
	s->count.tcp_retrans++;
}

void tcp_send_keepalive(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	struct tcp_path path;

	/* An offset below what was acknowledged: unacceptable there, so answered (RFC 9293, 3.8.4).
	 */
	if (!tcp_path_to(s, sk, t, &path))
		(void)tcp_transmit(s, sk, t, &path, 0, t->snd_una - 1, 0);
}
