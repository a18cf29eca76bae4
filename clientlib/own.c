/*
 * The library's own descriptors.
 *
 * They have high numbers, out of the way of programs that count on low ones, but no higher than needed: a fork copies the
 * table of numbers as far as it is used.
 *
 * A socket of the kernel's takes one descriptor, and epoll_ctl() and fork() take none; a program that has as many as
 * RLIMIT_NOFILE allows, or nearly, must not notice that netd takes more. So near the limit ours stand above it (numbers.c).
 * Where there is no room, ours count as the program's do.
 */
#include "clientlib/own.h"
#include "clientlib/fdtable.h"
#include "clientlib/numbers.h"
#include "clientlib/session.h"
#include <sys/eventfd.h>

#define NEAR 64	 /* the limit: so few numbers are left to the program */
#define HIGH 960 /* enough, for programs that may have more than 1024 */

static int own_low = INT32_MAX; /* none of ours is below */

static int owned(int fd)
{
	int low = load_once(&own_low);

	while (fd < low && !__atomic_compare_exchange_n(
			       &own_low, &low, fd, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return fd;
}

int own_place(int fd)
{
	struct rlimit l = {.rlim_cur = 1024};
	long limit, place;
	int high = -EMFILE;

	if (fd < 0)
		return fd;
	(void)numbers_limit(&l);
	limit = l.rlim_cur < INT32_MAX ? (long)l.rlim_cur : INT32_MAX;
	place = limit > 1024 ? HIGH : limit - NEAR;
	/* The kernel gave the lowest number that was free. */
	if (fd >= limit || (fd >= place && fd < limit - NEAR))
		return owned(fd);
	if (fd < limit - NEAR)
		high = sys_fcntl(fd, F_DUPFD_CLOEXEC, place);
	if (high < 0)
		high = (int)numbers_lifted(SYS_fcntl, fd, F_DUPFD_CLOEXEC, limit);
	if (high < 0)
		return owned(fd);
	sys_close(fd);
	return owned(high);
}

/* A call that makes a descriptor, above the limit if it must. */
static int make(long nr, long a, long b, long c)
{
	int fd = (int)sys_call(nr, a, b, c, 0, 0, 0);

	return fd == -EMFILE ? (int)numbers_lifted(nr, a, b, c) : fd;
}

int own_make(long nr, long a, long b, long c)
{
	return own_place(make(nr, a, b, c));
}

int own_eventfd(void)
{
	return own_make(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0);
}

bool own_counts(int fd)
{
	struct rlimit l;

	return numbers_limit(&l) == 0 && (rlim_t)fd < l.rlim_cur;
}

int own_room(int any)
{
	int fd = make(SYS_fcntl, any, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? fd : sys_close(fd);
}

/* ---- which there are */

int ns_own_fds(int *fd, int max)
{
	int n = 0, anchor = fdtable_anchor();

	if (anchor >= 0 && n++ < max)
		fd[n - 1] = anchor;

	for (struct session *ss = load_acquire(&ns_current); ss; ss = ss->older) {
		int own[4] = {ss->ctl, ss->bell, ss->bell_reader, ss->common_fd};

		if (session_dead(ss) & SS_FOREIGN)
			continue;
		for (int i = 0; i < 4; i++)
			if (own[i] >= 0 && n++ < max)
				fd[n - 1] = own[i];
		pthread_mutex_lock(&ss->ev_lock);
		for (uint32_t i = 0; i < ss->spares; i++)
			if (n++ < max)
				fd[n - 1] = ss->spare[i].fd;
		for (const struct nset *set = ss->sets; set; set = set->next) {
			int mine[3] = {set->bell, set->kick, set->fd};

			for (int i = 0; i < 3; i++)
				if (mine[i] >= 0 && n++ < max)
					fd[n - 1] = mine[i];
		}
		pthread_mutex_unlock(&ss->ev_lock);
	}
	return n < max ? n : max;
}

bool ns_own_fd(int fd)
{
	int own[256], n;

	if (fd < load_once(&own_low))
		return false;
	n = ns_own_fds(own, 256);

	for (int i = 0; i < n; i++)
		if (own[i] == fd)
			return true;
	return false;
}
