#include "clientlib_rig.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

struct rig rig;

void rig_lock(void)
{
	pthread_mutex_lock(&rig.lock);
}

void rig_unlock(void)
{
	pthread_mutex_unlock(&rig.lock);
}

struct cm_slot *rig_slot(uint32_t slot)
{
	return (struct cm_slot *)(void *)(rig.mem + rig.lay.slot_off) + slot;
}

static void wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void rig_tell(uint32_t slot)
{
	struct rig_sock *k = &rig.sock[slot];
	struct cm_slot *m = rig_slot(slot);
	uint32_t *events = (uint32_t *)(void *)(rig.mem + rig.lay.ev_off);
	struct cm_set *sets = (struct cm_set *)(void *)(rig.mem + rig.lay.set_off);

	if (memcmp(&m->rx, &k->rx, sizeof(k->rx)) || memcmp(&m->tx, &k->tx, sizeof(k->tx))) {
		store_once(&m->layout_seq, m->layout_seq + 1);
		fence_full();
		m->rx = k->rx;
		m->tx = k->tx;
		store_release(&m->layout_seq, m->layout_seq + 1);
	}
	store_release(&m->rx_tail, k->rx_tail);
	store_release(&m->tx_head, k->tx_head);
	store_release(&m->accept_ready, k->children);
	store_release(&m->so_error_seq, k->err_seq);
	store_release(&m->state, k->state);
	store_release(&m->ev_seq, m->ev_seq + 1);
	fence_full();
	if (rig.ev_prod - load_acquire(&rig.h->ev_cons) < RIG_SLOTS) {
		events[rig.ev_prod & (RIG_SLOTS - 1)] = slot;
		store_release(&rig.h->ev_prod, ++rig.ev_prod);
	}
	fence_full();
	if (load_once(&m->want))
		wake(&m->ev_seq);
	for (int i = 0; i < CM_SLOT_SETS; i++) {
		uint32_t set = load_once(&m->set[i]), arm;

		if (set >= CM_SETS || rig.set_bell[set] < 0)
			continue;
		arm = load_acquire(&sets[set].arm);
		if ((arm & 1) && arm != rig.rung[set]) {
			rig.rung[set] = arm;
			bell_ring(rig.set_bell[set]);
		}
	}
}

static void place_new(struct ring_place *p, uint32_t cap, uint64_t base)
{
	uint32_t epoch = p->epoch + 1;

	*p = (struct ring_place){
	    .off = rig.heap, .base = base, .cap = cap, .mem = rig.lay.session + 1, .epoch = epoch};
	rig.heap += cap;
}

void rig_move(uint32_t slot, bool rx, uint32_t cap)
{
	struct rig_sock *k = &rig.sock[slot];
	struct cm_slot *m = rig_slot(slot);
	struct ring_place *p = rx ? &k->rx : &k->tx, old = *p;
	uint64_t from = rx ? load_acquire(&m->rx_head) : k->tx_head;
	uint64_t to = rx ? k->rx_tail : load_acquire(&m->tx_tail);

	place_new(p, cap, from);
	for (uint64_t pos = from; old.cap && pos < to; pos++)
		rig.mem[ring_place_at(p, pos)] = rig.mem[ring_place_at(&old, pos)];
}

void rig_push(uint32_t slot, const void *data, uint32_t len)
{
	struct rig_sock *k = &rig.sock[slot];

	for (uint32_t i = 0; i < len; i++)
		rig.mem[ring_place_at(&k->rx, k->rx_tail + i)] = ((const uint8_t *)data)[i];
	k->rx_tail += len;
}

void rig_push_dgram(uint32_t slot, const void *data, uint32_t len, const struct endpoint *from)
{
	struct rig_sock *k = &rig.sock[slot];
	uint64_t left = k->rx.cap - ((k->rx_tail - k->rx.base) & (k->rx.cap - 1));
	struct cm_dgram d = {.len = len, .peer = *from, .ttl = 64};

	if (left < cm_dgram_room(len)) {
		struct cm_dgram skip = {
		    .len = (uint32_t)(left - sizeof(skip)), .flags = CM_DGRAM_SKIP};

		memcpy(rig.mem + ring_place_at(&k->rx, k->rx_tail), &skip, sizeof(skip));
		k->rx_tail += left;
	}
	memcpy(rig.mem + ring_place_at(&k->rx, k->rx_tail), &d, sizeof(d));
	memcpy(rig.mem + ring_place_at(&k->rx, k->rx_tail) + sizeof(d), data, len);
	k->rx_tail += cm_dgram_room(len);
}

/* ---- the protocol: everything comes back */

static void echo_dgrams(uint32_t slot, uint64_t tail)
{
	struct rig_sock *k = &rig.sock[slot];

	while (k->tx_head < tail) {
		struct cm_dgram d;
		uint8_t *at = rig.mem + ring_place_at(&k->tx, k->tx_head);

		memcpy(&d, at, sizeof(d));
		if (!(d.flags & CM_DGRAM_SKIP))
			rig_push_dgram(slot, at + sizeof(d), d.len, &d.peer);
		k->tx_head += cm_dgram_room(d.len);
	}
}

static void look(uint32_t slot)
{
	struct rig_sock *k = &rig.sock[slot];
	struct cm_slot *m = rig_slot(slot);
	uint64_t tail = load_acquire(&m->tx_tail), head = load_acquire(&m->rx_head),
		 had = k->tx_head;

	if (k->dgram) {
		echo_dgrams(slot, tail);
	} else {
		store_release(&m->tx_sent, tail < k->sent_most ? tail : k->sent_most);
		while (k->rx.cap && k->tx_head < tail && k->rx_tail - head < k->rx.cap) {
			rig_push(slot, rig.mem + ring_place_at(&k->tx, k->tx_head), 1);
			k->tx_head++;
		}
		if ((k->state & CM_ST_TX_SHUT) && k->tx_head == tail)
			k->state |= CM_ST_RX_EOF;
	}
	if (k->tx_head != had || (k->state & CM_ST_RX_EOF))
		rig_tell(slot);
}

static int do_connect(uint32_t slot, const struct cm_sqe *e)
{
	struct rig_sock *k = &rig.sock[slot];

	rig_slot(slot)->remote = e->ep;
	if (k->dgram) {
		k->state |= CM_ST_CONNECTED;
		return 0;
	}
	if (e->ep.port == RIG_PORT_REFUSED) {
		k->state |= CM_ST_DEAD;
		rig_slot(slot)->so_error = ECONNREFUSED;
		k->err_seq++;
	} else if (e->ep.port == RIG_PORT_SILENT) {
		k->state |= CM_ST_CONNECTING;
	} else {
		k->state |= CM_ST_CONNECTED;
		place_new(&k->rx, 4096, 0);
	}
	return -EINPROGRESS;
}

static int do_accept(uint32_t slot, const struct cm_sqe *e, struct cm_cqe *c)
{
	struct rig_sock *k = &rig.sock[slot], *child = &rig.sock[e->arg[0]];

	if (!k->children)
		return -EAGAIN;
	k->children--;
	*child = (struct rig_sock){.used = true, .state = CM_ST_OPEN | CM_ST_CONNECTED};
	place_new(&child->rx, 4096, 0);
	rig_slot((uint32_t)e->arg[0])->remote = c->ep =
	    (struct endpoint){.addr = ipaddr_v4(0x0a000001), .port = 1234};
	rig_push((uint32_t)e->arg[0], "hi", 2);
	rig_tell((uint32_t)e->arg[0]);
	return 0;
}

static int work(const struct cm_sqe *e, struct cm_cqe *c)
{
	struct rig_sock *k = &rig.sock[e->slot];

	look(e->slot);
	switch (e->op) {
	case CM_SOCKET:
		*k = (struct rig_sock){
		    .used = true, .dgram = e->arg[1] == SOCK_DGRAM, .state = CM_ST_OPEN};
		if (k->dgram)
			place_new(&k->rx, 65536 * 4, 0);
		return 0;
	case CM_BIND:
		rig_slot(e->slot)->local = e->ep;
		return 0;
	case CM_LISTEN:
		k->state |= CM_ST_LISTENING;
		return 0;
	case CM_CONNECT:
		return do_connect(e->slot, e);
	case CM_ACCEPT:
		return do_accept(e->slot, e, c);
	case CM_SHUTDOWN:
		k->state |= (e->arg[0] != SHUT_WR ? CM_ST_RX_EOF : 0) |
			    (e->arg[0] != SHUT_RD ? CM_ST_TX_SHUT : 0);
		look(e->slot);
		return 0;
	case CM_CLOSE:
		*k = (struct rig_sock){.used = false};
		return 0;
	case CM_SETSOCKOPT:
		memcpy(&k->option, e->data, sizeof(k->option));
		return 0;
	case CM_GETSOCKOPT:
		memcpy(c->data, &k->option, sizeof(k->option));
		c->arg = sizeof(k->option);
		return 0;
	case CM_GROW:
		rig_move(e->slot, false, (uint32_t)e->arg[0]);
		return 0;
	}
	return 0;
}

static void serve_rings(void)
{
	struct cm_sqe *sq = (struct cm_sqe *)(void *)(rig.mem + rig.lay.sq_off);
	struct cm_cqe *cq = (struct cm_cqe *)(void *)(rig.mem + rig.lay.cq_off);
	uint64_t prod = load_acquire(&rig.h->sq_prod), had = rig.cq_prod;

	for (; rig.sq_cons < prod; rig.sq_cons++) {
		struct cm_sqe e = sq[rig.sq_cons & (CM_SQ_ENTRIES - 1)];
		struct cm_cqe c = {.token = e.token};

		store_once(&rig.h->sq_taken, rig.sq_cons + 1);
		fence_full();
		c.res = work(&e, &c);
		if (e.op != CM_POKE) {
			rig_tell(e.slot);
			cq[rig.cq_prod++ & (CM_CQ_ENTRIES - 1)] = c;
			rig.requests++;
		} else {
			rig.pokes++;
		}
	}
	store_release(&rig.h->sq_cons, rig.sq_cons);
	if (rig.cq_prod == had)
		return;
	store_release(&rig.h->cq_prod, rig.cq_prod);
	store_release(&rig.h->cq_seq, rig.h->cq_seq + 1);
	fence_full();
	if (load_once(&rig.h->cq_want))
		wake(&rig.h->cq_seq);
}

/* ---- the control socket */

static void answer_attach(Netd__Control__Response *r)
{
	Netd__Control__Attached a = NETD__CONTROL__ATTACHED__INIT;
	Netd__Control__PassThrough pass = NETD__CONTROL__PASS_THROUGH__INIT, *passes[1] = {&pass};
	struct ipaddr stub = ipaddr_v4(0x7f000035);
	int memory = memory_create("rig", RIG_SIZE), bell[2], set[2];

	rig.mem = memory_map(memory, RIG_SIZE, PROT_READ | PROT_WRITE);
	rig.h = (struct cm_header *)(void *)rig.mem;
	cm_layout(rig.h, RIG_SIZE, RIG_SLOTS);
	rig.h->session = 5;
	rig.lay = *rig.h;
	rig.heap = rig.lay.heap_off;
	if (bell_create(bell) < 0 || bell_create(set) < 0)
		abort();
	rig.bell = bell[0];
	rig.set_bell[0] = set[1];
	pass.addr.data = stub.b;
	pass.addr.len = 16;
	pass.port = 53;
	a.version = CM_VERSION;
	a.session = 5;
	a.memory_size = RIG_SIZE;
	a.n_pass_through = 1;
	a.pass_through = passes;
	r->body_case = NETD__CONTROL__RESPONSE__BODY_ATTACHED;
	r->attached = &a;
	channel_send(rig.ctl, &r->base, (int[]){memory, bell[1], set[0]}, 3);
	close(memory);
	close(bell[1]);
	close(set[0]);
}

static void serve_control(void)
{
	static struct channel_msg m;
	Netd__Control__Response r = NETD__CONTROL__RESPONSE__INIT;
	Netd__Control__SetReady ready = NETD__CONTROL__SET_READY__INIT;
	Netd__Control__Request *q;

	if (channel_recv(rig.ctl, &m, 0) != 1)
		return;
	q = netd__control__request__unpack(NULL, m.len, m.data);
	if (!q)
		abort();
	r.id = q->id;
	if (q->body_case == NETD__CONTROL__REQUEST__BODY_ATTACH) {
		answer_attach(&r);
	} else if (q->body_case == NETD__CONTROL__REQUEST__BODY_NEW_SET) {
		int p[2];

		if (bell_create(p) < 0)
			abort();
		ready.set = q->new_set->set;
		rig.set_bell[ready.set] = p[1];
		r.body_case = NETD__CONTROL__RESPONSE__BODY_SET_READY;
		r.set_ready = &ready;
		channel_send(rig.ctl, &r.base, p, 1);
		close(p[0]);
	} else { /* no sharing here */
		r.error = -EOPNOTSUPP;
		channel_send(rig.ctl, &r.base, NULL, 0);
	}
	netd__control__request__free_unpacked(q, NULL);
}

static void *run(void *arg)
{
	while (!rig.stop) {
		struct pollfd p = {.fd = rig.listener, .events = POLLIN};

		if (rig.ctl < 0) {
			if (poll(&p, 1, 10) == 1)
				rig.ctl = accept(rig.listener, NULL, NULL);
			continue;
		}
		rig_lock();
		if (!rig.pause) {
			serve_control();
			if (rig.mem)
				serve_rings();
		}
		rig_unlock();
		usleep(20);
	}
	return arg;
}

/* There is no session. */
static void rig_forget(void)
{
	rig.ctl = rig.bell = -1;
	for (unsigned i = 0; i < CM_SETS; i++)
		rig.set_bell[i] = -1;
	rig.mem = NULL;
	rig.h = NULL;
	rig.sq_cons = rig.cq_prod = rig.ev_prod = 0;
	memset(rig.rung, 0, sizeof(rig.rung));
	memset(rig.sock, 0, sizeof(rig.sock));
}

void rig_start(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	pthread_mutex_init(&rig.lock, NULL);
	rig_forget();
	snprintf(rig.path, sizeof(rig.path), "/tmp/clientlib-rig-%d.sock", getpid());
	unlink(rig.path);
	memcpy(sa.sun_path, rig.path, sizeof(rig.path));
	rig.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (bind(rig.listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(rig.listener, 8) < 0)
		abort();
	setenv("NETD_SOCKET", rig.path, 1);
	pthread_create(&rig.thread, NULL, run, NULL);
}

/* Without its memory: the next connection has none before its Attach is answered. */
void rig_hang_up(void)
{
	shutdown(rig.ctl, SHUT_RDWR);
	close(rig.ctl);
	close(rig.bell);
	for (unsigned i = 0; i < CM_SETS; i++)
		if (rig.set_bell[i] >= 0)
			close(rig.set_bell[i]);
	if (rig.mem)
		munmap(rig.mem, RIG_SIZE);
	rig_forget();
}

void rig_stop(void)
{
	rig.stop = true;
	pthread_join(rig.thread, NULL);
	rig_hang_up();
	close(rig.listener);
	unlink(rig.path);
}
