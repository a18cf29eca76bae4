/*
 * When to restart what died.
 *
 * Restarts that lead nowhere are to be kept from eating the machine; one that worked for a while was worth its start,
 * whatever ended it. So a death that the component caused itself (fault signals, sandbox violations, exits that nobody
 * asked for, proven hangs, being accused by its neighbour) is a debt, and every BACKOFF_PAYS_MS of work pay one off. Up
 * to five debts are answered by a restart at once; from the sixth on the restart waits 10 ms, 20 ms ... up to 5 s. A kill
 * from outside (SIGKILL, SIGTERM) costs nothing.
 *
 * What crashes or hangs now and then, even several times a second, is thus always replaced at once, and starts at most
 * every BACKOFF_PAYS_MS in the long run. What dies before it has done anything (in recovery, of the work that its
 * predecessor died of) pays nothing, and is slowed down.
 */
#pragma once
#include "base/util.h"
#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FREE      5u
#define BACKOFF_FIRST_MS  10u
#define BACKOFF_MAX_MS    5000u
#define BACKOFF_DOUBLINGS 9u /* until the largest */
#define BACKOFF_PAYS_MS   50u

struct backoff {
	unsigned debts;
};

/* One died that had worked for `worked_ns`; returns for how many milliseconds to wait before the restart. */
static inline unsigned backoff_death(struct backoff *b, uint64_t worked_ns, bool self_inflicted)
{
	uint64_t paid = worked_ns / (BACKOFF_PAYS_MS * NSEC_PER_MSEC);
	unsigned doublings;

	b->debts -= (unsigned)min_of(paid, (uint64_t)b->debts);
	if (!self_inflicted || b->debts++ < BACKOFF_FREE)
		return 0;
	doublings = b->debts - BACKOFF_FREE - 1;
	b->debts -= doublings == BACKOFF_DOUBLINGS; /* however long it went on, little work ends it */
	return min_of(BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);
}
