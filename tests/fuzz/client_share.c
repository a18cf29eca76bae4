/* See client_share.h. */
#include "client_share.h"
#include "proto/share.h"

#define SHARES 4
#define TOKENS 6
#define LIKELY 12 /* slots in which there may be a socket */

static struct known_share {
	uint8_t *mem;
	uint64_t size;
	struct cm_header lay;
	uint32_t number;
	uint8_t secret[16];
} shares[SHARES];

static int tokens[TOKENS];
static struct client self;

/* ---- answers */

static void share_forget(struct known_share *k)
{
	if (k->mem)
		munmap(k->mem, k->size);
	memset(k, 0, sizeof(*k));
}

static void take_share(const Netd__Control__Shared *a)
{
	struct known_share *k = &shares[rnd(SHARES)];
	int fd = channel_take_fd(&msg, 0);

	check(fd >= 0 && a->secret.len == sizeof(k->secret), "a share without memory or secret");
	share_forget(k);
	k->size = a->memory_size;
	k->mem = memory_map(fd, k->size, PROT_READ | PROT_WRITE);
	check(k->mem, "the share's memory: %d", errno);
	close(fd);
	check(!cm_layout(&k->lay, k->size, a->slots), "the share's layout");
	k->number = a->share;
	memcpy(k->secret, a->secret.data, sizeof(k->secret));
}

/* The child of a fork that goes on alone; or nobody takes the clone, and it is to go by itself. */
static void take_clone(const Netd__Control__Attached *a)
{
	struct client clone = {.conn = channel_take_fd(&msg, 0),
	    .memfd = channel_take_fd(&msg, 1),
	    .bell = channel_take_fd(&msg, 2),
	    .set0 = channel_take_fd(&msg, 3)};

	check(clone.set0 >= 0, "a clone without its descriptors");
	if (one_in(2)) {
		die(&clone);
		return;
	}
	clone.mem = memory_map(clone.memfd, a->memory_size, PROT_READ | PROT_WRITE);
	check(clone.mem, "the clone's memory: %d", errno);
	memcpy(&clone.lay, clone.mem, sizeof(clone.lay));
	check(!cm_check(&clone.lay, a->memory_size), "the clone's header");
	die(&self);
	self = clone;
}

static void take_token(void)
{
	int *t = &tokens[rnd(TOKENS)];

	close_fd(t);
	*t = channel_take_fd(&msg, 0);
	check(*t >= 0, "no token");
}

static void take_answer(void)
{
	Netd__Control__Response *a = netd__control__response__unpack(NULL, msg.len, msg.data);

	check(a, "an answer that is none");
	switch (a->error ? NETD__CONTROL__RESPONSE__BODY__NOT_SET : a->body_case) {
	case NETD__CONTROL__RESPONSE__BODY_SHARED:
		take_share(a->shared);
		break;
	case NETD__CONTROL__RESPONSE__BODY_JOINED:
		take_share(a->joined);
		break;
	case NETD__CONTROL__RESPONSE__BODY_CLONED:
		take_clone(a->cloned);
		break;
	case NETD__CONTROL__RESPONSE__BODY_TOKEN:
		take_token();
		break;
	default:
		break;
	}
	netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&msg);
}

/* ---- requests */

static uint32_t odd_slot(void)
{
	return one_in(40) ? (uint32_t)rnd_odd() : rnd(LIKELY);
}

/* Slots of which some have no socket, are shared already, or are named twice, even in a long list. */
static void odd_slots(Netd__Control__Share *q)
{
	static uint32_t slot[SLOTS + 10];
	uint32_t first = rnd(LIKELY), few = 1 + rnd(3);

	q->n_slot = one_in(6) ? rnd(ARRAY_SIZE(slot)) : few;
	q->slot = slot;
	for (uint32_t i = 0; i < q->n_slot; i++)
		slot[i] = one_in(100) ? odd_slot() : (first + i % few) % LIKELY;
}

static void odd_secret(ProtobufCBinaryData *out, const void *right)
{
	static uint8_t secret[32];

	memcpy(secret, right, 16);
	if (one_in(8))
		mutate(secret, 16);
	*out = (ProtobufCBinaryData){one_in(12) ? rnd(sizeof(secret)) : 16, secret};
}

/* With a token that was given, or as a watcher of a share that is known. */
static void odd_join(Netd__Control__Join *q, Netd__Control__Watch *w)
{
	const struct known_share *k = &shares[rnd(SHARES)];
	struct cm_token t = {.index = (uint32_t)rnd_odd()};
	unsigned i = rnd(TOKENS);

	for (unsigned n = 0; n < TOKENS && tokens[i] < 0; n++)
		i = (i + 1) % TOKENS;
	q->slot = one_in(2) ? LIKELY + rnd(SLOTS - LIKELY) : odd_slot();
	if (one_in(2)) {
		w->share = one_in(10) ? (uint32_t)rnd_odd() : k->number;
		w->slot = one_in(10) ? (uint32_t)rnd_odd() : rnd(4);
		q->watch = w;
		odd_secret(&q->secret, k->secret);
		return;
	}
	if (recv(tokens[i], &t, sizeof(t), MSG_PEEK | MSG_DONTWAIT) == sizeof(t))
		check(t.magic == CM_TOKEN_MAGIC, "what lies in a token");
	q->index = t.index;
	odd_secret(&q->secret, t.secret);
}

static void ask(void)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Share share = NETD__CONTROL__SHARE__INIT;
	Netd__Control__Token token = NETD__CONTROL__TOKEN__INIT;
	Netd__Control__Join join = NETD__CONTROL__JOIN__INIT;
	Netd__Control__Watch watch = NETD__CONTROL__WATCH__INIT;
	Netd__Control__Identify identify = NETD__CONTROL__IDENTIFY__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;

	q.id = self.id += !one_in(30);
	switch (rnd(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		odd_slots(&share);
		q.body_case = NETD__CONTROL__REQUEST__BODY_SHARE;
		q.share = &share;
		break;
	case 4:
		q.body_case = NETD__CONTROL__REQUEST__BODY_CLONE;
		q.clone = &empty;
		break;
	case 5:
		identify.keep = (uint32_t)rnd_odd();
		q.body_case = NETD__CONTROL__REQUEST__BODY_IDENTIFY;
		q.identify = &identify;
		break;
	case 6:
	case 7:
	case 8:
		token.slot = odd_slot();
		q.body_case = NETD__CONTROL__REQUEST__BODY_TOKEN;
		q.token = &token;
		break;
	default:
		odd_join(&join, &watch);
		q.body_case = NETD__CONTROL__REQUEST__BODY_JOIN;
		q.join = &join;
	}
	(void)channel_send(self.conn, &q.base, NULL, 0); /* full, or thrown out */
}

/* In the words of the clients' line, and sometimes anywhere. */
static void lie(struct known_share *k)
{
	struct cm_slot *m = (struct cm_slot *)(void *)(k->mem + k->lay.slot_off) + rnd(4);
	uint64_t room = m->tx.cap - (m->tx_tail - load_once(&m->tx_head));

	if (m->rx_tail >= m->rx_head)
		m->rx_head += rnd((uint32_t)(m->rx_tail - m->rx_head) + 1);
	if (room && room <= m->tx.cap)
		m->tx_tail += rnd((uint32_t)min_of(room, (uint64_t)30000) + 1);
	m->rx_epoch_ack = one_in(8) ? (uint32_t)rnd_odd() : m->rx.epoch;
	m->tx_parked = rnd(4);
	if (one_in(30))
		m->rx_head = rnd_odd();
	if (one_in(30))
		m->tx_tail = rnd_odd();
	if (one_in(60))
		rnd_bytes(m, sizeof(*m));
}

/* What there is to share: sockets, some of them connected with each other. */
static void use_sockets(void)
{
	static const enum cm_op ops[] = {CM_SOCKET, CM_SOCKET, CM_SOCKET, CM_SOCKET, CM_SOCKET, CM_SOCKET, CM_BIND, CM_LISTEN, CM_CONNECT, CM_CONNECT, CM_ACCEPT,
	    CM_POKE, CM_GROW, CM_SHUTDOWN, CM_CLOSE};
	struct cm_cqe c;

	for (uint32_t n = rnd(12); n; n--) {
		struct cm_sqe e = {.op = ops[rnd(ARRAY_SIZE(ops))], .slot = rnd(LIKELY), .arg = {AF_INET},
		    .ep = {.addr = ipaddr_v4(0x7f000001), .port = (uint16_t)(8100 + rnd(3))}};

		if (e.op == CM_SOCKET)
			e.arg[1] = one_in(3) ? SOCK_DGRAM : SOCK_STREAM;
		else if (e.op == CM_ACCEPT)
			e.arg[0] = (int32_t)rnd(LIKELY);
		else if (e.op == CM_GROW)
			e.arg[0] = (int32_t)(4096u << rnd(5));
		submit(&self, e);
	}
	while (completed(&self, &c))
		;
}

static bool thrown_out(void)
{
	struct pollfd p = {.fd = self.conn, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

/* ---- */

void share_begin(void)
{
	for (unsigned i = 0; i < TOKENS; i++)
		tokens[i] = -1;
	attach(&self);
}

void share_step(void)
{
	struct known_share *k = &shares[rnd(SHARES)];

	while (!one_in(6) && channel_recv(self.conn, &msg, 0) == 1)
		take_answer();
	if (thrown_out() || one_in(60)) {
		die(&self);
		cycle();
		attach(&self);
	}
	use_sockets();
	if (one_in(2))
		ask();
	if (k->mem)
		lie(k);
	if (one_in(12))
		close_fd(&tokens[rnd(TOKENS)]);
}

void share_end(void)
{
	die(&self);
	for (unsigned i = 0; i < TOKENS; i++)
		close_fd(&tokens[i]);
	for (unsigned i = 0; i < SHARES; i++)
		share_forget(&shares[i]);
}
