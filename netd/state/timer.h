/*
 * Timers: one per record, derived from the deadlines in it.
 *
 * Theory of operation. A record keeps its deadlines as facts; here is only the earliest moment at
 * which somebody should look. timer_set() with a later moment than the armed one does nothing (the
 * look comes early, the owner finds nothing due and arms again): an acknowledgement that pushes the
 * retransmission timer out costs nothing. A binary heap, rebuilt after a restart.
 */
#pragma once
#include "state/kinds.h"
#include <stdint.h>

struct timers;

struct timers *timers_new(void);
void timers_free(struct timers *t);
/* Look at record (kind, index) at `deadline` (ns, CLOCK_MONOTONIC) or earlier. UINT64_MAX: nothing. Returns 0 or -ENOMEM. */
int timer_set(struct timers *t, enum record_kind kind, uint32_t index, uint64_t deadline);
void timer_cancel(struct timers *t, enum record_kind kind, uint32_t index);
/* Earliest moment armed, UINT64_MAX if none. */
uint64_t timers_next(const struct timers *t);
/* Takes one timer due at `now`; returns 1 and its record, or 0. */
int timers_pop(struct timers *t, uint64_t now, enum record_kind *kind, uint32_t *index);
