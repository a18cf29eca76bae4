/* Multicast memberships: see group.h. The tables are derived, and made with the first membership.
 */
#include "ip/group.h"
#include "ip/igmp.h"
#include "ip/layer.h"
#include "base/siphash.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>

/* ---- tables: memberships by group and device, and by owner */

static uint32_t bucket(const struct stack *s, uint32_t a, uint32_t b)
{
	uint32_t key[2] = {a, b};

	return (uint32_t)siphash(&world_peek(s)->hash_key, key, sizeof(key)) % GROUP_BUCKETS;
}

const struct member_rec *group_peek(const struct stack *s, uint32_t member)
{
	return state_peek(s->state, KIND_MEMBER, member);
}

static uint32_t *group_head(const struct stack *s, const struct member_rec *m)
{
	return &ip_of(s)->groups->by_group[bucket(s, m->group, m->dev)];
}

static uint32_t *owner_head(const struct stack *s, uint32_t owner)
{
	return &ip_of(s)->groups->by_owner[bucket(s, owner, NO_INDEX)];
}

static bool tables_made(struct stack *s)
{
	struct ip_layer *ip = ip_of(s);
	uint32_t n = state_capacity(s->state, KIND_MEMBER);

	if (!ip->groups)
		ip->groups = calloc(1, sizeof(*ip->groups) + n * sizeof(ip->groups->next[0]));
	return ip->groups;
}

static void enter(struct stack *s, uint32_t member)
{
	const struct member_rec *m = group_peek(s, member);
	struct group_next *next = &ip_of(s)->groups->next[member];
	uint32_t *group = group_head(s, m), *owner = owner_head(s, m->owner);

	*next = (struct group_next){.in_group = *group, .of_owner = *owner};
	*group = *owner = member + 1;
}

static void take_out(struct stack *s, uint32_t member)
{
	const struct member_rec *m = group_peek(s, member);
	struct group_next *next = ip_of(s)->groups->next;
	uint32_t *at = group_head(s, m);

	while (*at != member + 1)
		at = &next[*at - 1].in_group;
	*at = next[member].in_group;
	at = owner_head(s, m->owner);
	while (*at != member + 1)
		at = &next[*at - 1].of_owner;
	*at = next[member].of_owner;
}

/* The next membership of the chain that `i` (index + 1) stands in, from there on, 0 after the last.
 */
static uint32_t in_group(const struct stack *s, uint32_t i, uint32_t dev, uint32_t group)
{
	for (; i; i = ip_of(s)->groups->next[i - 1].in_group) {
		const struct member_rec *m = group_peek(s, i - 1);

		if (m->group == group && m->dev == dev)
			break;
	}
	return i;
}

static uint32_t of_owner(const struct stack *s, uint32_t i, uint32_t owner)
{
	while (i && group_peek(s, i - 1)->owner != owner)
		i = ip_of(s)->groups->next[i - 1].of_owner;
	return i;
}

static uint32_t first_in_group(const struct stack *s, uint32_t dev, uint32_t group)
{
	struct member_rec key = {.dev = dev, .group = group};

	return ip_of(s)->groups ? in_group(s, *group_head(s, &key), dev, group) : 0;
}

static uint32_t next_in_group(const struct stack *s, uint32_t i, uint32_t dev, uint32_t group)
{
	return in_group(s, ip_of(s)->groups->next[i - 1].in_group, dev, group);
}

static uint32_t first_of_owner(const struct stack *s, uint32_t owner)
{
	return ip_of(s)->groups ? of_owner(s, *owner_head(s, owner), owner) : 0;
}

static uint32_t next_of_owner(const struct stack *s, uint32_t i, uint32_t owner)
{
	return of_owner(s, ip_of(s)->groups->next[i - 1].of_owner, owner);
}

/* ---- what the host wants */

static bool listed(const uint32_t *source, uint32_t n, uint32_t a)
{
	for (uint32_t i = 0; i < n; i++)
		if (source[i] == a)
			return true;
	return false;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* RFC 3376, 3.2: nobody's unwanted sources but those that all exclude and nobody includes. */
static void add_exclude(struct group_wants *f, const struct member_rec *m)
{
	uint16_t n = 0;

	if (f->mode == GROUP_INCLUDE) { /* the first one */
		f->mode = GROUP_EXCLUDE;
		f->n = m->sources;
		memcpy(f->source, m->source, sizeof(m->source));
		return;
	}
	for (uint16_t i = 0; i < f->n; i++)
		if (listed(m->source, m->sources, f->source[i]))
			f->source[n++] = f->source[i];
	f->n = n;
}

static void add_include(struct group_wants *f, const struct member_rec *m)
{
	uint16_t n = 0;

	if (f->mode == GROUP_EXCLUDE) {
		for (uint16_t i = 0; i < f->n; i++)
			if (!listed(m->source, m->sources, f->source[i]))
				f->source[n++] = f->source[i];
		f->n = n;
		return;
	}
	for (uint32_t i = 0; i < m->sources; i++) {
		if (listed(f->source, f->n, m->source[i]))
			continue;
		if (f->n == ARRAY_SIZE(f->source)) { /* more than is told: all of them then */
			f->mode = GROUP_EXCLUDE;
			f->n = 0;
			return;
		}
		f->source[f->n++] = m->source[i];
	}
}

void group_wants(const struct stack *s, uint32_t dev, uint32_t group, struct group_wants *f)
{
	*f = (struct group_wants){.mode = GROUP_INCLUDE};
	for (uint32_t i = first_in_group(s, dev, group); i; i = next_in_group(s, i, dev, group))
		if (group_peek(s, i - 1)->mode == GROUP_EXCLUDE)
			add_exclude(f, group_peek(s, i - 1));
	for (uint32_t i = first_in_group(s, dev, group); i; i = next_in_group(s, i, dev, group))
		if (group_peek(s, i - 1)->mode == GROUP_INCLUDE)
			add_include(f, group_peek(s, i - 1));
	qsort(f->source, f->n, sizeof(f->source[0]), by_number);
}

static bool same_filter(const struct group_wants *a, const struct group_wants *b)
{
	return a->mode == b->mode && a->n == b->n &&
	       !memcmp(a->source, b->source, a->n * sizeof(a->source[0]));
}

/* Something was done to a membership: is it to be told? */
static void changed(struct stack *s, uint32_t dev, uint32_t group, const struct group_wants *before)
{
	struct group_wants now;

	group_wants(s, dev, group, &now);
	if (!same_filter(before, &now))
		igmp_changed(s, dev, group, before->mode == GROUP_INCLUDE && !before->n,
		    now.mode == GROUP_INCLUDE && !now.n);
}

/* ---- joining and leaving */

int group_join(struct stack *s, uint32_t owner, const struct group_wish *w)
{
	struct group_wants before;
	struct member_rec *m;
	uint32_t index, n = 0;

	if (!tables_made(s))
		return -ENOBUFS;
	for (uint32_t i = first_of_owner(s, owner); i; i = next_of_owner(s, i, owner), n++) {
		const struct member_rec *other = group_peek(s, i - 1);

		if (other->group == w->group && other->dev == w->dev)
			return -EADDRINUSE;
	}
	if (n >= GROUPS_MAX)
		return -ENOBUFS;
	group_wants(s, w->dev, w->group, &before);
	m = state_alloc(s->state, KIND_MEMBER, &index);
	if (!m)
		return -ENOBUFS;
	*m = (struct member_rec){.owner = owner,
	    .dev = w->dev,
	    .group = w->group,
	    .address = w->address,
	    .mode = w->mode};
	enter(s, index);
	KILLPOINT("group.join");
	changed(s, w->dev, w->group, &before);
	return 0;
}

uint32_t group_find(const struct stack *s, uint32_t owner, const struct group_wish *w)
{
	uint32_t found = NO_INDEX;

	/* The newest stands first in its chain; the one that was joined first is meant. */
	for (uint32_t i = first_of_owner(s, owner); i; i = next_of_owner(s, i, owner)) {
		const struct member_rec *m = group_peek(s, i - 1);

		if (m->group == w->group &&
		    (w->dev != NO_INDEX ? m->dev == w->dev
					: !w->address || m->address == w->address))
			found = i - 1;
	}
	return found;
}

void group_leave(struct stack *s, uint32_t member)
{
	const struct member_rec *m = group_peek(s, member);
	struct group_wants before;
	uint32_t dev = m->dev, group = m->group;

	group_wants(s, dev, group, &before);
	take_out(s, member);
	state_free(s->state, KIND_MEMBER, member);
	KILLPOINT("group.leave");
	changed(s, dev, group, &before);
}

void group_leave_all(struct stack *s, uint32_t owner)
{
	uint32_t i;

	while ((i = first_of_owner(s, owner)))
		group_leave(s, i - 1);
}

void group_change(struct stack *s, uint32_t member, const struct member_rec *m)
{
	struct group_wants before;

	group_wants(s, m->dev, m->group, &before);
	*(struct member_rec *)state_get(s->state, KIND_MEMBER, member) = *m;
	changed(s, m->dev, m->group, &before);
}

/* ---- packets */

bool group_heard(const struct stack *s, uint32_t dev, const struct ipaddr *group)
{
	uint32_t v4 = ipaddr_to_v4(group);

	return v4 == ALL_HOSTS || first_in_group(s, dev, v4);
}

bool group_allows(const struct stack *s, uint32_t owner, const struct ip_meta *m, bool all)
{
	uint32_t group = ipaddr_to_v4(&m->dst), src = ipaddr_to_v4(&m->src);

	for (uint32_t i = first_of_owner(s, owner); i; i = next_of_owner(s, i, owner)) {
		const struct member_rec *r = group_peek(s, i - 1);

		if (r->group == group && r->dev == m->dev)
			return listed(r->source, r->sources, src) == (r->mode == GROUP_INCLUDE);
	}
	return all;
}

/* ---- after a restart */

int group_reindex(struct stack *s)
{
	uint32_t i = state_next(s->state, KIND_MEMBER, 0);

	free(ip_of(s)->groups);
	ip_of(s)->groups = NULL;
	if (i != NO_INDEX && !tables_made(s))
		return -ENOMEM;
	for (; i != NO_INDEX; i = state_next(s->state, KIND_MEMBER, i + 1))
		enter(s, i);
	return 0;
}

void group_census(struct stack *s, bool (*gone)(const struct stack *s, uint32_t owner))
{
	for (uint32_t i = state_next(s->state, KIND_MEMBER, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_MEMBER, i + 1))
		if (gone(s, group_peek(s, i)->owner))
			group_leave(s, i);
}
