/* See script_fixture.h. */
#include "script_fixture.h"

struct script c;

void setup_new(void)
{
	c = script_new(1);
}

void setup_established(void)
{
	setup_new();
	script_passive(&c);
}

void teardown(void)
{
	script_free(&c);
}

void start_over(void)
{
	teardown();
	setup_new();
}

void state_is(enum tcp_state want)
{
	cr_assert_eq(sim_state(c.k), want, "state %d, not %d", (int)sim_state(c.k), (int)want);
}

uint32_t heard_count(void)
{
	static struct heard s;
	uint32_t n = 0;

	while (hear(&c, &s))
		n++;
	return n;
}
