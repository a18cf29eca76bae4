/* netctl status, link, stats, killpoint. */
#include "tools/netctl/netctl.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int no_words(int argc, char **argv)
{
	if (argc < 2 || (argc == 2 && !strcmp(argv[1], "show")))
		return 0;
	fprintf(stderr, "netctl: %s: unknown word '%s'\n", argv[0], argv[1]);
	return EXIT_WORDS;
}

static int status_json(const Netd__Control__Status *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n_components; i++) {
		const Netd__Control__Component *c = s->components[i];

		json_array_append_new(list,
		    json_pack("{ss si ss si si ss sI sI sI}", "name", c->name, "pid", c->pid, "state", c->state,
		        "restarts", (int)c->restarts, "hangs", (int)c->hangs, "last_death", c->last_death, "uptime_ms",
		        (json_int_t)c->uptime_ms, "pause_last_us", (json_int_t)c->pause_last_us, "pause_max_us",
		        (json_int_t)c->pause_max_us));
	}
	return json_print(json_pack("{ss sb sI sI sI sI so}", "version", s->version, "supervised", (int)s->supervised,
	    "incarnation", (json_int_t)s->incarnation, "sessions", (json_int_t)s->sessions, "sockets", (json_int_t)s->sockets,
	    "uptime_ms", (json_int_t)s->uptime_ms, "components", list));
}

static void status_table(const Netd__Control__Status *s)
{
	static const char *const head[] = {"COMPONENT", "PID", "STATE", "RESTARTS", "HANGS", "PAUSE", "LONGEST", "LAST DEATH"};
	struct table *t = table_new(8, head);

	for (size_t i = 0; i < s->n_components; i++) {
		const Netd__Control__Component *c = s->components[i];

		table_cell(t, "%s", c->name);
		table_cell(t, "%d", c->pid);
		table_cell(t, "%s", c->state);
		table_cell(t, "%u", c->restarts);
		table_cell(t, "%u", c->hangs);
		table_cell(t, c->pause_last_us ? "%.2f ms" : "-", (double)c->pause_last_us / 1000);
		table_cell(t, c->pause_max_us ? "%.2f ms" : "-", (double)c->pause_max_us / 1000);
		table_cell(t, "%s", *c->last_death ? c->last_death : "-");
	}
	table_print(t);
	printf("netd %s: incarnation %u, %u sessions, %u sockets, up %.1f s\n", s->version, s->incarnation, s->sessions,
	    s->sockets, (double)s->uptime_ms / 1000);
	if (!s->supervised)
		printf("There is no supervisor: nobody replaces what dies or hangs, and the table is what the last one said.\n"
		       "Start netd again, with the same configuration: it takes over, and no connection is lost.\n");
}

int cmd_status(int argc, char **argv)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a;

	if (no_words(argc, argv))
		return EXIT_WORDS;
	r.body_case = NETD__CONTROL__REQUEST__BODY_STATUS;
	r.status = &empty;
	a = ask(&r);
	if (!a)
		return EXIT_REFUSED;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_STATUS) {
		if (want_json)
			status_json(a->status);
		else
			status_table(a->status);
	}
	response_free(a);
	return EXIT_DONE;
}

static int link_json(const Netd__Control__LinkTable *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->n_link; i++) {
		const Netd__Control__Link *k = l->link[i];

		json_array_append_new(list,
		    json_pack("{si ss ss ss si sb sI sI sI sI sI sI}", "index", (int)k->index, "name", k->name, "driver",
		        k->driver, "mac", mac_text(&k->mac), "mtu", (int)k->mtu, "up", (int)k->up, "rx_frames",
		        (json_int_t)k->rx_frames, "rx_bytes", (json_int_t)k->rx_bytes, "tx_frames", (json_int_t)k->tx_frames,
		        "tx_bytes", (json_int_t)k->tx_bytes, "rx_dropped", (json_int_t)k->rx_dropped, "tx_dropped",
		        (json_int_t)k->tx_dropped));
	}
	return json_print(list);
}

static void link_table(const Netd__Control__LinkTable *l)
{
	static const char *const head[] = {"DEVICE", "DRIVER", "STATE", "MTU", "MAC", "RX FRAMES", "RX BYTES", "TX FRAMES", "TX BYTES", "DROPPED RX/TX"};
	struct table *t = table_new(10, head);

	for (size_t i = 0; i < l->n_link; i++) {
		const Netd__Control__Link *k = l->link[i];

		table_cell(t, "%s", k->name);
		table_cell(t, "%s", *k->driver ? k->driver : "-");
		table_cell(t, "%s", k->up ? "up" : "down");
		table_cell(t, "%u", k->mtu);
		table_cell(t, "%s", mac_text(&k->mac));
		table_cell(t, "%" PRIu64, k->rx_frames);
		table_cell(t, "%" PRIu64, k->rx_bytes);
		table_cell(t, "%" PRIu64, k->tx_frames);
		table_cell(t, "%" PRIu64, k->tx_bytes);
		table_cell(t, "%" PRIu64 "/%" PRIu64, k->rx_dropped, k->tx_dropped);
	}
	table_print(t);
}

int cmd_link(int argc, char **argv)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a;

	if (no_words(argc, argv))
		return EXIT_WORDS;
	r.body_case = NETD__CONTROL__REQUEST__BODY_LINK_LIST;
	r.link_list = &empty;
	a = ask(&r);
	if (!a)
		return EXIT_REFUSED;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_LINKS) {
		if (want_json)
			link_json(a->links);
		else
			link_table(a->links);
	}
	response_free(a);
	return EXIT_DONE;
}

int cmd_stats(int argc, char **argv)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	const char *prefix = argc > 1 ? argv[1] : "";
	json_t *root;
	response *a;

	if (argc > 2 || prefix[0] == '-') {
		fprintf(stderr, "usage: netctl stats [NAME-PREFIX]\n");
		return EXIT_WORDS;
	}
	root = json_object();
	r.body_case = NETD__CONTROL__REQUEST__BODY_STATS;
	r.stats = &empty;
	a = ask(&r);
	for (size_t i = 0; a && a->body_case == NETD__CONTROL__RESPONSE__BODY_STATS && i < a->stats->n_stat; i++) {
		const Netd__Control__Stat *s = a->stats->stat[i];

		if (strncmp(s->name, prefix, strlen(prefix)) != 0)
			continue;
		if (want_json)
			json_object_set_new(root, s->name, json_integer((json_int_t)s->value));
		else
			printf("%-28s %" PRIu64 "\n", s->name, s->value);
	}
	if (a && want_json)
		json_dumpf(root, stdout, JSON_INDENT(2));
	json_decref(root);
	response_free(a);
	return a ? EXIT_DONE : EXIT_REFUSED;
}

/* For the fault tests: lists the kill points of this build, or arms one. */
int cmd_killpoint(int argc, char **argv)
{
	Netd__Control__KillPoint k = NETD__CONTROL__KILL_POINT__INIT;
	request r = NETD__CONTROL__REQUEST__INIT;
	response *a;

	if (argc == 3 && number(argv[2], &k.countdown)) {
		k.name = argv[1];
	} else if (argc != 1) {
		fprintf(stderr, "usage: netctl killpoint [NAME COUNT]\n");
		return EXIT_WORDS;
	}
	r.body_case = NETD__CONTROL__REQUEST__BODY_KILL_POINT;
	r.kill_point = &k;
	a = ask(&r);
	if (!a)
		return EXIT_REFUSED;
	if (argc == 1 && a->body_case == NETD__CONTROL__RESPONSE__BODY_KILL_POINTS)
		for (size_t i = 0; i < a->kill_points->n_name; i++)
			puts(a->kill_points->name[i]);
	response_free(a);
	return EXIT_DONE;
}
