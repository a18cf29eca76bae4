/*
 * Is this component hung?
 *
 * It is asked by a ping and answers by a beat in the clock page. No beat within hang_ms is a hang, but a
 * loaded machine is not: time in which the supervisor itself was late, in which the component stood in
 * the run queue, or in which it was runnable and got next to no processor, does not count. A component
 * that is stopped, asleep in the wrong place or spinning has no such excuse; but only one that spins can
 * have been led there by its work, and only one that was stopped is certainly not to blame.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the kernel says about the threads of a process. */
struct hang_sample {
	bool known;
	bool runnable, blocked, stopped; /* some thread is in state R, in state D, in state T or t */
	uint64_t run_ns, wait_ns; /* on a processor, in the run queue; since the process began */
};

struct hang {
	uint64_t number;     /* of the last ping */
	uint64_t asked_ns;   /* when it was sent, 0: none is out */
	uint64_t answered_ns; /* the last proof of life was seen */
	uint64_t worked_ns;   /* what it answered then was sent: until here it certainly worked */
	uint64_t late_ns;    /* the supervisor's own lateness since then */
	uint64_t grace_ns;   /* no verdict before this moment: start, recovery */
	bool sampled;
	struct hang_sample first; /* taken when the answer was first seen to be late */
};

enum hang_kind {
	HANG_NOT,
	HANG_STOPPED, /* by a signal or a debugger */
	HANG_ASLEEP,
	HANG_SPINNING, /* it ran for most of the time */
};

void hang_read(pid_t pid, struct hang_sample *s);
/* Is the ping that is out unanswered for longer than `limit_ns`, and is there no excuse for it? */
enum hang_kind hang_verdict(
    const struct hang *h, uint64_t now, uint64_t limit_ns, const struct hang_sample *s);
