/* Finding a neighbour's record: a keyed hash with chains, derived from the records. */
#include "device/layer.h"
#include "base/siphash.h"
#include "base/util.h"
#include <stdlib.h>

#define VICTIM_LOOKS 64 /* records looked at for one that may go */

struct neigh_table {
	struct siphash_key key;
	uint32_t *head, *next; /* index + 1, 0: end */
	uint32_t mask, capacity;
	uint32_t last; /* index found last: most packets go where the one before went */
	uint32_t hand; /* where the search for a victim goes on */
};

int neigh_open(struct stack *s)
{
	struct neigh_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	s->device->neigh = t;
	t->capacity = state_capacity(s->state, KIND_NEIGH);
	t->mask = round_up_pow2(t->capacity * 2) - 1;
	t->head = calloc((size_t)t->mask + 1, sizeof(*t->head));
	t->next = calloc(t->capacity, sizeof(*t->next));
	return t->head && t->next ? 0 : -ENOMEM;
}

void neigh_close(struct stack *s)
{
	struct neigh_table *t = s->device->neigh;

	if (!t)
		return;
	free(t->head);
	free(t->next);
	free(t);
	s->device->neigh = NULL;
}

void neigh_table_clear(struct stack *s)
{
	struct neigh_table *t = s->device->neigh;
	const struct world_rec *w = world_peek(s);

	memset(t->head, 0, ((size_t)t->mask + 1) * sizeof(*t->head));
	memset(t->next, 0, t->capacity * sizeof(*t->next));
	if (w)
		t->key = w->hash_key;
}

static uint32_t *chain_of(const struct neigh_table *t, uint32_t dev, const struct ipaddr *addr)
{
	uint8_t key[sizeof(dev) + sizeof(*addr)];

	memcpy(key, &dev, sizeof(dev));
	memcpy(key + sizeof(dev), addr, sizeof(*addr));
	return &t->head[siphash(&t->key, key, sizeof(key)) & t->mask];
}

static bool is_it(const struct stack *s, uint32_t index, uint32_t dev, const struct ipaddr *addr)
{
	const struct neigh_rec *r = state_peek(s->state, KIND_NEIGH, index);

	return r && r->dev == dev && ipaddr_eq(&r->addr, addr);
}

uint32_t neigh_find(const struct stack *s, uint32_t dev, const struct ipaddr *addr)
{
	struct neigh_table *t = s->device->neigh;

	if (is_it(s, t->last, dev, addr))
		return t->last;
	for (uint32_t i = *chain_of(t, dev, addr); i; i = t->next[i - 1])
		if (is_it(s, i - 1, dev, addr))
			return t->last = i - 1;
	return NO_INDEX;
}

void neigh_table_add(struct stack *s, uint32_t index)
{
	struct neigh_table *t = s->device->neigh;
	const struct neigh_rec *r = state_peek(s->state, KIND_NEIGH, index);
	uint32_t *head = chain_of(t, r->dev, &r->addr);

	t->next[index] = *head;
	*head = index + 1;
}

void neigh_table_remove(struct stack *s, uint32_t index)
{
	struct neigh_table *t = s->device->neigh;
	const struct neigh_rec *r = state_peek(s->state, KIND_NEIGH, index);

	for (uint32_t *at = chain_of(t, r->dev, &r->addr); *at; at = &t->next[*at - 1])
		if (*at == index + 1) {
			*at = t->next[index];
			t->next[index] = 0;
			return;
		}
}

/* Strangers can make entries by asking us; what is idle or unanswered makes room for the next. */
uint32_t neigh_table_victim(struct stack *s)
{
	struct neigh_table *t = s->device->neigh;

	if (state_count(s->state, KIND_NEIGH) < t->capacity - t->capacity / 8)
		return NO_INDEX;
	for (unsigned n = 0; n < VICTIM_LOOKS; n++) {
		uint32_t i = state_next(s->state, KIND_NEIGH, t->hand);
		const struct neigh_rec *r;

		if (i == NO_INDEX) {
			t->hand = 0;
			continue;
		}
		t->hand = i + 1;
		r = state_peek(s->state, KIND_NEIGH, i);
		if (r->state == NEIGH_FAILED || r->state == NEIGH_STALE ||
		    (r->state == NEIGH_INCOMPLETE && r->updated_ns + NSEC_PER_SEC < s->now))
			return i;
	}
	return NO_INDEX;
}
