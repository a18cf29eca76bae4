#include "supervisor/priority.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define RT_URGENT     1
#define RT_SUPERVISOR 2

static void set_thread(pid_t tid, enum priority p, int nice)
{
	struct sched_param rt = {.sched_priority = p == PRIORITY_URGENT ? RT_URGENT : RT_SUPERVISOR}, none = {0};

	if ((p == PRIORITY_SUPERVISOR || p == PRIORITY_URGENT) && sched_setscheduler(tid, SCHED_RR, &rt) == 0)
		return;
	if (sched_setscheduler(tid, SCHED_OTHER, &none) < 0 || setpriority(PRIO_PROCESS, (id_t)tid, nice) < 0)
		log_debug("the priority of thread %d stays: %s", (int)tid, strerror(errno));
}

/*
 * With autogroups (sched(7)) a nice value counts only within a session, and each component has one of its own: its
 * group's value is what the rest of the machine feels.
 */
static void set_autogroup(pid_t pid, int nice)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/autogroup", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* there are none */
	if (dprintf(fd, "%d", nice) < 0)
		log_debug("the autogroup of process %d stays: %s", (int)pid, strerror(errno));
	close(fd);
}

void priority_set(pid_t pid, enum priority p, int nice)
{
	struct dirent *e;
	char path[64];
	DIR *dir;

	if (p == PRIORITY_BACKGROUND && nice < 0)
		nice = 0;
	if (p == PRIORITY_WORKING || p == PRIORITY_BACKGROUND)
		set_autogroup(pid, nice);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)(pid ? pid : getpid()));
	dir = opendir(path);
	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			set_thread((pid_t)atoi(e->d_name), p, nice);
	closedir(dir);
}
