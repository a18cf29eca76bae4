/* What the clients ask for in their rings. See share_rig_parts.h. */
#include "share_rig_parts.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int grow(unsigned mem, int i, uint32_t cap)
{
	struct sock *k = &rig_socks[i];
	struct cm_slot *m = rig_slot(k->mem, k->slot);

	if (k->mem != mem && load_acquire(&m->tx_parked) != mem + 1) {
		share_rig->refused_grows++;
		return -EAGAIN;
	}
	if (cap > TX_MAX)
		return -ENOMEM;
	rig_move_ring(k, &k->tx, cap, k->tx_head, load_acquire(&m->tx_tail), k->mem);
	rig_tell(i);
	return 0;
}

static int do_bind(int i, const struct endpoint *ep)
{
	static uint16_t next = 40000;

	rig_socks[i].local = *ep;
	if (!ep->port)
		rig_socks[i].local.port = next++;
	for (int n = 0; n < SOCKS; n++)
		if (n != i && rig_socks[n].used && (rig_socks[n].state & CM_ST_LISTENING) &&
		    rig_socks[n].local.port == rig_socks[i].local.port)
			return -EADDRINUSE;
	return 0;
}

static int do_connect(int i, const struct endpoint *ep)
{
	struct sock *k = &rig_socks[i], *l = NULL;
	int child;

	for (int n = 0; n < SOCKS && !l; n++)
		if (rig_socks[n].used && !rig_socks[n].orphan &&
		    (rig_socks[n].state & CM_ST_LISTENING) && rig_socks[n].local.port == ep->port)
			l = &rig_socks[n];
	if (!k->local.port)
		do_bind(i, &(struct endpoint){.addr = ep->addr});
	k->remote = *ep;
	k->state |= CM_ST_CONNECTED;
	if (!k->rx.cap)
		rig_place_new(k, &k->rx, RX_CAP, 0);
	if (l && l->queued < QUEUE) {
		child = rig_sock_new();
		share_rig->socks++;
		rig_socks[child].peer = i + 1;
		k->peer = child + 1;
		rig_socks[child].local = *ep;
		rig_socks[child].remote = k->local;
		l->queue[l->queued++] = child;
		rig_tell((int)(l - rig_socks));
	}
	rig_tell(i);
	return -EINPROGRESS;
}

static int do_accept(unsigned mem, int i, unsigned slot, struct cm_cqe *c)
{
	struct sock *l = &rig_socks[i], *k;

	if (!l->queued)
		return -EAGAIN;
	k = &rig_socks[l->queue[0]];
	memmove(l->queue, l->queue + 1, --l->queued * sizeof(l->queue[0]));
	k->mem = mem;
	k->slot = slot;
	rig_place_new(k, &k->rx, RX_CAP, 0);
	k->state |= CM_ST_CONNECTED;
	rig_hold(mem, slot, (int)(k - rig_socks), 0);
	c->ep = k->remote;
	rig_tell((int)(k - rig_socks));
	rig_tell(i);
	return 0;
}

static int do_shutdown(int i, int how)
{
	struct sock *k = &rig_socks[i];

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
	int i = rig_mems[mem].held[e->slot] - 1, ret = 0;

	if (i >= 0)
		rig_look(i);
	if (i < 0 && e->op != CM_SOCKET)
		return e->op == CM_NOP || e->op == CM_POKE ? 0 : -EBADF;
	switch (e->op) {
	case CM_SOCKET:
		i = rig_sock_new();
		rig_socks[i].mem = mem;
		rig_socks[i].slot = e->slot;
		memset(&rig_slot(mem, e->slot)->rx, 0, 2 * sizeof(struct ring_place));
		rig_hold(mem, e->slot, i, 0);
		share_rig->socks++;
		break;
	case CM_BIND:
		ret = e->ep.port && e->ep.port < 1024 && rig_mems[mem].uid ? -EACCES
									   : do_bind(i, &e->ep);
		break;
	case CM_LISTEN:
		if (!rig_socks[i].local.port)
			do_bind(i, &e->ep);
		rig_socks[i].state |= CM_ST_LISTENING;
		break;
	case CM_CONNECT:
		return do_connect(i, &e->ep);
	case CM_ACCEPT:
		return do_accept(mem, i, (unsigned)e->arg[0], c);
	case CM_SHUTDOWN:
		ret = do_shutdown(i, e->arg[0]);
		break;
	case CM_CLOSE:
		rig_let_go(mem, e->slot);
		return 0;
	case CM_GETSOCKOPT:
		c->arg = e->arg[0] == IPPROTO_IP && e->arg[1] == IP_OPTIONS ? 0 : sizeof(int);
		return 0;
	case CM_GROW:
		return grow(mem, i, (uint32_t)e->arg[0]);
	case CM_POKE:
		return 0;
	}
	rig_tell(i);
	return ret;
}

void rig_serve_rings(unsigned n)
{
	struct mem *s = &rig_mems[n];
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
