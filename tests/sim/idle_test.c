/* What idle connections give back, and what connections do whose user may have no more memory. */
#include "sim.h"
#include <stdlib.h>

#define IDLE (15 * SIM_SEC)

static uint64_t rings(const struct sim_host *h)
{
	return memory_used(h->s.mem, 1);
}

static uint32_t rx_cap(const struct sim_sock *k)
{
	return sock_peek(&k->host->s, k->sk)->rx.cap;
}

/* Sends and reads it; true if it is right. */
static bool exchange(struct sim *m, struct sim_pair *p, uint64_t id, uint64_t len)
{
	struct sim_flow f[2] = {{.from = p->client, .to = p->server, .id = id, .len = len},
	    {.from = p->server, .to = p->client, .id = id + 1, .len = len}};

	f[0].sent = f[0].got = f[1].sent = f[1].got = 0;
	return sim_flows(m, f, 2, 120 * SIM_SEC);
}

Test(idle, an_empty_receive_ring_goes_back)
{
	struct sim *m = sim_new(1);
	struct sim_pair p = established_pair(m);
	uint64_t used[2];

	cr_assert_eq(rx_cap(p.server), 0, "none before the first byte");
	cr_assert(exchange(m, &p, 1, 3000000));
	sim_run(m, SIM_SEC);
	used[0] = rings(&m->host[0]);
	used[1] = rings(&m->host[1]);
	cr_assert_geq(rx_cap(p.server), 65536);
	sim_run(m, IDLE);
	cr_assert_eq(rx_cap(p.server), 0);
	cr_assert_eq(rx_cap(p.client), 0);
	cr_assert_lt(rings(&m->host[0]), used[0]);
	cr_assert_lt(rings(&m->host[1]), used[1]);
	sim_free(m);
}

Test(idle, it_comes_back_with_the_next_bytes_whoever_dies)
{
	for (unsigned kill = 0; kill < 3; kill++) {
		struct sim *m = sim_new(10 + kill);
		struct sim_pair p = established_pair(m);

		for (unsigned round = 0; round < 4; round++) {
			cr_assert(exchange(m, &p, 2 * round + 1, 500000), "kill %u, round %u", kill,
			    round);
			sim_run(m, IDLE);
			cr_assert_eq(rx_cap(p.server), 0);
			if (kill)
				sim_kill(&m->host[kill - 1], 20 * SIM_MS);
		}
		cr_assert_eq(sim_state(p.client), TCPS_ESTABLISHED);
		cr_assert_eq(sim_state(p.server), TCPS_ESTABLISHED);
		sim_free(m);
	}
}

Test(idle, unread_bytes_keep_their_ring)
{
	struct sim *m = sim_new(2);
	struct sim_pair p = established_pair(m);
	char out[1000], in[1000];

	memset(out, 'x', sizeof(out));
	cr_assert_eq(sim_send(p.client, out, sizeof(out)), sizeof(out));
	sim_run(m, IDLE);
	cr_assert_neq(rx_cap(p.server), 0);
	cr_assert_eq(sim_recv(p.server, in, sizeof(in)), sizeof(in));
	cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
	sim_run(m, IDLE);
	cr_assert_eq(rx_cap(p.server), 0);
	sim_free(m);
}

/* ---- a user at his limit */

Test(quota, nothing_grows_and_nobody_is_reset)
{
	struct sim *m = sim_new(3);
	struct sim_pair p = established_pair(m), late;
	struct memory_quota q = {0};

	cr_assert(exchange(m, &p, 1, 200000));
	memory_charge(m->host[1].s.mem, 1, &q);
	cr_assert_eq(q.used, rings(&m->host[1]));
	q.limit = q.used;
	cr_assert(exchange(m, &p, 3, 4000000));
	cr_assert_leq(q.used, q.limit, "a receive ring has grown");
	/* One more connection: small rings, but rings. */
	late = (struct sim_pair){.listener = p.listener, .client = sim_socket(&m->host[0])};
	cr_assert_eq(sim_connect(late.client, 80), -EINPROGRESS);
	sim_run(m, SIM_SEC);
	late.server = sim_accept(late.listener);
	cr_assert_not_null(late.server);
	cr_assert(exchange(m, &late, 5, 300000));
	cr_assert_eq(rx_cap(late.server), RING_LEAST);
	cr_assert_eq(sim_state(late.client), TCPS_ESTABLISHED);
	memory_charge(m->host[1].s.mem, 1, NULL);
	cr_assert_eq(q.used, 0);
	sim_free(m);
}

/* What came before accept() lies in the daemon's memory, and was acknowledged: it moves, whatever
 * the limit says. */
Test(quota, bytes_that_wait_for_accept_are_kept)
{
	struct sim *m = sim_new(4);
	struct sim_sock *l = sim_socket(&m->host[1]), *c = sim_socket(&m->host[0]), *k;
	struct memory_quota q = {.limit = 1};
	static char out[20000], in[20000];

	cr_assert_eq(sim_listen(l, 80, 16), 0);
	memory_charge(m->host[1].s.mem, 1, &q);
	cr_assert_eq(sim_connect(c, 80), -EINPROGRESS);
	sim_run(m, SIM_SEC);
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);
	cr_assert_eq(sim_send(c, out, sizeof(out)), sizeof(out));
	sim_run(m, SIM_SEC);
	k = sim_accept(l);
	cr_assert_not_null(k);
	cr_assert_eq(sim_recv(k, in, sizeof(in)), sizeof(in));
	cr_assert_eq(memcmp(in, out, sizeof(in)), 0);
	cr_assert_eq(rx_cap(k), 32768, "as small as may be");
	sim_free(m);
}
