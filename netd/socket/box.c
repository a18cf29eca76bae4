/* The black box (state/blackbox.h) as an answer on the control socket. */
#include "socket/layer.h"
#include "base/util.h"
#include "proto/channel.h"
#include "state/switchboard.h"
#include <stdio.h>

struct death_row {
	Netd__Control__Death m;
	char *last[BOX_LAST], text[BOX_LAST][48];
};

static void put_last(const struct stack *s, struct death_row *row, const struct box_death *d)
{
	for (unsigned i = 0; i < BOX_LAST && d->last[i].kind; i++) {
		const struct box_note *n = &d->last[i];

		if (n->kind == BOX_TIMER && n->at < KIND_COUNT)
			snprintf(row->text[i], sizeof(row->text[i]), "timer of %s %u", s->board->records[n->at].name, n->index);
		else if (n->kind >= BOX_COMMIT)
			snprintf(row->text[i], sizeof(row->text[i]), "%s", box_kind_name(n->kind));
		else
			snprintf(row->text[i], sizeof(row->text[i]), "%s %u at %llu", box_kind_name(n->kind), n->index,
			    (unsigned long long)n->at);
		row->last[i] = row->text[i];
		row->m.n_last++;
	}
	row->m.last = row->last;
}

static void put_death(const struct stack *s, struct death_row *row, struct box_death *d)
{
	row->m = (Netd__Control__Death)NETD__CONTROL__DEATH__INIT;
	row->m.ago_ms = s->now > d->ns ? (s->now - d->ns) / NSEC_PER_MSEC : 0;
	row->m.pid = d->pid;
	row->m.signal = d->signal;
	row->m.hung = d->hung;
	row->m.place = d->place;
	d->text[BOX_TEXT - 1] = 0;
	row->m.in_hand = d->text;
	row->m.set_aside = d->aside;
	put_last(s, row, d);
}

int box_answer(struct stack *s, int conn, Netd__Control__Response *a)
{
	struct blackbox *b = s->box;
	Netd__Control__BlackBox m = NETD__CONTROL__BLACK_BOX__INIT;
	struct death_row death[BOX_DEATHS];
	Netd__Control__Death *deaths[BOX_DEATHS];
	Netd__Control__Aside aside[BOX_ASIDE], *asides[BOX_ASIDE];

	m.death = deaths;
	m.aside = asides;
	for (uint64_t i = 0; b && i < min_of(b->deaths, BOX_DEATHS); i++) {
		put_death(s, &death[i], &b->death[(b->deaths - 1 - i) % BOX_DEATHS]);
		deaths[m.n_death++] = &death[i].m;
	}
	for (uint32_t i = 0; b && i < min_of(b->asides, BOX_ASIDE); i++) {
		struct box_aside *x = &b->aside[i];
		Netd__Control__Aside *row = &aside[m.n_aside];

		if (x->until_ns <= s->now)
			continue;
		*row = (Netd__Control__Aside)NETD__CONTROL__ASIDE__INIT;
		x->text[BOX_TEXT - 1] = 0;
		row->what = x->text;
		row->left_ms = (x->until_ns - s->now) / NSEC_PER_MSEC;
		row->dropped = x->dropped;
		asides[m.n_aside++] = row;
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_BLACK_BOX;
	a->black_box = &m;
	return channel_send(conn, &a->base, NULL, 0);
}
