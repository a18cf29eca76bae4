/*
 * Explicit congestion notification: who agrees to it with whom, what is marked, and what a mark does.
 * The round trip takes RTT, and ten segments are in flight.
 */
#include "script_fixture.h"
#include <linux/tcp.h>

#define RTT  (100 * SIM_MS)
#define MSS  1460u
#define SEGS 10u
#define ASKS (TCP_F_SYN | TCP_F_ECE | TCP_F_CWR)
#define ECT0 2
#define CE   3

TestSuite(ecn, .init = setup_new, .fini = teardown);

static struct heard last;

static void must_hear(void)
{
	cr_assert(hear(&c, &last), "nothing was sent");
}

/* The host's answer to a SYN with these flags, in an IP packet with this mark. */
static uint8_t answer_to(uint8_t flags, uint8_t tos)
{
	struct sim_sock *l = sim_socket(c.h);

	cr_assert_eq(sim_listen(l, 80, 8), 0);
	c.tos = tos;
	say(&c, flags, -1, 0, NULL);
	c.tos = 0;
	must_hear();
	c.irs = last.h.seq;
	cr_assert_eq(last.tos & 3, 0, "a SYN-ACK is never marked");
	after(&c, RTT);
	say(&c, ACK, 0, 0, NULL);
	c.k = sim_accept(l);
	cr_assert(c.k);
	return last.h.flags;
}

static void send_segments(unsigned n)
{
	static char data[SEGS * MSS];

	sim_send(c.k, data, n * MSS);
	after(&c, 0);
}

static bool agreed(void)
{
	return sim_tcb(c.k)->flags & TCB_ECN;
}

/* ---- agreeing */

Test(ecn, who_asks_is_answered_and_new_data_is_marked)
{
	cr_assert_eq(answer_to(ASKS, 0), TCP_F_SYN | TCP_F_ACK | TCP_F_ECE);
	cr_assert(agreed());
	send_segments(1);
	must_hear();
	cr_assert_eq(last.tos & 3, ECT0);
	cr_assert_eq(last.h.flags, PSH_ACK);
	after(&c, SIM_SEC); /* tail probe or timeout: what is sent again is not marked */
	must_hear();
	cr_assert_eq(last.len, MSS);
	cr_assert_eq(last.tos & 3, 0);
	(void)heard_count();
	say(&c, PSH_ACK, 0, MSS, "abc");
	must_hear();
	cr_assert_eq(last.len, 0);
	cr_assert_eq(last.tos & 3, 0, "nor is an acknowledgement");
}

Test(ecn, who_does_not_ask_is_not)
{
	cr_assert_eq(answer_to(TCP_F_SYN, 0), TCP_F_SYN | TCP_F_ACK);
	send_segments(1);
	must_hear();
	cr_assert_eq(last.tos, 0);
	start_over();
	cr_assert_eq(answer_to(TCP_F_SYN | TCP_F_ECE, 0), TCP_F_SYN | TCP_F_ACK);
	start_over();
	cr_assert_eq(answer_to(ASKS, ECT0), TCP_F_SYN | TCP_F_ACK, "a SYN must not be marked: something on the way does that");
	cr_assert_not(agreed());
}

Test(ecn, nobody_is_answered_where_it_is_off)
{
	c.h->s.ecn = STACK_ECN_OFF;
	cr_assert_eq(answer_to(ASKS, 0), TCP_F_SYN | TCP_F_ACK);
	cr_assert_not(agreed());
}

/* Our SYN's flags; and what we believe once it is answered so, after so many that were lost. */
static bool asking(uint8_t answer, unsigned lost)
{
	c.h->s.ecn = STACK_ECN_ON;
	c.peer_port = 80;
	c.k = sim_socket(c.h);
	cr_assert_eq(sim_connect(c.k, 80), -EINPROGRESS);
	after(&c, 0);
	must_hear();
	cr_assert_eq(last.h.flags, ASKS);
	cr_assert_eq(last.tos & 3, 0);
	for (; lost; lost--) {
		after(&c, SIM_SEC);
		must_hear();
		cr_assert_eq(last.h.flags, TCP_F_SYN, "a SYN that is repeated does not ask");
	}
	c.irs = last.h.seq;
	c.port = last.h.src;
	say(&c, answer, -1, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
	return agreed();
}

Test(ecn, we_ask_where_it_is_on)
{
	cr_assert(asking(TCP_F_SYN | TCP_F_ACK | TCP_F_ECE, 0));
	start_over();
	cr_assert_not(asking(TCP_F_SYN | TCP_F_ACK, 0));
	start_over();
	cr_assert_not(asking(TCP_F_SYN | TCP_F_ACK | TCP_F_ECE | TCP_F_CWR, 0), "it sends back whatever we sent");
	start_over();
	cr_assert_not(asking(TCP_F_SYN | TCP_F_ACK | TCP_F_ECE, 1), "nothing was asked");
}

/* ---- as a receiver */

static uint8_t ack_of(uint8_t flags, uint8_t tos, int64_t seq)
{
	c.tos = tos;
	say(&c, flags, seq, 0, "0123456789");
	c.tos = 0;
	must_hear();
	cr_assert_eq(last.len, 0);
	cr_assert_eq(last.h.ack - c.iss - 1, (uint32_t)seq + 10);
	return last.h.flags;
}

Test(ecn, a_mark_is_echoed_until_the_peer_has_heard_and_beyond_a_death)
{
	uint8_t buf[TCP_INFO_LEN];
	struct tcp_info info;

	answer_to(ASKS, 0);
	cr_assert_eq(ack_of(PSH_ACK, 0, 0), ACK);
	cr_assert_eq(ack_of(PSH_ACK, ECT0, 10), ACK);
	cr_assert_eq(ack_of(PSH_ACK, CE, 20), ACK | TCP_F_ECE);
	cr_assert_eq(c.h->s.count.tcp_ce, 1);
	sim_kill(c.h, SIM_MS);
	(void)heard_count();
	cr_assert_eq(ack_of(PSH_ACK, ECT0, 30), ACK | TCP_F_ECE);
	cr_assert_eq(ack_of(PSH_ACK | TCP_F_CWR, CE, 40), ACK | TCP_F_ECE, "the next mark is another one");
	cr_assert_eq(ack_of(PSH_ACK | TCP_F_CWR, ECT0, 50), ACK);
	tcp_fill_info(&c.h->s, c.k->sk, buf);
	memcpy(&info, buf, sizeof(info));
	cr_assert_eq(info.tcpi_options & (TCPI_OPT_ECN | TCPI_OPT_ECN_SEEN), TCPI_OPT_ECN | TCPI_OPT_ECN_SEEN);
}

Test(ecn, a_mark_means_nothing_where_it_was_not_agreed_upon)
{
	answer_to(TCP_F_SYN, 0);
	cr_assert_eq(ack_of(PSH_ACK, CE, 0), ACK);
	cr_assert_eq(ack_of(PSH_ACK | TCP_F_CWR, 0, 10), ACK);
	send_segments(SEGS);
	(void)heard_count();
	say(&c, ACK | TCP_F_ECE, 20, MSS, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
}

/* ---- as a sender */

/* The first echo, one segment acknowledged; the window that it leaves in the end. */
static uint32_t echo(void)
{
	say(&c, ACK | TCP_F_ECE, 0, MSS, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_CWR);
	cr_assert_eq(sim_tcb(c.k)->ssthresh, SEGS * MSS / 10 * 7);
	return sim_tcb(c.k)->ssthresh;
}

static void ten_in_flight(void)
{
	answer_to(ASKS, 0);
	send_segments(SEGS);
	cr_assert_eq(heard_count(), SEGS);
	after(&c, RTT);
	(void)heard_count();
}

Test(ecn, an_echo_reduces_the_window_once_a_round_trip_and_is_answered)
{
	unsigned cwr = 0;
	uint32_t goal;

	ten_in_flight();
	goal = echo();
	send_segments(SEGS);
	for (unsigned i = 2; i <= SEGS; i++) {
		say(&c, ACK | TCP_F_ECE, 0, i * MSS, NULL);
		cr_assert_eq(sim_tcb(c.k)->ssthresh, goal, "once");
		while (hear(&c, &last)) {
			cr_assert_eq(last.tos & 3, ECT0);
			cwr += !!(last.h.flags & TCP_F_CWR);
			cr_assert(cwr, "the first new segment says so");
		}
	}
	cr_assert_eq(cwr, 1, "and only that one");
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_CWR, "all of that had been sent before");
	say(&c, ACK, 0, (SEGS + 1) * MSS, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
	cr_assert_eq(sim_tcb(c.k)->cwnd, goal);
	cr_assert_eq(sim_tcb(c.k)->total_retrans, 0);
}

Test(ecn, a_reduction_goes_on_in_the_successor)
{
	ten_in_flight();
	(void)echo();
	sim_kill(c.h, SIM_MS);
	(void)heard_count();
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_CWR);
	say(&c, ACK, 0, SEGS * MSS, NULL);
	send_segments(2);
	must_hear();
	cr_assert(last.h.flags & TCP_F_CWR);
	say(&c, ACK, 0, (SEGS + 2) * MSS, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
}

Test(ecn, a_loss_in_it_is_sent_again_and_costs_no_second_time)
{
	uint32_t goal;

	ten_in_flight();
	goal = echo();
	say_sack(MSS, 1, &(struct sack_range){3 * MSS, 6 * MSS});
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_RECOVERY);
	cr_assert_eq(sim_tcb(c.k)->ssthresh, goal);
	must_hear();
	cr_assert_eq(last.h.seq - c.irs - 1, MSS);
	cr_assert_eq(last.tos & 3, 0);
	cr_assert_not(last.h.flags & TCP_F_CWR);
	say(&c, ACK, 0, SEGS * MSS, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
}

Test(ecn, a_loss_is_told_as_a_reduction_too)
{
	ten_in_flight();
	say_sack(0, 1, &(struct sack_range){MSS, 4 * MSS});
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_RECOVERY);
	(void)heard_count();
	say(&c, ACK, 0, SEGS * MSS, NULL);
	send_segments(1);
	must_hear();
	cr_assert_eq(last.h.flags, PSH_ACK | TCP_F_CWR);
}
