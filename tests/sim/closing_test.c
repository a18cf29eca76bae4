/* Closing: who ends first, who is gone, and what still comes in. */
#include "script_fixture.h"

TestSuite(closing, .init = setup_established, .fini = teardown);

Test(closing, we_first)
{
	sim_shutdown(c.k, SHUT_WR);
	expect(&c, FIN_ACK, 0, 0, 0);
	state_is(TCPS_FIN_WAIT1);
	say(&c, ACK, 0, 1, NULL);
	state_is(TCPS_FIN_WAIT2);
	say(&c, PSH_ACK, 0, 1, "more"); /* the other direction is open */
	cr_assert_eq(sim_readable(c.k), 4);
	(void)heard_count();
	say(&c, FIN_ACK, 4, 1, NULL);
	expect(&c, ACK, 1, 5, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	cr_assert(c.k->v.state & CM_ST_HUP);
	say(&c, FIN_ACK, 4, 1, NULL); /* its FIN again */
	expect(&c, ACK, 1, 5, 0);
	after(&c, 61 * SIM_SEC);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
}

Test(closing, they_first)
{
	say(&c, FIN_ACK, 0, 0, NULL);
	expect(&c, ACK, 0, 1, 0);
	state_is(TCPS_CLOSE_WAIT);
	cr_assert(c.k->v.state & CM_ST_RX_EOF);
	sim_send(c.k, "bye", 3);
	sim_close(c.k);
	expect(&c, FIN_ACK | TCP_F_PSH, 0, 1, 3);
	state_is(TCPS_LAST_ACK);
	say(&c, ACK, 1, 4, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
}

Test(closing, simultaneous)
{
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, FIN_ACK, 0, 0, NULL);
	expect(&c, ACK, 1, 1, 0);
	state_is(TCPS_CLOSING);
	say(&c, ACK, 1, 1, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
}

Test(closing, orphan_in_fin_wait2)
{
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, ACK, 0, 1, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1); /* the listener: no rings are held */
	say(&c, FIN_ACK, 0, 1, NULL);
	expect(&c, ACK, 1, 1, 0);
}

Test(closing, data_for_an_orphan)
{
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, PSH_ACK, 0, 0, "too late"); /* it has not heard of our FIN: the reset is where it looks for it */
	expect(&c, TCP_F_RST, 0, 0, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1);
}

Test(closing, unread_input_resets)
{
	say(&c, PSH_ACK, 0, 0, "unread");
	expect(&c, ACK, 0, 6, 0);
	sim_close(c.k);
	expect(&c, RST_ACK, 0, 6, 0);
}

Test(closing, killed_owner_delivers_what_it_wrote)
{
	sim_send(c.k, "last words", 10);
	sim_die(c.k);
	expect(&c, FIN_ACK | TCP_F_PSH, 0, 0, 10);
}

Test(closing, linger_zero)
{
	sock_get(&c.h->s, c.k->sk)->flags |= SOCK_F_LINGER;
	sim_close(c.k);
	expect(&c, RST_ACK, 0, 0, 0);
}

Test(closing, fin_out_of_order)
{
	say(&c, FIN_ACK, 3, 0, "def");
	expect(&c, ACK, 0, 0, 0);
	(void)heard_count();
	say(&c, ACK, 0, 0, "abc");
	expect(&c, ACK, 0, 7, 0);
	state_is(TCPS_CLOSE_WAIT);
	cr_assert_eq(sim_readable(c.k), 6);
}

/* The half that waits for the peer's FIN, with nobody to read: `sent` was read before. */
static void fin_wait2(const char *sent)
{
	char buf[16];

	say(&c, PSH_ACK, 0, 0, sent);
	cr_assert_eq(sim_recv(c.k, buf, sizeof(buf)), strlen(sent));
	after(&c, SIM_MS);
	(void)heard_count();
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, (int64_t)strlen(sent), 0);
	say(&c, ACK, (int64_t)strlen(sent), 1, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
}

Test(closing, what_was_not_heard_acknowledged_is_so_again_in_fin_wait2)
{
	fin_wait2("hello");
	say(&c, PSH_ACK, 0, 0, "hello");
	expect(&c, ACK, 1, 5, 0);
	say(&c, PSH_ACK, 2, 0, "llo");
	expect(&c, ACK, 1, 5, 0);
	say(&c, FIN_ACK, 5, 1, NULL);
	expect(&c, ACK, 1, 6, 0);
}

/* As in the kernel: what is in the window counts, and more data or a SYN is answered with a reset. */
Test(closing, a_reset_ends_fin_wait2)
{
	fin_wait2("hello");
	say(&c, TCP_F_RST, 4, 0, NULL); /* before, ... */
	say(&c, TCP_F_RST, 1 << 20, 0, NULL); /* ... and behind it */
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	expect_nothing(&c);
	say(&c, TCP_F_RST, 6, 0, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
	expect_nothing(&c);
}

Test(closing, a_syn_ends_fin_wait2)
{
	fin_wait2("hello");
	say(&c, TCP_F_SYN, 100, 0, NULL);
	expect(&c, RST_ACK, -1 - (int64_t)c.irs, 101, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
}

Test(closing, syn_opens_anew_out_of_time_wait)
{
	static struct heard s;

	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, FIN_ACK, 0, 1, NULL);
	expect(&c, ACK, 1, 1, 0);
	c.iss += 100000;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(hear(&c, &s));
	cr_assert_eq(s.h.flags, TCP_F_SYN | ACK);
	cr_assert(seq_after(s.h.seq, c.irs + 65000));
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
}

/* Into TIME_WAIT, with timestamps if the peer offers them. */
static void time_wait(void)
{
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, FIN_ACK, 0, 1, NULL);
	expect(&c, ACK, 1, 1, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
}

/* As in the kernel, which does not follow RFC 1337 unless told to. */
Test(closing, a_reset_ends_time_wait)
{
	time_wait();
	say(&c, TCP_F_RST, 0, 0, NULL); /* before, and beyond what is expected */
	say(&c, TCP_F_RST, 2, 0, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	expect_nothing(&c);
	say(&c, TCP_F_RST, 1, 0, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
	expect_nothing(&c);
}

Test(closing, an_old_reset_does_not_end_time_wait)
{
	start_over();
	c.ts = true;
	c.ts_val = 100;
	script_passive(&c);
	time_wait();
	c.ts_val = 99;
	say(&c, TCP_F_RST, 1, 0, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	c.ts_val = 100;
	say(&c, TCP_F_RST, 1, 0, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
}

Test(closing, a_syn_that_nobody_hears_leaves_time_wait)
{
	time_wait();
	tcp_close(&c.h->s, c.h->sock[0].sk, false); /* the listener */
	c.iss += 100000;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	c.iss -= 100000;
	expect(&c, ACK, 1, 1, 0); /* not a RST: the peer finds out by itself */
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
}
