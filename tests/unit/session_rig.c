/* See session_rig.h: the mock-up protocol, the supervisor's half, and the life of the daemon. */
#include "session_rig.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MEM0_SIZE (1u << 20)

/* ---- the mock-up protocol: what a stream and a datagram type would be */

bool mock_keep; /* closed sockets stay as orphans */
int mock_closed, mock_killed, mock_connects;
uint32_t mock_child = NO_INDEX; /* the one that accept() will give */

int mock_create(struct stack *s, uint32_t sk)
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

struct rig_deposit *rig_find(struct rig *r, uint32_t kind, uint32_t index)
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

unsigned rig_deposits(const struct rig *r)
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

void rig_lose(struct rig *r, uint32_t kind, uint32_t index)
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

void rig_start(struct rig *r)
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

void rig_kill(struct rig *r)
{
	struct stack *s = &r->s;

	socket_layer_exit(s);
	inet_layer_exit(s);
	state_close(s->state);
	timers_free(s->timers);
	memories_free(s->mem);
}

void rig_restart(struct rig *r)
{
	rig_kill(r);
	rig_start(r);
}

struct rig *rig_new(void)
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
	r->records[KIND_RAW] = (struct record_type){.name = "raw", .size = sizeof(struct raw_rec), .capacity = RIG_FEW};
	r->records[KIND_MEMBER] =
	    (struct record_type){.name = "member", .size = sizeof(struct member_rec), .capacity = RIG_FEW};
	r->records[KIND_TOKEN] =
	    (struct record_type){.name = "token", .size = sizeof(struct token_rec), .capacity = RIG_TOKENS};
	r->board = (struct switchboard){
	    .records = r->records, .families = mock_families, .n_families = ARRAY_SIZE(mock_families)};
	netd__component__config__init(&r->config);
	netd__component__limits__init(&r->limits);
	r->limits.session_memory = 32u << 20;
	r->config.limits = &r->limits;
	r->env = (struct socket_env){.arg = r,
	    .deposit = rig_deposit,
	    .withdraw = rig_withdraw,
	    .config = rig_config};
	r->arena_size = state_size(r->records);
	r->arena =
	    mmap(NULL, r->arena_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r->mem0 = mmap(NULL, MEM0_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	rig_start(r);
	return r;
}

void rig_free(struct rig *r)
{
	rig_kill(r);
	for (int i = 0; i < RIG_DEPOSITS; i++)
		if (r->deposit[i].kind)
			rig_withdraw(r, r->deposit[i].kind, r->deposit[i].index, r->deposit[i].gen);
	munmap(r->arena, r->arena_size);
	munmap(r->mem0, MEM0_SIZE);
	free(r);
}

unsigned rig_gather(struct rig *r)
{
	r->s.now += 1000000;
	return socket_gather(&r->s, 4096, true);
}

void rig_commit(struct rig *r)
{
	state_commit(r->s.state);
	memories_commit(r->s.mem);
}

void rig_cycle(struct rig *r)
{
	rig_gather(r);
	rig_commit(r);
	socket_speak(&r->s, false);
}

void rig_settle(struct rig *r)
{
	for (int i = 0; i < 4; i++)
		rig_cycle(r);
}
