#include "supervisor/escrow.h"
#include <errno.h>
#include <stdbool.h>

struct escrow {
	struct deposit **bucket;
	unsigned buckets; /* power of two */
	unsigned n;
	struct deposit *first[ESCROW_OWNERS], *last[ESCROW_OWNERS];
};

static unsigned bucket_of(const struct escrow_key *k, unsigned buckets)
{
	uint64_t h = ((uint64_t)k->index << 32 | k->generation) * 0x9e3779b97f4a7c15u;

	h ^= ((uint64_t)k->owner << 32 | k->kind) * 0xc2b2ae3d27d4eb4fu;
	return (unsigned)(h >> 32) & (buckets - 1);
}

static bool same(const struct escrow_key *a, const struct escrow_key *b)
{
	return a->owner == b->owner && a->kind == b->kind && a->index == b->index &&
	       a->generation == b->generation;
}

struct escrow *escrow_new(void)
{
	struct escrow *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->buckets = 256;
	e->bucket = calloc(e->buckets, sizeof(struct deposit *));
	if (!e->bucket) {
		free(e);
		return NULL;
	}
	return e;
}

void escrow_free(struct escrow *e)
{
	if (!e)
		return;
	for (uint32_t owner = 0; owner < ESCROW_OWNERS; owner++)
		escrow_remove_owner(e, owner);
	free(e->bucket);
	free(e);
}

/* Twice the buckets; if there is no memory, chains grow longer and nothing else happens. */
static void grow(struct escrow *e)
{
	unsigned buckets = e->buckets * 2;
	struct deposit **bucket = calloc(buckets, sizeof(struct deposit *));

	if (!bucket)
		return;
	for (unsigned i = 0; i < e->buckets; i++) {
		for (struct deposit *d = e->bucket[i], *next; d; d = next) {
			unsigned b = bucket_of(&d->key, buckets);

			next = d->chain;
			d->chain = bucket[b];
			bucket[b] = d;
		}
	}
	free(e->bucket);
	e->bucket = bucket;
	e->buckets = buckets;
}

static struct deposit **find(const struct escrow *e, const struct escrow_key *key)
{
	struct deposit **d = &e->bucket[bucket_of(key, e->buckets)];

	while (*d && !same(&(*d)->key, key))
		d = &(*d)->chain;
	return d;
}

int escrow_put(struct escrow *e, const struct escrow_key *key, struct fdset *fds)
{
	struct deposit *d;

	if (key->owner >= ESCROW_OWNERS || !fds) {
		fdset_unref(fds);
		return -EINVAL;
	}
	d = *find(e, key);
	if (d) {
		fdset_unref(d->fds);
		d->fds = fds;
		return 0;
	}
	if (e->n >= e->buckets)
		grow(e);
	d = calloc(1, sizeof(*d));
	if (!d) {
		fdset_unref(fds);
		return -ENOMEM;
	}
	*d = (struct deposit){.key = *key, .fds = fds, .prev = e->last[key->owner]};
	*find(e, key) = d; /* the end of its chain */
	if (d->prev)
		d->prev->next = d;
	else
		e->first[key->owner] = d;
	e->last[key->owner] = d;
	e->n++;
	return 0;
}

int escrow_remove(struct escrow *e, const struct escrow_key *key)
{
	struct deposit **at = find(e, key), *d = *at;

	if (!d)
		return -ENOENT;
	*at = d->chain;
	if (d->prev)
		d->prev->next = d->next;
	else
		e->first[key->owner] = d->next;
	if (d->next)
		d->next->prev = d->prev;
	else
		e->last[key->owner] = d->prev;
	fdset_unref(d->fds);
	free(d);
	e->n--;
	return 0;
}

void escrow_remove_owner(struct escrow *e, uint32_t owner)
{
	if (owner >= ESCROW_OWNERS)
		return;
	while (e->first[owner]) {
		struct escrow_key key = e->first[owner]->key;

		escrow_remove(e, &key);
	}
}

const struct deposit *escrow_find(const struct escrow *e, const struct escrow_key *key)
{
	return *find(e, key);
}

const struct deposit *escrow_first(const struct escrow *e, uint32_t owner)
{
	return owner < ESCROW_OWNERS ? e->first[owner] : NULL;
}

unsigned escrow_count(const struct escrow *e)
{
	return e->n;
}
