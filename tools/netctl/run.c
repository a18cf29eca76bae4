/* netctl run: an unmodified program on netd, through the preload library beside us. */
#include "tools/netctl/netctl.h"
#include "base/util.h"
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the build tree, then where it is installed. */
static bool find_library(char *path, size_t size)
{
	static const char *const places[] = {"../clientlib", "../lib", "../lib/x86_64-linux-gnu", "../lib/aarch64-linux-gnu"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *real;

	if (n < 0)
		return false;
	self[n] = 0;
	dirname(self);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, size, "%s/%s/libnetd-preload.so", self, places[i]);
		real = realpath(path, NULL);
		if (!real)
			continue;
		snprintf(path, size, "%s", real);
		free(real);
		return true;
	}
	return false;
}

/* The program may change its directory. */
static const char *absolute_socket(char *buf, size_t size)
{
	const char *path = socket_path();
	char dir[PATH_MAX];

	if (path[0] == '/' || !getcwd(dir, sizeof(dir)))
		return path;
	snprintf(buf, size, "%s/%s", dir, path);
	return buf;
}

int cmd_run(int argc, char **argv)
{
	char socket[2 * PATH_MAX], library[2 * PATH_MAX], preload[4 * PATH_MAX];
	const char *before = getenv("LD_PRELOAD"), *why;
	bool end = argc > 1 && !strcmp(argv[1], "--");
	int at = end ? 2 : 1, conn;

	if (at >= argc || (!end && argv[at][0] == '-')) {
		fprintf(stderr, "usage: netctl run [--] PROGRAM ARGS...\n");
		return EXIT_WORDS;
	}
	if (!find_library(library, sizeof(library))) {
		fprintf(stderr, "netctl: libnetd-preload.so is not where it should be (beside netctl's folder)\n");
		return EXIT_REFUSED;
	}
	conn = dial();
	if (conn < 0)
		return EXIT_REFUSED;
	close(conn);
	snprintf(preload, sizeof(preload), "%s%s%s", library, before && *before ? ":" : "", before ? before : "");
	setenv("LD_PRELOAD", preload, 1);
	setenv("NETD_SOCKET", absolute_socket(socket, sizeof(socket)), 1);
	why = out_of_reach(argv[at]);
	if (why)
		fprintf(stderr, "netctl: warning: %s %s; its sockets are the kernel's\n", argv[at], why);
	execvp(argv[at], &argv[at]);
	fprintf(stderr, "netctl: %s: %s\n", argv[at], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}
