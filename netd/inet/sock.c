/*
 * The socket record's life, its rings, and the list of sockets that have changed.
 *
 * Rings and their moves. A ring that becomes larger, or goes to another memory, is allocated anew,
 * its live bytes are copied, and its place gets the next epoch; positions stay. Of a transmit ring
 * the old place can be freed at once: the client has parked as its producer. The client may still
 * read from an old receive ring: it stays in rx_old until the client's acknowledgement of the new
 * epoch was read (sock_epoch_ack), and until then the ring does not move again. The live range
 * begins the new ring (base), so whatever was contiguous is so again.
 *
 * Nothing here becomes visible before the commit: the new place holds copies, the old one is not
 * touched, and ring_free() waits for the commit.
 */
#include "inet/errq.h"
#include "inet/layer.h"
#include "inet/sockx.h"
#include "ip/group.h"
#include "base/log.h"
#include "base/util.h"
#include "state/switchboard.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUF_DEFAULT 212992u /* net.core.rmem_default, wmem_default */
#define COPY_PIECE  65536u
#define RING_MAX    (1u << 30)

/* ---- lists */

int index_list_add(struct index_list *l, uint32_t v)
{
	if (l->n == l->room) {
		uint32_t room = l->room ? l->room * 2 : 64;
		uint32_t *grown = realloc(l->v, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		l->v = grown;
		l->room = room;
	}
	l->v[l->n++] = v;
	return 0;
}

struct sock_node *sock_node(struct stack *s, uint32_t sk)
{
	return sk < s->inet->nodes ? &s->inet->node[sk] : NULL;
}

void sock_changed(struct stack *s, uint32_t sk)
{
	struct sock_node *n = sock_node(s, sk);

	if (!n || n->changed)
		return;
	n->changed = !index_list_add(&s->inet->changed, sk);
}

uint32_t sock_next_changed(struct stack *s)
{
	struct index_list *l = &s->inet->changed;
	uint32_t sk;

	if (l->at == l->n) {
		l->at = l->n = 0;
		return NO_INDEX;
	}
	sk = l->v[l->at++];
	s->inet->node[sk].changed = false;
	return sk;
}

/* ---- records */

const struct sock_ops *sock_ops_of(const struct stack *s, const struct sock_rec *k)
{
	for (unsigned f = 0; f < s->board->n_families; f++) {
		const struct family_row *row = &s->board->families[f];

		if (row->family != k->family)
			continue;
		for (unsigned i = 0; i < row->n_types; i++)
			if (row->types[i].type == k->type &&
			    (!row->types[i].protocol || row->types[i].protocol == k->protocol))
				return row->types[i].ops;
	}
	return NULL;
}

struct sock_rec *sock_alloc(struct stack *s, uint32_t *sk)
{
	struct sock_rec *k = state_alloc(s->state, KIND_SOCK, sk);

	if (!k)
		return NULL;
	if (!sock_node(s, *sk)) {
		state_free(s->state, KIND_SOCK, *sk);
		return NULL;
	}
	k->session = k->slot = NO_INDEX;
	k->bound_dev = NO_INDEX;
	k->rcvbuf = k->sndbuf = BUF_DEFAULT;
	k->ttl = 64;
	k->mcast_ttl = 1;
	k->mtu_discover = IP_PMTUDISC_WANT;
	k->rcvlowat = 1;
	return k;
}

void sock_free(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k)
		return;
	sock_unhash(s, sk);
	port_release(s, sk);
	raw_forget(s, sk);
	if (k->flags & SOCK_F_MEMBER)
		group_leave_all(s, sk);
	ring_free(s->mem, &k->rx);
	ring_free(s->mem, &k->tx);
	sock_forget_old_ring(s, k);
	timer_cancel(s->timers, KIND_SOCK, sk);
	errq_drop(s, sk);
	state_free(s->state, KIND_SOCKX, sk);
	sock_changed(s, sk);
	state_free(s->state, KIND_SOCK, sk);
}

void sock_set_error(struct stack *s, uint32_t sk, int err)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k)
		return;
	k->err = err;
	k->err_seq++;
	sock_changed(s, sk);
}

void sock_expired(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct sock_ops *ops = k ? sock_ops_of(s, k) : NULL;

	if (ops && ops->resume)
		ops->resume(s, sk);
}

/* ---- rings */

static uint32_t home_of(const struct sock_rec *k)
{
	return k->session == NO_INDEX ? 0 : k->session + 1;
}

static void copy_ring(struct stack *s, const struct ring_place *from, const struct ring_place *to,
    uint64_t pos, uint64_t end)
{
	while (pos < end) {
		uint32_t run, n = (uint32_t)min_of(end - pos, (uint64_t)COPY_PIECE);
		const uint8_t *src = ring_span(s->mem, from, pos, n, &run);

		if (!src)
			return;
		ring_write(s->mem, to, pos, src, run);
		pos += run;
	}
}

static uint32_t ring_cap(uint32_t cap)
{
	return cap > RING_MAX ? 0 : max_of(round_up_pow2(cap), RING_LEAST);
}

/* A new place for a ring in memory `mem`; what was live is in it. The old place is the caller's. */
static int new_place(
    struct stack *s, uint32_t sk, bool rx, uint32_t mem, uint32_t cap, struct ring_place *out)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct ring_place *old = rx ? &k->rx : &k->tx;
	const struct sock_ops *ops = sock_ops_of(s, k);
	uint64_t from = 0, to = 0;
	int ret;

	*out = *old;
	if (!ops)
		return -EINVAL;
	ops->live_range(s, sk, rx, &from, &to);
	if (to - from > cap || to - from > old->cap)
		return -EINVAL;
	ret = ring_alloc(s->mem, mem, cap, out);
	if (ret == -ENOMEM && mem != old->mem) /* it moves to its owner: as small as may be, but what it holds was promised */
		ret = ring_alloc_must(s->mem, mem, ring_cap((uint32_t)(to - from)), out);
	if (ret)
		return ret;
	out->base = from;
	out->epoch++;
	copy_ring(s, old, out, from, to);
	return 0;
}

static int first_place(
    struct stack *s, struct ring_place *r, uint32_t mem, uint32_t cap, uint64_t pos)
{
	struct ring_place place = *r;
	int ret = ring_alloc(s->mem, mem, cap, &place);

	if (ret == -ENOMEM && cap > RING_LEAST)
		ret = ring_alloc(s->mem, mem, RING_LEAST, &place);
	if (ret)
		return ret == -ENOENT ? -ENOMEM : ret;
	place.base = pos;
	place.epoch++;
	*r = place;
	return 0;
}

int sock_rx_ring(struct stack *s, uint32_t sk, uint32_t cap, uint64_t pos)
{
	struct sock_rec *k = sock_get(s, sk);
	struct ring_place place;
	int ret;

	cap = ring_cap(cap);
	if (!k || !cap)
		return -ENOMEM;
	if (k->rx.cap >= cap && k->rx.mem == home_of(k))
		return 0;
	sock_changed(s, sk);
	if (!k->rx.cap)
		return first_place(s, &k->rx, home_of(k), cap, pos);
	if (k->rx_old.cap)
		return -EBUSY;
	ret = new_place(s, sk, true, home_of(k), max_of(cap, k->rx.cap), &place);
	if (ret)
		return ret;
	if (k->rx.mem) /* a client may be reading it; nobody reads in the daemon's own memory */
		k->rx_old = (struct ring_left){k->rx.off, k->rx.cap, k->rx.mem};
	else
		ring_free(s->mem, &k->rx);
	k->rx = place;
	return 0;
}

int sock_tx_ring(struct stack *s, uint32_t sk, uint32_t cap, uint64_t pos)
{
	struct sock_rec *k = sock_get(s, sk);
	struct ring_place place;
	int ret;

	cap = ring_cap(cap);
	if (!k || !cap)
		return -ENOMEM;
	if (k->tx.cap >= cap && k->tx.mem == home_of(k))
		return 0;
	sock_changed(s, sk);
	if (!k->tx.cap)
		return first_place(s, &k->tx, home_of(k), cap, pos);
	ret = new_place(s, sk, false, home_of(k), max_of(cap, k->tx.cap), &place);
	if (ret)
		return ret;
	ring_free(s->mem, &k->tx);
	k->tx = place;
	return 0;
}

bool sock_rx_give_back(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	uint64_t from = 0, to = 0;

	if (!k || !k->rx.cap)
		return false;
	sock_ops_of(s, k)->live_range(s, sk, true, &from, &to);
	if (from != to)
		return false;
	sock_forget_old_ring(s, k);
	ring_free(s->mem, &k->rx);
	k->rx.cap = 0;
	sock_changed(s, sk);
	return true;
}

void sock_forget_old_ring(struct stack *s, struct sock_rec *k)
{
	struct ring_place old = {.off = k->rx_old.off, .cap = k->rx_old.cap, .mem = k->rx_old.mem};

	ring_free(s->mem, &old);
	k->rx_old = (struct ring_left){.cap = 0};
}

void sock_epoch_ack(struct stack *s, uint32_t sk, uint32_t rx_epoch)
{
	const struct sock_rec *peek = sock_peek(s, sk);

	if (peek && peek->rx_old.cap && (int32_t)(rx_epoch - peek->rx.epoch) >= 0)
		sock_forget_old_ring(s, sock_get(s, sk));
}

int sock_adopt(struct stack *s, uint32_t sk, uint32_t session, uint32_t session_gen, uint32_t slot)
{
	struct sock_rec *k = sock_get(s, sk);
	int ret;

	if (!k)
		return -ENOENT;
	k->session = session;
	k->session_gen = session_gen;
	k->slot = slot;
	sock_changed(s, sk);
	ret = k->rx.cap ? sock_rx_ring(s, sk, k->rx.cap, 0) : 0;
	if (!ret && k->tx.cap)
		ret = sock_tx_ring(s, sk, k->tx.cap, 0);
	return ret;
}

/* ---- the layer */

/* The nodes are as many as there can be sockets; the kernel gives memory only for those that are touched. */
static int fill(struct stack *s)
{
	uint32_t nodes = state_capacity(s->state, KIND_SOCK);

	*s->inet = (struct inet_layer){.node = calloc(nodes, sizeof(struct sock_node)),
	    .rare = calloc(nodes, sizeof(struct sock_rare)),
	    .nodes = nodes};
	return s->inet->node && s->inet->rare ? 0 : -ENOMEM;
}

static void empty(struct inet_layer *in)
{
	conn_exit(&in->conn);
	bucket_exit(&in->port);
	free(in->node);
	free(in->rare);
	free(in->err_next);
	free(in->changed.v);
	free(in->stalled.v);
}

int inet_layer_init(struct stack *s)
{
	s->inet = malloc(sizeof(*s->inet));
	return s->inet ? fill(s) : -ENOMEM;
}

void inet_layer_exit(struct stack *s)
{
	if (!s->inet)
		return;
	empty(s->inet);
	free(s->inet);
	s->inet = NULL;
}

/* A memory that is not there is the socket layer's business; a place that cannot be is corruption.
 */
static bool claim(struct stack *s, const struct ring_place *r)
{
	return !r->cap || !memory_base(s->mem, r->mem) || !ring_claim(s->mem, r);
}

static void claim_rings(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct ring_place left = {.off = k->rx_old.off, .cap = k->rx_old.cap, .mem = k->rx_old.mem};
	bool rx = claim(s, &k->rx), tx = claim(s, &k->tx), old = claim(s, &left);
	struct sock_rec *w;

	if (rx && tx && old)
		return;
	log_error("socket %u: its rings cannot be where its record says", sk);
	w = sock_get(s, sk);
	if (!rx)
		w->rx.cap = 0;
	if (!tx)
		w->tx.cap = 0;
	if (!old)
		w->rx_old.cap = 0;
	sock_set_error(s, sk, EIO);
}

static int enter_tables(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = 0;

	if (k->flags & SOCK_F_HASHED)
		ret = conn_insert(
		    s, k->protocol, &k->local, &k->remote, (struct conn_ref){KIND_SOCK, sk});
	if (ret == -EADDRINUSE) {
		log_error("socket %u: another one has the same connection", sk);
		sock_get(s, sk)->flags &= ~(uint32_t)SOCK_F_HASHED;
		k = sock_peek(s, sk);
		ret = 0;
	}
	if (!ret && (k->flags & SOCK_F_BOUND))
		ret = owner_add(s, sk, k->flags & SOCK_F_HASHED);
	return ret;
}

static bool member_gone(const struct stack *s, uint32_t owner)
{
	const struct sock_rec *k = sock_peek(s, owner);

	return !k || !(k->flags & SOCK_F_MEMBER);
}

int inet_reindex(struct stack *s)
{
	const struct sock_ops *ops;
	uint32_t named = state_count(s->state, KIND_SYNRCV) + state_count(s->state, KIND_TIMEWAIT);
	int ret;

	empty(s->inet);
	if ((ret = fill(s)) < 0 || (ret = conn_reserve(s, state_count(s->state, KIND_SOCK) + named, named)) < 0)
		return ret;
	for (uint32_t sk = state_next(s->state, KIND_SOCK, 0); sk != NO_INDEX;
	     sk = state_next(s->state, KIND_SOCK, sk + 1)) {
		claim_rings(s, sk);
		ret = enter_tables(s, sk);
		if (ret)
			return ret;
		ops = sock_ops_of(s, sock_peek(s, sk));
		if (ops && ops->reindex)
			ret = ops->reindex(s, sk);
		if (ret)
			return ret;
	}
	for (uint32_t i = state_next(s->state, KIND_SOCKX, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SOCKX, i + 1))
		if (!sock_peek(s, i))
			state_free(s->state, KIND_SOCKX, i);
	group_census(s, member_gone);
	ret = raw_reindex(s);
	return ret ? ret : errq_reindex(s);
}
