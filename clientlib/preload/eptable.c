/* Which descriptor number is which epoll set (epset.h), and the sets of this process as a list. */
#include "clientlib/preload/epview.h"
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CHUNK  1024
#define CHUNKS 1024

static struct epset **chunks[CHUNKS]; /* atomic, as are their entries; never freed */
static int limit;		      /* one above the highest number ever entered; atomic */
static struct epset own_mark;	      /* entry of a descriptor of the library's own */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct epset *all, *pool;
uint64_t epset_secret;

/* The entry's place, made if asked for; NULL. */
static struct epset **entry(int fd, bool make)
{
	struct epset **c, **none = NULL;
	int i = fd / CHUNK;

	if (fd < 0 || i >= CHUNKS)
		return NULL;
	c = __atomic_load_n(&chunks[i], __ATOMIC_ACQUIRE);
	if (!c && make) {
		c = calloc(CHUNK, sizeof(*c));
		if (c && !__atomic_compare_exchange_n(
			     &chunks[i], &none, c, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			free(c);
			c = none;
		}
	}
	return c ? c + fd % CHUNK : NULL;
}

static struct epset *peek(int fd)
{
	struct epset **e = entry(fd, false);

	return e ? __atomic_load_n(e, __ATOMIC_SEQ_CST) : NULL;
}

static bool set_entry(int fd, struct epset *ep)
{
	struct epset **e = entry(fd, ep != NULL);
	int seen = __atomic_load_n(&limit, __ATOMIC_RELAXED);

	if (!e)
		return false;
	__atomic_store_n(e, ep, __ATOMIC_SEQ_CST);
	while (ep && seen <= fd &&
	       !__atomic_compare_exchange_n(
		   &limit, &seen, fd + 1, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return true;
}

int epset_limit(void)
{
	return __atomic_load_n(&limit, __ATOMIC_ACQUIRE);
}

bool epset_has(int epfd)
{
	struct epset *ep = peek(epfd);

	return ep && ep != &own_mark;
}

static bool try_get(struct epset *ep)
{
	unsigned n = __atomic_load_n(&ep->refs, __ATOMIC_RELAXED);

	while (n)
		if (__atomic_compare_exchange_n(
			&ep->refs, &n, n + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

struct epset *epset_get(int epfd)
{
	for (;;) {
		struct epset *ep = peek(epfd);

		if (!ep || ep == &own_mark)
			return NULL;
		if (try_get(ep)) {
			if (peek(epfd) == ep)
				return ep;
			epset_put(ep);
		}
	}
}

/* The last reference: takes the members out, and keeps the object for the next one. */
static void epset_free(struct epset *ep)
{
	pthread_mutex_lock(&list_lock);
	if (ep->all_prev)
		ep->all_prev->all_next = ep->all_next;
	else
		all = ep->all_next;
	if (ep->all_next)
		ep->all_next->all_prev = ep->all_prev;
	pthread_mutex_lock(&ep->lock);
	epmember_drop_all(ep);
	pthread_mutex_unlock(&ep->lock);
	epset_discard(ep);
	epview_free(ep);
	free(ep->by_fd);
	ep->by_fd = NULL;
	ep->pool_next = pool;
	pool = ep;
	pthread_mutex_unlock(&list_lock);
}

void epset_put(struct epset *ep)
{
	if (__atomic_fetch_sub(&ep->refs, 1, __ATOMIC_ACQ_REL) == 1)
		epset_free(ep);
}

/* Call with list_lock held: nothing else changes the pool. */
static struct epset *object(void)
{
	struct epset *ep = pool;

	if (ep)
		pool = ep->pool_next;
	else
		ep = malloc(sizeof(*ep));
	return ep;
}

static void make_secret(void)
{
	struct timespec ts;

	if (epset_secret)
		return;
	if (getrandom(&epset_secret, sizeof(epset_secret), GRND_NONBLOCK) != sizeof(epset_secret)) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		epset_secret =
		    0x9e3779b97f4a7c15ull * (uint64_t)(ts.tv_nsec + 1) + (uint64_t)ts.tv_sec;
	}
	epset_secret =
	    (epset_secret | 0x5a01000000000000ull) & ~1ull; /* no pointer, no small number */
}

struct epset *epset_open(int epfd, bool foreign)
{
	struct epset *ep;

	ns_heed_forks();
	epset_drop(epfd);
	pthread_mutex_lock(&list_lock);
	make_secret();
	ep = object();
	if (ep) {
		*ep = (struct epset){
		    .epfd = epfd, .kick = -1, .kernel_fds = foreign, .all_next = all};
		pthread_mutex_init(&ep->lock, NULL);
		if (all)
			all->all_prev = ep;
		all = ep;
		__atomic_store_n(&ep->refs, 2, __ATOMIC_RELEASE); /* the entry's and the caller's */
	}
	pthread_mutex_unlock(&list_lock);
	if (ep && !set_entry(epfd, ep)) {
		epset_put(ep);
		epset_put(ep);
		ep = NULL;
	}
	return ep;
}

void epset_drop(int epfd)
{
	struct epset **e = entry(epfd, false);
	struct epset *ep = peek(epfd);

	if (ep && ep != &own_mark &&
	    __atomic_compare_exchange_n(e, &ep, NULL, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		epset_put(ep);
}

void epset_dup(int from, int to)
{
	struct epset *ep;

	if (from == to)
		return;
	epset_drop(to);
	ep = epset_get(from);
	if (ep && !set_entry(to, ep))
		epset_put(ep);
}

/* ---- descriptors of our own */

void epset_own(int fd, bool own)
{
	set_entry(fd, own ? &own_mark : NULL);
}

bool epset_own_fd(int fd)
{
	return peek(fd) == &own_mark;
}

int epset_own_fds(int *fd, int max)
{
	int n = 0, end = epset_limit();

	for (int i = 0; i < end && n < max; i++) {
		if (i % CHUNK == 0 && !__atomic_load_n(&chunks[i / CHUNK], __ATOMIC_ACQUIRE))
			i += CHUNK - 1;
		else if (epset_own_fd(i))
			fd[n++] = i;
	}
	return n;
}

/* ---- all sets */

/* The member that has this socket: under the number `fd`, or under any (-1); NULL. */
static struct epmember *search(struct epset *ep, int fd, const struct nsock *s)
{
	struct epmember *m = NULL;

	if (fd >= 0)
		return epmember_find(ep, fd, s);
	for (int i = 0; i < ep->by_fd_size && !m; i++)
		m = epmember_find(ep, i, s);
	return m;
}

/* One pass over all sets. `to_kernel`: the numbers are kernel sockets now and go on in the kernel's
 * set. */
static void remove_from_all(struct nsock *s, int fd, bool to_kernel)
{
	struct epmember *m;

	for (struct epset *ep = all; ep && ns_user(s); ep = ep->all_next) {
		pthread_mutex_lock(&ep->lock);
		while (ep->members && ns_user(s) && (m = search(ep, fd, s))) {
			struct epoll_event ev = {.events = m->events, .data = m->data};
			int number = (int)m->fd;

			if (to_kernel)
				epview_removed(ep, m);
			else
				epview_left(ep, m);
			epmember_del(ep, m);
			ns_user_add(s, -1);
			if (to_kernel && sys_epoll_ctl(ep->epfd, EPOLL_CTL_ADD, number, &ev) == 0)
				__atomic_add_fetch(&ep->kernel_fds, 1, __ATOMIC_RELAXED);
		}
		pthread_mutex_unlock(&ep->lock);
	}
}

static void remove_everywhere(struct nsock *s, int fd, bool to_kernel)
{
	pthread_mutex_lock(&list_lock);
	remove_from_all(s, fd, to_kernel);
	if (ns_user(s))
		remove_from_all(s, -1, to_kernel);
	pthread_mutex_unlock(&list_lock);
}

void epset_forget(struct nsock *s, int fd)
{
	if (ns_user(s))
		remove_everywhere(s, fd, false);
}

void epset_to_kernel(struct nsock *s)
{
	if (ns_user(s))
		remove_everywhere(s, -1, true);
}

void epset_count(struct nsock *s, int by)
{
	ns_user_add(s, by);
}

/* ---- fork */

void epset_refresh_nested(void)
{
	pthread_mutex_lock(&list_lock);
	for (struct epset *ep = all; ep; ep = ep->all_next) {
		pthread_mutex_lock(&ep->lock);
		if (ep->nested)
			epset_refresh(ep);
		pthread_mutex_unlock(&ep->lock);
	}
	pthread_mutex_unlock(&list_lock);
}

void epset_fork_prepare(void)
{
	pthread_mutex_lock(&list_lock);
	for (struct epset *ep = all; ep; ep = ep->all_next) {
		pthread_mutex_lock(&ep->lock);
		epview_fork_prepare(ep);
	}
}

/*
 * The child keeps its members, but the wait set that brings them news was the parent's. A new one is made when the epoll
 * set is next used (epset_revive). What is in the kernel's epoll set, parent and child share, as always after fork(); and
 * of netd's sockets each learns what the other changes (epview.h).
 */
static void orphan(struct epset *ep)
{
	if (ep->kick >= 0) {
		epset_own(ep->kick, false);
		sys_close(ep->kick);
	}
	pthread_mutex_init(&ep->lock, NULL);
	if (ep->set)
		ns_set_free(ep->set);
	ep->set = NULL;
	ep->kick = -1;
	ep->kicked = ep->armed = false;
	ep->sleepers = ep->watchers = 0;
	ep->kernel_fds++; /* who knows what the parent adds */
}

void epset_fork_done(bool child)
{
	if (!child) {
		for (struct epset *ep = all; ep; ep = ep->all_next) {
			epview_fork_done(ep, false);
			pthread_mutex_unlock(&ep->lock);
		}
		pthread_mutex_unlock(&list_lock);
		return;
	}
	pthread_mutex_init(&list_lock, NULL);
	for (struct epset *ep = all; ep; ep = ep->all_next) {
		orphan(ep);
		epview_fork_done(ep, true);
	}
}
