/*
 * Records that are damaged while nobody looks: whatever is lost with them, a successor recovers, nothing that
 * hangs on them is left over, and whoever comes next is served.
 *
 *	a client that shares --+
 *	clients with sockets --+-- [stack, lo] -- arena, in which bits change before a death
 */
#include "client_rig.h"
#include "client_share.h"

#define DAMAGES 6
#define STEPS	12

/* Changes the truth of one record. */
static bool damage_one(void)
{
	enum record_kind kind = (enum record_kind)rnd(KIND_COUNT);
	uint32_t index = NO_INDEX, count = state_count(world.s.state, kind);
	void *truth;

	for (uint32_t n = rnd(count) + 1; count && n; n--)
		index = state_next(world.s.state, kind, index + 1);
	truth = index == NO_INDEX ? NULL : (void *)(uintptr_t)state_peek(world.s.state, kind, index);
	if (!truth)
		return false;
	mutate(truth, switchboard.records[kind].size);
	if (getenv("NETD_FUZZ_STATS"))
		fprintf(stderr, "seed %llu: %s %u of %u\n", (unsigned long long)fuzz_now.seed, switchboard.records[kind].name, index, count);
	return true;
}

static bool damage(void)
{
	bool any = false;

	for (uint32_t n = 1 + rnd(3); n; n--)
		any |= damage_one();
	return any;
}

static void steps(unsigned n)
{
	static uint8_t frame[FRAME_MAX];
	const char *wrong;

	for (; n; n--) {
		share_step();
		world.s.now += rnd(2 * NSEC_PER_MSEC);
		world_cycle(&world, LIVE);
		while (world_sent(&world, frame))
			;
		wrong = world_census(&world);
		check(!wrong, "%s", wrong);
	}
}

static void round_arena(void)
{
	unsigned fds;

	world_new(&world, true);
	fds = count_fds();
	honest_open();
	for (int i = 0; i < STEPS; i++)
		honest_step();
	share_begin();
	world.damage = damage;
	for (int i = 0; i < DAMAGES; i++) {
		steps(STEPS);
		world_cycle(&world, DIE_SPOKEN);
	}
	world.damage = NULL;
	steps(STEPS);
	die(&honest);
	share_end();
	nothing_is_left(fds);
	world_delete(&world);
}

int main(void)
{
	return fuzz_main("fuzz_arena", 60, round_arena);
}
