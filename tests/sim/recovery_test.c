/*
 * Lost, or only late: when what is missing is sent again, what the window pays for it, and that it
 * gets back what it paid for nothing. The round trip takes RTT, and ten segments are in flight.
 */
#include "script_fixture.h"

#define RTT  (100 * SIM_MS)
#define MSS  1460u
#define SEGS 10u

static uint32_t cwnd0, probes;

static void connect_and_send(uint64_t rtt)
{
	static char data[SEGS * MSS];

	establish_slowly(rtt);
	cwnd0 = sim_tcb(c.k)->cwnd;
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), SEGS);
	after(&c, rtt);
	probes = heard_count();
}

static void open_up(bool ts)
{
	setup_new();
	c.ts = ts;
	c.ts_val = 1;
	connect_and_send(RTT);
}

static void setup_plain(void)
{
	open_up(false);
}

TestSuite(recovery, .init = setup_plain, .fini = teardown);

/* The peer has the segments from..to - 1, and nothing of those before. */
static void sack(uint32_t from, uint32_t to)
{
	say_sack(0, 1, &(struct sack_range){from * MSS, to * MSS});
}

static void more(uint32_t segments)
{
	static char data[SEGS * MSS];

	sim_send(c.k, data, segments * MSS);
	after(&c, 0);
}

static const struct tcp_rec *tcb(void)
{
	return sim_tcb(c.k);
}

/* RFC 8985, 6.2: fewer than three say so, too, a quarter of a round trip later. */
Test(recovery, one_sack_is_enough_in_time)
{
	sack(1, 2);
	expect_nothing(&c);
	cr_assert_eq(tcb()->ca_state, CA_DISORDER);
	after(&c, RTT / 4 - SIM_MS);
	expect_nothing(&c);
	after(&c, 2 * SIM_MS);
	expect(&c, ACK, 0, 0, MSS);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	cr_assert_eq(tcb()->ssthresh, cwnd0 * 7 / 10);
}

Test(recovery, three_are_enough_at_once)
{
	for (uint32_t i = 1; i <= 3; i++)
		sack(1, 1 + i);
	expect(&c, ACK, 0, 0, MSS);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
}

/* RFC 9937: what says that more is lost than was known adds no segment to what it pays for. */
Test(recovery, a_partial_acknowledgement_that_tells_of_more_losses)
{
	for (uint32_t i = 1; i <= 3; i++)
		sack(1, 1 + i);
	expect(&c, ACK, 0, 0, MSS);
	after(&c, RTT + RTT / 10);
	say(&c, ACK, 0, 4 * MSS, NULL); /* the rest was sent before what was sent again */
	expect(&c, ACK, 4 * MSS, 0, MSS);
	expect_nothing(&c);
	after(&c, RTT);
	say(&c, ACK, 0, 5 * MSS, NULL); /* and nothing more: it grows */
	cr_assert_eq(heard_count(), 2);
}

/* What comes late costs nothing; and from then on three do not suffice. */
Test(recovery, late_is_not_lost)
{
	sack(1, 3);
	say(&c, ACK, 0, 3 * MSS, NULL);
	expect_nothing(&c);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_geq(tcb()->reordering, 1);
	more(3);
	cr_assert_eq(heard_count(), 3);
	after(&c, RTT);
	(void)heard_count(); /* the tail is probed */
	for (uint32_t i = 4; i <= 9; i++)
		say_sack(3 * MSS, 1, &(struct sack_range){4 * MSS, (i + 1) * MSS});
	expect_nothing(&c);
	cr_assert_eq(tcb()->ca_state, CA_DISORDER);
	after(&c, RTT / 4 - SIM_MS);
	expect_nothing(&c);
	say(&c, ACK, 0, 10 * MSS, NULL);
	expect_nothing(&c);
	cr_assert_geq(tcb()->cwnd, cwnd0);
	cr_assert_eq(tcb()->ssthresh, UINT32_MAX);
}

Test(recovery, a_hole_keeps_its_age)
{
	sack(1, 2);
	after(&c, RTT / 8);
	say_sack(0, 2, (struct sack_range[]){{3 * MSS, 4 * MSS}, {MSS, 2 * MSS}});
	expect_nothing(&c);
	after(&c, RTT / 8 + SIM_MS);
	expect(&c, ACK, 0, 0, MSS); /* the first is due; and three are enough now that it is */
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
}

/* RFC 3522: it was the original that filled the hole. */
Test(recovery, undone_by_the_timestamp)
{
	uint32_t sent;

	teardown();
	open_up(true);
	sent = c.ts_recent;
	for (uint32_t i = 1; i <= 3; i++)
		say_sack(0, 1, &(struct sack_range){1448, 1448 * (1 + i)});
	cr_assert_geq(heard_count(), 1);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	sim_kill(c.h, 5 * SIM_MS); /* it is remembered */
	after(&c, 5 * SIM_MS);
	(void)heard_count();
	c.ts_recent = sent;
	say(&c, ACK, 0, 4 * 1448, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_geq(tcb()->cwnd, cwnd0);
	cr_assert_eq(tcb()->ssthresh, UINT32_MAX);
	cr_assert_geq(tcb()->reordering, 1);
}

Test(recovery, not_undone_by_a_new_timestamp)
{
	teardown();
	open_up(true);
	for (uint32_t i = 1; i <= 3; i++)
		say_sack(0, 1, &(struct sack_range){1448, 1448 * (1 + i)});
	cr_assert_geq(heard_count(), 1); /* c.ts_recent is that of the retransmission */
	say(&c, ACK, 0, SEGS * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_eq(tcb()->cwnd, tcb()->ssthresh);
	cr_assert_lt(tcb()->cwnd, cwnd0);
	cr_assert_eq(tcb()->reordering, 0);
}

/* RFC 2883: it came twice; the recovery is over by then. */
Test(recovery, undone_by_a_dsack)
{
	for (uint32_t i = 1; i <= 3; i++)
		sack(1, 1 + i);
	expect(&c, ACK, 0, 0, MSS);
	say(&c, ACK, 0, SEGS * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_lt(tcb()->cwnd, cwnd0);
	sim_kill(c.h, 5 * SIM_MS);
	after(&c, 5 * SIM_MS);
	(void)heard_count();
	say_sack(SEGS * MSS, 1, &(struct sack_range){0, MSS});
	cr_assert_geq(tcb()->cwnd, cwnd0);
	cr_assert_eq(tcb()->ssthresh, UINT32_MAX);
	cr_assert_geq(tcb()->reordering, 1);
}

/* Of two that were sent again one came twice: the other was lost. */
Test(recovery, not_undone_by_half_of_it)
{
	sack(2, 5);
	cr_assert_eq(heard_count(), 2);
	say(&c, ACK, 0, SEGS * MSS, NULL);
	say_sack(SEGS * MSS, 1, &(struct sack_range){0, MSS});
	cr_assert_lt(tcb()->cwnd, cwnd0);
	more(1);
	say(&c, ACK, 0, (SEGS + 1) * MSS, NULL); /* too late to say so now */
	say_sack((SEGS + 1) * MSS, 1, &(struct sack_range){MSS, 2 * MSS});
	cr_assert_lt(tcb()->ssthresh, cwnd0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCPX), 0);
}

static void time_out(void)
{
	for (uint32_t n = 0; n < 100 && tcb()->ca_state != CA_LOSS; n++)
		after(&c, 10 * SIM_MS);
	cr_assert_eq(tcb()->ca_state, CA_LOSS);
	after(&c, 0);
	cr_assert_geq(heard_count(), 1);
	cr_assert_eq(tcb()->cwnd, MSS);
}

/* RFC 5682: more is acknowledged than was sent again. */
Test(recovery, a_timeout_for_nothing)
{
	time_out();
	say(&c, ACK, 0, 2 * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_geq(tcb()->cwnd, cwnd0);
	cr_assert_eq(tcb()->ssthresh, UINT32_MAX);
	expect_nothing(&c);
}

Test(recovery, a_timeout_with_a_cause)
{
	time_out();
	say(&c, ACK, 0, MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_LOSS);
	cr_assert_lt(tcb()->ssthresh, cwnd0);
	cr_assert_eq(heard_count(), 2);
}

/* RFC 5681, 4.3: it is the same loss, for which the window went down already. */
Test(recovery, a_timeout_within_it_reduces_nothing_more)
{
	for (uint32_t i = 1; i <= 3; i++)
		sack(1, 1 + i);
	expect(&c, ACK, 0, 0, MSS);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	cr_assert_eq(tcb()->ssthresh, cwnd0 * 7 / 10);
	after(&c, SIM_SEC);
	cr_assert_eq(tcb()->ca_state, CA_LOSS);
	cr_assert_eq(tcb()->ssthresh, cwnd0 * 7 / 10);
}

/* RFC 9937: with each segment that arrives 7 in 10 go out, from the first on. */
Test(recovery, the_window_goes_down_by_sending)
{
	uint32_t sent = 0, by_half = 0;

	more(SEGS);
	expect_nothing(&c);
	for (uint32_t i = 1; i < SEGS; i++) {
		sack(1, 1 + i);
		sent += heard_count();
		if (i == 5)
			by_half = sent;
	}
	cr_assert(by_half >= 3 && by_half <= 5, "%u by half", by_half);
	cr_assert(sent >= 6 && sent <= 8, "%u", sent);
	say(&c, ACK, 0, (SEGS + 2) * MSS, NULL); /* two of them went before it began: RFC 3042 */
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_eq(tcb()->cwnd, tcb()->ssthresh);
}

/* Also with the acknowledgement that it begins with: much is lost, and yet that is no reason for a burst. */
Test(recovery, it_begins_with_what_has_arrived)
{
	sack(1, 2);
	sack(1, 3);
	say_sack(0, 2, (struct sack_range[]){{8 * MSS, 9 * MSS}, {MSS, 3 * MSS}});
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	expect(&c, ACK, 0, 0, MSS);
	expect_nothing(&c);
	say_sack(MSS, 2, (struct sack_range[]){{MSS, 4 * MSS}, {8 * MSS, 9 * MSS}});
	cr_assert_leq(heard_count(), 3);
}

/* The same where it is a matter of time. */
Test(recovery, it_begins_with_one_in_time)
{
	say_sack(0, 1, &(struct sack_range){8 * MSS, 9 * MSS});
	expect_nothing(&c);
	after(&c, RTT / 4 + SIM_MS);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	expect(&c, ACK, 0, 0, MSS);
	expect_nothing(&c);
}

/* A retransmission that is lost, too, goes out once more when something that was sent after it has
 * arrived. */
Test(recovery, a_retransmission_is_lost)
{
	static char data[MSS];

	for (uint32_t i = 1; i < SEGS; i++)
		sack(1, 1 + i);
	cr_assert_eq(heard_count(), 1);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	expect(&c, PSH_ACK, SEGS * MSS, 0, MSS);
	after(&c, RTT);
	sack(1, SEGS + 1);
	expect(&c, ACK, 0, 0, MSS);
	expect_nothing(&c);
}

/* Nothing that was sent after it has arrived: it is only on its way; at any moment of a clock that comes around. */
Test(recovery, a_retransmission_is_on_its_way)
{
	for (uint32_t quarter = 0; quarter < 4; quarter++) {
		teardown();
		c = script_new(1);
		after(&c, quarter * (1ull << 30) * 1000);
		connect_and_send(RTT);
		for (uint32_t i = 1; i <= 3; i++)
			sack(1, 1 + i);
		expect(&c, ACK, 0, 0, MSS);
		after(&c, RTT + RTT / 10);
		expect_nothing(&c);
		say(&c, ACK, 0, SEGS * MSS, NULL);
		expect_nothing(&c);
		cr_assert_eq(tcb()->total_retrans, 1 + probes);
	}
}

/* Nothing above the tail can say that it is missing; a retransmission that was sent after it and has arrived can. */
Test(recovery, the_tail_where_it_reorders)
{
	tcb_get(&c.h->s, c.k->sk)->reordering = 1;
	sim_cycle(c.h, NULL, NULL);
	sack(1, 7);
	after(&c, RTT / 4 + SIM_MS);
	expect(&c, ACK, 0, 0, MSS);
	after(&c, RTT);
	say(&c, ACK, 0, 7 * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	expect_nothing(&c); /* it may be late */
	after(&c, RTT / 4 + SIM_MS);
	expect(&c, ACK, 7 * MSS, 0, MSS);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	say(&c, ACK, 0, 8 * MSS, NULL);
	cr_assert_eq(heard_count(), 2);
	say(&c, ACK, 0, SEGS * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
}

/* NewReno has nothing but partial acknowledgements to go by, even where the path is known to reorder. */
Test(recovery, without_sack_where_it_reorders)
{
	tcb_get(&c.h->s, c.k->sk)->flags &= ~(uint32_t)TCB_SACK;
	tcb_get(&c.h->s, c.k->sk)->reordering = 1;
	sim_cycle(c.h, NULL, NULL);
	for (uint32_t i = 0; i < 3; i++)
		say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(tcb()->ca_state, CA_RECOVERY);
	expect(&c, ACK, 0, 0, MSS);
	say(&c, ACK, 0, 3 * MSS, NULL);
	expect(&c, ACK, 3 * MSS, 0, MSS);
}

/* The acknowledgement that ends it lets the window grow like any other: two segments, so that none waits for a peer that
 * acknowledges every second one. */
Test(recovery, new_data_after_a_timeout)
{
	static char data[60000];

	teardown();
	setup_new();
	establish_slowly(RTT);
	sim_send(c.k, data, MSS);
	after(&c, RTT);
	say(&c, ACK, 0, MSS, NULL);
	sim_send(c.k, data, MSS);
	time_out();
	after(&c, RTT);
	(void)heard_count();
	say(&c, ACK, 0, 2 * MSS, NULL);
	cr_assert_eq(tcb()->ca_state, CA_OPEN);
	cr_assert_eq(tcb()->cwnd, 2 * MSS);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), 2);
}
