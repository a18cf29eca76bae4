/*
 * A path that swallows what is too large for it, and says nothing.
 *
 *	[host 0] ---- frames of up to `passes` bytes ---- [host 1]
 */
#include "sim.h"
#include "wire/ether.h"

#define HEADERS (ETHERNET_LEN + 20u + 20u + 12u) /* with a timestamp */
#define WHOLE	1448u
#define SOME	400000ull

static struct sim *m;
static struct sim_pair p;
static uint32_t passes, swallowed;

static bool watch(struct sim *sim, unsigned from, const uint8_t *frame, uint32_t len)
{
	(void)sim;
	(void)frame;
	if (from || len <= passes)
		return true;
	swallowed++;
	return false;
}

static void setup(void)
{
	m = sim_new(1);
	m->link[0].delay = m->link[1].delay = 10 * SIM_MS;
	p = established_pair(m);
	m->watch = watch;
	passes = UINT32_MAX;
	swallowed = 0;
}

static void teardown(void)
{
	sim_free(m);
}

TestSuite(blackhole, .init = setup, .fini = teardown);

static void transfer(uint64_t len, uint64_t ns)
{
	static uint64_t id;
	struct sim_flow f = {
	    .from = p.client, .to = p.server, .id = ++id, .len = len, .piece = 20000};

	cr_assert(sim_flows(m, &f, 1, ns), "%lu of %lu", f.got, f.len);
}

static uint32_t mss(void)
{
	return sim_tcb(p.client)->mss;
}

Test(blackhole, smaller_segments_get_through)
{
	passes = HEADERS + 1200;
	transfer(SOME, 30 * SIM_SEC);
	cr_assert_eq(mss(), 1024);
	cr_assert_gt(swallowed, 0);
}

Test(blackhole, still_smaller_ones)
{
	passes = HEADERS + 600;
	transfer(SOME, 60 * SIM_SEC);
	cr_assert_eq(mss(), 512);
}

/* As large as may be, and none is tried in vain for long afterwards. */
Test(blackhole, the_largest_that_gets_through_is_found)
{
	passes = HEADERS + 1400;
	for (unsigned i = 0; i < 12; i++) {
		transfer(SOME, 30 * SIM_SEC);
		sim_run(m, 10 * SIM_SEC);
	}
	cr_assert(mss() <= 1400 && mss() > 1400 - 32, "%u", mss());
	swallowed = 0;
	for (unsigned i = 0; i < 10; i++) {
		transfer(SOME, SIM_SEC * 30);
		sim_run(m, 10 * SIM_SEC);
	}
	cr_assert_eq(swallowed, 0);
}

/* A path that was dead for a while carries what it did before. */
Test(blackhole, another_reason_is_forgotten)
{
	passes = 0;
	sim_send(p.client, (const char[4000]){0}, 4000);
	sim_run(m, 5 * SIM_SEC);
	cr_assert_eq(mss(), 1024);
	passes = UINT32_MAX;
	sim_run(m, 20 * SIM_SEC);
	cr_assert_eq(sim_readable(p.server), 4000);
	sim_send(p.client, (const char[8000]){0}, 8000);
	sim_run(m, SIM_SEC);
	sim_send(p.client, "x", 1);
	sim_run(m, SIM_SEC);
	cr_assert_eq(mss(), WHOLE);
	cr_assert_eq(sim_readable(p.server), 12001);
}

/* A short outage, or what is small anyway, says nothing of sizes. */
Test(blackhole, three_timeouts_say_nothing)
{
	passes = 0;
	sim_send(p.client, (const char[4000]){0}, 4000);
	sim_run(m, 2 * SIM_SEC);
	cr_assert_gt(sim_tcb(p.client)->retries, 0);
	cr_assert_eq(mss(), WHOLE);
}

Test(blackhole, small_segments_say_nothing)
{
	passes = 0;
	sim_send(p.client, "abc", 3);
	sim_run(m, 20 * SIM_SEC);
	cr_assert_gt(sim_tcb(p.client)->retries, 4);
	cr_assert_eq(mss(), WHOLE);
}

/* A record that was found corrupt is made anew: then nothing is known. */
Test(blackhole, a_lost_record)
{
	passes = 0;
	sim_send(p.client, (const char[4000]){0}, 4000);
	sim_run(m, 5 * SIM_SEC);
	cr_assert_eq(mss(), 1024);
	state_free(m->host[0].s.state, KIND_SOCKX, p.client->sk);
	sim_send(p.client, "x", 1);
	sim_run(m, SIM_MS);
	cr_assert_eq(mss(), WHOLE);
	passes = UINT32_MAX;
	sim_run(m, 20 * SIM_SEC);
	cr_assert_eq(sim_readable(p.server), 4001);
}

/* What is known survives. */
Test(blackhole, restarts)
{
	passes = HEADERS + 1400;
	m->host[0].die_before = m->host[0].die_after = 20000;
	for (unsigned i = 0; i < 12; i++) {
		transfer(SOME, 60 * SIM_SEC);
		sim_run(m, 10 * SIM_SEC);
	}
	cr_assert_gt(m->host[0].restarts, 0);
	cr_assert(mss() <= 1400 && mss() >= 1024, "%u", mss());
}
