/*
 * splice() between a pipe and a socket of netd.
 *
 * Bytes go a page at a time, through a buffer from the socket, straight into the ring to it. The
 * order of the checks is what keeps them whole: into a pipe that says POLLOUT a page fits without
 * blocking, so bytes are taken from the socket only then; and from a pipe they are taken only when
 * there is room in the ring for them. Only what is said about who may block follows the kernel in
 * its oddity: SPLICE_F_NONBLOCK speaks about the pipe, O_NONBLOCK of the socket about the socket.
 */
#include "clientlib/preload/hook.h"
#include <limits.h>
#include <sys/stat.h>

#define PAGE	  4096u
#define FLAGS_ALL (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool is_pipe(int fd)
{
	struct stat st;

	return real.fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Waits for `events` of the pipe: its revents, 0 if it may not be waited for, or negative errno. */
static int pipe_state(int fd, short events, bool wait)
{
	struct pollfd p = {.fd = fd, .events = events};
	int ret = sys_ppoll(&p, 1, wait ? NULL : &(struct timespec){0, 0});

	return ret < 0 ? ret : p.revents;
}

static ssize_t into_pipe(struct nsock *s, int out, size_t len, bool wait)
{
	char page[PAGE];
	size_t done = 0;

	while (done < len) {
		struct iovec iov = {
		    .iov_base = page, .iov_len = len - done < PAGE ? len - done : PAGE};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
		int state = pipe_state(out, POLLOUT, wait && !done);
		ssize_t n;

		if (state >= 0 && state & POLLERR)
			return done ? (ssize_t)done : sent(s, -EPIPE, 0);
		if (state <= 0)
			return done ? (ssize_t)done : state ? state : -EAGAIN;
		n = ns_recv_to_mark(s, &m, done || ns_nonblock(s));
		if (n <= 0)
			return done ? (ssize_t)done : n;
		n = sys_write(out, page, (size_t)n);
		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* A page of the pipe, which has something, to a ring that lends no room. */
static ssize_t page_by_copy(struct nsock *s, int in, size_t len, int how)
{
	char page[PAGE];
	struct iovec iov = {.iov_base = page};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int ready = ns_wait(s, POLLOUT, ns_nonblock(s) ? 0 : -1);
	ssize_t n, sum = 0;

	if (ready <= 0)
		return ready ? ready : -EAGAIN;
	if (ready & POLLERR) /* says why, and takes nothing */
		return ns_sendmsg(s, &m, 0, true) ?: -EPIPE;
	n = sys_read(in, page, len < PAGE ? len : PAGE);
	while (n > 0 && sum < n) { /* what was taken from the pipe must go */
		ssize_t ret;

		iov = (struct iovec){.iov_base = page + sum, .iov_len = (size_t)(n - sum)};
		ret = ns_sendmsg(s, &m, how, false);
		if (ret < 0 && ret != -EINTR)
			return sum ? sum : ret;
		sum += ret > 0 ? ret : 0;
	}
	return n;
}

static ssize_t page_out(struct nsock *s, int in, size_t len, int how)
{
	size_t room;
	void *at;
	ssize_t n,
	    ret = ns_send_reserve(s, len < PAGE ? len : PAGE, &at, &room, NULL, ns_nonblock(s));

	if (ret == -EOPNOTSUPP)
		return page_by_copy(s, in, len, how);
	if (ret < 0)
		return ret;
	n = sys_read(in, at, room < len ? room : len);
	ret = ns_send_commit(s, n > 0 ? n : ns_type(s) == SOCK_STREAM ? 0 : -1);
	return n > 0 && ret < 0 ? ret : n;
}

static ssize_t out_of_pipe(struct nsock *s, int in, size_t len, bool wait, int how)
{
	size_t done = 0;

	while (done < len) {
		int state = pipe_state(in, POLLIN, wait && !done);
		ssize_t n;

		if (state >= 0 && !(state & POLLIN))
			return done || state & POLLHUP ? (ssize_t)done : -EAGAIN;
		n = state < 0 ? state : page_out(s, in, len - done, how);
		if (n <= 0)
			return done ? (ssize_t)done : sent(s, n, 0);
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* `s` is the socket of one side, the other is the descriptor `fd`, open for what `mode` says. */
static ssize_t splice_netd(struct nsock *s, int fd, bool into, const void *fd_off,
    const void *sock_off, size_t len, unsigned flags)
{
	int mode = sys_fcntl(fd, F_GETFL, 0);
	bool wait = !(flags & SPLICE_F_NONBLOCK) && !(mode & O_NONBLOCK);

	if (mode < 0 || (mode & O_ACCMODE) == (into ? O_RDONLY : O_WRONLY))
		return -EBADF;
	if (fdtable_has(fd) || !is_pipe(fd))
		return -EINVAL;
	if (fd_off)
		return -ESPIPE;
	if (sock_off)
		return -EINVAL;
	len = len < SSIZE_MAX ? len : SSIZE_MAX;
	return into ? into_pipe(s, fd, len, wait)
		    : out_of_pipe(s, fd, len, wait, flags & SPLICE_F_MORE ? MSG_MORE : 0);
}

HOOK ssize_t splice(int in, off64_t *in_off, int out, off64_t *out_off, size_t len, unsigned flags)
{
	struct nsock *from = fdtable_get(in), *to = from ? NULL : fdtable_get(out);
	ssize_t ret;

	if (!from && !to)
		return real.splice(in, in_off, out, out_off, len, flags);
	if (!len)
		ret = 0;
	else if (flags & ~FLAGS_ALL)
		ret = -EINVAL;
	else if (from)
		ret = splice_netd(from, out, true, out_off, in_off, len, flags);
	else
		ret = splice_netd(to, in, false, in_off, out_off, len, flags);
	return done_put(from ? from : to, ret);
}
