/*
 * Rings: single producer, single consumer, positions that only grow.
 *
 * Theory of operation. A position is a 64-bit count of entries (or bytes) since the ring's birth; the
 * place in memory is position modulo a power-of-two capacity. The producer writes the content, then
 * publishes its position with a release store; the consumer reads the position with acquire, then the
 * content. Each side keeps its own position and the capacity in private memory; what the other side
 * publishes is input: read once, checked with ring_avail(), then used.
 *
 * A ring has no fixed place. Where it lies is a struct ring_place, looked up, never computed; a new
 * epoch says that it has moved. Positions survive a move: `base` is the position that lies at `off`.
 *
 * Bells. Before it sleeps, a consumer stores its "I sleep" word, executes fence_full(), and looks at
 * the producer's position once more; only if that is unchanged it sleeps. A producer publishes its
 * position, executes fence_full(), and looks at the word; only if it is set it rings.
 */
#pragma once
#include "proto/barrier.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHELINE 64

/* A published position, alone on its line: one writer a line. */
struct ring_pos {
	_Alignas(CACHELINE) uint64_t v;
};
static_assert(sizeof(struct ring_pos) == CACHELINE, "one line");

/* Where a movable ring lies. `cap` is in bytes, a power of two, 0 while the ring has no memory. */
struct ring_place {
	uint64_t off;  /* byte offset in memory `mem` */
	uint64_t base; /* position that lies at `off` */
	uint32_t cap;
	uint32_t mem;   /* memory id: 0 is the daemon's own, else a session's index + 1 */
	uint32_t epoch; /* grows by one with each move */
	uint32_t pad;
};
static_assert(sizeof(struct ring_place) == 32, "layout");

static inline uint64_t ring_place_at(const struct ring_place *r, uint64_t pos)
{
	return r->off + ((pos - r->base) & (r->cap - 1));
}

/*
 * How much a peer's position `prod` offers beyond one's own `cons`.
 * Returns 0..cap, or -1 if the peer's value is a lie (went backwards or beyond the capacity).
 */
static inline int64_t ring_avail(uint64_t prod, uint64_t cons, uint64_t cap)
{
	uint64_t n = prod - cons;

	return n > cap ? -1 : (int64_t)n;
}

static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}
