/*
 * What the daemon says about a socket, read and checked.
 *
 * Positions and places in the slot are input. A position is read once and checked against our own;
 * a place is read under its seqlock and must lie in the heap of our memory. A lie breaks the
 * session, never the application.
 *
 * Order. The daemon publishes a ring's new place before positions that need it. So we read the
 * position first and the place after it; then the bytes up to the position lie in the place that we
 * use. A new place is acknowledged when nothing is lent from the old one, and the daemon is told if
 * there was one.
 *
 * Only the transmit ring's owner makes it move (CM_GROW, answered at once), so a producer that
 * holds tx_lock never writes to a place that was left.
 */
#include "clientlib/session.h"
#include <string.h>

#define TX_START       (64u << 10)
#define TX_MAX_LIMIT   (64u << 20)
#define DGRAM_TX_MIN   (256u << 10) /* room for the largest datagram and filler */
#define STREAM_TX_MIN  (4u << 10)
#define RETRY_NS       100000000ull
#define MOVING_NS      50000L

/*
 * The lock was left by a process that died. It published its position or did not: either is right. But it may have asked
 * for another transmit ring: no more, and once a request of ours is answered that question is out of the world.
 */
static void side_rescue(struct nsock *s, bool rx)
{
	struct cm_sqe nop = {.op = CM_NOP, .slot = s->slot};

	if (rx || !load_once(&s->sl->tx_parked))
		return;
	store_once(&s->sl->tx_parked, 0);
	fence_full();
	request_wait(s->ss, &nop, NULL);
}

static pthread_mutex_t *shared_lock(struct desc *d, bool rx)
{
	struct shared_desc *sd = (struct shared_desc *)(void *)d;

	return rx ? &sd->rx_lock : &sd->tx_lock;
}

static void desc_lock(struct nsock *s, struct desc *d, bool rx)
{
	if (d == &s->own_desc) {
		small_lock(rx ? &s->rx_lock : &s->tx_lock);
	} else if (pthread_mutex_lock(shared_lock(d, rx)) == EOWNERDEAD) {
		pthread_mutex_consistent(shared_lock(d, rx));
		side_rescue(s, rx);
	}
}

static void desc_unlock(struct nsock *s, struct desc *d, bool rx)
{
	if (d == &s->own_desc)
		small_unlock(rx ? &s->rx_lock : &s->tx_lock);
	else
		pthread_mutex_unlock(shared_lock(d, rx));
}

/* The description may move into a share while we wait for its lock. */
void side_lock(struct nsock *s, bool rx)
{
	for (;;) {
		struct desc *d = load_acquire(&s->d);

		desc_lock(s, d, rx);
		if (load_acquire(&s->d) == d)
			break;
		desc_unlock(s, d, rx);
	}
	if (!s->share)
		return;
	if (rx)
		s->rx.pos = load_acquire(&s->sl->rx_head);
	else
		s->tx.pos = load_acquire(&s->sl->tx_tail);
}

void side_unlock(struct nsock *s, bool rx)
{
	desc_unlock(s, s->d, rx);
}

/* The other side broke the contract about this socket: a share's costs no session. */
int sock_lied(struct nsock *s)
{
	if (s->share)
		store_once(&s->create_err, -ENETDOWN);
	else
		session_break(s->ss);
	return -ENETDOWN;
}

/* May this socket be used at all? */
int sock_check(const struct nsock *s)
{
	unsigned dead = session_dead(s->ss);

	if (load_once(&s->closed))
		return -EBADF;
	if (dead)
		return -ENETDOWN;
	return load_once(&s->create_err);
}

/* Waits until CM_SOCKET is answered: before that, the slot says nothing. */
int sock_settle(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_NOP, .slot = s->slot};
	int ret = 0;

	if (!load_acquire(&s->ready))
		ret = request_wait(s->ss, &e, NULL);
	return ret < 0 ? ret : sock_check(s);
}

/*
 * enum cm_state, with what is known locally before the daemon says it. 0 until CM_SOCKET is
 * answered.
 */
uint32_t sock_state(struct nsock *s)
{
	uint32_t st;

	if (!load_acquire(&s->ready)) {
		request_drain(s->ss);
		if (!load_acquire(&s->ready))
			return CM_ST_OPEN;
	}
	for (;;) {
		const struct cm_slot *sl = load_acquire(&s->sl);

		st = load_acquire(&sl->state);
		if (sl != s->ev || !(st & CM_ST_SHARED) || sock_check(s) < 0)
			break;
		sys_nanosleep(MOVING_NS); /* another thread shares it, and will say where it is now */
	}
	if (load_once(&s->d->shut_rd))
		st |= CM_ST_RX_EOF;
	if (load_once(&s->d->shut_wr))
		st |= CM_ST_TX_SHUT;
	return st;
}

static void copy_words(void *to, const void *from, size_t len)
{
	uint64_t *d = to;
	const uint64_t *f = from;

	for (size_t i = 0; i < len / sizeof(*d); i++)
		d[i] = load_once(&f[i]);
}

/* Begins a read under the seqlock; sleeps through a writer that died in the middle. */
static int layout_begin(struct nsock *s, uint32_t *seq)
{
	for (unsigned round = 0;; round++) {
		*seq = load_acquire(&s->sl->layout_seq);
		if (!(*seq & 1))
			return 0;
		if (round < 64) {
			cpu_relax();
			continue;
		}
		sys_nanosleep(100000);
		if (round % 4096 == 0)
			session_alive(s->ss);
		if (sock_check(s) < 0)
			return sock_check(s);
	}
}

static bool layout_same(struct nsock *s, uint32_t seq)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load_once(&s->sl->layout_seq) == seq;
}

static bool place_ok(const struct home *h, const struct ring_place *p)
{
	if (!p->cap)
		return true;
	return is_pow2(p->cap) && p->cap >= CM_DGRAM_ALIGN && !(p->off & 7) &&
	       p->mem == h->number + 1 && p->off >= h->heap_off && p->off <= h->size &&
	       p->cap <= h->size - p->off;
}

/* Takes a ring's new place over, if there is one. The side's lock is held. */
int side_follow(struct nsock *s, bool rx)
{
	struct side *side = rx ? &s->rx : &s->tx;
	struct ring_place p;
	uint32_t seq, had, known;
	int ret;

	if (side->lent || load_acquire(&s->sl->layout_seq) + 1 == side->layout)
		return 0;
	do {
		ret = layout_begin(s, &seq);
		if (ret < 0)
			return ret;
		copy_words(&p, rx ? &s->sl->rx : &s->sl->tx, sizeof(p));
	} while (!layout_same(s, seq));
	if (!place_ok(s->home, &p))
		return sock_lied(s);
	had = side->place.cap;
	known = side->layout;
	side->layout = seq + 1;
	if (known && p.epoch == side->place.epoch && p.cap == side->place.cap &&
	    p.off == side->place.off)
		return 0;
	side->place = p;
	store_release(rx ? &s->sl->rx_epoch_ack : &s->sl->tx_epoch_ack, p.epoch);
	if (had)
		request_poke(s);
	return 0;
}

/* Bytes that can be read; rx_lock held. */
int rx_avail(struct nsock *s, uint64_t *n)
{
	uint64_t tail;
	int64_t avail;
	int ret;

	*n = 0;
	if (!load_acquire(&s->ready))
		return 0;
	if (s->rx.lent) { /* a ring that moved is not followed now: no more than that can be said */
		*n = s->rx.lent;
		return 0;
	}
	tail = load_acquire(&s->sl->rx_tail);
	ret = side_follow(s, true);
	if (ret < 0)
		return ret;
	avail = ring_avail(tail, s->rx.pos, s->rx.place.cap);
	if (avail < 0)
		return sock_lied(s);
	*n = (uint64_t)avail;
	return 0;
}

/* Bytes that were written and are not acknowledged yet; tx_lock held. */
int tx_used(struct nsock *s, uint64_t *n)
{
	uint64_t head;
	int64_t used;
	int ret;

	*n = 0;
	if (!load_acquire(&s->ready))
		return 0;
	head = load_acquire(&s->sl->tx_head);
	ret = side_follow(s, false);
	if (ret < 0)
		return ret;
	used = ring_avail(s->tx.pos, head, s->tx.place.cap);
	if (used < 0)
		return sock_lied(s);
	*n = (uint64_t)used;
	return 0;
}

/* What may be in the ring: its capacity, or less if SO_SNDBUF says so. tx_lock held. */
uint64_t tx_bound(const struct nsock *s)
{
	return cm_tx_bound(s->tx.place.cap, s->type == SOCK_STREAM ? load_once(&s->sl->tx_limit) : 0);
}

/* Bytes that can be written; tx_lock held. */
int tx_room(struct nsock *s, uint64_t *n)
{
	uint64_t used, bound;
	int ret = tx_used(s, &used);

	*n = 0;
	if (ret < 0 || !load_acquire(&s->ready))
		return ret;
	bound = tx_bound(s);
	*n = bound > used ? bound - used : 0;
	return 0;
}

/*
 * The first `n` of `avail` bytes have been read. rx_lock held. Tells the daemon if the window
 * should open, or an acknowledgement waits for this.
 */
void rx_consume(struct nsock *s, uint64_t n, uint64_t avail)
{
	uint64_t cap = s->rx.place.cap;
	bool owed = n == avail && load_once(&s->sl->state) & CM_ST_ACK_OWED;
	bool was_tight = avail + (s->rx.pos - s->d->rx_told) >= cap - cap / 4;

	s->rx.pos += n;
	store_release(&s->sl->rx_head, s->rx.pos);
	if (s->rx.pos - s->d->rx_told >= cap / 4 || ((was_tight || owed) && n)) {
		s->d->rx_told = s->rx.pos;
		request_poke(s);
	}
}

/* `n` more bytes have been written. tx_lock held. */
void tx_publish(struct nsock *s, uint64_t n, bool more)
{
	s->tx.pos += n;
	store_release(&s->sl->tx_tail, s->tx.pos);
	request_poke_more(s, more);
}

uint64_t tx_unsent(const struct nsock *s)
{
	uint64_t tail = load_once(&s->sl->tx_tail), sent = load_acquire(&s->sl->tx_sent);

	return tail > sent ? tail - sent : 0;
}

/* SO_RCVLOWAT; but never so much that a full ring would not do. rx_lock held. */
uint64_t rx_lowat(const struct nsock *s)
{
	uint64_t lowat = load_once(&s->d->rcvlowat), half = s->rx.place.cap / 2;

	return half && lowat > half ? half : lowat;
}

uint64_t tx_lowat_room(const struct nsock *s)
{
	uint64_t most = load_once(&s->sl->notsent_most), unsent = most ? tx_unsent(s) : 0;

	if (!most)
		return UINT64_MAX;
	return most > unsent ? most - unsent : 0;
}

bool tx_lowat_roomy(const struct nsock *s)
{
	uint32_t lowat = load_once(&s->sl->notsent_lowat);

	return !lowat || 2 * tx_unsent(s) < lowat;
}

/* How far the transmit ring may grow: the application may have said how much it wants to be buffered. */
uint64_t tx_most(const struct nsock *s)
{
	uint64_t least = s->type == SOCK_STREAM ? STREAM_TX_MIN : DGRAM_TX_MIN, cap = least;
	uint32_t limit = load_once(&s->sl->tx_limit);

	if (!limit)
		return CM_STREAM_TX_MOST;
	while (cap < limit && cap < TX_MAX_LIMIT)
		cap *= 2;
	return cap;
}

bool tx_may_grow(const struct nsock *s)
{
	return s->tx.place.cap < tx_most(s) &&
	       (!s->d->grow_after || now_ns() >= s->d->grow_after);
}

/*
 * A larger transmit ring: twice as large, or so large that `need` bytes find room in an empty one.
 * 0, -ENOMEM, -EAGAIN (may not grow now). tx_lock held: this side is parked.
 */
int tx_grow(struct nsock *s, uint64_t need)
{
	uint64_t cap = s->tx.place.cap ? 2ull * s->tx.place.cap : TX_START;
	struct cm_sqe e = {.op = CM_GROW, .slot = s->slot};
	int ret;

	while (cap < need)
		cap *= 2;
	if (cap > tx_most(s))
		cap = tx_most(s);
	if (cap <= s->tx.place.cap || !tx_may_grow(s))
		return -EAGAIN;
	e.arg[0] = (int32_t)cap;
	if (s->share)
		store_release(&s->sl->tx_parked, s->ss->lay.session + 1);
	ret = request_wait(s->ss, &e, NULL);
	if (s->share)
		store_release(&s->sl->tx_parked, 0);
	if (ret < 0) {
		s->d->grow_after = now_ns() + RETRY_NS;
		return ret;
	}
	s->d->grow_after = 0;
	ret = side_follow(s, false);
	if (ret == 0 && s->tx.place.cap < cap)
		s->d->grow_after = now_ns() + RETRY_NS;
	return ret;
}

int sock_names(struct nsock *s, struct endpoint *local, struct endpoint *remote)
{
	uint32_t seq;
	int ret;

	do {
		ret = layout_begin(s, &seq);
		if (ret < 0)
			return ret;
		memcpy(local, &s->sl->local, sizeof(*local));
		memcpy(remote, &s->sl->remote, sizeof(*remote));
	} while (!layout_same(s, seq));
	return 0;
}

bool sock_has_error(struct nsock *s)
{
	return load_acquire(&s->ready) &&
	       load_acquire(&s->sl->so_error_seq) != load_once(&s->d->err_taken) &&
	       load_once(&s->sl->so_error) > 0; /* an error queue that was read leaves none */
}

/*
 * The pending error as a negative errno, and forgets it; 0 if there is none. Of all who look at the
 * same time, one gets it.
 */
int sock_take_error(struct nsock *s)
{
	while (sock_has_error(s)) {
		uint32_t taken = load_once(&s->d->err_taken);
		uint32_t seq = load_acquire(&s->sl->so_error_seq);
		int32_t err = load_acquire(&s->sl->so_error);

		if (load_acquire(&s->sl->so_error_seq) != seq)
			continue;
		if (__atomic_compare_exchange_n(
			&s->d->err_taken, &taken, seq, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return err > 0 && err < 4096 ? -err : 0;
	}
	return 0;
}
