/*
 * libc's syscall(): programs that call the kernel by number reach the same hooks. Numbers that have
 * nothing to do with descriptors of ours go straight on.
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>

#define SA(x) ((struct sockaddr *)(x))
#define P(x)  ((void *)(x))
#define CALL(nr, call)                                                                             \
	case nr:                                                                                   \
		*ret = call;                                                                       \
		return true;

/* libc's functions read the time by themselves. */
static bool time_there(long at)
{
	return !at || user_readable(P(at), sizeof(struct timespec));
}

/* clang-format off */

static bool moves_data(long nr, const long *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	CALL(SYS_read, read(fd, P(a[1]), (size_t)a[2]))
	CALL(SYS_write, write(fd, P(a[1]), (size_t)a[2]))
	CALL(SYS_readv, readv(fd, P(a[1]), (int)a[2]))
	CALL(SYS_writev, writev(fd, P(a[1]), (int)a[2]))
	CALL(SYS_sendto, sendto(fd, P(a[1]), (size_t)a[2], (int)a[3], SA(a[4]), (socklen_t)a[5]))
	CALL(SYS_recvfrom, recvfrom(fd, P(a[1]), (size_t)a[2], (int)a[3], SA(a[4]), P(a[5])))
	CALL(SYS_sendmsg, sendmsg(fd, P(a[1]), (int)a[2]))
	CALL(SYS_recvmsg, recvmsg(fd, P(a[1]), (int)a[2]))
	CALL(SYS_sendmmsg, sendmmsg(fd, P(a[1]), (unsigned)a[2], (int)a[3]))
	CALL(SYS_recvmmsg, recvmmsg(fd, P(a[1]), (unsigned)a[2], (int)a[3], P(a[4])))
	CALL(SYS_sendfile, sendfile(fd, (int)a[1], P(a[2]), (size_t)a[3]))
	CALL(SYS_splice, splice(fd, P(a[1]), (int)a[2], P(a[3]), (size_t)a[4], (unsigned)a[5]))
	default: return false;
	}
}

static bool names_sockets(long nr, const long *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	CALL(SYS_socket, socket(fd, (int)a[1], (int)a[2]))
	CALL(SYS_bind, bind(fd, SA(a[1]), (socklen_t)a[2]))
	CALL(SYS_connect, connect(fd, SA(a[1]), (socklen_t)a[2]))
	CALL(SYS_listen, listen(fd, (int)a[1]))
	CALL(SYS_accept, accept(fd, SA(a[1]), P(a[2])))
	CALL(SYS_accept4, accept4(fd, SA(a[1]), P(a[2]), (int)a[3]))
	CALL(SYS_shutdown, shutdown(fd, (int)a[1]))
	CALL(SYS_getsockname, getsockname(fd, SA(a[1]), P(a[2])))
	CALL(SYS_getpeername, getpeername(fd, SA(a[1]), P(a[2])))
	CALL(SYS_getsockopt, getsockopt(fd, (int)a[1], (int)a[2], P(a[3]), P(a[4])))
	CALL(SYS_setsockopt, setsockopt(fd, (int)a[1], (int)a[2], P(a[3]), (socklen_t)a[4]))
	default: return false;
	}
}

static bool numbers_and_waits(long nr, const long *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	CALL(SYS_close, close(fd))
	CALL(SYS_execve, execve(P(a[0]), P(a[1]), P(a[2])))
	CALL(SYS_execveat, execveat(fd, P(a[1]), P(a[2]), P(a[3]), (int)a[4]))
	CALL(SYS_unshare, unshare(fd))
	CALL(SYS_dup, dup(fd))
	CALL(SYS_dup3, dup3(fd, (int)a[1], (int)a[2]))
	CALL(SYS_fcntl, fcntl(fd, (int)a[1], a[2]))
	CALL(SYS_ioctl, ioctl(fd, (unsigned long)a[1], a[2]))
	CALL(SYS_epoll_create1, epoll_create1(fd))
	CALL(SYS_epoll_ctl, epoll_ctl(fd, (int)a[1], (int)a[2], P(a[3])))
	CALL(SYS_epoll_pwait, epoll_pwait(fd, P(a[1]), (int)a[2], (int)a[3], P(a[4])))
#ifdef SYS_epoll_pwait2
	CALL(SYS_epoll_pwait2, epoll_pwait2(fd, P(a[1]), (int)a[2], P(a[3]), P(a[4])))
#endif
#ifdef SYS_pselect6
	CALL(SYS_pselect6, pselect_by_number(a))
#endif
	CALL(SYS_ppoll, ppoll_by_number(a))
#ifdef SYS_close_range
	CALL(SYS_close_range, close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]))
#endif
#ifdef SYS_fork
	CALL(SYS_fork, fork())
	CALL(SYS_vfork, fork())
#endif
#ifdef SYS_dup2
	CALL(SYS_dup2, dup2(fd, (int)a[1]))
#endif
#ifdef SYS_select
	CALL(SYS_select, time_there(a[4]) ? select(fd, P(a[1]), P(a[2]), P(a[3]), P(a[4])) : done(-EFAULT))
#endif
#ifdef SYS_poll
	CALL(SYS_poll, poll(P(a[0]), (nfds_t)a[1], (int)a[2]))
#endif
#ifdef SYS_epoll_wait
	CALL(SYS_epoll_wait, epoll_wait(fd, P(a[1]), (int)a[2], (int)a[3]))
#endif
	default: return false;
	}
}

/* clang-format on */

HOOK long syscall(long nr, ...)
{
	long a[6];
	va_list ap;
	long ret;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (moves_data(nr, a, &ret) || names_sockets(nr, a, &ret) ||
	    numbers_and_waits(nr, a, &ret) || clone_by_number(nr, a, &ret))
		return ret;
	ret = sys_call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (ret < 0 && ret > -4096)
		return done(ret);
	return ret;
}
