/*
 * Finding the truth after a death. For every record that was ever used: scrub images above
 * `committed` (torn work, which a later cycle's number would make true), then take the newest that is
 * left. All of it can be interrupted and done again: a scrub only voids what is void already.
 *
 * The pages are mapped before the walk, all at once: a fault for each would take longer than the work.
 */
#include "state/image.h"
#include "base/log.h"
#include "base/util.h"
#include <string.h>
#include <sys/mman.h>

static void scrub(struct image *im, uint64_t committed)
{
	if (im->cycle <= committed)
		return;
	KILLPOINT("recover.scrub");
	store_once(&im->cycle, 0);
}

/* Settles one record. Returns false if its truth is corrupt. */
static bool settle(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];
	struct image *a = image_at(st, k, index, 0), *b = image_at(st, k, index, 1), *truth;

	scrub(a, st->h->committed);
	scrub(b, st->h->committed);
	k->newest[index] = b->cycle > a->cycle;
	truth = k->newest[index] ? b : a;
	if (!truth->cycle) {
		/* Never committed; what a scrubbed first image said of its generation means nothing. */
		a->gen_live = b->gen_live = 0;
		return true;
	}
	if (image_crc(truth, kind, index, k->size) != truth->crc)
		return false;
	if (truth->cycle >= st->h->untold)
		bit_put(k->untold, index, true);
	if (truth->gen_live & 1) {
		bit_put(k->live, index, true);
		bit_put(k->used, index, true);
		k->count++;
	}
	return true;
}

static void map_images(const struct state *st, const struct kind *k, uint32_t high)
{
	uint64_t from = k->off & ~4095ull, len = align_up(k->off + 2ull * high * k->stride, 4096) - from;

	if (high)
		madvise(st->mem + from, len, MADV_POPULATE_READ); /* a failure only makes it slower */
}

/* Both headers of a record far ahead; of one less far, whose headers are here, the image that will be looked at. */
static void prefetch_images(const struct state *st, const struct kind *k, uint32_t index, uint32_t high)
{
	uint32_t far = index + 2 * PREFETCH_AHEAD, near = index + PREFETCH_AHEAD;
	const struct image *a;
	const char *im;

	if (far < high) {
		__builtin_prefetch(image_at(st, k, far, 0));
		__builtin_prefetch(image_at(st, k, far, 1));
	}
	if (near >= high)
		return;
	a = image_at(st, k, near, 0);
	im = (const char *)(image_at(st, k, near, 1)->cycle > a->cycle ? image_at(st, k, near, 1) : a);
	for (uint32_t at = 64; at < k->stride; at += 64)
		__builtin_prefetch(im + at);
}

/* A record whose truth cannot be known: dead from this cycle's commit on, its index with a new generation. */
static void give_up(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];

	bit_put(k->live, index, true);
	bit_put(k->used, index, true);
	k->count++;
	state_free(st, kind, index);
}

int state_recover(struct state *st, void (*corrupt)(void *arg, enum record_kind kind, uint32_t index),
    void *arg)
{
	int bad = 0;

	KILLPOINT("recover.begin");
	st->cycle = st->h->committed + 1;
	if (!st->h->untold)
		store_release(&st->h->untold, st->h->committed);
	KILLPOINT("recover.untold");
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct kind *k = &st->kind[kind];
		uint32_t high = min_of(load_once(&st->h->table[kind].high), k->capacity);

		map_images(st, k, high);
		for (uint32_t i = 0; i < high; i++) {
			prefetch_images(st, k, i, high);
			if (settle(st, (enum record_kind)kind, i))
				continue;
			log_error("arena: record %d/%u is corrupt and is given up", kind, i);
			give_up(st, (enum record_kind)kind, i);
			if (corrupt)
				corrupt(arg, (enum record_kind)kind, i);
			bad++;
		}
	}
	/* What hangs on a corrupt record may be told anything: all of them are. */
	if (bad)
		store_release(&st->h->untold, 1);
	for (int kind = 0; bad && kind < KIND_COUNT; kind++)
		memcpy(st->kind[kind].untold, st->kind[kind].used, (st->kind[kind].capacity / 64 + 1) * 8ul);
	KILLPOINT("recover.settled");
	return bad;
}
