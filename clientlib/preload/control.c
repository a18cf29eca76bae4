/*
 * fcntl and ioctl.
 *
 * What belongs to the number (close-on-exec) is the kernel's, on the placeholder. What belongs to
 * the open file description is the socket's: the placeholders all share one anchor, so F_SETFL and
 * FIONBIO must never reach it.
 */
#include "clientlib/preload/async.h"
#include "clientlib/preload/epset.h"
#include "clientlib/preload/netlink.h"
#include <linux/sockios.h>
#include <stdarg.h>

static int fcntl_netd(struct nsock *s, int fd, int cmd, long arg)
{
	switch (cmd) {
	case F_GETFL:
		return O_RDWR | (ns_nonblock(s) ? O_NONBLOCK : 0) | ns_kept(s, NS_KEPT_FLAGS);
	case F_SETFL:
		ns_set_nonblock(s, arg & O_NONBLOCK);
		ns_keep(s, NS_KEPT_FLAGS, (int)arg & (O_APPEND | O_ASYNC));
		return async_set(s, fd, arg & O_ASYNC);
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return arg < 0 ? -EINVAL : fdtable_dup(s, fd, cmd == F_DUPFD_CLOEXEC, (int)arg);
	case F_SETOWN:
	case F_GETOWN:
	case F_SETOWN_EX:
	case F_GETOWN_EX:
	case F_SETSIG:
	case F_GETSIG:
		return async_fcntl(s, fd, cmd, arg);
	default: /* of the number, or nothing that a socket has: the kernel says which errno */
		return sys_fcntl(fd, cmd, arg);
	}
}

static int fcntl_any(__typeof__(fcntl) *next, int fd, int cmd, void *arg)
{
	struct nsock *s = fdtable_get(fd);
	int ret;

	if (s && ns_owner())
		return (int)done_put(s, fcntl_netd(s, fd, cmd, (long)arg));
	if (s) {
		ns_put(s);
		if (cmd == F_SETFL)
			return 0; /* a vfork() child: the flags are not its own */
	}
	ret = next(fd, cmd, arg);
	if (ret >= 0 && (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC))
		number_copied(fd, ret);
	return ret;
}

HOOK int fcntl(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(real.fcntl, fd, cmd, arg);
}

HOOK int fcntl64(int fd, int cmd, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	return fcntl_any(real.fcntl64 ? real.fcntl64 : real.fcntl, fd, cmd, arg);
}

/* Requests about interfaces and about the number itself go to the placeholder; so does what nobody
 * knows. */
static int ioctl_netd(struct nsock *s, int fd, unsigned long req, void *arg)
{
	int ret, v;

	switch (req) {
	case FIOASYNC:
		ret = copy_from_user(&v, arg, sizeof(v));
		if (ret < 0)
			return ret;
		ns_keep(
		    s, NS_KEPT_FLAGS, (ns_kept(s, NS_KEPT_FLAGS) & ~O_ASYNC) | (v ? O_ASYNC : 0));
		return async_set(s, fd, v != 0);
	case FIOSETOWN:
	case SIOCSPGRP:
		return copy_from_user(&v, arg, sizeof(v)) ?: async_fcntl(s, fd, F_SETOWN, v);
	case FIOGETOWN:
	case SIOCGPGRP:
		v = async_fcntl(s, fd, F_GETOWN, 0);
		return copy_to_user(arg, &v, sizeof(v));
	case SIOCATMARK:
	case SIOCOUTQNSD:
		return ns_ioctl(s, req, arg);
	default:
		ret = ns_ioctl(s, req, arg);
		return ret == -ENOTTY ? (int)sys_call(SYS_ioctl, fd, (long)req, (long)arg, 0, 0, 0)
				      : ret;
	}
}

/* Interfaces can be asked for by a socket of any family, their addresses cannot. */
static bool asks_of_netd(int fd, unsigned long req)
{
	struct stat st;

	return ns_iface_of_any(req) && ns_owner() && real.fstat(fd, &st) == 0 &&
	       S_ISSOCK(st.st_mode) && netlink_at_home() && ns_attach() == 0;
}

HOOK int ioctl(int fd, unsigned long req, ...)
{
	struct nsock *s = fdtable_get(fd);
	va_list ap;
	void *arg;

	va_start(ap, req);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (s)
		return (int)done_put(s, ioctl_netd(s, fd, req, arg));
	if (asks_of_netd(fd, req))
		return (int)done(ns_iface_ioctl(req, arg));
	return real.ioctl(fd, req, arg);
}
