/* Members of an epoll set, its ready list, and when its bell and kick are on (epset.h). Under its
 * lock. */
#include "clientlib/preload/epview.h"
#include "clientlib/own.h"
#include "clientlib/pool.h"
#include <stdlib.h>

static struct pool epmember_pool = {.size = sizeof(struct epmember)};

/* ---- the ready list */

static void list(struct epset *ep, struct epmember *m)
{
	if (m->listed)
		return;
	m->listed = true;
	m->next = NULL;
	m->prev = ep->tail;
	if (ep->tail)
		ep->tail->next = m;
	else
		ep->head = m;
	ep->tail = m;
	ep->ready++;
}

static void unlist(struct epset *ep, struct epmember *m)
{
	if (!m->listed)
		return;
	m->listed = false;
	if (m->prev)
		m->prev->next = m->next;
	else
		ep->head = m->next;
	if (m->next)
		m->next->prev = m->prev;
	else
		ep->tail = m->prev;
	ep->ready--;
}

/* What is to be reported of this member now. A closed socket has nothing to say. */
static uint32_t member_events(const struct epmember *m)
{
	unsigned ev = readiness(m->sock);

	return ev & POLLNVAL ? 0 : ev & m->events & ~(uint32_t)EPSET_PRIVATE;
}

static void news(void *arg, void *udata, struct nsock *s)
{
	(void)s;
	for (struct epmember *m = udata; m; m = m->twin)
		list(arg, m);
}

void epset_pump(struct epset *ep)
{
	if (ep->set)
		ns_set_events(ep->set, news, ep);
}

/* Is the first member on the list ready? Drops those before it that are not. */
bool epset_any_ready(struct epset *ep)
{
	while (ep->head) {
		if (member_events(ep->head))
			return true;
		unlist(ep, ep->head);
	}
	return false;
}

/* What is to be reported of it, and that it was. What is news is looked at before what is true: an edge may be told twice
 * then, and is never missed. */
static uint32_t report(struct epset *ep, struct epmember *m)
{
	uint64_t now = ns_news(m->sock), *told = epview_told(ep, m);
	uint32_t events = member_events(m);

	if (!events || (m->events & EPOLLET && now && now == *told))
		return 0;
	*told = now;
	if (m->events & EPOLLONESHOT) {
		m->events &= EPSET_PRIVATE;
		epview_fired(ep, m);
	} else if (!(m->events & EPOLLET)) {
		list(ep, m);
	}
	return events;
}

int epset_harvest(struct epset *ep, struct epoll_event *ev, int max)
{
	int n = 0;

	epview_begin(ep);
	for (unsigned left = ep->ready; left && n < max; left--) {
		struct epmember *m = ep->head;
		epoll_data_t data = m->data;
		uint32_t events;

		unlist(ep, m);
		if (ns_ended(m->sock)) {
			epview_ended(ep, m);
			continue;
		}
		events = report(ep, m);
		if (events)
			ev[n++] = (struct epoll_event){.events = events, .data = data};
	}
	epview_end(ep);
	return n;
}

/* ---- bell and kick */

static void kick(struct epset *ep, bool on)
{
	uint64_t v = 1;

	if (ep->kicked == on || ep->kick < 0)
		return;
	if (on)
		(void)sys_write(ep->kick, &v, sizeof(v));
	else
		(void)sys_read(ep->kick, &v, sizeof(v));
	ep->kicked = on;
}

/* Ends the arming: the bell is silent and empty. */
void epset_calm(struct epset *ep)
{
	if (ep->armed)
		ns_set_disarm(ep->set);
	ep->armed = false;
	epview_calm(ep);
}

bool epset_needed(const struct epset *ep)
{
	return ep->nested || ep->watchers || __atomic_load_n(&ep->sleepers, __ATOMIC_SEQ_CST);
}

/* Leaves bell and kick as those who sleep, watch or nest need them. To be called after every
 * change. */
void epset_settle(struct epset *ep)
{
	bool needed = epset_needed(ep);

	epview_announce(ep, needed);
	if (!ep->set)
		return;
	if (!needed) {
		epset_calm(ep);
	} else if (!ep->armed) {
		ns_set_arm(ep->set);
		ep->armed = true;
		epset_pump(ep);
	}
	kick(ep, needed && epset_any_ready(ep));
}

void epset_refresh(struct epset *ep)
{
	epset_pump(ep);
	if (epset_any_ready(ep))
		return;
	epset_calm(ep);
	epset_settle(ep);
}

void epset_watch_begin(struct epset *ep)
{
	epset_revive(ep);
	pthread_mutex_lock(&ep->lock);
	ep->watchers++;
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
}

/* The descriptor was readable: after this it is only if something is ready. */
void epset_watch_refresh(struct epset *ep)
{
	epset_revive(ep);
	pthread_mutex_lock(&ep->lock);
	epset_calm(ep);
	epset_pump(ep);
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
}

void epset_watch_end(struct epset *ep)
{
	pthread_mutex_lock(&ep->lock);
	ep->watchers--;
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
}

/* ---- members */

struct epmember *epmember_find(struct epset *ep, int fd, const struct nsock *s)
{
	struct epmember *m = fd >= 0 && fd < ep->by_fd_size ? ep->by_fd[fd] : NULL;

	while (m && m->sock != s)
		m = m->fd_next;
	return m;
}

static int grow(struct epset *ep, int fd)
{
	int size = ep->by_fd_size ? ep->by_fd_size : 64;
	struct epmember **new;

	while (size <= fd)
		size *= 2;
	if (size == ep->by_fd_size)
		return 0;
	new = realloc(ep->by_fd, (size_t)size * sizeof(*new));
	if (!new)
		return -ENOMEM;
	for (int i = ep->by_fd_size; i < size; i++)
		new[i] = NULL;
	ep->by_fd = new;
	ep->by_fd_size = size;
	return 0;
}

static int add_mark(int epfd, int fd, uint64_t mark)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = mark};
	int ret = sys_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);

	return ret == -EEXIST ? 0 : ret;
}

/* The wait set and the kick, at the first member. 0 or what the kernel says of `epfd`. */
int epset_prepare(struct epset *ep)
{
	struct nset *set;
	int ret;

	if (ep->set)
		return 0;
	ret = ns_set_new(&set);
	if (ret < 0)
		return ret;
	ep->kick = own_eventfd();
	ret = ep->kick < 0 ? ep->kick : add_mark(ep->epfd, ns_set_fd(set), epset_secret);
	if (ret == 0)
		ret = add_mark(ep->epfd, ep->kick, epset_secret + 1);
	if (ret < 0) {
		if (ep->kick >= 0)
			sys_close(ep->kick);
		ep->kick = -1;
		ns_set_free(set);
		return ret;
	}
	epset_own(ep->kick, true);
	ep->kicked = ep->armed = false;
	__atomic_store_n(&ep->set, set, __ATOMIC_SEQ_CST);
	return 0;
}

/* Undoes epset_prepare(). */
void epset_discard(struct epset *ep)
{
	if (ep->set) {
		(void)sys_epoll_ctl(ep->epfd, EPOLL_CTL_DEL, ns_set_fd(ep->set), NULL);
		ns_set_free(ep->set);
	}
	if (ep->kick >= 0) {
		epset_own(ep->kick, false);
		sys_close(ep->kick);
	}
	ep->set = NULL;
	ep->kick = -1;
	ep->kicked = ep->armed = false;
}

void epset_revive(struct epset *ep)
{
	if (__atomic_load_n(&ep->set, __ATOMIC_ACQUIRE) || !(ep->members || epview_populated(ep)))
		return;
	pthread_mutex_lock(&ep->lock);
	if (!ep->set && (ep->members || epview_populated(ep)) && epset_prepare(ep) == 0) {
		for (int fd = 0; fd < ep->by_fd_size; fd++) {
			for (struct epmember *m = ep->by_fd[fd]; m; m = m->fd_next) {
				if (m->first)
					(void)ns_set_add(ep->set, m->sock, m);
				list(ep, m);
			}
		}
		epset_settle(ep);
	}
	pthread_mutex_unlock(&ep->lock);
}

/* The member of this socket that the wait set knows: others, under numbers made by dup(), hang on
 * it. */
static struct epmember *first_of(struct epset *ep, const struct nsock *s)
{
	for (int fd = 0; fd < ep->by_fd_size; fd++)
		for (struct epmember *m = ep->by_fd[fd]; m; m = m->fd_next)
			if (m->sock == s && m->first)
				return m;
	return NULL;
}

/* Takes the member out of the wait set; its twin, if it has one, takes its place. */
static void leave_set(struct epset *ep, struct epmember *m)
{
	struct epmember *p;

	if (m->first) {
		if (ep->set)
			ns_set_del(ep->set, m->sock);
		if (m->twin && !ep->set)
			m->twin->first = true;
		else if (m->twin && ns_set_add(ep->set, m->sock, m->twin) == 0)
			m->twin->first = true;
		return;
	}
	for (p = first_of(ep, m->sock); p; p = p->twin) {
		if (p->twin == m) {
			p->twin = m->twin;
			return;
		}
	}
}

int epmember_add(struct epset *ep, int fd, struct nsock *s, const struct epoll_event *ev)
{
	struct epmember *m, *twin = NULL;
	int ret;

	if (epmember_find(ep, fd, s))
		return -EEXIST;
	ret = grow(ep, fd);
	if (ret < 0)
		return ret;
	m = pool_take(&epmember_pool);
	if (!m)
		return -ENOMEM;
	ret = ep->set ? ns_set_add(ep->set, s, m) : -EEXIST; /* without one it joins later */
	if (ret == -EEXIST)
		twin = first_of(ep, s);
	if (ret < 0 && !twin && ep->set) {
		pool_give(&epmember_pool, m);
		return ret;
	}
	ns_get(s);
	m->sock = s;
	m->fd = (unsigned)fd & 0x3fffffffu; /* the table has fewer */
	if (twin) {
		m->twin = twin->twin;
		twin->twin = m;
	}
	m->first = !twin;
	m->fd_next = ep->by_fd[fd];
	ep->by_fd[fd] = m;
	ep->members++;
	epmember_mod(ep, m, ev);
	return 0;
}

void epmember_mod(struct epset *ep, struct epmember *m, const struct epoll_event *ev)
{
	m->events = ev->events | EPOLLERR | EPOLLHUP;
	m->data = ev->data;
	m->told = 0;
	list(ep, m);
}

void epmember_del(struct epset *ep, struct epmember *m)
{
	struct epmember **p = &ep->by_fd[m->fd];

	leave_set(ep, m);
	unlist(ep, m);
	while (*p != m)
		p = &(*p)->fd_next;
	*p = m->fd_next;
	ep->members--;
	ns_put(m->sock);
	pool_give(&epmember_pool, m);
}

/* At the set's end, under list_lock too. */
void epmember_drop_all(struct epset *ep)
{
	for (int fd = 0; fd < ep->by_fd_size; fd++) {
		while (ep->by_fd[fd]) {
			struct nsock *s = ep->by_fd[fd]->sock;

			if (ns_user(s))
				ns_user_add(s, -1);
			epmember_del(ep, ep->by_fd[fd]);
		}
	}
}
