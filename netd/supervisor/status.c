/* What netctl status shows of the processes: pushed to every netd-inet, and as one line to systemd. */
#include "supervisor/supervisor.h"
#include <stdio.h>
#include <string.h>

#define ROWS_MAX (SLOTS_INET + CONFIG_DEVICES_MAX + 1)

struct table {
	Netd__Component__ComponentStatus row[ROWS_MAX], *list[ROWS_MAX];
	char name[ROWS_MAX][48];
	unsigned n;
};

static void add(struct table *t, const char *name, const struct component *c, const struct history *h)
{
	Netd__Component__ComponentStatus *row;

	if (t->n == ROWS_MAX)
		return;
	row = t->list[t->n] = &t->row[t->n];
	netd__component__component_status__init(row);
	snprintf(t->name[t->n], sizeof(t->name[0]), "%s", name);
	row->name = t->name[t->n++];
	row->pid = c ? c->pid : 0;
	row->state = (char *)(c ? component_state_name(c) : "backoff");
	row->started_ns = c ? c->started_ns : 0;
	row->restarts = h->restarts;
	row->hangs = h->hangs;
	row->last_death = (char *)h->last_death;
	row->pause_last_us = h->pause_last_us;
	row->pause_max_us = h->pause_max_us;
}

static void add_inets(struct table *t, const struct supervisor *s)
{
	const struct component *first = s->active;
	char name[48];

	for (const struct component *c = s->components; c && !first; c = c->next)
		if (is_inet(c) && !c->number)
			first = c;
	add(t, "netd-inet", first, &s->inet);
	for (const struct component *c = s->components; c; c = c->next) {
		if (!is_inet(c) || c == first || c->state == COMPONENT_DEAD)
			continue;
		component_name(c, name, sizeof(name));
		add(t, name, c, &s->standby);
	}
	/* Only they wait visibly: without an active one there is nobody to ask for this table. */
	if (uv_is_active((const uv_handle_t *)&s->inet.timer))
		add(t, "standby", NULL, &s->standby);
}

static void tell_systemd(struct supervisor *s, const struct table *t)
{
	char line[512] = "";
	size_t len = 0;

	for (unsigned i = 0; i < t->n && len < sizeof(line); i++)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s %s", i ? ", " : "",
		    t->row[i].name, t->row[i].state);
	systemd_status(s, line);
}

void send_status(struct supervisor *s)
{
	struct table t = {.n = 0};
	Netd__Component__Status status = NETD__COMPONENT__STATUS__INIT;
	to_component m = TO_COMPONENT(STATUS, status, &status);
	char name[48];

	add_inets(&t, s);
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		if (!s->device[i])
			continue;
		snprintf(name, sizeof(name), "driver %s", s->device[i]->name);
		add(&t, name, driver_of(s, s->device[i]), &s->device[i]->history);
	}
	status.component = t.list;
	status.n_component = t.n;
	status.started_ns = s->started_ns;
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c))
			component_send(c, &m, NULL);
	tell_systemd(s, &t);
}
