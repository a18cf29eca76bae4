/*
 * Sharing a processor.
 *
 * Theory of operation. netd-inet and a driver hand every frame to each other. Under load, and with
 * more processes that want to run than processors, they do best on one: the one fills its rings
 * while the other waits, each turn then carries a batch, and handing over is a switch between two
 * processes instead of waking another processor. With one frame at a time it is the other way
 * round, for both look for news with open eyes (proto/halt_poll.h); and with four processors each
 * may have its own. So the driver, which sees how many frames a turn carries
 * (drivers/runtime/crowd.h), asks for it in its region; netd-inet stays where it is then and says
 * where; the driver goes there. A successor starts free.
 */
#pragma once
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct core {
	cpu_set_t all; /* where the process may run */
	int at;	       /* the only one that it runs on now; -1: it is free */
	bool scarce;   /* two or three: worth sharing */
};

void core_init(struct core *c);
/* Stays on the processor that it runs on now. */
void core_stay(struct core *c);
/* Goes to this one, if it may. */
void core_join(struct core *c, int at);
void core_leave(struct core *c);
