#include "share_rig.h"
#include "proto/channel.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
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

#define SLOTS	1024u
#define SIZE	(256ull << 20)
#define MEMS	512u
#define SOCKS	2048
#define TOKENS	512
#define HOLDERS 64
#define QUEUE	512
#define RX_CAP	65536u
#define TX_MAX	262144u
#define CLASSES 32
#define FREE	256

struct mem {
	bool used;
	int fd;
	uint8_t *p;
	struct cm_header *h;
	uint64_t heap, free[CLASSES][FREE]; /* by size: powers of two */
	unsigned frees[CLASSES];
	unsigned slots, holds; /* share: slots given out, sockets alive */
	/* of a session */
	int ctl, bell, set_bell[CM_SETS];
	uint32_t rung[CM_SETS];
	uint64_t sq_cons, cq_prod, ev_prod;
	int held[SLOTS]; /* socket + 1 */
	uid_t uid;
};

struct holder {
	unsigned mem, slot;
};

/* Two connected sockets are each other's `peer`; one without is an echo. */
struct sock {
	bool used, shut, orphan; /* wrote its last; nobody holds it, and it lives until its bytes
				    are with its peer */
	unsigned mem, slot;	 /* mem 0: not accepted yet */
	struct holder holder[HOLDERS];
	unsigned holders;
	uint32_t state, error_seq;
	int32_t error;
	uint64_t rx_tail, tx_head;
	struct ring_place rx, tx;
	struct endpoint local, remote;
	int peer;      /* + 1 */
	uint8_t *left; /* what an orphan had written */
	size_t left_at, left_len;
	int queue[QUEUE]; /* a listener's children */
	unsigned queued;
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

static void place_free(unsigned mem, const struct ring_place *p)
{
	unsigned c = p->cap ? (unsigned)__builtin_ctz(p->cap) : 0;

	if (p->cap && mems[mem].frees[c] < FREE)
		mems[mem].free[c][mems[mem].frees[c]++] = p->off;
}

static void place_new(const struct sock *k, struct ring_place *p, uint32_t cap, uint64_t base)
{
	struct mem *m = &mems[k->mem];
	unsigned c = (unsigned)__builtin_ctz(cap);
	uint64_t off = m->heap;

	if (m->frees[c])
		off = m->free[c][--m->frees[c]];
	else
		m->heap += cap;
	if (m->heap > SIZE)
		abort();
	*p = (struct ring_place){
	    .off = off, .base = base, .cap = cap, .mem = k->mem + 1, .epoch = p->epoch + 1};
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
	} else {
		store_release(&s->h->ev_lost, s->h->ev_lost + 1);
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
	struct cm_slot *m;

	if (!k->mem || k->orphan)
		return;
	m = slot_at(k->mem, k->slot);
	if (memcmp(&m->rx, &k->rx, sizeof(k->rx)) || memcmp(&m->tx, &k->tx, sizeof(k->tx)) ||
	    memcmp(&m->remote, &k->remote, sizeof(k->remote)) ||
	    memcmp(&m->local, &k->local, sizeof(k->local))) {
		store_once(&m->layout_seq, m->layout_seq + 1);
		fence_full();
		m->rx = k->rx;
		m->tx = k->tx;
		m->local = k->local;
		m->remote = k->remote;
		store_release(&m->layout_seq, m->layout_seq + 1);
	}
	store_release(&m->rx_tail, k->rx_tail);
	store_release(&m->tx_head, k->tx_head);
	store_release(&m->accept_ready, k->queued);
	store_release(&m->so_error, k->error);
	store_release(&m->so_error_seq, k->error_seq);
	store_release(&m->state, k->state);
	for (unsigned n = 0; n < k->holders; n++)
		wake(k->holder[n].mem, k->holder[n].slot);
}

/* ---- bytes */

static uint64_t written(const struct sock *k)
{
	return k->mem ? load_acquire(&slot_at(k->mem, k->slot)->tx_tail) : 0;
}

static size_t room_in(const struct sock *k)
{
	return k->rx.cap
		   ? k->rx.cap - (k->rx_tail - load_acquire(&slot_at(k->mem, k->slot)->rx_head))
		   : 0;
}

/* Moves what `k` wrote to where it is read. Did anything change? */
static bool pump(struct sock *k)
{
	struct sock *to = k->peer ? &socks[k->peer - 1] : k;
	uint64_t tail = k->orphan ? 0 : written(k), had = to->rx_tail;
	uint32_t state = to->state;

	if (k->orphan) {
		while (k->left_at < k->left_len && room_in(to))
			mems[to->mem].p[ring_place_at(&to->rx, to->rx_tail++)] =
			    k->left[k->left_at++];
	} else if (to->orphan) { /* nobody reads it: a reset */
		if (k->tx_head != tail && !(k->state & CM_ST_DEAD)) {
			k->state |= CM_ST_DEAD | CM_ST_HUP | CM_ST_RX_EOF | CM_ST_TX_SHUT;
			k->error = ECONNRESET;
			k->error_seq++;
			k->tx_head = tail;
			return true;
		}
	} else if (k->mem) {
		while (k->tx_head < tail && room_in(to))
			mems[to->mem].p[ring_place_at(&to->rx, to->rx_tail++)] =
			    mems[k->mem].p[ring_place_at(&k->tx, k->tx_head++)];
	}
	if (k->shut && to->mem && (k->orphan ? k->left_at == k->left_len : k->tx_head == tail))
		to->state |= CM_ST_RX_EOF;
	return to->rx_tail != had || to->state != state;
}

static void look(int i)
{
	struct sock *k = &socks[i];

	if (!k->used || !(k->state & CM_ST_CONNECTED))
		return;
	if (!pump(k))
		return;
	tell(i);
	if (k->peer)
		tell(k->peer - 1);
}

/* ---- sockets */

static int sock_new(void)
{
	int i = 0;

	while (socks[i].used)
		if (++i == SOCKS)
			abort();
	socks[i] = (struct sock){.used = true, .state = CM_ST_OPEN};
	return i;
}

static void bury(int i)
{
	struct sock *k = &socks[i];

	if (k->peer)
		socks[k->peer - 1].peer = 0;
	free(k->left);
	k->used = false;
}

/* Nobody holds it any more. */
static void sock_end(int i)
{
	struct sock *k = &socks[i];
	uint64_t tail = written(k);

	share_rig->socks--;
	for (unsigned n = 0; n < k->queued; n++)
		sock_end(k->queue[n]);
	if (k->peer && k->mem) {
		k->left_len = tail - k->tx_head;
		k->left = malloc(k->left_len + 1);
		for (size_t n = 0; n < k->left_len; n++)
			k->left[n] = mems[k->mem].p[ring_place_at(&k->tx, k->tx_head + n)];
	}
	if (k->mem) {
		place_free(k->mem, &k->rx);
		place_free(k->mem, &k->tx);
		if (mems[k->mem].ctl < 0 && --mems[k->mem].holds == 0) {
			mem_free(k->mem);
			share_rig->shares--;
		}
	}
	k->orphan = k->shut = true;
	if (!k->peer)
		bury(i);
	else if (socks[k->peer - 1].orphan) {
		int other = k->peer - 1;

		k->peer = socks[other].peer = 0;
		bury(other);
		bury(i);
	}
}

static void sock_check(int i)
{
	for (int t = 0; t < TOKENS; t++)
		if (tokens[t].fd > 0 && tokens[t].sock == i)
			return;
	if (socks[i].used && !socks[i].orphan && !socks[i].holders)
		sock_end(i);
}

static void hold(unsigned n, unsigned slot, int s, uint32_t state)
{
	struct sock *k = &socks[s];

	if (k->holders == HOLDERS)
		abort();
	mems[n].held[slot] = s + 1;
	k->holder[k->holders++] = (struct holder){n, slot};
	if (state)
		store_release(&slot_at(n, slot)->state, state);
}

static void let_go(unsigned mem, unsigned slot)
{
	int i = mems[mem].held[slot] - 1;
	struct sock *k;

	if (i < 0)
		return;
	k = &socks[i];
	mems[mem].held[slot] = 0;
	slot_at(mem, slot)->state = 0;
	for (unsigned n = 0; n < k->holders; n++)
		if (k->holder[n].mem == mem && k->holder[n].slot == slot)
			k->holder[n--] = k->holder[--k->holders];
	sock_check(i);
}

static void move_ring(struct sock *k, struct ring_place *p, uint32_t cap, uint64_t from,
    uint64_t to, unsigned old_mem)
{
	struct ring_place old = *p;

	place_new(k, p, cap, from);
	for (uint64_t pos = from; old.cap && pos < to; pos++)
		mems[k->mem].p[ring_place_at(p, pos)] = mems[old_mem].p[ring_place_at(&old, pos)];
	place_free(old_mem, &old);
}

static int grow(unsigned mem, int i, uint32_t cap)
{
	struct sock *k = &socks[i];
	struct cm_slot *m = slot_at(k->mem, k->slot);

	if (k->mem != mem && load_acquire(&m->tx_parked) != mem + 1) {
		share_rig->refused_grows++;
		return -EAGAIN;
	}
	if (cap > TX_MAX)
		return -ENOMEM;
	move_ring(k, &k->tx, cap, k->tx_head, load_acquire(&m->tx_tail), k->mem);
	tell(i);
	return 0;
}

static int do_bind(int i, const struct endpoint *ep)
{
	static uint16_t next = 40000;

	socks[i].local = *ep;
	if (!ep->port)
		socks[i].local.port = next++;
	for (int n = 0; n < SOCKS; n++)
		if (n != i && socks[n].used && (socks[n].state & CM_ST_LISTENING) &&
		    socks[n].local.port == socks[i].local.port)
			return -EADDRINUSE;
	return 0;
}

static int do_connect(int i, const struct endpoint *ep)
{
	struct sock *k = &socks[i], *l = NULL;
	int child;

	for (int n = 0; n < SOCKS && !l; n++)
		if (socks[n].used && !socks[n].orphan && (socks[n].state & CM_ST_LISTENING) &&
		    socks[n].local.port == ep->port)
			l = &socks[n];
	if (!k->local.port)
		do_bind(i, &(struct endpoint){.addr = ep->addr});
	k->remote = *ep;
	k->state |= CM_ST_CONNECTED;
	if (!k->rx.cap)
		place_new(k, &k->rx, RX_CAP, 0);
	if (l && l->queued < QUEUE) {
		child = sock_new();
		share_rig->socks++;
		socks[child].peer = i + 1;
		k->peer = child + 1;
		socks[child].local = *ep;
		socks[child].remote = k->local;
		l->queue[l->queued++] = child;
		tell((int)(l - socks));
	}
	tell(i);
	return -EINPROGRESS;
}

static int do_accept(unsigned mem, int i, unsigned slot, struct cm_cqe *c)
{
	struct sock *l = &socks[i], *k;

	if (!l->queued)
		return -EAGAIN;
	k = &socks[l->queue[0]];
	memmove(l->queue, l->queue + 1, --l->queued * sizeof(l->queue[0]));
	k->mem = mem;
	k->slot = slot;
	place_new(k, &k->rx, RX_CAP, 0);
	k->state |= CM_ST_CONNECTED;
	hold(mem, slot, (int)(k - socks), 0);
	c->ep = k->remote;
	tell((int)(k - socks));
	tell(i);
	return 0;
}

static int do_shutdown(int i, int how)
{
	struct sock *k = &socks[i];

	if (how != SHUT_WR)
		k->state |= CM_ST_RX_EOF;
	if (how == SHUT_RD)
		return 0;
	k->state |= CM_ST_TX_SHUT;
	k->shut = true;
	return 0;
}

static int work(unsigned mem, const struct cm_sqe *e, struct cm_cqe *c)
{
	int i = mems[mem].held[e->slot] - 1, ret = 0;

	if (i >= 0)
		look(i);
	if (i < 0 && e->op != CM_SOCKET)
		return e->op == CM_NOP || e->op == CM_POKE ? 0 : -EBADF;
	switch (e->op) {
	case CM_SOCKET:
		i = sock_new();
		socks[i].mem = mem;
		socks[i].slot = e->slot;
		memset(&slot_at(mem, e->slot)->rx, 0, 2 * sizeof(struct ring_place));
		hold(mem, e->slot, i, 0);
		share_rig->socks++;
		break;
	case CM_BIND:
		ret =
		    e->ep.port && e->ep.port < 1024 && mems[mem].uid ? -EACCES : do_bind(i, &e->ep);
		break;
	case CM_LISTEN:
		if (!socks[i].local.port)
			do_bind(i, &e->ep);
		socks[i].state |= CM_ST_LISTENING;
		break;
	case CM_CONNECT:
		return do_connect(i, &e->ep);
	case CM_ACCEPT:
		return do_accept(mem, i, (unsigned)e->arg[0], c);
	case CM_SHUTDOWN:
		ret = do_shutdown(i, e->arg[0]);
		break;
	case CM_CLOSE:
		let_go(mem, e->slot);
		return 0;
	case CM_GETSOCKOPT:
		c->arg = e->arg[0] == IPPROTO_IP && e->arg[1] == IP_OPTIONS ? 0 : sizeof(int);
		return 0;
	case CM_GROW:
		return grow(mem, i, (uint32_t)e->arg[0]);
	case CM_POKE:
		return 0;
	}
	tell(i);
	return ret;
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
		c.res = work(n, &e, &c);
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
		if (share_rig->crowded && i == q->n_slot - 1) {
			let_go(n, q->slot[i]);
			own->state = CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP;
			a->slot[i] = UINT32_MAX;
			continue;
		}
		k->mem = to;
		k->slot = a->slot[i] = mems[to].slots++;
		mems[to].holds++;
		m = slot_at(to, k->slot);
		m->rx_head = own->rx_head;
		m->tx_tail = own->tx_tail;
		if (k->rx.cap)
			move_ring(k, &k->rx, k->rx.cap, own->rx_head, k->rx_tail, n);
		if (k->tx.cap)
			move_ring(k, &k->tx, k->tx.cap, k->tx_head, own->tx_tail, n);
		store_release(&own->state, CM_ST_OPEN | CM_ST_SHARED);
		tell(s);
	}
	fds[0] = dup(mems[to].fd);
}

static int with_credentials(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
	return fd;
}

static void clone_session(unsigned n, Netd__Control__Attached *a, int *fds)
{
	unsigned to = mem_new();
	int ctl[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0)
		abort();
	mems[to].ctl = with_credentials(ctl[0]);
	fds[0] = ctl[1];
	session_ready(to, a, fds + 1);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct cm_slot *own = slot_at(to, slot);

		for (int i = 0; i < CM_SLOT_SETS; i++)
			own->set[i] = CM_NO_SET;
		if (mems[n].held[slot] && socks[mems[n].held[slot] - 1].mem != n)
			hold(to, slot, mems[n].held[slot] - 1, CM_ST_OPEN | CM_ST_SHARED);
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
	hold(n, q->slot, t->sock, CM_ST_OPEN | CM_ST_SHARED);
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

/* Who sends the next request. */
static void learn_sender(unsigned n)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} c;
	struct msghdr m = {.msg_control = &c, .msg_controllen = sizeof(c)};
	struct ucred who;

	if (recvmsg(mems[n].ctl, &m, MSG_PEEK | MSG_DONTWAIT) < 0 ||
	    m.msg_controllen < CMSG_LEN(sizeof(who)) || c.h.cmsg_type != SCM_CREDENTIALS)
		return;
	memcpy(&who, CMSG_DATA(&c.h), sizeof(who));
	mems[n].uid = who.uid;
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
	int fds[4] = {-1, -1, -1, -1}, count = 0, got;

	learn_sender(n);
	got = channel_recv(mems[n].ctl, &m, 0);
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
	if (share_rig->twice)
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

			mems[n].ctl = with_credentials(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
		}
		for (unsigned n = 1; n < MEMS; n++) {
			if (mems[n].used && mems[n].ctl >= 0)
				serve_rings(n);
			if (mems[n].used && mems[n].ctl >= 0)
				serve_control(n);
		}
		for (int t = 0; t < TOKENS; t++)
			token_end(t);
		for (int i = 0; i < SOCKS; i++)
			look(i);
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
	if (bind(listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(listener, 128) < 0)
		abort();
	setenv("NETD_SOCKET", path, 1);
	rig_pid = fork();
	if (!rig_pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGPIPE, SIG_IGN);
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
