/* A binary heap of (deadline, record), with each record's place in it. Theory of operation: timer.h. */
#include "state/timer.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_ROOM 1024

struct entry {
	uint64_t deadline;
	uint32_t index;
	uint32_t kind;
};

struct timers {
	struct entry *heap;
	uint32_t n, room;
	uint32_t *place[KIND_COUNT]; /* heap place + 1; 0: not armed */
	uint32_t places[KIND_COUNT];
};

struct timers *timers_new(void)
{
	return calloc(1, sizeof(struct timers));
}

void timers_free(struct timers *t)
{
	if (!t)
		return;
	for (int k = 0; k < KIND_COUNT; k++)
		free(t->place[k]);
	free(t->heap);
	free(t);
}

static void put(struct timers *t, uint32_t at, struct entry e)
{
	t->heap[at] = e;
	t->place[e.kind][e.index] = at + 1;
}

static void sift_up(struct timers *t, uint32_t at, struct entry e)
{
	while (at && t->heap[(at - 1) / 2].deadline > e.deadline) {
		put(t, at, t->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	put(t, at, e);
}

static void sift_down(struct timers *t, uint32_t at, struct entry e)
{
	for (;;) {
		uint32_t c = 2 * at + 1;

		if (c >= t->n)
			break;
		if (c + 1 < t->n && t->heap[c + 1].deadline < t->heap[c].deadline)
			c++;
		if (t->heap[c].deadline >= e.deadline)
			break;
		put(t, at, t->heap[c]);
		at = c;
	}
	put(t, at, e);
}

static int make_place(struct timers *t, enum record_kind kind, uint32_t index)
{
	uint32_t want = t->places[kind] ? t->places[kind] : 64;
	uint32_t *grown;

	if (index < t->places[kind])
		return 0;
	while (want <= index)
		want *= 2;
	grown = realloc(t->place[kind], want * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + t->places[kind], 0, (want - t->places[kind]) * sizeof(*grown));
	t->place[kind] = grown;
	t->places[kind] = want;
	return 0;
}

int timer_set(struct timers *t, enum record_kind kind, uint32_t index, uint64_t deadline)
{
	struct entry e = {deadline, index, kind};
	uint32_t at;

	if (deadline == UINT64_MAX)
		return 0;
	if (make_place(t, kind, index) < 0)
		return -ENOMEM;
	at = t->place[kind][index];
	if (at) {
		if (deadline < t->heap[at - 1].deadline)
			sift_up(t, at - 1, e);
		return 0;
	}
	if (t->n == t->room) {
		uint32_t room = t->room ? t->room * 2 : 64;
		struct entry *grown = realloc(t->heap, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		t->heap = grown;
		t->room = room;
	}
	sift_up(t, t->n++, e);
	return 0;
}

/* Half of the room is enough, with half of that to spare: after a crowd its memory goes back. */
static void shrink(struct timers *t)
{
	struct entry *less = realloc(t->heap, t->room / 2 * sizeof(*less));

	if (!less)
		return;
	t->heap = less;
	t->room /= 2;
}

static void take_out(struct timers *t, uint32_t at)
{
	struct entry last = t->heap[--t->n];

	t->place[t->heap[at].kind][t->heap[at].index] = 0;
	if (t->room > KEEP_ROOM && t->n < t->room / 4)
		shrink(t);
	if (at == t->n)
		return;
	if (at && t->heap[(at - 1) / 2].deadline > last.deadline)
		sift_up(t, at, last);
	else
		sift_down(t, at, last);
}

void timer_cancel(struct timers *t, enum record_kind kind, uint32_t index)
{
	if (index < t->places[kind] && t->place[kind][index])
		take_out(t, t->place[kind][index] - 1);
}

uint64_t timers_next(const struct timers *t)
{
	return t->n ? t->heap[0].deadline : UINT64_MAX;
}

int timers_pop(struct timers *t, uint64_t now, enum record_kind *kind, uint32_t *index)
{
	if (!t->n || t->heap[0].deadline > now)
		return 0;
	*kind = (enum record_kind)t->heap[0].kind;
	*index = t->heap[0].index;
	take_out(t, 0);
	return 1;
}
