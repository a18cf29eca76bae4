/*
 * Sockets below the transports: SOCK_RAW, ping sockets, AF_PACKET.
 *
 *	raw.c         SOCK_RAW: names, options;  raw_send.c, raw_receive.c  its packets
 *	ping.c        SOCK_DGRAM with IPPROTO_ICMP: echo and its reply, no privilege needed
 *	tap.c         AF_PACKET: binding, options;  tap_send.c, tap_receive.c  its frames
 *	filter.c      SO_ATTACH_FILTER
 *	mailbox.c     their datagram rings, which are UDP's too;  mailbox_send.c
 *
 * Theory of operation. They are datagram sockets: their rings hold whole messages, positions are
 * facts of the socket's record, so a message is with its reader exactly once and on the wire at
 *most once, whenever the daemon dies. What only they need is in a record of its own (KIND_RAW),
 *named by the socket's `raw`; a ping socket has none. Who gets a copy stands in lists by protocol
 *and one of all taps (inet/layer.h), rebuilt from the records.
 *
 * Everything that a client can say here is bounded: lists by the number of records, a filter by its
 * length (wire/bpf.h), a device's promiscuity by a count.
 */
#pragma once
#include "inet/sock.h"
#include "ip/ip.h"

#define RAW_SOCKETS 4096u /* less than 65535: a socket names its record in 16 bits */
#define RAW_MEMBERS 8u

struct raw_member { /* PACKET_ADD_MEMBERSHIP */
	uint32_t dev;
	uint16_t count; /* 0: the place is free */
	uint16_t type, alen;
	uint8_t addr[8];
};

struct raw_rec {
	uint32_t sk;		       /* its socket */
	uint32_t icmp_filter;	       /* ICMP_FILTER: types that are not wanted, a bit each */
	struct ring_place filter;      /* the program, in the daemon's own memory */
	struct ring_place staged;      /* one that is being handed over, piece by piece */
	uint16_t filter_len;	       /* instructions; 0: no filter */
	uint16_t staged_len, staged_n; /* it will have, it has */
	uint8_t filter_locked;	       /* SO_LOCK_FILTER */
	uint8_t hdrincl;
	/* AF_PACKET */
	uint16_t ethertype; /* host order; 0 none, ETH_P_ALL every one and what we send */
	uint8_t ignore_outgoing;
	uint32_t packets, dropped; /* since PACKET_STATISTICS was last asked for */
	struct raw_member member[RAW_MEMBERS];
};

extern const struct sock_ops raw_ops, ping_ops, tap_ops;
extern const struct inet_proto ping_proto; /* errors only: ICMP itself is ip/icmp.h */

/* ---- what the switchboard calls */

/* A packet for us: a copy to each raw socket that wants it. `header` is its IP header. Has any
 * taken it? */
bool raw_input(struct stack *s, struct packet *p, const struct ip_meta *m, const uint8_t *header,
    uint32_t header_len);
/* An ICMP error about a packet that we sent. */
void raw_error(struct stack *s, const struct ip_error *e);
/* An echo reply; the front is at the ICMP header, whose checksum is right. */
void ping_input(struct stack *s, struct packet *p, const struct ip_meta *m);
/* A frame that came in or goes out; its front is at the link header, on lo at the network header.
 */
void tap_input(struct stack *s, const struct packet *p, bool outgoing);
