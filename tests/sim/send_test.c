/* Sending: when, how much, and again. */
#include "script_fixture.h"
#include <linux/tcp.h>

TestSuite(send, .init = setup_established, .fini = teardown);

Test(send, nagle)
{
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
}

/* As after 3 GB in full segments: only the low half of its offset is kept. */
Test(send, nagle_forgets_small_segments_of_long_ago)
{
	((struct tcp_rec *)(uintptr_t)sim_tcb(c.k))->snd_sml = 1u << 30;
	sim_send(c.k, "a", 1);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 1);
}

/* Set when the connection is open it changes nothing. */
Test(send, maxseg_comes_too_late)
{
	static const char data[1000];

	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_MAXSEG, 500), 0);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_TCP, TCP_MAXSEG), 1460);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, sizeof(data));
}

Test(send, cork)
{
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
}

Test(send, backoff)
{
	static const uint64_t waits[] = {200, 400, 800, 1600, 3200};
	uint64_t at;

	start_over();
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
}

Test(send, user_timeout)
{
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_USER_TIMEOUT, 3000);
	sim_send(c.k, "abc", 3);
	after(&c, 2900 * SIM_MS);
	state_is(TCPS_ESTABLISHED);
	after(&c, 200 * SIM_MS);
	state_is(TCPS_CLOSE);
	cr_assert_eq(c.k->err, ETIMEDOUT);
}

Test(send, zero_window_is_probed)
{
	start_over();
	c.window = 0;
	script_passive(&c);
	sim_send(c.k, "abc", 3);
	after(&c, SIM_MS);
	expect_nothing(&c);
	after(&c, 1100 * SIM_MS);
	expect(&c, ACK, -1, 0, 0);
	(void)heard_count();
	say(&c, ACK, 0, 0, NULL);
	after(&c, 100 * SIM_SEC);
	cr_assert_geq(heard_count(), 4);
	state_is(TCPS_ESTABLISHED);
	c.window = 1000;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, PSH_ACK, 0, 0, 3);
}

static struct tcp_info info(void)
{
	struct tcp_info i;
	uint32_t len = sizeof(i);

	cr_assert_eq(tcp_ops.getsockopt(&c.h->s, c.k->sk, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
	return i;
}

/* What TCP_INFO counts, segments and bytes, in this order: in, with data; out, with data; delivered. */
static void expect_counts(uint32_t in, uint32_t data_in, uint32_t out, uint32_t data_out, uint32_t delivered,
    uint64_t acked, uint64_t received, uint64_t sent, uint64_t again)
{
	struct tcp_info i = info();

	cr_assert_eq(i.tcpi_segs_in, in, "%u in", i.tcpi_segs_in);
	cr_assert_eq(i.tcpi_data_segs_in, data_in, "%u with data in", i.tcpi_data_segs_in);
	cr_assert_eq(i.tcpi_segs_out, out, "%u out", i.tcpi_segs_out);
	cr_assert_eq(i.tcpi_data_segs_out, data_out, "%u with data out", i.tcpi_data_segs_out);
	cr_assert_eq(i.tcpi_delivered, delivered, "%u delivered", i.tcpi_delivered);
	cr_assert_eq(i.tcpi_bytes_acked, acked);
	cr_assert_eq(i.tcpi_bytes_received, received);
	cr_assert_eq(i.tcpi_bytes_sent, sent);
	cr_assert_eq(i.tcpi_bytes_retrans, again);
}

/* The numbers are those of Linux 6.18 in the same exchange. */
Test(send, info_counts)
{
	static char data[3000];

	expect_counts(2, 0, 0, 0, 1, 0, 0, 0, 0); /* the peer's SYN and its acknowledgement */
	say(&c, PSH_ACK, 0, 0, "hello");
	expect(&c, ACK, 0, 5, 0);
	expect_counts(3, 1, 1, 0, 1, 0, 5, 0, 0);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	expect_counts(3, 1, 4, 3, 1, 0, 5, 3000, 0);
	say(&c, ACK, 5, 1460, NULL);
	expect_counts(4, 1, 4, 3, 2, 1460, 5, 3000, 0);
	sim_kill(c.h, 5 * SIM_MS);
	after(&c, 5 * SIM_MS);
	(void)heard_count();
	for (uint32_t n = 0; n < 10 && !info().tcpi_bytes_retrans; n++)
		after(&c, 50 * SIM_MS); /* the tail is probed */
	expect_counts(4, 1, 5, 4, 2, 1460, 5, 4460, 1460);
	say(&c, FIN_ACK, 5, 3000, NULL);
	expect_counts(5, 1, 6, 4, 4, 3000, 6, 4460, 1460);
	sim_shutdown(c.k, SHUT_WR);
	say(&c, ACK, 6, 3001, NULL);
}

Test(send, info_counts_of_who_connected)
{
	start_over();
	script_active(&c);
	expect_counts(1, 0, 2, 0, 1, 1, 0, 0, 0);
	cr_assert_eq(info().tcpi_max_pacing_rate, UINT64_MAX);
	cr_assert_eq(info().tcpi_min_rtt, info().tcpi_rtt);
	sim_shutdown(c.k, SHUT_WR);
	expect(&c, FIN_ACK, 0, 0, 0);
	say(&c, ACK, 0, 1, NULL);
	expect_counts(2, 0, 3, 0, 2, 2, 0, 0, 0);
}

/* As the kernel: the segment that we said we take and the packet that the path carries, whatever the peer takes. */
Test(send, info_path)
{
	start_over();
	c.mss = 1000;
	c.ts = true;
	c.ts_val = 1;
	script_passive(&c);
	cr_assert_eq(info().tcpi_snd_mss, 988);
	cr_assert_eq(info().tcpi_advmss, 1448);
	cr_assert_eq(info().tcpi_pmtu, 1500);
	start_over();
	c.k = sim_socket(c.h);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_MAXSEG, 1100);
	c.peer_port = 80;
	cr_assert_eq(sim_connect(c.k, 80), -EINPROGRESS);
	after(&c, 0);
	cr_assert_eq(info().tcpi_advmss, 1100);
}

/* Of data and of acknowledgements. */
Test(send, info_times)
{
	after(&c, 100 * SIM_MS);
	cr_assert_eq(info().tcpi_last_data_recv, 100);
	say(&c, PSH_ACK, 0, 0, "hello");
	after(&c, 50 * SIM_MS);
	sim_send(c.k, "a", 1);
	after(&c, 20 * SIM_MS);
	say(&c, ACK, 5, 1, NULL);
	after(&c, 10 * SIM_MS);
	cr_assert_eq(info().tcpi_last_data_recv, 80);
	cr_assert_eq(info().tcpi_last_ack_recv, 10);
	cr_assert_eq(info().tcpi_last_data_sent, 30);
}

/* What TCP_INFO says of the scoreboard; as long as today's kernels tell it, and shorter for who asks so. */
static void expect_info(uint32_t sacked, uint32_t lost, uint32_t retrans)
{
	struct {
		struct tcp_info i;
		char more[512];
	} v;
	uint32_t len = sizeof(v);

	cr_assert_eq(tcp_ops.getsockopt(&c.h->s, c.k->sk, IPPROTO_TCP, TCP_INFO, &v, &len), 0);
	cr_assert_eq(len, TCP_INFO_LEN);
	cr_assert_eq(v.i.tcpi_sacked, sacked, "%u sacked", v.i.tcpi_sacked);
	cr_assert_eq(v.i.tcpi_lost, lost, "%u lost", v.i.tcpi_lost);
	cr_assert_eq(v.i.tcpi_retrans, retrans, "%u sent again", v.i.tcpi_retrans);
	len = 8;
	cr_assert_eq(tcp_ops.getsockopt(&c.h->s, c.k->sk, IPPROTO_TCP, TCP_INFO, &v, &len), 0);
	cr_assert_eq(len, 8);
}

/* In milliseconds: the times in which there was something to do, and in which the peer's window stood in the way. */
static void expect_times(uint64_t busy, uint64_t shut_out)
{
	cr_assert_eq(info().tcpi_busy_time, busy * 1000, "busy %llu us", info().tcpi_busy_time);
	cr_assert_eq(info().tcpi_rwnd_limited, shut_out * 1000, "shut out %llu us", info().tcpi_rwnd_limited);
}

Test(send, how_long_a_window_was_too_small)
{
	static char data[1000];

	after(&c, 100 * SIM_MS);
	expect_times(0, 0);
	c.window = 0;
	say(&c, ACK, 0, 0, NULL);
	sim_send(c.k, data, sizeof(data));
	after(&c, 100 * SIM_MS);
	expect_times(100, 100);
	c.window = 2000;
	say(&c, ACK, 0, 0, NULL);
	expect(&c, PSH_ACK, 0, 0, 1000);
	after(&c, 30 * SIM_MS);
	expect_times(130, 100);
	c.window = 10; /* less than is worth sending */
	say(&c, ACK, 0, 1000, NULL);
	after(&c, 50 * SIM_MS);
	expect_times(130, 100);
	sim_send(c.k, data, sizeof(data));
	after(&c, 100 * SIM_MS);
	expect_nothing(&c);
	expect_times(230, 200);
	sim_kill(c.h, 5 * SIM_MS);
	after(&c, 5 * SIM_MS);
	(void)heard_count();
	expect_times(240, 210);
	c.window = 2000;
	say(&c, ACK, 0, 1000, NULL);
	expect(&c, PSH_ACK, 1000, 0, 1000);
	after(&c, 20 * SIM_MS);
	say(&c, ACK, 0, 2000, NULL);
	after(&c, 100 * SIM_MS);
	expect_times(260, 210);
	sim_send(c.k, data, sizeof(data));
	after(&c, 10 * SIM_MS);
	say(&c, RST_ACK, 0, 2000, NULL);
	after(&c, 50 * SIM_MS);
	expect_times(270, 210);
}

/* In segments, and three at the least; the path is remembered for it. */
Test(send, how_late_something_came)
{
	static char data[14600];

	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	say_sack(0, 1, &(struct sack_range){2920, 4380});
	cr_assert_eq(info().tcpi_reordering, 3);
	cr_assert_eq(info().tcpi_reord_seen, 0);
	say_sack(0, 2, (struct sack_range[]){{11680, 13140}, {2920, 4380}});
	say_sack(0, 2, (struct sack_range[]){{2920, 5840}, {11680, 13140}});
	cr_assert_eq(info().tcpi_reordering, 6);
	cr_assert_eq(info().tcpi_reord_seen, 1);
	say(&c, ACK, 0, 14600, NULL); /* the first was not lost either */
	cr_assert_eq(info().tcpi_reordering, 9);
}

Test(send, fast_retransmit_with_sack)
{
	static char data[14600];
	struct tcp_header h;

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
	expect_info(3, 1, 1);
	say(&c, ACK, 0, 14600, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
	expect_info(0, 0, 0);
	sim_send(c.k, data, 1); /* until then it may turn out that nothing was lost */
	after(&c, 0);
	expect(&c, PSH_ACK, 14600, 0, 1);
	say(&c, ACK, 0, 14601, NULL);
	cr_assert_eq(state_count(c.h->s.state, KIND_TCPX), 0);
}

Test(send, fast_retransmit_without_sack)
{
	static char data[14600];

	start_over();
	c.sack = false;
	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), 10);
	say(&c, ACK, 0, 0, NULL);
	say(&c, ACK, 0, 0, NULL);
	expect_nothing(&c);
	say(&c, ACK, 0, 0, NULL);
	expect(&c, ACK, 0, 0, 1460);
	say(&c, ACK, 0, 2920, NULL); /* partial: the next hole */
	expect(&c, ACK, 2920, 0, 1460);
	say(&c, ACK, 0, 14600, NULL);
	cr_assert_eq(sim_tcb(c.k)->ca_state, CA_OPEN);
}

/* A window that just sufficed was in use, too, whatever there is to send when its acknowledgements come. */
Test(send, a_window_that_was_filled_grows)
{
	static char data[14600];

	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), 10);
	for (int i = 1; i <= 5; i++) {
		say(&c, ACK, 0, i * 2920, NULL);
		cr_assert_eq(info().tcpi_snd_cwnd, 10u + 2 * (unsigned)i);
	}
	sim_send(c.k, data, 1460); /* half of it, and less, is not */
	after(&c, 0);
	say(&c, ACK, 0, 16060, NULL);
	cr_assert_eq(info().tcpi_snd_cwnd, 20);
}

Test(send, tail_is_probed)
{
	static char data[2920];

	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), 2);
	after(&c, 50 * SIM_MS);
	expect(&c, PSH_ACK, 1460, 0, 1460);
}

Test(send, path_mtu)
{
	static char data[2920];

	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(heard_count(), 2);
	say_icmp(&c, 4, 1000, 999999); /* about nothing that is in flight */
	expect_nothing(&c);
	say_icmp(&c, 4, 1000, 0);
	expect(&c, ACK, 0, 0, 960);
	expect(&c, ACK, 960, 0, 960);
}

/* RFC 6069: a router that knows no way takes back the last doubling; one that fails says nothing of the others. */
Test(send, unreachable_takes_back_off)
{
	start_over();
	c.sack = false; /* no tail probe */
	script_passive(&c);
	sim_send(c.k, "abc", 3);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 3);
	say_icmp(&c, 1, 0, 0); /* nothing has run out yet */
	for (int i = 0; i < 20; i++) {
		cr_assert_leq(sim_tcb(c.k)->rtx_at - c.m->now, 210 * SIM_MS);
		after(&c, sim_tcb(c.k)->rtx_at - c.m->now + 1);
		expect(&c, PSH_ACK, 0, 0, 3);
		expect_nothing(&c);
		say_icmp(&c, 3, 0, 0); /* a port: the path is there */
		say_icmp(&c, 1, 0, 1); /* another segment */
		cr_assert_eq(sim_tcb(c.k)->retries, 1);
		say_icmp(&c, 1, 0, 0);
		cr_assert_eq(sim_tcb(c.k)->retries, 0);
		expect_nothing(&c);
	}
	after(&c, sim_tcb(c.k)->rtx_at - c.m->now + 1);
	expect(&c, PSH_ACK, 0, 0, 3);
	cr_assert_geq(sim_tcb(c.k)->rtx_at - c.m->now, 400 * SIM_MS - 1);
}

/* But it does not live for ever by it. */
Test(send, unreachable_ends_in_time)
{
	uint32_t tries = 0;

	sim_send(c.k, "abc", 3);
	for (; sim_state(c.k) == TCPS_ESTABLISHED && tries < 10000; tries++) {
		after(&c, 200 * SIM_MS);
		say_icmp(&c, 1, 0, 0);
		(void)heard_count();
	}
	cr_assert(tries >= 4600 && tries < 4700, "%u", tries);
	cr_assert_eq(c.k->err, EHOSTUNREACH);
}

/* Soft: told as it comes to who asked for it (IP_RECVERR), bare acknowledgements included, and the connection goes on. */
Test(send, icmp_while_connected)
{
	say_icmp(&c, 1, 0, 0); /* nothing was sent but acknowledgements, whose number this is */
	cr_assert_eq(c.k->err, 0);
	cr_assert_eq(sim_tcb(c.k)->soft_err, EHOSTUNREACH);
	sim_setsockopt(c.k, IPPROTO_IP, IP_RECVERR, 1);
	say_icmp(&c, 1, 0, 1);
	cr_assert_eq(c.k->err, 0);
	say_icmp(&c, 1, 0, 0);
	cr_assert_eq(c.k->err, EHOSTUNREACH);
	say(&c, PSH_ACK, 0, 0, "still there");
	cr_assert_eq(sim_readable(c.k), 11);
}

Test(send, keepalive)
{
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
}

Test(send, keepalive_probes_are_answered)
{
	say(&c, ACK, -1, 0, NULL);
	expect(&c, ACK, 0, 0, 0);
}

Test(send, nodelay_lets_go_what_a_cork_holds)
{
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_CORK, 1);
	sim_send(c.k, "abc", 3);
	after(&c, 10 * SIM_MS);
	expect_nothing(&c);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NODELAY, 1);
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 3);
	sim_send(c.k, "def", 3); /* what comes after is held again */
	after(&c, 10 * SIM_MS);
	expect_nothing(&c);
}

/* As the kernel: what the writer will go on with is not pushed, even if it goes out. */
Test(send, more_to_come_is_not_pushed)
{
	sim_hint(c.k, SOCK_MORE, 0);
	sim_send(c.k, "abc", 3);
	after(&c, 0);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NODELAY, 1);
	after(&c, 0);
	expect(&c, ACK, 0, 0, 3);
	say(&c, ACK, 0, 3, NULL);
	sim_send(c.k, "de", 2);
	after(&c, 300 * SIM_MS); /* but what has waited for too long is */
	expect(&c, PSH_ACK, 3, 0, 2);
}

/* Whoever joins segments on the way up waits for a PSH. */
Test(send, super_frames_are_pushed)
{
	static char data[14600];

	teardown();
	c = script_new_with(1, REGION_F_CSUM | REGION_F_TSO4);
	script_passive(&c);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	expect(&c, PSH_ACK, 0, 0, 14600);
	/* The first five are lost; five have arrived, so they may go out as one, too. */
	say_sack(0, 1, &(struct sack_range){7300, 14600});
	expect(&c, PSH_ACK, 0, 0, 7300);
	expect_nothing(&c);
}

/* TCP_NOTSENT_LOWAT: the last buffer is filled, and that is as long as a super-frame, and half of the largest window. */
Test(send, how_much_may_be_unsent)
{
	start_over();
	c.window = 32896;
	script_passive(&c);
	cr_assert_eq(c.k->v.notsent_most, 0);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4000);
	cr_assert_eq(c.k->v.notsent_lowat, 4000);
	cr_assert_eq(c.k->v.notsent_most, 16448 / 1460 * 1460);
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16061);
	cr_assert_eq(c.k->v.notsent_most, 2 * (16448 / 1460 * 1460));
	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0);
	cr_assert_eq(c.k->v.notsent_most, 0);
}

/* ... and its client hears at once of what went out. */
Test(send, what_was_sent_is_told)
{
	static const char data[20000];

	sim_setsockopt(c.k, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4000);
	sim_send(c.k, data, sizeof(data));
	after(&c, 0);
	cr_assert_eq(c.k->v.tx_head, 0);
	cr_assert_eq(c.k->v.tx_sent, 14600);
	say(&c, ACK, 0, 1460, NULL);
	cr_assert_eq(c.k->v.tx_sent, 17520);
}
