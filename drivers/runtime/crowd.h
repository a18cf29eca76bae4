/*
 * Is there so much to do that driver and netd-inet should share a processor (base/core.h)? When
 * most of the turns that found something carried several small frames one way: with one request and
 * its answer at a time none does. Super-frames do not count, for their copies gain from a processor
 * each.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define CROWD_TURNS 256u

struct crowd {
	unsigned turns, batches;
	bool on;
};

/* A turn is over that carried frames both ways in so many chunks. True if `on` was judged anew. */
static inline bool crowd_turn(struct crowd *c, unsigned in, unsigned out, uint64_t chunks)
{
	c->turns++;
	c->batches += (in > 1 || out > 1) && chunks <= in + out;
	if (c->turns < CROWD_TURNS)
		return false;
	/* Once together they see more of them. */
	c->on = c->batches >= (c->on ? CROWD_TURNS / 4 : CROWD_TURNS / 2);
	c->turns = c->batches = 0;
	return true;
}
