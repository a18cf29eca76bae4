/* Opening: the diagram as a function, both handshakes and what can go wrong with them. */
#include "script_fixture.h"
#include <netinet/tcp.h>

TestSuite(open, .init = setup_new, .fini = teardown);

Test(diagram, every_event_in_every_state)
{
	static const struct {
		enum tcp_state from;
		enum tcp_event ev;
		enum tcp_state to;
	} moves[] = {
	    {TCPS_CLOSE, TCP_EV_SYN_SENT, TCPS_SYN_SENT},
	    {TCPS_CLOSE, TCP_EV_ESTABLISHED, TCPS_ESTABLISHED}, /* a listener's child */
	    {TCPS_SYN_SENT, TCP_EV_SYN_RECEIVED, TCPS_SYN_RECV},
	    {TCPS_SYN_SENT, TCP_EV_ESTABLISHED, TCPS_ESTABLISHED},
	    {TCPS_SYN_RECV, TCP_EV_ESTABLISHED, TCPS_ESTABLISHED},
	    {TCPS_ESTABLISHED, TCP_EV_CLOSE, TCPS_FIN_WAIT1},
	    {TCPS_ESTABLISHED, TCP_EV_FIN_RECEIVED, TCPS_CLOSE_WAIT},
	    {TCPS_CLOSE_WAIT, TCP_EV_CLOSE, TCPS_LAST_ACK},
	    {TCPS_FIN_WAIT1, TCP_EV_FIN_RECEIVED, TCPS_CLOSING},
	    {TCPS_FIN_WAIT1, TCP_EV_FIN_ACKED, TCPS_FIN_WAIT2},
	    {TCPS_FIN_WAIT2, TCP_EV_FIN_RECEIVED, TCPS_TIME_WAIT},
	    {TCPS_CLOSING, TCP_EV_FIN_ACKED, TCPS_TIME_WAIT},
	    {TCPS_LAST_ACK, TCP_EV_FIN_ACKED, TCPS_CLOSE},
	};

	for (int st = TCPS_ESTABLISHED; st <= TCPS_CLOSING; st++) {
		for (int ev = 0; ev <= TCP_EV_OVER; ev++) {
			enum tcp_state want = ev == TCP_EV_OVER ? TCPS_CLOSE : (enum tcp_state)st;

			for (unsigned i = 0; i < ARRAY_SIZE(moves); i++)
				if (moves[i].from == (enum tcp_state)st &&
				    moves[i].ev == (enum tcp_event)ev)
					want = moves[i].to;
			cr_assert_eq(tcp_next_state((enum tcp_state)st, (enum tcp_event)ev), want,
			    "%d %d", st, ev);
		}
	}
}

Test(open, active)
{
	script_active(&c);
	cr_assert(c.k->v.state & CM_ST_CONNECTED);
}

Test(open, passive)
{
	script_passive(&c);
	state_is(TCPS_ESTABLISHED);
}

/* As the kernel: a port that was chosen for a connection is free when that is over, though it can still be read. */
static void expect_port_is_free(void)
{
	struct sim_sock *other = sim_socket(c.h);

	state_is(TCPS_CLOSE);
	sim_kill(c.h, SIM_MS);
	after(&c, 5 * SIM_MS);
	cr_assert_eq(sock_peek(&c.h->s, c.k->sk)->local.port, c.port);
	cr_assert_eq(sim_bind(other, c.port), 0);
	cr_assert_eq(sim_bind(c.k, c.port), -EADDRINUSE);
	cr_assert_eq(sim_bind(c.k, 0), 0);
	cr_assert_neq(sock_peek(&c.h->s, c.k->sk)->local.port, c.port);
}

Test(open, the_port_of_a_refused_connection_is_free)
{
	script_syn_sent(&c);
	say(&c, RST_ACK, -1, 0, NULL);
	expect_port_is_free();
}

Test(open, the_port_of_a_connection_that_was_reset_is_free)
{
	script_active(&c);
	say(&c, TCP_F_RST, 0, 0, NULL);
	expect_port_is_free();
}

Test(open, a_port_that_the_user_chose_stays)
{
	struct sim_sock *other = sim_socket(c.h);
	static struct heard s;

	c.k = sim_socket(c.h);
	c.port = 4000;
	cr_assert_eq(sim_bind(c.k, c.port), 0);
	cr_assert_eq(sim_connect(c.k, c.peer_port), -EINPROGRESS);
	after(&c, 0);
	cr_assert(hear(&c, &s));
	c.irs = s.h.seq;
	say(&c, RST_ACK, -1, 0, NULL);
	state_is(TCPS_CLOSE);
	cr_assert_eq(sim_bind(other, c.port), -EADDRINUSE);
}

Test(open, refused)
{
	static struct heard s;

	script_syn_sent(&c);
	say(&c, RST_ACK, -1, 7, NULL); /* acknowledges what was never sent: not ours */
	state_is(TCPS_SYN_SENT);
	expect_nothing(&c);
	say(&c, RST_ACK, -1, 0, NULL);
	state_is(TCPS_CLOSE);
	cr_assert_eq(c.k->err, ECONNREFUSED);
	cr_assert(c.k->v.state & CM_ST_DEAD);
	/* And once more with the same socket */
	cr_assert_eq(sim_connect(c.k, 80), -EINPROGRESS);
	cr_assert(hear(&c, &s));
	c.irs = s.h.seq;
	c.port = s.h.src;
	say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	state_is(TCPS_ESTABLISHED);
}

Test(open, simultaneous)
{
	script_syn_sent(&c);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	state_is(TCPS_SYN_RECV);
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
	state_is(TCPS_ESTABLISHED);
	(void)heard_count();
	say(&c, PSH_ACK, 0, 0, "hello");
	cr_assert_eq(sim_readable(c.k), 5);
}

/* The window of the SYN-ACK that ends it is not scaled either. */
Test(open, simultaneous_window)
{
	static const uint8_t data[5000];
	struct heard g;
	uint32_t end = 0;

	c.ws = true;
	c.scale = 8;
	c.window = 1000;
	script_syn_sent(&c);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
	state_is(TCPS_ESTABLISHED);
	cr_assert_eq(sim_send(c.k, data, sizeof(data)), sizeof(data));
	after(&c, SIM_MS);
	while (hear(&c, &g))
		end = g.h.seq + g.len - c.irs - 1;
	cr_assert_eq(end, 1000, "%u", end);
}

Test(open, syn_again_and_again)
{
	static const uint64_t waits[] = {1, 1, 1, 1, 1, 2, 4, 8, 16, 32};

	c.peer_port = 80;
	c.k = sim_socket(c.h);
	sim_connect(c.k, 80);
	cr_assert_eq(heard_count(), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(waits); i++) {
		after(&c, waits[i] * SIM_SEC - SIM_MS);
		cr_assert_eq(heard_count(), 0);
		after(&c, SIM_MS);
		cr_assert_eq(heard_count(), 1, "retry %u", i);
	}
	after(&c, 64 * SIM_SEC - SIM_MS);
	cr_assert_eq(c.k->err, 0);
	after(&c, SIM_MS);
	cr_assert_eq(c.k->err, ETIMEDOUT);
}

/* A small TCP_SYNCNT is a time, too: that of so many retries if each doubled. */
Test(open, syncnt)
{
	c.peer_port = 80;
	c.k = sim_socket(c.h);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_SYNCNT, 1), 0);
	sim_connect(c.k, 80);
	after(&c, 3 * SIM_SEC - SIM_MS);
	cr_assert_eq(heard_count(), 3);
	cr_assert_eq(c.k->err, 0);
	after(&c, SIM_MS);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	cr_assert_eq(heard_count(), 0);
}

/* One SYN that was lost says little of the path, two do. */
Test(open, first_window_after_lost_syns)
{
	static const uint32_t segments[] = {10, 10, 1};

	for (unsigned lost = 0; lost < ARRAY_SIZE(segments); lost++) {
		script_syn_sent(&c);
		after(&c, lost * SIM_SEC);
		cr_assert_eq(heard_count(), lost);
		say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
		state_is(TCPS_ESTABLISHED);
		cr_assert_eq(sim_tcb(c.k)->cwnd, segments[lost] * sim_tcb(c.k)->mss, "%u lost", lost);
		(void)heard_count();
	}
}

Test(open, synack_again)
{
	struct sim_sock *l = sim_socket(c.h);

	script_half_open(&c, l, 4);
	after(&c, 1001 * SIM_MS);
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	say(&c, TCP_F_SYN, -1, 0, NULL); /* its SYN again */
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	after(&c, 100 * SIM_SEC);
	cr_assert_eq(heard_count(), 4);
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), 0);
}

Test(open, ack_of_a_half_open_one_that_is_wrong)
{
	struct sim_sock *l = sim_socket(c.h);

	script_half_open(&c, l, 4);
	say(&c, ACK, 0, 99, NULL);
	expect(&c, TCP_F_RST, 99, 0, 0);
	cr_assert_eq(l->v.accept_ready, 0);
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 1);
}

Test(open, backlog)
{
	struct sim_sock *l = sim_socket(c.h);
	static struct heard s;

	sim_listen(l, 80, 1);
	for (unsigned i = 0; i < 3; i++) {
		c.peer_port = (uint16_t)(6000 + i);
		say(&c, TCP_F_SYN, -1, 0, NULL);
		if (i == 2)
			break;
		cr_assert(hear(&c, &s), "%u", i);
		c.irs = s.h.seq;
		say(&c, ACK, 0, 0, NULL);
	}
	expect_nothing(&c);
	cr_assert_eq(l->v.accept_ready, 2); /* backlog + 1, as in the kernel */
	sim_close(l);			    /* the children nobody took are reset */
	cr_assert_eq(heard_count(), 2);
	cr_assert_eq(state_count(c.h->s.state, KIND_SOCK), 0);
}

Test(open, data_before_accept)
{
	struct sim_sock *l = sim_socket(c.h);
	char data[16];

	script_half_open(&c, l, 1);
	say(&c, PSH_ACK, 0, 0, "early"); /* the acknowledgement that completes carries data */
	expect(&c, ACK, 0, 5, 0);
	c.k = sim_accept(l);
	cr_assert(c.k);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 5);
}

Test(open, no_port_no_listener)
{
	c.irs = 0;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	expect(&c, RST_ACK, -1, 0, 0);
	say(&c, ACK, 5, 77, NULL);
	expect(&c, TCP_F_RST, 77, 0, 0);
	say(&c, TCP_F_RST, 5, 77, NULL);
	expect_nothing(&c);
}

/* What ICMP says of a SYN-ACK: that there is no way back ends it, that nobody is there does not (nobody could be told). */
Test(open, icmp_about_a_half_open_one)
{
	struct sim_sock *l = sim_socket(c.h);

	script_half_open(&c, l, 4);
	say_icmp(&c, 1, 0, 5); /* about another segment */
	say_icmp(&c, 3, 0, -1);
	say_icmp(&c, 2, 0, -1);
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), 1);
	say_icmp(&c, 1, 0, -1);
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), 0);
}
