/*
 * The SOCKET layer: client sessions over shared memory (proto/client.h) and the control socket
 * (proto/control.proto). What the daemon's cycle calls.
 *
 * Order in a cycle: socket_gather() takes requests and works them; state_commit(), memories_commit();
 * socket_speak() publishes. Before the daemon sleeps: socket_arm(s, true), and only if that is true it
 * may sleep; afterwards socket_arm(s, false). Start of a successor: state_recover(), socket_layer_init(),
 * socket_handed() for each deposit (memories must be known before rings are claimed), the lower layers'
 * reindex, socket_reindex(), a commit, socket_speak(s, true).
 *
 * The process must ignore SIGPIPE: a client may close its end of a bell.
 */
#pragma once
#include "proto/component.pb-c.h"
#include "state/stack.h"

/* What the daemon gives: the only way out of the process. */
struct socket_env {
	void *arg;
	/* Synchronous send to the supervisor; 0 or -errno. The descriptors stay the caller's. */
	int (*deposit)(void *arg, uint32_t kind, uint32_t index, uint32_t gen, const int *fds, int nfds);
	void (*withdraw)(void *arg, uint32_t kind, uint32_t index, uint32_t gen);
	/* Newest from the supervisor; may return NULL. */
	const Netd__Component__Status *(*status)(void *arg);
	const Netd__Component__Config *(*config)(void *arg);
	/* Is there a supervisor? */
	bool (*supervised)(void *arg);
	/* A descriptor for whoever may succeed the supervisor; -EBUSY: that one lives. */
	int (*succession)(void *arg);
};

int socket_layer_init(struct stack *s, const struct socket_env *env);
void socket_layer_exit(struct stack *s);
/*
 * A deposit handed over by the supervisor, after state_recover() and before inet_reindex(): takes the descriptors, also when
 * it fails. `premapped`: the client memory if a standby mapped it in advance, else NULL.
 */
int socket_handed(struct stack *s, uint32_t kind, uint32_t index, uint32_t gen, int *fds, int nfds,
    void *premapped);
/*
 * Sessions' slot tables from KIND_SOCK. Records without descriptors are dropped (their sockets
 * closed), descriptors without a record closed and withdrawn.
 */
int socket_reindex(struct stack *s);
/* A new supervisor asks for everything again. 0 or the first deposit's error. */
int socket_redeposit(struct stack *s);

/* A connection was accepted from the listening control socket; takes it. */
void socket_accept(struct stack *s, int conn);
/* Edge-triggered epoll with all bells and control connections; the daemon's loop watches it. */
int socket_epoll_fd(const struct stack *s);
/*
 * Takes up to `budget` submission entries of active sessions and works them; control requests too.
 * `look`: asks the epoll first. Returns the amount of work found.
 */
unsigned socket_gather(struct stack *s, unsigned budget, bool look);
/* Is there anything left that the next gather would take without asking the epoll? */
bool socket_pending(struct stack *s);
/*
 * `sleeping`: arms every session still in the active set ("ring me", fence, re-check); false if
 * something came meanwhile: do not sleep. Without `sleeping`: after the sleep, nothing more than
 * the counterpart.
 */
bool socket_arm(struct stack *s, bool sleeping);
/*
 * After the commit: cursors, completions, changed sockets' slots, wakes, events, bells, control
 * answers. `all`: after recovery, everything of everybody.
 */
void socket_speak(struct stack *s, bool all);
/* The earliest moment (ns) at which gather has something to do without a bell: now, or UINT64_MAX. */
uint64_t socket_next_work(struct stack *s);
