/* Hosts and their clients. See sim.h. */
#include "sim.h"
#include "base/log.h"
#include <stdlib.h>
#include <sys/mman.h>

#define MEM0_SIZE (64u << 20)
#define CLIENT_NS (100 * NSEC_PER_USEC)

/* ---- randomness: splitmix64 */

static uint64_t mix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

uint64_t sim_random(struct sim *m)
{
	return mix(&m->seed);
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

static void publish(struct sim_host *h, uint32_t sk)
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
		publish(h, sk);
	for (sk = all ? state_next(h->s.state, KIND_SOCK, 0) : NO_INDEX; sk != NO_INDEX;
	     sk = state_next(h->s.state, KIND_SOCK, sk + 1))
		publish(h, sk);
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

static void step(struct sim *m, uint64_t limit)
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
	step(m, UINT64_MAX);
}

void sim_run(struct sim *m, uint64_t ns)
{
	uint64_t end = m->now + ns;

	while (m->now < end)
		step(m, end);
	step(m, end);
}

bool sim_run_until(struct sim *m, bool (*done)(void *arg), void *arg, uint64_t ns)
{
	uint64_t end = m->now + ns;

	while (!done(arg)) {
		if (m->now >= end)
			return false;
		step(m, end);
	}
	return true;
}

/* ---- requests */

struct request {
	struct sim_sock *k, *child;
	int a, b, c, ret;
	struct endpoint ep;
	uint64_t x, y;
};

static struct sim_sock *free_slot(struct sim_host *h)
{
	for (uint32_t i = 0; i < SIM_SOCKS; i++) {
		if (h->sock[i].used)
			continue;
		h->sock[i] = (struct sim_sock){.sim = h->sim, .host = h, .slot = i};
		return &h->sock[i];
	}
	cr_assert_fail("no slot");
	return NULL;
}

static int ask(struct sim_sock *k, struct request *r, void (*fn)(struct sim_host *h, void *arg))
{
	r->k = k;
	sim_cycle(k->host, fn, r);
	return r->ret;
}

static void do_socket(struct sim_host *h, void *arg)
{
	struct request *r = arg;
	struct sock_rec *k = sock_alloc(&h->s, &r->k->sk);

	cr_assert(k);
	k->family = AF_INET;
	k->type = SOCK_STREAM;
	k->protocol = IPPROTO_TCP;
	k->session = 0;
	k->slot = r->k->slot;
	r->ret = tcp_ops.create(&h->s, r->k->sk);
	sock_changed(&h->s, r->k->sk);
}

struct sim_sock *sim_socket(struct sim_host *h)
{
	struct sim_sock *k = free_slot(h);
	struct request r = {0};

	cr_assert_eq(ask(k, &r, do_socket), 0);
	k->used = true;
	publish(h, k->sk);
	return k;
}

static void do_bind(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.bind(&h->s, r->k->sk, &r->ep);
}

int sim_bind(struct sim_sock *k, uint16_t port)
{
	return ask(k, &(struct request){.ep.port = port}, do_bind);
}

static void do_listen(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.listen(&h->s, r->k->sk, (uint32_t)r->a);
}

int sim_listen(struct sim_sock *k, uint16_t port, int backlog)
{
	int ret = port ? sim_bind(k, port) : 0;

	return ret ? ret : ask(k, &(struct request){.a = backlog}, do_listen);
}

static void do_connect(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.connect(&h->s, r->k->sk, &r->ep);
}

int sim_connect_to(struct sim_sock *k, uint32_t v4, uint16_t port)
{
	return ask(k, &(struct request){.ep = {.addr = ipaddr_v4(v4), .port = port}}, do_connect);
}

int sim_connect(struct sim_sock *k, uint16_t port)
{
	return ask(k,
	    &(struct request){.ep = {.addr = sim_addr(1 - k->host->number), .port = port}},
	    do_connect);
}

static void do_accept(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.accept(&h->s, r->k->sk, &r->child->sk);
	if (!r->ret)
		r->ret = sock_adopt(&h->s, r->child->sk, 0, 0, r->child->slot);
}

struct sim_sock *sim_accept(struct sim_sock *k)
{
	struct request r = {.child = free_slot(k->host)};

	if (ask(k, &r, do_accept))
		return NULL;
	r.child->used = true;
	publish(k->host, r.child->sk);
	return r.child;
}

static void do_shutdown(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.shutdown(&h->s, r->k->sk, r->a);
}

int sim_shutdown(struct sim_sock *k, int how)
{
	return ask(k, &(struct request){.a = how}, do_shutdown);
}

static void do_close(struct sim_host *h, void *arg)
{
	struct request *r = arg;
	struct sock_rec *k = sock_get(&h->s, r->k->sk);

	if (k->rx_old.cap)
		sock_epoch_ack(&h->s, r->k->sk, k->rx.epoch);
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	tcp_ops.close(&h->s, r->k->sk, r->a);
}

void sim_close(struct sim_sock *k)
{
	(void)ask(k, &(struct request){.a = 0}, do_close);
	k->used = false;
}

void sim_die(struct sim_sock *k)
{
	(void)ask(k, &(struct request){.a = 1}, do_close);
	k->used = false;
}

static void do_setsockopt(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.setsockopt(&h->s, r->k->sk, r->a, r->b, &r->c, sizeof(r->c));
}

int sim_setsockopt(struct sim_sock *k, int level, int name, int v)
{
	return ask(k, &(struct request){.a = level, .b = name, .c = v}, do_setsockopt);
}

static void do_hint(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	tcp_ops.hint(&h->s, r->k->sk, (enum sock_hint)r->a, r->x);
}

void sim_hint(struct sim_sock *k, enum sock_hint hint, uint64_t pos)
{
	(void)ask(k, &(struct request){.a = (int)hint, .x = pos}, do_hint);
}

int sim_getsockopt(struct sim_sock *k, int level, int name)
{
	uint32_t len = sizeof(int);
	int v = 0, ret = tcp_ops.getsockopt(&k->host->s, k->sk, level, name, &v, &len);

	return ret ? ret : v;
}

static void do_lie(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = tcp_ops.poke(&h->s, r->k->sk, r->x, r->y);
}

int sim_lie(struct sim_sock *k, uint64_t rx_head, uint64_t tx_tail)
{
	return ask(k, &(struct request){.x = rx_head, .y = tx_tail}, do_lie);
}

/* ---- bytes */

uint32_t sim_readable(const struct sim_sock *k)
{
	return (uint32_t)(k->v.rx_tail - k->rx_head);
}

static uint32_t move(struct sim_sock *k, const struct ring_place *r, uint64_t pos, uint8_t *data,
    uint32_t len, bool in)
{
	uint8_t *base = k->host->client;

	cr_assert_eq(r->mem, 1);
	for (uint32_t done = 0; done < len;) {
		uint64_t at = ring_place_at(r, pos + done), end = r->off + r->cap;
		uint32_t run = (uint32_t)min_of((uint64_t)(len - done), end - at);

		if (in)
			memcpy(data + done, base + at, run);
		else
			memcpy(base + at, data + done, run);
		done += run;
	}
	return len;
}

uint32_t sim_recv(struct sim_sock *k, void *data, uint32_t room)
{
	uint32_t n = min_of(room, sim_readable(k));

	if (!n)
		return 0;
	move(k, &k->rx, k->rx_head, data, n, true);
	k->rx_head += n;
	k->dirty = true;
	return n;
}

uint32_t sim_send(struct sim_sock *k, const void *data, uint32_t len)
{
	uint64_t used = k->tx_tail - k->v.tx_head;
	uint32_t n = used < k->tx.cap ? (uint32_t)min_of((uint64_t)len, k->tx.cap - used) : 0;

	if (!n || !(k->v.state & CM_ST_CONNECTED))
		return 0;
	move(k, &k->tx, k->tx_tail, (uint8_t *)(uintptr_t)data, n, false);
	k->tx_tail += n;
	k->dirty = true;
	return n;
}

const struct tcp_rec *sim_tcb(const struct sim_sock *k)
{
	return tcb_peek(&k->host->s, k->sk);
}

enum tcp_state sim_state(const struct sim_sock *k)
{
	const struct tcp_rec *t = sim_tcb(k);

	return t ? t->state : TCPS_CLOSE;
}

static bool is_connected(void *arg)
{
	const struct sim_pair *p = arg;

	return (p->client->v.state & CM_ST_CONNECTED) && p->listener->v.accept_ready;
}

struct sim_pair established_pair(struct sim *m)
{
	struct sim_pair p = {
	    .listener = sim_socket(&m->host[1]), .client = sim_socket(&m->host[0])};

	cr_assert_eq(sim_listen(p.listener, 80, 16), 0);
	cr_assert_eq(sim_connect(p.client, 80), -EINPROGRESS);
	cr_assert(sim_run_until(m, is_connected, &p, 120 * SIM_SEC), "not connected");
	p.server = sim_accept(p.listener);
	cr_assert(p.server);
	return p;
}

/* ---- flows */

uint8_t sim_byte(uint64_t id, uint64_t off)
{
	uint64_t x = (off >> 3) + id * 0x9e3779b97f4a7c15ull;

	return (uint8_t)(mix(&x) >> (off & 7) * 8);
}

bool sim_pump(struct sim_flow *f)
{
	static uint8_t data[65536];
	uint32_t most =
		     min_of(f->piece ? f->piece : (uint32_t)sizeof(data), (uint32_t)sizeof(data)),
		 n;

	n = (uint32_t)min_of(f->len - f->sent, (uint64_t)most);
	for (uint32_t i = 0; i < n; i++)
		data[i] = sim_byte(f->id, f->sent + i);
	f->sent += n ? sim_send(f->from, data, n) : 0;
	n = f->stop_reading ? 0 : sim_recv(f->to, data, most);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(data[i], sim_byte(f->id, f->got + i), "byte %lu is wrong",
		    (unsigned long)(f->got + i));
	f->got += n;
	cr_assert_leq(f->got, f->sent);
	return f->got == f->len;
}

bool sim_flows(struct sim *m, struct sim_flow *f, unsigned n, uint64_t ns)
{
	uint64_t end = m->now + ns;

	for (;;) {
		uint64_t before = 0, moved = 0;
		bool done = true;

		for (unsigned i = 0; i < n; i++) {
			before += f[i].sent + f[i].got;
			done &= sim_pump(&f[i]);
			moved += f[i].sent + f[i].got;
		}
		if (done)
			return true;
		if (m->now >= end)
			return false;
		/* A client that has more to do does it soon. */
		step(m, moved == before ? end : min_of(end, m->now + CLIENT_NS));
	}
}
