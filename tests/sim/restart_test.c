/*
 * The daemon dies in the middle: before the commit of a cycle, or after it and before anything was
 * spoken, at random moments, thousands of times. Streams stay exact, connections stay open.
 */
#include "sim.h"

struct trouble {
	uint32_t die_before, die_after, loss, jitter_ms;
	uint32_t features;
	uint64_t len;
	bool both;
};

static unsigned transfer(uint64_t seed, const struct trouble *t)
{
	struct sim *m = sim_new_with(seed, t->features, 1500, false);
	struct sim_pair p = established_pair(m);
	struct sim_flow f[2] = {{.from = p.client, .to = p.server, .id = seed, .len = t->len},
	    {.from = p.server, .to = p.client, .id = seed + 1, .len = t->len / 2, .piece = 5000}};
	unsigned restarts;

	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		m->link[i].loss = t->loss;
		m->link[i].jitter = t->jitter_ms * SIM_MS;
		if (!i || t->both) {
			m->host[i].die_before = t->die_before;
			m->host[i].die_after = t->die_after;
		}
	}
	cr_assert(sim_flows(m, f, 2, 600 * SIM_SEC), "seed %lu: %lu and %lu", (unsigned long)seed,
	    (unsigned long)f[0].got, (unsigned long)f[1].got);
	cr_assert_eq(p.client->err, 0);
	cr_assert_eq(p.server->err, 0);
	cr_assert_eq(sim_state(p.client), TCPS_ESTABLISHED);
	cr_assert_eq(sim_state(p.server), TCPS_ESTABLISHED);
	restarts = m->host[0].restarts + m->host[1].restarts;
	sim_free(m);
	return restarts;
}

static void many(unsigned seeds, uint64_t first, const struct trouble *t, unsigned at_least)
{
	unsigned restarts = 0;

	for (unsigned i = 0; i < seeds; i++)
		restarts += transfer(first + i, t);
	cr_assert_geq(restarts, at_least, "only %u restarts", restarts);
}

Test(restart, before_the_commit)
{
	many(40, 1, &(struct trouble){.die_before = 150000, .len = 400000, .both = true}, 500);
}

Test(restart, after_the_commit_before_speaking)
{
	many(40, 100, &(struct trouble){.die_after = 150000, .len = 400000, .both = true}, 500);
}

Test(restart, both_kinds_with_loss_and_reordering)
{
	many(32, 200,
	    &(struct trouble){.die_before = 30000,
		.die_after = 30000,
		.loss = 20000,
		.jitter_ms = 5,
		.len = 150000,
		.both = true},
	    500);
}

Test(restart, with_offloads)
{
	many(25, 300,
	    &(struct trouble){.die_before = 30000,
		.die_after = 30000,
		.loss = 10000,
		.len = 400000,
		.both = true,
		.features = REGION_F_CSUM | REGION_F_TSO4},
	    300);
}

Test(restart, without_retransmissions_on_a_clean_wire)
{
	struct sim *m = sim_new(5);
	struct sim_pair p = established_pair(m);
	struct sim_flow f = {.from = p.client, .to = p.server, .id = 1, .len = 500000};

	m->host[0].die_before = m->host[0].die_after = 100000;
	cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
	cr_assert_gt(m->host[0].restarts, 10);
	/* Pauses of up to 10 ms are no loss. */
	cr_assert_eq(m->host[0].s.count.tcp_rto, 0);
	cr_assert_leq(sim_tcb(p.client)->total_retrans, 2);
	sim_free(m);
}

Test(restart, handshakes_and_ends)
{
	unsigned restarts = 0;

	for (uint64_t seed = 0; seed < 60; seed++) {
		struct sim *m = sim_new(seed + 4000);
		struct sim_pair p;
		struct sim_flow f;

		for (unsigned i = 0; i < SIM_HOSTS; i++) {
			m->host[i].die_before = m->host[i].die_after = 100000;
			m->link[i].loss = seed % 3 ? 50000 : 0;
		}
		p = established_pair(m);
		f = (struct sim_flow){.from = p.client, .to = p.server, .id = seed, .len = 5000};
		cr_assert(sim_flows(m, &f, 1, 100 * SIM_SEC));
		cr_assert_eq(sim_shutdown(p.client, SHUT_WR), 0);
		for (int i = 0; i < 3000 && !(p.server->v.state & CM_ST_RX_EOF); i++)
			sim_step(m);
		cr_assert(p.server->v.state & CM_ST_RX_EOF);
		sim_close(p.server);
		sim_close(p.client);
		sim_run(m, 100 * SIM_SEC);
		cr_assert_eq(state_count(m->host[0].s.state, KIND_SOCK), 0);
		cr_assert_eq(state_count(m->host[1].s.state, KIND_SOCK), 1); /* the listener */
		for (unsigned i = 0; i < SIM_HOSTS; i++)
			cr_assert_eq(state_count(m->host[i].s.state, KIND_TIMEWAIT), 0);
		restarts += m->host[0].restarts + m->host[1].restarts;
		sim_free(m);
	}
	cr_assert_geq(restarts, 300, "only %u", restarts);
}

Test(restart, accept_queue_keeps_its_order)
{
	struct sim *m = sim_new(6);
	struct sim_sock *l = sim_socket(&m->host[1]), *c[6], *a;

	cr_assert_eq(sim_listen(l, 80, 8), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		c[i] = sim_socket(&m->host[0]);
		cr_assert_eq(sim_bind(c[i], (uint16_t)(4000 + i)), 0);
		cr_assert_eq(sim_connect(c[i], 80), -EINPROGRESS);
		sim_run(m, 50 * SIM_MS);
	}
	sim_send(c[0], "first", 5);
	sim_run(m, 50 * SIM_MS);
	for (unsigned i = 0; i < ARRAY_SIZE(c); i++) {
		char data[8];

		sim_kill(&m->host[1], SIM_MS);
		cr_assert_eq(l->v.accept_ready, ARRAY_SIZE(c) - i);
		a = sim_accept(l);
		cr_assert(a);
		cr_assert_eq(sock_peek(&m->host[1].s, a->sk)->remote.port, 4000 + i);
		if (!i)
			cr_assert_eq(sim_recv(a, data, sizeof(data)), 5);
	}
	cr_assert_null(sim_accept(l));
	sim_free(m);
}

Test(restart, half_open_and_time_wait_survive)
{
	struct sim *m = sim_new(7);
	struct sim_sock *l = sim_socket(&m->host[1]), *c = sim_socket(&m->host[0]), *a;

	cr_assert_eq(sim_listen(l, 80, 8), 0);
	cr_assert_eq(sim_connect(c, 80), -EINPROGRESS);
	sim_run(m, 7 * SIM_MS); /* the SYN has arrived, its answer is under way */
	cr_assert_eq(state_count(m->host[1].s.state, KIND_SYNRCV), 1);
	sim_kill(&m->host[1], SIM_MS);
	sim_kill(&m->host[0], SIM_MS);
	sim_run(m, 30 * SIM_MS);
	cr_assert(c->v.state & CM_ST_CONNECTED);
	a = sim_accept(l);
	cr_assert(a);
	sim_close(c);
	sim_run(m, 20 * SIM_MS);
	sim_close(a);
	sim_run(m, 20 * SIM_MS);
	cr_assert_eq(state_count(m->host[0].s.state, KIND_TIMEWAIT), 1);
	sim_kill(&m->host[0], SIM_MS);
	cr_assert_eq(state_count(m->host[0].s.state, KIND_TIMEWAIT), 1);
	sim_run(m, 61 * SIM_SEC);
	cr_assert_eq(state_count(m->host[0].s.state, KIND_TIMEWAIT), 0);
	sim_free(m);
}

Test(restart, the_pause_is_no_timeout)
{
	struct sim *m = sim_new(8);
	struct sim_pair p = established_pair(m);

	sim_send(p.client, "hello", 5);
	sim_step(m);
	sim_kill(&m->host[0], 5 * SIM_SEC);
	sim_run(m, 100 * SIM_MS);
	cr_assert_eq(sim_readable(p.server), 5);
	cr_assert_eq(m->host[0].s.count.tcp_rto, 0);
	cr_assert_lt(sim_tcb(p.client)->srtt, 1000000); /* no sample from before */
	sim_free(m);
}

/* Only the pause is taken out of the timers: not how long nothing was to do before the death. */
Test(restart, deaths_in_quiet_do_not_put_timers_off)
{
	struct sim *m = sim_new(12);
	struct sim_pair p = established_pair(m);

	m->link[0].loss = 1000000; /* all of it */
	sim_send(p.client, "hello", 5);
	sim_run(m, 20 * SIM_MS);
	m->link[0].loss = 0;
	for (unsigned i = 0; i < 40 && !sim_readable(p.server); i++) {
		sim_run(m, 50 * SIM_MS);
		sim_kill(&m->host[0], 0);
	}
	cr_assert_eq(sim_readable(p.server), 5, "sent again in spite of the deaths");
	sim_free(m);
}

Test(restart, out_of_order_data_survives)
{
	for (uint64_t seed = 0; seed < 20; seed++)
		(void)transfer(9000 + seed, &(struct trouble){.die_before = 100000,
						.die_after = 100000,
						.loss = 80000,
						.len = 60000,
						.both = true});
}

Test(restart, a_lost_control_block_resets_one_connection)
{
	struct sim *m = sim_new(9);
	struct sim_pair p = established_pair(m), q = {.client = sim_socket(&m->host[0])};
	struct sim_host *h = &m->host[0];

	cr_assert_eq(sim_connect(q.client, 80), -EINPROGRESS);
	sim_run(m, 100 * SIM_MS);
	state_free(h->s.state, KIND_TCP, p.client->sk);
	world_commit(&h->s);
	sim_kill(h, SIM_MS);
	cr_assert(p.client->v.state & CM_ST_DEAD);
	cr_assert_eq(p.client->err, ECONNRESET);
	cr_assert(q.client->v.state & CM_ST_CONNECTED);
	sim_send(p.server, "x", 1); /* the peer learns of it by a RST */
	sim_run(m, 100 * SIM_MS);
	cr_assert(p.server->v.state & CM_ST_DEAD);
	sim_close(p.client);
	sim_free(m);
}

Test(restart, a_driver_that_lost_frames)
{
	struct sim *m = sim_new(10);
	struct sim_pair p = established_pair(m);
	uint64_t start;

	m->link[0].loss = 1000000;
	sim_send(p.client, "lost", 4);
	sim_run(m, SIM_MS);
	m->link[0].loss = 0;
	start = m->now;
	tcp_driver_restarted(&m->host[0].s, m->host[0].dev);
	while (!sim_readable(p.server))
		sim_step(m);
	cr_assert_lt(m->now - start, 20 * SIM_MS); /* nobody waited for a timeout */
	sim_free(m);
}

/*
 * A socket that is connected to itself: each segment comes back as its own answer, so what is
 * answered although it brings nothing would be answered for ever.
 */
Test(restart, connected_to_itself)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct sim *m = sim_new(seed + 900);
		struct sim_host *h = &m->host[0];
		struct sim_sock *c = sim_socket(h);
		struct sim_flow f = {.from = c, .to = c, .id = seed, .len = 300000, .piece = 5000};
		uint64_t before;

		h->die_before = h->die_after = 100000;
		cr_assert_eq(sim_bind(c, 5000), 0);
		cr_assert_eq(sim_connect_to(c, 0x7f000001, 5000), -EINPROGRESS);
		sim_run(m, SIM_SEC);
		cr_assert_eq(sim_state(c), TCPS_ESTABLISHED);
		cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC), "seed %lu: %lu", (unsigned long)seed,
		    (unsigned long)f.got);
		f.len = UINT64_MAX;
		f.stop_reading = true; /* until both buffers are full, and its window is probed */
		for (unsigned i = 0; i < 100; i++) {
			sim_pump(&f);
			sim_run(m, SIM_SEC / 100);
		}
		h->die_before = h->die_after = 0;
		before = h->s.count.tcp_out;
		sim_run(m, 60 * SIM_SEC);
		cr_assert_lt(h->s.count.tcp_out - before, 100);
		f.len = f.sent;
		f.stop_reading = false;
		cr_assert(sim_flows(m, &f, 1, 60 * SIM_SEC));
		cr_assert_eq(sim_shutdown(c, SHUT_WR), 0);
		sim_run(m, SIM_SEC);
		cr_assert(c->v.state & CM_ST_RX_EOF);
		cr_assert_eq(c->err, 0);
		cr_assert_neq(sim_state(c), TCPS_ESTABLISHED);
		sim_free(m);
	}
}
