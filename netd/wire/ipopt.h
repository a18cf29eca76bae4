/*
 * Options of the IPv4 header, RFC 791, 3.1: checked once, then filled in by each host they pass.
 *
 * An option that a host adds to (record route, timestamp) has a pointer to its next free slot. A
 * list stands here as it is before this host added anything, so that it can be told again as it
 * was given; ipopt_record() adds. What of a list is right, and where the error is in one that is
 * not, is as the kernel's ip_options_compile() has it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPOPT_BYTES_MAX 40u

enum ipopt_type { /* the copied bit and the class are part of it */
	IPOPT_T_END = 0,
	IPOPT_T_NOP = 1,
	IPOPT_T_RECORD = 7,
	IPOPT_T_STAMP = 68,
	IPOPT_T_LSRR = 131,
	IPOPT_T_SSRR = 137,
	IPOPT_T_ALERT = 148,
};

struct ipopt {
	uint8_t len; /* a multiple of 4; 0: there are none */
	uint8_t bytes[IPOPT_BYTES_MAX];
	/* Where these are in `bytes`, + 1; 0: not there */
	uint8_t record, stamp, source;
	bool strict; /* the source route is */
};

enum ipopt_from {
	IPOPT_FROM_WIRE,
	IPOPT_FROM_USER, /* to be sent: only what is known */
	IPOPT_FROM_ROOT, /* to be sent, by somebody who may send anything */
};

/* The host that adds itself. */
struct ipopt_host {
	uint32_t addr;	  /* the address it goes by in this packet */
	uint32_t time_ms; /* since midnight, universal time */
	bool (*ours)(const void *arg, uint32_t addr);
	const void *arg;
};

/*
 * Checks `len` bytes of options and finds what is in them. What a user gives is padded to a
 * multiple of 4, and the slot that will be filled in first is cleared, unless its addresses are
 * given. 0, or -EINVAL: then `*bad` is the offset of the error.
 */
int ipopt_parse(
    struct ipopt *o, const uint8_t *buf, size_t len, enum ipopt_from from, uint8_t *bad);
/* Fills in the next slots, where there is one. A stamp without room counts us, if we are passed. */
void ipopt_record(struct ipopt *o, const struct ipopt_host *h, bool passing);
/* Where a packet with these options goes first on its way to `dst`. */
uint32_t ipopt_first_hop(const struct ipopt *o, uint32_t dst);
/* As they leave the sender. */
void ipopt_send(struct ipopt *o, uint32_t dst, const struct ipopt_host *h);
/*
 * The options of an answer to a packet that had these: its routes and stamps go on. A source route
 * is never followed, so there is none to be turned round. 0, -EINVAL.
 */
int ipopt_echo(struct ipopt *to, const struct ipopt *from);
/* For the fragments after the first: what is not copied becomes NOPs. */
void ipopt_later_fragment(struct ipopt *o);
