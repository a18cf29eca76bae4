/*
 * The clock page: one small memory, mapped by every component.
 * Beats prove that a component's loop turns; the incarnation is the active netd-inet's.
 */
#pragma once
#include "proto/ring.h"

#define CLOCK_MAGIC      0x4e44434bu /* "NDCK" */
#define CLOCK_SIZE       4096
#define CLOCK_COMPONENTS 48

struct clock_beat {
	_Alignas(CACHELINE) uint64_t beat; /* written by its component: the last ping's number seen */
	uint64_t started_ns;               /* CLOCK_MONOTONIC of the component's readiness */
};

struct clock_page {
	uint32_t magic;
	uint32_t incarnation; /* of netd-inet: stored by it after recovery, before it speaks */
	/* The last takeover, CLOCK_MONOTONIC ns, written by the new active netd-inet. */
	uint64_t down_ns;  /* it learned that its predecessor was dead */
	uint64_t ready_ns; /* it had spoken for the first time */
	/* Written by the supervisor before it kills a netd-inet that spins: its pid, for the black box. */
	uint64_t hung_pid;
	struct clock_beat beat[CLOCK_COMPONENTS]; /* indexed by the component's slot (Start.slot) */
};
static_assert(sizeof(struct clock_page) <= CLOCK_SIZE, "one page");
