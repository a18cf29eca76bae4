/* Urgent data and hints of writers: on the wire, and over deaths and losses. */
#include "inet/sockx.h"
#include "sim.h"

static uint64_t mark_of(const struct sim_sock *k)
{
	const struct sockx_rec *x = sockx_peek(&k->host->s, k->sk);

	return x->flags & SOCKX_URGENT_IN ? x->rcv_up : UINT64_MAX;
}

/* "abcde!" with the last byte urgent, then "fg": the mark stands at offset 5 whatever is lost or
 * dies. */
static void announced(uint64_t seed, uint32_t loss, uint32_t die)
{
	struct sim *m = sim_new(seed);
	struct sim_pair p = established_pair(m);
	char buf[64] = {0};
	uint32_t n = 0;

	m->link[0].loss = loss;
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		m->host[i].die_before = m->host[i].die_after = die;
	sim_hint(p.client, SOCK_URGENT, 6);
	cr_assert_eq(sim_send(p.client, "abcde!", 6), 6);
	for (unsigned i = 0; i < 400 && mark_of(p.server) == UINT64_MAX; i++)
		sim_run(m, 50 * SIM_MS);
	cr_assert_eq(mark_of(p.server), 5, "seed %lu", (unsigned long)seed);
	cr_assert_eq(sim_send(p.client, "fg", 2), 2);
	for (unsigned i = 0; i < 400 && n < 8; i++) {
		sim_run(m, 50 * SIM_MS);
		n += sim_recv(p.server, buf + n, sizeof(buf) - n);
	}
	cr_assert_str_eq(buf, "abcde!fg");
	cr_assert_eq(mark_of(p.server), 5);
	for (unsigned i = 0; i < 400 && (sim_tcb(p.client)->flags & TCB_URGENT); i++)
		sim_run(m, 50 * SIM_MS);
	cr_assert_not(sim_tcb(p.client)->flags & TCB_URGENT);
	sim_free(m);
}

Test(urgent, reaches_the_other_side)
{
	announced(1, 0, 0);
}

Test(urgent, with_losses_and_deaths)
{
	for (uint64_t seed = 2; seed < 40; seed++)
		announced(seed, 200000, seed & 1 ? 100000 : 0);
}

/* A record that was committed is there after the restart; a mark behind the reader counts for
 * nothing. */
Test(urgent, the_mark_survives_and_the_newest_counts)
{
	struct sim *m = sim_new(99);
	struct sim_pair p = established_pair(m);
	char buf[16];

	sim_hint(p.client, SOCK_URGENT, 3);
	sim_send(p.client, "ab!", 3);
	sim_run(m, SIM_SEC);
	cr_assert_eq(mark_of(p.server), 2);
	sim_kill(&m->host[1], 5 * SIM_MS);
	sim_run(m, SIM_SEC);
	cr_assert_eq(mark_of(p.server), 2);
	sim_hint(p.client, SOCK_URGENT, 6);
	sim_send(p.client, "cd!", 3);
	sim_run(m, SIM_SEC);
	cr_assert_eq(mark_of(p.server), 5);
	cr_assert_eq(sim_recv(p.server, buf, 6), 6);
	sim_hint(p.client, SOCK_URGENT, 2); /* sent and acknowledged: too late */
	sim_run(m, SIM_SEC);
	cr_assert_eq(mark_of(p.server), 5);
	cr_assert_not(sim_tcb(p.client)->flags & TCB_URGENT);
	sim_free(m);
}

/* A lie about where urgent data will be is worth nothing. */
Test(urgent, beyond_the_ring_is_refused)
{
	struct sim *m = sim_new(100);
	struct sim_pair p = established_pair(m);

	sim_hint(p.client, SOCK_URGENT, UINT64_MAX);
	sim_hint(p.client, SOCK_URGENT, 1ull << 40);
	sim_hint(p.client, SOCK_URGENT, 0);
	cr_assert_not(sim_tcb(p.client)->flags & TCB_URGENT);
	sim_free(m);
}

/* MSG_MORE: a part of a segment waits for the rest, or a fifth of a second. */
Test(urgent, more_is_to_come)
{
	struct sim *m = sim_new(101);
	struct sim_pair p = established_pair(m);
	char buf[16];

	sim_run(m, SIM_SEC);
	sim_hint(p.client, SOCK_MORE, 0);
	sim_send(p.client, "abc", 3);
	sim_run(m, 100 * SIM_MS);
	cr_assert_eq(sim_readable(p.server), 0);
	sim_hint(p.client, SOCK_NO_MORE, 0);
	sim_send(p.client, "def", 3);
	sim_run(m, 100 * SIM_MS);
	cr_assert_eq(sim_recv(p.server, buf, sizeof(buf)), 6);
	sim_hint(p.client, SOCK_MORE, 0);
	sim_send(p.client, "ghi", 3);
	sim_run(m, 100 * SIM_MS);
	cr_assert_eq(sim_readable(p.server), 0);
	sim_run(m, SIM_SEC);
	cr_assert_eq(sim_readable(p.server), 3);
	sim_free(m);
}
