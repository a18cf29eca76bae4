/*
 * More SYNs than a listener may have half-open connections: what it answers, and what it believes
 * afterwards.
 */
#include "script_fixture.h"

#define FLOOD 256u /* half-open connections of a listener */

static struct sim_sock *l;

/* Fills the queue with SYNs of peers that never say more. */
static void flood(void)
{
	for (unsigned i = 0; i < FLOOD; i++) {
		c.peer_port = (uint16_t)(10000 + i);
		say(&c, TCP_F_SYN, -1, 0, NULL);
		cr_assert_eq(heard_count(), 1);
	}
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), FLOOD);
	c.peer_port = 5000;
}

/* A SYN now, and its answer, which is remembered by nobody. */
static struct tcp_header cookie(void)
{
	static struct heard s;

	(void)heard_count();
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(hear(&c, &s), "the listener is shut");
	cr_assert_eq(s.h.flags, TCP_F_SYN | ACK);
	cr_assert_eq(s.h.ack, c.iss + 1);
	c.irs = s.h.seq;
	return s.h;
}

static void flooded(void)
{
	setup_new();
	l = sim_socket(c.h);
	cr_assert_eq(sim_listen(l, 80, 8), 0);
	flood();
}

static void accepted(void)
{
	c.k = sim_accept(l);
	cr_assert(c.k);
	state_is(TCPS_ESTABLISHED);
}

TestSuite(cookie, .init = flooded, .fini = teardown);

Test(cookie, opens_a_connection)
{
	char data[16];

	(void)cookie();
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), FLOOD);
	cr_assert_eq(c.h->s.count.tcp_cookies_sent, 1);
	say(&c, PSH_ACK, 0, 0, "hello");
	expect(&c, ACK, 0, 5, 0);
	accepted();
	cr_assert_eq(c.h->s.count.tcp_cookies_ok, 1);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 5);
	cr_assert_eq(sim_send(c.k, "world", 5), 5);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 5, 5);
}

/* The largest of the table that the peer can take; nothing else without timestamps. */
Test(cookie, remembers_the_segment_size)
{
	static const uint16_t mss[][2] = {
	    {0, 536}, {100, 88}, {536, 536}, {1400, 1360}, {1460, 1460}, {1461, 1460}};

	c.ws = true;
	c.scale = 7;
	for (unsigned i = 0; i < ARRAY_SIZE(mss); i++) {
		struct tcp_header h;

		c.peer_port++;
		c.mss = mss[i][0];
		h = cookie();
		cr_assert(!h.has_ws && !h.sack_permitted && !h.has_ts);
		say(&c, ACK, 0, 0, NULL);
		accepted();
		cr_assert_eq(sim_tcb(c.k)->peer_mss, mss[i][1], "%u", mss[i][0]);
		cr_assert(!(sim_tcb(c.k)->flags & (TCB_TS | TCB_WS | TCB_SACK)));
	}
}

static void negotiated(bool ws, uint8_t scale, bool sack)
{
	struct tcp_header h;
	const struct tcp_rec *t;

	c.peer_port++;
	c.ts = true;
	c.ts_val = 777;
	c.ts_recent = 0;
	c.ws = ws;
	c.scale = scale;
	c.sack = sack;
	h = cookie();
	cr_assert(h.has_ts && h.has_ws == ws && h.sack_permitted == sack);
	after(&c, 40 * SIM_MS);
	c.ts_val++;
	say(&c, ACK, 0, 0, NULL);
	accepted();
	t = sim_tcb(c.k);
	cr_assert_eq(t->flags & (TCB_TS | TCB_WS | TCB_SACK),
	    (uint32_t)(TCB_TS | (ws ? TCB_WS : 0) | (sack ? TCB_SACK : 0)));
	cr_assert_eq(t->snd_wscale, ws ? scale : 0);
	cr_assert_eq(t->snd_edge, (uint64_t)c.window << (ws ? scale : 0));
	cr_assert_eq(t->ts_recent, c.ts_val);
	if (ws)
		cr_assert_eq(t->rcv_wscale, h.ws);
	(void)heard_count();
	cr_assert_eq(
	    sim_send(c.k, "x", 1), 1); /* its timestamp does not go back behind the SYN-ACK's */
	after(&c, 0);
	cr_assert_eq(heard_count(), 1);
	cr_assert_geq((int32_t)(c.ts_recent - h.ts_val), 0);
	sim_close(c.k);
}

Test(cookie, carries_options_in_its_timestamp)
{
	negotiated(true, 7, true);
	negotiated(true, 0, false);
	negotiated(true, 14, true);
	negotiated(false, 0, true);
	negotiated(false, 0, false);
}

Test(cookie, survives_a_restart)
{
	(void)cookie();
	sim_kill(c.h, 5 * SIM_MS);
	after(&c, 10 * SIM_MS);
	(void)heard_count();
	say(&c, ACK, 0, 0, NULL);
	accepted();
}

Test(cookie, is_not_guessed)
{
	(void)cookie();
	say(&c, ACK, 0, 99, NULL); /* another number */
	expect(&c, TCP_F_RST, 99, 0, 0);
	say(&c, ACK, 1, 0, NULL); /* for another SYN */
	expect(&c, TCP_F_RST, 0, 0, 0);
	c.peer_port++; /* from another port */
	say(&c, ACK, 0, 0, NULL);
	expect(&c, TCP_F_RST, 0, 0, 0);
	cr_assert_eq(c.h->s.count.tcp_cookies_bad, 3);
	cr_assert_eq(l->v.accept_ready, 0);
	c.peer_port--;
	say(&c, RST_ACK, 0, 0, NULL);
	say(&c, TCP_F_SYN | ACK, 0, 0, NULL);
	expect(&c, TCP_F_RST, 0, 0, 0);
	cr_assert_eq(l->v.accept_ready, 0);
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 1);
}

Test(cookie, lives_a_minute)
{
	(void)cookie();
	after(&c, 60 * SIM_SEC);
	(void)heard_count();
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 1);
}

Test(cookie, expires)
{
	uint32_t old = cookie().seq;

	after(&c, 110 * SIM_SEC);
	(void)heard_count();
	flood();
	c.peer_port = 5001;
	(void)cookie(); /* the listener waits for cookies still */
	c.peer_port = 5000;
	after(&c, 10 * SIM_SEC);
	(void)heard_count();
	c.irs = old;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, TCP_F_RST, 0, 0, 0);
	cr_assert_eq(c.h->s.count.tcp_cookies_bad, 1);
	cr_assert_eq(l->v.accept_ready, 0);
}

/* What was right a moment ago is nothing for a listener that has sent none. */
Test(cookie, only_of_a_listener_that_sent_one)
{
	(void)cookie();
	sim_close(l);
	l = sim_socket(c.h);
	sim_listen(l, 80, 8);
	(void)heard_count();
	say(&c, ACK, 0, 0, NULL);
	expect(&c, TCP_F_RST, 0, 0, 0);
	cr_assert_eq(l->v.accept_ready, 0);
}

Test(cookie, finds_the_queue_full)
{
	for (unsigned i = 0; i < 9; i++) { /* backlog + 1, as in the kernel */
		c.peer_port++;
		(void)cookie();
		if (i == 8) { /* the last two have both their answer before either comes back */
			uint32_t first = c.irs;

			c.peer_port++;
			(void)cookie();
			say(&c, ACK, 0, 0, NULL);
			c.peer_port--;
			c.irs = first;
		}
		say(&c, ACK, 0, 0, NULL);
	}
	expect_nothing(&c); /* no RST: it may try again */
	cr_assert_eq(l->v.accept_ready, 9);
	cr_assert_eq(c.h->s.count.tcp_listen_full, 1);
	cr_assert(sim_accept(l));
	say(&c, PSH_ACK, 0, 0, "again");
	expect(&c, ACK, 0, 5, 0);
	cr_assert_eq(l->v.accept_ready, 9);
}
