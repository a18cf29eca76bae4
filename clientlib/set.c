/*
 * Wait sets.
 *
 * The daemon writes the slot numbers of sockets with news into the session's one event ring and
 * rings the bells of the sets that a slot names, if they are armed. Whoever looks into the event
 * ring takes out everything and hands it on: each set has a list of members with news. So news is
 * never lost because another thread took it out of the ring.
 *
 * A slot names four sets, a session has 64 bells; a process may want more of both. The first three
 * sets are plain: their descriptor is their bell. Every further set has an epoll descriptor that
 * holds its own bell (while the daemon has numbers left), an eventfd, and the bell of one common
 * set. A socket in more sets than its slot can name names the common set in the last place: its
 * bell wakes all further sets that sleep. One of them drains the common bell, and rings the eventfd
 * of others for which it found news in the ring. As plain sets are three, a slot always has room
 * for all of them and the common.
 *
 * Order: ev_cons is published, then a full fence, then the caller looks at the sockets; for the
 * daemon writes no second entry for a slot while the first is unconsumed.
 */
#include "clientlib/set.h"
#include <limits.h>

/* ---- news: a list, oldest first, as the kernel tells it; ev_lock held */

static struct member news_end; /* behind the last one */

static void news_put(struct member *m)
{
	struct nset *set = m->set;

	if (m->next_pending)
		return;
	m->next_pending = &news_end;
	if (set->pending)
		set->newest->next_pending = m;
	else
		set->pending = m;
	set->newest = m;
}

void set_news_take(struct member *m)
{
	struct nset *set = m->set;
	struct member *before = NULL;

	for (struct member *n = set->pending; n != m; n = n->next_pending)
		before = n;
	if (before)
		before->next_pending = m->next_pending;
	else
		set->pending = m->next_pending == &news_end ? NULL : m->next_pending;
	if (set->newest == m)
		set->newest = before;
	m->next_pending = NULL;
}

void set_mark(struct member *m)
{
	struct nset *set = m->set;

	news_put(m);
	if (!set->plain && set->sleepers && !set->kicked) {
		uint64_t one = 1;

		set->kicked = true;
		sys_write(set->kick, &one, sizeof(one));
	}
}

static void mark_all(struct session *ss)
{
	for (struct nset *set = ss->sets; set; set = set->next)
		for (struct member *m = set->members; m; m = m->next_of_set)
			set_mark(m);
}

/* Takes the event ring's entries and hands them on; ev_lock held. */
static void collect(struct session *ss)
{
	const uint32_t *ring = (const uint32_t *)(const void *)(ss->mem + ss->lay.ev_off);
	uint32_t incarnation, lost;
	int64_t n;

	if (session_dead(ss)) {
		mark_all(ss);
		return;
	}
	n = ring_avail(load_acquire(&ss->h->ev_prod), ss->ev_cons, ss->lay.ev_entries);
	incarnation = load_once(&ss->h->incarnation);
	lost = load_once(&ss->h->ev_lost);
	if (incarnation != ss->incarnation || lost != ss->ev_lost) {
		ss->incarnation = incarnation;
		ss->ev_lost = lost;
		mark_all(ss);
	}
	if (n < 0)
		session_break(ss);
	if (n <= 0)
		return;
	for (; n > 0; n--) {
		uint32_t slot = load_once(&ring[ss->ev_cons++ & (ss->lay.ev_entries - 1)]);

		if (slot >= ss->lay.slots) {
			session_break(ss);
			continue;
		}
		if (!ss->member_of_slot[slot])
			continue;
		for (struct member *m = ss->member_of_slot[slot]->members; m; m = m->next_of_sock)
			set_mark(m);
	}
	store_release(&ss->h->ev_cons, ss->ev_cons);
	fence_full();
}

static bool no_news(const struct nset *set)
{
	const struct session *ss = set->ss;

	return !load_once(&set->pending) &&
	       load_acquire(&ss->h->ev_prod) == load_once(&ss->ev_cons) &&
	       load_once(&ss->h->incarnation) == load_once(&ss->incarnation) &&
	       load_once(&ss->h->ev_lost) == load_once(&ss->ev_lost);
}

int ns_set_some(
    struct nset *set, void (*each)(void *arg, void *udata, struct nsock *s), void *arg, int max)
{
	struct session *ss = set->ss;
	struct member *m;
	int n = 0;

	if (session_dead(ss) & SS_FOREIGN || (!session_dead(ss) && no_news(set)))
		return 0;
	pthread_mutex_lock(&ss->ev_lock);
	collect(ss);
	while (n < max && (m = set->pending)) {
		set_news_take(m);
		each(arg, m->udata, m->sock);
		n++;
	}
	pthread_mutex_unlock(&ss->ev_lock);
	return n;
}

bool ns_set_news(const struct nset *set)
{
	return !session_dead(set->ss) && !no_news(set);
}

int ns_set_events(
    struct nset *set, void (*each)(void *arg, void *udata, struct nsock *s), void *arg)
{
	return ns_set_some(set, each, arg, INT_MAX);
}

void ns_set_again(struct nset *set, struct nsock *s)
{
	pthread_mutex_lock(&set->ss->ev_lock);
	for (struct member *m = s->members; m; m = m->next_of_sock)
		if (m->set == set)
			set_mark(m);
	pthread_mutex_unlock(&set->ss->ev_lock);
}

/* ---- sleeping */

struct cm_set *set_shared(const struct session *ss, uint32_t idx)
{
	return (struct cm_set *)(void *)(ss->mem + ss->lay.set_off) + idx;
}

static uint32_t next_odd(uint32_t arm)
{
	return arm + 1 + (arm & 1);
}

static uint32_t next_even(uint32_t arm)
{
	return arm + (arm & 1);
}

void set_publish_arms(struct nset *set)
{
	struct session *ss = set->ss;

	set->arm = set->sleepers ? next_odd(set->arm) : next_even(set->arm);
	if (set->idx != CM_NO_SET)
		store_release(&set_shared(ss, set->idx)->arm, set->arm);
	if (!set->plain && ss->common_fd >= 0) {
		ss->common_arm =
		    ss->common_sleepers ? next_odd(ss->common_arm) : next_even(ss->common_arm);
		store_release(&set_shared(ss, COMMON_SET)->arm, ss->common_arm);
	}
	fence_full();
}

int ns_set_arm(struct nset *set)
{
	struct session *ss = set->ss;

	if (session_dead(ss))
		return -ENETDOWN;
	pthread_mutex_lock(&ss->ev_lock);
	set->sleepers++;
	if (!set->plain)
		ss->common_sleepers++;
	set_publish_arms(set);
	pthread_mutex_unlock(&ss->ev_lock);
	return 0;
}

void set_drain(struct session *ss, int fd)
{
	char buf[256];
	ssize_t n;

	if (fd < 0)
		return;
	do
		n = sys_read(fd, buf, sizeof(buf));
	while (n == (ssize_t)sizeof(buf) || n == -EINTR);
	if (n == 0)
		session_alive(ss);
}

void ns_set_disarm(struct nset *set)
{
	struct session *ss = set->ss;

	if (session_dead(ss) & SS_FOREIGN)
		return;
	pthread_mutex_lock(&ss->ev_lock);
	if (set->sleepers) {
		set->sleepers--;
		if (!set->plain)
			ss->common_sleepers--;
	}
	set_drain(ss, set->bell);
	if (!set->plain) {
		set_drain(ss, ss->common_fd);
		if (!set->sleepers && set->kicked) {
			set->kicked = false;
			set_drain(ss, set->kick);
		}
	}
	if (!session_dead(ss)) {
		set_publish_arms(set);
		if (!set->plain)
			collect(ss); /* what the common bell rang for may be another's */
	}
	pthread_mutex_unlock(&ss->ev_lock);
}
