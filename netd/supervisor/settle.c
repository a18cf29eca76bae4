/*
 * The first milliseconds after a takeover belong to the successor: it has the backlog of the pause
 * before it, and all clients wait for it. So it keeps the priority that it had as a standby for a
 * moment more, and what has time waits for the end of that moment: the start of another standby, a
 * whole exec's work for the processors. A moment that is not over is not prolonged: deaths in quick
 * succession do not use up the standbys.
 */
#include "supervisor/supervisor.h"

#define SETTLE_MS 10

static void on_settled(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	if (s->active)
		component_priority(s->active);
	maintain_inets(s);
}

void settle_init(struct supervisor *s)
{
	uv_timer_init(&s->loop, &s->settle);
	s->settle.data = s;
}

void settle_begin(struct supervisor *s)
{
	if (!settling(s))
		uv_timer_start(&s->settle, on_settled, SETTLE_MS, 0);
}

bool settling(const struct supervisor *s)
{
	return uv_is_active((const uv_handle_t *)&s->settle);
}
