/* netd: command line of the supervisor. */
#include "supervisor/supervisor.h"
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *argp_program_version = "netd " NETD_VERSION;

struct arguments {
	const char *config;
	bool check;
};

enum { OPT_CHECK = 1000, OPT_FOREGROUND };

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "Configuration file (default /etc/netd/netd.yaml)", 0},
    {"check-config", OPT_CHECK, NULL, 0, "Read the configuration, say what is wrong, leave", 0},
    {"foreground", OPT_FOREGROUND, NULL, 0, "Stay in the foreground (always so)", 0},
    {NULL, 0, NULL, 0, NULL, 0}};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;

	switch (key) {
	case 'c':
		a->config = arg;
		return 0;
	case OPT_CHECK:
		a->check = true;
		return 0;
	case OPT_FOREGROUND:
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Whoever started us with one of the first three closed: what we open next must not get its number. */
static void fill_standard_descriptors(void)
{
	int fd = open("/dev/null", O_RDWR);

	while (fd >= 0 && fd < STDERR_FILENO)
		fd = dup(fd);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int sound(const char *path)
{
	printf("%s: sound\n", path);
	if (fflush(stdout) == 0)
		return 0;
	fprintf(stderr, "netd: the output cannot be written: %s\n", strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {options, parse, NULL,
	    "The supervisor of netd, a TCP/IP server in user space: starts its components and keeps them alive.",
	    NULL, NULL, NULL};
	static struct supervisor s;
	struct arguments a = {.config = "/etc/netd/netd.yaml"};
	struct config *config;
	char err[512];

	fill_standard_descriptors();
	argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (config_load(a.config, &config, err, sizeof(err)) < 0) {
		fprintf(stderr, "netd: %s\n", err);
		return 1;
	}
	if (a.check) {
		config_free(config);
		return sound(a.config);
	}
	log_init("netd", (enum log_level)config->log_level);
	log_pass_level((enum log_level)config->log_level);
	if (supervisor_start(&s, config, a.config) < 0)
		return 1;
	return supervisor_run(&s);
}
