/*
 * One worker's whole world. No process-wide mutable globals: what a worker owns hangs off here. Each
 * layer keeps its private (derived) things in its own struct, opaque to the others.
 */
#pragma once
#include "state/memory.h"
#include "state/state.h"
#include "state/timer.h"
#include "state/world.h"

struct switchboard; /* state/switchboard.h: the constant tables, the only way upward */

struct counters { /* netctl stats; lost in a restart, hints only */
	uint64_t cycles, commits, records_committed;
	uint64_t frames_in, frames_out, bad_desc, bad_frame, bad_client, no_chunk, set_aside;
	uint64_t arp_in, ip_in, ip_bad, ip_out, ip_no_route, ip_frag_in, ip_reassembled, ip_frag_out, ip_forward_refused;
	uint64_t raw_in, raw_out, tap_in, tap_out;
	uint64_t icmp_in, icmp_out, igmp_in, udp_in, udp_out, udp_no_port, udp_full, udp_bad;
	uint64_t tcp_in, tcp_out, tcp_bad, tcp_retrans, tcp_fast_retrans, tcp_rto, tcp_rst_in, tcp_rst_out, tcp_ooo, tcp_ooo_full, tcp_paws,
	    tcp_challenge, tcp_listen_full, tcp_accepted, tcp_connected, tcp_tso, tcp_cookies_sent, tcp_cookies_ok, tcp_cookies_bad, tcp_undone, tcp_ce;
	uint64_t requests, takeovers;
};

/* Explicit congestion notification of TCP: the kernel's tcp_ecn 2, 1 and 0. */
enum stack_ecn { STACK_ECN_PASSIVE, STACK_ECN_ON, STACK_ECN_OFF };

struct stack {
	struct state *state;
	struct memories *mem;
	struct timers *timers;
	const struct switchboard *board;
	struct blackbox *box; /* in the arena; NULL where there is none (unit tests) */
	uint64_t now;    /* CLOCK_MONOTONIC ns, once per cycle; or the simulation's clock */
	uint64_t resumed_ns; /* no RTT sample from a segment sent before this: the end of the last pause */
	uint32_t rcvbuf_max, sndbuf_max; /* configured; 0: not yet, the defaults hold */
	enum stack_ecn ecn;  /* configured */
	struct counters count;
	/* Random bytes: getrandom(), or the simulation's seed. */
	void (*random)(void *arg, void *buf, size_t len);
	void *random_arg;
	/* Each layer's private things. */
	struct device_layer *device;
	struct ip_layer *ip;
	struct inet_layer *inet;
	struct tcp_layer *tcp;
	struct socket_layer *socket;
};

/* How large a socket's buffers may become, in bytes. */
static inline uint32_t stack_rcvbuf_max(const struct stack *s)
{
	return s->rcvbuf_max ? s->rcvbuf_max : 6144u << 10;
}

static inline uint32_t stack_sndbuf_max(const struct stack *s)
{
	return s->sndbuf_max ? s->sndbuf_max : 4096u << 10;
}

static inline struct world_rec *world_get(struct stack *s)
{
	return state_get(s->state, KIND_WORLD, 0);
}

static inline const struct world_rec *world_peek(const struct stack *s)
{
	return state_peek(s->state, KIND_WORLD, 0);
}
