/* Hosts, their deaths, and the clock. See sim.h. */
#include "sim.h"
#include "base/log.h"
#include <stdlib.h>
#include <sys/mman.h>

#define MEM0_SIZE (64u << 20)

/* ---- randomness: splitmix64 */

uint64_t sim_mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *m)
{
	return sim_mix(&m->seed);
}

bool sim_roll(struct sim *m, uint32_t per_million)
{
	return per_million && sim_random(m) % 1000000 < per_million;
}

static void random_bytes(void *arg, void *buf, size_t len)
{
	uint8_t *to = buf;

	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)sim_random(arg);
}

/* ---- a host */

static void *memory(uint64_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

struct ipaddr sim_addr(unsigned host)
{
	return ipaddr_v4(0x0a000001u + host);
}

void sim_publish(struct sim_host *h, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(&h->s, sk);
	struct sim_sock *c;

	if (!k || k->session != 0 || k->slot >= SIM_SOCKS)
		return;
	c = &h->sock[k->slot];
	if (!c->used)
		return;
	c->sk = sk;
	memset(&c->v, 0, sizeof(c->v));
	tcp_ops.publish(&h->s, sk, &c->v);
	c->rx = k->rx;
	c->tx = k->tx;
	c->err = k->err;
	c->err_seq = k->err_seq;
	if (c->rx_epoch != k->rx.epoch) {
		c->rx_epoch = k->rx.epoch;
		c->dirty = true;
	}
}

static void speak(struct sim_host *h, bool all)
{
	uint32_t sk;

	world_speak(&h->s, all);
	while ((sk = sock_next_changed(&h->s)) != NO_INDEX)
		sim_publish(h, sk);
	for (sk = all ? state_next(h->s.state, KIND_SOCK, 0) : NO_INDEX; sk != NO_INDEX;
	     sk = state_next(h->s.state, KIND_SOCK, sk + 1))
		sim_publish(h, sk);
}

static void start(struct sim_host *h)
{
	struct stack *s = &h->s;
	bool fresh;

	memset(s, 0, sizeof(*s));
	s->now = h->sim->now;
	s->random = random_bytes;
	s->random_arg = h->sim;
	cr_assert_eq(world_open(s, h->arena, h->arena_size, h->mem0, h->mem0_size), 0);
	cr_assert_eq(world_recover(s), 0);
	fresh = !device_peek(s, 1);
	h->dev = (uint32_t)device_attach(s, "sim0", "sim", h->region, h->region_size, -1);
	cr_assert_eq(h->dev, 1);
	cr_assert_eq(memory_add(s->mem, 1, h->client, SIM_CLIENT, 4096), 0);
	cr_assert_eq(world_reindex(s), 0);
	if (fresh) {
		struct ipaddr me = sim_addr(h->number), peer = sim_addr(1 - h->number);

		cr_assert_eq(addr_add(s, h->dev, &me, 24), 0);
		cr_assert_eq(neigh_set(s, h->dev, &peer, sim_mac[1 - h->number]), 0);
	} else {
		world_resume(s, h->died_at);
	}
	world_commit(s);
	speak(h, true);
	for (unsigned i = 0; i < SIM_SOCKS; i++) /* the successor counts all tails as changed */
		h->sock[i].dirty = h->sock[i].used;
}

static void host_open(struct sim *m, unsigned number)
{
	struct sim_host *h = &m->host[number];
	struct region *r;

	h->sim = m;
	h->number = number;
	h->arena_size = state_size(switchboard.records);
	h->arena = memory(h->arena_size);
	h->mem0_size = MEM0_SIZE;
	h->mem0 = memory(h->mem0_size);
	h->client = memory(SIM_CLIENT);
	h->geo = (struct region_geometry){
	    .chunk_size = 4096, .chunks = SIM_CHUNKS, .entries = SIM_CHUNKS, .queues = 1};
	h->region_size = region_layout(&h->geo);
	h->region = r = memory(h->region_size);
	r->geo = h->geo;
	r->mtu = m->mtu;
	r->features = m->features;
	r->link_up = 1;
	r->driver_incarnation = 1;
	memcpy(r->mac, sim_mac[number], 6);
	start(h);
}

void sim_kill(struct sim_host *h, uint64_t pause)
{
	world_close(&h->s);
	h->died_at = h->sim->now;
	h->sim->now += pause;
	h->restarts++;
	start(h);
}

struct sim *sim_new_with(uint64_t seed, uint32_t features, uint32_t mtu, bool script)
{
	struct sim *m = calloc(1, sizeof(*m));

	cr_assert(m);
	log_init("sim", LOG_LEVEL_ERROR);
	m->seed = seed;
	m->now = 1000 * SIM_SEC;
	m->features = features;
	m->mtu = mtu;
	m->script = script;
	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		m->link[i].delay = 5 * SIM_MS;
		if (!i || !script)
			host_open(m, i);
	}
	return m;
}

struct sim *sim_new(uint64_t seed)
{
	return sim_new_with(seed, 0, 1500, false);
}

void sim_free(struct sim *m)
{
	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		struct sim_host *h = &m->host[i];

		if (!h->arena)
			continue;
		world_close(&h->s);
		munmap(h->arena, h->arena_size);
		munmap(h->mem0, h->mem0_size);
		munmap(h->client, SIM_CLIENT);
		munmap(h->region, h->region_size);
	}
	wire_free(m);
	free(m);
}

/* ---- time */

static void poke_all(struct sim_host *h)
{
	for (unsigned i = 0; i < SIM_SOCKS; i++) {
		struct sim_sock *c = &h->sock[i];

		if (!c->used || !c->dirty)
			continue;
		if (sock_peek(&h->s, c->sk) && sock_peek(&h->s, c->sk)->rx_old.cap)
			sock_epoch_ack(&h->s, c->sk, c->rx_epoch);
		cr_assert_eq(tcp_ops.poke(&h->s, c->sk, c->rx_head, c->tx_tail), 0);
	}
}

static void clean_all(struct sim_host *h)
{
	for (unsigned i = 0; i < SIM_SOCKS; i++)
		h->sock[i].dirty = false;
}

void sim_cycle(struct sim_host *h, void (*request)(struct sim_host *h, void *arg), void *arg)
{
	struct sim *m = h->sim;

	for (;;) {
		h->s.now = m->now;
		poke_all(h);
		if (request)
			request(h, arg);
		world_work(&h->s, 64);
		if (!sim_roll(m, h->die_before))
			break;
		sim_kill(h, sim_random(m) % (10 * SIM_MS));
	}
	world_commit(&h->s);
	clean_all(h);
	if (sim_roll(m, h->die_after))
		sim_kill(h, sim_random(m) % (10 * SIM_MS));
	else
		speak(h, false);
	wire_collect(m);
}

static bool client_waits(const struct sim_host *h)
{
	for (unsigned i = 0; i < SIM_SOCKS; i++)
		if (h->sock[i].used && h->sock[i].dirty)
			return true;
	return false;
}

static uint64_t next_event(struct sim *m)
{
	uint64_t at = wire_next(m);

	for (unsigned i = 0; i < SIM_HOSTS; i++) {
		if (!m->host[i].arena)
			continue;
		at = min_of(at, world_next_timer(&m->host[i].s));
		if (client_waits(&m->host[i]) || device_pending(&m->host[i].s, m->host[i].dev))
			at = m->now;
	}
	return at;
}

void sim_step_until(struct sim *m, uint64_t limit)
{
	uint64_t at;

	wire_deliver(m);
	for (unsigned i = 0; i < SIM_HOSTS; i++)
		if (m->host[i].arena)
			sim_cycle(&m->host[i], NULL, NULL);
	at = next_event(m);
	if (at > m->now)
		m->now = max_of(min_of(at, limit), m->now);
}

void sim_step(struct sim *m)
{
	sim_step_until(m, UINT64_MAX);
}

void sim_run(struct sim *m, uint64_t ns)
{
	uint64_t end = m->now + ns;

	while (m->now < end)
		sim_step_until(m, end);
	sim_step_until(m, end);
}

bool sim_run_until(struct sim *m, bool (*done)(void *arg), void *arg, uint64_t ns)
{
	uint64_t end = m->now + ns;

	while (!done(arg)) {
		if (m->now >= end)
			return false;
		sim_step_until(m, end);
	}
	return true;
}
