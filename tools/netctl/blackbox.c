/* netctl blackbox: the last deaths of netd-inet, what was in hand, and what is dropped on sight. */
#include "tools/netctl/netctl.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *cause(const Netd__Control__Death *d, char *buf, size_t size)
{
	if (d->hung)
		snprintf(buf, size, "hung");
	else if (!d->signal)
		snprintf(buf, size, "killed from outside");
	else if (d->place >> 63)
		snprintf(buf, size, "SIG%s in a library", sigabbrev_np((int)d->signal) ?: "?");
	else
		snprintf(buf, size, "SIG%s at +0x%" PRIx64, sigabbrev_np((int)d->signal) ?: "?", d->place);
	return buf;
}

static int box_json(const Netd__Control__BlackBox *b)
{
	json_t *deaths = json_array(), *asides = json_array();
	char why[64];

	for (size_t i = 0; i < b->n_death; i++) {
		const Netd__Control__Death *d = b->death[i];
		json_t *last = json_array();

		for (size_t k = 0; k < d->n_last; k++)
			json_array_append_new(last, json_string(d->last[k]));
		json_array_append_new(deaths,
		    json_pack("{sI si ss si sb ss sb so}", "ago_ms", (json_int_t)d->ago_ms, "pid", (int)d->pid, "cause",
		        cause(d, why, sizeof(why)), "signal", (int)d->signal, "hung", (int)d->hung, "in_hand", d->in_hand,
		        "set_aside", (int)d->set_aside, "last", last));
	}
	for (size_t i = 0; i < b->n_aside; i++)
		json_array_append_new(asides,
		    json_pack("{ss sI sI}", "what", b->aside[i]->what, "left_ms", (json_int_t)b->aside[i]->left_ms, "dropped",
		        (json_int_t)b->aside[i]->dropped));
	return json_print(json_pack("{so so}", "deaths", deaths, "set_aside", asides));
}

static void box_tables(const Netd__Control__BlackBox *b)
{
	static const char *const death_head[] = {"AGO", "PID", "CAUSE", "IN HAND", "THEN"};
	static const char *const aside_head[] = {"DROPPED ON SIGHT", "FOR ANOTHER", "FRAMES"};
	struct table *t = table_new(5, death_head);
	char why[64];

	for (size_t i = 0; i < b->n_death; i++) {
		const Netd__Control__Death *d = b->death[i];
		bool own = d->hung || d->signal;

		table_cell(t, "%" PRIu64 ".%03u s", d->ago_ms / 1000, (unsigned)(d->ago_ms % 1000));
		table_cell(t, "%d", d->pid);
		table_cell(t, "%s", cause(d, why, sizeof(why)));
		table_cell(t, "%s", d->in_hand);
		table_cell(t, "%s", d->set_aside ? "set aside" : own ? "tried again" : "-");
	}
	table_print(t);
	if (!b->n_aside)
		return;
	putchar('\n');
	t = table_new(3, aside_head);
	for (size_t i = 0; i < b->n_aside; i++) {
		table_cell(t, "%s", b->aside[i]->what);
		table_cell(t, "%" PRIu64 " s", b->aside[i]->left_ms / 1000);
		table_cell(t, "%" PRIu64, b->aside[i]->dropped);
	}
	table_print(t);
}

int cmd_blackbox(int argc, char **argv)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a;

	if (no_words(argc, argv))
		return EXIT_WORDS;
	r.body_case = NETD__CONTROL__REQUEST__BODY_BLACK_BOX;
	r.black_box = &empty;
	a = ask(&r);
	if (!a)
		return EXIT_REFUSED;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_BLACK_BOX) {
		if (want_json)
			box_json(a->black_box);
		else
			box_tables(a->black_box);
	}
	response_free(a);
	return EXIT_DONE;
}
