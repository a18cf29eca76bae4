/* The slow halves of a small lock. See lock.h. */
#include "clientlib/lock.h"

#define SPINS 100

void small_lock_wait(struct small_lock *l)
{
	for (unsigned i = 0; i < SPINS; i++) {
		uint32_t seen = 0;

		if (__atomic_compare_exchange_n(
			&l->word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		cpu_relax();
	}
	while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE))
		sys_futex_wait_private(&l->word, 2);
}

void small_lock_wake(struct small_lock *l)
{
	sys_futex_wake_private(&l->word, 1);
}
