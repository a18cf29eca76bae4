#include "base/crc32c.h"
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t c = ~crc;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		c = _mm_crc32_u64(c, v);
	}
	for (; len; len--, p++)
		c = _mm_crc32_u8((uint32_t)c, *p);
	return ~(uint32_t)c;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_thirds(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t third = len / 24 * 8;
	uint64_t c[3] = {~crc, ~crc, ~crc};

	for (size_t i = 0; i < third; i += 8) {
		uint64_t a, b, d;

		memcpy(&a, p + i, 8);
		memcpy(&b, p + third + i, 8);
		memcpy(&d, p + 2 * third + i, 8);
		c[0] = _mm_crc32_u64(c[0], a);
		c[1] = _mm_crc32_u64(c[1], b);
		c[2] = _mm_crc32_u64(c[2], d);
	}
	/* Multiplied: all three are linear, and a change in one third could cancel that in another. */
	c[0] = _mm_crc32_u64(c[0], (c[1] * 0x9e3779b1u) << 32 | (uint32_t)(c[2] * 0x85ebca77u));
	return crc32c(~(uint32_t)c[0], p + 3 * third, len - 3 * third);
}
#else
uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	crc = ~crc;
	for (; len; len--, p++) {
		crc ^= *p;
		for (int i = 0; i < 8; i++)
			crc = (crc >> 1) ^ (0x82f63b78u & -(crc & 1));
	}
	return ~crc;
}

uint32_t crc32c_thirds(uint32_t crc, const void *data, size_t len)
{
	return crc32c(crc, data, len);
}
#endif
