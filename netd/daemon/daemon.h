/* The active netd-inet: the stack, its way to the supervisor, and the loop that drives it. */
#pragma once
#include "base/core.h"
#include "daemon/handover.h"
#include "socket/socket.h"
#include <uv.h>

struct daemon {
	struct stack stack;
	struct handover hand;
	struct socket_env env;
	uv_loop_t loop;
	uv_poll_t watch_channel, watch_listen, watch_sockets, watch_bell[HANDOVER_DEVICES];
	uv_timer_t alarm;
	unsigned bells;
	int device_index[HANDOVER_DEVICES];
	struct core core;
	bool look; /* the sockets' epoll has something */
};

/* daemon/link.c: messages towards the supervisor; failures are logged, the daemon goes on. */
int link_deposit(void *arg, uint32_t kind, uint32_t index, uint32_t generation, const int *fds, int nfds);
void link_withdraw(void *arg, uint32_t kind, uint32_t index, uint32_t generation);
void link_hello(struct daemon *d);
void link_take_over(struct daemon *d);
void link_active(struct daemon *d);
void link_accuse(struct daemon *d, const char *device, const char *reason);
/* Something was set aside: for the supervisor's files. `frame` may be empty. */
void link_set_aside(struct daemon *d, const char *text, const uint8_t *frame, size_t len);

/* daemon/configure.c: attaches every device handed over; 0 or a negative errno. */
int configure_devices(struct daemon *d);
/* How large buffers may become. */
void configure_limits(struct daemon *d);
/* Takes out what stood in the configuration before a reload and does no more; what netctl added stays. */
void configure_remove(struct daemon *d);
/* Enters addresses and routes of the configuration; what is there already stays. */
void configure_addresses(struct daemon *d);
/* All of that was done for the newest configuration: noted in the world's record. */
void configure_in_force(struct daemon *d);

/* daemon/takeover.c: from "the role is mine" to "speaking": recovery in all its steps. 0 or a negative errno. */
int takeover(struct daemon *d, bool predecessor_died);

/* daemon/cycle.c: runs until the supervisor says stop. */
int cycle_run(struct daemon *d);
/* One cycle; returns the amount of work found. */
unsigned cycle_once(struct daemon *d);
uint64_t clock_now(void);
