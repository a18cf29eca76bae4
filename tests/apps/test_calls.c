/* Every call that moves bytes or numbers, see pair.h. */
#include "tests/apps/pair.h"
#include <sys/syscall.h>

/* Numbers' own habits: a mask of the kernel's size, and what is left of the time is told. */
static void wait_by_number(int from, int to)
{
	struct {
		const sigset_t *mask;
		size_t size;
	} m = {NULL, 8};
	struct timespec ts = {.tv_sec = 10};
	struct pollfd f = {.fd = to, .events = POLLIN};
	sigset_t none;
	fd_set in;

	sigemptyset(&none);
	m.mask = &none;
	FD_ZERO(&in);
	FD_SET(to, &in);
	CHECK(syscall(SYS_pselect6, to + 1, &in, NULL, NULL, &(struct timespec){.tv_sec = 0}, &m) ==
	      0);
	FD_SET(to, &in);
	CHECK(write(from, "x", 1) == 1);
	CHECK(syscall(SYS_pselect6, to + 1, &in, NULL, NULL, &ts, &m) == 1 && FD_ISSET(to, &in));
	CHECK(ts.tv_sec < 10);
	ts = (struct timespec){.tv_sec = 10};
	CHECK(syscall(SYS_ppoll, &f, 1, &ts, &none, 8) == 1 && ts.tv_sec < 10);
	CHECK(read(to, &(char){0}, 1) == 1);
	m.size = 4;
	FAILS(syscall(SYS_pselect6, to + 1, &in, NULL, NULL, &ts, &m), EINVAL);
	FAILS(syscall(SYS_ppoll, &f, 1, &ts, &none, 4), EINVAL);
}

static void data_basic(void)
{
	char buf[64];
	int p[2];

	make_pair(p);
	CHECK(write(p[0], "hello", 5) == 5);
	CHECK(read(p[1], buf, sizeof(buf)) == 5 && !memcmp(buf, "hello", 5));
	CHECK(send(p[1], "abc", 3, 0) == 3);
	CHECK(recv(p[0], buf, 2, MSG_PEEK) == 2 && !memcmp(buf, "ab", 2));
	CHECK(recv(p[0], buf, 3, MSG_WAITALL) == 3 && !memcmp(buf, "abc", 3));
	CHECK(sendto(p[0], "to", 2, MSG_NOSIGNAL, NULL, 0) == 2);
	CHECK(recvfrom(p[1], buf, sizeof(buf), 0, NULL, NULL) == 2);
	FAILS(recv(p[1], buf, 1, MSG_DONTWAIT), EAGAIN);
	CHECK(read(p[1], buf, 0) == 0);
	CHECK(syscall(SYS_write, p[0], "raw", 3L) == 3);
	CHECK(syscall(SYS_read, p[1], buf, 64L) == 3);
	wait_by_number(p[0], p[1]);
	close_pair(p);
}

static void data_vectors(void)
{
	char a[4], b[8], hea[] = "hea", dbody[] = "dbody";
	volatile int negative = -1;
	struct iovec out[2] = {{hea, 3}, {dbody, 5}}, in[2] = {{a, 4}, {b, 8}};
	struct msghdr m = {.msg_iov = out, .msg_iovlen = 2};
	struct mmsghdr mm[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
	int p[2];

	make_pair(p);
	CHECK(writev(p[0], out, 2) == 8);
	CHECK(readv(p[1], in, 2) == 8 && !memcmp(a, "head", 4) && !memcmp(b, "body", 4));
	CHECK(sendmsg(p[0], &m, 0) == 8);
	m.msg_iov = in;
	CHECK(recvmsg(p[1], &m, 0) == 8 && !memcmp(b, "body", 4));
	CHECK(sendmmsg(p[0], mm, 2, 0) == 2 && mm[1].msg_len == 8);
	mm[0].msg_hdr.msg_iov = mm[1].msg_hdr.msg_iov = in;
	mm[0].msg_hdr.msg_iovlen = 1;
	CHECK(recvmmsg(p[1], mm, 1, 0, NULL) == 1 && mm[0].msg_len == 4);
	CHECK(recvmmsg(p[1], mm + 1, 1, MSG_WAITFORONE | MSG_WAITALL, NULL) == 1 && mm[1].msg_len == 12);
	FAILS(readv(p[1], in, negative), EINVAL);
	close_pair(p);
}

static volatile sig_atomic_t pipes;

static void on_pipe(int sig)
{
	(void)sig;
	pipes++;
}

static void data_end(void)
{
	char c;
	int p[2];

	signal(SIGPIPE, on_pipe);
	make_pair(p);
	CHECK(shutdown(p[0], SHUT_WR) == 0);
	CHECK(read(p[1], &c, 1) == 0);
	pipes = 0;
	FAILS(send(p[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	CHECK(pipes == 0);
	FAILS(write(p[0], "x", 1), EPIPE);
	CHECK(pipes == 1);
	CHECK(write(p[1], "y", 1) == 1 && read(p[0], &c, 1) == 1);
	close(p[1]);
	CHECK(read(p[0], &c, 1) == 0);
	close(p[0]);
	FAILS(read(p[0], &c, 1), EBADF);
	FAILS(close(p[0]), EBADF);
	signal(SIGPIPE, SIG_DFL);
}

/* A megabyte each way at the same time, by threads that block. */
static void *pump_out(void *arg)
{
	int fd = *(int *)arg;
	char buf[10000];

	for (int i = 0; i < 200; i++) {
		size_t done = 0;

		memset(buf, i, sizeof(buf));
		while (done < sizeof(buf)) {
			ssize_t n = write(fd, buf + done, sizeof(buf) - done);

			if (n <= 0)
				return NULL;
			done += (size_t)n;
		}
	}
	shutdown(fd, SHUT_WR);
	return arg;
}

static void data_bulk(void)
{
	pthread_t t[2];
	int p[2];

	make_pair(p);
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, pump_out, &p[i]);
	for (int i = 0; i < 2; i++) {
		size_t sum = 0, wrong = 0;
		char buf[7777];
		ssize_t n;

		while ((n = read(p[i], buf, sizeof(buf))) > 0)
			for (ssize_t k = 0; k < n; k++, sum++)
				wrong += buf[k] != (char)(sum / 10000);
		CHECK(sum == 2000000 && wrong == 0);
		if (i == 0) /* the second thread may be blocked until now: that is the point */
			pthread_join(t[1], NULL);
	}
	pthread_join(t[0], NULL);
	close_pair(p);
}

static void nonblocking(void)
{
	char buf[4096] = {0};
	int p[2], on = 1, n = 0;

	make_pair(p);
	CHECK(!(fcntl(p[0], F_GETFL) & O_NONBLOCK) && (fcntl(p[0], F_GETFL) & O_ACCMODE) == O_RDWR);
	CHECK(fcntl(p[0], F_SETFL, O_RDWR | O_NONBLOCK) == 0);
	CHECK(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	FAILS(read(p[0], buf, 1), EAGAIN);
	while (n < 100000 && write(p[0], buf, sizeof(buf)) > 0)
		n++;
	CHECK(n > 1 && n < 100000 && errno == EAGAIN);
	CHECK(wait_for(p[0], POLLOUT, 0) == -1);
	CHECK(fcntl(p[0], F_SETFL, O_RDWR) == 0 && !(fcntl(p[0], F_GETFL) & O_NONBLOCK));
	CHECK(ioctl(p[1], FIONREAD, &n) == 0 && n > 0);
	CHECK(ioctl(p[1], FIONBIO, &on) == 0 && (fcntl(p[1], F_GETFL) & O_NONBLOCK));
	while (wait_for(p[1], POLLIN, 1000) >= 0 && read(p[1], buf, sizeof(buf)) > 0)
		;
	FAILS(read(p[1], buf, 1), EAGAIN);
	CHECK(wait_for(p[0], POLLOUT, 3000) >= 0);
	close_pair(p);
}

static void close_on_exec(void)
{
	int p[2], fd;

	make_pair(p);
	CHECK(fcntl(p[0], F_GETFD) == 0);
	CHECK(fcntl(p[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(p[0], F_GETFD) == FD_CLOEXEC);
	fd = fcntl(p[0], F_DUPFD_CLOEXEC, 100);
	CHECK(fd >= 100 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK(write(fd, "z", 1) == 1);
	close(fd);
	fd = fcntl(p[0], F_DUPFD, 100);
	CHECK(fd >= 100 && fcntl(fd, F_GETFD) == 0);
	close(fd);
	fd = socket(over_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK));
	close(fd);
	close_pair(p);
}

static void numbers(void)
{
	char buf[8];
	int p[2], q[2], file = open("/dev/zero", O_RDONLY), fd;

	make_pair(p);
	make_pair(q);
	fd = dup(p[0]);
	CHECK(fd >= 0);
	close(p[0]);
	CHECK(write(fd, "dup", 3) == 3 && read(p[1], buf, 8) == 3);
	CHECK(dup2(fd, 200) == 200 && write(200, "d2", 2) == 2 && read(p[1], buf, 8) == 2);
	CHECK(dup3(fd, 201, O_CLOEXEC) == 201 && fcntl(201, F_GETFD) == FD_CLOEXEC);
	FAILS(dup3(fd, fd, 0), EINVAL);
	CHECK(dup2(fd, fd) == fd);
	/* over another socket: that one is closed */
	CHECK(dup2(fd, q[0]) == q[0]);
	CHECK(read(q[1], buf, 8) == 0);
	CHECK(write(q[0], "over", 4) == 4 && read(p[1], buf, 8) == 4);
	/* a file over a socket, a socket over a file */
	CHECK(dup2(file, q[0]) == q[0] && read(q[0], buf, 4) == 4 && buf[0] == 0);
	CHECK(dup2(fd, file) == file && write(file, "f", 1) == 1 && read(p[1], buf, 8) == 1);
	close(file);
	close(q[0]);
	close(q[1]);
	close(fd);
	close(200);
	CHECK(wait_for(p[1], POLLIN, 50) == -1); /* 201 still holds it */
	close(201);
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0 && read(p[1], buf, 8) == 0);
	close(p[1]);
	FAILS(dup(fd), EBADF);
	FAILS(dup2(fd, 210), EBADF);
}

static void ranges(void)
{
	int p[2], q[2], high;
	char c;

	make_pair(p);
	make_pair(q);
	high = fcntl(p[0], F_DUPFD, 300);
	CHECK(dup2(q[0], 302) == 302);
	CHECK(close_range(300, 310, 0) == 0);
	FAILS(write(high, "x", 1), EBADF);
	FAILS(write(302, "x", 1), EBADF);
	CHECK(write(p[0], "x", 1) == 1 && read(p[1], &c, 1) == 1);
	dup2(p[0], 400);
	closefrom(400);
	FAILS(write(400, "x", 1), EBADF);
	/* the library must have survived that */
	CHECK(write(p[0], "x", 1) == 1 && read(p[1], &c, 1) == 1);
	CHECK(wait_for(p[1], POLLIN, 20) == -1);
	close_pair(p);
	close_pair(q);
}

static void names(void)
{
	struct sockaddr_in a, b;
	socklen_t len = sizeof(a);
	int p[2], v = 0;

	make_pair(p);
	CHECK(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &v, &len) == 0 && v == SOCK_STREAM &&
	      len == sizeof(int));
	len = sizeof(v);
	CHECK(getsockopt(p[0], SOL_SOCKET, SO_ERROR, &v, &len) == 0 && v == 0);
	if (over_tcp) {
		len = sizeof(a);
		CHECK(getsockname(p[0], (struct sockaddr *)&a, &len) == 0 && len == sizeof(a));
		len = sizeof(b);
		CHECK(getpeername(p[1], (struct sockaddr *)&b, &len) == 0);
		CHECK(a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr);
		v = 1;
		CHECK(setsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)) == 0);
		v = 0;
		len = sizeof(v);
		CHECK(getsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, &v, &len) == 0 && v == 1);
		FAILS(connect(p[0], (struct sockaddr *)&b, sizeof(b)), EISCONN);
	}
	close_pair(p);
}

/* Errors of a stream socket's life. */
static void tcp_errors(void)
{
	struct sockaddr_in at, peer;
	socklen_t len = sizeof(peer);
	char c;
	int l = tcp_listener(&at), s, v, other;

	FAILS(recv(l, &c, 1, 0), ENOTCONN);
	other = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(bind(other, (struct sockaddr *)&at, sizeof(at)), EADDRINUSE);
	FAILS(getpeername(other, (struct sockaddr *)&peer, &len), ENOTCONN);
	FAILS(recv(other, &c, 1, 0), ENOTCONN);
	FAILS(shutdown(other, SHUT_WR), ENOTCONN);
	FAILS(accept(other, NULL, NULL), EINVAL);
	close(other);
	CHECK(fcntl(l, F_SETFL, O_NONBLOCK) == 0);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	errno = 0;
	v = connect(s, (struct sockaddr *)&at, sizeof(at));
	CHECK(v == 0 || errno == EINPROGRESS);
	CHECK(wait_for(s, POLLOUT, 3000) >= 0);
	len = sizeof(v);
	CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &v, &len) == 0 && v == 0);
	CHECK(wait_for(l, POLLIN, 3000) >= 0);
	len = sizeof(peer);
	other = accept4(l, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(other >= 0 && len == sizeof(peer) && (fcntl(other, F_GETFL) & O_NONBLOCK));
	close(other);
	close(s);
	close(l);
	s = socket(AF_INET, SOCK_STREAM, 0); /* nobody listens any more */
	FAILS(connect(s, (struct sockaddr *)&at, sizeof(at)), ECONNREFUSED);
	close(s);
	FAILS(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
}

/* What was written before a close that resets is there to be read, then the reset. */
static void tcp_reset(void)
{
	struct linger now = {.l_onoff = 1};
	char buf[8];
	int p[2];

	make_pair(p);
	CHECK(setsockopt(p[0], SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
	CHECK(write(p[0], "bytes", 5) == 5 && close(p[0]) == 0);
	CHECK(wait_for(p[1], POLLRDHUP, 0) >= 0); /* there when close() returns */
	CHECK(read(p[1], buf, 3) == 3 && read(p[1], buf, sizeof(buf)) == 2);
	FAILS(read(p[1], buf, 1), ECONNRESET);
	CHECK(read(p[1], buf, 1) == 0);
	close(p[1]);
	make_pair(p); /* unread input resets too */
	CHECK(write(p[1], "?", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(write(p[0], "bytes", 5) == 5 && close(p[0]) == 0);
	CHECK(wait_for(p[1], POLLRDHUP, 3000) >= 0 && read(p[1], buf, sizeof(buf)) == 5);
	FAILS(read(p[1], buf, 1), ECONNRESET);
	close(p[1]);
}

/* The peer's end is read as often as one likes, whatever came after it; the error is for the writer. */
static void tcp_reset_after_end(void)
{
	struct pollfd failed = {.events = 0};
	int p[2], err = 0;
	socklen_t len = sizeof(err);
	char buf[8];

	make_pair(p);
	failed.fd = p[0];
	CHECK(close(p[1]) == 0 && wait_for(p[0], POLLRDHUP, 3000) >= 0);
	CHECK(write(p[0], "x", 1) == 1); /* nobody is there: a reset comes back */
	CHECK(poll(&failed, 1, 3000) == 1 && failed.revents & POLLERR);
	CHECK(read(p[0], buf, 1) == 0 && read(p[0], buf, 1) == 0);
	CHECK(getsockopt(p[0], SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == EPIPE);
	CHECK(getsockopt(p[0], SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0);
	CHECK(read(p[0], buf, 1) == 0);
	close(p[0]);
}

static void udp(void)
{
	struct sockaddr_in at = address, from;
	socklen_t len = sizeof(at);
	char buf[2000];
	int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0), n;

	CHECK(bind(a, (struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(getsockname(a, (struct sockaddr *)&at, &len) == 0);
	CHECK(sendto(b, "datagram", 8, 0, (struct sockaddr *)&at, sizeof(at)) == 8);
	len = sizeof(from);
	CHECK(recvfrom(a, buf, 4, MSG_TRUNC, (struct sockaddr *)&from, &len) == 8 &&
	      len == sizeof(from));
	CHECK(sendto(a, "", 0, 0, (struct sockaddr *)&from, sizeof(from)) == 0);
	CHECK(recv(b, buf, sizeof(buf), 0) == 0);
	CHECK(connect(b, (struct sockaddr *)&at, sizeof(at)) == 0 && send(b, "c", 1, 0) == 1);
	CHECK(wait_for(a, POLLIN, 1000) >= 0 && ioctl(a, FIONREAD, &n) == 0 && n == 1);
	CHECK(read(a, buf, sizeof(buf)) == 1);
	FAILS(send(a, "x", 1, 0), EDESTADDRREQ);
	FAILS(recv(a, buf, 1, MSG_DONTWAIT), EAGAIN);
	close(a);
	close(b);
}

/* AF_INET6 sockets with mapped addresses, `::` for both families. */
static void mapped(void)
{
	struct sockaddr_in6 at = {.sin6_family = AF_INET6}, peer;
	struct sockaddr_in v4 = address;
	socklen_t len = sizeof(at);
	int l = socket(AF_INET6, SOCK_STREAM, 0), s, c, off = 0;

	setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	CHECK(bind(l, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(l, 1) == 0);
	CHECK(getsockname(l, (struct sockaddr *)&at, &len) == 0 && at.sin6_family == AF_INET6);
	v4.sin_port = at.sin6_port;
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(s, (struct sockaddr *)&v4, sizeof(v4)) == 0);
	len = sizeof(peer);
	c = accept(l, (struct sockaddr *)&peer, &len);
	CHECK(c >= 0 && len == sizeof(peer) && IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr));
	close(c);
	close(s);
	s = socket(AF_INET6, SOCK_STREAM, 0);
	memset(&at.sin6_addr, 0, 10);
	memset(at.sin6_addr.s6_addr + 10, 0xff, 2);
	memcpy(at.sin6_addr.s6_addr + 12, &address.sin_addr, 4);
	CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	close(s);
	close(l);
}

static void *blocked_read(void *arg)
{
	char c;

	return (void *)(intptr_t)read(*(int *)arg, &c, 1);
}

/* shutdown() from another thread wakes a reader. */
static void wake_by_shutdown(void)
{
	pthread_t t;
	void *ret;
	int p[2];

	make_pair(p);
	pthread_create(&t, NULL, blocked_read, &p[0]);
	usleep(50000);
	CHECK(shutdown(p[0], SHUT_RDWR) == 0);
	pthread_join(t, &ret);
	CHECK(ret == NULL);
	close_pair(p);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void interrupted(void)
{
	struct sigaction sa = {.sa_handler = on_alarm}, old;
	struct timeval tv = {0, 100000};
	double start;
	char c;
	int p[2];

	make_pair(p);
	sigaction(SIGALRM, &sa, &old);
	alarms = 0;
	alarm(1);
	FAILS(read(p[0], &c, 1), EINTR);
	CHECK(alarms == 1);
	sigaction(SIGALRM, &old, NULL);
	CHECK(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	start = seconds();
	FAILS(read(p[0], &c, 1), EAGAIN);
	CHECK(seconds() - start > 0.09 && seconds() - start < 1);
	close_pair(p);
}

/* A child by vfork() closes its copies; ours stay. */
static void vforked(void)
{
	char c;
	int p[2], status;
	pid_t pid;

	make_pair(p);
	pid = vfork();
	if (pid == 0) {
		close(p[0]);
		close(p[1]);
		_exit(7);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 7);
	CHECK(write(p[0], "v", 1) == 1 && read(p[1], &c, 1) == 1);
	CHECK(system("true") == 0);
	CHECK(write(p[0], "v", 1) == 1 && read(p[1], &c, 1) == 1);
	/* a forked child that closes everything and leaves: the parent's stay as well */
	pid = fork();
	if (pid == 0) {
		closefrom(3);
		_exit(8);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 8);
	CHECK(write(p[0], "v", 1) == 1 && read(p[1], &c, 1) == 1);
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	RUN(data_basic);
	RUN(data_vectors);
	RUN(data_end);
	RUN(data_bulk);
	RUN(nonblocking);
	RUN(close_on_exec);
	RUN(numbers);
	RUN(ranges);
	RUN(names);
	RUN(wake_by_shutdown);
	RUN(interrupted);
	RUN(vforked);
	if (!over_tcp)
		return;
	RUN(tcp_errors);
	RUN(tcp_reset);
	RUN(tcp_reset_after_end);
	RUN(udp);
	RUN(mapped);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
