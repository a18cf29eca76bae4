/*
 * Fork.
 *
 * Before it, every socket that has a number is moved into a share, and the daemon is asked for a
 * clone of the session: a second one that holds the same shared sockets in slots of the same
 * numbers. It is mapped and open then, so the child makes no call to become a client: it puts the
 * clone in the place of its parent's session, of which it keeps nothing. The parent closes its
 * copies of the clone; should there be no child, the clone's control connection ends with that.
 *
 * All locks of the library are held across the fork, so that the child finds lists whole; no thread
 * sleeps with one of them. A lock of a shared socket is not: it lies in the share, and belongs to a
 * thread of the parent or to nobody. What other threads held references on, the child counts too:
 * so closing an inherited socket ends the hold at once.
 *
 * If there can be no clone the fork goes on; the child's sockets say -ENETDOWN.
 *
 * A child without sockets attaches by itself when it makes one. In a process that gave up what that
 * takes (ns_enclose()) it could not, or with less rights, and gets an empty clone.
 */
#include "clientlib/control.h"
#include "clientlib/fdtable.h"
#include "clientlib/numbers.h"
#include "clientlib/share.h"
#include "clientlib/space.h"
#include <stdlib.h>
#include <sys/mman.h>

#define SETTLE_ROUNDS 1000

static struct session *clone_made; /* between prepare and its end; attach_lock */
static bool clone_asked;	   /* for, whatever came of it; the same */
static void (*callers_prepare)(void);
static void (*callers_done)(bool child);
static bool enclosed; /* atomic; the child has it from its parent */

/* All sockets that have a number, each once. NULL if there are none. fdtable's lock is held. */
static struct nsock **numbered(unsigned *n)
{
	struct nsock **v;

	*n = fdtable_sockets(NULL, 0);
	v = *n ? malloc(*n * sizeof(*v)) : NULL;
	*n = v ? fdtable_sockets(v, *n) : 0;
	return v;
}

/* Locks for as long as nothing is being closed: what the clone holds is what is in the list then.
 */
static void lock_settled(struct session *ss)
{
	struct cm_sqe nop = {.op = CM_NOP};

	for (int i = 0;; i++) {
		pthread_mutex_lock(&ss->req_lock);
		if (!ss->closing || session_dead(ss) || i == SETTLE_ROUNDS)
			return;
		pthread_mutex_unlock(&ss->req_lock);
		request_wait(ss, &nop, NULL);
	}
}

/* ctl_lock and req_lock held. */
static struct session *ask_clone(struct session *ss)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty nothing = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *answer = NULL;
	struct session *clone = NULL;
	struct reply r = {0};
	int ctl, err;

	q.body_case = NETD__CONTROL__REQUEST__BODY_CLONE;
	q.clone = &nothing;
	if (session_ask_locked(ss, &q, &r, &answer) < 0)
		return NULL;
	if (answer->body_case == NETD__CONTROL__RESPONSE__BODY_CLONED) {
		ctl = reply_take(&r, 0);
		clone = session_build(answer->cloned, &r, 1, ctl, &err);
		if (!clone && ctl >= 0)
			sys_close(ctl);
	}
	netd__control__response__free_unpacked(answer, NULL);
	reply_free(&r);
	return clone;
}

static void fork_prepare(void)
{
	struct session *ss;
	struct nsock **v;
	unsigned n;

	if (callers_prepare)
		callers_prepare();
	fdtable_fork_prepare();
	pthread_mutex_lock(&attach_lock);
	pthread_mutex_lock(&share_lock);
	ss = ns_current;
	clone_made = NULL;
	clone_asked = false;
	if (ss) {
		v = session_dead(ss) ? NULL : numbered(&n);
		if (v)
			(void)share_sockets(ss, v, n);
		pthread_mutex_lock(&ss->ctl_lock);
		pthread_mutex_lock(&ss->ev_lock);
		lock_settled(ss);
		clone_asked = v || (load_once(&enclosed) && !session_dead(ss));
		if (clone_asked)
			clone_made = ask_clone(ss);
		free(v);
	}
	pool_fork_prepare();
	numbers_fork_prepare();
}

static void fork_parent(void)
{
	struct session *ss = ns_current, *clone = clone_made;
	bool asked = clone_asked;

	clone_made = NULL;
	numbers_fork_done(false);
	pool_fork_done(false);
	if (ss) {
		pthread_mutex_unlock(&ss->req_lock);
		pthread_mutex_unlock(&ss->ev_lock);
		pthread_mutex_unlock(&ss->ctl_lock);
	}
	pthread_mutex_unlock(&share_lock);
	pthread_mutex_unlock(&attach_lock);
	fdtable_fork_done(false);
	if (clone) {
		sys_close(clone->ctl);
		session_unbuild(clone);
	}
	if (asked)
		session_settle(ss);
	if (callers_done)
		callers_done(false);
}

/* ---- the child */

static void close_own(int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
	*fd = -1;
}

/* Sets are the parent's: nobody looks into them any more, their owners notice (ns_set_lost). */
static void leave_set(struct nset *set)
{
	bool plain = set->plain;

	while (set->members) {
		struct member *m = set->members;

		set->members = m->next_of_set;
		m->sock->members = NULL;
		m->sock->event = NULL;
		__atomic_fetch_sub(&m->sock->refs, 1, __ATOMIC_RELAXED);
		pool_give(&member_pool, m);
	}
	set->pending = NULL;
	set->sleepers = 0;
	close_own(&set->bell);
	close_own(&set->kick);
	if (plain)
		set->fd = -1;
	else
		close_own(&set->fd);
}

static void session_leave(struct session *ss)
{
	pthread_mutex_init(&ss->ctl_lock, NULL);
	pthread_mutex_init(&ss->ev_lock, NULL);
	pthread_mutex_init(&ss->make_lock, NULL);
	pthread_mutex_init(&ss->req_lock, NULL);
	if (ss->dead & SS_FOREIGN)
		return;
	ss->dead |= SS_FOREIGN;
	space_left(ss->home.size);
	close_own(&ss->ctl);
	close_own(&ss->bell);
	close_own(&ss->bell_reader);
	close_own(&ss->common_fd);
	for (uint32_t i = 0; i < ss->spares; i++)
		sys_close(ss->spare[i].fd);
	ss->spares = 0;
	for (struct nset *set = ss->sets; set; set = set->next)
		leave_set(set);
	ss->sets = NULL;
}

/* The socket goes on in the clone, in the slot of the same number. */
static void adopt(struct session *clone, struct nsock *s)
{
	s->ss = clone;
	s->ev = (struct cm_slot *)(void *)(clone->mem + clone->lay.slot_off) + s->slot;
	s->rx = s->tx = (struct side){.layout = 0};
	s->poke_next = 0;
	s->sleepers = 0;
	s->inherited = true;
	s->wait_lock.word = s->rx_lock.word = s->tx_lock.word = 0;
}

/* Takes the held slots out of the clone's free ones. */
static void claim_slots(struct session *clone, const struct nsock *held)
{
	uint8_t *taken = calloc(clone->lay.slots, 1);
	uint32_t n = 0;

	if (!taken) { /* no new sockets, then */
		clone->free_slots = 0;
		return;
	}
	for (const struct nsock *s = held; s; s = s->next_held)
		if (s->slot < clone->lay.slots)
			taken[s->slot] = 1;
	for (uint32_t i = 0; i < clone->free_slots; i++)
		if (!taken[clone->free_slot[i]])
			clone->free_slot[n++] = clone->free_slot[i];
	clone->free_slots = n;
	free(taken);
}

static void become(struct session *clone, struct session *parent)
{
	struct nsock *next, *s = parent->held;

	sys_madvise(clone->mem, clone->lay.size, MADV_DONTFORK);
	clone->pid = sys_getpid();
	clone->older = all_sessions;
	all_sessions = clone;
	claim_slots(clone, s);
	for (parent->held = NULL; s; s = next) {
		struct cm_sqe e = {.op = CM_CLOSE, .slot = s->slot};

		next = s->next_held;
		if (s->slot >= clone->lay.slots)
			continue;
		if (s->fds || (s->watch && s->refs)) {
			adopt(clone, s);
			request_hold(s);
		} else { /* closed by the parent, whose thread is still in a call */
			request_async(clone, &e, REQ_CLOSE, NULL);
		}
	}
	store_release(&ns_current, clone);
	session_identify(clone, false);
}

static void fork_child(void)
{
	struct session *parent = ns_current, *clone = clone_made;

	clone_made = NULL;
	space_forked();
	numbers_fork_done(true);
	pool_fork_done(true);
	pthread_mutex_init(&attach_lock, NULL);
	pthread_mutex_init(&share_lock, NULL);
	fdtable_fork_done(true);
	for (struct session *ss = all_sessions; ss; ss = ss->older)
		session_leave(ss);
	ns_current = NULL;
	if (clone)
		become(clone, parent);
	if (callers_done)
		callers_done(true);
}

void ns_enclose(void)
{
	(void)ns_attach();
	store_once(&enclosed, true);
}

void ns_on_fork(void (*prepare)(void), void (*fork_done)(bool child))
{
	callers_prepare = prepare;
	callers_done = fork_done;
}

static void install(void)
{
	(void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void ns_heed_forks(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
}
