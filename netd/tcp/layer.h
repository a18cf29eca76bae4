/*
 * What the files of TCP share. Private to tcp/.
 *
 * Output is deferred: whoever finds that a connection may have something to send calls
 * tcp_want_output(); when all arrivals of the cycle are worked, tcp_flush() looks at each of these
 * connections once. So an acknowledgement speaks for all segments of a batch, and a batch of
 * acknowledgements makes one large burst. Which connections these are is derived: after a restart
 * all are looked at.
 */
#pragma once
#include "base/util.h"
#include "device/device.h"
#include "inet/sock.h"
#include "ip/ip.h"
#include "tcp/tcb.h"
#include "wire/tcp.h"
#include <errno.h>
#include <string.h>

#define TCP_MSS_DEFAULT	   536u
#define TCP_MSS_MIN	   88u
#define TCP_HEADERS	   40u /* IPv4 and TCP without options */
#define TCP_TS_LEN	   12u
#define TCP_RX_FIRST	   65536u
#define TCP_RCVBUF	   131072u /* what getsockopt() tells before anything was received, as the kernel's tcp_rmem */
#define TCP_SNDBUF	   16384u
#define TCP_TX_FIRST	   65536u
#define TCP_BACKLOG_MAX	   4096u
#define TCP_RTO_FIRST_US   1000000u
#define TCP_RTO_MIN_US	   200000u
#define TCP_RTO_MAX_US	   120000000u
#define TCP_RTX_RETRIES	   15
#define TCP_ORPHAN_RETRIES 8
#define TCP_SYN_RETRIES	   6
#define TCP_SYN_LINEAR	   4u /* as often a SYN goes out again without doubling, and these do not count in TCP_SYNCNT */
#define TCP_SYNACK_RETRIES 5
#define TCP_ORPHANS_MAX	   65536u
#define TCP_QUICK_ACKS	   16
#define TCP_DUP_THRESH	   3u
#define TCP_DELACK_NS	   (40 * NSEC_PER_MSEC)
#define TCP_TIMEWAIT_NS	   (60 * NSEC_PER_SEC)
#define TCP_FIN_NS	   (60 * NSEC_PER_SEC)
#define TCP_OOW_NS	   (500 * NSEC_PER_MSEC)
#define TCP_BLOCKED_NS	   (50 * NSEC_PER_USEC)
#define TCP_CHALLENGES	   1000u /* a second, all connections */

/* Derived: the accept queue of a listener, linked through tcp_layer.next. */
struct tcp_listener {
	uint32_t head, tail; /* NO_INDEX when empty */
	uint32_t ready, half_open;
};

struct tcp_layer {
	uint32_t capacity; /* of KIND_TCP */
	/* Connections that want a look at the end of the work step, each once */
	uint32_t *out, n_out, out_room;
	uint64_t *out_bit;
	/* Those whose device was full */
	uint32_t *blocked, n_blocked, blocked_room;
	uint64_t blocked_at;
	/* Accept queues */
	struct tcp_listener **listener; /* by socket */
	uint32_t *next;			/* by socket */
	uint32_t orphans;
	/* RFC 5961, 7: one budget for all */
	uint64_t challenge_window;
	uint32_t challenges;
	/* Walk over all connections after a driver's restart */
	uint32_t wake_next, wake_dev; /* NO_INDEX: no walk */
	uint64_t wake_at;
};

/* A segment that arrived. */
struct tcp_seg {
	struct tcp_header h;
	struct packet *p;
	const struct ip_meta *m;
	struct endpoint local, remote;
	uint32_t len;  /* payload bytes */
	uint32_t sum;  /* of pseudo header and header, while not verified */
	bool verified; /* the checksum is right */
	bool staged;   /* [from, to) lies in the receive ring */
	uint64_t from, to;
};

/* The way to the peer. */
struct tcp_path {
	struct route r;
	uint32_t mss; /* payload of the largest segment that it is said to carry */
	bool csum, tso;
};

static inline struct tcp_layer *tcp_of(const struct stack *s)
{
	return s->tcp;
}

/* Moments that need not be kept to the nanosecond take 32 bits in a record; they are compared by their distance. */
static inline uint32_t clock_ms(const struct stack *s)
{
	return (uint32_t)(s->now / NSEC_PER_MSEC);
}

/* Never 0, which says that there was no such moment. */
static inline uint32_t clock_mark_ms(const struct stack *s)
{
	return max_of(clock_ms(s), 1u);
}

/* When that was, on the clock: to the millisecond, and not more than 49 days ago. */
static inline uint64_t clock_of_mark(const struct stack *s, uint32_t ms)
{
	uint32_t gone = clock_ms(s) - ms;

	if (gone == UINT32_MAX) /* the mark is 1 for 0, and it is 0 still */
		gone = 0;
	return s->now - s->now % NSEC_PER_MSEC - gone * NSEC_PER_MSEC;
}

/* Never 0 either. */
static inline uint32_t clock_us(const struct stack *s)
{
	return max_of((uint32_t)(s->now / NSEC_PER_USEC), 1u);
}

static inline uint32_t clock_s(const struct stack *s)
{
	return (uint32_t)(s->now / NSEC_PER_SEC);
}

/* Was a segment out of the window answered just now? Then the next one is not. */
static inline bool oow_answered(const struct stack *s, const struct tcp_rec *t)
{
	return t->oow_ms && clock_ms(s) - t->oow_ms < TCP_OOW_NS / NSEC_PER_MSEC;
}

static inline struct tcp_rec *tcb_get(struct stack *s, uint32_t sk)
{
	return state_get(s->state, KIND_TCP, sk);
}

static inline const struct tcp_rec *tcb_peek(const struct stack *s, uint32_t sk)
{
	return state_peek(s->state, KIND_TCP, sk);
}

static inline const struct tcpx_rec *tcpx_peek(const struct stack *s, uint32_t sk)
{
	return state_peek(s->state, KIND_TCPX, sk);
}

/* Writable, NULL if there is none. */
static inline struct tcpx_rec *tcpx_get(struct stack *s, uint32_t sk)
{
	return state_get(s->state, KIND_TCPX, sk);
}

/* What the peer offers; a SYN's window is not scaled (RFC 7323, 2.2), nor is that of one with an ACK. */
static inline uint32_t peer_window(const struct tcp_rec *t, const struct tcp_header *h)
{
	return h->flags & TCP_F_SYN ? h->window : (uint32_t)h->window << t->snd_wscale;
}

static inline uint64_t flight_of(const struct tcp_rec *t)
{
	return t->snd_nxt - t->snd_una;
}

/* The clock of timestamps, RFC 7323, 5.4: milliseconds. */
static inline uint32_t tcp_clock(const struct stack *s)
{
	return (uint32_t)(s->now / NSEC_PER_MSEC);
}

/* layer.c */
void tcp_want_output(struct stack *s, uint32_t sk);
void tcp_blocked(struct stack *s, uint32_t sk, uint32_t dev);
/* Takes the control block apart; the socket record goes too. */
void tcp_free(struct stack *s, uint32_t sk);
/* One more challenge ACK in this second? RFC 5961, 7. */
bool tcp_may_challenge(struct stack *s);
/* The extension record, made if there is none. NULL only when memory is at its end. */
struct tcpx_rec *tcpx_make(struct stack *s, uint32_t sk);
/* Drops the extension record if nothing is in it any more. */
void tcpx_release(struct stack *s, uint32_t sk, const struct tcp_rec *t);

/* queue.c: accept queues */
struct tcp_listener *queue_of(const struct stack *s, uint32_t listener);
int queue_open(struct stack *s, uint32_t listener);
void queue_close(struct stack *s, uint32_t listener);
void queue_push(struct stack *s, uint32_t listener, uint32_t child);
uint32_t queue_pop(struct stack *s, uint32_t listener);
bool queue_full(const struct stack *s, uint32_t listener);
/* Rebuilding them: the children that wait are noted while the listeners open theirs. Those whose listener is gone are reset. */
struct queue_waiting {
	struct waiting *v;
	uint32_t n, room;
};
int queue_note(struct queue_waiting *w, const struct sock_rec *k, uint32_t sk);
void queue_reindex(struct stack *s, struct queue_waiting *w);

/* state.c */
enum tcp_event {
	TCP_EV_SYN_SENT,
	TCP_EV_SYN_RECEIVED, /* in SYN_SENT: simultaneous open */
	TCP_EV_ESTABLISHED,
	TCP_EV_CLOSE, /* we shall send no more */
	TCP_EV_FIN_RECEIVED,
	TCP_EV_FIN_ACKED,
	TCP_EV_OVER, /* reset, timeout, abort */
};
/* The whole diagram of RFC 9293, 3.3.2. The same state if the event means nothing in it. */
enum tcp_state tcp_next_state(enum tcp_state state, enum tcp_event ev);
/* Applies it. False if the connection is over. */
bool tcp_event(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_event ev);
void tcp_set_state(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_state state);
/* A segment for a connection in any state but LISTEN. */
void tcp_segment(struct stack *s, uint32_t sk, struct tcp_seg *g);
/* An acknowledgement for a segment that cannot be; no more than two a second a connection. */
void tcp_challenge(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* input.c */
/* Checks the checksum of a segment that goes into no ring. */
bool segment_verify(struct tcp_seg *g);
/* Has it come from further away than the socket believes (IP_MINTTL)? */
bool segment_too_far(const struct stack *s, uint32_t sk, const struct tcp_seg *g);

/* urgent.c */
/* A segment with an urgent pointer, before its payload is taken. */
void urgent_arrived(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g);
/* The byte before stream offset `end` will be urgent. */
void urgent_mark(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t end);
/* Flag and pointer of a segment that starts at `off`, if it has to have them. */
void urgent_fill(const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t off, struct tcp_header *h);
/* snd_una has moved, with TCB_URGENT. */
void urgent_acked(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* ecn.c */
/* Does the SYN ask for it, and do we grant that? `tos`: of its IP header. */
bool ecn_asked(const struct stack *s, const struct tcp_header *syn, uint8_t tos);
/* Does the SYN-ACK grant what our SYN asked for? */
bool ecn_granted(const struct tcp_rec *t, const struct tcp_header *syn_ack);
/* Flags of our SYN. */
uint8_t ecn_question(const struct tcp_rec *t);
/* Flags and mark of a segment with [off, off + len); and that it was sent. */
void ecn_fill(const struct tcp_rec *t, uint64_t off, uint32_t len, struct tcp_header *h, uint8_t *tos);
void ecn_sent(struct tcp_rec *t, const struct tcp_header *h);
/* The congestion window went down, for whatever reason. */
void ecn_reduced(struct tcp_rec *t);
/* Does the acknowledgement tell of a mark? */
bool ecn_echoed(const struct tcp_rec *t, const struct tcp_header *h);
/* A segment with payload, before the payload is taken. */
void ecn_arrived(struct stack *s, struct tcp_rec *t, const struct tcp_seg *g);

/* receive.c */
/* Copies the payload to its place in the receive ring, checking the checksum on the way. False if
 * it is wrong. */
bool receive_stage(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g);
/* Takes the staged payload and FIN into account. False if the socket is gone. */
bool receive_data(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g);
/*
 * Is there an acknowledgement that goes out as soon as the client has read everything, as the kernel does it where no answer is
 * to be expected? Else a writer of small pieces would stand at Nagle's algorithm for each of them.
 */
static inline bool receive_acks_reading(const struct tcp_rec *t)
{
	return t->ack_at && !(t->flags & (TCB_PINGPONG | TCB_DELAYING));
}
/* The client has read up to rx_head: window updates, buffer tuning, that acknowledgement. */
void receive_consumed(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* window.c */
uint16_t tcp_window(struct stack *s, uint32_t sk, struct tcp_rec *t);
uint32_t tcp_first_capacity(const struct stack *s, const struct sock_rec *k, uint32_t our_mss);
uint8_t tcp_window_scale(const struct stack *s, const struct sock_rec *k);
/* The largest window that may be offered: TCP_WINDOW_CLAMP, UINT32_MAX for none. */
uint32_t tcp_clamp(const struct stack *s, uint32_t sk);
/* What a SYN offers. */
uint32_t tcp_first_window(const struct stack *s, uint32_t sk, uint32_t cap, uint8_t wscale);

/* segment.c: building segments */
int tcp_path_to(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_path *path);
/* Sends [off, off + len) (and flags) of the stream. 0, or -ENOBUFS: the device is full, nothing
 * happened. */
int tcp_transmit(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path,
    uint8_t flags, uint64_t off, uint32_t len);
/* Payload that a segment can carry now, beside the options it must carry. */
uint32_t tcp_payload_max(const struct stack *s, uint32_t sk, const struct tcp_rec *t);
int tcp_send_syn(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path);
void tcp_send_rst(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* A segment without payload that belongs to no control block. */
struct tcp_bare {
	struct endpoint local, remote;
	uint32_t oif;
	uint8_t ttl, tos;
};
void tcp_send_bare(struct stack *s, const struct tcp_bare *b, struct tcp_header *h);
/* The RST that answers a segment for nobody, RFC 9293, 3.10.7.1. */
void tcp_refuse(struct stack *s, const struct tcp_seg *g);

/* send.c */
void tcp_output(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* TCP_NOTSENT_LOWAT is set: how many bytes a writer may leave unsent, the last buffer filled. */
uint64_t tcp_notsent_most(const struct tcp_rec *t);
/* Lets the times of tcp_rec run, or stops them, by what holds now. */
void tcp_keep_times(const struct stack *s, struct tcp_rec *t, bool shut_out);
/* An acknowledgement at once; TCB_ACK_NOW stays if the device is full. */
void tcp_send_ack(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* The tail again, or new data if there is any: true if something went out. */
void tcp_send_probe(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* A segment that asks for an answer: one below snd_una, no data. */
void tcp_send_keepalive(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* ack.c */
/* Processes the acknowledgement. False: the segment is to be dropped, or the socket is gone. */
bool tcp_ack(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_seg *g);

/* recovery.c */
struct ack_news {
	uint64_t acked;	 /* bytes newly acknowledged, cumulatively */
	uint64_t sacked; /* and selectively */
	uint64_t delivered; /* by either, and not before */
	uint64_t flight; /* before */
	uint32_t ts_ecr; /* 0: none */
	uint32_t rtt_us; /* as timestamps tell it, if something was acknowledged; 0: unknown */
	bool duplicate;
	bool original;	 /* it covers what was neither sent again nor known to be there */
	bool ece;	 /* a segment was marked on its way */
	uint32_t twice;	 /* bytes that the peer says came twice */
};
/* Bytes that are thought to be in the network, RFC 6675, SetPipe(). */
uint64_t recovery_pipe(const struct stack *s, uint32_t sk, const struct tcp_rec *t);
/* Bytes taken for lost, and those of them that were sent again. */
void recovery_count(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t *lost, uint64_t *resent);
/* Next lost piece that was not sent again yet; false if there is none. */
bool recovery_next(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint64_t *off, uint64_t *end);
/* It was sent again up to `end`. */
void recovery_sent(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t off, uint64_t end);
/* Takes the SACK blocks; returns bytes newly covered. */
uint64_t recovery_sack(
    struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_header *h, struct ack_news *n);
/* snd_una has moved, from `una`. */
void recovery_trim(struct stack *s, uint32_t sk, struct tcp_rec *t, uint64_t una, struct ack_news *n);
/* New data was sent. */
void recovery_sent_new(struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t len);
/* What this acknowledgement means for loss recovery and the congestion window. */
void recovery_ack(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct ack_news *n);
void recovery_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* Everything in flight was too large for the path: again, without blame. */
void recovery_resend_all(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* The peer had taken its window back, and offers one again: what timed out meanwhile goes out at once. */
void recovery_window_opened(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* The reordering window of the oldest hole is over: it is lost. */
void recovery_reorder_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* The scoreboard's holes: the first lies before run 0, the last after run n_run - 1. */
static inline uint64_t hole_start(const struct tcp_rec *t, const struct tcpx_rec *x, unsigned i)
{
	return i ? x->run[i - 1].end : t->snd_una;
}

static inline uint64_t hole_end(const struct tcp_rec *t, const struct tcpx_rec *x, unsigned i)
{
	return i < x->n_run ? x->run[i].start : t->snd_nxt;
}

/* rack.c */
/* [from, to) of hole i has arrived, in its order or not. */
void rack_arrived(const struct stack *s, struct tcp_rec *t, struct tcpx_rec *x, unsigned i, uint64_t from,
    uint64_t to, uint64_t high, struct ack_news *n);
/* What is not in a run below this is lost by now; 0: nothing is. */
uint64_t rack_edge(const struct stack *s, const struct tcp_rec *t, const struct tcpx_rec *x);
/* Retransmissions that must have been lost themselves are due again. */
void rack_lost_again(const struct stack *s, const struct tcp_rec *t, struct tcpx_rec *x);
/* How long until something more will be lost, in microseconds; 0: nothing will. */
uint32_t rack_wait(const struct stack *s, const struct tcp_rec *t, const struct tcpx_rec *x);
/* A recovery is over: the window widens if it sent something for nothing, else it narrows. */
void rack_adapt(struct tcp_rec *t, const struct tcpx_rec *x);
/* A pause is taken out. */
void rack_shift(struct tcpx_rec *x, uint32_t us);

/* undo.c */
void undo_begin(struct tcp_rec *t, struct tcpx_rec *x);
void undo_resent(struct stack *s, struct tcp_rec *t, struct tcpx_rec *x, uint32_t len);
/* Does the acknowledgement show that nothing was lost? Then all is as before. */
bool undo_if_spurious(struct tcp_rec *t, struct tcpx_rec *x, const struct ack_news *n);

/* prr.c */
void prr_begin(const struct tcp_rec *t, struct tcpx_rec *x);
/* The window after an acknowledgement that `pipe` is left of; `lost`: it told of more losses. */
void prr_ack(struct tcp_rec *t, struct tcpx_rec *x, const struct ack_news *n, uint64_t pipe, bool lost);

/* congestion.c */
struct congestion_ops {
	const char *name;
	uint32_t (*ssthresh)(struct tcp_rec *t);
	/* The window was full: it may grow. rtt_us 0: unknown */
	void (*acked)(struct stack *s, struct tcp_rec *t, uint32_t bytes, uint32_t rtt_us);
	/* The past means nothing any more; ssthresh begins or ceases to be UINT32_MAX otherwise than by ssthresh(). */
	void (*reset)(struct tcp_rec *t);
};
const struct congestion_ops *congestion_of(const struct tcp_rec *t);
/* -ENOENT */
int congestion_find(const char *name, uint32_t len);
const char *congestion_name(unsigned i);
void congestion_init(struct tcp_rec *t);
/* First segment after idleness: RFC 5681, 4.1. */
void congestion_idle(struct stack *s, struct tcp_rec *t);
uint32_t slow_start(struct tcp_rec *t, uint32_t bytes);
/* Nothing has told yet how much the path carries. */
static inline bool in_first_slow_start(const struct tcp_rec *t)
{
	return t->ssthresh == UINT32_MAX;
}
extern const struct congestion_ops congestion_cubic; /* cubic.c */

/* hystart.c */
void hystart_reset(struct tcp_rec *t);
/* In the first slow start `bytes` were acknowledged: by how many the window grows. It may be over with this. */
uint32_t hystart(struct stack *s, struct tcp_rec *t, uint32_t rtt_us, uint32_t bytes);

/* rtt.c */
void rtt_sample(struct tcp_rec *t, uint64_t us);
/* What was being timed (TCB_TIMING) is answered: a sample, if no pause fell into it. */
void rtt_timed(const struct stack *s, struct tcp_rec *t);
/* How old is what the peer echoes, in microseconds, though known in milliseconds only; 0: it echoes nothing, or a pause fell into it. */
uint32_t rtt_echoed(const struct stack *s, const struct tcp_rec *t, const struct tcp_header *h);
/* Current timeout, backed off by the retries, in ns. */
uint64_t rto_of(const struct tcp_rec *t);

/* blackhole.c */
/* One more timeout: do large segments vanish? Then t->mss is smaller. */
void blackhole_timeout(struct stack *s, uint32_t sk, struct tcp_rec *t);
/* TCB_MSS_LOW: payload of a segment, if the path is said to carry `mss`. */
uint32_t blackhole_mss(const struct stack *s, uint32_t sk, uint32_t mss);
/* The same: payload of the segment by which it is tried whether larger ones arrive now, if `whole` is what the path is said to
 * carry and `room` bytes can go out; 0: not now. It was sent. The oldest outstanding byte is another one. */
uint32_t blackhole_trial(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t whole, uint64_t room);
void blackhole_tried(struct stack *s, uint32_t sk, const struct tcp_rec *t, uint32_t len);
void blackhole_acked(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* timers.c */
void timer_arm(struct stack *s, uint32_t sk, const struct tcp_rec *t);
/* Sets (or clears) what the state of the sender asks for; `restart`: from now. */
void timer_rtx(struct stack *s, uint32_t sk, struct tcp_rec *t, bool restart, bool window_closed);
void timer_keepalive(struct stack *s, const struct sock_rec *k, struct tcp_rec *t);
bool timer_run(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* options.c */
/* Options of our SYN, or of our SYN-ACK that answers `flags`. */
void options_syn(struct tcp_header *h, uint32_t flags, uint16_t mss, uint8_t ws, uint32_t ts_val,
    uint32_t ts_ecr);
/* What both sides can: enum tcb_flags. */
uint32_t options_agree(const struct tcp_header *syn);
/* RFC 7323, 5: true if the segment is old. */
bool options_paws(const struct stack *s, const struct tcp_rec *t, const struct tcp_header *h);
/* RFC 7323, 4.3: remembers the timestamp to echo. */
void options_ts_recent(
    struct stack *s, struct tcp_rec *t, const struct tcp_header *h, int64_t start);
/* RFC 2018, 4: what is to be reported. */
void options_sack(
    const struct stack *s, uint32_t sk, const struct tcp_rec *t, struct tcp_header *h);

/* open.c */
uint32_t tcp_isn(
    const struct stack *s, const struct endpoint *local, const struct endpoint *remote);
uint32_t tcp_ts_offset(
    const struct stack *s, const struct endpoint *local, const struct endpoint *remote);
uint16_t tcp_our_mss(const struct sock_rec *k, uint32_t mtu);
int tcp_connect(struct stack *s, uint32_t sk, const struct endpoint *ep);
void tcp_syn_sent_segment(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_seg *g);
/* The handshake is complete: rings, timers. False if the socket is gone. */
bool tcp_established(struct stack *s, uint32_t sk, struct tcp_rec *t);

/* listen.c */
int tcp_listen(struct stack *s, uint32_t sk, uint32_t backlog);
int tcp_accept(struct stack *s, uint32_t sk, uint32_t *child);
void tcp_stop_listening(struct stack *s, uint32_t sk);
/* `iss` 0: a new one. */
void tcp_listen_segment(struct stack *s, uint32_t listener, struct tcp_seg *g, uint32_t iss);
void tcp_synrcv_segment(struct stack *s, uint32_t index, struct tcp_seg *g);
void tcp_synrcv_drop(struct stack *s, uint32_t index);
int synrcv_reindex(struct stack *s);

/* cookie.c */
/* What a cookie cannot carry is as if the SYN had not offered it. */
void cookie_trim(struct tcp_header *syn);
/* The number, and the clock of the timestamp, of the SYN-ACK that answers a SYN so trimmed. */
uint32_t cookie_number(const struct stack *s, const struct tcp_seg *g, const struct tcp_header *syn);
uint32_t cookie_clock(const struct stack *s, const struct tcp_header *syn);
/* Does the segment acknowledge a cookie that is not too old? Then *syn is what it was made for. */
bool cookie_read(const struct stack *s, const struct tcp_seg *g, struct tcp_header *syn);
/* The listener has just answered with one; has it while one may still come back? */
void cookie_sent(struct stack *s, uint32_t listener);
bool cookie_awaited(const struct stack *s, uint32_t listener);

/* close.c */
/* The connection is at its end: with an error (positive errno) or without. False: nothing more to
 * do. */
bool tcp_done(struct stack *s, uint32_t sk, struct tcp_rec *t, int err);
/* The same after telling the peer with a RST. */
void tcp_abort(struct stack *s, uint32_t sk, struct tcp_rec *t, int err);
int tcp_shutdown(struct stack *s, uint32_t sk, int how);
int tcp_disconnect(struct stack *s, uint32_t sk);
void tcp_close(struct stack *s, uint32_t sk, bool killed);

/* timewait.c */
/* Goes on without the socket, in TIME_WAIT or FIN_WAIT2. */
void timewait_enter(struct stack *s, uint32_t sk, struct tcp_rec *t, enum tcp_state state);
/* True if the segment (a SYN) may open a new connection, with ISN *iss. */
bool timewait_segment(struct stack *s, uint32_t index, struct tcp_seg *g, uint32_t *iss);
void timewait_drop(struct stack *s, uint32_t index);
int timewait_reindex(struct stack *s);

/* error.c */
void tcp_icmp_error(struct stack *s, const struct ip_error *e);

/* tcp_sockopt.c */
int tcp_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len);
/* The seconds of a TCP_DEFER_ACCEPT count. */
uint32_t tcp_defer_seconds(uint8_t count);
int tcp_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len);

/* resume.c */
void resume_walk(struct stack *s);
