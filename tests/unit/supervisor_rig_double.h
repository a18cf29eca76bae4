/*
 * A test double for components. A test binary that links this behaves as netd-inet or netd-tap when it
 * is started under that name, so a supervisor under test can spawn it. What the doubles are to do, and
 * what they saw, is in a shared file ($RIG_DIR/shared), which the test maps too.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RIG_KEYS  8192
#define RIG_SLOTS 16

struct rig_shared {
	pthread_mutex_t role; /* robust: stands for the one in the arena */

	/* orders */
	uint32_t deposit;       /* the active one deposits keys 0 .. n-1 ... */
	uint32_t withdraw_every; /* ... withdraws each n-th of them, 0: none ... */
	uint32_t die_after;     /* ... and then kills itself */
	uint32_t driver_aborts; /* a driver aborts at its start */
	uint32_t standby_aborts; /* so does a standby */
	uint32_t driver_talks;  /* that many bytes to standard error, then "the end", when it is pinged or gets SIGUSR1 */
	uint32_t driver_reports; /* a driver that is pinged begins a sanitizer's report, and ends it when this is 0 again */
	uint32_t driver_exits;  /* a driver cannot work: exit status 1 */

	/* what happened */
	uint32_t actives; /* how often one became active */
	pid_t active;
	uint64_t granted_ns; /* from take_over to its answer, the last time */
	uint32_t held;       /* deposits in the active one's hands at that moment */
	uint32_t wrong;      /* of them: keys that should not be there, or the wrong descriptor */
	uint32_t deposited;  /* orders done */
	uint32_t redeposits;
	uint32_t standbys;   /* that said hello */
	uint32_t standby_held; /* deposits that the standby of the last message has */
	uint32_t standby_pid;
	pid_t inet_in_slot[RIG_SLOTS]; /* the last netd-inet there that said hello */
	uint32_t driver_starts;
	pid_t driver;
	uint32_t driver_pings; /* answered by drivers */
	uint32_t inet_pings; /* answered by the active one since it is active */
	uint32_t driver_held; /* deposits handed to the last driver */
	uint32_t driver_restarted; /* messages to netd-inet */
	uint32_t status_rows;
	char waits[32]; /* the last role that the active one was told to wait for its restart */
	char routes[64]; /* gateway of the first route of the last Config */
	char log_level[8]; /* that the last netd-inet was started with */
	uint32_t devices; /* in the last Config */
};

/* Makes the shared file in `dir` and the programs that a supervisor finds by $NETD_LIBEXEC. NULL on failure. */
struct rig_shared *rig_create(const char *dir);
