/*
 * When to restart what died.
 *
 * The policy, also in the log: a kill from outside (SIGKILL, SIGTERM) is answered by a restart at once
 * (unless one waits already). Deaths that the component caused itself (fault signals, sandbox violations, exits that nobody
 * asked for, proven hangs, being accused by its neighbour) are answered at once for the first five of a
 * series; from the sixth on the restart waits 10 ms, 20 ms ... up to 5 s. A series ends when there was
 * no such death for ten seconds beyond the last wait.
 */
#pragma once
#include "base/util.h"
#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FREE      5u
#define BACKOFF_FIRST_MS  10u
#define BACKOFF_MAX_MS    5000u
#define BACKOFF_QUIET_MS  10000u

struct backoff {
	unsigned deaths;  /* self-inflicted, of this series */
	uint64_t last_ns; /* the last of them */
	unsigned wait_ms; /* chosen then */
};

/* A death at `now`; returns for how many milliseconds to wait before the restart. */
static inline unsigned backoff_death(struct backoff *b, uint64_t now, bool self_inflicted)
{
	unsigned over;

	if (!self_inflicted)
		return 0;
	if (now - b->last_ns > (BACKOFF_QUIET_MS + b->wait_ms) * NSEC_PER_MSEC)
		b->deaths = 0;
	b->deaths++;
	b->last_ns = now;
	b->wait_ms = 0;
	if (b->deaths > BACKOFF_FREE) {
		over = min_of(b->deaths - BACKOFF_FREE - 1, 9u);
		b->wait_ms = min_of(BACKOFF_FIRST_MS << over, BACKOFF_MAX_MS);
	}
	return b->wait_ms;
}
