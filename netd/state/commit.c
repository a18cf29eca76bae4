/* Writing a cycle's working copies into the arena, and making them true. Theory of operation: state.h. */
#include "state/image.h"
#include "base/crc32c.h"
#include <string.h>

/* Orders stores before it against stores after it: a SIGKILL falls between two instructions. */
#define store_barrier() __atomic_thread_fence(__ATOMIC_RELEASE)

uint32_t image_crc(const struct image *im, enum record_kind kind, uint32_t index, uint32_t size)
{
	struct {
		uint64_t cycle;
		uint32_t kind, index, gen_live, size;
	} id = {im->cycle, kind, index, im->gen_live, size};
	uint32_t crc = crc32c(0, &id, sizeof(id));

	return im->gen_live & 1 ? crc32c_thirds(crc, im->content, size) : crc;
}

/* Nothing to write if the copy says what the truth already says. */
static bool unchanged(const struct state *st, const struct kind *k, const struct work *w)
{
	const struct image *truth = image_at(st, k, w->index, k->newest[w->index]);

	return w->live && w->was_live && truth->gen_live >> 1 == w->gen &&
	       !memcmp(truth->content, w->copy, k->size);
}

static void write_image(struct state *st, struct kind *k, const struct work *w)
{
	struct image *im = image_at(st, k, w->index, !k->newest[w->index]);

	store_once(&im->cycle, st->cycle);
	store_barrier();
	KILLPOINT("commit.image.number");
	im->gen_live = w->gen << 1 | w->live;
	if (w->live)
		memcpy(im->content, w->copy, k->size);
	KILLPOINT("commit.image.content");
	im->crc = image_crc(im, (enum record_kind)w->kind, w->index, k->size);
	KILLPOINT("commit.image.crc");
}

static void release_works(struct state *st)
{
	st->n_work = 0;
	st->block_at = 0;
	st->block_used = 0;
}

void state_commit(struct state *st)
{
	KILLPOINT("commit.begin");
	for (uint32_t i = 0; i < st->n_work; i++) {
		struct work *w = &st->work[i];
		struct kind *k = &st->kind[w->kind];

		if (unchanged(st, k, w)) {
			k->working[w->index] = 0;
			w->copy = NULL;
			continue;
		}
		write_image(st, k, w);
	}
	store_barrier();
	KILLPOINT("commit.before");
	store_release(&st->h->committed, st->cycle);
	KILLPOINT("commit.after");
	for (uint32_t i = 0; i < st->n_work; i++) {
		struct work *w = &st->work[i];
		struct kind *k = &st->kind[w->kind];

		if (!w->copy)
			continue;
		k->newest[w->index] ^= 1;
		k->working[w->index] = 0;
		if (st->h->untold)
			bit_put(k->untold, w->index, true);
		if (!w->live) {
			bit_put(k->used, w->index, false);
			if (w->index / 64 < k->low)
				k->low = w->index / 64;
		}
	}
	st->cycle++;
	release_works(st);
}

void state_abandon(struct state *st)
{
	for (uint32_t i = 0; i < st->n_work; i++) {
		struct work *w = &st->work[i];
		struct kind *k = &st->kind[w->kind];

		k->working[w->index] = 0;
		k->count += (uint32_t)w->was_live - (uint32_t)w->live;
		bit_put(k->live, w->index, w->was_live);
		bit_put(k->used, w->index, w->was_live);
		if (w->index / 64 < k->low)
			k->low = w->index / 64;
	}
	release_works(st);
}
