/* Byte streams between two stacks: loss, buffers, reordering, all with fixed seeds. */
#include "sim.h"
#include <netinet/tcp.h>

static void both_ways(struct sim *m, uint64_t len, uint64_t ns)
{
	struct sim_pair p = established_pair(m);
	struct sim_flow f[2] = {{.from = p.client, .to = p.server, .id = 1, .len = len},
	    {.from = p.server, .to = p.client, .id = 2, .len = len}};

	cr_assert(sim_flows(m, f, 2, ns), "stuck at %lu and %lu of %lu", (unsigned long)f[0].got,
	    (unsigned long)f[1].got, (unsigned long)len);
	sim_free(m);
}

Test(stream, clean)
{
	both_ways(sim_new(1), 2000000, 60 * SIM_SEC);
}

Test(stream, offloads)
{
	both_ways(
	    sim_new_with(2, REGION_F_CSUM | REGION_F_TSO4, 1500, false), 4000000, 60 * SIM_SEC);
}

/* Who only receives has seen no round trip since the handshake, but the data's timestamps tell. */
Test(stream, the_window_follows_a_round_trip_that_became_longer)
{
	struct sim *m = sim_new(4);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 4000000};
	uint64_t start = m->now;

	for (unsigned i = 0; i < 2; i++)
		m->link[i].delay = 25 * SIM_MS;
	sim_grow(p.client, 4 << 20);
	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
	cr_assert_lt(m->now - start, SIM_SEC, "%lu ms", (unsigned long)((m->now - start) / SIM_MS));
	cr_assert_geq(sim_tcb(p.server)->rcv_rtt_ms, 45);
	sim_free(m);
}

Test(stream, one_way_is_as_fast_as_the_window)
{
	struct sim *m = sim_new(3);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 8000000};
	uint64_t start = m->now;

	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
	/* 64 KiB of transmit ring in a round trip of 10 ms */
	cr_assert_lt(
	    m->now - start, 2 * SIM_SEC, "%lu ms", (unsigned long)((m->now - start) / SIM_MS));
	cr_assert_eq(sim_tcb(p.client)->total_retrans, 0);
	sim_free(m);
}

/* Through a window much smaller than the buffer, which stays as small and does not shut for good. */
Test(stream, window_clamp)
{
	struct sim *m = sim_new(4);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 200000};

	cr_assert_eq(sim_setsockopt(p.server, IPPROTO_TCP, TCP_WINDOW_CLAMP, 1), 0);
	cr_assert_eq(sim_getsockopt(p.server, IPPROTO_TCP, TCP_WINDOW_CLAMP), 1152);
	cr_assert_eq(sim_setsockopt(p.server, IPPROTO_TCP, TCP_WINDOW_CLAMP, 0), -EINVAL);
	cr_assert_eq(sim_setsockopt(p.server, IPPROTO_TCP, TCP_WINDOW_CLAMP, 4000), 0);
	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC), "stuck at %lu", (unsigned long)f.got);
	cr_assert_leq(sim_tcb(p.client)->snd_edge - sim_tcb(p.client)->snd_una, 4000);
	cr_assert_eq(sim_tcb(p.client)->total_retrans, 0);
	sim_free(m);
}

static void lossy(uint32_t loss, uint32_t rcvbuf, uint64_t len, uint64_t seed)
{
	struct sim *m = sim_new(seed);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = seed, .len = len};

	if (rcvbuf)
		sim_setsockopt(p.server, SOL_SOCKET, SO_RCVBUF, (int)rcvbuf);
	for (unsigned i = 0; i < 2; i++)
		m->link[i].loss = loss;
	cr_assert(sim_flows(m, &f, 1, 600 * SIM_SEC), "loss %u rcvbuf %u: %lu of %lu", loss, rcvbuf,
	    (unsigned long)f.got, (unsigned long)len);
	sim_free(m);
}

Test(stream, loss_by_buffer)
{
	static const uint32_t loss[] = {0, 1000, 10000, 50000, 150000},
			      buf[] = {0, 4096, 16384, 65536};

	for (unsigned i = 0; i < ARRAY_SIZE(loss); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(buf); j++)
			lossy(loss[i], buf[j], 300000, 100 + i * 10 + j);
}

Test(stream, everything_at_once)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim *m = sim_new_with(
		    seed + 1000, seed & 1 ? REGION_F_CSUM | REGION_F_TSO4 : 0, 1500, false);
		struct sim_pair p = established_pair(m);
		struct sim_flow f[2] = {
		    {.from = p.client, .to = p.server, .id = 1, .len = 200000, .piece = 3000},
		    {.from = p.server, .to = p.client, .id = 2, .len = 200000}};

		for (unsigned i = 0; i < 2; i++)
			m->link[i] = (struct sim_link){.loss = 30000,
			    .duplicate = 30000,
			    .reorder = 100000,
			    .corrupt = seed & 1 ? 0 : 20000,
			    .delay = 5 * SIM_MS,
			    .jitter = 20 * SIM_MS};
		cr_assert(sim_flows(m, f, 2, 600 * SIM_SEC), "seed %lu: %lu %lu",
		    (unsigned long)seed, (unsigned long)f[0].got, (unsigned long)f[1].got);
		sim_free(m);
	}
}

Test(stream, a_bottleneck_is_used)
{
	struct sim *m = sim_new(7);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 3000000};
	uint64_t start = m->now;

	m->link[0].rate = 1250000; /* 10 Mbit/s: 2.4 s */
	m->link[0].queue = 20000;
	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
	cr_assert_lt(
	    m->now - start, 3500 * SIM_MS, "%lu ms", (unsigned long)((m->now - start) / SIM_MS));
	sim_free(m);
}

Test(stream, recovery_does_not_wait_for_timeouts)
{
	struct sim *m = sim_new(8);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 3000000};
	uint64_t start = m->now;

	m->link[0].loss = 10000;
	cr_assert(sim_flows(m, &f, 1, 120 * SIM_SEC));
	cr_assert_lt(m->host[0].s.count.tcp_rto, 8, "%lu timeouts in %lu ms",
	    (unsigned long)m->host[0].s.count.tcp_rto, (unsigned long)((m->now - start) / SIM_MS));
	sim_free(m);
}

static bool no_sack(struct sim *m, unsigned from, const uint8_t *frame, uint32_t len)
{
	uint8_t *tcp = (uint8_t *)(uintptr_t)frame + 34;

	(void)m;
	(void)from;
	if (len > 54 && (tcp[13] & TCP_F_SYN)) {
		for (unsigned i = 20; i + 1 < (tcp[12] >> 4) * 4u; i++) {
			if (tcp[i] != 4 || tcp[i + 1] != 2)
				continue;
			/* Two NOPs instead; the checksum follows (offload is on, so it is open) */
			tcp[i] = tcp[i + 1] = 1;
			break;
		}
	}
	return true;
}

Test(stream, newreno)
{
	struct sim *m = sim_new_with(9, REGION_F_CSUM, 1500, false);
	struct sim_pair p;
	struct sim_flow f;

	m->watch = no_sack;
	p = established_pair(m);
	cr_assert_not(sim_tcb(p.client)->flags & TCB_SACK);
	f = (struct sim_flow){.from = p.client, .to = p.server, .id = 1, .len = 1000000};
	m->link[0].loss = 10000;
	cr_assert(sim_flows(m, &f, 1, 120 * SIM_SEC));
	cr_assert_gt(m->host[0].s.count.tcp_fast_retrans, 0);
	sim_free(m);
}

Test(stream, reno)
{
	struct sim *m = sim_new(10);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 1000000};

	cr_assert_eq(
	    tcp_ops.setsockopt(&m->host[0].s, p.client->sk, IPPROTO_TCP, 13, "reno", 4), 0);
	m->link[0].loss = 10000;
	cr_assert(sim_flows(m, &f, 1, 120 * SIM_SEC));
	sim_free(m);
}

Test(stream, loopback)
{
	struct sim *m = sim_new(11);
	struct sim_sock *l = sim_socket(&m->host[0]), *c = sim_socket(&m->host[0]), *a;
	struct sim_flow f[2];

	cr_assert_eq(sim_listen(l, 80, 4), 0);
	cr_assert_eq(sim_connect_to(c, 0x7f000001, 80), -EINPROGRESS);
	sim_run(m, SIM_MS);
	cr_assert(c->v.state & CM_ST_CONNECTED);
	a = sim_accept(l);
	cr_assert(a);
	f[0] = (struct sim_flow){.from = c, .to = a, .id = 1, .len = 5000000};
	f[1] = (struct sim_flow){.from = a, .to = c, .id = 2, .len = 5000000};
	cr_assert(sim_flows(m, f, 2, 10 * SIM_SEC), "%lu %lu", (unsigned long)f[0].got,
	    (unsigned long)f[1].got);
	sim_free(m);
}

Test(stream, receive_ring_grows)
{
	struct sim *m = sim_new_with(12, REGION_F_CSUM | REGION_F_TSO4, 1500, false);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 20000000};

	cr_assert_eq(sock_tx_ring(&m->host[0].s, p.client->sk, 4 << 20, 0), 0);
	sock_changed(&m->host[0].s, p.client->sk);
	sim_run(m, SIM_MS);
	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
	cr_assert_gt(sock_peek(&m->host[1].s, p.server->sk)->rx.cap, 65536);
	sim_free(m);
}

Test(stream, ends_in_order)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim *m = sim_new(seed + 500);
		struct sim_pair p = established_pair(m);
		struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 100000};

		for (unsigned i = 0; i < 2; i++)
			m->link[i].loss = 50000;
		while (f.sent < f.len) {
			sim_pump(&f);
			sim_step(m);
		}
		sim_close(p.client); /* what was written is delivered all the same */
		while (f.got < f.len || !(p.server->v.state & CM_ST_RX_EOF)) {
			f.from = &(struct sim_sock){.host = p.server->host};
			sim_pump(&f);
			sim_step(m);
			cr_assert_lt(m->now, 3000 * SIM_SEC);
		}
		cr_assert_eq(sim_state(p.server), TCPS_CLOSE_WAIT);
		sim_close(p.server);
		sim_run(m, 200 * SIM_SEC);
		cr_assert_eq(state_count(m->host[0].s.state, KIND_TCP), 0);
		cr_assert_eq(state_count(m->host[1].s.state, KIND_TCP), 1);
		cr_assert_eq(state_count(m->host[0].s.state, KIND_TIMEWAIT), 0);
		sim_free(m);
	}
}
