/*
 * How fast a stream goes on paths that lose, reorder, and queue: a table for whoever changes loss
 *recovery or congestion control, and floors that say what must not get lost.
 *
 *	host 0 ==== 1 MB ====> host 1, round trip 20 ms if nothing else is said, the mean of some seeds
 */
#include "sim.h"
#include <stdio.h>

#define SEEDS  3
#define LENGTH 1000000u
/* The transmit ring of whoever sends more */
#define TX_LONG (4u << 20)

struct path {
	const char *name;
	uint32_t loss, reorder; /* in a million */
	uint64_t jitter;	/* of those that are reordered */
	uint64_t rate;		/* bytes a second */
	uint32_t queue;
	uint64_t delay;	 /* one way; 0: 10 ms */
	uint32_t length; /* 0: 1 MB */
	uint32_t kb_s;	 /* floor */
	uint32_t again;	 /* ceiling: sent again, in a thousand; 0: any */
};

struct outcome {
	uint64_t ns;
	uint32_t again, rto;
};

static uint32_t length_of(const struct path *p)
{
	return p->length ? p->length : LENGTH;
}

static void run(const struct path *p, uint64_t seed, struct outcome *o)
{
	struct sim *m = sim_new(seed);
	struct sim_flow f = {.id = seed, .len = length_of(p)};
	struct sim_pair pair;
	uint64_t start;

	for (unsigned i = 0; i < 2; i++)
		m->link[i].delay = p->delay ? p->delay : 10 * SIM_MS;
	pair = established_pair(m);
	f.from = pair.client;
	f.to = pair.server;
	start = m->now;
	m->link[0].loss = p->loss;
	m->link[0].reorder = p->reorder;
	m->link[0].jitter = p->jitter;
	m->link[0].rate = p->rate;
	m->link[0].queue = p->queue;
	if (p->length)
		sim_grow(pair.client, TX_LONG);
	cr_assert(sim_flows(m, &f, 1, 600 * SIM_SEC), "%s: %lu of %u", p->name,
	    (unsigned long)f.got, length_of(p));
	o->ns += m->now - start;
	o->again += sim_tcb(pair.client)->total_retrans;
	o->rto += (uint32_t)m->host[0].s.count.tcp_rto;
	sim_free(m);
}

Test(paths, table)
{
	static const struct path paths[] = {
	    {.name = "clean", .kb_s = 2200},
	    {.name = "loss 0.1 %", .loss = 1000, .kb_s = 1800},
	    {.name = "loss 1 %", .loss = 10000, .kb_s = 900},
	    {.name = "loss 5 %", .loss = 50000, .kb_s = 250},
	    {.name = "loss 20 %", .loss = 200000, .kb_s = 40},
	    {.name = "reorder 1 % by 4 ms", .reorder = 10000, .jitter = 4 * SIM_MS, .kb_s = 2000},
	    {.name = "reorder 10 % by 4 ms", .reorder = 100000, .jitter = 4 * SIM_MS, .kb_s = 2000},
	    {.name = "reorder all by 2 ms", .reorder = 1000000, .jitter = 2 * SIM_MS, .kb_s = 1900},
	    {.name = "reorder 5 % by 20 ms", .reorder = 50000, .jitter = 20 * SIM_MS, .kb_s = 1400},
	    {.name = "reorder 5 % by 4 ms, loss 1 %",
		.reorder = 50000,
		.jitter = 4 * SIM_MS,
		.loss = 10000,
		.kb_s = 900},
	    {.name = "1 MB/s, queue 20 ms", .rate = 1000000, .queue = 20000, .kb_s = 800},
	    {.name = "1 MB/s, queue 5 ms", .rate = 1000000, .queue = 5000, .kb_s = 700},
	    {.name = "200 KB/s, queue 1 s", .rate = 200000, .queue = 200000, .kb_s = 170},
	    {.name = "12 MB/s, 100 ms, queue 20 ms",
		.delay = 50 * SIM_MS,
		.rate = 12500000,
		.queue = 250000,
		.length = 5000000,
		.kb_s = 2400},
	    {.name = "25 MB/s, 50 ms, queue 50 ms",
		.delay = 25 * SIM_MS,
		.rate = 25000000,
		.queue = 1250000,
		.length = 5000000,
		.kb_s = 7500,
		.again = 10},
	    {.name = "6 MB/s, 50 ms, queue 320 ms",
		.delay = 25 * SIM_MS,
		.rate = 6250000,
		.queue = 2000000,
		.length = 5000000,
		.kb_s = 4500,
		.again = 10},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		struct outcome o = {0};
		double segments = SEEDS * length_of(&paths[i]) / 1460.0;
		uint64_t kb_s;

		for (uint64_t seed = 1; seed <= SEEDS; seed++)
			run(&paths[i], seed, &o);
		kb_s = (uint64_t)length_of(&paths[i]) * SEEDS * 1000000 / o.ns;
		fprintf(stderr, "%-30s %6lu KB/s, again %5.1f %%, timeouts %u\n", paths[i].name,
		    (unsigned long)kb_s, 100.0 * o.again / segments, o.rto);
		cr_expect_geq(kb_s, paths[i].kb_s, "%s", paths[i].name);
		cr_expect(!paths[i].again || 1000 * o.again <= paths[i].again * segments, "%s", paths[i].name);
	}
}
