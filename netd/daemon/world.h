/*
 * One worker's stack put together: opening, recovering, and the steps of a cycle that concern the
 * protocols. No event loop, no descriptors, no system clock: time, randomness, devices and clients
 * are inputs, so that whole networks can be simulated in one process (tests/sim).
 *
 * A cycle is: s->now = time; [socket_gather]; world_work(); world_commit(); world_speak(); [socket_speak].
 */
#pragma once
#include "state/stack.h"
#include "state/switchboard.h"

/*
 * Builds the stack over an arena and the daemon's ring memory (both mapped shared). s->now,
 * s->random and s->random_arg must be set before. Does not recover. 0 or a negative errno.
 */
int world_open(struct stack *s, void *arena, uint64_t arena_size, void *mem0, uint64_t mem0_size);
void world_close(struct stack *s);

/*
 * After the role was taken: finds the truth of the arena. Devices and client memories are attached
 * between this and world_reindex(). Returns the number of corrupt records, or a negative errno.
 */
int world_recover(struct stack *s);
/* Rebuilds every layer's derived things, lowest layer first (the socket layer too if it is there). */
int world_reindex(struct stack *s);
/*
 * Takes the pause, from `down_ns` (CLOCK_MONOTONIC) to s->now, out of the timers; call after world_reindex(). How long there was
 * nothing to do before the death is no part of it: timers ran on.
 */
void world_resume(struct stack *s, uint64_t down_ns);

/* Frames of all devices up to `budget` each, timers, lo. Returns the amount of work found. */
unsigned world_work(struct stack *s, unsigned budget);
void world_commit(struct stack *s);
/* Publishes device positions and rings drivers; `all` after recovery. */
void world_speak(struct stack *s, bool all);
/* The earliest moment at which a timer wants to run, UINT64_MAX for none. */
uint64_t world_next_timer(const struct stack *s);
