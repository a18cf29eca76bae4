/*
 * Calls that mix sockets with files: sendfile, and those that need a position.
 *
 * sendfile() reads the file straight into the transmit ring, as much at a time as the ring has room
 * for, so the file's position never runs ahead of what was sent.
 */
#include "clientlib/preload/hook.h"
#include <poll.h>
#include <sys/stat.h>

#define PIECE	 (256u << 10) /* bytes read from the file at once */
#define DATAGRAM (32u << 10)  /* the same, on a datagram socket */
#define SEND_MAX 0x7ffff000u

/* The same where the ring lends nothing, for other processes write to it: by way of a buffer. */
static ssize_t send_copy(struct nsock *s, int in, off_t *off, size_t want, bool nonblock)
{
	char buf[16384];
	off_t at = off ? *off : sys_lseek(in, 0, SEEK_CUR);
	struct iovec iov = {.iov_base = buf};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	n = sys_call(
	    SYS_pread64, in, (long)buf, (long)(want < sizeof(buf) ? want : sizeof(buf)), at, 0, 0);
	if (n <= 0)
		return n;
	iov.iov_len = (size_t)n;
	n = ns_sendmsg(s, &m, 0, nonblock);
	if (n > 0 && off)
		*off += n;
	else if (n > 0)
		(void)sys_lseek(in, at + n, SEEK_SET);
	return n;
}

/* One piece. Bytes sent, 0 at the file's end, or negative errno. */
static ssize_t send_piece(struct nsock *s, int in, off_t *off, size_t want, bool nonblock)
{
	void *at;
	size_t room;
	ssize_t n, ret, piece = ns_type(s) == SOCK_STREAM ? PIECE : DATAGRAM;

	ret = ns_send_reserve(
	    s, want < (size_t)piece ? want : (size_t)piece, &at, &room, NULL, nonblock);
	if (ret == -EOPNOTSUPP)
		return send_copy(s, in, off, want, nonblock);
	if (ret < 0)
		return ret;
	room = room < want ? room : want;
	n = off ? sys_call(SYS_pread64, in, (long)at, (long)room, *off, 0, 0)
		: sys_read(in, at, room);
	ret = ns_send_commit(s, n > 0 ? n : ns_type(s) == SOCK_STREAM ? 0 : -1);
	if (n > 0 && ret < 0)
		return ret;
	if (n > 0 && off)
		*off += n;
	return n;
}

/* What the kernel says of this input, before it looks at the socket. 0 or a negative errno. `ended`: nothing was read from it. */
static int input_check(int in, const off_t *off, bool ended)
{
	struct stat st;

	if (fdtable_has(in))
		return off ? -ESPIPE : -EINVAL;
	if (real.fstat(in, &st) < 0 || (sys_fcntl(in, F_GETFL, 0) & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (off && sys_lseek(in, 0, SEEK_CUR) == -ESPIPE)
		return -ESPIPE;
	if (off && *off < 0)
		return -EINVAL;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
		return 0;
	return S_ISCHR(st.st_mode) && !ended && sys_lseek(in, 0, SEEK_CUR) >= 0 ? 0 : -EINVAL;
}

/*
 * Usually all is well, and two system calls only to see that cost as much as reading a small file. So where the socket has
 * nothing to say for itself and reading harms nobody, the input is looked at after it gave nothing.
 */
static bool check_later(struct nsock *s, int in, const off_t *off, size_t count)
{
	return off && *off >= 0 && count && !fdtable_has(in) && ns_type(s) == SOCK_STREAM &&
	       (ns_poll(s) & (POLLOUT | POLLERR | POLLHUP)) == POLLOUT;
}

static ssize_t send_file(struct nsock *s, int in, off_t *off, size_t count)
{
	bool nonblock = ns_nonblock(s), later = check_later(s, in, off, count);
	int ret = later ? 0 : input_check(in, off, false);
	size_t total = 0;
	ssize_t n = 0;

	if (ret < 0)
		return ret;
	count = count < SEND_MAX ? count : SEND_MAX;
	while (total < count) {
		n = send_piece(s, in, off, count - total, nonblock);
		if (n <= 0)
			break;
		total += (size_t)n;
	}
	if (!total && count && (later || n == 0) && (ret = input_check(in, off, n == 0)) < 0)
		return ret;
	return total ? (ssize_t)total : sent(s, n, 0);
}

HOOK ssize_t sendfile64(int out, int in, off64_t *off, size_t count)
{
	struct nsock *s = fdtable_get(out);

	if (s && off && !user_writable(off, sizeof(*off)))
		return done_put(s, -EFAULT);
	if (s)
		return done_put(s, send_file(s, in, (off_t *)off, count));
	return fdtable_has(in) ? done(-EINVAL) : real.sendfile64(out, in, off, count);
}

HOOK ssize_t sendfile(int out, int in, off_t *off, size_t count)
{
	return sendfile64(out, in, (off64_t *)off, count);
}

/* ---- a socket has no position */

HOOK off_t lseek(int fd, off_t off, int whence)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.lseek(fd, off, whence);
}

HOOK off64_t lseek64(int fd, off64_t off, int whence)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.lseek64(fd, off, whence);
}

HOOK ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pread(fd, buf, n, off);
}

HOOK ssize_t pread64(int fd, void *buf, size_t n, off64_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pread64(fd, buf, n, off);
}

HOOK ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room)
{
	if (n > room)
		__chk_fail();
	return pread(fd, buf, n, off);
}

HOOK ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t room)
{
	if (n > room)
		__chk_fail();
	return pread64(fd, buf, n, off);
}

HOOK ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pwrite(fd, buf, n, off);
}

HOOK ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pwrite64(fd, buf, n, off);
}

/* With the offset -1 they are readv() and writev(). */
static ssize_t vector_at(int fd, const struct iovec *iov, int n, off_t off, int flags, bool out)
{
	if (!fdtable_has(fd))
		return (out ? real.pwritev2 : real.preadv2)(fd, iov, n, off, flags);
	return off == -1 ? data_vector(fd, iov, n, flags, out) : done(-ESPIPE);
}

HOOK ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return vector_at(fd, iov, n, off, flags, false);
}

HOOK ssize_t preadv64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return preadv2(fd, iov, n, off, flags);
}

HOOK ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	return vector_at(fd, iov, n, off, flags, true);
}

HOOK ssize_t pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	return pwritev2(fd, iov, n, off, flags);
}

HOOK ssize_t preadv(int fd, const struct iovec *iov, int n, off_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.preadv(fd, iov, n, off);
}

HOOK ssize_t preadv64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.preadv64(fd, iov, n, off);
}

HOOK ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pwritev(fd, iov, n, off);
}

HOOK ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off)
{
	return fdtable_has(fd) ? done(-ESPIPE) : real.pwritev64(fd, iov, n, off);
}
