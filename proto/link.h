/*
 * A struct sockaddr_ll in the shape of an endpoint: what AF_PACKET sockets are bound to, send to
 * and receive from. The port is the ethertype, in host order; the address holds the rest.
 */
#pragma once
#include "proto/endpoint.h"
#include <assert.h>

struct link_name {
	uint8_t addr[6];
	uint8_t halen;	  /* bytes of addr: 0 or 6 */
	uint8_t pkttype;  /* PACKET_HOST ... */
	uint32_t ifindex; /* 0: any device */
	uint16_t hatype;  /* ARPHRD_ETHER ... */
	uint16_t pad;
};
static_assert(sizeof(struct link_name) == sizeof(struct ipaddr), "stands in an endpoint");

static inline struct endpoint link_to_endpoint(const struct link_name *n, uint16_t ethertype)
{
	struct endpoint ep = {.port = ethertype};

	memcpy(ep.addr.b, n, sizeof(*n));
	return ep;
}

static inline struct link_name link_of_endpoint(const struct endpoint *ep)
{
	struct link_name n;

	memcpy(&n, ep->addr.b, sizeof(n));
	n.pad = 0;
	return n;
}
