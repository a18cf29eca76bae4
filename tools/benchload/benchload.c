/*
 * Load for tools/bench: a plain socket program that knows nothing of netd and runs on either stack.
 *
 *   benchload serve PORT                 answer every 64 bytes with 64 bytes, any number of connections
 *   benchload ask HOST PORT N SECONDS    N connections, one request in flight on each: prints requests/s
 *   benchload connect HOST PORT SECONDS  connect, ask once, close: prints connections/s
 *   benchload hold HOST PORT N           N idle connections until standard input ends; prints "holding"
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE 64

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	fprintf(stderr, "benchload: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void watch(int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll_ctl");
}

static void take_connections(int ep, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		no_delay(fd);
		watch(ep, fd);
	}
}

__attribute__((noreturn)) static int serve(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct epoll_event ev[256];
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	char buf[65536];

	if (l < 0 || ep < 0)
		fail("socket");
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 4096) < 0)
		fail("listen");
	watch(ep, l);
	puts("listening");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(ep, ev, 256, -1);

		for (int i = 0; i < n; i++) {
			ssize_t got;

			if (ev[i].data.fd == l) {
				take_connections(ep, l);
				continue;
			}
			got = read(ev[i].data.fd, buf, sizeof(buf));
			if (got > 0) {
				if (write(ev[i].data.fd, buf, (size_t)got) != got)
					close(ev[i].data.fd);
			} else if (got == 0 || errno != EAGAIN) {
				close(ev[i].data.fd);
			}
		}
	}
}

static int dial(const char *host, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		fail("socket");
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		fail("connect");
	no_delay(fd);
	return fd;
}

static int ask(const char *host, int port, int n, double seconds)
{
	struct epoll_event ev[256];
	char buf[MESSAGE] = {0};
	uint64_t done = 0;
	int ep = epoll_create1(0), *fds = calloc((size_t)n, sizeof(*fds));
	double start, end;

	if (!fds)
		fail("memory");
	for (int i = 0; i < n; i++)
		watch(ep, fds[i] = dial(host, port));
	/* A first request on each, then each answer is followed by the next request. */
	start = now();
	for (int i = 0; i < n; i++)
		if (write(fds[i], buf, sizeof(buf)) != MESSAGE)
			fail("write");
	free(fds);
	for (end = start + seconds; now() < end;) {
		int k = epoll_wait(ep, ev, 256, 1000);

		if (k <= 0)
			fail("no answer for a second");
		for (int i = 0; i < k; i++) {
			ssize_t got = recv(ev[i].data.fd, buf, sizeof(buf), MSG_WAITALL);

			if (got != MESSAGE || write(ev[i].data.fd, buf, sizeof(buf)) != MESSAGE)
				fail("exchange");
			done++;
		}
	}
	printf("%.0f\n", (double)done / (now() - start));
	return 0;
}

static int connects(const char *host, int port, double seconds)
{
	char buf[MESSAGE] = {0};
	uint64_t done = 0;
	double start = now(), end = start + seconds;

	while (now() < end) {
		int fd = dial(host, port);
		/* Closing by reset keeps the client's ports from piling up in TIME_WAIT. */
		struct linger hard = {.l_onoff = 1};

		if (write(fd, buf, sizeof(buf)) != MESSAGE || recv(fd, buf, sizeof(buf), MSG_WAITALL) != MESSAGE)
			fail("exchange");
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		close(fd);
		done++;
	}
	printf("%.0f\n", (double)done / (now() - start));
	return 0;
}

static int hold(const char *host, int port, int n)
{
	char c;

	for (int i = 0; i < n; i++)
		dial(host, port);
	puts("holding");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit r;

	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]));
	if (argc == 6 && !strcmp(argv[1], "ask"))
		return ask(argv[2], atoi(argv[3]), atoi(argv[4]), atof(argv[5]));
	if (argc == 5 && !strcmp(argv[1], "connect"))
		return connects(argv[2], atoi(argv[3]), atof(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "hold"))
		return hold(argv[2], atoi(argv[3]), atoi(argv[4]));
	fprintf(stderr, "benchload: serve PORT | ask HOST PORT N SECONDS | connect HOST PORT SECONDS | hold HOST PORT N\n");
	return 2;
}
