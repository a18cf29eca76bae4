/*
 * Memory that is not there: EFAULT, in every call that takes a pointer, and as late as the kernel looks. See pair.h.
 */
#include "tests/apps/pair.h"
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

static char *nothing, *constant; /* a page that may not be touched, and one that may only be read */
static void *bad[4];		 /* what no call can read */
#define EACH_BAD(p) for (size_t i_ = 0; i_ < 4 && (p = bad[i_], true); i_++)

static void make_bad(void)
{
	char *run =
	    mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(run != MAP_FAILED && constant != MAP_FAILED);
	nothing = run + 4096;
	CHECK(mprotect(nothing, 4096, PROT_NONE) == 0);
	CHECK(munmap(run + 2 * 4096, 4096) == 0);
	bad[0] = (void *)16;
	bad[1] = (void *)-1;
	bad[2] = nothing;
	bad[3] = run + 2 * 4096;
}

static void names_in(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0);
	void *p;

	EACH_BAD(p)
	{
		FAILS(bind(s, p, sizeof(struct sockaddr_in)), EFAULT);
		FAILS(connect(s, p, sizeof(struct sockaddr_in)), EFAULT);
		FAILS(connect(u, p, sizeof(struct sockaddr_in)), EFAULT);
		FAILS(sendto(u, "x", 1, 0, p, sizeof(struct sockaddr_in)), EFAULT);
	}
	FAILS(bind(s, p, sizeof(struct sockaddr_storage) + 1), EINVAL);
	FAILS(bind(s, p, 0), EINVAL);
	FAILS(connect(s, NULL, sizeof(struct sockaddr_in)), EFAULT);
	close(s);
	close(u);
}

static void names_out(void)
{
	struct sockaddr_in at;
	socklen_t len, zero = 0;
	int l = tcp_listener(&at), s = socket(AF_INET, SOCK_STREAM, 0), p[2], c;
	void *b;

	make_pair(p);
	EACH_BAD(b)
	{
		len = sizeof(at);
		FAILS(getsockname(l, b, &len), EFAULT);
		FAILS(getsockname(l, (struct sockaddr *)&at, b), EFAULT);
		FAILS(getpeername(p[0], b, &len), EFAULT);
		FAILS(getpeername(p[0], (struct sockaddr *)&at, b), EFAULT);
		FAILS(getpeername(s, b, &len), ENOTCONN);
	}
	FAILS(getsockname(l, (struct sockaddr *)constant, &len), EFAULT);
	CHECK(getsockname(l, (struct sockaddr *)nothing, &zero) == 0 && zero == sizeof(at));
	/* The connection is lost: it was taken before the name was looked at. */
	len = sizeof(at);
	CHECK(getsockname(l, (struct sockaddr *)&at, &len) == 0);
	CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	FAILS(accept(l, (struct sockaddr *)nothing, &len), EFAULT);
	CHECK(wait_for(s, POLLIN, 5000) >= 0 && read(s, &c, 1) == 0);
	close(s);
	s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0);
	FAILS(accept4(l, (struct sockaddr *)&at, (socklen_t *)(void *)nothing, 0), EFAULT);
	fcntl(l, F_SETFL, O_NONBLOCK);
	FAILS(accept(l, (struct sockaddr *)nothing, (socklen_t *)(void *)nothing), EAGAIN);
	close(s);
	close(l);
	close_pair(p);
}

static void options(void)
{
	int p[2], v = 1;
	socklen_t len;
	void *b;

	make_pair(p);
	EACH_BAD(b)
	{
		len = sizeof(v);
		FAILS(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, b, sizeof(v)), EFAULT);
		FAILS(setsockopt(p[0], SOL_SOCKET, SO_LINGER, b, sizeof(struct linger)), EFAULT);
		FAILS(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, b, sizeof(struct timeval)), EFAULT);
		FAILS(getsockopt(p[0], SOL_SOCKET, SO_TYPE, b, &len), EFAULT);
		FAILS(getsockopt(p[0], SOL_SOCKET, SO_SNDBUF, b, &len), EFAULT);
		FAILS(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &v, b), EFAULT);
		if (over_tcp) {
			FAILS(setsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, b, sizeof(v)), EFAULT);
			FAILS(setsockopt(p[0], IPPROTO_IP, IP_TTL, b, sizeof(v)), EFAULT);
			FAILS(setsockopt(p[0], IPPROTO_IP, IP_RECVTTL, b, sizeof(v)), EFAULT);
			FAILS(getsockopt(p[0], IPPROTO_TCP, TCP_NODELAY, b, &len), EFAULT);
			FAILS(getsockopt(p[0], IPPROTO_TCP, TCP_INFO, b, &(socklen_t){64}), EFAULT);
			FAILS(getsockopt(p[0], IPPROTO_IP, IP_RECVTTL, b, &len), EFAULT);
		}
	}
	len = 0;
	CHECK(getsockopt(p[0], SOL_SOCKET, SO_TYPE, nothing, &len) == 0);
	close_pair(p);
}

static void requests(void)
{
	struct ifconf c = {.ifc_len = 400, .ifc_buf = nothing};
	int p[2];
	void *b;

	make_pair(p);
	CHECK(write(p[1], "x", 1) == 1 && wait_for(p[0], POLLIN, 5000) >= 0);
	EACH_BAD(b)
	{
		FAILS(ioctl(p[0], FIONREAD, b), EFAULT);
		FAILS(ioctl(p[0], FIONBIO, b), EFAULT);
		FAILS(ioctl(p[0], FIOASYNC, b), EFAULT);
		FAILS(ioctl(p[0], TIOCOUTQ, b), EFAULT);
		if (over_tcp) {
			FAILS(ioctl(p[0], FIOGETOWN, b), EFAULT);
			FAILS(ioctl(p[0], FIOSETOWN, b), EFAULT);
			FAILS(ioctl(p[0], SIOCATMARK, b), EFAULT);
			FAILS(ioctl(p[0], SIOCGIFCONF, b), EFAULT);
			FAILS(ioctl(p[0], SIOCGIFFLAGS, b), EFAULT);
			FAILS(ioctl(p[0], SIOCSIFFLAGS, b), EFAULT);
		}
	}
	if (over_tcp)
		FAILS(ioctl(p[0], SIOCGIFCONF, &c), EFAULT);
	close_pair(p);
}

/* What does not get through stays in the stream, and nothing of what cannot be sent is. */
static void stream_payload(void)
{
	char a[4];
	struct iovec v[2] = {{a, 2}, {nothing, 2}}, none = {nothing, 4};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	void *b;
	int p[2];

	make_pair(p);
	EACH_BAD(b)
	{
		FAILS(write(p[0], b, 4), EFAULT);
		FAILS(send(p[0], b, 4, 0), EFAULT);
		FAILS(writev(p[0], b, 1), EFAULT);
		FAILS(readv(p[0], b, 1), EFAULT);
		FAILS(sendmsg(p[0], b, 0), EFAULT);
		FAILS(recvmsg(p[0], b, 0), EFAULT);
		FAILS(sendmmsg(p[0], b, 1, 0), EFAULT);
		m.msg_iov = b;
		FAILS(sendmsg(p[0], &m, 0), EFAULT);
		FAILS(recvmsg(p[0], &m, 0), EFAULT);
	}
	FAILS(recv(p[0], nothing, 4, MSG_DONTWAIT), EAGAIN);
	none.iov_len = 0;
	CHECK(writev(p[0], &none, 1) == 0);
	CHECK(write(p[0], "abcd", 4) == 4 && wait_for(p[1], POLLIN, 5000) >= 0);
	EACH_BAD(b)
	{
		FAILS(read(p[1], b, 4), EFAULT);
		FAILS(recv(p[1], b, 4, 0), EFAULT);
		FAILS(recv(p[1], b, 4, MSG_PEEK), EFAULT);
	}
	FAILS(read(p[1], constant, 4), EFAULT);
	FAILS(readv(p[1], v, 2), EFAULT);
	FAILS(writev(p[0], v, 2), EFAULT);
	v[0] = (struct iovec){a, 4};
	CHECK(readv(p[1], v, 2) == 4 && !memcmp(a, "abcd", 4));
	FAILS(recv(p[1], a, 4, MSG_DONTWAIT), EAGAIN);
	CHECK(write(p[0], nothing, 0) == 0);
	CHECK(write(p[0], constant, 1) == 1);
	close_pair(p);
}

/* What was given back to the system, or forbidden, since it was used last. */
static void memory_goes(void)
{
	char *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int p[2];

	make_pair(p);
	CHECK(m != MAP_FAILED);
	CHECK(write(p[0], m, 8192) == 8192 && recv(p[1], m, 8192, MSG_WAITALL) == 8192);
	CHECK(write(p[0], "abcd", 4) == 4 && wait_for(p[1], POLLIN, 5000) >= 0);
	CHECK(mprotect(m, 4096, PROT_READ) == 0);
	FAILS(read(p[1], m, 4), EFAULT);
	CHECK(mprotect(m, 4096, PROT_NONE) == 0);
	FAILS(read(p[1], m, 4), EFAULT);
	FAILS(write(p[1], m, 4), EFAULT);
	CHECK(munmap(m + 4096, 4096) == 0);
	FAILS(read(p[1], m + 4096, 4), EFAULT);
	CHECK(mmap(m, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		  0) == m);
	CHECK(read(p[1], m + 2, 8000) == 4 && !memcmp(m + 2, "abcd", 4));
	CHECK(mremap(m, 8192, 4096, 0) == m);
	FAILS(write(p[1], m + 4096, 4), EFAULT);
	CHECK(mmap(m, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == m);
	FAILS(write(p[1], m, 4), EFAULT);
	munmap(m, 4096);
	close_pair(p);
}

/* Two connected datagram sockets. */
static void datagram_pair(int p[2])
{
	struct sockaddr_in at = address, me = address;
	socklen_t len = sizeof(at);

	if (!over_tcp) {
		CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, p) == 0);
		return;
	}
	p[0] = socket(AF_INET, SOCK_DGRAM, 0);
	p[1] = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(bind(p[1], (struct sockaddr *)&at, sizeof(at)) == 0 &&
	      getsockname(p[1], (struct sockaddr *)&at, &len) == 0);
	CHECK(bind(p[0], (struct sockaddr *)&me, sizeof(me)) == 0 &&
	      connect(p[0], (struct sockaddr *)&at, sizeof(at)) == 0);
	len = sizeof(me);
	CHECK(getsockname(p[0], (struct sockaddr *)&me, &len) == 0 &&
	      connect(p[1], (struct sockaddr *)&me, sizeof(me)) == 0);
}

/* A datagram that cannot be sent is not; one that cannot be taken is gone. */
static void datagrams(void)
{
	char a[16];
	struct iovec v[2] = {{a, 2}, {nothing, 2}}, good = {a, sizeof(a)};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	socklen_t len = sizeof(struct sockaddr_in);
	int p[2];

	datagram_pair(p);
	memcpy(a, "ab", 2);
	FAILS(send(p[0], nothing, 4, 0), EFAULT);
	FAILS(sendmsg(p[0], &m, 0), EFAULT);
	m = (struct msghdr){
	    .msg_iov = &good, .msg_iovlen = 1, .msg_control = nothing, .msg_controllen = 64};
	FAILS(sendmsg(p[0], &m, 0), EFAULT);
	m = (struct msghdr){
	    .msg_iov = &good, .msg_iovlen = 1, .msg_name = nothing, .msg_namelen = 16};
	FAILS(sendmsg(p[0], &m, 0), EFAULT);
	CHECK(send(p[0], "one", 3, 0) == 3 && send(p[0], "two", 3, 0) == 3 &&
	      send(p[0], "three", 5, 0) == 5);
	CHECK(send(p[0], "four", 4, 0) == 4 && wait_for(p[1], POLLIN, 5000) >= 0);
	FAILS(recv(p[1], nothing, 4, MSG_PEEK), EFAULT);
	CHECK(recv(p[1], a, sizeof(a), MSG_PEEK) == 3 && !memcmp(a, "one", 3));
	FAILS(recv(p[1], nothing, 4, 0), EFAULT);
	if (over_tcp) {
		FAILS(recvfrom(p[1], a, sizeof(a), 0, (struct sockaddr *)nothing, &len), EFAULT);
		FAILS(recvfrom(p[1], a, sizeof(a), 0, (struct sockaddr *)a,
			  (socklen_t *)(void *)nothing),
		    EFAULT);
	} else {
		CHECK(read(p[1], a, sizeof(a)) == 3 && read(p[1], a, sizeof(a)) == 5);
	}
	CHECK(recv(p[1], a, sizeof(a), 0) == 4 && !memcmp(a, "four", 4));
	close_pair(p);
}

static void many_messages(void)
{
	char a[8];
	struct iovec v = {a, 4};
	struct mmsghdr *mm = (struct mmsghdr *)(void *)(nothing - sizeof(*mm));
	int p[2];

	datagram_pair(p);
	*mm = (struct mmsghdr){.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	CHECK(sendmmsg(p[0], mm, 2, 0) == 1 && mm->msg_len == 4);
	CHECK(sendmmsg(p[0], mm, 2, 0) == 1);
	CHECK(wait_for(p[1], POLLIN, 5000) >= 0);
	FAILS(recvmmsg(p[1], mm, 1, 0, (struct timespec *)(void *)nothing), EFAULT);
	CHECK(recvmmsg(p[1], mm, 2, MSG_DONTWAIT, NULL) == 1 && mm->msg_len == 4);
	FAILS(recvmmsg(p[1], mm + 1, 1, MSG_DONTWAIT, NULL), EFAULT);
	close_pair(p);
}

static void waits(void)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT};
	struct pollfd f;
	struct timespec none = {0, 0};
	int p[2], e = epoll_create1(0);
	fd_set in;
	void *b;

	make_pair(p);
	f = (struct pollfd){.fd = p[0], .events = POLLOUT};
	FD_ZERO(&in);
	FD_SET(p[0], &in);
	CHECK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev) == 0);
	EACH_BAD(b)
	{
		FAILS(poll(b, 1, 0), EFAULT);
		FAILS(ppoll(b, 1, &none, NULL), EFAULT);
		FAILS(ppoll(&f, 1, &none, b), EFAULT);
		FAILS(select(p[0] + 1, b, NULL, NULL, NULL), EFAULT);
		FAILS(select(p[0] + 1, &in, b, NULL, NULL), EFAULT);
		FAILS(select(p[0] + 1, &in, NULL, b, NULL), EFAULT);
		FAILS(epoll_ctl(e, EPOLL_CTL_MOD, p[0], b), EFAULT);
		FAILS(epoll_ctl(e, EPOLL_CTL_ADD, p[1], b), EFAULT);
		FAILS(epoll_wait(e, b, 1, 0), EFAULT);
		FAILS(epoll_pwait(e, &ev, 1, 0, b), EFAULT);
		FAILS(syscall(SYS_ppoll, &f, 1, b, NULL, 8), EFAULT);
		FAILS(syscall(SYS_select, p[0] + 1, &in, NULL, NULL, b), EFAULT);
		FAILS(syscall(SYS_epoll_pwait2, e, &ev, 1, b, NULL, 8), EFAULT);
		FAILS(syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, b, NULL), EFAULT);
		FAILS(syscall(SYS_pselect6, p[0] + 1, &in, NULL, NULL, NULL, b), EFAULT);
	}
	FAILS(epoll_wait(e, (struct epoll_event *)(void *)constant, 1, 0), EFAULT);
	CHECK(epoll_wait(e, &ev, 1, 0) == 1);
	close(e);
	close_pair(p);
}

static void files_and_rights(void)
{
	char path[] = "/tmp/test_fault.XXXXXX";
	int p[2], f = mkstemp(path), u[2];
	struct msghdr m = {.msg_control = nothing, .msg_controllen = 64};
	void *b;

	make_pair(p);
	CHECK(f >= 0 && unlink(path) == 0 && write(f, "file", 4) == 4);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, u) == 0);
	EACH_BAD(b)
	{
		FAILS(sendfile(p[0], f, b, 4), EFAULT);
		FAILS(sendmsg(u[0], b, 0), EFAULT);
		FAILS(sendmmsg(u[0], b, 1, 0), EFAULT);
		FAILS(recvmsg(u[0], b, 0), EFAULT);
	}
	FAILS(sendmsg(u[0], &m, 0), EFAULT);
	close(f);
	close_pair(u);
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	make_bad();
	RUN(options);
	RUN(requests);
	RUN(stream_payload);
	RUN(memory_goes);
	RUN(datagrams);
	RUN(many_messages);
	RUN(waits);
	RUN(files_and_rights);
	if (!over_tcp)
		return;
	RUN(names_in);
	RUN(names_out);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
