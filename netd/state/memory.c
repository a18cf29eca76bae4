/*
 * Ring memory: a table of memories, each with a heap of power-of-two pieces. Theory of operation of
 * the whole: memory.h.
 *
 * A heap grows upward (`top`); freed pieces wait by size in lists and are split when needed. A bit for
 * each 4 KiB page says what is taken; it serves the claims after a restart, from whose gaps the lists
 * are made at the first allocation. So a restart also joins what had been split.
 */
#include "state/memory.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE       4096ull
#define ORDERS     24 /* 4 KiB .. 32 GiB */
#define KEEP_ORDER 6 /* larger pieces are never kept warm */
#define KEEP_BYTES (16ull << 20)

/* Free pieces of a size: first those without pages (cold), then the warm ones, which are taken first. */
struct list {
	uint64_t *off;
	uint32_t n, cold, room;
};

struct memory {
	uint8_t *base;
	uint64_t size, heap_off, top, used;
	uint64_t warm; /* bytes of free pieces that still have their pages */
	struct memory_quota *quota;
	uint64_t *taken; /* a bit a page, from heap_off */
	uint64_t taken_words;
	bool claimed; /* lists are to be made from the gaps */
	struct list list[ORDERS];
};

struct pending {
	uint32_t id, order;
	uint64_t off;
};

struct memories {
	struct memory **m;
	uint32_t n;
	struct pending *pending;
	uint32_t n_pending, pending_room;
};

struct memories *memories_new(void)
{
	return calloc(1, sizeof(struct memories));
}

static struct memory *find(const struct memories *ms, uint32_t id)
{
	return id < ms->n ? ms->m[id] : NULL;
}

static void memory_drop(struct memory *m)
{
	for (int i = 0; i < ORDERS; i++)
		free(m->list[i].off);
	free(m->taken);
	free(m);
}

void memories_free(struct memories *ms)
{
	if (!ms)
		return;
	for (uint32_t i = 0; i < ms->n; i++)
		if (ms->m[i])
			memory_drop(ms->m[i]);
	free(ms->m);
	free(ms->pending);
	free(ms);
}

/* `by` bytes more are taken (or, in two's complement, less). */
static void account(struct memory *m, uint64_t by)
{
	m->used += by;
	if (m->quota)
		m->quota->used += by;
}

void memory_charge(struct memories *ms, uint32_t id, struct memory_quota *q)
{
	struct memory *m = find(ms, id);

	if (!m || m->quota == q)
		return;
	if (m->quota)
		m->quota->used -= m->used;
	if (q)
		q->used += m->used;
	m->quota = q;
}

int memory_add(struct memories *ms, uint32_t id, void *base, uint64_t size, uint64_t heap_off)
{
	struct memory *m;

	if (find(ms, id))
		return -EEXIST;
	if (!heap_off || heap_off >= size)
		return -EINVAL; /* offset 0 means "none" */
	if (id >= ms->n) {
		uint32_t n = max_of(id + 1, ms->n * 2);
		struct memory **grown = realloc(ms->m, n * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		memset(grown + ms->n, 0, (n - ms->n) * sizeof(*grown));
		ms->m = grown;
		ms->n = n;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->base = base;
	m->size = size;
	m->heap_off = align_up(heap_off, PAGE);
	m->top = m->heap_off;
	ms->m[id] = m;
	return 0;
}

void memory_remove(struct memories *ms, uint32_t id)
{
	struct memory *m = find(ms, id);

	if (!m)
		return;
	for (uint32_t i = 0; i < ms->n_pending;) {
		if (ms->pending[i].id == id)
			ms->pending[i] = ms->pending[--ms->n_pending];
		else
			i++;
	}
	munmap(m->base, m->size);
	memory_charge(ms, id, NULL);
	memory_drop(m);
	ms->m[id] = NULL;
}

void *memory_base(const struct memories *ms, uint32_t id)
{
	const struct memory *m = find(ms, id);

	return m ? m->base : NULL;
}

uint64_t memory_used(const struct memories *ms, uint32_t id)
{
	const struct memory *m = find(ms, id);

	return m ? m->used : 0;
}

uint64_t memories_used(const struct memories *ms)
{
	uint64_t sum = 0;

	for (uint32_t id = 0; id < ms->n; id++)
		sum += memory_used(ms, id);
	return sum;
}

static unsigned order_of(uint64_t cap)
{
	return (unsigned)__builtin_ctzll(cap) - 12;
}

static int push(struct memory *m, unsigned order, uint64_t off, bool warm)
{
	struct list *l = &m->list[order];

	if (l->n == l->room) {
		uint32_t room = l->room ? l->room * 2 : 16;
		uint64_t *grown = realloc(l->off, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->off = grown;
		l->room = room;
	}
	l->off[l->n++] = off;
	if (warm) {
		m->warm += PAGE << order;
	} else {
		l->off[l->n - 1] = l->off[l->cold];
		l->off[l->cold++] = off;
	}
	return 0;
}

/* A piece out of a list that is not empty. */
static uint64_t pop(struct memory *m, unsigned order, bool *warm)
{
	struct list *l = &m->list[order];

	*warm = l->n > l->cold;
	if (*warm)
		m->warm -= PAGE << order;
	else
		l->cold--;
	return l->off[--l->n];
}

static int cover(struct memory *m, uint64_t end)
{
	uint64_t words = (end - m->heap_off) / PAGE / 64 + 1;
	uint64_t *grown;

	if (words <= m->taken_words)
		return 0;
	words = max_of(words, m->taken_words * 2);
	grown = realloc(m->taken, words * 8);
	if (!grown)
		return -ENOMEM;
	memset(grown + m->taken_words, 0, (words - m->taken_words) * 8);
	m->taken = grown;
	m->taken_words = words;
	return 0;
}

static bool page_taken(const struct memory *m, uint64_t off)
{
	uint64_t p = (off - m->heap_off) / PAGE;

	return p / 64 < m->taken_words && (m->taken[p / 64] >> (p % 64) & 1);
}

/* The bits of [*p, end) that lie in one word; *p moves on behind them. */
static uint64_t next_mask(uint64_t *p, uint64_t end)
{
	uint64_t at = *p % 64, n = min_of(64 - at, end - *p);

	*p += n;
	return (n == 64 ? UINT64_MAX : (1ull << n) - 1) << at;
}

static void mark(struct memory *m, uint64_t off, uint64_t len, bool taken)
{
	for (uint64_t p = (off - m->heap_off) / PAGE, end = p + len / PAGE; p < end;) {
		uint64_t *word = &m->taken[p / 64], mask = next_mask(&p, end);

		*word = taken ? *word | mask : *word & ~mask;
	}
}

/* Is any page of it taken? */
static bool any_taken(const struct memory *m, uint64_t off, uint64_t len)
{
	for (uint64_t p = (off - m->heap_off) / PAGE, end = p + len / PAGE; p < end && p / 64 < m->taken_words;) {
		uint64_t word = m->taken[p / 64];

		if (word & next_mask(&p, end))
			return true;
	}
	return false;
}

/* Cuts [from, to) into aligned power-of-two pieces for the lists. */
static void list_gap(struct memory *m, uint64_t from, uint64_t to)
{
	while (from < to) {
		unsigned o = 0;

		while (o + 1 < ORDERS && !((from - m->heap_off) & ((PAGE << (o + 1)) - 1)) &&
		       from + (PAGE << (o + 1)) <= to)
			o++;
		if (push(m, o, from, false) < 0)
			return;
		from += PAGE << o;
	}
}

static void list_gaps(struct memory *m)
{
	uint64_t from = m->heap_off;

	for (uint64_t off = m->heap_off; off < m->top; off += PAGE) {
		uint64_t page = (off - m->heap_off) / PAGE;

		if (from == off && !(page % 64) && page / 64 < m->taken_words && m->taken[page / 64] == UINT64_MAX) {
			off += 63 * PAGE; /* full and no gap before it */
			from = off + PAGE;
			continue;
		}
		if (!page_taken(m, off))
			continue;
		list_gap(m, from, off);
		from = off + PAGE;
	}
	list_gap(m, from, m->top);
	m->claimed = false;
}

/* A piece of this order, split from a larger one or cut from the top. 0 if there is none. */
static uint64_t take_piece(struct memory *m, unsigned order)
{
	uint64_t off, len = PAGE << order;
	bool warm;

	for (unsigned o = order; o < ORDERS; o++) {
		if (!m->list[o].n)
			continue;
		off = pop(m, o, &warm);
		while (o > order) {
			o--;
			if (push(m, o, off + (PAGE << o), warm) < 0)
				break;
		}
		return off;
	}
	off = m->heap_off + align_up(m->top - m->heap_off, len);
	if (off > m->size || m->size - off < len)
		return 0;
	list_gap(m, m->top, off);
	m->top = off + len;
	return off;
}

int ring_alloc(struct memories *ms, uint32_t id, uint32_t cap, struct ring_place *place)
{
	const struct memory *m = find(ms, id);
	const struct memory_quota *q = m ? m->quota : NULL;

	if (q && q->limit && cap > RING_LEAST && (q->used > q->limit || cap > q->limit - q->used))
		return -ENOMEM;
	return ring_alloc_must(ms, id, cap, place);
}

int ring_alloc_must(struct memories *ms, uint32_t id, uint32_t cap, struct ring_place *place)
{
	struct memory *m = find(ms, id);
	uint64_t off;

	if (!m)
		return -ENOENT;
	if (!is_pow2(cap) || cap < PAGE)
		return -EINVAL;
	if (m->claimed)
		list_gaps(m);
	off = take_piece(m, order_of(cap));
	if (!off)
		return -ENOMEM;
	if (cover(m, off + cap) < 0) {
		push(m, order_of(cap), off, false);
		return -ENOMEM;
	}
	mark(m, off, cap, true);
	account(m, cap);
	place->mem = id;
	place->off = off;
	place->cap = cap;
	return 0;
}

void ring_free(struct memories *ms, const struct ring_place *place)
{
	if (!place->cap || !find(ms, place->mem))
		return;
	if (ms->n_pending == ms->pending_room) {
		uint32_t room = ms->pending_room ? ms->pending_room * 2 : 64;
		struct pending *grown = realloc(ms->pending, room * sizeof(*grown));

		if (!grown)
			return; /* leaked until the next restart's census */
		ms->pending = grown;
		ms->pending_room = room;
	}
	ms->pending[ms->n_pending++] = (struct pending){place->mem, order_of(place->cap), place->off};
}

int ring_claim(struct memories *ms, const struct ring_place *place)
{
	struct memory *m = find(ms, place->mem);

	if (!m || !is_pow2(place->cap) || place->cap < PAGE || place->off < m->heap_off ||
	    place->off % PAGE || place->off > m->size || m->size - place->off < place->cap)
		return -EINVAL;
	if (any_taken(m, place->off, place->cap))
		return -EINVAL;
	if (cover(m, place->off + place->cap) < 0)
		return -ENOMEM;
	mark(m, place->off, place->cap, true);
	account(m, place->cap);
	m->top = max_of(m->top, place->off + place->cap);
	m->claimed = true;
	return 0;
}

void memories_commit(struct memories *ms)
{
	for (uint32_t i = 0; i < ms->n_pending; i++) {
		struct pending *p = &ms->pending[i];
		struct memory *m = find(ms, p->id);
		uint64_t len = PAGE << p->order;
		bool warm;

		if (!m)
			continue;
		if (m->claimed)
			list_gaps(m);
		mark(m, p->off, len, false);
		account(m, -len);
		/* Large pieces, and many small ones, go back to the kernel; some stay warm, for who opens and closes all the time. */
		warm = p->order <= KEEP_ORDER && m->warm + len <= KEEP_BYTES;
		if (!warm)
			madvise(m->base + p->off, len, MADV_REMOVE);
		push(m, p->order, p->off, warm);
	}
	ms->n_pending = 0;
}

uint8_t *ring_span(const struct memories *ms, const struct ring_place *p, uint64_t pos, uint32_t len,
    uint32_t *run)
{
	const struct memory *m = find(ms, p->mem);
	uint64_t in;

	if (!m || !p->cap || !m->base)
		return NULL;
	in = (pos - p->base) & (p->cap - 1);
	*run = (uint32_t)min_of((uint64_t)len, p->cap - in);
	return m->base + p->off + in;
}

void ring_read(const struct memories *ms, const struct ring_place *p, uint64_t pos, void *dst, uint32_t len)
{
	uint8_t *d = dst;

	while (len) {
		uint32_t run;
		const uint8_t *src = ring_span(ms, p, pos, len, &run);

		if (!src)
			return;
		memcpy(d, src, run);
		d += run;
		pos += run;
		len -= run;
	}
}

void ring_write(const struct memories *ms, const struct ring_place *p, uint64_t pos, const void *src,
    uint32_t len)
{
	const uint8_t *from = src;

	while (len) {
		uint32_t run;
		uint8_t *dst = ring_span(ms, p, pos, len, &run);

		if (!dst)
			return;
		memcpy(dst, from, run);
		from += run;
		pos += run;
		len -= run;
	}
}
