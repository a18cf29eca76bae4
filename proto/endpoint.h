/*
 * Addresses as every record, key and message carries them: 128 bits from the first day, IPv4 as
 * v4-mapped (::ffff:a.b.c.d). The wildcard of both families is all zero bytes.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct ipaddr {
	uint8_t b[16];
};

struct endpoint {
	struct ipaddr addr;
	uint16_t port; /* host order */
	uint16_t pad;
};

/* `v4` in host order; 0 gives the wildcard, not ::ffff:0.0.0.0, so that one comparison serves both. */
static inline struct ipaddr ipaddr_v4(uint32_t v4)
{
	struct ipaddr a = {{0}};

	if (v4) {
		a.b[10] = a.b[11] = 0xff;
		a.b[12] = (uint8_t)(v4 >> 24);
		a.b[13] = (uint8_t)(v4 >> 16);
		a.b[14] = (uint8_t)(v4 >> 8);
		a.b[15] = (uint8_t)v4;
	}
	return a;
}

static inline bool ipaddr_is_any(const struct ipaddr *a)
{
	static const struct ipaddr any;

	return !memcmp(a, &any, sizeof(any));
}

static inline bool ipaddr_is_v4(const struct ipaddr *a)
{
	static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return !memcmp(a->b, prefix, 12) || ipaddr_is_any(a);
}

/* Host order; 0 for the wildcard. Only for ipaddr_is_v4() addresses. */
static inline uint32_t ipaddr_to_v4(const struct ipaddr *a)
{
	return ((uint32_t)a->b[12] << 24) | ((uint32_t)a->b[13] << 16) | ((uint32_t)a->b[14] << 8) |
	       a->b[15];
}

static inline bool ipaddr_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ipaddr_eq(&a->addr, &b->addr);
}
