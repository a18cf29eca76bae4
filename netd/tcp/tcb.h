/*
 * The records of TCP: all facts, nothing derived.
 *
 * Offsets. A stream's bytes are counted from 0 (the first after the SYN) in 64 bits, in both
 * directions; they are the positions of the rings too. A FIN takes one offset behind the last byte:
 * so the client's rx_tail is rcv_nxt less a received FIN, its tx_head is snd_una less an
 * acknowledged one. The number on the wire of offset o is iss + 1 + o (irs + 1 + o). A stream that
 * begins at another offset (a socket connected again) has its iss and irs shifted, so that this
 * holds for it too.
 *
 * Legal in each state:
 *   CLOSE        rings may hold unread bytes of a connection that was; not in the connected table
 *   LISTEN       no positions; half-open connections are KIND_SYNRCV, children name us in sock_rec
 *   SYN_SENT     snd_una == snd_nxt; the SYN is outstanding by the state itself
 *   SYN_RECV     only after a simultaneous open; the SYN with its ACK is outstanding by the state
 * itself ESTABLISHED, CLOSE_WAIT               may send data; CLOSE_WAIT: TCB_FIN_RCVD FIN_WAIT1,
 * CLOSING, LAST_ACK          TCB_FIN_WANTED: data up to tx_tail, then the FIN, is sent FIN_WAIT2
 * our FIN is acknowledged; without owner: a KIND_TIMEWAIT TIME_WAIT never here: always a
 * KIND_TIMEWAIT
 */
#pragma once
#include "proto/endpoint.h"
#include "tcp/seq.h"
#include "wire/tcp.h"
#include <stddef.h>

enum tcp_state { /* numbers as in TCP_INFO */
	TCPS_ESTABLISHED = 1,
	TCPS_SYN_SENT,
	TCPS_SYN_RECV,
	TCPS_FIN_WAIT1,
	TCPS_FIN_WAIT2,
	TCPS_TIME_WAIT,
	TCPS_CLOSE,
	TCPS_CLOSE_WAIT,
	TCPS_LAST_ACK,
	TCPS_LISTEN,
	TCPS_CLOSING,
};

enum tcb_ca_state { /* likewise */
	CA_OPEN,
	CA_DISORDER, /* duplicate acknowledgements, not yet taken for loss */
	CA_CWR,
	CA_RECOVERY, /* fast recovery up to `recover` */
	CA_LOSS,     /* after a retransmission timeout, up to `recover` */
};

enum tcb_flags {
	TCB_TS = 1 << 0,	 /* negotiated: timestamps, ... */
	TCB_SACK = 1 << 1,	 /* ... selective acknowledgements, ... */
	TCB_WS = 1 << 2,	 /* ... window scaling */
	TCB_FIN_WANTED = 1 << 3, /* the stream ends at tx_tail */
	TCB_FIN_RCVD = 1 << 4,	 /* in order: the last offset below rcv_nxt */
	TCB_FIN_SEEN = 1 << 5,	 /* out of order: it will be at fin_off */
	TCB_ACK_NOW = 1 << 6,	 /* an acknowledgement is owed at once */
	TCB_RTX_NOW = 1 << 7,	 /* one lost segment goes out whatever cwnd says */
	TCB_SYN_NOW = 1 << 8,
	TCB_TIMING = 1 << 9,	/* the segment that ends at rtt_pos is being timed */
	TCB_DSACK = 1 << 10,	/* dsack_* is to be reported */
	TCB_DEAD = 1 << 11,	/* reset, refused or timed out: the error says why */
	TCB_WAS_OPEN = 1 << 12, /* was connected: both directions are at their end now */
	TCB_CWND_LIMITED = 1 << 13, /* what was sent last filled the window */
	TCB_PROGRESS = 1 << 14, /* new data was acknowledged: the neighbour is alive */
	TCB_PROBED = 1 << 15,	/* a tail loss probe is out */
	TCB_FORCE = 1 << 16,	/* a corked or silly segment goes out now */
	TCB_LOST = 1 << 17, /* the record was found corrupt and made anew: positions are unknown */
	TCB_ORPHAN = 1 << 18, /* counted among the orphans */
	TCB_URGENT = 1 << 19, /* the peer is to be told of an urgent byte: sockx_rec.snd_up */
	TCB_DELAYING = 1 << 21, /* TCP_QUICKACK was switched off */
	TCB_PINGPONG = 1 << 22, /* what we receive we answer soon: acknowledgements wait for the answer */
	TCB_FIN_ALONE = 1 << 23, /* our FIN went without data */
	TCB_BUSY = 1 << 25,	/* busy_ms runs */
	TCB_ACTIVE = 1 << 24,	/* opened by connect() */
	TCB_ECN = 1 << 26,	/* negotiated, in SYN_SENT asked for: ecn.c */
	TCB_ECN_ECHO = 1 << 27, /* a mark arrived: every segment says so until the peer says that it has heard */
	TCB_ECN_CWR = 1 << 28,	/* the window went down: the next new segment says so */
	TCB_ECN_SEEN = 1 << 29, /* something that could be marked has arrived */
	TCB_MSS_LOW = 1 << 30,	/* large segments vanish on the way: sockx_rec.mss_low */
	TCB_SHUT_OUT = 1u << 31, /* shut_out_ms runs */
	TCB_MORE = 1 << 20,   /* the writer said that more comes at once: as TCP_CORK, until it writes again */
};

enum tcb_rtx { RTX_NONE, RTX_RTO, RTX_PROBE, RTX_PERSIST, RTX_REORDER };

/* Rounds of the first slow start, and their shortest round trips (UINT16_MAX: unknown): hystart.c. */
struct tcp_hystart {
	uint32_t round_end; /* low half */
	uint16_t last_ms, min_ms;
	uint16_t base_ms; /* in conservative slow start: when it began; 0: not in it */
	uint8_t samples;  /* in this round, as far as they are counted */
	uint8_t rounds;	  /* of conservative slow start that are over */
	uint16_t begin_ms, ack_ms; /* of the round, and when something was acknowledged last in an unbroken train: low halves of clock_ms() */
};

struct tcp_rec {
	uint8_t state;	  /* enum tcp_state */
	uint8_t ca_state; /* enum tcb_ca_state */
	uint8_t snd_wscale : 4, rcv_wscale : 4;
	uint8_t reordering; /* as many segments later something came that was sent before: at least 1; 0: never */
	uint8_t cc;	  /* congestion control, index in its table */
	uint8_t rtx_kind; /* enum tcb_rtx: what rtx_at is for */
	uint8_t retries;  /* of the oldest segment, probes of a closed window, SYNs */
	uint8_t quick;	  /* acknowledgements that are still not delayed */
	uint8_t keep_probes;
	uint8_t reo_more; /* quarters of a round trip that the reordering window has more: rack.c */
	uint16_t peer_mss;
	uint32_t flags; /* enum tcb_flags */
	uint32_t iss, irs;
	/* Sending */
	uint64_t snd_una, snd_nxt;
	uint64_t snd_edge; /* right edge of the peer's window */
	uint64_t tx_tail;  /* last checked index of the client */
	uint64_t recover;  /* recovery ends here */
	uint32_t snd_wl1;  /* number of the segment that told the window last */
	uint32_t max_wnd;  /* largest window the peer ever offered */
	uint32_t mss;	   /* payload of a full segment, without SACK blocks */
	uint32_t snd_sml;  /* end of the last small segment (Nagle, Minshall): low half of its offset */
	uint32_t rtt_pos;  /* TCB_TIMING: low half, too */
	uint32_t cwnd, ssthresh;
	uint16_t dupacks;
	uint16_t dsack_len;
	uint32_t dsack_start;
	/* What the congestion control in force keeps */
	union {
		struct tcp_hystart hystart; /* CUBIC, as long as ssthresh is UINT32_MAX */
		struct {		    /* ... and then */
			uint32_t w_max, w_est, k_ms;
			uint32_t epoch_ms; /* begin of the epoch, 0: none */
		};
		uint32_t cwnd_cnt; /* Reno: bytes acknowledged towards the next segment */
	};
	uint32_t fin_off;  /* TCB_FIN_SEEN: low half of its offset */
	/* Receiving */
	uint64_t rcv_nxt;
	uint64_t rx_head;   /* last checked index of the client */
	uint64_t rcv_adv;   /* right edge that was advertised: never goes back */
	uint32_t rcv_acked; /* what the last segment that we sent acknowledged: low half */
	uint32_t tune_pos;	    /* buffer tuning: consumed up to (low half), ... */
	uint32_t tune_us;	    /* ... at; 0: never */
	uint16_t rcv_mss;	    /* largest payload seen */
	uint16_t rcv_rtt_ms;	    /* round trip as the receiver sees it, 0: unknown */
	uint32_t rx_cap;	    /* capacity that the first window promised */
	/* Round trip, in microseconds; srtt 0: none known */
	uint32_t srtt, rttvar, rto, rtt_min;
	uint32_t ts_recent, ts_off;
	uint32_t total_retrans;
	uint32_t ts_recent_s; /* when ts_recent came, in seconds */
	union {
		uint32_t oow_ms;   /* when a segment out of the window was last answered, 0: never */
		uint32_t cookie_s; /* LISTEN: when a SYN was last answered with a cookie, 0: never */
	};
	uint32_t sent_ms; /* when data was last sent, 0: never */
	uint32_t rtt_us;  /* TCB_TIMING: since then */
	/* Deadlines (ns, 0 for none) and the moments they are computed from */
	uint64_t rtx_at, ack_at, keep_at;
	uint64_t stall_at; /* since when the oldest outstanding thing has been unanswered */
	uint32_t rcv_ms, rcv_data_ms; /* when something came, and data in its order (or it was opened); 0: never */
	/* What was counted since it was opened; bytes are counted by offsets */
	uint64_t bytes_retrans;
	uint32_t segs_in, segs_out, data_in, data_out;
	/* For how long there was something to send or unanswered, and for how long the peer's window held it back; while
	 * it is so (TCB_BUSY, TCB_SHUT_OUT), less the moment since when */
	uint32_t busy_ms, shut_out_ms;
	uint32_t notsent_lowat;
	int16_t soft_err;  /* positive errno: what ICMP said last, if it comes to a timeout */
	int16_t linger2_s; /* 0: default; negative: no FIN_WAIT_2 without owner */
};
_Static_assert(sizeof(struct tcp_rec) <= 288, "compact: two images of each lie in the arena");

#define TCP_OOO_MAX 16
#define TCP_RUN_MAX 16

struct tcp_run {
	uint64_t start, end;
};
/*
 * What of a hole was sent again: from its start up to rtx_end, the last of it at rtx_us, when snd_nxt was
 * `mark`. And since when the peer has something from above it. Moments in microseconds.
 */
struct tcp_hole {
	uint64_t rtx_end, mark;
	uint32_t rtx_us, since_us;
};

/* How it was before this recovery, in case that nothing was lost: undo.c. */
struct tcp_undo {
	uint32_t cwnd, ssthresh; /* cwnd 0: nothing to go back to */
	uint32_t rtx_ms;	 /* the clock of timestamps at the first retransmission */
	uint32_t resent;	 /* bytes sent again that the peer has not reported as having come twice */
	uint64_t end;		 /* when this is acknowledged, there is nothing to go back to any more */
};

/* Proportional rate reduction, RFC 9937: prr.c. */
struct tcp_prr {
	uint32_t delivered, out, flight;
};

/* Exists only while there is loss or disorder in one of the directions. */
struct tcpx_rec {
	uint8_t n_ooo, n_run;
	uint8_t dsack; /* this recovery has sent something again for nothing */
	uint8_t frto;  /* it began with a timeout: what arrives after all shows that there was no loss */
	uint32_t rack_us; /* when the newest of those retransmissions was sent that have arrived */
	/* Receiving: intervals above rcv_nxt that lie in the ring, ascending, apart; the starts of those that
	 * grew last, the newest first */
	uint64_t ooo_recent[TCP_SACK_MAX];
	struct tcp_run ooo[TCP_OOO_MAX];
	/* Sending: runs that the peer has, ascending, apart; hole[i] lies before run[i],
	 * hole[n_run] after the last. */
	uint64_t loss_end; /* what is not in a run below this is lost */
	struct tcp_undo undo;
	struct tcp_prr prr;
	uint32_t rack_mark; /* low half: that retransmission's tcp_hole.mark; what lies below it was sent before */
	struct tcp_run run[TCP_RUN_MAX];
	struct tcp_hole hole[TCP_RUN_MAX + 1];
};

_Static_assert(offsetof(struct tcpx_rec, run) == offsetof(struct tcpx_rec, rack_mark) + 4, "rack_mark fills what was padding");

/* A half-open connection of a listener. */
struct synrcv_rec {
	struct endpoint local, remote;
	uint32_t listener, listener_gen;
	uint32_t iss, irs;
	uint32_t rcv_wnd, rx_cap;
	uint32_t ts_recent, ts_off;
	uint32_t flags; /* TCB_TS, TCB_SACK, TCB_WS, TCB_ECN */
	uint16_t peer_mss, our_mss;
	uint16_t peer_wnd;
	uint8_t snd_wscale, rcv_wscale;
	uint8_t retries; /* SYN-ACKs sent again */
	uint8_t acked;	 /* the peer is through; we wait for data or for room in the queue */
	uint8_t pad[2];
	uint32_t dev;
	uint64_t created_at, rtx_at;
};

/* A connection without owner in TIME_WAIT, or in FIN_WAIT2 (then the peer's FIN is still to come).
 */
struct timewait_rec {
	struct endpoint local, remote;
	uint32_t snd_nxt, rcv_nxt; /* sequence numbers */
	uint32_t rcv_wnd;
	uint32_t ts_recent, ts_off;
	uint32_t bound_dev;
	uint32_t uid;
	uint8_t state; /* TCPS_TIME_WAIT, TCPS_FIN_WAIT2 */
	uint8_t has_ts, rcv_wscale, ttl, tos;
	uint8_t reuse; /* SOCK_F_REUSEADDR, SOCK_F_REUSEPORT */
	uint8_t family;
	uint8_t pad[5];
	uint64_t since, ends_at, oow_at;
};

/* ---- between offsets and numbers */

static inline uint64_t rcv_acked(const struct tcp_rec *t)
{
	return t->rcv_nxt - ((uint32_t)t->rcv_nxt - t->rcv_acked);
}

static inline uint32_t snd_seq(const struct tcp_rec *t, uint64_t off)
{
	return t->iss + 1 + (uint32_t)off;
}

static inline uint32_t rcv_seq(const struct tcp_rec *t, uint64_t off)
{
	return t->irs + 1 + (uint32_t)off;
}

static inline int64_t snd_off(const struct tcp_rec *t, uint32_t seq)
{
	return seq_unwrap(seq, t->snd_una, snd_seq(t, t->snd_una));
}

static inline int64_t rcv_off(const struct tcp_rec *t, uint32_t seq)
{
	return seq_unwrap(seq, t->rcv_nxt, rcv_seq(t, t->rcv_nxt));
}

static inline bool fin_sent(const struct tcp_rec *t)
{
	return (t->flags & TCB_FIN_WANTED) && t->snd_nxt > t->tx_tail;
}

static inline bool fin_acked(const struct tcp_rec *t)
{
	return (t->flags & TCB_FIN_WANTED) && t->snd_una > t->tx_tail;
}

/* The client's rx_tail: behind the last byte in order. */
static inline uint64_t rx_tail_of(const struct tcp_rec *t)
{
	return t->rcv_nxt - !!(t->flags & TCB_FIN_RCVD);
}

/* The client's tx_head: bytes below it are acknowledged. */
static inline uint64_t tx_head_of(const struct tcp_rec *t)
{
	return t->snd_una - fin_acked(t);
}

/* Beyond the opening handshake, with a peer. */
static inline bool state_synchronized(uint8_t state)
{
	return state != TCPS_CLOSE && state != TCPS_LISTEN && state != TCPS_SYN_SENT &&
	       state != TCPS_SYN_RECV;
}
