/* Who hangs (supervisor/hang.h), and how long a restart waits (supervisor/backoff.h). */
#include "supervisor/supervisor.h"
#include <criterion/criterion.h>
#include <signal.h>

Test(backoff, first_at_once_then_exponential)
{
	static const unsigned want[] = {0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000};
	struct backoff b = {0};
	uint64_t now = 1000 * NSEC_PER_SEC;

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		cr_assert_eq(backoff_death(&b, now, true), want[i], "death %u", i + 1);
		now += want[i] * NSEC_PER_MSEC + NSEC_PER_MSEC;
	}
	cr_assert_eq(backoff_death(&b, now, false), 0);
	cr_assert_eq(backoff_death(&b, now + 16 * NSEC_PER_SEC, true), 0);
}

Test(backoff, kills_from_outside_do_not_count)
{
	struct backoff b = {0};

	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(backoff_death(&b, i * NSEC_PER_MSEC, false), 0);
	cr_assert_not(death_self_inflicted(SIGKILL, true, false));
	cr_assert_not(death_self_inflicted(SIGTERM, true, false));
	cr_assert_not(death_self_inflicted(0, false, false));
	cr_assert(death_self_inflicted(SIGSEGV, true, false));
	cr_assert(death_self_inflicted(SIGSYS, true, false));
	cr_assert(death_self_inflicted(1 << 8, true, false));
	cr_assert(death_self_inflicted(SIGKILL, true, true));
}

Test(hang, excuses)
{
	const uint64_t limit = 200 * NSEC_PER_MSEC, asked = NSEC_PER_SEC, now = asked + 300 * NSEC_PER_MSEC;
	struct hang h = {.number = 1, .asked_ns = asked, .sampled = true, .first = {.known = true}};
	struct hang_sample asleep = {.known = true}, starved = {.known = true, .runnable = true};
	struct hang_sample queued = {.known = true, .wait_ns = 150 * NSEC_PER_MSEC};
	struct hang_sample spinning = {.known = true, .runnable = true, .run_ns = 200 * NSEC_PER_MSEC};
	struct hang_sample disk = {.known = true, .blocked = true}, unknown = {.known = false};

	struct hang_sample stopped = {.known = true, .stopped = true, .run_ns = 150 * NSEC_PER_MSEC};

	cr_assert_eq(hang_verdict(&h, asked + limit, limit, &asleep), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_ASLEEP);
	cr_assert_eq(hang_verdict(&h, now, limit, &unknown), HANG_ASLEEP);
	cr_assert_eq(hang_verdict(&h, now, limit, &spinning), HANG_SPINNING);
	cr_assert_eq(hang_verdict(&h, now, limit, &stopped), HANG_STOPPED, "however long it ran before");
	cr_assert_eq(hang_verdict(&h, now, limit, &queued), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &starved), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &disk), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now + 10 * limit, limit, &disk), HANG_ASLEEP);
	h.late_ns = 150 * NSEC_PER_MSEC;
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_NOT);
	h.late_ns = 0;
	h.grace_ns = now + 1;
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_NOT);
}
