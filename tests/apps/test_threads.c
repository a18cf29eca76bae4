/*
 * One socket in the hands of several threads; see pair.h. What closing and shutting down do to a
 * blocked thread is the kernel's way: shutdown wakes it, close does not.
 */
#include "tests/apps/blocked.h"
#include <sys/epoll.h>

/* ---- several in one call */

enum { ACCEPTORS = 4, CONNECTIONS = 200 };

static unsigned counted; /* atomic */

static void *acceptor(void *arg)
{
	int l = *(int *)arg, c;
	intptr_t got = 0;

	while ((c = accept(l, NULL, NULL)) >= 0) {
		char b;

		if (read(c, &b, 1) == 1 && write(c, &b, 1) == 1)
			got++;
		close(c);
	}
	__atomic_add_fetch(&counted, (unsigned)got, __ATOMIC_SEQ_CST);
	return (void *)(intptr_t)errno;
}

static void many_accept(void)
{
	struct sockaddr_in at;
	pthread_t t[ACCEPTORS];
	int l;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	counted = 0;
	for (int i = 0; i < ACCEPTORS; i++)
		pthread_create(&t[i], NULL, acceptor, &l);
	for (int i = 0; i < CONNECTIONS; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);
		char b = (char)i, back;

		CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0 && write(s, &b, 1) == 1);
		CHECK(read(s, &back, 1) == 1 && back == b);
		close(s);
	}
	CHECK(shutdown(l, SHUT_RD) == 0); /* wakes all of them */
	for (int i = 0; i < ACCEPTORS; i++) {
		void *err;

		pthread_join(t[i], &err);
		CHECK((intptr_t)err == EINVAL);
	}
	CHECK(counted == CONNECTIONS);
	close(l);
}

enum { PIECE = 1000, PIECES = 300 };

/* Writes whole pieces; other threads do the same, so pieces may mix but no byte may be lost. */
static void *piece_writer(void *arg)
{
	int fd = *(int *)arg;
	char buf[PIECE];

	memset(buf, 1, sizeof(buf));
	for (int i = 0; i < PIECES; i++)
		for (size_t done = 0; done < PIECE;) {
			ssize_t n = write(fd, buf + done, PIECE - done);

			if (n <= 0)
				return (void *)1;
			done += (size_t)n;
		}
	return NULL;
}

static void *byte_counter(void *arg)
{
	int fd = *(int *)arg;
	char buf[700];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		__atomic_add_fetch(&counted, (unsigned)n, __ATOMIC_RELAXED);
	return (void *)(intptr_t)n;
}

static void many_read_write(void)
{
	pthread_t w[3], r[3];
	void *ret;
	int p[2];

	make_pair(p);
	counted = 0;
	for (int i = 0; i < 3; i++) {
		pthread_create(&r[i], NULL, byte_counter, &p[1]);
		pthread_create(&w[i], NULL, piece_writer, &p[0]);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(w[i], &ret);
		CHECK(ret == NULL);
	}
	shutdown(p[0], SHUT_WR);
	for (int i = 0; i < 3; i++) {
		pthread_join(r[i], &ret);
		CHECK(ret == NULL);
	}
	CHECK(counted == 3 * PIECE * PIECES);
	close_pair(p);
}

/* Threads open, use and close at once: numbers are used again all the time. */
static void *churner(void *arg)
{
	const char word = *(const char *)arg;

	for (int i = 0; i < 150; i++) {
		char c = 0;
		int p[2];

		make_pair(p);
		if (write(p[0], &word, 1) != 1 || read(p[1], &c, 1) != 1 || c != word)
			return (void *)1;
		close_pair(p);
	}
	return NULL;
}

static void many_open_close(void)
{
	static const char words[] = "abcd";
	pthread_t t[4];
	void *ret;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, churner, (void *)(uintptr_t)&words[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &ret);
		CHECK(ret == NULL);
	}
}

/* ---- close and shutdown under a blocked thread */

/* Who waits for room has it when the buffer is made larger, though nothing of what is in it has gone. */
static void larger_buffer_wakes(void)
{
	static const enum what writers[] = {POLL, EPOLL, POLL, EPOLL};
	struct blocked b;
	int p[2], v, most;
	socklen_t len = sizeof(most);

	for (size_t i = 0; over_tcp && i < sizeof(writers) / sizeof(writers[0]); i++) {
		make_pair(p);
		v = INT32_MAX;
		CHECK(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0);
		CHECK(getsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &most, &len) == 0);
		v = i < 2 ? 4608 : most / 4;
		CHECK(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0);
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		for (;;) { /* until the peer's buffer is full, too */
			fill(p[0]);
			if (block_for(&b, writers[i], p[0], POLLOUT))
				break;
			join(&b);
		}
		v = most / 2;
		CHECK(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0);
		join(&b);
		CHECK(b.ret == 1);
		CHECK(write(p[0], "x", 1) == 1);
		close_pair(p);
	}
}

static void shutdown_wakes(void)
{
	static const enum what readers[] = {READ, RECVMSG, POLL, SELECT, EPOLL};
	struct blocked b;
	int p[2];

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		make_pair(p);
		block(&b, readers[i], p[0]);
		CHECK(shutdown(p[0], SHUT_RD) == 0);
		join(&b);
		CHECK(b.ret == (i < 2 ? 0 : 1));
		close_pair(p);
	}
	signal(SIGPIPE, SIG_IGN);
	make_pair(p);
	block(&b, WRITE, p[0]);
	CHECK(shutdown(p[0], SHUT_WR) == 0);
	join(&b);
	CHECK(b.ret == -1 && b.err == EPIPE);
	close_pair(p);
	signal(SIGPIPE, SIG_DFL);
}

static void shutdown_wakes_accept(void)
{
	static const enum what calls[] = {ACCEPT, POLL, EPOLL};
	struct sockaddr_in at;
	struct blocked b;
	int l;

	if (!over_tcp)
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		l = tcp_listener(&at);
		block(&b, calls[i], l);
		CHECK(shutdown(l, SHUT_RDWR) == 0);
		join(&b);
		if (calls[i] == ACCEPT)
			CHECK(b.ret == -1 && b.err == EINVAL);
		else
			CHECK(b.ret == 1);
		if (calls[i] == POLL)
			CHECK(b.revents == (POLLIN | POLLHUP) || b.revents == POLLHUP);
		close(l);
	}
}

/* close() in one thread leaves the others in their calls: these hold the socket, and what comes
 * still reaches them. */
static void close_wakes_nobody(void)
{
	static const enum what readers[] = {READ, RECVMSG, POLL, SELECT};
	struct blocked b;
	char c;
	int p[2];

	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
		make_pair(p);
		block(&b, readers[i], p[0]);
		CHECK(close(p[0]) == 0);
		FAILS(write(p[0], "x", 1), EBADF);
		usleep(NAP);
		CHECK(!__atomic_load_n(&b.over, __ATOMIC_SEQ_CST));
		CHECK(wait_for(p[1], POLLIN, 0) == -1); /* no end of file yet */
		CHECK(write(p[1], "y", 1) == 1);
		join(&b);
		CHECK(b.ret == 1);
		CHECK(wait_for(p[1], POLLIN, 3000) >= 0); /* now it is closed */
		CHECK(read(p[1], &c, 1) == 0 || errno == ECONNRESET);
		close(p[1]);
	}
}

static void close_under_accept(void)
{
	struct sockaddr_in at;
	struct blocked b;
	int l, s;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	block(&b, ACCEPT, l);
	CHECK(close(l) == 0);
	usleep(NAP);
	CHECK(!__atomic_load_n(&b.over, __ATOMIC_SEQ_CST));
	connection_ends(&b, &at);
	s = socket(AF_INET, SOCK_STREAM, 0);
	FAILS(connect(s, (struct sockaddr *)&at, sizeof(at)), ECONNREFUSED);
	close(s);
}

/* dup2() over a number that another thread sleeps on: that thread goes on with the old socket. */
static void dup2_under_read(void)
{
	struct blocked b;
	int p[2], q[2];
	char c;

	make_pair(p);
	make_pair(q);
	block(&b, READ, p[0]);
	CHECK(dup2(q[0], p[0]) == p[0]);
	CHECK(write(q[1], "new", 3) == 3 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(!__atomic_load_n(&b.over, __ATOMIC_SEQ_CST));
	CHECK(write(p[1], "o", 1) == 1);
	join(&b);
	CHECK(b.ret == 1);
	CHECK(read(p[0], &c, 1) == 1 && c == 'n');
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0 && read(p[1], &c, 1) == 0);
	close_pair(p);
	close_pair(q);
}

/* An epoll set does not hold a socket: closing it takes it out, whoever sleeps in the set. */
static void close_under_epoll(void)
{
	struct blocked b;
	char c;
	int p[2];

	make_pair(p);
	block(&b, EPOLL, p[0]);
	CHECK(close(p[0]) == 0);
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0 && read(p[1], &c, 1) == 0);
	usleep(NAP);
	CHECK(!__atomic_load_n(&b.over, __ATOMIC_SEQ_CST));
	pthread_cancel(b.t);
	pthread_join(b.t, NULL);
	close(p[1]);
}

/* ---- cancellation: a blocked call is a cancellation point, and leaves the socket as it was */

static void cancelled(void)
{
	static const enum what calls[] = {READ, RECVMSG, WRITE, POLL, SELECT, EPOLL};
	char c;
	int p[2];

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		static char sink[1 << 20];
		struct blocked b;
		void *ret = NULL;

		make_pair(p);
		block(&b, calls[i], p[0]);
		CHECK(pthread_cancel(b.t) == 0);
		pthread_join(b.t, &ret);
		CHECK(ret == PTHREAD_CANCELED);
		CHECK(write(p[1], "z", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0 &&
		      read(p[0], &c, 1) == 1);
		close(p[0]); /* nobody else holds it */
		while (wait_for(p[1], POLLIN, 3000) >= 0 && read(p[1], sink, sizeof(sink)) > 0)
			;
		CHECK(read(p[1], &c, 1) == 0);
		close(p[1]);
	}
	if (over_tcp) {
		struct sockaddr_in at;
		struct blocked b;
		void *ret = NULL;
		int l = tcp_listener(&at), s;

		block(&b, ACCEPT, l);
		pthread_cancel(b.t);
		pthread_join(b.t, &ret);
		CHECK(ret == PTHREAD_CANCELED);
		s = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
		CHECK((p[0] = accept(l, NULL, NULL)) >= 0);
		close(p[0]);
		close(s);
		close(l);
	}
}

static void all(void)
{
	int before_ = 0;

	RUN(many_accept);
	RUN(many_read_write);
	RUN(many_open_close);
	RUN(shutdown_wakes);
	RUN(larger_buffer_wakes);
	RUN(shutdown_wakes_accept);
	RUN(close_wakes_nobody);
	RUN(close_under_accept);
	RUN(dup2_under_read);
	RUN(close_under_epoll);
	RUN(cancelled);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
