/* What a stranger may not do: RFC 5961, old timestamps. */
#include "script_fixture.h"

TestSuite(rfc5961, .init = setup_established, .fini = teardown);

Test(rfc5961, rst)
{
	say(&c, TCP_F_RST, 100, 0, NULL); /* in the window, but not exact */
	expect(&c, ACK, 0, 0, 0);
	state_is(TCPS_ESTABLISHED);
	say(&c, TCP_F_RST, 200, 0, NULL); /* and not more than two answers a second */
	expect_nothing(&c);
	say(&c, TCP_F_RST, 1000000, 0, NULL);
	expect_nothing(&c);
	say(&c, TCP_F_RST, 0, 0, NULL);
	state_is(TCPS_CLOSE);
	cr_assert_eq(c.k->err, ECONNRESET);
}

Test(rfc5961, syn)
{
	say(&c, TCP_F_SYN, 100, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	state_is(TCPS_ESTABLISHED);
}

Test(rfc5961, ack)
{
	say(&c, PSH_ACK, 0, 50, "inject"); /* acknowledges what was not sent */
	expect(&c, ACK, 0, 0, 0);
	cr_assert_eq(sim_readable(c.k), 0);
	say(&c, PSH_ACK, 0, -100000, "inject");
	cr_assert_eq(sim_readable(c.k), 0);
}

Test(rfc5961, paws)
{
	start_over();
	c.ts = true;
	c.ts_val = 1000;
	script_passive(&c);
	c.ts_val = 2000;
	say(&c, PSH_ACK, 0, 0, "new");
	expect(&c, ACK, 0, 3, 0);
	c.ts_val = 1500;
	say(&c, PSH_ACK, 3, 0, "old");
	expect(&c, ACK, 0, 3, 0);
	cr_assert_eq(sim_readable(c.k), 3);
	cr_assert_eq(c.h->s.count.tcp_paws, 1);
}

Test(rfc5961, impossible_acknowledgement_says_no_time)
{
	static struct heard s;

	start_over();
	c.ts = true;
	c.ts_val = 1000;
	script_passive(&c);
	c.ts_val = 200000;
	say(&c, FIN_ACK, 0, 9999, NULL);
	cr_assert(hear(&c, &s));
	cr_assert_eq(s.h.flags, ACK);
	cr_assert_eq(s.h.ts_ecr, 1000);
	state_is(TCPS_ESTABLISHED);
	c.ts_val = 1001; /* the connection's own are not older than a stranger's */
	say(&c, PSH_ACK, 0, 0, "data");
	cr_assert_eq(sim_readable(c.k), 4);
}
