/* Driver and netd-inet on one processor: when (crowd.h), and that a sandboxed process can do it
 * (core.h). */
#include "base/core.h"
#include "base/sandbox.h"
#include "drivers/runtime/crowd.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* A whole judgement over turns like this one, each `every`-th of them. */
static bool judge(struct crowd *c, unsigned every, unsigned in, unsigned out, uint64_t chunks)
{
	for (unsigned i = 0; i < CROWD_TURNS - 1; i++)
		cr_assert(!crowd_turn(
		    c, i % every ? 1 : in, i % every ? 0 : out, i % every ? 1 : chunks));
	cr_assert(crowd_turn(c, 1, 0, 1));
	return c->on;
}

Test(crowd, many_small_frames_a_turn)
{
	struct crowd c = {0};

	cr_assert(!judge(&c, 1, 1, 1, 2), "one request and its answer at a time");
	cr_assert(!judge(&c, 3, 4, 0, 4), "too few");
	cr_assert(!judge(&c, 1, 5, 3, 90), "super-frames");
	cr_assert(judge(&c, 1, 5, 0, 5));
	cr_assert(judge(&c, 3, 0, 4, 4), "goes on with fewer");
	cr_assert(!judge(&c, 8, 4, 4, 8));
	cr_assert(!judge(&c, 3, 4, 0, 4), "and does not come back for so few");
}

static int count(void)
{
	cpu_set_t now;

	return sched_getaffinity(0, sizeof(now), &now) ? -1 : CPU_COUNT(&now);
}

Test(core, stays_joins_and_leaves)
{
	struct core c;
	int all = count();

	core_init(&c);
	cr_assert_eq(c.at, -1);
	cr_assert_eq(c.scarce, all == 2 || all == 3);
	core_join(&c, -1);
	core_join(&c, CPU_SETSIZE);
	core_leave(&c);
	cr_assert_eq(count(), all, "nonsense changes nothing");
	core_stay(&c);
	cr_assert(c.at >= 0 && count() == 1 && sched_getcpu() == c.at);
	core_leave(&c);
	cr_assert(c.at == -1 && count() == all);
}

static int sandboxed(void)
{
	struct core c;

	core_init(&c);
	if (sandbox_inet())
		return 1;
	core_stay(&c);
	if (c.at < 0)
		return 2;
	core_leave(&c);
	if (c.at >= 0)
		return 3;
	return sched_setaffinity(getppid(), sizeof(c.all), &c.all) == -1 && errno == EPERM ? 0 : 4;
}

Test(core, may_be_chosen_in_the_sandbox)
{
	int status = -1;
	pid_t child = fork();

	cr_assert_geq(child, 0);
	if (!child)
		_exit(sandboxed());
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
}
