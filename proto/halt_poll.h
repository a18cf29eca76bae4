/*
 * Look a little longer before going to sleep, if that has paid lately.
 *
 * Theory of operation. Waking a process is the dearest thing on a packet's way: 9 to 35 us on a virtual machine, more
 * than all the work on it. If the next piece of work comes sooner than that, it is better waited for with open eyes. How
 * long a sleep was tells whether that would have been so: a short one makes the window for looking grow, a long one
 * makes it shrink, to nothing for who is idle (as KVM does it for a halted processor). Between two looks the
 * processor is offered to whoever else wants to run, so that on a machine without a free core looking costs next to nothing.
 */
#pragma once
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define HALT_POLL_FIRST_NS 10000u
#define HALT_POLL_MAX_NS   50000u

struct halt_poll {
	uint64_t window_ns;
	uint64_t since_ns; /* of the first look that found nothing, 0: the last one found something */
};

static inline uint64_t halt_poll_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A look found something. */
static inline void halt_poll_busy(struct halt_poll *p)
{
	p->since_ns = 0;
}

/* A look at `now` found nothing. True if another one is worth it, false if it is time to sleep. */
static inline bool halt_poll_again(struct halt_poll *p, uint64_t now)
{
	if (!p->window_ns)
		return false;
	if (!p->since_ns)
		p->since_ns = now;
	if (now - p->since_ns >= p->window_ns)
		return false;
	sched_yield();
	return true;
}

/* The sleep between these two moments is over. */
static inline void halt_poll_slept(struct halt_poll *p, uint64_t from, uint64_t to)
{
	p->since_ns = 0;
	if (to - from > HALT_POLL_MAX_NS)
		p->window_ns = p->window_ns > HALT_POLL_FIRST_NS ? p->window_ns / 2 : 0;
	else if (p->window_ns < HALT_POLL_MAX_NS)
		p->window_ns = p->window_ns ? p->window_ns * 2 : HALT_POLL_FIRST_NS;
	if (p->window_ns > HALT_POLL_MAX_NS)
		p->window_ns = HALT_POLL_MAX_NS;
}
