/*
 * The arena: fixed-size records, two images each, and the cycle number that decides.
 *
 * Theory of operation
 *
 * Each record has two image places. An image is {cycle number, CRC-32C, generation, live, content}.
 * The truth of a record is its newest image whose number is not above header.committed. A cycle
 * changes records only in private working copies; state_commit() writes each working copy over the
 * older image of its record, and then one release store of `committed` makes all of them true at
 * once. A death before that store leaves images above `committed`: torn work, which recovery scrubs
 * before its own first commit (else a later cycle with the same number would make it true). An image
 * at or below `committed` whose CRC is wrong is corruption: never fall back to the older image, which
 * would be a past truth; the record is reported to its kind's owner, who pays.
 *
 * Order of the stores of one image: number (above `committed`, so the image is void from here on),
 * then generation and content, then the CRC. The older image is never the truth at that moment.
 *
 * What is derived (lookup tables, free lists, timers) lives outside, in private memory, and is
 * rebuilt by each layer's *_reindex().
 */
#pragma once
#include "state/kinds.h"
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/killpoint.h"
#include "state/blackbox.h"

#define STATE_MAGIC   0x4e445354u /* "NDST" */
#define STATE_VERSION 6
#define NO_INDEX      UINT32_MAX

struct stack;

/* One kind's row in the constant table (daemon/switchboard.c). */
struct record_type {
	const char *name;
	uint32_t size;     /* bytes of content */
	uint32_t capacity; /* most records there can be */
	/* The record's timer ran out (state/timer.h). May be NULL. */
	void (*expired)(struct stack *s, uint32_t index);
	/* The record was found corrupt and has been freed: what hangs on it is to be given up. May be NULL. */
	void (*lost)(struct stack *s, uint32_t index);
};

struct state_table {
	uint64_t off;
	uint32_t stride; /* of one image */
	uint32_t size;
	uint32_t capacity;
	uint32_t high; /* no record at or above this index was ever live; grows before first use */
};

/* The beginning of the arena. */
struct state_header {
	uint32_t magic, version;
	uint64_t size;
	uint32_t kinds;
	uint32_t inited;
	uint64_t committed;
	uint64_t untold; /* while a recovery is not told to its end: the oldest cycle that may not have been; else 0 */
	pthread_mutex_t active; /* robust: held by the active netd-inet */
	struct killpoint_arm killpoint;
	struct blackbox box;
	struct state_table table[KIND_COUNT];
};

struct state;

/* Byte size of an arena for these kinds. */
uint64_t state_size(const struct record_type types[KIND_COUNT]);
/*
 * Opens the arena mapped at `mem`: formats it if it is all zero, else checks that it has this layout.
 * Does not recover. Returns 0, -EPROTO (another layout), -ENOMEM.
 */
int state_open(struct state **out, void *mem, uint64_t size, const struct record_type types[KIND_COUNT]);
void state_close(struct state *st);
/*
 * Finds the truth of every record, scrubs torn images, builds free lists; calls `corrupt` for each
 * corrupt record (already freed). Only the holder of the mutex may call it.
 */
int state_recover(struct state *st, void (*corrupt)(void *arg, enum record_kind kind, uint32_t index), void *arg);

/* Takes the role of the active daemon. 0; 1 if the predecessor died holding it; -EBUSY if `wait` is false and somebody holds it. */
int state_lock(struct state *st, bool wait);
struct state_header *state_header(struct state *st);

/*
 * The record's working copy, made at the first call in a cycle; valid and writable until the cycle's
 * commit. NULL if the record is not live or the index out of range.
 */
void *state_get(struct state *st, enum record_kind kind, uint32_t index);
/* The record as this cycle sees it, read-only, valid until the commit. Cheaper than state_get() when nothing changes. */
const void *state_peek(const struct state *st, enum record_kind kind, uint32_t index);
/* A new zeroed record at the lowest free index; returns its working copy, or NULL when the kind is full. */
void *state_alloc(struct state *st, enum record_kind kind, uint32_t *index);
/* The same at a given index, which must be free now. NULL if it is not. */
void *state_alloc_at(struct state *st, enum record_kind kind, uint32_t index);
/* Frees at the commit; the index is not given out again before the next cycle. */
void state_free(struct state *st, enum record_kind kind, uint32_t index);
bool state_live(const struct state *st, enum record_kind kind, uint32_t index);
uint32_t state_generation(const struct state *st, enum record_kind kind, uint32_t index);
/* The next live record at or after `from`; NO_INDEX after the last. for (i = state_next(st,k,0); i != NO_INDEX; i = state_next(st,k,i+1)) */
uint32_t state_next(const struct state *st, enum record_kind kind, uint32_t from);
/*
 * After a restart records are looked at in order, in memory that nobody has touched for long: a walk asks for those a few
 * places ahead. state_next() does it for its own kind.
 */
#define PREFETCH_AHEAD 6
void state_prefetch(const struct state *st, enum record_kind kind, uint32_t index);
/*
 * May the others not have been told of the record's truth? A cycle is told to its end before the next one commits, so
 * after a recovery this is what the last committed cycle wrote, or what a predecessor that died in its own recovery
 * still had to tell, and what was written since. state_all_told() ends it.
 */
bool state_untold(const struct state *st, enum record_kind kind, uint32_t index);
void state_all_told(struct state *st);
uint32_t state_count(const struct state *st, enum record_kind kind);
uint32_t state_capacity(const struct state *st, enum record_kind kind);

/* Records touched in this cycle. */
uint32_t state_dirty(const struct state *st);
/* Makes this cycle true. */
void state_commit(struct state *st);
/* Forgets this cycle's work (tests). */
void state_abandon(struct state *st);
