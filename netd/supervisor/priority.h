/*
 * Who runs before whom.
 *
 * A takeover is short and everybody waits for it. So the supervisor that answers it, a standby that is ready, a driver
 * that starts anew, and for a moment more all that work (settle.c) run at real-time priority: on a loaded machine they do not stand
 * in a queue behind the programs, where a process that has just lost its processor waits for a whole tick, 4 ms. After that
 * components are as good as any program, or as their nice value says (`nice` of the configuration). A standby that still
 * gets ready, and the dead one that gives its memory back (which can take many milliseconds), have no hurry: nice 0 at best.
 *
 * Without the privilege (CAP_SYS_NICE) everything stays as it is.
 */
#pragma once
#include <sys/types.h>

enum priority {
	PRIORITY_SUPERVISOR,
	PRIORITY_URGENT, /* waited for: a ready standby, a driver that starts, everybody for a moment after a pause */
	PRIORITY_WORKING,
	PRIORITY_BACKGROUND,
};

/* For every thread that `pid` (0: the caller) has now. `nice` is for PRIORITY_WORKING, and where real-time is refused. */
void priority_set(pid_t pid, enum priority p, int nice);
