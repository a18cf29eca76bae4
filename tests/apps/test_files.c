/* A socket among files: splice, urgent bytes, sendfile, vectors at their limits, ioctl, ranges of numbers; see
 * pair.h. */
#include "tests/apps/pair.h"
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static char block[1 << 20], back[1 << 20];

static void fill_block(void)
{
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 13 + i / 509);
}

/* ---- splice, tee, vmsplice */

/* Everything that comes on `from`, by way of a pipe, to `to`. */
static void *relay(void *arg)
{
	int *fd = arg, pipes[2];
	ssize_t n, m;

	if (pipe(pipes) < 0)
		return (void *)1;
	while ((n = splice(fd[0], NULL, pipes[1], NULL, 65536, SPLICE_F_MOVE)) > 0)
		for (; n; n -= m) {
			m = splice(pipes[0], NULL, fd[1], NULL, (size_t)n, SPLICE_F_MORE);
			if (m <= 0)
				return (void *)2;
		}
	shutdown(fd[1], SHUT_WR);
	close(pipes[0]);
	close(pipes[1]);
	return n < 0 ? (void *)3 : NULL;
}

static void *pour(void *arg)
{
	int fd = *(int *)arg;

	for (size_t done = 0; done < sizeof(block);) {
		ssize_t n = write(fd, block + done, sizeof(block) - done);

		if (n <= 0)
			return (void *)1;
		done += (size_t)n;
	}
	shutdown(fd, SHUT_WR);
	return NULL;
}

/* A proxy that never looks at the bytes. */
static void splice_relay(void)
{
	int p[2], q[2], ends[2];
	pthread_t t[2];
	void *ret;
	char c;

	fill_block();
	make_pair(p);
	make_pair(q);
	ends[0] = p[1];
	ends[1] = q[0];
	pthread_create(&t[0], NULL, relay, ends);
	pthread_create(&t[1], NULL, pour, &p[0]);
	CHECK(read_all(q[1], back, sizeof(back)) && !memcmp(back, block, sizeof(block)));
	CHECK(read(q[1], &c, 1) == 0);
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &ret);
		CHECK(ret == NULL);
	}
	close_pair(p);
	close_pair(q);
}

static void splice_edges(void)
{
	loff_t off = 0;
	int p[2], pipes[2], file = open("/dev/zero", O_RDWR);
	char buf[16];

	make_pair(p);
	CHECK(pipe(pipes) == 0);
	if (!over_tcp) /* TCP looks at the socket's O_NONBLOCK only */
		FAILS(splice(p[0], NULL, pipes[1], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	FAILS(splice(p[0], NULL, pipes[1], NULL, 10, 0), EAGAIN);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 0, 0) == 0);
	CHECK(write(p[1], "spliced", 7) == 7 && wait_for(p[0], POLLIN, 3000) >= 0);
	FAILS(splice(p[0], &off, pipes[1], NULL, 10, 0), EINVAL);
	FAILS(splice(p[0], NULL, pipes[1], &off, 10, 0), ESPIPE);
	FAILS(splice(p[0], NULL, p[1], NULL, 10, 0), EINVAL); /* no pipe */
	FAILS(splice(p[0], NULL, file, NULL, 10, 0), EINVAL);
	FAILS(splice(p[0], NULL, pipes[0], NULL, 10, 0), EBADF); /* the wrong end */
	FAILS(splice(pipes[1], NULL, p[0], NULL, 10, 0), EBADF);
	FAILS(splice(p[0], NULL, pipes[1], NULL, 10, 0x1000), EINVAL);
	FAILS(tee(p[0], pipes[1], 10, 0), EINVAL);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 4, 0) == 4);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 100, 0) == 3);
	CHECK(read(pipes[0], buf, sizeof(buf)) == 7 && !memcmp(buf, "spliced", 7));
	/* out of the pipe */
	FAILS(splice(pipes[0], NULL, p[0], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK(write(pipes[1], "onward", 6) == 6);
	FAILS(splice(pipes[0], NULL, p[0], &off, 10, 0), EINVAL);
	CHECK(splice(pipes[0], NULL, p[0], NULL, 100, 0) == 6);
	CHECK(read_all(p[1], buf, 6) && !memcmp(buf, "onward", 6));
	/* the ends */
	CHECK(shutdown(p[1], SHUT_WR) == 0 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 0);
	close(pipes[1]);
	CHECK(splice(pipes[0], NULL, p[0], NULL, 10, 0) == 0);
	close(pipes[0]);
	CHECK(pipe(pipes) == 0);
	signal(SIGPIPE, SIG_IGN);
	CHECK(write(p[0], "x", 1) == 1 && wait_for(p[1], POLLIN, 3000) >= 0);
	close(pipes[0]);
	FAILS(splice(p[1], NULL, pipes[1], NULL, 10, 0), EPIPE);
	CHECK(read(p[1], buf, 1) == 1 && buf[0] == 'x'); /* not lost */
	signal(SIGPIPE, SIG_DFL);
	close(pipes[1]);
	close(file);
	close_pair(p);
}

/* SO_OOBINLINE is for what is there already, too. */
static void urgent_in_line_later(void)
{
	int p[2];
	char buf[16];

	if (!over_tcp)
		return;
	make_pair(p);
	CHECK(send(p[1], "ab!", 3, MSG_OOB) == 3 && wait_for(p[0], POLLPRI, 3000) >= 0);
	CHECK(recv(p[0], buf, sizeof(buf), 0) == 2);
	CHECK(setsockopt(p[0], SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)) == 0);
	CHECK(recv(p[0], buf, sizeof(buf), MSG_DONTWAIT) == 1 && buf[0] == '!');
	close_pair(p);
}

/* A splice gets to an urgent byte, in line or not, and no further; a read passes over it. */
static void splice_urgent(void)
{
	int p[2], pipes[2];
	char buf[16];

	if (!over_tcp)
		return;
	make_pair(p);
	CHECK(pipe(pipes) == 0);
	CHECK(send(p[1], "ab!", 3, MSG_OOB) == 3 && wait_for(p[0], POLLPRI, 3000) >= 0);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 2);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 0);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0);
	FAILS(splice(p[0], NULL, pipes[1], NULL, 10, 0), EAGAIN);
	CHECK(fcntl(p[0], F_SETFL, 0) == 0);
	CHECK(setsockopt(p[0], SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int)) == 0);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 0);
	CHECK(recv(p[0], buf, 1, 0) == 1 && buf[0] == '!');
	CHECK(setsockopt(p[0], SOL_SOCKET, SO_OOBINLINE, &(int){0}, sizeof(int)) == 0);
	CHECK(send(p[1], "?", 1, MSG_OOB) == 1 && wait_for(p[0], POLLPRI, 3000) >= 0);
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 0);
	CHECK(recv(p[0], buf, 1, MSG_OOB) == 1 && buf[0] == '?');
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 0);
	CHECK(send(p[1], "cd", 2, 0) == 2);
	CHECK(recv(p[0], buf, 1, 0) == 1 && buf[0] == 'c');
	CHECK(splice(p[0], NULL, pipes[1], NULL, 10, 0) == 1);
	CHECK(read(pipes[0], buf, sizeof(buf)) == 3 && !memcmp(buf, "abd", 3));
	close(pipes[0]);
	close(pipes[1]);
	close_pair(p);
}

/* A full pipe holds the bytes back in the socket. */
static void splice_full_pipe(void)
{
	int p[2], pipes[2];
	size_t got = 0, sent = 0;
	ssize_t n;

	fill_block();
	make_pair(p);
	CHECK(pipe2(pipes, O_NONBLOCK) == 0);
	CHECK(fcntl(p[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(p[1], F_SETFL, O_NONBLOCK) == 0);
	while (got < 600000) {
		n = sent < 600000 ? write(p[1], block + sent, 600000 - sent) : 0;
		sent += n > 0 ? (size_t)n : 0;
		while (splice(p[0], NULL, pipes[1], NULL, 50000, SPLICE_F_NONBLOCK) > 0)
			;
		CHECK(errno == EAGAIN);
		n = read(pipes[0], back + got, 30000);
		if (n > 0)
			got += (size_t)n;
		else if (wait_for(p[0], POLLIN, 3000) < 0)
			break;
	}
	CHECK(got == 600000 && !memcmp(back, block, got));
	close_pair(pipes);
	close_pair(p);
}

/* ---- sendfile */

/* Some can be sent from, some cannot; on both ways to say where. */
static void sendfile_devices(int p[2])
{
	int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_RDONLY);
	off_t off = 0;
	char buf[10];

	CHECK(sendfile(p[0], zero, &off, 10) == 10);
	CHECK(read_all(p[1], buf, 10) && !memcmp(buf, (char[10]){0}, 10));
	CHECK(sendfile(p[0], zero, NULL, 10) == 10 && read_all(p[1], buf, 10));
	FAILS(sendfile(p[0], null, &off, 10), EINVAL);
	FAILS(sendfile(p[0], null, NULL, 10), EINVAL);
	close(zero);
	close(null);
}

static void sendfile_all(void)
{
	char name[] = "/tmp/netd-test-XXXXXX";
	int p[2], file = mkstemp(name);
	size_t got = 0, sent = 0;
	off_t off = 100;
	ssize_t n;

	fill_block();
	CHECK(write(file, block, sizeof(block)) == sizeof(block));
	make_pair(p);
	CHECK(sendfile(p[0], file, &off, 1000) == 1000 && off == 1100);
	CHECK(recv(p[1], back, 1000, MSG_WAITALL) == 1000 && !memcmp(back, block + 100, 1000));
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	while (got < sizeof(block)) {
		if (sent < sizeof(block)) {
			n = sendfile(p[0], file, NULL, sizeof(block));
			CHECK(n > 0 || errno == EAGAIN);
			sent += n > 0 ? (size_t)n : 0;
			CHECK(lseek(file, 0, SEEK_CUR) == (off_t)sent);
		}
		n = read(p[1], back + got, sizeof(back) - got);
		CHECK(n > 0);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	CHECK(got == sizeof(block) && !memcmp(block, back, got));
	CHECK(sendfile(p[0], file, NULL, 10) == 0);
	FAILS(sendfile(p[0], p[1], NULL, 10), EINVAL);
	close_pair(p);
	close(file);
	unlink(name);
}

static void sendfile_edges(void)
{
	char name[] = "/tmp/netd-files.XXXXXX", buf[64];
	off_t off;
	int p[2], pipes[2], file = mkstemp(name), dir = open("/tmp", O_RDONLY), out;

	unlink(name);
	make_pair(p);
	CHECK(pipe(pipes) == 0);
	CHECK(write(file, "0123456789", 10) == 10);
	off = 4;
	CHECK(sendfile(p[0], file, &off, 100) == 6 && off == 10);
	CHECK(read_all(p[1], buf, 6) && !memcmp(buf, "456789", 6));
	CHECK(lseek(file, 0, SEEK_CUR) == 10);
	CHECK(sendfile(p[0], file, &off, 100) == 0);
	off = 100;
	CHECK(sendfile(p[0], file, &off, 100) == 0 && off == 100);
	off = -1;
	FAILS(sendfile(p[0], file, &off, 1), EINVAL);
	off = 0;
	CHECK(sendfile(p[0], file, &off, 0) == 0);
	FAILS(sendfile(p[0], dir, NULL, 10), EINVAL);
	FAILS(sendfile(p[0], dir, &off, 10), EINVAL);
	FAILS(sendfile(p[0], pipes[0], &off, 10), ESPIPE);
	FAILS(sendfile(p[0], pipes[0], NULL, 10), EINVAL);
	FAILS(sendfile(p[0], p[1], &off, 10), ESPIPE);
	FAILS(sendfile(p[0], -1, &off, 10), EBADF);
	FAILS(sendfile(p[0], -1, NULL, 10), EBADF);
	sendfile_devices(p);
	out = open("/dev/null", O_WRONLY);
	FAILS(sendfile(p[0], out, NULL, 10), EBADF); /* not open for reading */
	FAILS(sendfile(p[0], out, &off, 10), EBADF);
	FAILS(sendfile(file, p[0], NULL, 10), EINVAL);
	shutdown(p[0], SHUT_WR);
	signal(SIGPIPE, SIG_IGN);
	off = 0;
	FAILS(sendfile(p[0], out, &off, 5), EBADF); /* before what is wrong with the socket */
	FAILS(sendfile(p[0], file, &off, 5), EPIPE);
	CHECK(off == 0);
	signal(SIGPIPE, SIG_DFL);
	close(out);
	close(dir);
	close(file);
	close_pair(pipes);
	close_pair(p);
}

/* ---- vectors */

static void vector_limits(void)
{
	static struct iovec many[IOV_MAX + 1];
	struct msghdr m = {.msg_iov = many, .msg_iovlen = IOV_MAX};
	struct iovec odd[3];
	char buf[IOV_MAX];
	int p[2];

	make_pair(p);
	fill_block();
	for (int i = 0; i <= IOV_MAX; i++)
		many[i] = (struct iovec){block + i, 1};
	CHECK(writev(p[0], many, IOV_MAX) == IOV_MAX);
	CHECK(read_all(p[1], buf, IOV_MAX) && !memcmp(buf, block, IOV_MAX));
	FAILS(writev(p[0], many, IOV_MAX + 1), EINVAL);
	CHECK(sendmsg(p[0], &m, 0) == IOV_MAX && read_all(p[1], buf, IOV_MAX));
	m.msg_iovlen = IOV_MAX + 1;
	FAILS(sendmsg(p[0], &m, 0), EMSGSIZE);
	FAILS(recvmsg(p[1], &m, MSG_DONTWAIT), EMSGSIZE);
	CHECK(writev(p[0], many, 0) == 0 && readv(p[1], many, 0) == 0);
	odd[0] = (struct iovec){block, 2};
	odd[1] = (struct iovec){NULL, 0};
	odd[2] = (struct iovec){block + 2, 3};
	CHECK(writev(p[0], odd, 3) == 5 && read_all(p[1], buf, 5) && !memcmp(buf, block, 5));
	odd[1] = (struct iovec){block, (size_t)SSIZE_MAX + 1};
	FAILS(writev(p[0], odd, 3), EINVAL);
	FAILS(readv(p[1], odd, 3), EINVAL);
	/* the newer calls: with offset -1 they are readv() and writev() */
	odd[1] = (struct iovec){NULL, 0};
	CHECK(pwritev2(p[0], odd, 3, -1, 0) == 5);
	odd[0] = (struct iovec){buf, 5};
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0 && preadv2(p[1], odd, 1, -1, 0) == 5);
	FAILS(pwritev2(p[0], odd, 1, 0, 0), ESPIPE);
	FAILS(preadv2(p[1], odd, 1, 0, 0), ESPIPE);
	FAILS(preadv2(p[1], odd, 1, -1, RWF_NOWAIT), EAGAIN);
	close_pair(p);
}

static void many_messages(void)
{
	struct sockaddr_in at = address;
	struct mmsghdr out[20], in[20];
	struct iovec iov[20], to[20];
	struct timespec soon = {0, 50000000};
	char words[20][8], room[20][8];
	int a, b, n;
	double start;

	if (over_tcp) {
		socklen_t len = sizeof(at);

		a = socket(AF_INET, SOCK_DGRAM, 0);
		b = socket(AF_INET, SOCK_DGRAM, 0);
		CHECK(bind(b, (struct sockaddr *)&at, sizeof(at)) == 0 &&
		      getsockname(b, (struct sockaddr *)&at, &len) == 0 &&
		      connect(a, (struct sockaddr *)&at, sizeof(at)) == 0);
	} else {
		int p[2];

		CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, p) == 0);
		a = p[0];
		b = p[1];
	}
	for (int i = 0; i < 20; i++) {
		snprintf(words[i], sizeof(words[i]), "word%d", i);
		iov[i] = (struct iovec){words[i], strlen(words[i])};
		to[i] = (struct iovec){room[i], sizeof(room[i])};
		out[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		in[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &to[i], .msg_iovlen = 1}};
	}
	FAILS(recvmmsg(b, in, 20, MSG_DONTWAIT, NULL), EAGAIN);
	CHECK(sendmmsg(a, out, 20, 0) == 20 && out[19].msg_len == 6 && out[3].msg_len == 5);
	for (int got = 0; got < 20; got += n) {
		n = recvmmsg(b, in + got, (unsigned)(20 - got), MSG_WAITFORONE, NULL);
		CHECK(n > 0);
		if (n <= 0)
			break;
	}
	for (int i = 0; i < 20; i++)
		CHECK(in[i].msg_len == out[i].msg_len && !memcmp(room[i], words[i], in[i].msg_len));
	CHECK(recvmmsg(b, in, 0, 0, NULL) == 0 && sendmmsg(a, out, 0, 0) == 0);
	soon.tv_nsec = 1000000000;
	FAILS(recvmmsg(b, in, 1, 0, &soon), EINVAL);
	/* The time is looked at after a message has come. */
	soon = (struct timespec){0, 50000000};
	CHECK(sendmmsg(a, out, 2, 0) == 2);
	start = seconds();
	n = recvmmsg(b, in, 2, 0, &soon);
	CHECK(n == 2 && seconds() - start < 1);
	close(a);
	close(b);
}

/* ---- what files can do and sockets cannot */

static void no_file(void)
{
	struct stat st;
	char buf[4];
	struct iovec iov = {buf, 1};
	int p[2];

	make_pair(p);
	CHECK(fstat(p[0], &st) == 0 && S_ISSOCK(st.st_mode));
	FAILS(lseek(p[0], 0, SEEK_SET), ESPIPE);
	FAILS(pread(p[0], buf, 1, 0), ESPIPE);
	FAILS(pwrite(p[0], buf, 1, 0), ESPIPE);
	FAILS(preadv(p[0], &iov, 1, 0), ESPIPE);
	FAILS(pwritev(p[0], &iov, 1, 0), ESPIPE);
	FAILS(fsync(p[0]), EINVAL);
	FAILS(ftruncate(p[0], 0), EINVAL);
	FAILS(fchdir(p[0]), ENOTDIR);
	CHECK(!isatty(p[0]));
	FAILS(copy_file_range(p[0], NULL, p[1], NULL, 1, 0), EINVAL);
	FAILS(fcntl(p[0], F_GETPIPE_SZ), EBADF);
	FAILS(fcntl(p[0], 12345), EINVAL);
	FAILS(ioctl(p[0], 0x12345, buf), ENOTTY);
	close_pair(p);
}

static void queues(void)
{
	int p[2], n = -1;

	make_pair(p);
	CHECK(ioctl(p[0], FIONREAD, &n) == 0 && n == 0);
	n = -1;
	CHECK(ioctl(p[0], SIOCOUTQ, &n) == 0 && n == 0);
	CHECK(write(p[0], "queue", 5) == 5 && wait_for(p[1], POLLIN, 3000) >= 0);
	CHECK(ioctl(p[1], FIONREAD, &n) == 0 && n == 5);
	CHECK(ioctl(p[1], SIOCINQ, &n) == 0 && n == 5);
	if (over_tcp) {
		struct sockaddr_in at;
		int l = tcp_listener(&at);

		for (n = -1; n != 0;) { /* until it is acknowledged */
			CHECK(ioctl(p[0], SIOCOUTQ, &n) == 0);
			usleep(1000);
		}
		FAILS(ioctl(l, FIONREAD, &n), EINVAL);
		FAILS(ioctl(l, SIOCOUTQ, &n), EINVAL);
		CHECK(ioctl(p[1], SIOCATMARK, &n) == 0 && n == 0);
		close(l);
	}
	close_pair(p);
}

/* ---- numbers */

static void duplicate_limits(void)
{
	struct rlimit rl, small;
	int p[2], fds[64], n = 0;

	make_pair(p);
	FAILS(fcntl(p[0], F_DUPFD, -1), EINVAL);
	getrlimit(RLIMIT_NOFILE, &rl);
	small = (struct rlimit){(rlim_t)p[1] + 10, rl.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &small) == 0);
	FAILS(fcntl(p[0], F_DUPFD, (int)small.rlim_cur), EINVAL);
	FAILS(dup2(p[0], (int)small.rlim_cur), EBADF);
	while (n < 64 && (fds[n] = dup(p[0])) >= 0)
		n++;
	CHECK(n > 0 && n < 64 && errno == EMFILE);
	FAILS(fcntl(p[0], F_DUPFD, 0), EMFILE);
	FAILS(socket(over_tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0), EMFILE);
	while (n)
		close(fds[--n]);
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	FAILS(dup3(p[0], 90, 1), EINVAL);
	FAILS(dup2(p[0], -1), EBADF);
	close_pair(p);
}

static void range_flags(void)
{
	int p[2], high;
	char c;

	make_pair(p);
	high = fcntl(p[0], F_DUPFD, 500);
	CHECK(high >= 500);
	CHECK(close_range(500, 600, CLOSE_RANGE_CLOEXEC) == 0);
	CHECK(fcntl(high, F_GETFD) == FD_CLOEXEC && write(high, "c", 1) == 1 &&
	      read(p[1], &c, 1) == 1);
	FAILS(close_range(600, 500, 0), EINVAL);
	FAILS(close_range(500, 600, 0x100), EINVAL);
	CHECK(close_range(500, 600, CLOSE_RANGE_UNSHARE) == 0);
	FAILS(write(high, "c", 1), EBADF);
	CHECK(write(p[0], "d", 1) == 1 && read(p[1], &c, 1) == 1 && c == 'd');
	high = fcntl(p[0], F_DUPFD, 500);
	CHECK(syscall(SYS_close_range, 500u, 600u, 0u) == 0);
	FAILS(write(high, "c", 1), EBADF);
	close_pair(p);
}

/* Closing a number twice hits nobody else, also when a file got the number meanwhile. */
static void reused_numbers(void)
{
	int p[2], file;
	char c;

	make_pair(p);
	close(p[0]);
	file = open("/dev/zero", O_RDONLY);
	if (file != p[0]) {
		CHECK(dup2(file, p[0]) == p[0]);
		close(file);
		file = p[0];
	}
	CHECK(read(file, &c, 1) == 1 && c == 0);
	FAILS(send(file, "x", 1, 0), ENOTSOCK);
	close(file);
	p[0] = socket(over_tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
	CHECK(p[0] >= 0 && p[0] <= file);
	FAILS(read(file == p[0] ? 999 : file, &c, 1), EBADF);
	close_pair(p);
	FAILS(getsockname(p[0], (struct sockaddr *)&address, &(socklen_t){0}), EBADF);
}

static void all(void)
{
	int before_ = 0;

	RUN(splice_relay);
	RUN(splice_edges);
	RUN(urgent_in_line_later);
	RUN(splice_urgent);
	RUN(splice_full_pipe);
	RUN(sendfile_all);
	RUN(sendfile_edges);
	RUN(vector_limits);
	RUN(many_messages);
	RUN(no_file);
	RUN(queues);
	RUN(duplicate_limits);
	RUN(range_flags);
	RUN(reused_numbers);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
