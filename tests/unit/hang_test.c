/* Who hangs (supervisor/hang.h), and how long a restart waits (supervisor/backoff.h). */
#include "supervisor/supervisor.h"
#include <criterion/criterion.h>
#include <signal.h>

#define PAYS_NS (BACKOFF_PAYS_MS * NSEC_PER_MSEC)

Test(backoff, without_work_first_at_once_then_exponential)
{
	static const unsigned want[] = {0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000};
	struct backoff b = {0};

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		cr_assert_eq(backoff_death(&b, i % 2 ? PAYS_NS - 1 : 0, true), want[i], "death %u", i + 1);
	cr_assert_eq(backoff_death(&b, 0, false), 0, "killed from outside");
	cr_assert_eq(backoff_death(&b, 0, true), 5000, "which paid nothing");
	cr_assert_eq(backoff_death(&b, 9 * PAYS_NS, true), 10, "some debts are paid");
	cr_assert_eq(backoff_death(&b, 10 * NSEC_PER_SEC, true), 0, "all debts are paid");
}

/* Hangs that come faster than they came to be forgotten once cost nothing, as long as work is done between them. */
Test(backoff, what_works_is_replaced_at_once)
{
	struct backoff b = {0};

	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(backoff_death(&b, (i % 2 ? 3 : 0) * PAYS_NS, true), 0, "death %u", i + 1);
	for (unsigned i = 0; i < 10; i++)
		backoff_death(&b, 0, true);
	cr_assert_eq(backoff_death(&b, 20 * PAYS_NS, false), 0);
	cr_assert_eq(backoff_death(&b, 0, true), 0, "work pays also if it ended by a kill from outside");
}

Test(backoff, kills_from_outside_do_not_count)
{
	struct backoff b = {0};

	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(backoff_death(&b, 0, false), 0);
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
