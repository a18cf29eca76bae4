/* Who is restarted, and when (backoff.h): as many netd-inet as there should be, and a driver for each device. */
#include "supervisor/supervisor.h"

#define RETRY_MS 100u /* after a start that failed on our side */

static void on_inet_timer(uv_timer_t *t)
{
	maintain_inets(t->data);
}

void restart_inets(struct supervisor *s, unsigned wait_ms)
{
	if (wait_ms)
		uv_timer_start(&s->inet.timer, on_inet_timer, wait_ms, 0);
	else
		maintain_inets(s);
}

static void on_driver_timer(uv_timer_t *t)
{
	struct device *d = t->data;

	restart_driver(d->history.timer.loop->data, d, 0);
}

void restart_driver(struct supervisor *s, struct device *d, unsigned wait_ms)
{
	if (wait_ms) {
		uv_timer_start(&d->history.timer, on_driver_timer, wait_ms, 0);
		return;
	}
	if (s->stopping || d->removed || driver_of(s, d))
		return;
	if (component_spawn(s, d) < 0)
		uv_timer_start(&d->history.timer, on_driver_timer,
		    max_of(backoff_death(&d->history.backoff, 0, true), RETRY_MS), 0);
}

void maintain_inets(struct supervisor *s)
{
	unsigned have = 0, want = 1 + *s->config->standbys;
	struct component *spare = NULL;
	bool unburied = false;

	if (s->stopping || uv_is_active((uv_handle_t *)&s->inet.timer))
		return;
	for (struct component *c = s->components; c; c = c->next) {
		unburied |= is_inet(c) && c->state == COMPONENT_DEAD;
		if (!is_inet(c) || !component_alive(c))
			continue;
		have++;
		if (c != s->active)
			spare = c;
	}
	if (!s->active && !have && unburied)
		return; /* component_died() drains its channel first, and comes back here */
	/* Standbys come after the one that they stand by for, so that it wins the race for the mutex. */
	if (!s->active || s->active->state != COMPONENT_RUNNING || settling(s))
		want = 1;
	else if (have > want && spare) {
		send_stop(spare);
		s->changed = true;
	}
	for (; have < want; have++) {
		if (component_spawn(s, NULL) < 0) {
			restart_inets(s, max_of(backoff_death(&s->inet.backoff, 0, true), RETRY_MS));
			return;
		}
	}
}
