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

void establish_slowly(uint64_t rtt)
{
	struct sim_sock *l = sim_socket(c.h);

	script_half_open(&c, l, 8);
	after(&c, rtt);
	say(&c, ACK, 0, 0, NULL);
	c.k = sim_accept(l);
	cr_assert(c.k);
}

void teardown(void)
{
	script_free(&c);
}

void say_sack(int64_t ack, unsigned n, const struct sack_range *r)
{
	struct tcp_header h = script_header(&c, ACK, 0, ack);

	h.n_sack = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		h.sack[i] = (struct tcp_sack_block){c.irs + 1 + r[i].from, c.irs + 1 + r[i].to};
	say_header(&c, h, NULL, 0);
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
