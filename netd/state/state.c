/* Opening the arena, reading and touching records. Theory of operation: state.h. */
#include "state/image.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK_SIZE (256u * 1024)

static uint32_t image_stride(uint32_t size)
{
	return (uint32_t)align_up(sizeof(struct image) + size, 8);
}

static uint64_t table_layout(const struct record_type types[KIND_COUNT], struct state_table t[KIND_COUNT])
{
	uint64_t off = align_up(sizeof(struct state_header), 4096);

	for (int k = 0; k < KIND_COUNT; k++) {
		t[k] = (struct state_table){.off = off, .stride = image_stride(types[k].size),
		    .size = types[k].size, .capacity = types[k].capacity};
		off = align_up(off + 2ull * t[k].stride * t[k].capacity, 4096);
	}
	return off;
}

uint64_t state_size(const struct record_type types[KIND_COUNT])
{
	struct state_table t[KIND_COUNT];

	return table_layout(types, t);
}

/* Private arrays are as long as the kind's capacity (0: nobody uses it) but cost memory only where they are touched. */
static void *sparse_array(size_t n, size_t each)
{
	void *p = mmap(NULL, max_of(n * each, (size_t)1), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
	    -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t map_words(uint32_t capacity)
{
	return capacity / 64 + 1;
}

static int kind_open(struct kind *k, const struct state_table *t)
{
	k->off = t->off;
	k->stride = t->stride;
	k->size = t->size;
	k->capacity = t->capacity;
	k->live = sparse_array(map_words(k->capacity), 8);
	k->used = sparse_array(map_words(k->capacity), 8);
	k->newest = sparse_array(k->capacity, 1);
	k->working = sparse_array(k->capacity, 4);
	k->untold = sparse_array(map_words(k->capacity), 8);
	return k->live && k->used && k->newest && k->working && k->untold ? 0 : -ENOMEM;
}

static void kind_close(struct kind *k)
{
	if (k->live)
		munmap(k->live, map_words(k->capacity) * 8);
	if (k->used)
		munmap(k->used, map_words(k->capacity) * 8);
	if (k->newest)
		munmap(k->newest, k->capacity);
	if (k->working)
		munmap(k->working, k->capacity * 4ul);
	if (k->untold)
		munmap(k->untold, map_words(k->capacity) * 8);
}

/* The format is written once, by the first daemon; `inited` last, so that a death in between starts over. */
static int arena_format(struct state_header *h, uint64_t size, const struct state_table t[KIND_COUNT])
{
	pthread_mutexattr_t attr;

	if (h->inited)
		return h->magic == STATE_MAGIC && h->version == STATE_VERSION && h->size == size &&
		               h->kinds == KIND_COUNT
		           ? 0
		           : -EPROTO;
	memcpy(h->table, t, sizeof(h->table));
	h->magic = STATE_MAGIC;
	h->version = STATE_VERSION;
	h->size = size;
	h->kinds = KIND_COUNT;
	h->committed = 0;
	if (pthread_mutexattr_init(&attr) || pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) || pthread_mutex_init(&h->active, &attr))
		return -EINVAL;
	pthread_mutexattr_destroy(&attr);
	store_release(&h->inited, 1);
	return 0;
}

int state_open(struct state **out, void *mem, uint64_t size, const struct record_type types[KIND_COUNT])
{
	struct state_table t[KIND_COUNT];
	struct state *st;
	int ret;

	if (table_layout(types, t) > size)
		return -EPROTO;
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	st->mem = mem;
	st->size = size;
	st->h = mem;
	ret = arena_format(st->h, size, t);
	for (int k = 0; k < KIND_COUNT && !ret; k++) {
		const struct state_table *have = &st->h->table[k];

		if (have->off != t[k].off || have->stride != t[k].stride || have->capacity != t[k].capacity)
			ret = -EPROTO;
		else
			ret = kind_open(&st->kind[k], &t[k]);
	}
	if (ret) {
		state_close(st);
		return ret;
	}
	st->cycle = st->h->committed + 1;
	killpoint_init(&st->h->killpoint);
	*out = st;
	return 0;
}

void state_close(struct state *st)
{
	if (!st)
		return;
	for (int k = 0; k < KIND_COUNT; k++)
		kind_close(&st->kind[k]);
	for (uint32_t i = 0; i < st->n_blocks; i++)
		free(st->block[i]);
	free(st->block);
	free(st->work);
	free(st);
}

struct state_header *state_header(struct state *st)
{
	return st->h;
}

int state_lock(struct state *st, bool wait)
{
	int e = wait ? pthread_mutex_lock(&st->h->active) : pthread_mutex_trylock(&st->h->active);

	if (e == EOWNERDEAD) {
		pthread_mutex_consistent(&st->h->active);
		return 1;
	}
	return -e;
}

/* A piece for a working copy. Blocks are kept from cycle to cycle. */
static void *cut(struct state *st, size_t n)
{
	uint8_t *p;

	n = align_up(n, 16);
	if (st->block_at < st->n_blocks && st->block_used + n > BLOCK_SIZE) {
		st->block_at++;
		st->block_used = 0;
	}
	if (st->block_at == st->n_blocks) {
		uint8_t **grown = realloc(st->block, (st->n_blocks + 1) * sizeof(*grown));

		if (!grown)
			return NULL;
		st->block = grown;
		if (!(st->block[st->n_blocks] = malloc(BLOCK_SIZE)))
			return NULL;
		st->n_blocks++;
		st->block_used = 0;
	}
	p = st->block[st->block_at] + st->block_used;
	st->block_used += n;
	return p;
}

/* The commit will write over the older image: fetched while the cycle works, nobody waits for it. */
static void prefetch_older(const struct state *st, const struct kind *k, uint32_t index)
{
	const char *im = (const char *)image_at(st, k, index, !k->newest[index]);

	for (uint32_t at = 0; at < k->stride; at += 64)
		__builtin_prefetch(im + at, 1);
}

/* Opens a working copy, content not yet set. */
static struct work *touch(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];
	struct work *w;

	if (st->n_work == st->work_room) {
		uint32_t room = st->work_room ? st->work_room * 2 : 256;
		struct work *grown = realloc(st->work, room * sizeof(*grown));

		if (!grown)
			return NULL;
		st->work = grown;
		st->work_room = room;
	}
	w = &st->work[st->n_work];
	*w = (struct work){.kind = (uint16_t)kind, .index = index, .was_live = bit_get(k->live, index)};
	w->live = w->was_live;
	w->gen = image_at(st, k, index, k->newest[index])->gen_live >> 1;
	w->copy = cut(st, k->size);
	if (!w->copy)
		return NULL;
	k->working[index] = ++st->n_work;
	prefetch_older(st, k, index);
	return w;
}

void *state_get(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];
	struct work *w;

	if (index >= k->capacity || !bit_get(k->live, index))
		return NULL;
	if (k->working[index])
		return st->work[k->working[index] - 1].copy;
	w = touch(st, kind, index);
	if (!w)
		return NULL;
	memcpy(w->copy, image_at(st, k, index, k->newest[index])->content, k->size);
	return w->copy;
}

const void *state_peek(const struct state *st, enum record_kind kind, uint32_t index)
{
	const struct kind *k = &st->kind[kind];

	if (index >= k->capacity || !bit_get(k->live, index))
		return NULL;
	if (k->working[index])
		return st->work[k->working[index] - 1].copy;
	return image_at(st, k, index, k->newest[index])->content;
}

void *state_alloc_at(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];
	struct work *w;

	if (index >= k->capacity || bit_get(k->live, index))
		return NULL;
	if (st->h->table[kind].high <= index)
		store_once(&st->h->table[kind].high, index + 1);
	w = k->working[index] ? &st->work[k->working[index] - 1] : touch(st, kind, index);
	if (!w)
		return NULL;
	memset(w->copy, 0, k->size);
	w->live = true;
	w->gen = (w->gen + 1) & 0x7fffffffu;
	bit_put(k->live, index, true);
	bit_put(k->used, index, true);
	k->count++;
	return w->copy;
}

void *state_alloc(struct state *st, enum record_kind kind, uint32_t *index)
{
	struct kind *k = &st->kind[kind];

	for (uint32_t w = k->low; w < map_words(k->capacity); w++, k->low = w) {
		uint64_t avail = ~k->used[w];
		uint32_t i;

		if (!avail)
			continue;
		i = w * 64 + (uint32_t)__builtin_ctzll(avail);
		if (i >= k->capacity)
			return NULL;
		*index = i;
		return state_alloc_at(st, kind, i);
	}
	return NULL;
}

void state_free(struct state *st, enum record_kind kind, uint32_t index)
{
	struct kind *k = &st->kind[kind];
	struct work *w;

	if (index >= k->capacity || !bit_get(k->live, index))
		return;
	w = k->working[index] ? &st->work[k->working[index] - 1] : touch(st, kind, index);
	if (!w)
		return; /* out of memory: the record stays, which its owner sees at the next look */
	w->live = false;
	bit_put(k->live, index, false);
	k->count--;
}

bool state_live(const struct state *st, enum record_kind kind, uint32_t index)
{
	return index < st->kind[kind].capacity && bit_get(st->kind[kind].live, index);
}

uint32_t state_generation(const struct state *st, enum record_kind kind, uint32_t index)
{
	const struct kind *k = &st->kind[kind];

	if (index >= k->capacity)
		return 0;
	if (k->working[index])
		return st->work[k->working[index] - 1].gen;
	return image_at(st, k, index, k->newest[index])->gen_live >> 1;
}

void state_prefetch(const struct state *st, enum record_kind kind, uint32_t index)
{
	const struct kind *k = &st->kind[kind];
	const char *im;

	if (index >= k->capacity || !bit_get(k->live, index))
		return;
	im = (const char *)image_at(st, k, index, k->newest[index]);
	for (uint32_t at = 0; at < k->stride; at += 64)
		__builtin_prefetch(im + at);
}

uint32_t state_next(const struct state *st, enum record_kind kind, uint32_t from)
{
	const struct kind *k = &st->kind[kind];
	uint32_t high = min_of(st->h->table[kind].high, k->capacity);

	while (from < high) {
		uint64_t word = k->live[from / 64] >> (from % 64);

		if (word) {
			from += (uint32_t)__builtin_ctzll(word);
			state_prefetch(st, kind, from + PREFETCH_AHEAD);
			return from < high ? from : NO_INDEX;
		}
		from = (from / 64 + 1) * 64;
	}
	return NO_INDEX;
}

bool state_untold(const struct state *st, enum record_kind kind, uint32_t index)
{
	const struct kind *k = &st->kind[kind];

	return index < k->capacity && (bit_get(k->untold, index) || k->working[index]);
}

void state_all_told(struct state *st)
{
	store_release(&st->h->untold, 0);
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		struct kind *k = &st->kind[kind];

		memset(k->untold, 0, map_words(min_of(st->h->table[kind].high, k->capacity)) * 8);
	}
}

uint32_t state_count(const struct state *st, enum record_kind kind)
{
	return st->kind[kind].count;
}

uint32_t state_capacity(const struct state *st, enum record_kind kind)
{
	return st->kind[kind].capacity;
}

uint32_t state_dirty(const struct state *st)
{
	return st->n_work;
}
