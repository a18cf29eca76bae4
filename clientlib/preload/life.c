/*
 * The life of a descriptor number: socket, accept, close, and the calls that copy or replace
 * numbers.
 *
 * Sockets of AF_INET, AF_INET6 and AF_PACKET are netd's; everything else is the kernel's. If netd cannot be reached the
 * program is told so once and socket() fails with ENETDOWN: it must never end up on the kernel's stack unnoticed.
 */
#include "clientlib/preload/async.h"
#include "clientlib/preload/epset.h"
#include "clientlib/preload/netlink.h"
#include <linux/close_range.h>
#include <stdlib.h>
#include <string.h>

/* Says why, once a process. Straight to descriptor 2: stdio may be anything by now. */
static void tell_unreachable(int err)
{
	static unsigned told;
	const char *path = secure_getenv("NETD_SOCKET");
	char line[300];
	int n;

	if (__atomic_exchange_n(&told, 1, __ATOMIC_RELAXED))
		return;
	n = snprintf(line, sizeof(line), "netctl run: cannot reach netd at %s: %s\n",
	    path && *path ? path : "/run/netd/netd.sock", strerrordesc_np(-err));
	if (n > 0 && !fdtable_has(2))
		(void)sys_write(2, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

static int open_socket(int family, int type, int protocol)
{
	struct nsock *s;
	int ret, fd;

	ret = ns_owner() ? ns_attach() : -ENETDOWN;
	if (ret == -EMFILE)
		return ret;
	if (ret < 0) {
		tell_unreachable(ret);
		return -ENETDOWN;
	}
	ret = ns_socket(family, type, protocol, &s);
	if (ret < 0)
		return ret;
	fd = fdtable_open(s, type & SOCK_CLOEXEC, 0);
	ns_put(s);
	stdio_over(fd);
	return fd;
}

HOOK int socket(int family, int type, int protocol)
{
	int fd;

	if (family == AF_NETLINK && protocol == NETLINK_ROUTE && ns_owner() && netlink_at_home() &&
	    ns_attach() == 0) {
		fd = netlink_open(type);
		return fd == -EMFILE ? real.socket(family, type, protocol) : (int)done(fd);
	}
	if (family != AF_INET && family != AF_INET6 && family != AF_PACKET)
		return real.socket(family, type, protocol);
	return (int)done(open_socket(family, type, protocol));
}

/* ---- accept */

static int accept_at(struct nsock *l, struct sockaddr *sa, socklen_t *len, int flags)
{
	struct endpoint peer;
	struct nsock *child;
	int ret = 0, fd;

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (!stash_take(l, &child, &peer))
		ret = ns_accept(l, ns_nonblock(l), &child, &peer);
	if (ret == 0 && sa && (ret = ns_give_name(ns_family(l), &peer, sa, len)) < 0)
		ns_put(child); /* and with it goes the connection, as in the kernel */
	if (ret < 0)
		return ret;
	ns_set_nonblock(child, flags & SOCK_NONBLOCK);
	fd = fdtable_open(child, flags & SOCK_CLOEXEC, 0);
	if (fd < 0) {
		stash_put(l, child, &peer);
		return fd;
	}
	ns_put(child);
	return fd;
}

HOOK int accept4(int fd, __SOCKADDR_ARG sa, socklen_t *restrict len, int flags)
{
	struct nsock *s = fdtable_get(fd);

	if (!s)
		return real.accept4(fd, sa, len, flags);
	return (int)done_put(s, accept_at(s, sa.__sockaddr__, len, flags));
}

HOOK int accept(int fd, __SOCKADDR_ARG sa, socklen_t *restrict len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s)
		return real.accept(fd, sa, len);
	return (int)done_put(s, accept_at(s, sa.__sockaddr__, len, 0));
}

/* ---- close */

/* After a number of the socket's went: was it the last one? */
static void after_close(struct nsock *s, int fd)
{
	if (!ns_named(s)) {
		epset_forget(s, fd);
		stash_forget(s);
		async_forget(s);
	}
	ns_put(s);
}

int number_close(int fd)
{
	struct nsock *s = fdtable_get(fd);
	int ret;

	if (!s)
		return -EBADF;
	ret = fdtable_close(fd);
	after_close(s, fd);
	return ret;
}

void number_forget(int fd)
{
	struct nsock *s = fdtable_get(fd);

	if (s) {
		fdtable_forget(fd);
		after_close(s, fd);
	}
	epset_drop(fd);
}

bool number_own(int fd)
{
	return epset_own_fd(fd) || ns_own_fd(fd);
}

HOOK int close(int fd)
{
	/* Most are none of ours, and ns_owner() is a system call. */
	if (fd < 0 || !(fdtable_has(fd) || number_own(fd) || epset_has(fd)) || !ns_owner())
		return real.close(fd);
	if (fdtable_has(fd))
		return (int)done(number_close(fd));
	if (number_own(fd))
		return (int)done(-EBADF);
	if (epset_has(fd))
		epset_drop(fd);
	return real.close(fd);
}

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* close_range() around the library's own descriptors. */
static int close_around(unsigned first, unsigned last, unsigned flags)
{
	int own[512], n = ns_own_fds(own, 256), ret = 0;

	n = n > 256 ? 256 : n;
	n += epset_own_fds(own + n, 512 - n);
	qsort(own, (size_t)n, sizeof(own[0]), compare);
	for (int i = 0; i < n && ret == 0; i++) {
		unsigned fd = (unsigned)own[i];

		if (fd < first || fd > last)
			continue;
		if (fd > first)
			ret = real.close_range(first, fd - 1, (int)flags);
		first = fd + 1;
	}
	return ret == 0 && first <= last ? real.close_range(first, last, (int)flags) : ret;
}

HOOK int close_range(unsigned first, unsigned last, int flags)
{
	int end;

	if (!real.close_range)
		return (int)done(-ENOSYS);
	if (first > last || flags & ~CLOSE_RANGE_UNSHARE || !ns_owner())
		return real.close_range(first, last, flags);
	end = fdtable_limit() > epset_limit() ? fdtable_limit() : epset_limit();
	for (unsigned fd = first; fd <= last && fd < (unsigned)end; fd++) {
		if (fdtable_has((int)fd))
			(void)number_close((int)fd);
		else if (epset_has((int)fd))
			epset_drop((int)fd);
	}
	return close_around(first, last, (unsigned)flags);
}

HOOK void closefrom(int low)
{
	(void)close_range(low < 0 ? 0 : (unsigned)low, ~0u, 0);
}

/* ---- dup */

void number_copied(int fd, int copy)
{
	if (!ns_owner())
		return;
	if (epset_has(fd))
		epset_dup(fd, copy);
	else if (netlink_has(fd))
		netlink_dup(fd, copy);
}

HOOK int dup(int fd)
{
	struct nsock *s = ns_owner() ? fdtable_get(fd) : NULL;
	int ret;

	if (s) {
		ret = fdtable_dup(s, fd, false, 0);
		stdio_over(ret);
		return (int)done_put(s, ret);
	}
	ret = real.dup(fd);
	if (ret >= 0)
		number_copied(fd, ret);
	return ret;
}

/* dup2() and dup3() to another number, in a process that owns its tables. */
static int replace(int fd, int to, int flags)
{
	struct nsock *s = fdtable_get(fd), *old;
	int ret;

	if (number_own(to)) {
		if (s)
			ns_put(s);
		return (int)done(-EBUSY);
	}
	if (s) {
		old = fdtable_get(to);
		ret = fdtable_dup_at(s, fd, flags & O_CLOEXEC, to);
		if (ret >= 0) {
			epset_drop(to);
			stdio_over(to);
		}
		if (old)
			after_close(old, to);
		return (int)done_put(s, ret);
	}
	if (sys_fcntl(fd, F_GETFD, 0) < 0)
		return (int)done(-EBADF);
	number_forget(to); /* the kernel closes the placeholder */
	ret = (int)done(ns_numbers_dup(fd, to, flags));
	if (ret >= 0)
		number_copied(fd, to);
	return ret;
}

HOOK int dup2(int fd, int to)
{
	if (fd == to || fd < 0 || to < 0 || !ns_owner())
		return real.dup2(fd, to);
	return replace(fd, to, 0);
}

HOOK int dup3(int fd, int to, int flags)
{
	if (fd == to || fd < 0 || to < 0 || (flags & ~O_CLOEXEC) || !ns_owner())
		return real.dup3(fd, to, flags);
	return replace(fd, to, flags);
}
