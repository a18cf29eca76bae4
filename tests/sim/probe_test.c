/* Probes: of a tail that may be lost, of a window that is closed or was taken back. */
#include "script_fixture.h"
#include <netinet/tcp.h>

#define RTT (100 * SIM_MS)

/* A connection whose round trip takes RTT. */
static void setup_rtt(void)
{
	setup_new();
	establish_slowly(RTT);
}

TestSuite(probe, .init = setup_rtt, .fini = teardown);

static void send_bytes(uint32_t len)
{
	static char data[65536];

	sim_send(c.k, data, len);
	after(&c, 0);
}

/* How long until something is sent, at most `most` ms. */
static uint64_t silence_ms(uint64_t most)
{
	for (uint64_t ms = 0; ms <= most; ms++) {
		static struct heard s;

		if (hear(&c, &s))
			return ms;
		after(&c, SIM_MS);
	}
	return UINT64_MAX;
}

/* RFC 8985, 7.2: not later than the retransmission timer, which follows it, and so the window
 * stays. */
Test(probe, a_single_segment)
{
	uint32_t cwnd = sim_tcb(c.k)->cwnd;

	send_bytes(100);
	expect(&c, PSH_ACK, 0, 0, 100);
	after(&c, 290 * SIM_MS);
	expect_nothing(&c);
	after(&c, 30 * SIM_MS); /* the timer stands at 300 ms */
	expect(&c, PSH_ACK, 0, 0, 100);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
	cr_assert_eq(sim_tcb(c.k)->cwnd, cwnd);
	after(&c, 310 * SIM_MS);
	expect(&c, PSH_ACK, 0, 0, 100);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_LOSS);
}

Test(probe, none_in_recovery)
{
	send_bytes(4 * 1460);
	cr_assert_eq(heard_count(), 4);
	after(&c, RTT);
	for (uint32_t i = 1; i <= 3; i++)
		say_sack(0, 1, &(struct sack_range){1460, 1460 * (i + 1)});
	expect(&c, ACK, 0, 0, 1460);
	after(&c, 2 * RTT); /* when the tail would have been probed */
	expect_nothing(&c);
	say(&c, ACK, 0, 4 * 1460, NULL);
	expect_nothing(&c);
}

/* And not the data before it once more; two round trips after the last that was sent. */
Test(probe, a_fin_that_went_alone)
{
	send_bytes(1460);
	expect(&c, PSH_ACK, 0, 0, 1460);
	after(&c, 50 * SIM_MS);
	sim_shutdown(c.k, SHUT_WR);
	after(&c, 0);
	expect(&c, FIN_ACK, 1460, 0, 0);
	after(&c, 190 * SIM_MS);
	expect_nothing(&c);
	after(&c, 20 * SIM_MS);
	expect(&c, FIN_ACK, 1460, 0, 0);
}

/* RFC 6675, 4 */
Test(probe, blocks_of_an_acknowledgement_that_was_overtaken)
{
	send_bytes(10 * 1460);
	cr_assert_eq(heard_count(), 10);
	say(&c, ACK, 0, 2 * 1460, NULL);
	for (uint32_t i = 0; i < 3; i++)
		say_sack(1460, 1, &(struct sack_range){4 * 1460, (5 + i) * 1460});
	expect(&c, ACK, 2 * 1460, 0, 1460);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_RECOVERY);
}

/* RFC 9293, 3.8.6.1: ever more rarely, and for as long as it is answered. */
Test(probe, a_closed_window_for_hours)
{
	uint64_t last = 0, probes = 0;

	c.window = 0;
	say(&c, ACK, 0, 0, NULL);
	send_bytes(100);
	expect_nothing(&c);
	for (uint64_t s = 0; s < 4 * 3600; probes++) {
		uint64_t ms = silence_ms(130000);

		cr_assert_neq(ms, UINT64_MAX, "no probe for two minutes");
		cr_assert(ms + 2 >= min_of(2 * last, 119990ull), "%lu ms after %lu", ms, last);
		last = ms;
		s += ms / 1000;
		say(&c, ACK, 0, 0, NULL);
	}
	cr_assert_lt(probes, 160);
	state_is(TCPS_ESTABLISHED);
	c.window = 1000;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, PSH_ACK, 0, 0, 100);
	cr_assert_eq(sim_tcb(c.k)->retries, 0);
}

Test(probe, a_closed_window_of_a_peer_that_is_gone)
{
	c.window = 0;
	say(&c, ACK, 0, 0, NULL);
	send_bytes(100);
	after(&c, 3600 * SIM_SEC);
	state_is(TCPS_CLOSE);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	cr_assert_leq(heard_count(), 16);
}

/* RFC 9293, 3.8.6.2.1: what lies beyond is no reason to give up a peer that is there. */
Test(probe, a_window_that_was_taken_back)
{
	static struct heard s;

	send_bytes(1000);
	expect(&c, PSH_ACK, 0, 0, 1000);
	c.window = 0;
	say(&c, ACK, 0, 0, NULL);
	for (unsigned i = 0; i < 40; i++) {
		cr_assert_neq(silence_ms(130000), UINT64_MAX);
		while (hear(&c, &s))
			;
		say(&c, ACK, 0, 0, NULL);
	}
	state_is(TCPS_ESTABLISHED);
	c.window = 65535;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, PSH_ACK, 0, 0, 1000); /* at once, though the timer stands at minutes */
	say(&c, ACK, 0, 1000, NULL);
	send_bytes(10);
	expect(&c, PSH_ACK, 1000, 0, 10);
}
