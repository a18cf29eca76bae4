/* Making and ending a wait set, and the numbers, bells and descriptors that it takes. Theory of operation: set.c. */
#include "clientlib/own.h"
#include "clientlib/set.h"
#include <stdlib.h>
#include <sys/epoll.h>

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
	set->kick = own_eventfd();
	if (set->kick < 0)
		return set->kick;
	set->fd = own_make(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0);
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
		set_drain(ss, set->bell);
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
			set->arm = load_once(&set_shared(ss, set->idx)->arm);
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
		set_publish_arms(set);
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
