/*
 * A program that talks to itself: what it sent, it finds at the other end with its next look, without waiting; see pair.h.
 * On the kernel it is so because lo delivers within send().
 */
#include "tests/apps/pair.h"
#include <sys/epoll.h>
#include <sys/select.h>

#define ROUNDS 300

/* Small writes one after the other: without waiting for acknowledgements. */
static void make_quick_pair(int p[2])
{
	int one = 1;

	make_pair(p);
	for (int i = 0; i < 2 && over_tcp; i++)
		CHECK(setsockopt(p[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
}

static void take(int fd)
{
	char c;

	CHECK(recv(fd, &c, 1, 0) == 1);
}

static void polled(void)
{
	int p[2], found = 0;

	make_pair(p);
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd f = {.fd = p[i % 2], .events = POLLIN};

		CHECK(send(p[!(i % 2)], "x", 1, 0) == 1);
		found += poll(&f, 1, 0) == 1 && f.revents == POLLIN;
		take(p[i % 2]);
	}
	CHECK(found == ROUNDS);
	close_pair(p);
}

/*
 * Small pieces in one direction, each read at once: that they were read acknowledges them, so Nagle's algorithm never holds one
 * back for longer.
 */
static void one_way(void)
{
	int p[2], found = 0;

	make_pair(p);
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd f = {.fd = p[1], .events = POLLIN};

		CHECK(send(p[0], "x", 1, 0) == 1);
		found += poll(&f, 1, 0) == 1;
		take(p[1]);
	}
	CHECK(found == ROUNDS);
	close_pair(p);
}

static void selected(void)
{
	int p[2], found = 0;

	make_quick_pair(p);
	for (int i = 0; i < ROUNDS; i++) {
		struct timeval none = {0, 0};
		fd_set in;

		FD_ZERO(&in);
		FD_SET(p[1], &in);
		CHECK(send(p[0], "x", 1, 0) == 1);
		found += select(p[1] + 1, &in, NULL, NULL, &none) == 1;
		take(p[1]);
	}
	CHECK(found == ROUNDS);
	close_pair(p);
}

static void received(void)
{
	int p[2], found = 0, asked = 0, n;
	char c;

	make_quick_pair(p);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(send(p[0], "x", 1, 0) == 1);
		found += recv(p[1], &c, 1, MSG_DONTWAIT) == 1;
		CHECK(send(p[1], "y", 1, 0) == 1);
		asked += ioctl(p[0], FIONREAD, &n) == 0 && n == 1;
		take(p[0]);
	}
	CHECK(found == ROUNDS);
	CHECK(asked == ROUNDS);
	close_pair(p);
}

/* Both ends were written to: one epoll_wait() tells of both. */
static void both_at_once(void)
{
	int p[2], ep = epoll_create1(0), found = 0;
	struct epoll_event ev[4] = {{.events = EPOLLIN}};

	make_quick_pair(p);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], ev) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], ev) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		CHECK(send(p[0], "x", 1, 0) == 1);
		CHECK(send(p[1], "y", 1, 0) == 1);
		found += epoll_wait(ep, ev, 4, i % 2 ? 0 : 3000) == 2;
		take(p[0]);
		take(p[1]);
	}
	CHECK(found == ROUNDS);
	close(ep);
	close_pair(p);
}

/* The end of the stream is there at once too. */
static void ended(void)
{
	int p[2], found = 0;
	char c;

	for (int i = 0; i < ROUNDS; i++) {
		make_pair(p);
		if (i % 2)
			shutdown(p[0], SHUT_WR);
		else
			close(p[0]);
		found += recv(p[1], &c, 1, MSG_DONTWAIT) == 0;
		if (i % 2)
			close(p[0]);
		close(p[1]);
	}
	CHECK(found == ROUNDS);
}

/* A connection that was begun without waiting can be accepted without waiting. */
static void accepted(void)
{
	struct sockaddr_in at;
	int found = 0, l, c, a;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	CHECK(fcntl(l, F_SETFL, O_NONBLOCK) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		FAILS(connect(c, (struct sockaddr *)&at, sizeof(at)), EINPROGRESS);
		a = accept(l, NULL, NULL);
		found += a >= 0;
		if (a >= 0)
			close(a);
		close(c);
	}
	CHECK(found == ROUNDS);
	close(l);
}

static int datagram_socket(struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(*at);

	*at = address;
	CHECK(bind(fd, (struct sockaddr *)at, sizeof(*at)) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)at, &len) == 0);
	return fd;
}

static void datagrams(void)
{
	struct sockaddr_in to, from;
	int in, out, found = 0;
	char c;

	if (!over_tcp)
		return;
	in = datagram_socket(&to);
	out = datagram_socket(&from);
	for (int i = 0; i < ROUNDS; i++) {
		struct pollfd f = {.fd = in, .events = POLLIN};

		CHECK(sendto(out, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1);
		found += i % 2 ? poll(&f, 1, 0) == 1 : recv(in, &c, 1, MSG_DONTWAIT) == 1;
		if (i % 2)
			take(in);
	}
	CHECK(found == ROUNDS);
	close(in);
	close(out);
}

/* A socket whose peer it is itself: a simultaneous open (RFC 9293, 3.5) with nobody else. */
static void to_oneself(void)
{
	struct sockaddr_in at = address, peer;
	socklen_t len = sizeof(at);
	static char out[300000], in[300000];
	struct pollfd p;
	size_t sent = 0, got = 0;
	int s, err;

	if (!over_tcp)
		return;
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(s, (struct sockaddr *)&at, len) == 0 &&
	      getsockname(s, (struct sockaddr *)&at, &len) == 0);
	CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	CHECK(getpeername(s, (struct sockaddr *)&peer, &len) == 0 && peer.sin_port == at.sin_port);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 2654435761u >> 24);
	while (got < sizeof(out) && !failures) {
		ssize_t n = send(s, out + sent, sizeof(out) - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		if (sent > got) {
			n = recv(s, in + got, sizeof(in) - got, 0);
			CHECK(n > 0);
			got += n > 0 ? (size_t)n : 0;
		}
	}
	CHECK(memcmp(in, out, sizeof(out)) == 0);
	CHECK(shutdown(s, SHUT_WR) == 0 && recv(s, in, 1, 0) == 0);
	p = (struct pollfd){.fd = s, .events = POLLIN | POLLOUT};
	CHECK(poll(&p, 1, 3000) == 1 && p.revents == (POLLIN | POLLOUT | POLLHUP));
	len = sizeof(err);
	CHECK(getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == 0);
	close(s);
}

static void all(void)
{
	int before_ = 0;

	RUN(polled);
	RUN(one_way);
	RUN(selected);
	RUN(received);
	RUN(both_at_once);
	RUN(ended);
	RUN(accepted);
	RUN(datagrams);
	RUN(to_oneself);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
