/*
 * A lock of one word, for objects of which a process may have a hundred thousand: a pthread mutex
 * takes 40 bytes.
 *
 * The word is 0 (free), 1 (held) or 2 (held, and somebody may sleep on it); whoever has slept takes
 * it as 2, for others may sleep still. Threads of one process only; not recursive; nobody looks
 * after one whose holder is gone.
 */
#pragma once
#include "clientlib/sys.h"
#include "proto/barrier.h"

struct small_lock {
	uint32_t word;
};

void small_lock_wait(struct small_lock *l);
void small_lock_wake(struct small_lock *l);

static inline void small_lock(struct small_lock *l)
{
	uint32_t seen = 0;

	if (!__atomic_compare_exchange_n(
		&l->word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		small_lock_wait(l);
}

static inline void small_unlock(struct small_lock *l)
{
	if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2)
		small_lock_wake(l);
}
