/* The datagram tests' fixture: what was received, what was sent, what was written. */
#pragma once
#include "ip_rig.h"

#define PORT 5353

static uint8_t buf[70000], data[70000];

static inline void fill_data(void)
{
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
}

/* The next datagram is this one. */
static inline bool got(uint32_t sk, const void *want, uint32_t len, struct cm_dgram *h)
{
	struct cm_dgram d;

	if (!rig_recv(sk, &d, buf, sizeof(buf)))
		return false;
	if (h)
		*h = d;
	cr_assert_eq(d.len, len);
	return !memcmp(buf, want, len);
}

/* The next packet on the wire, taken apart; its length, 0 for none. */
static inline uint32_t sent_udp(struct ipv4_header *h, struct udp_header *u)
{
	uint32_t n = rig_sent(buf, sizeof(buf));
	struct ipaddr a, b;

	if (!n)
		return 0;
	cr_assert_eq(ipv4_parse(h, buf, n), 0);
	cr_assert_eq(udp_parse(u, buf + IPV4_LEN, n - IPV4_LEN), 0);
	a = ipaddr_v4(h->src);
	b = ipaddr_v4(h->dst);
	if (!h->more_fragments && !h->frag_off)
		cr_assert_eq(csum(buf + IPV4_LEN, n - IPV4_LEN,
				 ip_pseudo_sum(&a, &b, IPPROTO_UDP, n - IPV4_LEN)),
		    0xffff);
	return n;
}

/* An option that is an integer. */
static inline int put(uint32_t sk, int level, int name, int v)
{
	return udp_ops.setsockopt(&rig.s, sk, level, name, &v, sizeof(v));
}
