/*
 * Requests: the submission ring and its answers.
 *
 * One lock makes the many threads of a process one producer of the submission ring and one consumer
 * of the completion ring. Each request under way has an entry in a table as large as the completion
 * ring, so that there is always room for the answers; its token is (generation, index). Whoever
 * looks first takes all completions out and marks their waiters as done.
 *
 * A waiter sleeps on cq_seq: it announces itself in cq_want, executes a full fence, looks once
 * more, and sleeps only if cq_seq has not moved. The daemon answers every request at once, so these
 * sleeps cannot be interrupted by signals.
 *
 * Pokes take no entry in the table. A poke that the daemon has not taken yet covers what was
 * written since (the daemon stores sq_taken before it reads the positions, we publish positions
 * before we read sq_taken, both with a full fence between).
 */
#include "clientlib/session.h"
#include <string.h>

#define SPIN_ROUNDS   300 /* about as long as a daemon that is awake takes */
#define FULL_SLEEP_NS 50000L

void session_rings_init(struct session *ss)
{
	pthread_mutex_init(&ss->req_lock, NULL);
	pthread_mutex_init(&ss->ctl_lock, NULL);
	pthread_mutex_init(&ss->ev_lock, NULL);
	pthread_mutex_init(&ss->make_lock, NULL);
	for (uint32_t i = 0; i < CM_CQ_ENTRIES; i++)
		ss->req[i].next = i + 1;
	/* Low slots first: the stack is filled from the top. */
	for (uint32_t i = 0; i < ss->lay.slots; i++)
		ss->free_slot[i] = ss->lay.slots - 1 - i;
	ss->free_slots = ss->lay.slots;
	ss->sq_prod = load_once(&ss->h->sq_prod);
	ss->cq_cons = load_once(&ss->h->cq_cons);
	ss->ev_cons = load_once(&ss->h->ev_cons);
	ss->incarnation = load_once(&ss->h->incarnation);
	ss->ev_lost = load_once(&ss->h->ev_lost);
}

static struct cm_cqe *cqe_at(const struct session *ss, uint64_t pos)
{
	return (struct cm_cqe *)(void *)(ss->mem + ss->lay.cq_off) + (pos & (CM_CQ_ENTRIES - 1));
}

static struct cm_sqe *sqe_at(const struct session *ss, uint64_t pos)
{
	return (struct cm_sqe *)(void *)(ss->mem + ss->lay.sq_off) + (pos & (CM_SQ_ENTRIES - 1));
}

/* The request that this completion answers; req_lock held. -EPROTO if there is none. */
static int complete(struct session *ss, const struct cm_cqe *c)
{
	uint32_t i = (uint32_t)(c->token & 0xffffffffu);
	struct request *r;

	if (i >= CM_CQ_ENTRIES)
		return -EPROTO;
	r = &ss->req[i];
	if (r->kind == REQ_FREE || r->gen != (uint32_t)(c->token >> 32))
		return -EPROTO;
	if (r->waiter) {
		r->waiter->cqe = *c;
		store_release(&r->waiter->done, true);
	}
	if (r->kind == REQ_SOCKET && r->sock) {
		if (c->res < 0)
			store_once(&r->sock->create_err, c->res < -4095 ? -EPROTO : c->res);
		store_release(&r->sock->ready, true);
	} else if (r->kind == REQ_CLOSE) {
		ss->free_slot[ss->free_slots++] = r->slot;
		ss->closing--;
	}
	*r = (struct request){.kind = REQ_FREE, .gen = r->gen + 1, .next = ss->req_free};
	ss->req_free = i;
	ss->req_busy--;
	return 0;
}

/* Takes all completions; req_lock held. */
static void drain(struct session *ss)
{
	int64_t n;

	if (session_dead(ss) & SS_FOREIGN)
		return;
	n = ring_avail(load_acquire(&ss->h->cq_prod), ss->cq_cons, CM_CQ_ENTRIES);
	if (n <= 0) {
		if (n < 0)
			session_break(ss);
		return;
	}
	for (; n > 0; n--) {
		struct cm_cqe c;

		memcpy(&c, cqe_at(ss, ss->cq_cons), sizeof(c));
		ss->cq_cons++;
		if (complete(ss, &c) < 0)
			session_break(ss);
	}
	store_release(&ss->h->cq_cons, ss->cq_cons);
}

void request_drain(struct session *ss)
{

	if (load_once(&ss->h->cq_prod) == load_once(&ss->cq_cons))
		return;
	pthread_mutex_lock(&ss->req_lock);
	drain(ss);
	pthread_mutex_unlock(&ss->req_lock);
}

static void ring_daemon(struct session *ss)
{
	fence_full();
	if (!load_once(&ss->h->daemon_sleeps))
		return;
	if (ss->bell_reader >= 0)
		sys_write(ss->bell, "", 1);
	else
		sys_ring(ss->bell);
}

static void backoff(struct session *ss, unsigned *round)
{
	ring_daemon(ss);
	sys_nanosleep(FULL_SLEEP_NS << (*round < 5 ? *round : 5));
	if (++*round % 256 == 0)
		session_alive(ss);
}

/* Takes the lock with room in the submission ring, and in the table if `entry`. */
static int lock_with_room(struct session *ss, bool entry)
{
	for (unsigned round = 0;; backoff(ss, &round)) {
		int64_t used;

		pthread_mutex_lock(&ss->req_lock);
		drain(ss); /* may be what breaks it */
		if (session_dead(ss)) {
			pthread_mutex_unlock(&ss->req_lock);
			return -ENETDOWN;
		}
		used = ring_avail(ss->sq_prod, load_acquire(&ss->h->sq_cons), CM_SQ_ENTRIES);
		if (used < 0)
			session_break(ss);
		else if (used < CM_SQ_ENTRIES && (!entry || ss->req_busy < CM_CQ_ENTRIES))
			return 0;
		pthread_mutex_unlock(&ss->req_lock);
	}
}

/* Puts an entry into the ring; req_lock held and given up here. */
static void push_unlock(struct session *ss, const struct cm_sqe *e)
{
	memcpy(sqe_at(ss, ss->sq_prod), e, sizeof(*e));
	store_release(&ss->h->sq_prod, ++ss->sq_prod);
	pthread_mutex_unlock(&ss->req_lock);
	ring_daemon(ss);
}

/* The session's list of shared sockets: what a clone of it would hold. req_lock held. */
static void unhold(struct nsock *s)
{
	if (!s->link_held)
		return;
	*s->link_held = s->next_held;
	if (s->next_held)
		s->next_held->link_held = s->link_held;
	s->link_held = NULL;
}

void request_hold(struct nsock *s)
{
	struct session *ss = s->ss;

	pthread_mutex_lock(&ss->req_lock);
	s->next_held = ss->held;
	s->link_held = &ss->held;
	if (ss->held)
		ss->held->link_held = &s->next_held;
	ss->held = s;
	pthread_mutex_unlock(&ss->req_lock);
}

static int submit(struct session *ss, const struct cm_sqe *e, const struct request *how)
{
	struct cm_sqe mine = *e;
	int ret = lock_with_room(ss, true);
	uint32_t i, gen;

	if (ret < 0)
		return ret;
	i = ss->req_free;
	gen = ss->req[i].gen;
	ss->req_free = ss->req[i].next;
	ss->req_busy++;
	ss->req[i] = *how;
	ss->req[i].gen = gen;
	if (how->kind == REQ_CLOSE) {
		ss->closing++;
		if (how->sock)
			unhold(how->sock);
		ss->req[i].sock = NULL;
	}
	mine.token = (uint64_t)gen << 32 | i;
	push_unlock(ss, &mine);
	return 0;
}

/* Sleeps until `w` is done or the session is lost. */
static int await(struct session *ss, struct waiter *w)
{
	struct timespec second = {.tv_sec = 1};
	int ret = 0;

	for (int i = 0; i < SPIN_ROUNDS && !load_acquire(&w->done); i++) {
		request_drain(ss);
		cpu_relax();
	}
	while (!load_acquire(&w->done)) {
		uint32_t seen = load_acquire(&ss->h->cq_seq);

		pthread_mutex_lock(&ss->req_lock);
		if (ss->cq_sleepers++ == 0)
			store_once(&ss->h->cq_want, 1);
		fence_full();
		drain(ss);
		pthread_mutex_unlock(&ss->req_lock);
		if (!load_acquire(&w->done) && !session_dead(ss))
			if (sys_futex_wait(&ss->h->cq_seq, seen, &second) == -ETIMEDOUT)
				session_alive(ss);
		pthread_mutex_lock(&ss->req_lock);
		if (--ss->cq_sleepers == 0)
			store_once(&ss->h->cq_want, 0);
		drain(ss);
		if (!w->done && session_dead(ss)) {
			/* Nobody may write to our stack after we left. */
			for (uint32_t i = 0; i < CM_CQ_ENTRIES; i++)
				if (ss->req[i].waiter == w)
					ss->req[i].waiter = NULL;
			ret = -ENETDOWN;
		}
		pthread_mutex_unlock(&ss->req_lock);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Submits and waits; the daemon's answer, with the whole completion in *out unless NULL. */
int request_wait(struct session *ss, const struct cm_sqe *e, struct cm_cqe *out)
{
	struct waiter w = {.done = false};
	struct request how = {.kind = REQ_WAITED, .waiter = &w};
	int ret = submit(ss, e, &how);

	if (ret == 0)
		ret = await(ss, &w);
	if (ret < 0)
		return ret;
	if (out)
		*out = w.cqe;
	return w.cqe.res < -4095 ? -EPROTO : w.cqe.res;
}

/* Submits without waiting; `s` for REQ_SOCKET only. */
int request_async(
    struct session *ss, const struct cm_sqe *e, enum request_kind kind, struct nsock *s)
{
	struct request how = {.kind = (uint8_t)kind, .slot = e->slot, .sock = s};

	return submit(ss, e, &how);
}

/* Ends this session's hold of the socket. */
void request_close(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_CLOSE, .slot = s->slot};
	struct request how = {.kind = REQ_CLOSE, .slot = s->slot, .sock = s};

	(void)submit(s->ss, &e, &how);
}

/* The socket goes away before its CM_SOCKET was answered: the answer shall not touch it. */
void request_forget(struct nsock *s)
{
	struct session *ss = s->ss;

	pthread_mutex_lock(&ss->req_lock);
	for (uint32_t i = 0; i < CM_CQ_ENTRIES && !s->ready; i++)
		if (ss->req[i].sock == s)
			ss->req[i].sock = NULL;
	pthread_mutex_unlock(&ss->req_lock);
}

/* Makes the daemon look at the socket's positions, which were published before. */
void request_poke(struct nsock *s)
{
	request_poke_more(s, false);
}

void request_poke_more(struct nsock *s, bool more)
{
	struct session *ss = s->ss;
	struct cm_sqe e = {.op = CM_POKE, .slot = s->slot, .arg = {more}};

	fence_full();
	if (load_once(&ss->h->sq_taken) < load_once(&s->poke_next))
		return;
	if (lock_with_room(ss, false) == 0) {
		store_once(&s->poke_next, ss->sq_prod + 1);
		push_unlock(ss, &e);
	}
}

/* A free slot, -EMFILE. Waits for closings under way if that is all there is. */
int slot_take(struct session *ss, uint32_t *slot)
{
	int ret;

	for (unsigned round = 0;; backoff(ss, &round)) {
		bool hope;

		pthread_mutex_lock(&ss->req_lock);
		drain(ss);
		ret = session_dead(ss) ? -ENETDOWN : -EMFILE;
		hope = ret == -EMFILE && ss->closing;
		if (ret == -EMFILE && ss->free_slots) {
			*slot = ss->free_slot[--ss->free_slots];
			ret = 0;
		}
		pthread_mutex_unlock(&ss->req_lock);
		if (ret == 0 || !hope)
			return ret;
	}
}

/* Gives back a slot that the daemon never heard of, or does not use. */
void slot_give(struct session *ss, uint32_t slot)
{
	pthread_mutex_lock(&ss->req_lock);
	ss->free_slot[ss->free_slots++] = slot;
	pthread_mutex_unlock(&ss->req_lock);
}
