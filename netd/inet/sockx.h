/*
 * What few sockets ever have: rare options and urgent data. A record of its own, with the socket's
 * index, made when the first such thing is set; a socket without one has the defaults. If it is
 * found corrupt, they are the defaults again.
 */
#pragma once
#include "inet/sock.h"
#include "wire/ipopt.h"

enum sockx_flags {
	SOCKX_NO_PORT = 1 << 0,	  /* IP_BIND_ADDRESS_NO_PORT */
	SOCKX_NO_LOOP = 1 << 1,	  /* IP_MULTICAST_LOOP off */
	SOCKX_ALL = 1 << 2,	  /* IP_MULTICAST_ALL is not as at first: off for AF_INET, on for AF_INET6 */
	SOCKX_GRO = 1 << 3,	  /* UDP_GRO */
	SOCKX_NO_CHECK = 1 << 4,  /* SO_NO_CHECK */
	SOCKX_DONTROUTE = 1 << 5, /* SO_DONTROUTE */
	SOCKX_DEBUG = 1 << 6,	  /* SO_DEBUG */
	SOCKX_CPU = 1 << 7,	  /* SO_INCOMING_CPU was set */
	SOCKX_NODEFRAG = 1 << 8,
	SOCKX_URGENT_IN = 1 << 9,   /* rcv_up counts */
	SOCKX_URGENT_OUT = 1 << 10, /* snd_up counts */
	SOCKX_RXQ_OVFL = 1 << 11,	/* SO_RXQ_OVFL */
	SOCKX_ROUTER_ALERT = 1 << 12,	/* IP_ROUTER_ALERT */
	SOCKX_FASTOPEN_CONNECT = 1 << 13, /* TCP_FASTOPEN_CONNECT */
	SOCKX_ZEROCOPY = 1 << 14,	  /* SO_ZEROCOPY */
	SOCKX_PREFER_BUSY_POLL = 1 << 15, /* SO_PREFER_BUSY_POLL */
	SOCKX_NOFCS = 1 << 16,		  /* SO_NOFCS */
	SOCKX_NO_REHASH = 1 << 17,	  /* SO_TXREHASH off */
};

struct sockx_rec {
	uint32_t flags;	   /* enum sockx_flags */
	uint16_t gso_size; /* UDP_SEGMENT */
	uint8_t min_ttl;   /* IP_MINTTL */
	uint8_t options_len; /* IP_OPTIONS */
	struct ipaddr mcast_source; /* IP_MULTICAST_IF */
	uint32_t mcast_dev;	    /* + 1; 0: by the route */
	uint32_t busy_poll_us;
	int32_t incoming_cpu;
	uint32_t unicast_dev; /* IP_UNICAST_IF + 1; 0: by the route */
	/* Urgent data: stream offsets of the urgent byte */
	uint64_t rcv_up, snd_up;
	uint32_t window_clamp; /* TCP_WINDOW_CLAMP */
	uint16_t fastopen_queue; /* TCP_FASTOPEN: kept and told */
	/* Of a path that swallows large segments, in bytes of payload: the largest known to arrive, the smallest known not to (0: none
	 * is known), the one that is tried; when the next trial is due; where the one that is out ends, 0: none is. tcp/blackhole.c */
	uint16_t mss_low, mss_high, mss_try;
	uint32_t mss_at_s;
	uint64_t mss_try_end;
	/* SO_ZEROCOPY: the number of the next send with MSG_ZEROCOPY, and of the first that is not told to be done with */
	uint32_t copies_next, copies_told;
	uint64_t rx_time; /* SO_TIMESTAMP of a stream: when its newest byte came */
	uint8_t options[IPOPT_BYTES_MAX];
};

/* The record, or one of defaults. Never NULL. */
const struct sockx_rec *sockx_peek(const struct stack *s, uint32_t sk);
/* Writable, made if there is none; NULL without room. */
struct sockx_rec *sockx_get(struct stack *s, uint32_t sk);
/* An accepted child has what its listener has. */
void sockx_inherit(struct stack *s, uint32_t child, uint32_t listener);
