/*
 * The type of the constant tables: which family, type, protocol and ethertype goes where. The tables
 * themselves stand in one place, daemon/switchboard.c. They are the only way upward: a lower layer
 * calls a higher one through them and nowhere else.
 */
#pragma once
#include "state/state.h"

struct packet;
struct ipaddr;
struct inet_proto; /* ip/ip.h */
struct sock_ops;   /* inet/sock.h */

struct ethertype_row {
	uint16_t type;
	/* The front is behind the link header; `src` is the sender's MAC (zeros on lo). The caller frees. */
	void (*input)(struct stack *s, struct packet *p, const uint8_t src[6]);
};

struct inetsw_row {
	uint8_t type, protocol;
	const struct sock_ops *ops;
};

struct switchboard {
	const struct record_type *records; /* KIND_COUNT rows */
	const struct ethertype_row *ethertypes;
	unsigned n_ethertypes;
	const struct inet_proto *const *protos;
	unsigned n_protos;
	const struct inetsw_row *inetsw; /* the first row of a type is its default protocol */
	unsigned n_inetsw;
	/* The neighbour table asks for an address: broadcast if `mac` is NULL, else a unicast probe (ip/arp.c). */
	void (*neigh_solicit)(struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac);
};

extern const struct switchboard switchboard;
