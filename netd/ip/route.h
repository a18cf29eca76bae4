/*
 * The routing table. Records hold what was configured; lookups use a sorted table that is derived
 * from them and from the addresses (ip/route.c).
 */
#pragma once
#include "proto/endpoint.h"
#include <stdint.h>

struct stack;

enum route_origin {
	ROUTE_STATIC = 0,
	ROUTE_CONNECTED = 1, /* came with an address and goes with it */
};

struct route_rec {
	struct ipaddr dst;     /* all zero with prefix 0: the default route */
	struct ipaddr gateway; /* wildcard: on link */
	struct ipaddr source;  /* preferred, wildcard: chosen */
	uint32_t dev;
	uint32_t metric;
	uint8_t prefix; /* of its family: 0..32 for IPv4 */
	uint8_t origin; /* enum route_origin */
	uint8_t pad[2];
};

/*
 * 0, -EEXIST (same destination, metric), -ENODEV, -EINVAL (bits beyond the prefix), -ENETUNREACH
 * (the gateway is not on a connected subnet), -EADDRNOTAVAIL (source is not ours), -EAFNOSUPPORT,
 * -ENOSPC. `dev` may be NO_INDEX: the gateway's.
 */
int route_add(struct stack *s, const struct route_rec *want);
/* This record was corrupt and is gone. If it came with an address, ip_reindex() makes it again. */
void route_lost(struct stack *s, uint32_t index);
/* The one with this destination and, where given, gateway, device (NO_INDEX: any) and metric (0:
 * any). 0, -ESRCH. */
int route_delete(struct stack *s, const struct route_rec *which);
/* The next one at or after `from`, NO_INDEX after the last. */
uint32_t route_next(const struct stack *s, uint32_t from, const struct route_rec **r);
