/* Where is each chunk? Rings, records, bits and places must tell the same. See world_rig.h. */
#include "world_rig.h"

static const char *note_ring(
    const struct world *w, enum region_ring ring, uint64_t from, uint64_t to, uint8_t *seen)
{
	if (to - from > w->geo.entries)
		return "ring positions that cannot be";
	for (; from != to; from++) {
		uint64_t chunk = region_desc(w->region, &w->geo, 0, ring, from)->chunk / WORLD_CHUNK;

		if (chunk >= w->geo.chunks || seen[chunk]++)
			return "a chunk stands in the rings twice";
	}
	return NULL;
}

static const char *note_ref(const struct world *w, const struct packet_ref *r, uint8_t *held)
{
	if (r->dev != w->dev || r->segs > ARRAY_SIZE(r->chunk))
		return "a reference to nowhere";
	for (unsigned i = 0; i < r->segs; i++)
		if (r->chunk[i] >= w->geo.chunks || held[r->chunk[i]]++)
			return "two records hold one chunk";
	return NULL;
}

static const char *note_records(const struct world *w, uint8_t *held)
{
	const struct state *st = w->s.state;
	const char *wrong = NULL;

	for (uint32_t i = state_next(st, KIND_NEIGH, 0); i != NO_INDEX && !wrong;
	     i = state_next(st, KIND_NEIGH, i + 1)) {
		const struct neigh_rec *n = state_peek(st, KIND_NEIGH, i);

		for (uint32_t q = 0; q < n->queued && !wrong; q++)
			wrong = note_ref(w, &n->queue[q], held);
	}
	for (uint32_t i = state_next(st, KIND_FRAG, 0); i != NO_INDEX && !wrong;
	     i = state_next(st, KIND_FRAG, i + 1)) {
		const struct frag_rec *f = state_peek(st, KIND_FRAG, i);

		for (uint32_t q = 0; q < f->pieces && !wrong; q++)
			wrong = note_ref(w, &f->piece[q].ref, held);
	}
	return wrong;
}

static const char *check_place(const struct world *w, const struct device *d, uint32_t i, bool in_ring, bool held)
{
	const struct chunks_rec *c = state_peek(w->s.state, KIND_CHUNKS, d->bits[i / 1024]);
	bool given = c->given[i % 1024 / 64] >> (i % 64) & 1;

	if (given != in_ring)
		return "bits and rings differ";
	if (given != (d->place[i] == CHUNK_GIVEN))
		return "bits and places differ";
	if (held != (d->place[i] == CHUNK_HELD))
		return "records and places differ";
	if (!given && !held && d->place[i] != CHUNK_FREE)
		return "a chunk is nowhere";
	return NULL;
}

static const char *check_free_list(const struct world *w, const struct device *d, uint8_t *seen)
{
	uint32_t free = 0;

	memset(seen, 0, w->geo.chunks);
	for (uint32_t i = 0; i < w->geo.chunks; i++)
		free += d->place[i] == CHUNK_FREE;
	for (uint32_t i = 0; i < d->n_free; i++)
		if (d->place[d->free[i]] != CHUNK_FREE || seen[d->free[i]]++)
			return "the free list has a chunk twice, or one that is not free";
	return free == d->n_free ? NULL : "a free chunk is not in the free list";
}

const char *world_census(struct world *w)
{
	const struct device *d = &w->s.device->dev[w->dev];
	const struct device_rec *r = device_peek(&w->s, w->dev);
	static uint8_t rings[WORLD_CHUNKS], held[WORLD_CHUNKS];
	const char *wrong;

	memset(rings, 0, sizeof(rings));
	memset(held, 0, sizeof(held));
	wrong = note_ring(w, RING_FILL, r->receive_cons, r->fill_prod, rings);
	if (!wrong)
		wrong = note_ring(w, RING_TRANSMIT, r->completion_cons, r->transmit_prod, rings);
	if (!wrong)
		wrong = note_records(w, held);
	for (uint32_t i = 0; i < w->geo.chunks && !wrong; i++)
		wrong = check_place(w, d, i, rings[i], held[i]);
	if (!wrong && !d->census)
		wrong = check_free_list(w, d, rings);
	return wrong;
}
