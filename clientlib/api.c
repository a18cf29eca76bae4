/* The public socket calls: descriptor to socket, negative errno to errno. */
#include "clientlib/api.h"
#include <errno.h>

long api_result(long ret)
{
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

struct nsock *api_get(int fd)
{
	struct nsock *s = fdtable_get(fd);

	if (!s)
		errno = sys_fcntl(fd, F_GETFD, 0) < 0 ? EBADF : ENOTSOCK;
	return s;
}

static int give_number(struct nsock *s, bool cloexec)
{
	int fd = fdtable_open(s, cloexec, 0);

	ns_put(s);
	return (int)api_result(fd);
}

int netd_socket(int family, int type, int protocol)
{
	struct nsock *s;
	int ret = ns_socket(family, type, protocol, &s);

	return ret < 0 ? (int)api_result(ret) : give_number(s, type & SOCK_CLOEXEC);
}

static int finish(struct nsock *s, int ret)
{
	ns_put(s);
	return (int)api_result(ret);
}

int netd_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_bind(s, addr, len)) : -1;
}

int netd_listen(int fd, int backlog)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_listen(s, backlog)) : -1;
}

int netd_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_connect(s, addr, len, ns_nonblock(s))) : -1;
}

int netd_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct nsock *s = api_get(fd), *child;
	struct endpoint peer;
	int ret;

	if (!s)
		return -1;
	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return finish(s, -EINVAL);
	ret = ns_accept(s, ns_nonblock(s), &child, &peer);
	if (ret < 0)
		return finish(s, ret);
	if (addr && len && (ret = ns_give_name(ns_family(s), &peer, addr, len)) < 0) {
		ns_put(child);
		return finish(s, ret);
	}
	ns_put(s);
	ns_set_nonblock(child, flags & SOCK_NONBLOCK);
	return give_number(child, flags & SOCK_CLOEXEC);
}

int netd_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return netd_accept4(fd, addr, len, 0);
}

ssize_t netd_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct nsock *s = api_get(fd);
	ssize_t ret;

	if (!s)
		return -1;
	ret = ns_sendmsg(s, msg, flags, ns_nonblock(s));
	ns_put(s);
	return api_result(ret);
}

ssize_t netd_sendto(
    int fd, const void *buf, size_t len, int flags, const struct sockaddr *to, socklen_t tolen)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr m = {.msg_name = (void *)(uintptr_t)to,
	    .msg_namelen = to ? tolen : 0,
	    .msg_iov = &iov,
	    .msg_iovlen = 1};

	return netd_sendmsg(fd, &m, flags);
}

ssize_t netd_send(int fd, const void *buf, size_t len, int flags)
{
	return netd_sendto(fd, buf, len, flags, NULL, 0);
}

ssize_t netd_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct nsock *s = api_get(fd);
	ssize_t ret;

	if (!s)
		return -1;
	ret = ns_recvmsg(s, msg, flags, ns_nonblock(s));
	ns_put(s);
	return api_result(ret);
}

ssize_t netd_recvfrom(
    int fd, void *buf, size_t len, int flags, struct sockaddr *from, socklen_t *fromlen)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr m = {.msg_name = fromlen ? from : NULL,
	    .msg_namelen = from && fromlen ? *fromlen : 0,
	    .msg_iov = &iov,
	    .msg_iovlen = 1};
	ssize_t n = netd_recvmsg(fd, &m, flags);

	if (n >= 0 && fromlen)
		*fromlen = m.msg_namelen;
	return n;
}

ssize_t netd_recv(int fd, void *buf, size_t len, int flags)
{
	return netd_recvfrom(fd, buf, len, flags, NULL, NULL);
}

int netd_shutdown(int fd, int how)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_shutdown(s, how)) : -1;
}

int netd_dup(int fd)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, fdtable_dup(s, fd, false, 0)) : -1;
}

int netd_getsockopt(int fd, int level, int name, void *val, socklen_t *len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_getsockopt(s, level, name, val, len)) : -1;
}

int netd_setsockopt(int fd, int level, int name, const void *val, socklen_t len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_setsockopt(s, level, name, val, len)) : -1;
}

int netd_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_getname(s, false, addr, len)) : -1;
}

int netd_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_getname(s, true, addr, len)) : -1;
}

int netd_ioctl(int fd, unsigned long request, void *arg)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_ioctl(s, request, arg)) : -1;
}

int netd_set_nonblock(int fd, bool on)
{
	struct nsock *s = api_get(fd);

	if (!s)
		return -1;
	ns_set_nonblock(s, on);
	return finish(s, 0);
}

int netd_get_nonblock(int fd)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_nonblock(s)) : -1;
}

bool netd_is_socket(int fd)
{
	return fdtable_has(fd);
}

/* ---- zero copy */

int netd_recv_borrow(
    int fd, const void **data, size_t *len, int flags, struct sockaddr *from, socklen_t *fromlen)
{
	struct nsock *s = api_get(fd);
	struct endpoint peer = {.port = 0};
	int ret;

	if (!s)
		return -1;
	ret = ns_recv_borrow(s, data, len, &peer, ns_nonblock(s) || (flags & MSG_DONTWAIT));
	if (ret == 0 && from && fromlen)
		ret = ns_give_name(ns_family(s), &peer, from, fromlen);
	return finish(s, ret);
}

int netd_recv_release(int fd, size_t used)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_recv_release(s, used)) : -1;
}

int netd_send_reserve(int fd, size_t want, void **data, size_t *len, int flags,
    const struct sockaddr *to, socklen_t tolen)
{
	struct nsock *s = api_get(fd);
	struct endpoint ep;
	int ret = 0;

	if (!s)
		return -1;
	if (to)
		ret = ns_from_sockaddr(ns_family(s), to, tolen, &ep);
	if (ret == 0)
		ret = ns_send_reserve(
		    s, want, data, len, to ? &ep : NULL, ns_nonblock(s) || (flags & MSG_DONTWAIT));
	return finish(s, ret);
}

int netd_send_commit(int fd, ssize_t n)
{
	struct nsock *s = api_get(fd);

	return s ? finish(s, ns_send_commit(s, n)) : -1;
}
