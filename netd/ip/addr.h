/*
 * Our addresses. Each brings its place in the local table (derived, ip/route.c), its subnet's
 * broadcast address, and a connected route (a KIND_ROUTE record, so that it can be listed).
 */
#pragma once
#include "proto/endpoint.h"
#include <stdint.h>

struct stack;

struct addr_rec {
	struct ipaddr addr;
	uint32_t dev;
	uint8_t prefix; /* of its family: 0..32 for IPv4 */
	uint8_t pad[3];
};

/* 0, -EEXIST, -ENODEV, -EINVAL, -EAFNOSUPPORT, -ENOSPC. */
int addr_add(struct stack *s, uint32_t dev, const struct ipaddr *addr, uint8_t prefix);
/* Gives each address the connected route that it should have. */
void addr_connect(struct stack *s);
/* Its connected route goes with it. 0, -EADDRNOTAVAIL. */
int addr_delete(struct stack *s, uint32_t dev, const struct ipaddr *addr, uint8_t prefix);
/* The next one at or after `from`, NO_INDEX after the last. For lists: for (i = addr_next(s, 0,
 * &a); a; i = addr_next(s, i + 1, &a)) */
uint32_t addr_next(const struct stack *s, uint32_t from, const struct addr_rec **a);
/* The device that has this address of ours (lo has all of 127.0.0.0/8), or NO_INDEX. */
uint32_t addr_device(const struct stack *s, const struct ipaddr *addr);
/* The address of ours on this device that a packet to `to` should come from; false if it has none.
 */
bool addr_select(const struct stack *s, uint32_t dev, const struct ipaddr *to, struct ipaddr *out);
