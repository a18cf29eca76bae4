/* ICMP, RFC 792 and RFC 1122, 3.2.2. */
#pragma once
#include "ip/ip.h"

extern const struct inet_proto icmp_proto;

/* An offending packet as errors quote it: its IP header and the beginning of what followed, private
 * copies. */
#define ICMP_QUOTE_MAX 548 /* so that the error is no longer than 576 bytes */
struct icmp_quote {
	uint32_t len, header_len;
	uint8_t bytes[ICMP_QUOTE_MAX];
};

/*
 * Sends an error about the quoted packet to its source; `info` is the second word of the ICMP
 * header (the MTU for "fragmentation needed"). Silent where RFC 1122 forbids one or the rate is
 * used up.
 */
void icmp_error(
    struct stack *s, const struct icmp_quote *q, uint8_t type, uint8_t code, uint32_t info);
/*
 * The switchboard's neigh_failed: nobody has the address that this packet of ours should go to (front at the IP header).
 * Its socket hears what an ICMP error from this host itself would say.
 */
void icmp_unresolved(struct stack *s, const struct packet *p);
/* Its header is wrong at this offset. */
void icmp_parameter(struct stack *s, struct packet *p, const struct ip_meta *m, uint8_t at);
void icmp_needfrag(struct stack *s, struct packet *p, const struct ip_meta *m, uint32_t mtu);
