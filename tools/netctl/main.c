#include "tools/netctl/netctl.h"
#include "base/util.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool want_json;

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"status", cmd_status, "components, pids, restarts, pauses"},
	{"link", cmd_link, "interfaces and their counters"},
	{"addr", cmd_addr, "[show | add ADDR/LEN dev DEV | del ADDR/LEN dev DEV]"},
	{"route", cmd_route, "[show | add DST [via GW] [dev DEV] [metric N] | del DST ...]"},
	{"neigh", cmd_neigh, "[show | add ADDR lladdr MAC dev DEV | del ADDR dev DEV]"},
	{"ss", cmd_ss, "[-t] [-u] [-l] [-a] [-n] [-p] [-i]   sockets"},
	{"stats", cmd_stats, "[NAME-PREFIX]   counters"},
	{"blackbox", cmd_blackbox, "the last deaths of netd-inet, and what was set aside"},
	{"run", cmd_run, "[--] PROGRAM ARGS...   runs an unmodified program on netd"},
	{"killpoint", cmd_killpoint, NULL},
};

static int usage(FILE *out, int status)
{
	fprintf(out, "usage: netctl [--json] COMMAND ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].help)
			fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\nThe control socket is $NETD_SOCKET, or /run/netd/netd.sock.\n");
	return status;
}

/* --json may stand before or (not for run) behind the command. */
static int take_json(int argc, char **argv)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			want_json = true;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

/* What could not be written, to a full disk or a closed descriptor, was not told. */
static int told(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "netctl: the output cannot be written: %s\n", strerror(errno));
	return EXIT_REFUSED;
}

static int command(int argc, char **argv)
{
	int at = 1;

	for (; at < argc && argv[at][0] == '-'; at++) {
		if (!strcmp(argv[at], "--json")) {
			want_json = true;
		} else if (!strcmp(argv[at], "--version")) {
			puts("netctl " NETD_VERSION);
			return EXIT_DONE;
		} else {
			bool help = !strcmp(argv[at], "--help") || !strcmp(argv[at], "-h");

			return usage(help ? stdout : stderr, help ? EXIT_DONE : EXIT_WORDS);
		}
	}
	if (at == argc)
		return usage(stderr, EXIT_WORDS);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[at], commands[i].name) != 0)
			continue;
		argc -= at;
		argv += at;
		return commands[i].run(commands[i].run == cmd_run ? argc : take_json(argc, argv), argv);
	}
	fprintf(stderr, "netctl: unknown command '%s' (netctl --help lists them)\n", argv[at]);
	return EXIT_WORDS;
}

int main(int argc, char **argv)
{
	return told(command(argc, argv));
}
