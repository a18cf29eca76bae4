/*
 * Moving bytes: read, write, send, recv and their kin.
 *
 * All of them are ns_sendmsg() or ns_recvmsg() on a message header made here.
 */
#include "clientlib/preload/netlink.h"
#include <limits.h>
#include <time.h>

#define BATCH_MAX 1024u	      /* messages of one sendmmsg() or recvmmsg(), as in the kernel */
#define BYTES_MAX 0x7ffff000u /* of one call, as in the kernel */

ssize_t sent(struct nsock *s, ssize_t ret, int flags)
{
	if (ret == -EPIPE && !(flags & MSG_NOSIGNAL) && ns_type(s) == SOCK_STREAM)
		(void)sys_call(SYS_tgkill, sys_getpid(), sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0),
		    SIGPIPE, 0, 0, 0);
	return ret;
}

static ssize_t recv_message(struct nsock *s, struct msghdr *m, int flags)
{
	return ns_recvmsg(s, m, flags, ns_nonblock(s));
}

static ssize_t send_message(struct nsock *s, const struct msghdr *m, int flags)
{
	return sent(s, ns_sendmsg(s, m, flags, ns_nonblock(s)), flags);
}

ssize_t data_read(struct nsock *s, void *buf, size_t n)
{
	struct iovec iov = {.iov_base = buf, .iov_len = n > BYTES_MAX ? BYTES_MAX : n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return n ? recv_message(s, &m, 0) : 0;
}

ssize_t data_write(struct nsock *s, const void *buf, size_t n)
{
	struct iovec iov = {
	    .iov_base = (void *)(uintptr_t)buf, .iov_len = n > BYTES_MAX ? BYTES_MAX : n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return send_message(s, &m, 0);
}

static ssize_t netlink_send_to(int fd, const void *buf, size_t n, int flags)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};

	return netlink_send(fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, flags);
}

HOOK ssize_t read(int fd, void *buf, size_t n)
{
	struct nsock *s = fdtable_get(fd);

	return s ? done_put(s, data_read(s, buf, n)) : real.read(fd, buf, n);
}

HOOK ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
	if (n > room)
		__chk_fail();
	return read(fd, buf, n);
}

HOOK ssize_t write(int fd, const void *buf, size_t n)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return done(netlink_send_to(fd, buf, n, 0));
	return s ? done_put(s, data_write(s, buf, n)) : real.write(fd, buf, n);
}

/* The bytes of a vector, or -EINVAL. */
static ssize_t vector_size(const struct iovec *iov, int n)
{
	size_t sum = 0;

	if (n < 0 || n > IOV_MAX)
		return -EINVAL;
	if (!user_readable(iov, (size_t)n * sizeof(*iov)))
		return -EFAULT;
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len > SSIZE_MAX - sum)
			return -EINVAL;
		sum += iov[i].iov_len;
	}
	return (ssize_t)sum;
}

static ssize_t read_vector(struct nsock *s, const struct iovec *iov, int n, int flags)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t size = vector_size(iov, n);

	return size > 0 ? recv_message(s, &m, flags) : size;
}

static ssize_t write_vector(struct nsock *s, const struct iovec *iov, int n, int flags)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};
	ssize_t size = vector_size(iov, n);

	return size < 0 ? size : send_message(s, &m, flags);
}

HOOK ssize_t readv(int fd, const struct iovec *iov, int n)
{
	struct nsock *s = fdtable_get(fd);

	return s ? done_put(s, read_vector(s, iov, n, 0)) : real.readv(fd, iov, n);
}

HOOK ssize_t writev(int fd, const struct iovec *iov, int n)
{
	struct nsock *s = fdtable_get(fd);

	return s ? done_put(s, write_vector(s, iov, n, 0)) : real.writev(fd, iov, n);
}

ssize_t data_vector(int fd, const struct iovec *iov, int n, int flags, bool out)
{
	struct nsock *s = fdtable_get(fd);
	int how = flags & RWF_NOWAIT ? MSG_DONTWAIT : 0;

	if (!s)
		return done(-EBADF);
	if (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND))
		return done_put(s, -EOPNOTSUPP);
	return done_put(s, out ? write_vector(s, iov, n, how) : read_vector(s, iov, n, how));
}

/* ---- send */

static ssize_t send_to(
    struct nsock *s, const void *buf, size_t n, int flags, const struct sockaddr *sa, socklen_t len)
{
	struct iovec iov = {
	    .iov_base = (void *)(uintptr_t)buf, .iov_len = n > BYTES_MAX ? BYTES_MAX : n};
	struct msghdr m = {.msg_name = (void *)(uintptr_t)sa,
	    .msg_namelen = sa ? len : 0,
	    .msg_iov = &iov,
	    .msg_iovlen = 1};

	return send_message(s, &m, flags);
}

HOOK ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return done(netlink_send_to(fd, buf, n, flags));
	return s ? done_put(s, send_to(s, buf, n, flags, NULL, 0)) : real.send(fd, buf, n, flags);
}

/* Is this datagram for an address that stays with the kernel, and did the socket move there? */
static bool moved_to_kernel(struct nsock *s, const void *sa, socklen_t len)
{
	return sa && len && ns_type(s) == SOCK_DGRAM && ns_pass_through(sa, len) &&
	       passthrough_switch(s) == 0;
}

HOOK ssize_t sendto(
    int fd, const void *buf, size_t n, int flags, __CONST_SOCKADDR_ARG sa, socklen_t len)
{
	struct nsock *s = fdtable_get(fd);

	if (s && moved_to_kernel(s, sa.__sockaddr__, len)) {
		ns_put(s);
		s = NULL;
	}
	if (!s && netlink_has(fd))
		return done(netlink_send_to(fd, buf, n, flags));
	if (!s)
		return real.sendto(fd, buf, n, flags, sa, len);
	return done_put(s, send_to(s, buf, n, flags, sa.__sockaddr__, len));
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct nsock *s = fdtable_get(fd);

	if (s && !user_readable(m, sizeof(*m)))
		return done_put(s, -EFAULT);
	if (s && moved_to_kernel(s, m->msg_name, m->msg_namelen)) {
		ns_put(s);
		s = NULL;
	}
	if (!s && netlink_has(fd))
		return done(user_readable(m, sizeof(*m)) ? netlink_send(fd, m, flags) : -EFAULT);
	if (!s) {
		rights_send(m);
		return real.sendmsg(fd, m, flags);
	}
	return done_put(s, send_message(s, m, flags));
}

HOOK int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	struct nsock *s = fdtable_get(fd);
	ssize_t ret = 0;
	unsigned i;

	if (s && n && user_readable(v, sizeof(*v)) &&
	    moved_to_kernel(s, v[0].msg_hdr.msg_name, v[0].msg_hdr.msg_namelen)) {
		ns_put(s);
		s = NULL;
	}
	if (!s) {
		for (i = 0; i < n && i < BATCH_MAX; i++)
			rights_send(&v[i].msg_hdr);
		return real.sendmmsg(fd, v, n, flags);
	}
	for (i = 0; i < n && i < BATCH_MAX; i++) {
		ret = user_writable(&v[i], sizeof(v[i])) ? send_message(s, &v[i].msg_hdr, flags)
							 : -EFAULT;
		if (ret < 0)
			break;
		v[i].msg_len = (unsigned)ret;
	}
	return (int)done_put(s, i ? (ssize_t)i : ret);
}

/* ---- receive */

/* From a socket of netd's, or with NULL from the netlink socket `fd`. */
static ssize_t recv_from(
    struct nsock *s, int fd, void *buf, size_t n, int flags, struct sockaddr *sa, socklen_t *len)
{
	struct iovec iov = {.iov_base = buf, .iov_len = n > BYTES_MAX ? BYTES_MAX : n};
	struct sockaddr_storage name;
	struct msghdr m = {.msg_name = sa ? &name : NULL,
	    .msg_namelen = sa ? sizeof(name) : 0,
	    .msg_iov = &iov,
	    .msg_iovlen = 1};
	ssize_t ret = s ? recv_message(s, &m, flags) : netlink_recv(fd, &m, flags);
	int fault = ret >= 0 && sa ? ns_copy_name(sa, len, &name, m.msg_namelen) : 0;

	return fault < 0 ? fault : ret;
}

HOOK ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	struct nsock *s = fdtable_get(fd);

	return s ? done_put(s, recv_from(s, fd, buf, n, flags, NULL, NULL))
		 : real.recv(fd, buf, n, flags);
}

HOOK ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
	if (n > room)
		__chk_fail();
	return recv(fd, buf, n, flags);
}

HOOK ssize_t recvfrom(
    int fd, void *restrict buf, size_t n, int flags, __SOCKADDR_ARG sa, socklen_t *restrict len)
{
	struct nsock *s = fdtable_get(fd);

	if (!s && netlink_has(fd))
		return done(recv_from(NULL, fd, buf, n, flags, sa.__sockaddr__, len));
	if (!s)
		return real.recvfrom(fd, buf, n, flags, sa, len);
	return done_put(s, recv_from(s, fd, buf, n, flags, sa.__sockaddr__, len));
}

HOOK ssize_t __recvfrom_chk(
    int fd, void *buf, size_t n, size_t room, int flags, __SOCKADDR_ARG sa, socklen_t *len)
{
	if (n > room)
		__chk_fail();
	return recvfrom(fd, buf, n, flags, sa, len);
}

HOOK ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	struct nsock *s = fdtable_get(fd);
	ssize_t ret;

	if (s)
		return done_put(
		    s, user_writable(m, sizeof(*m)) ? recv_message(s, m, flags) : -EFAULT);
	if (netlink_has(fd))
		return done(user_writable(m, sizeof(*m)) ? netlink_recv(fd, m, flags) : -EFAULT);
	ret = real.recvmsg(fd, m, flags);
	if (ret >= 0)
		rights_received(m);
	return ret;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec >= b->tv_nsec;
}

/* As the kernel's: the timeout is looked at only after a datagram has come. */
HOOK int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	struct nsock *s = fdtable_get(fd);
	struct timespec now, end = {0, 0};
	ssize_t ret = 0;
	unsigned i;

	if (!s) {
		ret = real.recvmmsg(fd, v, n, flags, timeout);
		for (i = 0; (ssize_t)i < ret; i++)
			rights_received(&v[i].msg_hdr);
		return (int)ret;
	}
	if (!user_readable(timeout, timeout ? sizeof(*timeout) : 0))
		return (int)done_put(s, -EFAULT);
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999))
		return (int)done_put(s, -EINVAL);
	if (timeout) {
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += timeout->tv_sec + (end.tv_nsec + timeout->tv_nsec) / 1000000000;
		end.tv_nsec = (end.tv_nsec + timeout->tv_nsec) % 1000000000;
	}
	for (i = 0; i < n && i < BATCH_MAX; i++) {
		ret = user_writable(&v[i], sizeof(v[i]))
			  ? recv_message(s, &v[i].msg_hdr, flags & ~MSG_WAITFORONE)
			  : -EFAULT;
		if (ret < 0)
			break;
		v[i].msg_len = (unsigned)ret;
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (timeout && (clock_gettime(CLOCK_MONOTONIC, &now), later(&now, &end))) {
			i++;
			break;
		}
	}
	return (int)done_put(s, i ? (ssize_t)i : ret);
}
