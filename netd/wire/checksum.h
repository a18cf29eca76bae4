/*
 * The internet checksum, RFC 1071 and 1624.
 *
 * A "sum" here is the ones' complement sum of big-endian 16-bit words as a host-order number,
 * folded to 16 bits and not complemented; sums can be added and fed in as seeds. What stands in a
 * header is its complement: be16_make(csum_finish(sum)). A correct packet sums to 0xffff, its
 * checksum included.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Sum of `len` bytes (an odd last byte is padded with zero), plus `seed`. */
uint32_t csum(const void *data, size_t len, uint32_t seed);
/* Copies, and returns csum() of the copy (not of the source, which may change under us). */
uint32_t csum_copy(void *dst, const void *src, size_t len, uint32_t seed);

static inline uint32_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16); /* at most 18 bits are left */
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)((sum & 0xffff) + (sum >> 16));
}

static inline uint32_t csum_add(uint32_t a, uint32_t b)
{
	return csum_fold((uint64_t)a + b);
}

/* The sum of a 32-bit number's two halves, e.g. an IPv4 address in host order. */
static inline uint32_t csum_u32(uint32_t v)
{
	return csum_fold(v);
}

/* The sum of a piece that lies at an odd offset of the whole. */
static inline uint32_t csum_odd(uint32_t sum)
{
	return ((sum & 0xff) << 8) | ((sum >> 8) & 0xff);
}

/* Adds the sum of a piece which lies at offset `off` of the whole. */
static inline uint32_t csum_add_at(uint32_t whole, uint32_t piece, size_t off)
{
	return csum_add(whole, off & 1 ? csum_odd(piece) : piece);
}

/* What goes into the header, host order. */
static inline uint16_t csum_finish(uint32_t sum)
{
	return (uint16_t)~csum_fold(sum);
}

/* The same for UDP over IPv4, where 0 means "none". */
static inline uint16_t csum_finish_udp(uint32_t sum)
{
	uint16_t c = csum_finish(sum);

	return c ? c : 0xffff;
}

/* RFC 1624: the checksum field after a 16-bit word under it changed; all host order. */
static inline uint16_t csum_update16(uint16_t field, uint16_t old, uint16_t now)
{
	return csum_finish((uint32_t)(uint16_t)~field + (uint16_t)~old + now);
}

static inline uint16_t csum_update32(uint16_t field, uint32_t old, uint32_t now)
{
	field = csum_update16(field, (uint16_t)(old >> 16), (uint16_t)(now >> 16));
	return csum_update16(field, (uint16_t)old, (uint16_t)now);
}
