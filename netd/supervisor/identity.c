/*
 * Whom a pidfd means that somebody else kept for us.
 *
 * A supervisor gets the pidfds of its components back from a netd-inet, which talks to strangers and may obey one of them:
 * that one could hand over any process's, for us to stop and to kill. So a process is believed to be a component only if it
 * bears what spawn.c gives each of them and a stranger's victim does not, unless it is another netd's: a name that begins
 * with "netd-", a session of its own, and our user or nobody's (base/sandbox.h). All of this can be read without any
 * privilege. The dead are believed, for nothing can happen to them any more.
 */
#include "supervisor/supervisor.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME_PREFIX "netd-"
#define NOBODY      65534u

pid_t pidfd_pid(int pidfd)
{
	char path[64], line[128];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid;
}

bool pidfd_dead(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static bool own_session_and_name(pid_t pid)
{
	char path[64], stat[512] = "", *name, *end;
	int session = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	stat[fread(stat, 1, sizeof(stat) - 1, f)] = 0;
	fclose(f);
	/* "pid (name) state ppid pgrp session": the name may hold anything, so the last parenthesis counts. */
	name = strchr(stat, '(');
	end = strrchr(stat, ')');
	return name && end && !strncmp(name + 1, NAME_PREFIX, strlen(NAME_PREFIX)) &&
	       sscanf(end + 1, " %*c %*d %*d %d", &session) == 1 && session == pid;
}

static bool own_user(pid_t pid)
{
	char path[64], line[256];
	unsigned uid = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "Uid: %*u %u", &uid) == 1;
	if (f)
		fclose(f);
	return found && (uid == geteuid() || uid == NOBODY);
}

bool pidfd_is_component(int pidfd)
{
	pid_t pid = pidfd_pid(pidfd);
	bool ours;

	if (!pid)
		return false;
	ours = pid > 0 && own_session_and_name(pid) && own_user(pid);
	/* If it lives now, its number was nobody else's meanwhile. */
	return ours || pidfd_dead(pidfd);
}
