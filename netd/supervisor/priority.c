#include "supervisor/priority.h"
#include "base/log.h"
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define RT_STANDBY    1
#define RT_SUPERVISOR 2

static void set_thread(pid_t tid, enum priority p, int nice)
{
	struct sched_param rt = {.sched_priority = p == PRIORITY_STANDBY ? RT_STANDBY : RT_SUPERVISOR}, none = {0};

	if (p == PRIORITY_BACKGROUND && nice < 0)
		nice = 0;
	if ((p == PRIORITY_SUPERVISOR || p == PRIORITY_STANDBY) && sched_setscheduler(tid, SCHED_RR, &rt) == 0)
		return;
	if (sched_setscheduler(tid, SCHED_OTHER, &none) < 0 || setpriority(PRIO_PROCESS, (id_t)tid, nice) < 0)
		log_debug("the priority of thread %d stays: %s", (int)tid, strerror(errno));
}

void priority_set(pid_t pid, enum priority p, int nice)
{
	struct dirent *e;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)(pid ? pid : getpid()));
	dir = opendir(path);
	if (!dir)
		return;
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			set_thread((pid_t)atoi(e->d_name), p, nice);
	closedir(dir);
}
