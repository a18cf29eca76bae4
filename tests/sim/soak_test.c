/*
 * Everything at once at many seeds: deaths of both daemons at any moment, loss, reordering,
 * duplicates, corruption, small buffers, readers that pause; then orderly ends. Streams are exact,
 * and nothing is left over: no record, no ring.
 */
#include "sim.h"

#define SEEDS 150

static void make_trouble(struct sim *m)
{
	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		m->host[i].die_before = (uint32_t)(sim_random(m) % 60000);
		m->host[i].die_after = (uint32_t)(sim_random(m) % 60000);
		m->link[i] = (struct sim_link){.loss = (uint32_t)(sim_random(m) % 60000),
		    .duplicate = (uint32_t)(sim_random(m) % 40000),
		    .reorder = 200000,
		    .jitter = 1 + sim_random(m) % (30 * SIM_MS),
		    .delay = sim_random(m) % (20 * SIM_MS)};
		if (!m->features)
			m->link[i].corrupt = (uint32_t)(sim_random(m) % 20000);
	}
}

static void nothing_is_left(const struct sim_host *h, uint64_t seed)
{
	static const enum record_kind kinds[] = {
	    KIND_SOCK, KIND_TCP, KIND_TCPX, KIND_SYNRCV, KIND_TIMEWAIT};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		cr_assert_eq(state_count(h->s.state, kinds[i]), 0, "seed %lu host %u kind %u",
		    (unsigned long)seed, h->number, (unsigned)kinds[i]);
	cr_assert_eq(memory_used(h->s.mem, 0), 0);
	cr_assert_eq(memory_used(h->s.mem, 1), 0);
}

static struct sim *make_network(uint64_t seed)
{
	static const uint32_t features[] = {0, REGION_F_CSUM, REGION_F_CSUM | REGION_F_TSO4};

	return sim_new_with(
	    seed * 7919, features[seed % ARRAY_SIZE(features)], seed % 5 ? 1500 : 9000, false);
}

static unsigned one(uint64_t seed)
{
	struct sim *m = make_network(seed);
	struct sim_flow f[2];
	struct sim_pair p;
	unsigned restarts;

	make_trouble(m);
	p = established_pair(m);
	if (seed % 7 == 0)
		sim_setsockopt(p.server, SOL_SOCKET, SO_RCVBUF, 5000);
	f[0] = (struct sim_flow){.from = p.client,
	    .to = p.server,
	    .id = seed,
	    .len = sim_random(m) % 200000,
	    .piece = (uint32_t)(1 + sim_random(m) % 20000)};
	f[1] = (struct sim_flow){.from = p.server,
	    .to = p.client,
	    .id = seed + 1,
	    .len = sim_random(m) % 100000,
	    .piece = (uint32_t)(1 + sim_random(m) % 9000)};
	if (seed % 4 == 0) {
		f[0].stop_reading = true; /* its window closes */
		(void)sim_flows(m, f, 2, 3 * SIM_SEC);
		f[0].stop_reading = false;
	}
	cr_assert(sim_flows(m, f, 2, 900 * SIM_SEC), "seed %lu: %lu and %lu", (unsigned long)seed,
	    (unsigned long)f[0].got, (unsigned long)f[1].got);
	cr_assert(!p.client->err && !p.server->err);
	sim_close(p.client);
	for (int i = 0; i < 4000 && !(p.server->v.state & CM_ST_RX_EOF); i++)
		sim_step(m);
	cr_assert(p.server->v.state & CM_ST_RX_EOF, "seed %lu", (unsigned long)seed);
	sim_close(p.server);
	sim_close(p.listener);
	sim_run(m, 300 * SIM_SEC);
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		nothing_is_left(&m->host[i], seed);
	restarts = m->host[0].restarts + m->host[1].restarts;
	sim_free(m);
	return restarts;
}

Test(soak, random_seeds)
{
	unsigned restarts = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		restarts += one(seed);
	cr_assert_geq(restarts, 2000, "only %u restarts", restarts);
}
