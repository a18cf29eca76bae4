/* Sends with MSG_FASTOPEN and MSG_ZEROCOPY. */
#include "tests/differ/differ.h"
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

/* ---- TCP Fast Open, with a listener that gives no cookies */

static long open_to(int fd, const struct sockaddr_in *a, socklen_t len, const char *data, int flags)
{
	return sendto(fd, data, strlen(data), MSG_FASTOPEN | MSG_NOSIGNAL | flags,
	    (const struct sockaddr *)a, len);
}

static void first_bytes(int listener, const char *what)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	CALL(fd < 0 ? -1 : 0, "send accept %s", what);
	await(fd, POLLIN);
	line(message(fd, 99, 0, 0), "send received %s", what);
	close(fd);
}

static void fastopen(void)
{
	struct subject l = make(STREAM_LISTENING), s = make(STREAM_NEW);
	struct sockaddr_in none = {.sin_family = AF_UNSPEC};

	CALL(setsockopt(l.fd, IPPROTO_TCP, TCP_FASTOPEN, &(int){5}, sizeof(int)),
	    "send TCP_FASTOPEN");
	CALL(open_to(s.fd, &l.at, 4, "x", 0), "send MSG_FASTOPEN, length 4");
	CALL(open_to(s.fd, &none, sizeof(none), "x", 0), "send MSG_FASTOPEN AF_UNSPEC");
	CALL(open_to(s.fd, (void *)(uintptr_t)16, sizeof(none), "x", 0),
	    "send MSG_FASTOPEN, bad pointer");
	CALL(open_to(s.fd, &l.at, sizeof(l.at), "hello", 0), "send MSG_FASTOPEN");
	first_bytes(l.fd, "with MSG_FASTOPEN");
	CALL(open_to(s.fd, &l.at, sizeof(l.at), "hello", 0), "send MSG_FASTOPEN again");
	unmake(&s);
	s = make(STREAM_NEW);
	CALL(open_to(s.fd, &l.at, sizeof(l.at), "hello", MSG_DONTWAIT),
	    "send MSG_FASTOPEN without waiting");
	await(s.fd, POLLOUT);
	CALL(send(s.fd, "later", 5, 0), "send after MSG_FASTOPEN");
	first_bytes(l.fd, "after MSG_FASTOPEN");
	unmake(&s);
	s = make(STREAM_NEW);
	on(s.fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
	CALL(connect(s.fd, (struct sockaddr *)&l.at, sizeof(l.at)),
	    "send TCP_FASTOPEN_CONNECT connect");
	CALL(send(s.fd, "hello", 5, 0), "send TCP_FASTOPEN_CONNECT send");
	first_bytes(l.fd, "with TCP_FASTOPEN_CONNECT");
	unmake(&s);
	unmake(&l);
	s = make(DGRAM_CONNECTED);
	CALL(send(s.fd, "x", 1, MSG_FASTOPEN), "send MSG_FASTOPEN dgram");
	unmake(&s);
}

/* ---- messages of the sockets' own level */

static void own_level(enum state st)
{
	static const struct {
		const char *what;
		int type;
	} kinds[] = {{"SO_MARK", SO_MARK}, {"SO_PRIORITY", SO_PRIORITY}, {"SCM_TXTIME", SO_TXTIME},
	    {"SO_NETNS_COOKIE", SO_NETNS_COOKIE}};
	struct subject s = make(st);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (size_t len = 0; len <= 8; len += 4)
			CALL(send_with(s.fd, SOL_SOCKET, kinds[i].type, &(uint64_t){7}, len, "x"),
			    "send message %s, %zu bytes, %s", kinds[i].what, len, state_name[st]);
	unmake(&s);
}

/* ---- MSG_ZEROCOPY: notices that it is done with */

/* All that is told until `last` was: one line, however the kernel cuts it. */
static void notices(int fd, uint32_t last, const char *what)
{
	uint32_t from = UINT32_MAX, to = 0;
	char text[200] = "none";

	do {
		char ctl[200];
		struct msghdr m = {.msg_control = ctl, .msg_controllen = sizeof(ctl)};
		struct cmsghdr *c;
		struct sock_extended_err e;

		await(fd, POLLERR);
		CALL(recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT), "send notice %s up to %u", what,
		    last);
		c = CMSG_FIRSTHDR(&m);
		if (!c)
			break;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		from = e.ee_info < from ? e.ee_info : from;
		to = e.ee_data;
		snprintf(text, sizeof(text),
		    "%u to %u: errno %u origin %u type %u code %u, %d %d %zu flags %#x name %u",
		    from, to, e.ee_errno, e.ee_origin, e.ee_type, e.ee_code, c->cmsg_level,
		    c->cmsg_type, c->cmsg_len, (unsigned)m.msg_flags, m.msg_namelen);
	} while (to != last);
	line(text, "send notices %s up to %u", what, last);
}

static void zerocopy(enum state st)
{
	struct subject s = make(st);
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	const char *n = state_name[st];

	CALL(send(s.fd, "one", 3, MSG_ZEROCOPY), "send zerocopy off %s", n);
	line(message(s.fd, 9, 200, MSG_ERRQUEUE), "send zerocopy off, no notice %s", n);
	on(s.fd, SOL_SOCKET, SO_ZEROCOPY);
	epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &e);
	CALL(epoll_wait(ep, &e, 1, 0), "send zerocopy epoll before %s", n);
	CALL(send(s.fd, "two", 3, MSG_ZEROCOPY), "send zerocopy on %s", n);
	await(s.other, POLLIN);
	CALL(epoll_wait(ep, &e, 1, 10000), "send zerocopy epoll %s", n);
	CALL(e.events & EPOLLERR, "send zerocopy epoll event %s", n);
	notices(s.fd, 0, n);
	CALL(send(s.fd, "", 0, MSG_ZEROCOPY), "send zerocopy nothing %s", n);
	CALL(send(s.fd, "abc", 3, 0), "send without the flag %s", n);
	for (int i = 0; i < 5; i++)
		CALL(send(s.fd, "abc", 3, MSG_ZEROCOPY), "send zerocopy %s", n);
	notices(s.fd, is_dgram(st) ? 6 : 5, n); /* an empty datagram has a number, too */
	line(message(s.fd, 9, 200, MSG_ERRQUEUE), "send zerocopy no more %s", n);
	CALL(poll(&(struct pollfd){.fd = s.fd}, 1, 0), "send zerocopy poll after %s", n);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_ZEROCOPY, &(int){0}, sizeof(int)),
	    "send zerocopy switched off %s", n);
	CALL(send(s.fd, "abc", 3, MSG_ZEROCOPY), "send zerocopy after %s", n);
	line(message(s.fd, 9, 200, MSG_ERRQUEUE), "send zerocopy after, no notice %s", n);
	close(ep);
	unmake(&s);
}

void do_send(void)
{
	struct subject l = make(STREAM_LISTENING), s = make(STREAM_NEW);
	int v = 4711, fd;
	socklen_t len = sizeof(v);

	fastopen();
	own_level(STREAM_CONNECTED);
	own_level(DGRAM_CONNECTED);
	zerocopy(STREAM_CONNECTED);
	zerocopy(DGRAM_CONNECTED);
	zerocopy(STREAM6_CONNECTED);
	on(l.fd, SOL_SOCKET, SO_ZEROCOPY);
	CALL(connect(s.fd, (struct sockaddr *)&l.at, sizeof(l.at)), "send zerocopy connect");
	fd = accept4(l.fd, NULL, NULL, SOCK_CLOEXEC);
	CALL(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &v, &len), "send zerocopy of a child");
	CALL(v, "send zerocopy of a child: inherited");
	close(fd);
	unmake(&s);
	unmake(&l);
}
