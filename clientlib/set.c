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
#include "clientlib/session.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct pool member_pool = {.size = sizeof(struct member)};

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

/* Takes a member off the list; `before` is the one before it, NULL if it is the first. */
static void news_take(struct nset *set, struct member *m, struct member *before)
{
	if (before)
		before->next_pending = m->next_pending;
	else
		set->pending = m->next_pending == &news_end ? NULL : m->next_pending;
	if (set->newest == m)
		set->newest = before;
	m->next_pending = NULL;
}

static void mark(struct member *m)
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
			mark(m);
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
			mark(m);
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
		news_take(set, m, NULL);
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
			mark(m);
	pthread_mutex_unlock(&set->ss->ev_lock);
}

/* ---- sleeping */

static struct cm_set *shared_set(const struct session *ss, uint32_t idx)
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

/* Stores what the daemon is to see of this set and of the common one. ev_lock held. */
static void publish_arms(struct nset *set)
{
	struct session *ss = set->ss;

	set->arm = set->sleepers ? next_odd(set->arm) : next_even(set->arm);
	if (set->idx != CM_NO_SET)
		store_release(&shared_set(ss, set->idx)->arm, set->arm);
	if (!set->plain && ss->common_fd >= 0) {
		ss->common_arm =
		    ss->common_sleepers ? next_odd(ss->common_arm) : next_even(ss->common_arm);
		store_release(&shared_set(ss, COMMON_SET)->arm, ss->common_arm);
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
	publish_arms(set);
	pthread_mutex_unlock(&ss->ev_lock);
	return 0;
}

/* Empties a bell; at its end of file the session may be lost. */
static void drain(struct session *ss, int fd)
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
	drain(ss, set->bell);
	if (!set->plain) {
		drain(ss, ss->common_fd);
		if (!set->sleepers && set->kicked) {
			set->kicked = false;
			drain(ss, set->kick);
		}
	}
	if (!session_dead(ss)) {
		publish_arms(set);
		if (!set->plain)
			collect(ss); /* what the common bell rang for may be another's */
	}
	pthread_mutex_unlock(&ss->ev_lock);
}

/* ---- membership */

/* Writes the names of the socket's sets into its slot. ev_lock held. */
static void name_sets(struct nsock *s)
{
	uint16_t name[CM_SLOT_SETS] = {CM_NO_SET, CM_NO_SET, CM_NO_SET, CM_NO_SET};
	unsigned n = 0, members = 0, room = CM_SLOT_SETS;
	bool all = true;

	if (session_dead(s->ss))
		return;
	for (const struct member *m = s->members; m; m = m->next_of_sock) {
		members++;
		all = all && m->set->idx != CM_NO_SET;
	}
	if (!all || members > CM_SLOT_SETS)
		name[--room] = COMMON_SET;
	for (int plain = 1; plain >= 0; plain--)
		for (const struct member *m = s->members; m; m = m->next_of_sock)
			if (m->set->plain == plain && m->set->idx != CM_NO_SET && n < room)
				name[n++] = (uint16_t)m->set->idx;
	for (int i = 0; i < CM_SLOT_SETS; i++)
		store_release(&s->ev->set[i], name[i]);
	fence_full();
}

static struct member *find(const struct nset *set, const struct nsock *s)
{
	for (struct member *m = s->members; m; m = m->next_of_sock)
		if (m->set == set)
			return m;
	return NULL;
}

int ns_set_add(struct nset *set, struct nsock *s, void *udata)
{
	struct session *ss = set->ss;
	int ret = sock_check(s);
	struct member *m;

	if (ret < 0)
		return ret;
	if (s->ss != ss)
		return -EOPNOTSUPP;
	m = pool_take(&member_pool);
	if (!m)
		return -ENOMEM;
	*m = (struct member){.set = set, .sock = s, .udata = udata};
	pthread_mutex_lock(&ss->ev_lock);
	if (find(set, s) || load_once(&s->closed)) {
		ret = load_once(&s->closed) ? -EBADF : -EEXIST;
		pthread_mutex_unlock(&ss->ev_lock);
		pool_give(&member_pool, m);
		return ret;
	}
	ns_get(s);
	m->next_of_sock = s->members;
	s->members = m;
	m->next_of_set = set->members;
	if (set->members)
		set->members->prev_of_set = m;
	set->members = m;
	ss->member_of_slot[s->slot] = s;
	name_sets(s);
	mark(m);
	pthread_mutex_unlock(&ss->ev_lock);
	return 0;
}

/* Takes the member out of all lists and frees it; ev_lock held. The caller puts the socket. */
static void member_remove(struct member *m)
{
	struct nsock *s = m->sock;
	struct nset *set = m->set;
	struct member **p, *before = NULL;

	if (m->next_pending) {
		for (struct member *n = set->pending; n != m; n = n->next_pending)
			before = n;
		news_take(set, m, before);
	}
	for (p = &s->members; *p != m;)
		p = &(*p)->next_of_sock;
	*p = m->next_of_sock;
	if (m->prev_of_set)
		m->prev_of_set->next_of_set = m->next_of_set;
	else
		set->members = m->next_of_set;
	if (m->next_of_set)
		m->next_of_set->prev_of_set = m->prev_of_set;
	pool_give(&member_pool, m);
	if (!s->members && s->ss->member_of_slot[s->slot] == s)
		s->ss->member_of_slot[s->slot] = NULL;
	name_sets(s);
}

int ns_set_del(struct nset *set, struct nsock *s)
{
	struct member *m;

	pthread_mutex_lock(&set->ss->ev_lock);
	m = s->ss == set->ss ? find(set, s) : NULL;
	if (m)
		member_remove(m);
	pthread_mutex_unlock(&set->ss->ev_lock);
	if (!m)
		return -ENOENT;
	ns_put(s);
	return 0;
}

/* The socket is closed: out of all sets, or out of those that are not of a call under way. */
void set_forget(struct nsock *s, bool all)
{
	unsigned n = 0;

	if (!load_once(&s->members))
		return;
	pthread_mutex_lock(&s->ss->ev_lock);
	for (struct member *next, *m = s->members; m; m = next) {
		next = m->next_of_sock;
		if (!all && m->set->of_calls)
			continue;
		member_remove(m);
		n++;
	}
	pthread_mutex_unlock(&s->ss->ev_lock);
	while (n--)
		ns_put(s);
}

/* ---- life of a set */

/* A number and its bell: a spare one, a new one, or none. make_lock held. */
static int take_bell(struct session *ss, struct bell *b)
{
	int ret;

	*b = (struct bell){.set = CM_NO_SET, .fd = -1};
	pthread_mutex_lock(&ss->ev_lock);
	if (ss->spares)
		*b = ss->spare[--ss->spares];
	pthread_mutex_unlock(&ss->ev_lock);
	if (b->fd >= 0 || ss->sets_made + 1 >= COMMON_SET)
		return 0;
	ret = session_new_set(ss, ss->sets_made + 1, &b->fd); /* 0 came with the session */
	if (ret == 0)
		b->set = ++ss->sets_made;
	return ret;
}

static int watch(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	return fd < 0 ? 0 : sys_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

/* The epoll descriptor of a set that is not plain. make_lock held. */
static int compose(struct session *ss, struct nset *set)
{
	int ret = 0;

	if (ss->common_fd < 0)
		ret = session_new_set(ss, COMMON_SET, &ss->common_fd);
	if (ret < 0)
		return ret;
	set->kick = fd_high(sys_eventfd());
	if (set->kick < 0)
		return set->kick;
	set->fd = fd_high(sys_epoll_create());
	if (set->fd < 0)
		return set->fd;
	ret = watch(set->fd, set->bell);
	if (ret == 0)
		ret = watch(set->fd, set->kick);
	return ret == 0 ? watch(set->fd, ss->common_fd) : ret;
}

static void set_discard(struct nset *set)
{
	struct session *ss = set->ss;

	if (!set->plain && set->fd >= 0)
		sys_close(set->fd);
	if (set->kick >= 0)
		sys_close(set->kick);
	if (set->bell >= 0 && session_dead(ss)) {
		sys_close(set->bell);
	} else if (set->bell >= 0) {
		pthread_mutex_lock(&ss->ev_lock);
		drain(ss, set->bell);
		ss->spare[ss->spares++] = (struct bell){.set = set->idx, .fd = set->bell};
		pthread_mutex_unlock(&ss->ev_lock);
	}
	free(set);
}

int ns_set_new(struct nset **out)
{
	struct session *ss;
	struct nset *set;
	struct bell b;
	int ret = session_get(&ss);

	if (ret < 0)
		return ret;
	set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	set->ss = ss;
	set->kick = set->fd = -1;
	pthread_mutex_lock(&ss->make_lock);
	ret = take_bell(ss, &b);
	set->idx = b.set;
	set->bell = b.fd;
	set->plain = ret == 0 && ss->plain < PLAIN_SETS && b.set != CM_NO_SET;
	if (set->plain)
		set->fd = set->bell;
	else if (ret == 0)
		ret = compose(ss, set);
	if (ret == 0) {
		pthread_mutex_lock(&ss->ev_lock);
		ss->plain += set->plain;
		if (set->idx != CM_NO_SET)
			set->arm = load_once(&shared_set(ss, set->idx)->arm);
		set->next = ss->sets;
		ss->sets = set;
		pthread_mutex_unlock(&ss->ev_lock);
	}
	pthread_mutex_unlock(&ss->make_lock);
	if (ret < 0) {
		set_discard(set);
		return ret;
	}
	*out = set;
	return 0;
}

void ns_set_of_calls(struct nset *set)
{
	set->of_calls = true;
}

void ns_set_free(struct nset *set)
{
	struct session *ss = set->ss;

	pthread_mutex_lock(&ss->ev_lock);
	while (set->members) {
		struct nsock *s = set->members->sock;

		member_remove(set->members);
		pthread_mutex_unlock(&ss->ev_lock);
		ns_put(s);
		pthread_mutex_lock(&ss->ev_lock);
	}
	if (!session_dead(ss)) {
		if (!set->plain)
			ss->common_sleepers -= set->sleepers;
		set->sleepers = 0;
		publish_arms(set);
	}
	ss->plain -= set->plain;
	for (struct nset **p = &ss->sets; *p; p = &(*p)->next) {
		if (*p == set) {
			*p = set->next;
			break;
		}
	}
	pthread_mutex_unlock(&ss->ev_lock);
	set_discard(set);
}

int ns_set_fd(const struct nset *set)
{
	return set->fd;
}

bool ns_set_lost(const struct nset *set)
{
	return session_dead(set->ss);
}

/* ---- one socket's own set */

static void each_nothing(void *arg, void *udata, struct nsock *s)
{
	(void)arg, (void)udata, (void)s;
}

int ns_event_fd(struct nsock *s)
{
	struct nset *set = load_acquire(&s->event), *none = NULL;
	int ret = sock_check(s);

	if (ret < 0)
		return ret;
	if (set)
		return set->fd;
	ret = ns_set_new(&set);
	if (ret < 0)
		return ret;
	ret = ns_set_add(set, s, NULL);
	if (ret < 0) {
		ns_set_free(set);
		return ret;
	}
	ns_set_arm(set);
	if (!__atomic_compare_exchange_n(
		&s->event, &none, set, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		ns_set_free(set); /* another thread was first */
		return none->fd;
	}
	return set->fd;
}

int ns_event_ack(struct nsock *s)
{
	struct nset *set;
	int fd = ns_event_fd(s);

	if (fd < 0)
		return fd;
	set = load_acquire(&s->event);
	if (!set)
		return -EBADF;
	ns_set_disarm(set);
	ns_set_arm(set);
	ns_set_events(set, each_nothing, NULL);
	return (int)ns_poll(s);
}
