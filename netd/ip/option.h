/* Options of the IPv4 header on their way in and out. Private to ip/. */
#pragma once
#include "ip/ip.h"
#include "wire/ipv4.h"

/*
 * Checks the options of a packet for us, and adds this host to `raw`, its header as everybody here will see it; the
 * checksum stays that of what came. 0, or -EINVAL: the packet is dropped, and `*bad` is the offset of the error in the
 * header, 0 if nobody is to be told.
 */
int ip_options_input(struct stack *s, const struct ipv4_header *h, uint8_t *raw, const struct ip_meta *m, uint8_t *bad);
/* The options that `how` asks for go into the header; `later`: of a fragment that is not the first. */
void ip_options_build(struct stack *s, const struct ip_send *how, bool later, struct ipv4_header *h);
/* What an answer to a packet with this header carries. 0; -EINVAL: there is none to be sent. */
int ip_options_echo(const uint8_t *header, uint32_t len, struct ipopt *o);
