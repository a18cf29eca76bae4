/*
 * A stack with the SOCKET layer, a supervisor that only keeps deposits, and clients in this
 * process. The protocol underneath is a mock-up: it swallows what is written and keeps what it was
 * asked, so that the tests are about sessions and requests alone. A restart forgets everything that
 * was not committed, as SIGKILL does.
 */
#pragma once
#include "base/util.h"
#include "proto/channel.h"
#include "socket/layer.h"
#include "socket/share.h"
#include "state/switchboard.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RIG_DEPOSITS 64
#define RIG_HOLDERS  100
#define MEM0_SIZE    (1u << 20)

struct rig_deposit {
	uint32_t kind, index, gen;
	int nfds, fds[4];
};

struct rig {
	struct stack s;
	struct switchboard board;
	struct record_type records[KIND_COUNT];
	struct socket_env env;
	void *arena, *mem0;
	uint64_t arena_size;
	struct rig_deposit deposit[RIG_DEPOSITS];
	int fail_deposit; /* errno for the next deposits */
	Netd__Component__Config config;
	Netd__Component__Limits limits;
};

/* ---- the mock-up protocol: what a stream and a datagram type would be */

static bool mock_keep; /* closed sockets stay as orphans */
static int mock_closed, mock_killed, mock_connects;
static uint32_t mock_child = NO_INDEX; /* the one that accept() will give */

static int mock_create(struct stack *s, uint32_t sk)
{
	int ret = sock_tx_ring(s, sk, 4096, 0);

	return ret ? ret : sock_rx_ring(s, sk, 4096, 0);
}
static int mock_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	sock_get(s, sk)->local = *ep;
	sock_changed(s, sk);
	return 0;
}
static int mock_listen(struct stack *s, uint32_t sk, uint32_t backlog)
{
	sock_get(s, sk)->backlog = backlog;
	sock_get(s, sk)->flags |= SOCK_F_LISTEN;
	sock_changed(s, sk);
	return 0;
}
static int mock_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	mock_connects++;
	sock_get(s, sk)->remote = *ep;
	sock_changed(s, sk);
	return -EINPROGRESS;
}
static int mock_accept(struct stack *s, uint32_t sk, uint32_t *child)
{
	(void)s;
	(void)sk;
	if (mock_child == NO_INDEX)
		return -EAGAIN;
	*child = mock_child;
	mock_child = NO_INDEX;
	return 0;
}
static int mock_shutdown(struct stack *s, uint32_t sk, int how)
{
	sock_get(s, sk)->flags |= how == SHUT_RD ? SOCK_F_SHUT_RD : SOCK_F_SHUT_WR;
	sock_changed(s, sk);
	return 0;
}
static void mock_close(struct stack *s, uint32_t sk, bool killed)
{
	mock_closed++;
	mock_killed += killed;
	if (!mock_keep)
		sock_free(s, sk);
}
static int mock_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct sock_rec *w;

	if (rx_head < k->rx_head || rx_head > k->rx_tail || tx_tail < k->tx_tail ||
	    tx_tail - k->tx_head > k->tx.cap)
		return -EPROTO;
	w = sock_get(s, sk);
	w->rx_head = rx_head;
	w->tx_tail = tx_tail;
	if (!mock_keep)
		w->tx_head = tx_tail;
	sock_changed(s, sk);
	return 0;
}
static int mock_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	int v;

	if (level != SOL_SOCKET || name != SO_PRIORITY || len < sizeof(v))
		return -ENOPROTOOPT;
	memcpy(&v, val, sizeof(v));
	sock_get(s, sk)->priority = (uint32_t)v;
	return 0;
}
static int mock_getsockopt(
    struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	if (level != SOL_SOCKET || name != SO_PRIORITY || *len < 4)
		return -ENOPROTOOPT;
	memcpy(val, &sock_peek(s, sk)->priority, 4);
	*len = 4;
	return 0;
}
static void mock_publish(const struct stack *s, uint32_t sk, struct sock_view *v)
{
	const struct sock_rec *k = sock_peek(s, sk);

	v->state = CM_ST_OPEN | (k->flags & SOCK_F_LISTEN ? CM_ST_LISTENING : 0) |
		   (k->flags & SOCK_F_SHUT_RD ? CM_ST_RX_EOF : 0);
	v->rx_tail = k->rx_tail;
	v->tx_head = k->tx_head;
	v->tcp_state = k->flags & SOCK_F_LISTEN ? 10 : 7;
}
static void mock_live_range(
    const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to)
{
	const struct sock_rec *k = sock_peek(s, sk);

	*from = rx ? k->rx_head : k->tx_head;
	*to = rx ? k->rx_tail : k->tx_tail;
}

static const struct sock_ops mock_ops = {.name = "mock",
    .create = mock_create,
    .bind = mock_bind,
    .listen = mock_listen,
    .connect = mock_connect,
    .accept = mock_accept,
    .shutdown = mock_shutdown,
    .close = mock_close,
    .poke = mock_poke,
    .setsockopt = mock_setsockopt,
    .getsockopt = mock_getsockopt,
    .publish = mock_publish,
    .live_range = mock_live_range};

static const struct inetsw_row mock_inetsw[] = {
    {SOCK_STREAM, IPPROTO_TCP, &mock_ops},
    {SOCK_DGRAM, IPPROTO_UDP, &mock_ops},
    {SOCK_DGRAM, IPPROTO_ICMP, &mock_ops},
    {SOCK_RAW, 0, &mock_ops},
};
static const struct inetsw_row mock_packetsw[] = {{SOCK_RAW, 0, &mock_ops}, {SOCK_DGRAM, 0, &mock_ops}};
static const struct family_row mock_families[] = {{AF_INET, mock_inetsw, ARRAY_SIZE(mock_inetsw)},
    {AF_INET6, mock_inetsw, 2}, {AF_PACKET, mock_packetsw, ARRAY_SIZE(mock_packetsw)}};

/* ---- the supervisor's half */

static struct rig_deposit *rig_find(struct rig *r, uint32_t kind, uint32_t index)
{
	for (int i = 0; i < RIG_DEPOSITS; i++)
		if (r->deposit[i].kind == kind && r->deposit[i].index == index)
			return &r->deposit[i];
	return NULL;
}

static void rig_withdraw(void *arg, uint32_t kind, uint32_t index, uint32_t gen)
{
	struct rig_deposit *d = rig_find(arg, kind, index);

	if (!d || d->gen != gen)
		return;
	for (int i = 0; i < d->nfds; i++)
		close(d->fds[i]);
	d->kind = 0;
}

static int rig_deposit(
    void *arg, uint32_t kind, uint32_t index, uint32_t gen, const int *fds, int nfds)
{
	struct rig *r = arg;
	struct rig_deposit *d;

	if (r->fail_deposit)
		return -r->fail_deposit;
	rig_withdraw(r, kind, index, gen);
	d = rig_find(r, 0, 0);
	for (int i = 0; !d && i < RIG_DEPOSITS; i++)
		if (!r->deposit[i].kind)
			d = &r->deposit[i];
	cr_assert(d);
	*d = (struct rig_deposit){.kind = kind, .index = index, .gen = gen, .nfds = nfds};
	for (int i = 0; i < nfds; i++)
		d->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
	return 0;
}

static unsigned rig_deposits(const struct rig *r)
{
	unsigned n = 0;

	for (int i = 0; i < RIG_DEPOSITS; i++)
		n += r->deposit[i].kind != 0;
	return n;
}

static const Netd__Component__Config *rig_config(void *arg)
{
	return &((struct rig *)arg)->config;
}

/* The supervisor loses a session's deposit. */
static void rig_lose(struct rig *r, uint32_t kind, uint32_t index)
{
	struct rig_deposit *d = rig_find(r, kind, index);

	cr_assert(d);
	if (d)
		rig_withdraw(r, kind, index, d->gen);
}

/* ---- life of the daemon */

static void rig_random(void *arg, void *buf, size_t len)
{
	(void)arg;
	memset(buf, 7, len);
}

static void rig_start(struct rig *r)
{
	struct stack *s = &r->s;

	memset(s, 0, sizeof(*s));
	s->now = 1000000000;
	s->random = rig_random;
	s->board = &r->board;
	s->mem = memories_new();
	s->timers = timers_new();
	cr_assert(!state_open(&s->state, r->arena, r->arena_size, r->records));
	cr_assert(!memory_add(s->mem, 0, r->mem0, MEM0_SIZE, 4096));
	cr_assert(!inet_layer_init(s));
	cr_assert(!state_recover(s->state, NULL, NULL));
	if (!world_peek(s))
		cr_assert(state_alloc_at(s->state, KIND_WORLD, 0));
	world_get(s)->incarnation++;
	cr_assert(!socket_layer_init(s, &r->env));
	for (int i = 0; i < RIG_DEPOSITS; i++) {
		struct rig_deposit *d = &r->deposit[i];
		int fds[4];

		if (!d->kind)
			continue;
		for (int f = 0; f < d->nfds; f++)
			fds[f] = fcntl(d->fds[f], F_DUPFD_CLOEXEC, 0);
		cr_assert(!socket_handed(s, d->kind, d->index, d->gen, fds, d->nfds, NULL));
	}
	cr_assert(!inet_reindex(s));
	cr_assert(!socket_reindex(s));
	state_commit(s->state);
	memories_commit(s->mem);
	socket_speak(s, true);
}

/* As SIGKILL: what was not committed has never been. */
static void rig_kill(struct rig *r)
{
	struct stack *s = &r->s;

	socket_layer_exit(s);
	inet_layer_exit(s);
	state_close(s->state);
	timers_free(s->timers);
	memories_free(s->mem);
}

static void rig_restart(struct rig *r)
{
	rig_kill(r);
	rig_start(r);
}

static struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	signal(SIGPIPE, SIG_IGN);
	mock_keep = false;
	mock_closed = mock_killed = mock_connects = 0;
	mock_child = NO_INDEX;
	for (int i = 0; i < KIND_COUNT; i++)
		r->records[i] = (struct record_type){.name = "unused", .size = 8, .capacity = 1};
	r->records[KIND_WORLD] =
	    (struct record_type){.name = "world", .size = sizeof(struct world_rec), .capacity = 1};
	r->records[KIND_SESSION] = (struct record_type){
	    .name = "session", .size = sizeof(struct session_rec), .capacity = 64};
	r->records[KIND_SOCK] =
	    (struct record_type){.name = "sock", .size = sizeof(struct sock_rec), .capacity = 4096};
	r->records[KIND_HOLDER] = (struct record_type){
	    .name = "holder", .size = sizeof(struct holder_rec), .capacity = RIG_HOLDERS};
	r->records[KIND_TOKEN] =
	    (struct record_type){.name = "token", .size = sizeof(struct token_rec), .capacity = 16};
	r->board = (struct switchboard){
	    .records = r->records, .families = mock_families, .n_families = ARRAY_SIZE(mock_families)};
	netd__component__config__init(&r->config);
	netd__component__limits__init(&r->limits);
	r->limits.session_memory = 32u << 20;
	r->config.limits = &r->limits;
	r->env = (struct socket_env){.arg = r,
	    .deposit = rig_deposit,
	    .withdraw = rig_withdraw,
	    .config = rig_config,
	    .clock_fd = -1};
	r->arena_size = state_size(r->records);
	r->arena =
	    mmap(NULL, r->arena_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->mem0 = mmap(NULL, MEM0_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_start(r);
	return r;
}

static void rig_free(struct rig *r)
{
	rig_kill(r);
	for (int i = 0; i < RIG_DEPOSITS; i++)
		if (r->deposit[i].kind)
			rig_withdraw(r, r->deposit[i].kind, r->deposit[i].index, r->deposit[i].gen);
	munmap(r->arena, r->arena_size);
	munmap(r->mem0, MEM0_SIZE);
	free(r);
}

static unsigned rig_gather(struct rig *r)
{
	r->s.now += 1000000;
	return socket_gather(&r->s, 4096, true);
}

static void rig_commit(struct rig *r)
{
	state_commit(r->s.state);
	memories_commit(r->s.mem);
}

static void rig_cycle(struct rig *r)
{
	rig_gather(r);
	rig_commit(r);
	socket_speak(&r->s, false);
}

/* Cycles until there is nothing to do. */
static void rig_settle(struct rig *r)
{
	for (int i = 0; i < 4; i++)
		rig_cycle(r);
}

/* ---- a client */

struct client {
	struct rig *r;
	int conn;
	uint64_t id;
	uint8_t *mem;
	struct cm_header lay;
	int memfd, bell, set0;
	uint64_t sq_prod, cq_cons, token;
};

static void client_open(struct client *c, struct rig *r)
{
	int pair[2];

	*c = (struct client){.r = r, .memfd = -1, .bell = -1, .set0 = -1};
	cr_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	c->conn = pair[0];
	socket_accept(&r->s, pair[1]);
}

static void client_ask(struct client *c, Netd__Control__Request *q)
{
	q->id = ++c->id;
	cr_assert(!channel_send(c->conn, &q->base, NULL, 0));
}

/* The next answer, NULL if there is none; descriptors stay in *m. */
static Netd__Control__Response *client_answer(struct client *c, struct channel_msg *m)
{
	if (channel_recv(c->conn, m, 0) != 1)
		return NULL;
	return netd__control__response__unpack(NULL, m->len, m->data);
}

static void client_ask_attach(struct client *c, uint32_t slots, uint64_t room)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach at = NETD__CONTROL__ATTACH__INIT;

	at.version = CM_VERSION;
	at.name = (char *)(uintptr_t) "rig";
	at.slots = slots;
	at.memory = room;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &at;
	client_ask(c, &q);
}

static bool client_take_attached(struct client *c)
{
	struct channel_msg *m = malloc(sizeof(*m));
	Netd__Control__Response *a = client_answer(c, m);
	bool ok = a && !a->error && a->body_case == NETD__CONTROL__RESPONSE__BODY_ATTACHED;

	if (ok) {
		uint64_t size = a->attached->memory_size;

		cr_assert_eq(m->nfds, 3);
		c->memfd = channel_take_fd(m, 0);
		c->bell = channel_take_fd(m, 1);
		c->set0 = channel_take_fd(m, 2);
		c->mem = memory_map(c->memfd, size, PROT_READ | PROT_WRITE);
		cr_assert(c->mem);
		memcpy(&c->lay, c->mem, sizeof(c->lay));
		cr_assert(!cm_check(&c->lay, size));
	}
	if (a)
		netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(m);
	free(m);
	return ok;
}

static void client_attach(struct client *c, struct rig *r)
{
	client_open(c, r);
	client_ask_attach(c, 64, 0);
	rig_settle(r);
	cr_assert(client_take_attached(c));
}

/* As the end of its process. */
static void client_die(struct client *c)
{
	session_close_fd(&c->conn);
	session_close_fd(&c->bell);
	session_close_fd(&c->set0);
	session_close_fd(&c->memfd);
	if (c->mem)
		munmap(c->mem, c->lay.size);
	c->mem = NULL;
}

static struct cm_header *client_header(struct client *c)
{
	return (struct cm_header *)(void *)c->mem;
}
static struct cm_slot *client_slot(struct client *c, uint32_t slot)
{
	return (struct cm_slot *)(void *)(c->mem + c->lay.slot_off) + slot;
}
static struct cm_set *client_set(struct client *c, uint32_t set)
{
	return (struct cm_set *)(void *)(c->mem + c->lay.set_off) + set;
}

static void client_put(struct client *c, struct cm_sqe e)
{
	struct cm_sqe *ring = (struct cm_sqe *)(void *)(c->mem + c->lay.sq_off);
	struct cm_header *h = client_header(c);

	e.token = ++c->token;
	ring[c->sq_prod++ & (CM_SQ_ENTRIES - 1)] = e;
	store_release(&h->sq_prod, c->sq_prod);
	fence_full();
	if (load_once(&h->daemon_sleeps))
		bell_ring(c->bell);
}

static bool client_get(struct client *c, struct cm_cqe *out)
{
	struct cm_cqe *ring = (struct cm_cqe *)(void *)(c->mem + c->lay.cq_off);
	struct cm_header *h = client_header(c);

	if (load_acquire(&h->cq_prod) == c->cq_cons)
		return false;
	*out = ring[c->cq_cons++ & (CM_CQ_ENTRIES - 1)];
	store_release(&h->cq_cons, c->cq_cons);
	return true;
}

/* One request from submission to its result. */
static int client_do(struct client *c, struct cm_sqe e)
{
	struct cm_cqe q = {.res = -9999};

	client_put(c, e);
	rig_cycle(c->r);
	cr_assert(client_get(c, &q));
	cr_assert_eq(q.token, c->token);
	return q.res;
}

static void client_clear_slot(struct client *c, uint32_t slot)
{
	struct cm_slot *m = client_slot(c, slot);

	m->rx_head = m->tx_tail = 0;
	m->want = m->tx_want = 0;
	memset(m->set, 0xff, sizeof(m->set));
}

static int client_socket(struct client *c, uint32_t slot, int family, int type, int protocol)
{
	if (slot < c->lay.slots)
		client_clear_slot(c, slot);
	return client_do(
	    c, (struct cm_sqe){.op = CM_SOCKET, .slot = slot, .arg = {family, type, protocol}});
}

/* Is its connection still there? */
static bool client_lives(struct client *c)
{
	char b;

	return recv(c->conn, &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Keeps the compiler quiet about what a test does not use. */
__attribute__((unused)) static const void *const rig_used[] = {(const void *)rig_new,
    (const void *)rig_free, (const void *)rig_restart, (const void *)rig_lose,
    (const void *)rig_deposits, (const void *)client_attach, (const void *)client_die,
    (const void *)client_set, (const void *)client_socket, (const void *)client_lives};
