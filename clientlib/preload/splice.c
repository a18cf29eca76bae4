/*
 * splice() between a pipe and a socket of netd: the same bytes, copied.
 *
 * Into a socket: the pipe is read straight into the transmit ring, as much as there is room for. Out of one: the bytes are
 * peeked at, and taken when the pipe has taken them. So nothing is lost where one side can take less than the other has.
 */
#include "clientlib/preload/hook.h"

#define PIECE 16384u
#define KNOWN (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool is_pipe(int fd)
{
	return sys_fcntl(fd, F_GETPIPE_SZ, 0) > 0;
}

/* Waits for the pipe unless that is not wanted. 0 or -EAGAIN, -EINTR. */
static int wait_pipe(int fd, short events, bool nonblock)
{
	struct pollfd p = {.fd = fd, .events = events};
	struct timespec none = {0, 0};
	int ret = sys_ppoll(&p, 1, nonblock ? &none : NULL);

	return ret > 0 ? 0 : ret < 0 ? ret : -EAGAIN;
}

static ssize_t send_copy(struct nsock *s, int in, size_t len, unsigned flags)
{
	char buf[PIECE];
	struct iovec iov = {.iov_base = buf};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = ns_nonblock(s) && !(ns_poll(s) & POLLOUT) ? -EAGAIN : sys_read(in, buf, len < PIECE ? len : PIECE);

	if (n <= 0)
		return n;
	iov.iov_len = (size_t)n;
	return ns_sendmsg(s, &m, flags & SPLICE_F_MORE ? MSG_MORE : 0, false); /* it cannot go back into the pipe */
}

static ssize_t to_socket(int in, struct nsock *s, size_t len, unsigned flags)
{
	int ret = wait_pipe(in, POLLIN, flags & SPLICE_F_NONBLOCK);
	size_t room, piece = ns_type(s) == SOCK_STREAM ? len : len < PIECE ? len : PIECE;
	void *at;
	ssize_t n;

	if (ret < 0)
		return ret;
	ret = ns_send_reserve(s, piece, &at, &room, NULL, ns_nonblock(s));
	if (ret == -EOPNOTSUPP)
		return sent(s, send_copy(s, in, len, flags), 0);
	if (ret < 0)
		return sent(s, ret, 0);
	n = sys_read(in, at, room < len ? room : len);
	ret = ns_send_commit(s, n > 0 ? n : ns_type(s) == SOCK_STREAM ? 0 : -1);
	return n > 0 && ret < 0 ? ret : n;
}

static ssize_t from_socket(struct nsock *s, int out, size_t len, unsigned flags)
{
	char buf[PIECE];
	struct iovec iov = {.iov_base = buf, .iov_len = len < PIECE ? len : PIECE};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	bool nonblock = (flags & SPLICE_F_NONBLOCK) || ns_nonblock(s);
	ssize_t n = ns_recvmsg(s, &m, MSG_PEEK, nonblock), put;
	int ret;

	if (n <= 0)
		return n;
	ret = wait_pipe(out, POLLOUT, flags & SPLICE_F_NONBLOCK);
	if (ret < 0)
		return ret;
	put = sys_write(out, buf, (size_t)n < 4096 ? (size_t)n : 4096); /* what a writable pipe takes whole */
	if (put <= 0)
		return put;
	iov.iov_len = (size_t)put;
	m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1};
	(void)ns_recvmsg(s, &m, MSG_TRUNC, true);
	return put;
}

static ssize_t splice_netd(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct nsock *s;
	ssize_t ret;

	if (flags & ~KNOWN)
		return -EINVAL;
	if (!len)
		return 0;
	s = fdtable_get(is_pipe(in) ? out : in);
	if (!s)
		return -EBADF;
	if (is_pipe(in))
		ret = in_off || out_off ? -ESPIPE : to_socket(in, s, len, flags);
	else if (is_pipe(out))
		ret = in_off || out_off ? -ESPIPE : from_socket(s, out, len, flags);
	else
		ret = sys_fcntl(in, F_GETFD, 0) < 0 || sys_fcntl(out, F_GETFD, 0) < 0 ? -EBADF : -EINVAL;
	ns_put(s);
	return ret;
}

HOOK ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	if (fdtable_has(in) || fdtable_has(out))
		return done(splice_netd(in, in_off, out, out_off, len, flags));
	return real.splice(in, in_off, out, out_off, len, flags);
}
