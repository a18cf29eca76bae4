/* What the flags and control messages of sendmsg() and recvmsg() do. */
#include "tests/differ/differ.h"
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>

#define TS_OPT_ID 81 /* SCM_TS_OPT_ID */

const char *message(int fd, size_t room, size_t control, int flags)
{
	static char text[900];
	char buf[300], ctl[400];
	struct sockaddr_storage name;
	struct iovec iov = {buf, room};
	struct msghdr m = {.msg_name = &name,
	    .msg_namelen = sizeof(name),
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = ctl,
	    .msg_controllen = control};
	ssize_t ret = recvmsg(fd, &m, flags | MSG_DONTWAIT);
	int n;

	if (ret < 0)
		return said(ret);
	n = snprintf(text, sizeof(text), "%zd '%.*s' flags %#x name %u control %zu", ret,
	    (int)((size_t)ret < room ? (size_t)ret : room), buf, (unsigned)m.msg_flags,
	    m.msg_namelen, m.msg_controllen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		bool varies = c->cmsg_level == SOL_SOCKET ||
			      (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR);

		n += snprintf(text + n, sizeof(text) - (size_t)n, " [%d %d %zu:", c->cmsg_level,
		    c->cmsg_type, c->cmsg_len);
		for (size_t i = 0; !varies && i < c->cmsg_len - CMSG_LEN(0) && i < 48; i++)
			n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", CMSG_DATA(c)[i]);
		n += snprintf(text + n, sizeof(text) - (size_t)n, "]");
	}
	return text;
}

void on(int fd, int level, int name)
{
	int one = 1;

	CALL(setsockopt(fd, level, name, &one, sizeof(one)), "data option %d/%d", level, name);
}

long send_with(int fd, int level, int type, const void *v, size_t len, const char *data)
{
	char ctl[200] = {0};
	struct iovec iov = {(void *)(uintptr_t)data, strlen(data)};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = ctl,
	    .msg_controllen = CMSG_SPACE(len)};
	struct cmsghdr *c = (void *)ctl;

	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	memcpy(CMSG_DATA(c), v, len);
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void dgram_flags(void)
{
	struct subject s = make(DGRAM_DATA);

	line(message(s.fd, 3, 0, MSG_PEEK), "data dgram peek, cut short");
	line(message(s.fd, 3, 0, MSG_PEEK | MSG_TRUNC), "data dgram peek for the length");
	line(message(s.fd, 3, 0, MSG_OOB), "data dgram MSG_OOB");
	unmake(&s);
	s = make(DGRAM_DATA);
	line(message(s.fd, 3, 0, 0), "data dgram cut short");
	line(message(s.fd, 3, 0, 0), "data dgram: the rest is gone");
	CALL(send(s.other, "abc", 3, MSG_MORE), "data dgram MSG_MORE");
	line(message(s.fd, 9, 0, 0), "data dgram nothing yet");
	CALL(send(s.other, "def", 3, 0), "data dgram the end");
	await(s.fd, POLLIN);
	line(message(s.fd, 9, 0, 0), "data dgram in one");
	on(s.other, IPPROTO_UDP, UDP_CORK);
	CALL(send(s.other, "gh", 2, 0), "data dgram corked");
	CALL(send(s.other, "ij", 2, 0), "data dgram corked");
	line(message(s.fd, 9, 0, 0), "data dgram corked: nothing");
	CALL(setsockopt(s.other, IPPROTO_UDP, UDP_CORK, &(int){0}, sizeof(int)),
	    "data dgram uncork");
	await(s.fd, POLLIN);
	line(message(s.fd, 9, 0, 0), "data dgram uncorked");
	CALL(send(s.other, "", 0, 0), "data dgram empty");
	await(s.fd, POLLIN);
	line(message(s.fd, 9, 0, 0), "data dgram empty, received");
	CALL(send(s.other, (char[65508]){0}, 65508, 0), "data dgram too long");
	CALL(send(s.other, (char[65507]){0}, 65507, 0), "data dgram the longest");
	unmake(&s);
}

static void dgram_control(void)
{
	struct subject s = make(DGRAM_CONNECTED);
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK)},
			  foreign = {.ipi_spec_dst.s_addr = htonl(0xc0000201)},
			  nowhere = {.ipi_ifindex = 4711}, lo = {.ipi_ifindex = 1};
	static const int wants[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR};

	for (size_t i = 0; i < sizeof(wants) / sizeof(int); i++)
		on(s.fd, IPPROTO_IP, wants[i]);
	on(s.fd, SOL_SOCKET, SO_TIMESTAMPNS);
#define WITH(level, type, v, len, data, what)                                                      \
	do {                                                                                       \
		long r_ = send_with(s.other, level, type, &(v), len, data);                        \
		line(said(r_), "data dgram with %s", what);                                        \
		if (r_ >= 0) {                                                                     \
			await(s.fd, POLLIN);                                                       \
			line(message(s.fd, 100, 400, 0), "data dgram with %s, received", what);    \
		}                                                                                  \
	} while (0)
	WITH(IPPROTO_IP, IP_TTL, (int){7}, 4, "ttl", "IP_TTL 7");
	WITH(IPPROTO_IP, IP_TTL, (int){0}, 4, "ttl", "IP_TTL 0");
	WITH(IPPROTO_IP, IP_TTL, (int){256}, 4, "ttl", "IP_TTL 256");
	WITH(IPPROTO_IP, IP_TTL, (int){7}, 1, "ttl", "IP_TTL of one byte");
	WITH(IPPROTO_IP, IP_TOS, (int){8}, 4, "tos", "IP_TOS 8");
	WITH(IPPROTO_IP, IP_TOS, (char){8}, 1, "tos", "IP_TOS of one byte");
	WITH(IPPROTO_IP, IP_TOS, (int){0}, 4, "tos", "IP_TOS 0");
	WITH(IPPROTO_IP, IP_TOS, (int){-1}, 4, "tos", "IP_TOS -1");
	WITH(IPPROTO_IP, IP_PKTINFO, info, sizeof(info), "info", "IP_PKTINFO of its own");
	WITH(IPPROTO_IP, IP_PKTINFO, foreign, sizeof(info), "info", "IP_PKTINFO of another");
	WITH(IPPROTO_IP, IP_PKTINFO, nowhere, sizeof(info), "info", "IP_PKTINFO of device 4711");
	WITH(IPPROTO_IP, IP_PKTINFO, lo, sizeof(info), "info", "IP_PKTINFO of lo");
	WITH(IPPROTO_IP, IP_PKTINFO, info, 4, "info", "IP_PKTINFO too short");
	WITH(IPPROTO_IP, 99, info, 4, "info", "IP/99");
	WITH(99, 99, info, 4, "info", "99/99");
	WITH(SOL_SOCKET, 99, info, 4, "info", "SOL_SOCKET/99");
	WITH(IPPROTO_UDP, UDP_SEGMENT, (uint16_t){100}, 2, "one", "UDP_SEGMENT 100");
	WITH(IPPROTO_UDP, UDP_SEGMENT, (int){100}, 4, "one", "UDP_SEGMENT as an int");
	WITH(IPPROTO_UDP, UDP_SEGMENT, (uint16_t){4}, 2, "abcdefghij", "UDP_SEGMENT 4");
	line(message(s.fd, 100, 400, 0), "data dgram segments, the second");
	line(message(s.fd, 100, 400, 0), "data dgram segments, the third");
	line(message(s.fd, 100, 400, 0), "data dgram segments, no more");
	on(s.fd, IPPROTO_UDP, UDP_GRO);
	WITH(IPPROTO_UDP, UDP_SEGMENT, (uint16_t){4}, 2, "abcdefghij", "UDP_SEGMENT 4 to UDP_GRO");
	CALL(send(s.other, "x", 1, 0), "data dgram plain");
	await(s.fd, POLLIN);
	line(message(s.fd, 100, 20, MSG_PEEK), "data dgram little room for control");
	line(message(s.fd, 100, 0, MSG_PEEK), "data dgram no room for control");
	unmake(&s);
}

/* What the error queue says of a datagram that was sent. All but the bytes of the frame, of which only the length is always the same. */
static void sent_time(int fd, const char *what)
{
	char text[900];
	const char *said_of_it;

	said_of_it = message(fd, 0, 400, MSG_ERRQUEUE | MSG_TRUNC);
	snprintf(text, sizeof(text), "%s", said_of_it);
	line(text, "data stamps %s", what);
}

/* SO_TIMESTAMPING of what is sent. */
static void stamps(void)
{
	struct subject s = make(DGRAM_CONNECTED);
	uint32_t tx = SOF_TIMESTAMPING_TX_SOFTWARE, all = tx | SOF_TIMESTAMPING_TX_SCHED;
	uint32_t told = SOF_TIMESTAMPING_SOFTWARE, number = 4711;
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char frame[100] = {0};

#define STAMP(v, what)                                                                             \
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &(uint32_t){v}, 4), "data stamps %s", what)
	STAMP(told | tx, "on");
	epoll_ctl(ep, EPOLL_CTL_ADD, s.fd, &e);
	CALL(epoll_wait(ep, &e, 1, 0), "data stamps epoll before");
	CALL(send(s.fd, "hello", 5, 0), "data stamps send");
	await(s.fd, POLLERR);
	CALL(epoll_wait(ep, &e, 1, 0), "data stamps epoll");
	CALL(e.events, "data stamps epoll events");
	CALL(recv(s.fd, frame, sizeof(frame), MSG_ERRQUEUE | MSG_DONTWAIT), "data stamps frame");
	line(memcmp(frame + 12, "\x08\0\x45", 3) ? "no" : "yes", "data stamps frame begins as Ethernet");
	line(memcmp(frame + 42, "hello", 5) ? "no" : "yes", "data stamps frame has the payload");
	CALL(send(s.fd, "hello", 5, 0), "data stamps send again");
	await(s.fd, POLLERR);
	sent_time(s.fd, "entry");
	sent_time(s.fd, "no more");
	CALL(poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 0), "data stamps poll after");
	STAMP(told | all | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY, "numbered, without frame");
	CALL(send(s.fd, "one", 3, 0), "data stamps number 0");
	CALL(send(s.fd, "two", 3, 0), "data stamps number 1");
	await(s.fd, POLLERR);
	sent_time(s.fd, "number 0 queued");
	sent_time(s.fd, "number 0 sent");
	sent_time(s.fd, "number 1 queued");
	sent_time(s.fd, "number 1 sent");
	CALL(send_with(s.fd, SOL_SOCKET, TS_OPT_ID, &number, 4, "x"), "data stamps number in a message");
	sent_time(s.fd, "number in a message queued");
	sent_time(s.fd, "number in a message sent");
	CALL(send_with(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &(uint32_t){0}, 4, "x"), "data stamps none in a message");
	sent_time(s.fd, "none in a message");
	CALL(send_with(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &told, 4, "x"), "data stamps wrong in a message");
	STAMP(told, "off");
	CALL(send(s.fd, "hello", 5, 0), "data stamps send, off");
	sent_time(s.fd, "off");
	CALL(send_with(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &tx, 4, "x"), "data stamps one by a message");
	sent_time(s.fd, "one by a message");
	CALL(send_with(s.fd, SOL_SOCKET, TS_OPT_ID, &number, 4, "x"), "data stamps number not asked for");
	STAMP(tx, "not told");
	CALL(send(s.fd, "hello", 5, 0), "data stamps send, not told");
	sent_time(s.fd, "not told");
	STAMP(told | tx | SOF_TIMESTAMPING_OPT_CMSG, "with the header");
	on(s.fd, IPPROTO_IP, IP_PKTINFO);
	CALL(send(s.fd, "hello", 5, MSG_MORE), "data stamps in pieces");
	sent_time(s.fd, "in pieces, not yet");
	CALL(send(s.fd, "world", 5, 0), "data stamps in pieces, the last");
	sent_time(s.fd, "in pieces");
	close(ep);
	unmake(&s);
}

/* SO_RXQ_OVFL: with what came before the buffer was full, nothing; with what comes after, that something is missing. */
static void drops(void)
{
	struct subject s = make(DGRAM_CONNECTED);
	static const char big[2000];

	CALL(setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &(int){0}, sizeof(int)), "data drops SO_RCVBUF 0");
	on(s.fd, SOL_SOCKET, SO_RXQ_OVFL);
	for (int i = 0; i < 20; i++)
		send(s.other, big, sizeof(big), 0);
	await(s.fd, POLLIN);
	line(message(s.fd, 0, 400, 0), "data drops the first");
	while (recv(s.fd, (char[9]){0}, 9, MSG_DONTWAIT) >= 0)
		;
	CALL(send(s.other, "after", 5, 0), "data drops send after");
	await(s.fd, POLLIN);
	line(message(s.fd, 9, 400, 0), "data drops after");
	unmake(&s);
}

static void errors(void)
{
	struct subject s = make(DGRAM_NEW);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int v, spare = socket(AF_INET, SOCK_DGRAM, 0);

	a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CALL(bind(spare, (struct sockaddr *)&a, sizeof(a)), "data errqueue spare");
	getsockname(spare, (struct sockaddr *)&a, &len);
	close(spare);
	on(s.fd, IPPROTO_IP, IP_RECVERR);
	CALL(sendto(s.fd, "nobody home", 11, 0, (struct sockaddr *)&a, sizeof(a)),
	    "data errqueue send");
	await(s.fd, POLLERR);
	line(message(s.fd, 300, 400, 0), "data errqueue a plain read gets the error");
	line(message(s.fd, 300, 400, MSG_ERRQUEUE), "data errqueue the entry");
	line(message(s.fd, 300, 400, MSG_ERRQUEUE), "data errqueue no more");
	CALL(sendto(s.fd, "once more", 9, 0, (struct sockaddr *)&a, sizeof(a)),
	    "data errqueue send again");
	await(s.fd, POLLERR);
	line(message(s.fd, 4, 20, MSG_ERRQUEUE), "data errqueue cut short");
	len = sizeof(v);
	v = -1;
	getsockopt(s.fd, SOL_SOCKET, SO_ERROR, &v, &len);
	line(v ? strerrorname_np(v) : "none", "data errqueue SO_ERROR after the entry was taken");
	CALL(
	    poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 0), "data errqueue poll after");
	on(s.fd, IPPROTO_IP, IP_RECVERR);
	v = IP_PMTUDISC_DO;
	CALL(setsockopt(s.fd, IPPROTO_IP, IP_MTU_DISCOVER, &v, sizeof(v)), "data IP_PMTUDISC_DO");
	CALL(sendto(s.fd, (char[65507]){0}, 65507, 0, (struct sockaddr *)&a, sizeof(a)),
	    "data IP_PMTUDISC_DO on lo");
	unmake(&s);
}

static long out_of_band(int fd, const char *what)
{
	return send(fd, what, strlen(what), MSG_OOB | MSG_NOSIGNAL);
}

static const char *mark(int fd)
{
	int v = -1;

	return ioctl(fd, SIOCATMARK, &v) < 0 ? said(-1) : v ? "at the mark" : "not at the mark";
}

static void urgent(bool inlined)
{
	const char *n = inlined ? "inline" : "apart";
	struct subject s = make(STREAM_CONNECTED);
	int left = -1;

	if (inlined)
		on(s.fd, SOL_SOCKET, SO_OOBINLINE);
	line(message(s.fd, 9, 0, MSG_OOB), "data urgent %s: none yet", n);
	CALL(send(s.other, "abc", 3, 0), "data urgent %s before", n);
	CALL(out_of_band(s.other, "de!"), "data urgent %s send", n);
	await(s.fd, POLLPRI);
	CALL(send(s.other, "fg", 2, 0), "data urgent %s behind", n);
	while (left < (inlined ? 8 : 5) && ioctl(s.fd, FIONREAD, &left) == 0)
		if (!inlined)
			break;
	CALL(ioctl(s.fd, FIONREAD, &left) < 0 ? -1 : left, "data urgent %s FIONREAD", n);
	line(mark(s.fd), "data urgent %s first", n);
	line(message(s.fd, 9, 0, MSG_OOB | MSG_PEEK), "data urgent %s the byte, peeked", n);
	line(message(s.fd, 9, 0, MSG_OOB), "data urgent %s the byte", n);
	line(message(s.fd, 9, 0, MSG_OOB), "data urgent %s the byte once more", n);
	CALL(poll(&(struct pollfd){.fd = s.fd, .events = POLLPRI}, 1, 0),
	    "data urgent %s poll after the byte", n);
	line(message(s.fd, 99, 0, 0), "data urgent %s up to the mark", n);
	line(mark(s.fd), "data urgent %s then", n);
	await(s.fd, POLLIN);
	line(message(s.fd, 99, 0, 0), "data urgent %s behind the mark", n);
	line(mark(s.fd), "data urgent %s behind", n);
	line(message(s.fd, 9, 0, MSG_OOB), "data urgent %s the byte at last", n);
	CALL(out_of_band(s.other, "1"), "data urgent %s alone", n);
	await(s.fd, POLLPRI);
	line(mark(s.fd), "data urgent %s alone", n);
	line(message(s.fd, 9, 0, 0), "data urgent %s alone, read", n);
	unmake(&s);
}

static int peek_at(int fd)
{
	int v = -4711;
	socklen_t len = sizeof(v);

	return getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &v, &len) ? -1 : v;
}

/* SO_PEEK_OFF of a stream. */
static void peek_off(void)
{
	struct subject s = make(STREAM_CONNECTED);

	CALL(send(s.other, "abcdefghij", 10, 0), "data peek off send");
	while (recv(s.fd, (char[20]){0}, 20, MSG_PEEK) < 10)
		;
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_PEEK_OFF, &(int){2}, sizeof(int)), "data peek off 2");
	line(message(s.fd, 3, 0, MSG_PEEK), "data peek off from 2");
	CALL(peek_at(s.fd), "data peek off moved on");
	line(message(s.fd, 3, 0, MSG_PEEK), "data peek off from 5");
	line(message(s.fd, 4, 0, 0), "data peek off, four read");
	CALL(peek_at(s.fd), "data peek off moved back");
	line(message(s.fd, 9, 0, MSG_PEEK), "data peek off the rest");
	line(message(s.fd, 9, 0, MSG_PEEK), "data peek off no more");
	CALL(poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 0), "data peek off poll");
	line(message(s.fd, 9, 0, 0), "data peek off all read");
	CALL(peek_at(s.fd), "data peek off at the start");
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int)), "data peek off, off");
	CALL(send(s.other, "abc", 3, 0), "data peek off send again");
	await(s.fd, POLLIN);
	line(message(s.fd, 9, 0, MSG_PEEK), "data peek off, off: from the start");
	line(message(s.fd, 9, 0, MSG_PEEK), "data peek off, off: again");
	unmake(&s);
}

/* Of datagrams: it goes through all that wait. */
static void peek_off_dgram(void)
{
	static const struct {
		size_t room;
		int flags;
	} call[] = {{3, MSG_PEEK}, {4, MSG_PEEK}, {9, MSG_PEEK}, {9, MSG_PEEK | MSG_TRUNC},
	    {9, MSG_PEEK}, {9, MSG_PEEK | MSG_DONTWAIT}, {2, 0}, {9, MSG_PEEK}, {9, 0},
	    {2, MSG_PEEK | MSG_TRUNC}, {9, 0}, {9, MSG_PEEK | MSG_DONTWAIT}};
	struct subject s = make(DGRAM_CONNECTED);

	CALL(setsockopt(s.fd, SOL_SOCKET, SO_PEEK_OFF, &(int){2}, sizeof(int)),
	    "data dgram peek off 2");
	send(s.other, "abcdefgh", 8, 0);
	send(s.other, "ijk", 3, 0);
	send(s.other, "lmnop", 5, 0);
	for (size_t i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
		line(message(s.fd, call[i].room, 0, call[i].flags),
		    "data dgram peek off: call %zu, room for %zu, flags %#x", i, call[i].room,
		    (unsigned)call[i].flags);
		CALL(peek_at(s.fd), "data dgram peek off: after call %zu", i);
	}
	CALL(poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 0),
	    "data dgram peek off: poll");
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_PEEK_OFF, &(int){-1}, sizeof(int)),
	    "data dgram peek off, off");
	unmake(&s);
}

static void stream_flags(void)
{
	struct subject s = make(STREAM_DATA);

	line(message(s.fd, 3, 0, MSG_PEEK), "data stream peek");
	line(message(s.fd, 99, 0, MSG_PEEK | MSG_WAITALL),
	    "data stream peek for more than there is");
	line(message(s.fd, 2, 0, MSG_TRUNC), "data stream two thrown away");
	line(message(s.fd, 99, 0, 0), "data stream the rest");
	on(s.fd, SOL_SOCKET, SO_TIMESTAMP);
	do { /* the kernel begins to take times a little later */
		if (send(s.other, "x", 1, 0) != 1)
			exit(2);
		await(s.fd, POLLIN);
	} while (!strstr(message(s.fd, 9, 400, 0), "[1 "));
	on(s.fd, IPPROTO_TCP, TCP_INQ);
	CALL(send(s.other, "hello", 5, 0), "data stream send");
	await(s.fd, POLLIN);
	line(message(s.fd, 3, 400, 0), "data stream with its time");
	line(message(s.fd, 3, 20, 0), "data stream, little room for control");
	CALL(send(s.other, "end", 3, 0), "data stream send");
	CALL(shutdown(s.other, SHUT_WR), "data stream shutdown");
	await(s.fd, POLLRDHUP);
	line(message(s.fd, 99, 400, 0), "data stream, its end counts as one byte more");
	unmake(&s);
	peek_off();
	peek_off_dgram();
	s = make(STREAM_CONNECTED);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_RCVLOWAT, &(int){4}, sizeof(int)),
	    "data stream SO_RCVLOWAT 4");
	CALL(send(s.other, "abc", 3, 0), "data stream three");
	while (ioctl(s.fd, FIONREAD, &(int){0}) == 0 &&
	       recv(s.fd, (char[9]){0}, 9, MSG_PEEK | MSG_DONTWAIT) < 3)
		;
	CALL(poll(&(struct pollfd){.fd = s.fd, .events = POLLIN}, 1, 0),
	    "data stream poll at three of four");
	CALL(send(s.other, "d", 1, 0), "data stream the fourth");
	await(s.fd, POLLIN);
	line(message(s.fd, 99, 0, 0), "data stream all four");
	unmake(&s);
}

/* Messages that are not as they should be, on a connected stream and a datagram socket with data.
 */
static void malformed(enum state st)
{
	static struct iovec many[1025], one[1];
	static char byte[1], control[64];
	const char *n = state_name[st];
	struct subject s = make(st);
	struct msghdr m;
	struct mmsghdr mm[2] = {{.msg_hdr = {.msg_iov = one, .msg_iovlen = 1}},
	    {.msg_hdr = {.msg_iov = one, .msg_iovlen = 1}}};
	struct cmsghdr c = {.cmsg_len = 4};

	one[0] = (struct iovec){byte, 1};
	for (int i = 0; i < 1025; i++)
		many[i] = one[0];
#define SEND(what, ...)                                                                            \
	m = (struct msghdr){__VA_ARGS__},                                                          \
	CALL(sendmsg(s.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT), "data sendmsg %s %s", what, n)
#define RECV(what, ...)                                                                            \
	m = (struct msghdr){__VA_ARGS__},                                                          \
	CALL(recvmsg(s.fd, &m, MSG_PEEK | MSG_DONTWAIT), "data recvmsg %s %s", what, n)
	SEND("no buffers", .msg_iovlen = 0);
	SEND("1024 buffers", .msg_iov = many, .msg_iovlen = 1024);
	SEND("1025 buffers", .msg_iov = many, .msg_iovlen = 1025);
	SEND("control of 1 byte", .msg_iov = one, .msg_iovlen = 1, .msg_control = control,
	    .msg_controllen = 1);
	memcpy(control, &c, sizeof(c));
	SEND("a control message too short for itself", .msg_iov = one, .msg_iovlen = 1,
	    .msg_control = control, .msg_controllen = sizeof(control));
	c = (struct cmsghdr){.cmsg_len = 1000, .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL};
	memcpy(control, &c, sizeof(c));
	SEND("a control message too long for the rest", .msg_iov = one, .msg_iovlen = 1,
	    .msg_control = control, .msg_controllen = sizeof(control));
	SEND("a name without length", .msg_iov = one, .msg_iovlen = 1, .msg_name = &s.at);
	SEND("flags in the header", .msg_iov = one, .msg_iovlen = 1, .msg_flags = MSG_OOB);
	RECV("no buffers", .msg_iovlen = 0);
	RECV("1024 buffers", .msg_iov = many, .msg_iovlen = 1024);
	RECV("1025 buffers", .msg_iov = many, .msg_iovlen = 1025);
	RECV("control of 1 byte", .msg_iov = one, .msg_iovlen = 1, .msg_control = control,
	    .msg_controllen = 1);
	CALL(sendmmsg(s.fd, mm, 2, MSG_NOSIGNAL | MSG_DONTWAIT), "data sendmmsg %s", n);
	CALL(sendmmsg(s.fd, mm, 0, 0), "data sendmmsg of none %s", n);
	CALL(recvmmsg(s.fd, mm, 2, MSG_DONTWAIT, NULL), "data recvmmsg %s", n);
	CALL(recvmmsg(s.fd, mm, 0, MSG_DONTWAIT, NULL), "data recvmmsg of none %s", n);
	CALL(recvmmsg(s.fd, mm, 2, MSG_DONTWAIT, &(struct timespec){.tv_nsec = -1}),
	    "data recvmmsg, wrong time %s", n);
	unmake(&s);
}

void do_data(void)
{
	malformed(STREAM_DATA);
	malformed(DGRAM_DATA);
	malformed(STREAM_NEW);
	malformed(DGRAM_NEW);
	dgram_flags();
	dgram_control();
	errors();
	stamps();
	drops();
	urgent(false);
	urgent(true);
	stream_flags();
}
