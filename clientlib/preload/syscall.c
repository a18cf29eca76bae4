/*
 * libc's syscall(): programs that call the kernel by number reach the same hooks. Numbers that have
 * nothing to do with descriptors of ours go straight on.
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>

typedef long arg_t;

#define SA(x)  ((struct sockaddr *)(x))
#define P(x)   ((void *)(x))

static bool moves_data(long nr, const arg_t *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	case SYS_read: *ret = read(fd, P(a[1]), (size_t)a[2]); return true;
	case SYS_write: *ret = write(fd, P(a[1]), (size_t)a[2]); return true;
	case SYS_readv: *ret = readv(fd, P(a[1]), (int)a[2]); return true;
	case SYS_writev: *ret = writev(fd, P(a[1]), (int)a[2]); return true;
	case SYS_sendto: *ret = sendto(fd, P(a[1]), (size_t)a[2], (int)a[3], SA(a[4]), (socklen_t)a[5]); return true;
	case SYS_recvfrom: *ret = recvfrom(fd, P(a[1]), (size_t)a[2], (int)a[3], SA(a[4]), P(a[5])); return true;
	case SYS_sendmsg: *ret = sendmsg(fd, P(a[1]), (int)a[2]); return true;
	case SYS_recvmsg: *ret = recvmsg(fd, P(a[1]), (int)a[2]); return true;
	case SYS_sendmmsg: *ret = sendmmsg(fd, P(a[1]), (unsigned)a[2], (int)a[3]); return true;
	case SYS_recvmmsg: *ret = recvmmsg(fd, P(a[1]), (unsigned)a[2], (int)a[3], P(a[4])); return true;
	case SYS_sendfile: *ret = sendfile(fd, (int)a[1], P(a[2]), (size_t)a[3]); return true;
	case SYS_splice: *ret = splice(fd, P(a[1]), (int)a[2], P(a[3]), (size_t)a[4], (unsigned)a[5]); return true;
	default: return false;
	}
}

static bool names_sockets(long nr, const arg_t *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	case SYS_socket: *ret = socket(fd, (int)a[1], (int)a[2]); return true;
	case SYS_bind: *ret = bind(fd, SA(a[1]), (socklen_t)a[2]); return true;
	case SYS_connect: *ret = connect(fd, SA(a[1]), (socklen_t)a[2]); return true;
	case SYS_listen: *ret = listen(fd, (int)a[1]); return true;
	case SYS_accept: *ret = accept(fd, SA(a[1]), P(a[2])); return true;
	case SYS_accept4: *ret = accept4(fd, SA(a[1]), P(a[2]), (int)a[3]); return true;
	case SYS_shutdown: *ret = shutdown(fd, (int)a[1]); return true;
	case SYS_getsockname: *ret = getsockname(fd, SA(a[1]), P(a[2])); return true;
	case SYS_getpeername: *ret = getpeername(fd, SA(a[1]), P(a[2])); return true;
	case SYS_getsockopt: *ret = getsockopt(fd, (int)a[1], (int)a[2], P(a[3]), P(a[4])); return true;
	case SYS_setsockopt: *ret = setsockopt(fd, (int)a[1], (int)a[2], P(a[3]), (socklen_t)a[4]); return true;
	default: return false;
	}
}

static bool numbers_and_waits(long nr, const arg_t *a, long *ret)
{
	int fd = (int)a[0];

	switch (nr) {
	case SYS_close: *ret = close(fd); return true;
	case SYS_dup: *ret = dup(fd); return true;
	case SYS_dup3: *ret = dup3(fd, (int)a[1], (int)a[2]); return true;
	case SYS_fcntl: *ret = fcntl(fd, (int)a[1], a[2]); return true;
	case SYS_ioctl: *ret = ioctl(fd, (unsigned long)a[1], a[2]); return true;
	case SYS_epoll_create1: *ret = epoll_create1(fd); return true;
	case SYS_epoll_ctl: *ret = epoll_ctl(fd, (int)a[1], (int)a[2], P(a[3])); return true;
	case SYS_epoll_pwait: *ret = epoll_pwait(fd, P(a[1]), (int)a[2], (int)a[3], P(a[4])); return true;
#ifdef SYS_close_range
	case SYS_close_range: *ret = close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]); return true;
#endif
#ifdef SYS_dup2
	case SYS_dup2: *ret = dup2(fd, (int)a[1]); return true;
#endif
#ifdef SYS_poll
	case SYS_poll: *ret = poll(P(a[0]), (nfds_t)a[1], (int)a[2]); return true;
#endif
#ifdef SYS_epoll_wait
	case SYS_epoll_wait: *ret = epoll_wait(fd, P(a[1]), (int)a[2], (int)a[3]); return true;
#endif
	default: return false;
	}
}

HOOK long syscall(long nr, ...)
{
	arg_t a[6];
	va_list ap;
	long ret;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, arg_t);
	va_end(ap);
	if (moves_data(nr, a, &ret) || names_sockets(nr, a, &ret) || numbers_and_waits(nr, a, &ret))
		return ret;
	ret = sys_call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (ret < 0 && ret > -4096)
		return done(ret);
	return ret;
}
