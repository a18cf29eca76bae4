/*
 * Who runs before whom.
 *
 * The kernel's network stack runs before the programs that wait for it; components do so by their nice value
 * (`nice` of the configuration). A takeover is short and everybody waits for it: a standby that is ready, and the supervisor
 * that answers it, run at real-time priority, so that on a loaded machine neither stands in a queue
 * behind the programs. The one that has taken over goes back among the components a moment later (settle.c). A standby that still gets ready, and the
 * dead one that gives its memory back (which can take many milliseconds), have no hurry: nice 0.
 *
 * Without the privilege (CAP_SYS_NICE) everything stays as it is.
 */
#pragma once
#include <sys/types.h>

enum priority {
	PRIORITY_SUPERVISOR,
	PRIORITY_STANDBY, /* ready, waits for the role */
	PRIORITY_WORKING,
	PRIORITY_BACKGROUND,
};

/* For every thread that `pid` (0: the caller) has now. `nice` is for PRIORITY_WORKING, and where real-time is refused. */
void priority_set(pid_t pid, enum priority p, int nice);
