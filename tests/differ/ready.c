/* What poll, select and epoll say in each state; and what limits make of it. */
#include "tests/differ/differ.h"
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <time.h>

static const char *bits(short ev)
{
	static const struct {
		short bit;
		const char *name;
	} names[] = {{POLLIN, "IN"}, {POLLPRI, "PRI"}, {POLLOUT, "OUT"}, {POLLERR, "ERR"},
	    {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
	    {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
	static char text[100];
	int n = 0;

	text[0] = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (ev & names[i].bit)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "%s ", names[i].name);
	return text;
}

static short polled(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) < 0 ? POLLNVAL : p.revents;
}

static void one(enum state st)
{
	struct subject s = make(st);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP};
	int ep = epoll_create1(EPOLL_CLOEXEC);

	line(bits(polled(s.fd, ~0)), "ready poll %s", state_name[st]);
	line(bits(polled(s.fd, 0)), "ready poll for nothing %s", state_name[st]);
	CALL(epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &e), "ready epoll_ctl %s", state_name[st]);
	e.events = 0;
	CALL(epoll_wait(ep, &e, 1, 0), "ready epoll_wait %s", state_name[st]);
	line(bits((short)e.events), "ready epoll %s", state_name[st]);
	close(ep);
	unmake(&s);
}

/* An attempt to connect that nobody answers, given up by shutdown(): the socket is as new, with an error. */
static void given_up(int how)
{
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(80)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char c;

	inet_pton(AF_INET, "10.99.0.77", &nobody.sin_addr); /* in the lab's network, and not there */
	CALL(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), "ready connect to nobody %d", how);
	line(bits(polled(fd, ~0)), "ready connecting %d", how);
	CALL(shutdown(fd, how), "ready connecting, shutdown %d", how);
	line(bits(polled(fd, ~0)), "ready given up %d", how);
	CALL(recv(fd, &c, 1, 0), "ready given up %d, recv", how);
	line(bits(polled(fd, ~0)), "ready given up %d, and read", how);
	CALL(send(fd, "x", 1, MSG_NOSIGNAL), "ready given up %d, send", how);
	CALL(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), "ready given up %d, connect", how);
	CALL(connect(fd, (struct sockaddr *)&nobody, sizeof(nobody)), "ready given up %d, connect twice", how);
	close(fd);
}

/* A writer that fills its side, and what it takes to be writable again. */
static void filled(void)
{
	struct subject s = make(STREAM_CONNECTED);
	static char buf[1 << 16];
	int v;

	fcntl(s.fd, F_SETFL, O_RDWR | O_NONBLOCK);
	while (send(s.fd, buf, sizeof(buf), 0) > 0)
		;
	line(strerrorname_np(errno), "ready a full stream refuses");
	line(bits(polled(s.fd, POLLOUT)), "ready a full stream");
	fcntl(s.other, F_SETFL, O_RDWR | O_NONBLOCK);
	for (time_t end = time(NULL) + 10;
	     !(polled(s.fd, POLLOUT) & POLLOUT) && time(NULL) < end;) {
		struct pollfd both[2] = {
		    {.fd = s.other, .events = POLLIN}, {.fd = s.fd, .events = POLLOUT}};

		poll(both, 2, 1000);
		while (recv(s.other, buf, sizeof(buf), 0) > 0)
			;
	}
	line(bits(polled(s.fd, POLLOUT)), "ready a stream that was drained");
	unmake(&s);
	s = make(STREAM_CONNECTED);
	v = 1000;
	CALL(setsockopt(s.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &v, sizeof(v)),
	    "ready TCP_NOTSENT_LOWAT");
	v = 1;
	CALL(setsockopt(s.fd, IPPROTO_TCP, TCP_CORK, &v, sizeof(v)), "ready TCP_CORK");
	fcntl(s.fd, F_SETFL, O_RDWR | O_NONBLOCK);
	line(bits(polled(s.fd, POLLOUT)), "ready nothing is unsent");
	CALL(send(s.fd, buf, 600, 0), "ready six hundred bytes, corked");
	line(bits(polled(s.fd, POLLOUT)), "ready more is unsent than half of TCP_NOTSENT_LOWAT");
	CALL(send(s.fd, buf, 2000, 0), "ready two thousand bytes, corked");
	line(bits(polled(s.fd, POLLOUT)), "ready more is unsent than TCP_NOTSENT_LOWAT");
	CALL(send(s.fd, buf, 2000, 0), "ready the last buffer is filled all the same");
	v = 0;
	CALL(setsockopt(s.fd, IPPROTO_TCP, TCP_CORK, &v, sizeof(v)), "ready uncork");
	await(s.fd, POLLOUT);
	unmake(&s);
}

/* SO_SNDBUF tells the truth: a peer that reads nothing, and three times as much is not all taken. */
static void overfull(void)
{
	struct subject s = make(STREAM_CONNECTED);
	int v = 0;
	socklen_t len = sizeof(v);
	char *buf;
	ssize_t n;

	getsockopt(s.fd, SOL_SOCKET, SO_SNDBUF, &v, &len);
	buf = calloc(3, (size_t)v);
	n = send(s.fd, buf, 3 * (size_t)v, MSG_DONTWAIT);
	line(n <= 0 ? "nothing" : n < 3 * (ssize_t)v ? "a part" : "all", "ready three times SO_SNDBUF");
	free(buf);
	unmake(&s);
}

/* A close() that lingers returns when the peer has it all; one that resets, at once. */
static void lingering(void)
{
	struct linger l = {.l_onoff = 1, .l_linger = 10};
	struct subject s = make(STREAM_CONNECTED);
	char c;

	setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	CALL(send(s.fd, "x", 1, 0), "ready linger send");
	CALL(close(s.fd), "ready linger close");
	CALL(recv(s.other, &c, 1, MSG_DONTWAIT), "ready linger: it is there");
	CALL(recv(s.other, &c, 1, MSG_DONTWAIT), "ready linger: and the end, too");
	close(s.other);
	s = make(STREAM_CONNECTED);
	l.l_linger = 0;
	setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	CALL(close(s.fd), "ready linger 0 close");
	await(s.other, POLLIN);
	CALL(recv(s.other, &c, 1, 0), "ready linger 0: a reset");
	close(s.other);
}

void do_ready(void)
{
	for (enum state st = 0; st < STATES; st++)
		one(st);
	filled();
	overfull();
	lingering();
	for (int how = SHUT_RD; how <= SHUT_RDWR; how++)
		given_up(how);
}
