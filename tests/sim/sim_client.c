/* The hosts' clients: their requests and their bytes. See sim.h. */
#include "sim.h"

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
	sim_publish(h, k->sk);
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
	sim_publish(k->host, r.child->sk);
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

static void do_grow(struct sim_host *h, void *arg)
{
	struct request *r = arg;

	r->ret = sock_tx_ring(&h->s, r->k->sk, (uint32_t)r->a, r->k->v.tx_head);
}

void sim_grow(struct sim_sock *k, uint32_t cap)
{
	cr_assert_eq(ask(k, &(struct request){.a = (int)cap}, do_grow), 0);
	sim_publish(k->host, k->sk);
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
