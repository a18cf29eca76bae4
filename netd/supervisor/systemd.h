/*
 * systemd: readiness and status, watchdog, socket activation, and the descriptor store, which has what store.c has.
 *
 * PID 1 does not always read what it is told (not for seconds while it reloads), and nobody here waits for it, as
 * sd_notify(3) would. So what it is to know is a state, and it is told the difference to what it was told when there is
 * room; and when there is a socket: who listens there may begin anew, and be away meanwhile. A name stands for one
 * descriptor, for it is removed by its name: what has gone is told first. Channels are stored with FDPOLL=0: a dead
 * component's channel may still hold deposits, so systemd is not to drop it.
 *
 * Any starter that speaks this much of sd_notify(3) and sd_listen_fds(3) serves as well. Without $NOTIFY_SOCKET all of
 * this does nothing.
 */
#pragma once
#include "base/fdtable.h"
#include <stdbool.h>
#include <uv.h>

struct supervisor;

struct systemd {
	bool there;           /* at our start; if it is away later, it comes again */
	int sock;             /* connected to $NOTIFY_SOCKET, -1: nobody is there now */
	bool full;            /* it had no room when something was to be told */
	struct watch *room;   /* waits until it has */
	struct fdtable told;  /* what is in its store, and what is its own, by name */
	struct fdtable gone;  /* what is to leave its store */
	char status[512];
	bool due;             /* something is to be told: of the store, or ... */
	bool status_due, stopping_due;
	bool ready;           /* it was told that */
	uv_timer_t watchdog;
};

/* Takes the descriptors that it gives at a start into `stored`. */
void systemd_take_all(struct supervisor *s);
/* Needs the loop. 0 or a negative errno. */
int systemd_start(struct supervisor *s);
/* What happened; it is told by systemd_flush(). */
void systemd_store_changed(struct supervisor *s);
void systemd_unstore(struct supervisor *s, const char *name);
void systemd_status(struct supervisor *s, const char *status);
void systemd_stopping(struct supervisor *s);
/* As far as there is room; goes on by itself. Each turn of the loop calls it. */
void systemd_flush(struct supervisor *s);
/* The rest, for which we wait a little; after it nothing is told. */
void systemd_end(struct supervisor *s);
