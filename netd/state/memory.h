/*
 * Memories with rings in them, and who holds which part.
 *
 * Memory 0 is the daemon's own (rings of sockets that nobody accepted yet); memory i+1 is the client
 * memory of session i. Their heaps are derived: which part is taken stands in the sockets' records
 * (struct ring_place) and is claimed again after a restart. A freed ring is given out again only
 * after the commit of the cycle that freed it.
 */
#pragma once
#include "proto/ring.h"
#include <stdint.h>

struct memories;

struct memories *memories_new(void);
void memories_free(struct memories *m);
/* Memory `id` lies at `base`; its heap is [heap_off, size), heap_off > 0. Returns 0 or -ENOMEM, -EEXIST, -EINVAL. */
int memory_add(struct memories *m, uint32_t id, void *base, uint64_t size, uint64_t heap_off);
/* Forgets it and unmaps it. */
void memory_remove(struct memories *m, uint32_t id);
void *memory_base(const struct memories *m, uint32_t id);

/*
 * What the rings of several memories, a user's, may take together. Above the limit nothing grows: rings of RING_LEAST
 * bytes are still given, of which there are only as many as the user may have sockets. Limit 0: none.
 */
#define RING_LEAST 4096u
struct memory_quota {
	uint64_t used, limit;
};
/* The memory counts for this quota from now on, with what it takes already; NULL: for none. */
void memory_charge(struct memories *m, uint32_t id, struct memory_quota *q);

/*
 * A ring of `cap` bytes (power of two, at least RING_LEAST) in memory `id`. Fills mem, off, cap in; leaves
 * base and epoch to the caller. Returns 0, -ENOMEM, -ENOENT. ring_alloc_must() is for bytes that have been promised
 * a place: no quota keeps it.
 */
int ring_alloc_must(struct memories *m, uint32_t id, uint32_t cap, struct ring_place *place);
int ring_alloc(struct memories *m, uint32_t id, uint32_t cap, struct ring_place *place);
/* Given back at the next memories_commit(); its pages are returned to the kernel. */
void ring_free(struct memories *m, const struct ring_place *place);
/* At reindex: this ring is in use. -EINVAL if it does not lie in its memory's heap or overlaps another. */
int ring_claim(struct memories *m, const struct ring_place *place);
void memories_commit(struct memories *m);
uint64_t memory_used(const struct memories *m, uint32_t id);
/* Ring bytes in all of them. */
uint64_t memories_used(const struct memories *m);

/*
 * The bytes at position `pos`: pointer to them, and in *run how many lie contiguously (at most len).
 * NULL if the ring has no memory. The place comes from a record, not from shared memory.
 */
uint8_t *ring_span(const struct memories *m, const struct ring_place *p, uint64_t pos, uint32_t len, uint32_t *run);
void ring_read(const struct memories *m, const struct ring_place *p, uint64_t pos, void *dst, uint32_t len);
void ring_write(const struct memories *m, const struct ring_place *p, uint64_t pos, const void *src, uint32_t len);
