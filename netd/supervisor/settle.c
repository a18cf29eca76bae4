/*
 * The first milliseconds after a pause belong to those who work: netd-inet and the drivers have its
 * backlog before them, and all clients wait for it. So they run at the priority of a ready standby
 * for a moment more, and what has time waits for the end of that moment: the start of another
 * standby, a whole exec's work for the processors. A moment that is not over is not prolonged:
 * deaths in quick succession do not use up the standbys.
 */
#include "supervisor/supervisor.h"

#define SETTLE_MS 20

static void priorities(const struct supervisor *s)
{
	for (const struct component *c = s->components; c; c = c->next)
		if (c->state == COMPONENT_RUNNING)
			component_priority(c);
}

static void on_settled(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	priorities(s);
	maintain_inets(s);
}

void settle_init(struct supervisor *s)
{
	uv_timer_init(&s->loop, &s->settle);
	s->settle.data = s;
}

void settle_begin(struct supervisor *s)
{
	if (settling(s))
		return;
	uv_timer_start(&s->settle, on_settled, SETTLE_MS, 0);
	priorities(s);
}

bool settling(const struct supervisor *s)
{
	return uv_is_active((const uv_handle_t *)&s->settle);
}
