/* Timers: due ones come out in order, a later deadline does not move an armed one. */
#include "state/timer.h"
#include <criterion/criterion.h>
#include <stdlib.h>

Test(timer, earliest_wins_and_later_is_ignored)
{
	struct timers *t = timers_new();
	enum record_kind k;
	uint32_t i;

	cr_assert_eq(timers_next(t), UINT64_MAX);
	timer_set(t, KIND_TCP, 9, 500);
	timer_set(t, KIND_TCP, 9, 900);
	cr_assert_eq(timers_next(t), 500);
	timer_set(t, KIND_TCP, 9, 300);
	cr_assert_eq(timers_next(t), 300);
	timer_set(t, KIND_TCP, 9, UINT64_MAX);
	cr_assert_eq(timers_pop(t, 299, &k, &i), 0);
	cr_assert_eq(timers_pop(t, 300, &k, &i), 1);
	cr_assert_eq(i, 9);
	cr_assert_eq(timers_pop(t, UINT64_MAX - 1, &k, &i), 0);
	timers_free(t);
}

Test(timer, random_sets_and_cancels_against_a_plain_array)
{
	enum { N = 500 };
	struct timers *t = timers_new();
	uint64_t want[N], now = 0;
	enum record_kind k;
	uint32_t i;

	srand(3);
	for (int n = 0; n < N; n++)
		want[n] = UINT64_MAX;
	for (int round = 0; round < 50000; round++) {
		uint32_t n = (uint32_t)rand() % N;

		if (rand() % 4 == 0) {
			timer_cancel(t, KIND_SOCK, n);
			want[n] = UINT64_MAX;
		} else {
			uint64_t at = now + (uint64_t)rand() % 1000;

			timer_set(t, KIND_SOCK, n, at);
			if (at < want[n])
				want[n] = at;
		}
		if (rand() % 10 == 0)
			now += 20;
		while (timers_pop(t, now, &k, &i)) {
			cr_assert_leq(want[i], now);
			want[i] = UINT64_MAX;
		}
		for (int x = 0; round % 1000 == 0 && x < N; x++)
			cr_assert(want[x] > now, "nothing due was left");
	}
	timers_free(t);
}

Test(timer, a_crowd_comes_and_goes)
{
	enum { CROWD = 20000 };
	struct timers *t = timers_new();
	enum record_kind k;
	uint64_t last = 0;
	uint32_t i;

	for (unsigned round = 0; round < 3; round++, last = 0) {
		for (uint32_t n = 0; n < CROWD; n++)
			timer_set(t, KIND_TCP, n, 1 + n * 7919ull % CROWD);
		for (uint32_t n = 0; n < CROWD; n += 3)
			timer_cancel(t, KIND_TCP, n);
		for (uint32_t n = 0; n < CROWD - (CROWD + 2) / 3; n++) {
			cr_assert_eq(timers_pop(t, UINT64_MAX - 1, &k, &i), 1);
			cr_assert(i % 3 && 1 + i * 7919ull % CROWD > last);
			last = 1 + i * 7919ull % CROWD;
		}
		cr_assert_eq(timers_pop(t, UINT64_MAX - 1, &k, &i), 0);
	}
	timers_free(t);
}
