/*
 * Starting a component: its own executable, its channel at descriptor 3, our standard error at 4 for its log, its last
 * words as its own standard error, nothing else of ours.
 *
 * Every descriptor of the supervisor is close-on-exec; posix_spawn() puts the one that the child gets
 * in its place after the fork and does not copy our address space. The child is a session of its own
 * (a Ctrl-C for the supervisor is not for it) and gets no parent-death signal: components outlive the
 * supervisor. SIGPIPE stays ignored in it: ringing a bell that nobody holds any more is no fault.
 */
#include "supervisor/supervisor.h"
#include "proto/channel.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STRING_OF(x) #x
#define STRING(x)    STRING_OF(x)

extern char **environ;

static const char *const private_variables[] = {
    "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="};

/* $NETD_LIBEXEC, then beside ourselves (build tree and installed), then the build tree's drivers. */
static int find_program(const char *program, char *path, size_t size)
{
	const char *libexec = getenv("NETD_LIBEXEC");
	char self[PATH_MAX];
	ssize_t n;

	if (libexec) {
		snprintf(path, size, "%s/%s", libexec, program);
		if (access(path, X_OK) == 0)
			return 0;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return -errno;
	self[n] = 0;
	dirname(self);
	snprintf(path, size, "%s/%s", self, program);
	if (access(path, X_OK) == 0)
		return 0;
	snprintf(path, size, "%s/../drivers/%s", self, program);
	return access(path, X_OK) < 0 ? -errno : 0;
}

/* The environment without what systemd meant for us alone. */
static char **environment(void)
{
	size_t n = 0, out = 0;
	char **env;

	while (environ[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	for (size_t i = 0; env && i < n; i++) {
		bool ours = false;

		for (size_t k = 0; k < ARRAY_SIZE(private_variables); k++)
			ours |= !strncmp(environ[i], private_variables[k], strlen(private_variables[k]));
		if (!ours)
			env[out++] = environ[i];
	}
	return env;
}

static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, int channel, int words)
{
	sigset_t none;
	int ret;

	sigemptyset(&none);
	ret = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(actions, STDERR_FILENO, LOG_FD);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(actions, words, STDERR_FILENO);
	if (!ret)
		ret = posix_spawn_file_actions_adddup2(actions, channel, CHANNEL_FD);
	if (!ret)
		ret = posix_spawnattr_setsigmask(attr, &none);
	if (!ret)
		ret = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	return ret;
}

static int spawn_with(const char *program, int channel, int words, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	char path[PATH_MAX + 64], *argv[] = {path, NULL}, **env;
	int ret = find_program(program, path, sizeof(path));

	if (ret < 0)
		return ret;
	setenv("NETD_LOG_FD", STRING(LOG_FD), 1);
	env = environment();
	if (!env)
		return -ENOMEM;
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	ret = prepare(&actions, &attr, channel, words);
	if (!ret)
		ret = posix_spawn(pid, path, &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	free(env);
	return -ret;
}

int spawn(const char *program, int channel, int words, pid_t *pid, int *pidfd)
{
	/* Out of the way of those that the child is to have. */
	int channel_high = fcntl(channel, F_DUPFD_CLOEXEC, LOG_FD + 1), words_high = fcntl(words, F_DUPFD_CLOEXEC, LOG_FD + 1);
	int ret = channel_high < 0 || words_high < 0 ? -errno : spawn_with(program, channel_high, words_high, pid);

	if (channel_high >= 0)
		close(channel_high);
	if (words_high >= 0)
		close(words_high);
	if (ret < 0)
		return ret;
	/* Our child, not yet waited for: the number cannot be anybody else's. Close-on-exec by itself. */
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	if (*pidfd < 0) {
		ret = -errno;
		kill(*pid, SIGKILL);
		return ret;
	}
	return 0;
}
