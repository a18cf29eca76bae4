/*
 * Wait sets, for programs: one descriptor of the kernel that tells of news on any number of
 * sockets.
 *
 * A set stays armed while its owner does something else or sleeps: netd_set_events() disarms it,
 * which empties its bell, arms it anew, and only then takes the news. What comes later rings again.
 *
 * Sets are found by their descriptor in a short table that needs no lock: an entry is taken by its
 * `owner`, and is there for others as long as its `fd` says so. A set is of the process that made
 * it: after a fork the child's calls do not touch what the parent's threads may have held, and its
 * own sets may take the entries over.
 */
#include "clientlib/api.h"
#include "proto/barrier.h"
#include <errno.h>
#include <pthread.h>

#define SETS  64
#define BATCH 64

enum { FREE = 0, MAKING = -1 };

static struct entry {
	int owner; /* the pid of its process, FREE or MAKING */
	int fd;
	struct nset *set;
	pthread_mutex_t lock;
} sets[SETS];

/* One that is free, or was copied from a parent; nobody else sees it before it has its set. */
static struct entry *take_entry(int pid)
{
	for (int i = 0; i < SETS; i++) {
		int owner = load_once(&sets[i].owner);

		if (owner != pid && owner != MAKING &&
		    __atomic_compare_exchange_n(
			&sets[i].owner, &owner, MAKING, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return &sets[i];
	}
	return NULL;
}

/* The entry, locked; NULL and errno. */
static struct entry *get(int fd)
{
	int pid = sys_getpid();

	for (int i = 0; i < SETS; i++) {
		struct entry *e = &sets[i];

		if (load_acquire(&e->owner) != pid || load_acquire(&e->fd) != fd)
			continue;
		pthread_mutex_lock(&e->lock);
		if (e->fd == fd)
			return e;
		pthread_mutex_unlock(&e->lock);
	}
	errno = EBADF;
	return NULL;
}

int netd_set_open(void)
{
	int pid = sys_getpid(), ret;
	struct entry *e = take_entry(pid);

	if (!e) {
		errno = EMFILE;
		return -1;
	}
	ret = ns_set_new(&e->set);
	if (ret < 0) {
		store_release(&e->owner, FREE);
		return (int)api_result(ret);
	}
	ns_set_arm(e->set);
	pthread_mutex_init(&e->lock, NULL);
	ret = ns_set_fd(e->set);
	store_release(&e->fd, ret);
	store_release(&e->owner, pid);
	return ret;
}

int netd_set_close(int set)
{
	struct entry *e = get(set);

	if (!e)
		return -1;
	store_release(&e->fd, -1);
	ns_set_free(e->set);
	pthread_mutex_unlock(&e->lock);
	store_release(&e->owner, FREE);
	return 0;
}

static int change(int set, int fd, void *data, bool add)
{
	struct nsock *s = api_get(fd);
	struct entry *e;
	int ret;

	if (!s)
		return -1;
	e = get(set);
	if (!e) {
		ns_put(s);
		return -1;
	}
	ret = add ? ns_set_add(e->set, s, data) : ns_set_del(e->set, s);
	pthread_mutex_unlock(&e->lock);
	ns_put(s);
	return (int)api_result(ret);
}

int netd_set_add(int set, int fd, void *data)
{
	return change(set, fd, data, true);
}

int netd_set_remove(int set, int fd)
{
	return change(set, fd, NULL, false);
}

struct batch {
	struct netd_event *ev;
	struct nsock *sock[BATCH];
	int n;
};

static void gather(void *arg, void *udata, struct nsock *s)
{
	struct batch *b = arg;

	ns_get(s);
	b->sock[b->n] = s;
	b->ev[b->n++].data = udata;
}

int netd_set_events(int set, struct netd_event *ev, int max)
{
	struct entry *e;
	int n = 0;

	if (max <= 0) {
		errno = EINVAL;
		return -1;
	}
	e = get(set);
	if (!e)
		return -1;
	if (ns_set_lost(e->set)) {
		pthread_mutex_unlock(&e->lock);
		errno = ENETDOWN;
		return -1;
	}
	ns_set_disarm(e->set);
	ns_set_arm(e->set);
	while (n < max) {
		struct batch b = {.ev = ev + n};

		if (ns_set_some(e->set, gather, &b, max - n < BATCH ? max - n : BATCH) == 0)
			break;
		for (int i = 0; i < b.n; i++) {
			b.ev[i].events = (int)ns_poll(b.sock[i]);
			ns_put(b.sock[i]);
		}
		n += b.n;
	}
	pthread_mutex_unlock(&e->lock);
	return n;
}
