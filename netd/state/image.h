/* One image of a record in the arena, and the private bookkeeping of its kind. Private to state/. */
#pragma once
#include "state/state.h"
#include "proto/ring.h"

struct image {
	uint64_t cycle;    /* that wrote it; 0: never written, or scrubbed */
	uint32_t crc;      /* over cycle, kind, index, gen_live and (if live) content */
	uint32_t gen_live; /* generation << 1 | live */
	uint8_t content[];
};
static_assert(sizeof(struct image) == 16, "layout");

/* A record's working copy in this cycle. */
struct work {
	uint16_t kind;
	bool live;
	bool was_live; /* in the truth that this cycle started from */
	uint32_t index;
	uint32_t gen;
	void *copy;
};

struct kind {
	const struct state_table *t; /* private copy of the layout below */
	uint64_t off;
	uint32_t stride, size, capacity;
	uint32_t count;    /* live records, this cycle's changes included */
	uint32_t low;      /* no free index in words of `used` below this one */
	uint64_t *live;    /* bit: live as this cycle sees it */
	uint64_t *used;    /* bit: live, or freed in this cycle */
	uint8_t *newest;   /* which of the two images is the truth */
	uint32_t *working; /* index + 1 into state.work, 0: untouched */
	uint64_t *untold;  /* bit: written since state_header.untold, while that is not 0 */
};

struct state {
	uint8_t *mem;
	uint64_t size;
	struct state_header *h;
	uint64_t cycle; /* being worked: committed + 1 */
	struct kind kind[KIND_COUNT];
	struct work *work;
	uint32_t n_work, work_room;
	uint8_t **block; /* working copies are cut from these */
	uint32_t n_blocks, block_at;
	size_t block_used;
};

static inline struct image *image_at(const struct state *st, const struct kind *k, uint32_t index, unsigned which)
{
	return (struct image *)(void *)(st->mem + k->off + ((uint64_t)index * 2 + which) * k->stride);
}

uint32_t image_crc(const struct image *im, enum record_kind kind, uint32_t index, uint32_t size);

static inline bool bit_get(const uint64_t *map, uint32_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static inline void bit_put(uint64_t *map, uint32_t i, bool v)
{
	if (v)
		map[i / 64] |= 1ull << (i % 64);
	else
		map[i / 64] &= ~(1ull << (i % 64));
}
