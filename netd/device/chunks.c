/*
 * Who has which chunk.
 *
 * Theory of operation. A chunk is with the driver ("given", a bit in a record that is committed
 * together with the ring positions), in a record that waits (a packet_ref), in the hand of this
 * cycle, or free. The bits and the references are the facts; what is neither given nor referred to
 * is free. So after a death no chunk is lost and none is in two places, whatever the dead cycle had
 * done.
 *
 * A chunk that came from the driver or from a record in this cycle must keep its content until the
 * commit, because a successor that finds the cycle undone reads it again: it waits in `freed`. A
 * chunk that this cycle itself took from the free list goes straight back.
 *
 * The rings say a second time what was given (proto/region.h: the k-th received frame uses the k-th
 * fill entry). Where the two do not agree, after a corrupt record or a driver that lied, the rings
 * win: its successor works by them.
 */
#include "device/layer.h"
#include "base/log.h"
#include "base/util.h"
#include <stdlib.h>

int chunks_open(struct device *d)
{
	uint32_t n = d->geo.chunks;

	d->shift = (unsigned)__builtin_ctz(d->geo.chunk_size);
	d->place = calloc(n, 1);
	d->free = malloc(n * sizeof(*d->free));
	d->freed = malloc(n * sizeof(*d->freed));
	d->bits = malloc((n / CHUNKS_PER_RECORD + 1) * sizeof(*d->bits));
	d->n_free = d->n_freed = d->in_hand = 0;
	d->census = true;
	if (d->place && d->free && d->freed && d->bits)
		return 0;
	chunks_close(d);
	return -ENOMEM;
}

void chunks_close(struct device *d)
{
	free(d->place);
	free(d->free);
	free(d->freed);
	free(d->bits);
	d->place = NULL;
	d->free = d->freed = d->bits = NULL;
}

static uint32_t records_of(const struct device *d)
{
	return (d->geo.chunks + CHUNKS_PER_RECORD - 1) / CHUNKS_PER_RECORD;
}

int chunks_bind(struct stack *s, uint32_t dev, bool fresh)
{
	struct device *d = &s->device->dev[dev];
	uint32_t n = records_of(d);

	for (uint32_t i = 0; i < n; i++)
		d->bits[i] = NO_INDEX;
	for (uint32_t i = state_next(s->state, KIND_CHUNKS, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_CHUNKS, i + 1)) {
		const struct chunks_rec *c = state_peek(s->state, KIND_CHUNKS, i);

		if (c->dev != dev)
			continue;
		if (fresh || c->first % CHUNKS_PER_RECORD || c->first / CHUNKS_PER_RECORD >= n ||
		    d->bits[c->first / CHUNKS_PER_RECORD] != NO_INDEX)
			state_free(s->state, KIND_CHUNKS, i);
		else
			d->bits[c->first / CHUNKS_PER_RECORD] = i;
	}
	for (uint32_t i = 0; i < n; i++) {
		struct chunks_rec *c;

		if (d->bits[i] != NO_INDEX)
			continue;
		c = state_alloc(s->state, KIND_CHUNKS, &d->bits[i]);
		if (!c)
			return -ENOSPC;
		c->dev = dev;
		c->first = i * CHUNKS_PER_RECORD;
	}
	return 0;
}

struct chunks_rec *chunk_bits(struct stack *s, const struct device *d, uint32_t chunk)
{
	return state_get(s->state, KIND_CHUNKS, d->bits[chunk / CHUNKS_PER_RECORD]);
}

static bool bits_set(struct stack *s, const struct device *d, uint32_t chunk, bool given)
{
	struct chunks_rec *c = chunk_bits(s, d, chunk);
	uint64_t bit = 1ull << (chunk % 64);
	uint32_t word = chunk % CHUNKS_PER_RECORD / 64;

	if (!c)
		return false;
	if (given)
		c->given[word] |= bit;
	else
		c->given[word] &= ~bit;
	return true;
}

/* ---- census */

static uint32_t places_from_bits(struct stack *s, struct device *d)
{
	uint32_t given = 0;

	for (uint32_t i = 0; i < d->geo.chunks; i++) {
		const struct chunks_rec *c =
		    state_peek(s->state, KIND_CHUNKS, d->bits[i / CHUNKS_PER_RECORD]);
		bool is = c && c->given[i % CHUNKS_PER_RECORD / 64] >> (i % 64) & 1;

		d->place[i] = is ? CHUNK_GIVEN : CHUNK_FREE;
		given += is;
	}
	return given;
}

/* Marks what stands in entries [from, to) of a ring that we wrote. */
static void mark_ring(
    struct device *d, enum region_ring ring, uint64_t from, uint64_t to, uint8_t *seen)
{
	for (; from != to; from++) {
		uint64_t off = load_once(&region_desc(d->region, &d->geo, 0, ring, from)->chunk);
		uint64_t chunk = off >> d->shift;

		if (chunk < d->geo.chunks)
			seen[chunk] = 1;
	}
}

static bool with_driver_or_free(const struct device *d, uint32_t chunk)
{
	return d->place[chunk] == CHUNK_GIVEN || d->place[chunk] == CHUNK_FREE;
}

/* What stands in the rings, and where to look for a chunk that does not. */
struct mend {
	uint8_t *seen, *used;
	uint32_t at;
};

static uint32_t mend_spare(const struct device *d, struct mend *m)
{
	while (m->at < d->geo.chunks && (m->seen[m->at] || !with_driver_or_free(d, m->at)))
		m->at++;
	return m->at < d->geo.chunks ? m->at++ : NO_INDEX;
}

/*
 * After a driver that lied, a chunk may stand in the rings twice, or be held by a record as well: its
 * successor would be accused of it again and again. Such an entry gets another chunk.
 */
static void mend_ring(
    struct device *d, enum region_ring ring, uint64_t from, uint64_t to, struct mend *m)
{
	for (; from != to; from++) {
		uint64_t *entry = &region_desc(d->region, &d->geo, 0, ring, from)->chunk;
		uint64_t off = load_once(entry), chunk = off >> d->shift;
		uint32_t spare;

		if (chunk < d->geo.chunks && off == chunk << d->shift && !m->used[chunk] &&
		    with_driver_or_free(d, (uint32_t)chunk)) {
			m->used[chunk] = 1;
			continue;
		}
		spare = mend_spare(d, m);
		if (spare == NO_INDEX)
			return;
		m->seen[spare] = m->used[spare] = 1;
		store_once(entry, (uint64_t)spare << d->shift);
	}
}

static void mark_and_mend(struct device *d, const struct device_rec *r, struct mend *m)
{
	bool fill = ring_avail(r->fill_prod, r->receive_cons, d->geo.entries) >= 0;
	bool sent = ring_avail(r->transmit_prod, r->completion_cons, d->geo.entries) >= 0;

	if (fill)
		mark_ring(d, RING_FILL, r->receive_cons, r->fill_prod, m->seen);
	if (sent)
		mark_ring(d, RING_TRANSMIT, r->completion_cons, r->transmit_prod, m->seen);
	if (sent)
		mend_ring(d, RING_TRANSMIT, r->completion_cons, r->transmit_prod, m);
	if (fill)
		mend_ring(d, RING_FILL, r->receive_cons, r->fill_prod, m);
}

void chunks_from_rings(struct stack *s, uint32_t dev)
{
	struct device *d = &s->device->dev[dev];
	const struct device_rec *r = device_peek(s, dev);
	struct mend m = {calloc(d->geo.chunks, 1), calloc(d->geo.chunks, 1), 0};

	if (m.seen && m.used && r) {
		mark_and_mend(d, r, &m);
		for (uint32_t i = 0; i < d->geo.chunks; i++) {
			bool given = d->place[i] == CHUNK_GIVEN;

			if (given == m.used[i] || !with_driver_or_free(d, i))
				continue;
			if (bits_set(s, d, i, m.used[i]))
				d->place[i] = m.used[i] ? CHUNK_GIVEN : CHUNK_FREE;
		}
		d->census = true;
	}
	free(m.seen);
	free(m.used);
}

void chunks_census(struct stack *s, uint32_t dev)
{
	struct device *d = &s->device->dev[dev];
	const struct device_rec *r = device_peek(s, dev);
	uint64_t given, out;

	d->n_freed = d->in_hand = 0;
	d->census = true;
	if (!d->region) {
		for (uint32_t i = 0; i < d->geo.chunks; i++)
			d->place[i] = CHUNK_FREE;
		return;
	}
	given = places_from_bits(s, d);
	out = !r ? 0 : r->fill_prod - r->receive_cons + r->transmit_prod - r->completion_cons;
	if (given == out)
		return;
	log_warn("device %u: %llu chunks given, %llu in its rings; the rings win", dev,
	    (unsigned long long)given, (unsigned long long)out);
	chunks_from_rings(s, dev);
}

/* Claims come in after the census, so the free list is made at its first use. */
uint32_t chunks_free(struct device *d)
{
	if (!d->census)
		return d->n_free;
	d->n_free = 0;
	for (uint32_t i = d->geo.chunks; i-- > 0;)
		if (d->place[i] == CHUNK_FREE)
			d->free[d->n_free++] = i;
	d->census = false;
	return d->n_free;
}

void device_chunks(const struct stack *s, uint64_t *given, uint64_t *held)
{
	*given = *held = 0;
	for (uint32_t dev = 0; s->device && dev < s->device->count; dev++) {
		const struct device *d = device_of(s, dev);

		for (uint32_t i = 0; d && i < d->geo.chunks; i++) {
			*given += d->place[i] == CHUNK_GIVEN;
			*held += d->place[i] == CHUNK_HELD;
		}
	}
}

/* ---- one chunk */

uint32_t chunk_take(struct device *d)
{
	uint32_t chunk;

	if (!chunks_free(d))
		return NO_INDEX;
	chunk = d->free[--d->n_free];
	d->place[chunk] = CHUNK_FRESH;
	d->in_hand++;
	return chunk;
}

static void make_free(struct device *d, uint32_t chunk)
{
	d->place[chunk] = CHUNK_FREE;
	if (!d->census)
		d->free[d->n_free++] = chunk;
}

void chunk_put(struct device *d, uint32_t chunk)
{
	if (d->place[chunk] == CHUNK_FRESH) {
		make_free(d, chunk);
	} else if (d->place[chunk] == CHUNK_TAKEN) {
		d->place[chunk] = CHUNK_FREED;
		d->freed[d->n_freed++] = chunk;
	} else {
		log_error("chunk %u is given back twice", chunk);
		return;
	}
	d->in_hand--;
}

bool chunk_give(struct stack *s, struct device *d, uint32_t chunk)
{
	if (!bits_set(s, d, chunk, true))
		return false;
	d->place[chunk] = CHUNK_GIVEN;
	d->in_hand--;
	return true;
}

bool chunk_take_back(struct stack *s, struct device *d, uint32_t chunk, bool reread)
{
	if (!bits_set(s, d, chunk, false))
		return false;
	if (reread) {
		d->place[chunk] = CHUNK_TAKEN;
		d->in_hand++;
	} else {
		make_free(d, chunk);
	}
	return true;
}

void chunk_hold(struct device *d, uint32_t chunk)
{
	d->place[chunk] = CHUNK_HELD;
	d->in_hand--;
}

void chunk_unhold(struct device *d, uint32_t chunk)
{
	d->place[chunk] = CHUNK_TAKEN;
	d->in_hand++;
}

/* Chunks still in hand when the cycle is over: a handler kept a packet without packet_keep(). */
static void take_from_hand(struct device *d)
{
	log_error("%u chunks were still in hand after their cycle", d->in_hand);
	for (uint32_t i = 0; i < d->geo.chunks; i++)
		if (d->place[i] == CHUNK_FRESH || d->place[i] == CHUNK_TAKEN)
			make_free(d, i);
	d->in_hand = 0;
}

void chunks_commit(struct device *d)
{
	while (d->n_freed)
		make_free(d, d->freed[--d->n_freed]);
	if (d->in_hand)
		take_from_hand(d);
}

uint32_t chunks_for_output(const struct stack *s, uint32_t dev)
{
	struct device *d = &s->device->dev[dev];
	const struct device_rec *r = device_peek(s, dev);
	uint32_t avail = chunks_free(d), owed;
	uint64_t filled;

	if (!d->region || !r)
		return avail;
	filled = r->fill_prod - r->receive_cons;
	owed = filled < fill_target(d) ? fill_target(d) - (uint32_t)filled : 0;
	if (avail + d->n_freed <= owed)
		return 0;
	return min_of(avail, avail + d->n_freed - owed);
}
