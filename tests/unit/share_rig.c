#include "share_rig.h"
#include "proto/channel.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS  256u
#define SIZE   (16ull << 20)
#define MEMS   64u
#define SOCKS  128
#define TOKENS 64

struct mem {
	bool used;
	int fd;
	uint8_t *p;
	struct cm_header *h;
	uint64_t heap;
	unsigned slots, holds; /* share: slots given out, sockets alive */
	/* of a session */
	int ctl, bell, set_bell[CM_SETS];
	uint32_t rung[CM_SETS];
	uint64_t sq_cons, cq_prod, ev_prod;
	int held[SLOTS]; /* socket + 1 */
};

struct sock {
	bool used;
	unsigned mem, slot, holders;
	uint32_t state;
	uint64_t rx_tail, tx_head;
	struct ring_place rx, tx;
};

struct token {
	int fd, sock;
	uint8_t secret[16];
};

static struct mem mems[MEMS];
static struct sock socks[SOCKS];
static struct token tokens[TOKENS];
volatile struct share_rig *share_rig;
static char path[64];
static int listener;
static pid_t rig_pid;

static struct cm_slot *slot_at(unsigned mem, unsigned slot)
{
	return (struct cm_slot *)(void *)(mems[mem].p + mems[mem].h->slot_off) + slot;
}

static unsigned mem_new(void)
{
	unsigned i = 1;

	while (mems[i].used)
		if (++i == MEMS)
			abort();
	mems[i] =
	    (struct mem){.used = true, .fd = memory_create("rig", SIZE), .ctl = -1, .bell = -1};
	mems[i].p = memory_map(mems[i].fd, SIZE, PROT_READ | PROT_WRITE);
	mems[i].h = (struct cm_header *)(void *)mems[i].p;
	cm_layout(mems[i].h, SIZE, SLOTS);
	mems[i].h->session = i;
	mems[i].heap = mems[i].h->heap_off;
	for (unsigned k = 0; k < CM_SETS; k++)
		mems[i].set_bell[k] = -1;
	return i;
}

static void mem_free(unsigned i)
{
	munmap(mems[i].p, SIZE);
	close(mems[i].fd);
	mems[i].used = false;
}

static void place_new(const struct sock *k, struct ring_place *p, uint32_t cap, uint64_t base)
{
	struct mem *m = &mems[k->mem];

	*p = (struct ring_place){
	    .off = m->heap, .base = base, .cap = cap, .mem = k->mem + 1, .epoch = p->epoch + 1};
	m->heap += cap;
	if (m->heap > SIZE)
		abort();
}

/* ---- telling */

static void wake(unsigned mem, unsigned slot)
{
	struct mem *s = &mems[mem];
	struct cm_slot *own = slot_at(mem, slot);
	uint32_t *events = (uint32_t *)(void *)(s->p + s->h->ev_off);
	struct cm_set *sets = (struct cm_set *)(void *)(s->p + s->h->set_off);

	store_release(&own->ev_seq, own->ev_seq + 1);
	fence_full();
	if (s->ev_prod - load_acquire(&s->h->ev_cons) < SLOTS) {
		events[s->ev_prod & (SLOTS - 1)] = slot;
		store_release(&s->h->ev_prod, ++s->ev_prod);
	}
	fence_full();
	if (load_once(&own->want))
		syscall(SYS_futex, &own->ev_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	for (int i = 0; i < CM_SLOT_SETS; i++) {
		uint32_t set = load_once(&own->set[i]), arm;

		if (set >= CM_SETS || s->set_bell[set] < 0)
			continue;
		arm = load_acquire(&sets[set].arm);
		if ((arm & 1) && arm != s->rung[set]) {
			s->rung[set] = arm;
			bell_ring(s->set_bell[set]);
		}
	}
}

static void tell(int i)
{
	struct sock *k = &socks[i];
	struct cm_slot *m = slot_at(k->mem, k->slot);

	if (memcmp(&m->rx, &k->rx, sizeof(k->rx)) || memcmp(&m->tx, &k->tx, sizeof(k->tx))) {
		store_once(&m->layout_seq, m->layout_seq + 1);
		fence_full();
		m->rx = k->rx;
		m->tx = k->tx;
		store_release(&m->layout_seq, m->layout_seq + 1);
	}
	store_release(&m->rx_tail, k->rx_tail);
	store_release(&m->tx_head, k->tx_head);
	store_release(&m->state, k->state);
	for (unsigned n = 1; n < MEMS; n++)
		for (unsigned slot = 0; mems[n].used && mems[n].ctl >= 0 && slot < SLOTS; slot++)
			if (mems[n].held[slot] == i + 1)
				wake(n, slot);
}

/* ---- sockets */

static void sock_check(int i)
{
	struct sock *k = &socks[i];

	for (int t = 0; t < TOKENS; t++)
		if (tokens[t].fd > 0 && tokens[t].sock == i)
			return;
	if (!k->used || k->holders)
		return;
	k->used = false;
	share_rig->socks--;
	if (mems[k->mem].ctl < 0 && --mems[k->mem].holds == 0) {
		mem_free(k->mem);
		share_rig->shares--;
	}
}

static void let_go(unsigned mem, unsigned slot)
{
	int i = mems[mem].held[slot] - 1;

	if (i < 0)
		return;
	mems[mem].held[slot] = 0;
	slot_at(mem, slot)->state = 0;
	socks[i].holders--;
	sock_check(i);
}

static void look(int i)
{
	struct sock *k = &socks[i];
	struct cm_slot *m = slot_at(k->mem, k->slot);
	uint64_t tail = load_acquire(&m->tx_tail), head = load_acquire(&m->rx_head),
		 had = k->tx_head;

	while (k->rx.cap && k->tx_head < tail && k->rx_tail - head < k->rx.cap)
		mems[k->mem].p[ring_place_at(&k->rx, k->rx_tail++)] =
		    mems[k->mem].p[ring_place_at(&k->tx, k->tx_head++)];
	if (k->tx_head != had)
		tell(i);
}

static void move_ring(struct sock *k, struct ring_place *p, uint32_t cap, uint64_t from,
    uint64_t to, const uint8_t *old_mem)
{
	struct ring_place old = *p;

	place_new(k, p, cap, from);
	for (uint64_t pos = from; old.cap && pos < to; pos++)
		mems[k->mem].p[ring_place_at(p, pos)] = old_mem[ring_place_at(&old, pos)];
}

static int grow(unsigned mem, int i, uint32_t cap)
{
	struct sock *k = &socks[i];
	struct cm_slot *m = slot_at(k->mem, k->slot);

	if (k->mem != mem && load_acquire(&m->tx_parked) != mem + 1) {
		share_rig->refused_grows++;
		return -EAGAIN;
	}
	move_ring(k, &k->tx, cap, k->tx_head, load_acquire(&m->tx_tail), mems[k->mem].p);
	tell(i);
	return 0;
}

static int work(unsigned mem, const struct cm_sqe *e)
{
	int i = mems[mem].held[e->slot] - 1;

	if (i >= 0)
		look(i);
	switch (e->op) {
	case CM_SOCKET:
		for (i = 0; socks[i].used; i++)
			if (i == SOCKS - 1)
				abort();
		socks[i] = (struct sock){
		    .used = true, .mem = mem, .slot = e->slot, .holders = 1, .state = CM_ST_OPEN};
		mems[mem].held[e->slot] = i + 1;
		share_rig->socks++;
		break;
	case CM_CONNECT:
		socks[i].state |= CM_ST_CONNECTED;
		place_new(&socks[i], &socks[i].rx, 4096, 0);
		tell(i);
		return -EINPROGRESS;
	case CM_SHUTDOWN:
		socks[i].state |= CM_ST_RX_EOF | CM_ST_TX_SHUT;
		break;
	case CM_CLOSE:
		let_go(mem, e->slot);
		return 0;
	case CM_GROW:
		return grow(mem, i, (uint32_t)e->arg[0]);
	}
	if (i >= 0)
		tell(i);
	return 0;
}

static void serve_rings(unsigned n)
{
	struct mem *s = &mems[n];
	struct cm_sqe *sq = (struct cm_sqe *)(void *)(s->p + s->h->sq_off);
	struct cm_cqe *cq = (struct cm_cqe *)(void *)(s->p + s->h->cq_off);
	uint64_t prod = load_acquire(&s->h->sq_prod), had = s->cq_prod;

	for (; s->sq_cons < prod; s->sq_cons++) {
		struct cm_sqe e = sq[s->sq_cons & (CM_SQ_ENTRIES - 1)];
		struct cm_cqe c = {.token = e.token};

		store_once(&s->h->sq_taken, s->sq_cons + 1);
		fence_full();
		c.res = work(n, &e);
		if (e.op != CM_POKE)
			cq[s->cq_prod++ & (CM_CQ_ENTRIES - 1)] = c;
	}
	store_release(&s->h->sq_cons, s->sq_cons);
	if (s->cq_prod == had)
		return;
	store_release(&s->h->cq_prod, s->cq_prod);
	store_release(&s->h->cq_seq, s->h->cq_seq + 1);
	fence_full();
	if (load_once(&s->h->cq_want))
		syscall(SYS_futex, &s->h->cq_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- the control connection */

typedef Netd__Control__Response Answer;

/* Descriptors for the client go to fds[]: memory, bell, set 0's bell. */
static void session_ready(unsigned n, Netd__Control__Attached *a, int *fds)
{
	int bell[2], set[2];

	if (bell_create(bell) < 0 || bell_create(set) < 0)
		abort();
	mems[n].bell = bell[0];
	mems[n].set_bell[0] = set[1];
	a->version = CM_VERSION;
	a->session = n;
	a->memory_size = SIZE;
	fds[0] = dup(mems[n].fd);
	fds[1] = bell[1];
	fds[2] = set[0];
	share_rig->sessions++;
}

static void share_slots(
    unsigned n, const Netd__Control__Share *q, Netd__Control__Shared *a, int *fds)
{
	unsigned to = mem_new();

	share_rig->shares++;
	a->share = to;
	a->memory_size = SIZE;
	a->slots = SLOTS;
	a->n_slot = q->n_slot;
	a->slot = calloc(q->n_slot, sizeof(*a->slot));
	for (unsigned i = 0; i < q->n_slot; i++) {
		int s = mems[n].held[q->slot[i]] - 1;
		struct sock *k = &socks[s];
		struct cm_slot *own = slot_at(n, q->slot[i]), *m;

		if (s < 0 || k->mem != n)
			abort();
		k->mem = to;
		k->slot = a->slot[i] = mems[to].slots++;
		mems[to].holds++;
		m = slot_at(to, k->slot);
		m->rx_head = own->rx_head;
		m->tx_tail = own->tx_tail;
		if (k->rx.cap)
			move_ring(k, &k->rx, k->rx.cap, own->rx_head, k->rx_tail, mems[n].p);
		if (k->tx.cap)
			move_ring(k, &k->tx, k->tx.cap, k->tx_head, own->tx_tail, mems[n].p);
		store_release(&own->state, CM_ST_OPEN | CM_ST_SHARED);
		tell(s);
	}
	fds[0] = dup(mems[to].fd);
}

static void hold(unsigned n, unsigned slot, int s)
{
	mems[n].held[slot] = s + 1;
	socks[s].holders++;
	store_release(&slot_at(n, slot)->state, CM_ST_OPEN | CM_ST_SHARED);
}

static void clone_session(unsigned n, Netd__Control__Attached *a, int *fds)
{
	unsigned to = mem_new();
	int ctl[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0)
		abort();
	mems[to].ctl = ctl[0];
	fds[0] = ctl[1];
	session_ready(to, a, fds + 1);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct cm_slot *own = slot_at(to, slot);

		for (int i = 0; i < CM_SLOT_SETS; i++)
			own->set[i] = CM_NO_SET;
		if (mems[n].held[slot] && socks[mems[n].held[slot] - 1].mem != n)
			hold(to, slot, mems[n].held[slot] - 1);
	}
}

static void make_token(unsigned n, unsigned slot, int *fds)
{
	struct cm_token t = {.magic = CM_TOKEN_MAGIC, .family = AF_INET, .type = SOCK_STREAM};
	int p[2];

	while (tokens[t.index].fd > 0)
		t.index++;
	if (t.index == TOKENS || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		abort();
	for (int i = 0; i < 16; i++)
		t.secret[i] = (uint8_t)rand();
	tokens[t.index] = (struct token){.fd = p[0], .sock = mems[n].held[slot] - 1};
	memcpy(tokens[t.index].secret, t.secret, 16);
	if (send(p[0], &t, sizeof(t), 0) != sizeof(t))
		abort();
	fds[0] = p[1];
	share_rig->tokens++;
}

static int join(unsigned n, const Netd__Control__Join *q, Netd__Control__Shared *a, int *fds)
{
	struct token *t = &tokens[q->index];
	struct sock *k = &socks[t->sock];

	if (q->index >= TOKENS || t->fd <= 0 || q->secret.len != 16 ||
	    memcmp(t->secret, q->secret.data, 16))
		return -EPERM;
	hold(n, q->slot, t->sock);
	a->share = k->mem;
	a->memory_size = SIZE;
	a->slots = SLOTS;
	a->n_slot = 1;
	a->slot = calloc(1, sizeof(*a->slot));
	a->slot[0] = k->slot;
	a->family = AF_INET;
	a->type = SOCK_STREAM;
	fds[0] = dup(mems[k->mem].fd);
	return 0;
}

static void end_session(unsigned n)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		let_go(n, slot);
	close(mems[n].ctl);
	close(mems[n].bell);
	for (unsigned i = 0; i < CM_SETS; i++)
		if (mems[n].set_bell[i] >= 0)
			close(mems[n].set_bell[i]);
	mem_free(n);
	share_rig->sessions--;
}

static void serve_control(unsigned n)
{
	static struct channel_msg m;
	Answer r = NETD__CONTROL__RESPONSE__INIT;
	Netd__Control__Attached attached = NETD__CONTROL__ATTACHED__INIT;
	Netd__Control__SetReady ready = NETD__CONTROL__SET_READY__INIT;
	Netd__Control__Shared shared = NETD__CONTROL__SHARED__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Request *q;
	int fds[4] = {-1, -1, -1, -1}, count = 0, got = channel_recv(mems[n].ctl, &m, 0);

	if (got == -EAGAIN)
		return;
	if (got != 1) {
		end_session(n);
		return;
	}
	q = netd__control__request__unpack(NULL, m.len, m.data);
	r.id = q->id;
	serve_rings(n);
	switch (q->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
		session_ready(n, &attached, fds);
		count = 3;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_ATTACHED;
		r.attached = &attached;
		break;
	case NETD__CONTROL__REQUEST__BODY_NEW_SET: {
		int p[2];

		if (bell_create(p) < 0)
			abort();
		mems[n].set_bell[q->new_set->set] = p[1];
		fds[0] = p[0];
		count = 1;
		ready.set = q->new_set->set;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_SET_READY;
		r.set_ready = &ready;
		break;
	}
	case NETD__CONTROL__REQUEST__BODY_SHARE:
		share_slots(n, q->share, &shared, fds);
		count = 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_SHARED;
		r.shared = &shared;
		break;
	case NETD__CONTROL__REQUEST__BODY_CLONE:
		clone_session(n, &attached, fds);
		count = 4;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_CLONED;
		r.cloned = &attached;
		break;
	case NETD__CONTROL__REQUEST__BODY_TOKEN:
		make_token(n, q->token->slot, fds);
		count = 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_TOKEN;
		r.token = &empty;
		break;
	case NETD__CONTROL__REQUEST__BODY_JOIN:
		r.error = join(n, q->join, &shared, fds);
		count = r.error ? 0 : 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_JOINED;
		r.joined = &shared;
		break;
	default:
		break;
	}
	channel_send(mems[n].ctl, &r.base, fds, count);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	free(shared.slot);
	netd__control__request__free_unpacked(q, NULL);
}

static void token_end(int t)
{
	char c;

	if (tokens[t].fd <= 0 || recv(tokens[t].fd, &c, 1, MSG_DONTWAIT) != 0)
		return;
	close(tokens[t].fd);
	tokens[t].fd = 0;
	share_rig->tokens--;
	sock_check(tokens[t].sock);
}

static void run(void)
{
	for (;;) {
		struct pollfd p = {.fd = listener, .events = POLLIN};

		if (poll(&p, 1, 0) == 1) {
			unsigned n = mem_new();

			mems[n].ctl = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		}
		for (unsigned n = 1; n < MEMS; n++) {
			if (mems[n].used && mems[n].ctl >= 0)
				serve_rings(n);
			if (mems[n].used && mems[n].ctl >= 0)
				serve_control(n);
		}
		for (int t = 0; t < TOKENS; t++)
			token_end(t);
		usleep(20);
	}
}

void share_rig_start(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	share_rig = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(path, sizeof(path), "/tmp/share-rig-%d.sock", getpid());
	unlink(path);
	memcpy(sa.sun_path, path, sizeof(path));
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener, 8) < 0)
		abort();
	setenv("NETD_SOCKET", path, 1);
	rig_pid = fork();
	if (!rig_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
	}
	close(listener);
}

void share_rig_stop(void)
{
	kill(rig_pid, SIGKILL);
	waitpid(rig_pid, NULL, 0);
	unlink(path);
}
