/*
 * The type of the constant tables: which family, type, protocol and ethertype goes where. The tables
 * themselves stand in one place, daemon/switchboard.c. They are the only way upward: a lower layer
 * calls a higher one through them and nowhere else.
 */
#pragma once
#include "state/state.h"

struct packet;
struct ipaddr;
struct ip_meta;    /* ip/ip.h */
struct ip_error;
struct inet_proto; /* ip/ip.h */
struct sock_ops;   /* inet/sock.h */

struct ethertype_row {
	uint16_t type;
	/* The front is behind the link header; `src` is the sender's MAC (zeros on lo). The caller frees. */
	void (*input)(struct stack *s, struct packet *p, const uint8_t src[6]);
};

struct inetsw_row {
	uint8_t type, protocol; /* protocol 0: whichever it is */
	const struct sock_ops *ops;
};

struct family_row {
	uint16_t family;
	const struct inetsw_row *types; /* the first row of a type is its default protocol */
	unsigned n_types;
};

struct switchboard {
	const struct record_type *records; /* KIND_COUNT rows */
	const struct ethertype_row *ethertypes;
	unsigned n_ethertypes;
	const struct inet_proto *const *protos;
	unsigned n_protos;
	const struct family_row *families;
	unsigned n_families;
	/* Nobody answers for the next hop of this packet, which is about to be dropped; front at the IP header. May be NULL. */
	void (*neigh_failed)(struct stack *s, const struct packet *p);
	/* The neighbour table asks for an address: broadcast if `mac` is NULL, else a unicast probe (ip/arp.c). */
	void (*neigh_solicit)(struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac);
	/*
	 * Who looks at packets on their way besides those that they are for (inet/raw.h): every frame of a device while
	 * device_taps() says that somebody does, every packet for this host, every echo reply, every ICMP error.
	 */
	void (*tap)(struct stack *s, const struct packet *p, bool outgoing);
	bool (*raw_input)(struct stack *s, struct packet *p, const struct ip_meta *m, const uint8_t *header, uint32_t len);
	void (*ping_input)(struct stack *s, struct packet *p, const struct ip_meta *m);
	void (*raw_error)(struct stack *s, const struct ip_error *e);
};

extern const struct switchboard switchboard;
