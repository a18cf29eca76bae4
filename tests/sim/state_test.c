/* The state machine and its rules, segment by segment against a script. */
#include "script.h"
#include <netinet/tcp.h>
#include <stdlib.h>

#define ACK	TCP_F_ACK
#define PSH_ACK (TCP_F_PSH | TCP_F_ACK)
#define FIN_ACK (TCP_F_FIN | TCP_F_ACK)
#define RST_ACK (TCP_F_RST | TCP_F_ACK)

static void state_is(struct script *c, enum tcp_state want)
{
	cr_assert_eq(sim_state(c->k), want, "state %d, not %d", (int)sim_state(c->k), (int)want);
}

static uint32_t heard_nothing_or(struct script *c)
{
	struct heard *s = malloc(sizeof(*s));
	uint32_t n = 0;

	while (s && hear(c, s))
		n++;
	free(s);
	return n;
}

/* ---- the diagram as a function */

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

/* ---- opening */

Test(open, active)
{
	struct script c = script_new(1);

	script_active(&c);
	cr_assert(c.k->v.state & CM_ST_CONNECTED);
	script_free(&c);
}

Test(open, passive)
{
	struct script c = script_new(2);

	script_passive(&c);
	state_is(&c, TCPS_ESTABLISHED);
	script_free(&c);
}

Test(open, refused)
{
	struct script c = script_new(3);
	struct heard *s = malloc(sizeof(*s));

	c.peer_port = 80;
	c.k = sim_socket(c.h);
	sim_connect(c.k, 80);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	c.port = s->h.src;
	say(&c, RST_ACK, -1, 7, NULL); /* acknowledges what was never sent: not ours */
	state_is(&c, TCPS_SYN_SENT);
	expect_nothing(&c);
	say(&c, RST_ACK, -1, 0, NULL);
	state_is(&c, TCPS_CLOSE);
	cr_assert_eq(c.k->err, ECONNREFUSED);
	cr_assert(c.k->v.state & CM_ST_DEAD);
	/* And once more with the same socket */
	cr_assert_eq(sim_connect(c.k, 80), -EINPROGRESS);
	cr_assert(hear(&c, s));
	c.irs = s->h.seq;
	c.port = s->h.src;
	say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	state_is(&c, TCPS_ESTABLISHED);
	free(s);
	script_free(&c);
}

Test(open, simultaneous)
{
	struct script c = script_new(4);
	struct heard *s = malloc(sizeof(*s));

	c.peer_port = 80;
	c.k = sim_socket(c.h);
	sim_connect(c.k, 80);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	c.port = s->h.src;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	state_is(&c, TCPS_SYN_RECV);
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	say(&c, TCP_F_SYN | ACK, -1, 0, NULL);
	state_is(&c, TCPS_ESTABLISHED);
	(void)heard_nothing_or(&c);
	say(&c, PSH_ACK, 0, 0, "hello");
	cr_assert_eq(sim_readable(c.k), 5);
	free(s);
	script_free(&c);
}

Test(open, syn_again_and_again)
{
	static const uint64_t waits[] = {1, 2, 4, 8, 16, 32, 64};
	struct script c = script_new(5);

	c.peer_port = 80;
	c.k = sim_socket(c.h);
	sim_connect(c.k, 80);
	cr_assert_eq(heard_nothing_or(&c), 1);
	for (unsigned i = 0; i < 6; i++) {
		after(&c, waits[i] * SIM_SEC - SIM_MS);
		cr_assert_eq(heard_nothing_or(&c), 0);
		after(&c, SIM_MS);
		cr_assert_eq(heard_nothing_or(&c), 1, "retry %u", i);
	}
	after(&c, 65 * SIM_SEC);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	script_free(&c);
}

Test(open, synack_again)
{
	struct script c = script_new(6);
	struct sim_sock *l = sim_socket(c.h);
	struct heard *s = malloc(sizeof(*s));

	sim_listen(l, 80, 4);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	after(&c, 1001 * SIM_MS);
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	say(&c, TCP_F_SYN, -1, 0, NULL); /* its SYN again */
	expect(&c, TCP_F_SYN | ACK, -1, 0, 0);
	after(&c, 100 * SIM_SEC);
	cr_assert_eq(heard_nothing_or(&c), 4);
	cr_assert_eq(state_count(c.h->s.state, KIND_SYNRCV), 0);
	free(s);
	script_free(&c);
}

Test(open, ack_of_a_half_open_one_that_is_wrong)
{
	struct script c = script_new(7);
	struct sim_sock *l = sim_socket(c.h);
	struct heard *s = malloc(sizeof(*s));

	sim_listen(l, 80, 4);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	say(&c, ACK, 0, 99, NULL);
	expect(&c, TCP_F_RST, 99, 0, 0);
	cr_assert_eq(l->v.accept_ready, 0);
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 1);
	free(s);
	script_free(&c);
}

Test(open, backlog)
{
	struct script c = script_new(8);
	struct sim_sock *l = sim_socket(c.h);
	struct heard *s = malloc(sizeof(*s));

	sim_listen(l, 80, 1);
	for (unsigned i = 0; i < 3; i++) {
		c.peer_port = (uint16_t)(6000 + i);
		say(&c, TCP_F_SYN, -1, 0, NULL);
		if (i == 2)
			break;
		cr_assert(s && hear(&c, s), "%u", i);
		c.irs = s->h.seq;
		say(&c, ACK, 0, 0, NULL);
	}
	expect_nothing(&c);
	cr_assert_eq(l->v.accept_ready, 2); /* backlog + 1, as in the kernel */
	sim_close(l);			    /* the children nobody took are reset */
	cr_assert_eq(heard_nothing_or(&c), 2);
	cr_assert_eq(state_count(c.h->s.state, KIND_SOCK), 0);
	free(s);
	script_free(&c);
}

Test(open, data_before_accept)
{
	struct script c = script_new(9);
	struct sim_sock *l = sim_socket(c.h);
	struct heard *s = malloc(sizeof(*s));
	char data[16];

	sim_listen(l, 80, 1);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	say(&c, PSH_ACK, 0, 0, "early"); /* the acknowledgement that completes carries data */
	expect(&c, ACK, 0, 5, 0);
	c.k = sim_accept(l);
	cr_assert(c.k);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 5);
	free(s);
	script_free(&c);
}

Test(open, no_port_no_listener)
{
	struct script c = script_new(10);

	c.irs = 0;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	expect(&c, RST_ACK, -1, 0, 0);
	say(&c, ACK, 5, 77, NULL);
	expect(&c, TCP_F_RST, 77, 0, 0);
	say(&c, TCP_F_RST, 5, 77, NULL);
	expect_nothing(&c);
	script_free(&c);
}

/* ---- closing */

Test(closing, we_first)
{
	struct script c = script_new(20);

	script_passive(&c);
	sim_shutdown(c.k, SHUT_WR);
	expect(&c, FIN_ACK, 0, 0, 0);
	state_is(&c, TCPS_FIN_WAIT1);
	say(&c, ACK, 0, 1, NULL);
	state_is(&c, TCPS_FIN_WAIT2);
	say(&c, PSH_ACK, 0, 1, "more"); /* the other direction is open */
	cr_assert_eq(sim_readable(c.k), 4);
	(void)heard_nothing_or(&c);
	say(&c, FIN_ACK, 4, 1, NULL);
	expect(&c, ACK, 1, 5, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	cr_assert(c.k->v.state & CM_ST_HUP);
	say(&c, FIN_ACK, 4, 1, NULL); /* its FIN again */
	expect(&c, ACK, 1, 5, 0);
	after(&c, 61 * SIM_SEC);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
	script_free(&c);
}

Test(closing, they_first)
{
	struct script c = script_new(21);

	script_passive(&c);
	say(&c, FIN_ACK, 0, 0, NULL);
	expect(&c, ACK, 0, 1, 0);
	state_is(&c, TCPS_CLOSE_WAIT);
	cr_assert(c.k->v.state & CM_ST_RX_EOF);
	sim_send(c.k, "bye", 3);
	sim_close(c.k);
	expect(&c, FIN_ACK | TCP_F_PSH, 0, 1, 3);
	state_is(&c, TCPS_LAST_ACK);
	say(&c, ACK, 1, 4, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
	script_free(&c);
}

Test(closing, simultaneous)
{
	struct script c = script_new(22);

	script_passive(&c);
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, FIN_ACK, 0, 0, NULL);
	expect(&c, ACK, 1, 1, 0);
	state_is(&c, TCPS_CLOSING);
	say(&c, ACK, 1, 1, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	script_free(&c);
}

Test(closing, orphan_in_fin_wait2)
{
	struct script c = script_new(23);

	script_passive(&c);
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, ACK, 0, 1, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 1);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1); /* the listener: no rings are held */
	say(&c, FIN_ACK, 0, 1, NULL);
	expect(&c, ACK, 1, 1, 0);
	script_free(&c);
}

Test(closing, data_for_an_orphan)
{
	struct script c = script_new(24);

	script_passive(&c);
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, PSH_ACK, 0, 0, "too late");
	expect(&c, RST_ACK, 1, 0, 0);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCP), 1);
	script_free(&c);
}

Test(closing, unread_input_resets)
{
	struct script c = script_new(25);

	script_passive(&c);
	say(&c, PSH_ACK, 0, 0, "unread");
	expect(&c, ACK, 0, 6, 0);
	sim_close(c.k);
	expect(&c, RST_ACK, 0, 6, 0);
	script_free(&c);
}

Test(closing, killed_owner_delivers_what_it_wrote)
{
	struct script c = script_new(26);

	script_passive(&c);
	sim_send(c.k, "last words", 10);
	sim_die(c.k);
	expect(&c, FIN_ACK | TCP_F_PSH, 0, 0, 10);
	script_free(&c);
}

Test(closing, linger_zero)
{
	struct script c = script_new(27);

	script_passive(&c);
	sock_get(&c.h->s, c.k->sk)->flags |= SOCK_F_LINGER;
	sim_close(c.k);
	expect(&c, RST_ACK, 0, 0, 0);
	script_free(&c);
}

Test(closing, fin_out_of_order)
{
	struct script c = script_new(28);

	script_passive(&c);
	say(&c, FIN_ACK, 3, 0, "def");
	expect(&c, ACK, 0, 0, 0);
	(void)heard_nothing_or(&c);
	say(&c, ACK, 0, 0, "abc");
	expect(&c, ACK, 0, 7, 0);
	state_is(&c, TCPS_CLOSE_WAIT);
	cr_assert_eq(sim_readable(c.k), 6);
	script_free(&c);
}

Test(closing, syn_opens_anew_out_of_time_wait)
{
	struct script c = script_new(29);
	struct heard *s = malloc(sizeof(*s));

	script_passive(&c);
	sim_close(c.k);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, FIN_ACK, 0, 1, NULL);
	expect(&c, ACK, 1, 1, 0);
	c.iss += 100000;
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(s && hear(&c, s));
	cr_assert_eq(s->h.flags, TCP_F_SYN | ACK);
	cr_assert(seq_after(s->h.seq, c.irs + 65000));
	cr_assert_eq(state_count(c.h->s.state, KIND_TIMEWAIT), 0);
	free(s);
	script_free(&c);
}

/* ---- what a stranger may not do: RFC 5961 */

Test(rfc5961, rst)
{
	struct script c = script_new(40);

	script_passive(&c);
	say(&c, TCP_F_RST, 100, 0, NULL); /* in the window, but not exact */
	expect(&c, ACK, 0, 0, 0);
	state_is(&c, TCPS_ESTABLISHED);
	say(&c, TCP_F_RST, 200, 0, NULL); /* and not more than two answers a second */
	expect_nothing(&c);
	say(&c, TCP_F_RST, 1000000, 0, NULL);
	expect_nothing(&c);
	say(&c, TCP_F_RST, 0, 0, NULL);
	state_is(&c, TCPS_CLOSE);
	cr_assert_eq(c.k->err, ECONNRESET);
	script_free(&c);
}

Test(rfc5961, syn)
{
	struct script c = script_new(41);

	script_passive(&c);
	say(&c, TCP_F_SYN, 100, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	state_is(&c, TCPS_ESTABLISHED);
	script_free(&c);
}

Test(rfc5961, ack)
{
	struct script c = script_new(42);

	script_passive(&c);
	say(&c, PSH_ACK, 0, 50, "inject"); /* acknowledges what was not sent */
	expect(&c, ACK, 0, 0, 0);
	cr_assert_eq(sim_readable(c.k), 0);
	say(&c, PSH_ACK, 0, -100000, "inject");
	cr_assert_eq(sim_readable(c.k), 0);
	script_free(&c);
}

Test(rfc5961, paws)
{
	struct script c = script_new(43);

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
	script_free(&c);
}

Test(receive, checksum)
{
	struct script c = script_new(44);
	char data[16];

	script_passive(&c);
	say_corrupt(&c, PSH_ACK, 0, 0, "wrong"); /* in order */
	say_corrupt(&c, PSH_ACK, 5, 0, "wrong"); /* and out of order */
	expect_nothing(&c);
	cr_assert_eq(sim_readable(c.k), 0);
	cr_assert_eq(c.h->s.count.tcp_bad, 2);
	say(&c, PSH_ACK, 0, 0, "right");
	expect(&c, ACK, 0, 5, 0);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 5);
	cr_assert(!memcmp(data, "right", 5));
	script_free(&c);
}

/* ---- receiving */

Test(receive, out_of_order)
{
	struct script c = script_new(60);
	struct heard *s = malloc(sizeof(*s));
	char data[16];

	script_passive(&c);
	say(&c, PSH_ACK, 3, 0, "def");
	cr_assert(s && hear(&c, s));
	cr_assert_eq(s->h.n_sack, 1);
	cr_assert_eq(s->h.sack[0].start, c.iss + 1 + 3);
	cr_assert_eq(s->h.sack[0].end, c.iss + 1 + 6);
	say(&c, PSH_ACK, 9, 0, "jkl");
	cr_assert(hear(&c, s));
	cr_assert_eq(s->h.n_sack, 2);
	cr_assert_eq(s->h.sack[0].start, c.iss + 1 + 9); /* the newest first */
	say(&c, PSH_ACK, 0, 0, "abc");
	expect(&c, ACK, 0, 6, 0);
	say(&c, PSH_ACK, 4, 0, "XXghi"); /* overlap: what is there stays */
	expect(&c, ACK, 0, 12, 0);
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 12);
	cr_assert(!memcmp(data, "abcdefghijkl", 12));
	free(s);
	script_free(&c);
}

Test(receive, committed_intervals_are_not_written_again)
{
	struct script c = script_new(61);
	char data[16];

	script_passive(&c);
	say(&c, PSH_ACK, 3, 0, "def");
	say(&c, PSH_ACK, 2, 0, "cXXXg");
	say(&c, PSH_ACK, 0, 0, "ab");
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 7);
	cr_assert(!memcmp(data, "abcdefg", 7));
	script_free(&c);
}

Test(receive, more_holes_than_intervals)
{
	struct script c = script_new(62);
	char data[64];

	script_passive(&c);
	for (int i = 0; i < 20; i++)
		say(&c, PSH_ACK, 2 * i + 1, 0, "b");
	cr_assert_eq(c.h->s.count.tcp_ooo_full, 4);
	for (int i = 0; i < 20; i++)
		say(&c, PSH_ACK, 2 * i, 0, "a");
	(void)heard_nothing_or(&c);
	/* The last four were dropped and never acknowledged: 16 pairs, one more byte, the rest is
	 * to come again. */
	cr_assert_eq(sim_tcb(c.k)->rcv_nxt, 33);
	for (int i = 16; i < 20; i++)
		say(&c, PSH_ACK, 2 * i + 1, 0, "b");
	cr_assert_eq(sim_recv(c.k, data, sizeof(data)), 40);
	for (int i = 0; i < 40; i++)
		cr_assert_eq(data[i], i & 1 ? 'b' : 'a');
	script_free(&c);
}

Test(receive, window_closes_and_opens)
{
	struct script c = script_new(63);
	struct heard *s = malloc(sizeof(*s));
	static char big[1461], sink[100000];
	uint32_t sent = 0;

	memset(big, 'x', 1460);
	script_passive(&c);
	while (sent + 1460 <= 65535) {
		say(&c, ACK, sent, 0, big);
		sent += 1460;
	}
	big[65535 - sent] = 0;
	say(&c, PSH_ACK, sent, 0, big);
	after(&c, 41 * SIM_MS);
	while (s && hear(&c, s))
		;
	cr_assert_eq(s->h.ack, c.iss + 1 + 65535);
	cr_assert_leq(s->h.window, 1);
	say(&c, PSH_ACK, 65535, 0, "y"); /* a probe of one byte */
	cr_assert(hear(&c, s));
	cr_assert_leq(s->h.ack, c.iss + 1 + 65536);
	sim_recv(c.k, sink, 100);
	after(&c, SIM_MS);
	expect_nothing(&c); /* no silly window */
	sim_recv(c.k, sink, sizeof(sink));
	after(&c, SIM_MS);
	cr_assert(hear(&c, s));
	cr_assert_gt(s->h.window, 60000);
	free(s);
	script_free(&c);
}

Test(receive, delayed_acknowledgement)
{
	struct script c = script_new(64);
	static char full[1461];

	memset(full, 'x', 1460);
	script_passive(&c);
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
	script_free(&c);
}

/* ---- sending */

Test(send, nagle)
{
	struct script c = script_new(80);

	script_passive(&c);
	sim_send(c.k, "a", 1);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 1);
	sim_send(c.k, "b", 1);
	after(&c, 0);
	sim_send(c.k, "c", 1);
	after(&c, 0);
	expect_nothing(&c);
	say(&c, ACK, 0, 1, NULL);
	expect(&c, PSH_ACK, 1, 0, 2);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NODELAY, 1);
	sim_send(c.k, "d", 1);
	after(&c, 0);
	expect(&c, PSH_ACK, 3, 0, 1);
	script_free(&c);
}

Test(send, cork)
{
	struct script c = script_new(81);

	script_passive(&c);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_CORK, 1);
	sim_send(c.k, "abc", 3);
	after(&c, 100 * SIM_MS);
	expect_nothing(&c);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_CORK, 0);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 3);
	say(&c, ACK, 0, 3, NULL);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_CORK, 1);
	sim_send(c.k, "def", 3);
	after(&c, 1100 * SIM_MS); /* it does not stay for ever */
	expect(&c, PSH_ACK, 3, 0, 3);
	script_free(&c);
}

Test(send, backoff)
{
	static const uint64_t waits[] = {200, 400, 800, 1600, 3200};
	struct script c = script_new(82);
	uint64_t at;

	c.sack = false; /* no tail probe */
	script_passive(&c);
	sim_send(c.k, "abc", 3);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 3);
	for (unsigned i = 0; i < ARRAY_SIZE(waits); i++) {
		at = sim_tcb(c.k)->rtx_at - c.m->now;
		cr_assert_geq(at, waits[i] * SIM_MS);
		after(&c, at - 1);
		expect_nothing(&c);
		after(&c, 2);
		expect(&c, PSH_ACK, 0, 0, 3);
	}
	after(&c, 3000 * SIM_SEC);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	script_free(&c);
}

Test(send, user_timeout)
{
	struct script c = script_new(83);

	script_passive(&c);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_USER_TIMEOUT, 3000);
	sim_send(c.k, "abc", 3);
	after(&c, 2900 * SIM_MS);
	state_is(&c, TCPS_ESTABLISHED);
	after(&c, 200 * SIM_MS);
	state_is(&c, TCPS_CLOSE);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	script_free(&c);
}

Test(send, zero_window_is_probed)
{
	struct script c = script_new(84);

	c.window = 0;
	script_passive(&c);
	sim_send(c.k, "abc", 3);
	after(&c, SIM_MS);
	expect_nothing(&c);
	after(&c, 1100 * SIM_MS);
	expect(&c, ACK, -1, 0, 0);
	(void)heard_nothing_or(&c);
	say(&c, ACK, 0, 0, NULL);
	after(&c, 100 * SIM_SEC);
	cr_assert_geq(heard_nothing_or(&c), 4);
	state_is(&c, TCPS_ESTABLISHED);
	c.window = 1000;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, PSH_ACK, 0, 0, 3);
	script_free(&c);
}

Test(send, fast_retransmit_with_sack)
{
	struct script c = script_new(85);
	static char data[14600];
	struct tcp_header h;

	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	for (int i = 0; i < 10; i++)
		expect(&c, i == 9 ? PSH_ACK : ACK, i * 1460, 0, 1460);
	for (int i = 1; i <= 3; i++) {
		h = script_header(&c, ACK, 0, 0);
		h.n_sack = 1;
		h.sack[0] =
		    (struct tcp_sack_block){c.irs + 1 + 1460, c.irs + 1 + 1460 * (uint32_t)(i + 1)};
		say_header(&c, h, NULL, 0);
	}
	expect(&c, ACK, 0, 0, 1460);
	expect_nothing(&c);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_RECOVERY);
	say(&c, ACK, 0, 14600, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCPX), 0);
	script_free(&c);
}

Test(send, fast_retransmit_without_sack)
{
	struct script c = script_new(86);
	static char data[14600];

	c.sack = false;
	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_nothing_or(&c), 10);
	say(&c, ACK, 0, 0, NULL);
	say(&c, ACK, 0, 0, NULL);
	expect_nothing(&c);
	say(&c, ACK, 0, 0, NULL);
	expect(&c, ACK, 0, 0, 1460);
	say(&c, ACK, 0, 2920, NULL); /* partial: the next hole */
	expect(&c, ACK, 2920, 0, 1460);
	say(&c, ACK, 0, 14600, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
	script_free(&c);
}

Test(send, tail_is_probed)
{
	struct script c = script_new(87);
	static char data[2920];

	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_nothing_or(&c), 2);
	after(&c, 50 * SIM_MS);
	expect(&c, PSH_ACK, 1460, 0, 1460);
	script_free(&c);
}

Test(send, path_mtu)
{
	struct script c = script_new(88);
	static char data[2920];

	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_nothing_or(&c), 2);
	say_icmp(&c, 4, 1000, 999999); /* about nothing that is in flight */
	expect_nothing(&c);
	say_icmp(&c, 4, 1000, 0);
	expect(&c, ACK, 0, 0, 960);
	expect(&c, ACK, 960, 0, 960);
	script_free(&c);
}

Test(send, keepalive)
{
	struct script c = script_new(89);

	script_passive(&c);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_KEEPIDLE, 10);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_KEEPINTVL, 2);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_KEEPCNT, 3);
	sim_setsockopt(c.k, SOL_SOCKET, SO_KEEPALIVE, 1);
	after(&c, 10500 * SIM_MS);
	expect(&c, ACK, -1, 0, 0);
	say(&c, ACK, 0, 0, NULL);
	after(&c, 9 * SIM_SEC);
	expect_nothing(&c);
	after(&c, 1100 * SIM_MS);
	expect(&c, ACK, -1, 0, 0);
	after(&c, 2 * SIM_SEC);
	expect(&c, ACK, -1, 0, 0);
	after(&c, 2 * SIM_SEC);
	expect(&c, ACK, -1, 0, 0);
	after(&c, 2 * SIM_SEC);
	expect(&c, RST_ACK, 0, 0, 0);
	cr_assert_eq(c.k->err, ETIMEDOUT);
	script_free(&c);
}

Test(send, keepalive_probes_are_answered)
{
	struct script c = script_new(90);

	script_passive(&c);
	say(&c, ACK, -1, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	script_free(&c);
}

/* ---- clients */

Test(client, lies)
{
	struct script c = script_new(100);

	script_passive(&c);
	say(&c, PSH_ACK, 0, 0, "hello");
	cr_assert_eq(sim_lie(c.k, 6, 0), -EPROTO);
	cr_assert_eq(sim_lie(c.k, 5, 70000), -EPROTO);
	cr_assert_eq(sim_lie(c.k, 5, 0), 0);
	cr_assert_eq(sim_lie(c.k, 4, 0), -EPROTO);
	script_free(&c);
}

Test(client, options)
{
	struct script c = script_new(101);

	script_active(&c);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_TCP, TCP_NODELAY), 1);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_KEEPCNT, 0), -EINVAL);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_MD5SIG, 1), -ENOPROTOOPT);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_TCP, TCP_MAXSEG), 1460);
	script_free(&c);
}

Test(client, connected_twice)
{
	struct script c = script_new(102);

	script_active(&c);
	cr_assert_eq(sim_connect(c.k, 80), -EISCONN);
	cr_assert_eq(sim_listen(c.k, 0, 1), -EINVAL);
	script_free(&c);
}

Test(client, defer_accept)
{
	struct script c = script_new(103);
	struct sim_sock *l = sim_socket(c.h);
	struct heard *s = malloc(sizeof(*s));

	cr_assert_eq(sim_setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5), 0);
	sim_listen(l, 80, 4);
	say(&c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(s && hear(&c, s));
	c.irs = s->h.seq;
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 0);
	say(&c, PSH_ACK, 0, 0, "GET");
	cr_assert_eq(l->v.accept_ready, 1);
	free(s);
	script_free(&c);
}
