/*
 * The checksum's loops.
 *
 * Theory of operation. The ones' complement sum does not care in which byte order or word size it
 * is taken, as long as carries come back in (RFC 1071, 2): so memory is added as 64-bit machine
 * words, each split in two halves that are added to 64-bit accumulators which cannot overflow
 * within one call's block, and the result is folded and byte-swapped once at the end. Four
 * independent accumulators let the compiler use vector instructions.
 */
#include "wire/checksum.h"
#include "base/util.h"
#include <string.h>

#define COPY_BLOCK 2048	      /* copied, then summed while it is in the nearest cache */
#define SUM_BLOCK  (1u << 20) /* even, and far from overflowing an accumulator */

static uint64_t sum_words(const uint8_t *p, size_t len)
{
	uint64_t a = 0, b = 0, c = 0, d = 0;
	uint32_t w[8];

	for (; len >= sizeof(w); p += sizeof(w), len -= sizeof(w)) {
		memcpy(w, p, sizeof(w));
		a += (uint64_t)w[0] + w[4];
		b += (uint64_t)w[1] + w[5];
		c += (uint64_t)w[2] + w[6];
		d += (uint64_t)w[3] + w[7];
	}
	for (; len >= 4; p += 4, len -= 4) {
		memcpy(w, p, 4);
		a += w[0];
	}
	if (len) {
		w[0] = 0;
		memcpy(w, p, len);
		b += w[0];
	}
	return (uint64_t)csum_fold(a) + csum_fold(b) + csum_fold(c) + csum_fold(d);
}

/* A sum of machine-order words as one of big-endian words. */
static uint32_t to_host(uint32_t folded)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? csum_odd(folded) : folded;
}

uint32_t csum(const void *data, size_t len, uint32_t seed)
{
	const uint8_t *p = data;
	uint64_t sum = 0;

	while (len > SUM_BLOCK) {
		sum += sum_words(p, SUM_BLOCK);
		p += SUM_BLOCK;
		len -= SUM_BLOCK;
	}
	sum += sum_words(p, len);
	return csum_fold((uint64_t)to_host(csum_fold(sum)) + seed);
}

uint32_t csum_copy(void *dst, const void *src, size_t len, uint32_t seed)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	while (len) {
		size_t n = min_of(len, (size_t)COPY_BLOCK);

		memcpy(to, from, n);
		seed = csum(to, n, seed);
		to += n;
		from += n;
		len -= n;
	}
	return csum_fold(seed);
}
