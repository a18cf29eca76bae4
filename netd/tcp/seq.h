/*
 * Sequence arithmetic, RFC 9293, 3.4: 32-bit numbers that wrap, compared by their distance.
 *
 * Inside the stack everything is counted in 64-bit stream offsets (0 is the first byte after the
 * SYN), which never wrap; seq_unwrap() is the one way from the wire's numbers to them.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

static inline bool seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
	return seq_before(b, a);
}

/* Is low <= x <= high? */
static inline bool seq_between(uint32_t low, uint32_t x, uint32_t high)
{
	return high - low >= x - low;
}

/* The offset nearest to `near` whose number is `seq`, when `near` itself has the number `near_seq`.
 */
static inline int64_t seq_unwrap(uint32_t seq, uint64_t near, uint32_t near_seq)
{
	return (int64_t)near + (int32_t)(seq - near_seq);
}
