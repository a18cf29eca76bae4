/* Receiving: order, holes, the window, the acknowledgements. */
#include "script_fixture.h"
#include <netinet/tcp.h>

TestSuite(receive, .init = setup_established, .fini = teardown);

/* Who writes while acknowledgements come is not answering: what he receives is acknowledged at once, as it was. */
Test(receive, acknowledgements_are_no_questions)
{
	say(&c, PSH_ACK, 0, 0, "a");
	expect(&c, ACK, 0, 1, 0);
	after(&c, 100 * SIM_MS);
	for (int i = 0; i < 3; i++) {
		sim_send(c.k, "x", 1);
		after(&c, 0);
		expect(&c, PSH_ACK, i, 1, 1);
		say(&c, ACK, 1, i + 1, NULL);
	}
	say(&c, PSH_ACK, 1, 3, "b");
	expect(&c, ACK, 3, 2, 0);
}

Test(receive, checksum)
{
	char data[16];

	say_corrupt(&c, PSH_ACK, 0, 0, "wrong"); /* in order */
	say_corrupt(&c, PSH_ACK, 5, 0, "wrong"); /* and out of order */
	expect_nothing(&c);
	cr_assert_eq(sim_readable(c.k), 0);
	cr_assert_eq(c.h->s.count.tcp_bad, 2);
	say(&c, PSH_ACK, 0, 0, "right");
	expect(&c, ACK, 0, 5, 0);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 5);
	cr_assert(!memcmp(data, "right", 5));
}

/* Each acknowledgement's window stays below it, and the first that is told, too. */
Test(receive, window_clamp)
{
	static struct heard s;
	uint32_t edge = 0;

	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_WINDOW_CLAMP, 2000), 0);
	for (int64_t at = 0; at < 100000; at += 10) {
		say(&c, PSH_ACK, at, 0, "0123456789");
		after(&c, 50 * SIM_MS);
		while (hear(&c, &s))
			edge = s.h.ack - c.iss - 1 + ((uint32_t)s.h.window << sim_tcb(c.k)->rcv_wscale) - (uint32_t)at;
		if (at > 70000) /* what was promised before was 64 KiB */
			cr_assert_leq(edge, 2010, "%u at %ld", edge, (long)at);
		sim_recv(c.k, &(char[10]){0}, 10);
	}
}

Test(receive, out_of_order)
{
	static struct heard s;
	char data[16];

	say(&c, PSH_ACK, 3, 0, "def");
	cr_assert(hear(&c, &s));
	cr_assert_eq(s.h.n_sack, 1);
	cr_assert_eq(s.h.sack[0].start, c.iss + 1 + 3);
	cr_assert_eq(s.h.sack[0].end, c.iss + 1 + 6);
	say(&c, PSH_ACK, 9, 0, "jkl");
	cr_assert(hear(&c, &s));
	cr_assert_eq(s.h.n_sack, 2);
	cr_assert_eq(s.h.sack[0].start, c.iss + 1 + 9); /* the newest first */
	say(&c, PSH_ACK, 0, 0, "abc");
	expect(&c, ACK, 0, 6, 0);
	say(&c, PSH_ACK, 4, 0, "XXghi"); /* overlap: what is there stays */
	expect(&c, ACK, 0, 12, 0);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 12);
	cr_assert(!memcmp(data, "abcdefghijkl", 12));
}

Test(receive, committed_intervals_are_not_written_again)
{
	char data[16];

	say(&c, PSH_ACK, 3, 0, "def");
	say(&c, PSH_ACK, 2, 0, "cXXXg");
	say(&c, PSH_ACK, 0, 0, "ab");
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 7);
	cr_assert(!memcmp(data, "abcdefg", 7));
}

static void expect_blocks(int64_t ack, unsigned n, const struct sack_range *r)
{
	static struct heard s;

	cr_assert(hear(&c, &s), "nothing was sent");
	cr_assert_eq(s.h.ack - c.iss - 1, (uint32_t)ack);
	cr_assert_eq(s.h.n_sack, n, "%u blocks, not %u", s.h.n_sack, n);
	for (unsigned i = 0; i < n; i++)
		cr_assert(s.h.sack[i].start == c.iss + 1 + r[i].from && s.h.sack[i].end == c.iss + 1 + r[i].to,
		    "block %u: %u to %u", i, s.h.sack[i].start - c.iss - 1, s.h.sack[i].end - c.iss - 1);
}
#define BLOCKS(ack, ...)                                                                           \
	expect_blocks(ack, sizeof((struct sack_range[]){__VA_ARGS__}) / sizeof(struct sack_range), \
	    (struct sack_range[]){__VA_ARGS__})

Test(receive, blocks_that_grew_last_come_first)
{
	say(&c, PSH_ACK, 2, 0, "c");
	BLOCKS(0, {2, 3});
	say(&c, PSH_ACK, 4, 0, "e");
	BLOCKS(0, {4, 5}, {2, 3});
	say(&c, PSH_ACK, 8, 0, "i");
	BLOCKS(0, {8, 9}, {4, 5}, {2, 3});
	say(&c, PSH_ACK, 6, 0, "g");
	BLOCKS(0, {6, 7}, {8, 9}, {4, 5}, {2, 3});
	say(&c, PSH_ACK, 10, 0, "k"); /* four are told: the one that is older than all falls out */
	BLOCKS(0, {10, 11}, {6, 7}, {8, 9}, {4, 5});
	say(&c, PSH_ACK, 3, 0, "d"); /* joins two of them */
	BLOCKS(0, {2, 5}, {10, 11}, {6, 7}, {8, 9});
}

Test(receive, what_came_twice_is_told)
{
	say(&c, PSH_ACK, 2, 0, "cd");
	say(&c, PSH_ACK, 6, 0, "gh");
	(void)heard_count();
	say(&c, PSH_ACK, 0, 0, "abcde"); /* over an interval */
	BLOCKS(5, {2, 4}, {6, 8});
	say(&c, PSH_ACK, 3, 0, "def"); /* its head came before, its tail joins */
	BLOCKS(8, {3, 5});
	say(&c, PSH_ACK, 1, 0, "bc"); /* all of it did */
	BLOCKS(8, {1, 3});
	say(&c, PSH_ACK, 10, 0, "klm");
	(void)heard_count();
	say(&c, PSH_ACK, 9, 0, "jkl"); /* out of order, and partly in an interval */
	BLOCKS(8, {10, 12}, {9, 13});
}

Test(receive, fin_behind_what_came_before)
{
	static struct heard s;

	say(&c, PSH_ACK, 0, 0, "abc");
	expect(&c, ACK, 0, 3, 0);
	say(&c, FIN_ACK, 0, 0, "abc"); /* once more, with the end */
	cr_assert(hear(&c, &s));
	cr_assert_eq(s.h.ack, c.iss + 1 + 4);
	cr_assert_eq(s.h.n_sack, 0); /* nothing more will come: it need not know */
	state_is(TCPS_CLOSE_WAIT);
}

Test(receive, more_holes_than_intervals)
{
	char data[64];

	for (int i = 0; i < 20; i++)
		say(&c, PSH_ACK, 2 * i + 1, 0, "b");
	cr_assert_eq(c.h->s.count.tcp_ooo_full, 4);
	for (int i = 0; i < 20; i++)
		say(&c, PSH_ACK, 2 * i, 0, "a");
	(void)heard_count();
	/* The last four were dropped and never acknowledged: 16 pairs, one more byte, the rest is
	 * to come again. */
	cr_assert_eq(sim_tcb(c.k)->rcv_nxt, 33);
	for (int i = 16; i < 20; i++)
		say(&c, PSH_ACK, 2 * i + 1, 0, "b");
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 40);
	for (int i = 0; i < 40; i++)
		cr_assert_eq(data[i], i & 1 ? 'b' : 'a');
}

Test(receive, window_closes_and_opens)
{
	static struct heard s;
	static char big[1461], sink[100000];
	uint32_t sent = 0;

	memset(big, 'x', 1460);
	while (sent + 1460 <= 65535) {
		say(&c, ACK, sent, 0, big);
		sent += 1460;
	}
	big[65535 - sent] = 0;
	say(&c, PSH_ACK, sent, 0, big);
	after(&c, 41 * SIM_MS);
	while (hear(&c, &s))
		;
	cr_assert_eq(s.h.ack, c.iss + 1 + 65535);
	cr_assert_leq(s.h.window, 1);
	say(&c, PSH_ACK, 65535, 0, "y"); /* a probe of one byte */
	cr_assert(hear(&c, &s));
	cr_assert_leq(s.h.ack, c.iss + 1 + 65536);
	sim_recv(c.k, sink, 100);
	after(&c, SIM_MS);
	expect_nothing(&c); /* no silly window */
	sim_recv(c.k, sink, sizeof(sink));
	after(&c, SIM_MS);
	cr_assert(hear(&c, &s));
	cr_assert_gt(s.h.window, 60000);
}

Test(receive, delayed_acknowledgement)
{
	static char full[1461];

	memset(full, 'x', 1460);
	for (int i = 0; i < 16; i++) { /* quick ones at the start */
		say(&c, ACK, i * 1460, 0, full);
		expect(&c, ACK, 0, (i + 1) * 1460, 0);
	}
	say(&c, ACK, 16 * 1460, 0, full);
	expect_nothing(&c);
	after(&c, 41 * SIM_MS);
	expect(&c, ACK, 0, 17 * 1460, 0);
	say(&c, ACK, 17 * 1460, 0, full);
	expect_nothing(&c);
	say(&c, ACK, 18 * 1460, 0, full); /* every second one at once */
	expect(&c, ACK, 0, 19 * 1460, 0);
}
