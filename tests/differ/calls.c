/* The errno of every socket call in every state. */
#include "tests/differ/differ.h"
#include <linux/sockios.h>
#include <signal.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

static struct sockaddr_in addr(const char *host, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

static struct sockaddr_in6 addr6(const char *host, uint16_t port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	inet_pton(AF_INET6, host, &a.sin6_addr);
	return a;
}

/* ---- socket() */

void do_creation(void)
{
	static const int families[] = {
	    AF_INET, AF_INET6, AF_PACKET, AF_UNSPEC, -1, 99, AF_APPLETALK};
	static const int types[] = {0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET,
	    SOCK_DCCP, 11, -1, SOCK_STREAM | SOCK_NONBLOCK, SOCK_STREAM | SOCK_CLOEXEC,
	    SOCK_STREAM | 0x100, SOCK_DGRAM | 0x10};
	static const int protocols[] = {
	    0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_SCTP, 255, 256, 261, 263, -1};

	for (size_t f = 0; f < sizeof(families) / sizeof(int); f++)
		for (size_t t = 0; t < sizeof(types) / sizeof(int); t++)
			for (size_t p = 0; p < sizeof(protocols) / sizeof(int); p++) {
				int fd = socket(families[f], types[t], protocols[p]);
				const char *answer = fd < 0 ? said(fd) : "a socket";
				bool ping = types[t] == SOCK_DGRAM && protocols[p] == IPPROTO_ICMP;

				if (ping)
					answer = "ping socket: by sysctl";
				line(answer, "creation socket(%d, %#x, %d)", families[f],
				    (unsigned)types[t], protocols[p]);
				if (fd >= 0 && !ping) {
					line(fcntl(fd, F_GETFL) & O_NONBLOCK ? "nonblock" : "block",
					    "creation socket(%d, %#x, %d) flags", families[f],
					    (unsigned)types[t], protocols[p]);
					line(fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec" : "stays",
					    "creation socket(%d, %#x, %d) at exec", families[f],
					    (unsigned)types[t], protocols[p]);
				}
				if (fd >= 0)
					close(fd);
			}
}

/* ---- names */

static int do_bind(int fd, const void *a, socklen_t len)
{
	return bind(fd, a, len);
}

static void names_on(enum state st)
{
	struct sockaddr_in own = addr("127.0.0.1", 0), foreign = addr("192.0.2.1", 0),
			   group = addr("224.0.0.99", 0), bad = own, any = addr("0.0.0.0", 0);
	struct sockaddr_in6 six = addr6("::", 0), mapped = addr6("::ffff:127.0.0.1", 0);
	const char *n = state_name[st];
	struct subject s;

	bad.sin_family = 77;
#define BIND(a, len, what)                                                                         \
	s = make(st), CALL(do_bind(s.fd, &(a), len), "call bind %s %s", what, n), unmake(&s)
	BIND(own, sizeof(own), "loopback");
	BIND(foreign, sizeof(own), "a foreign address");
	BIND(group, sizeof(own), "a group");
	BIND(own, sizeof(own) - 1, "too short");
	BIND(own, 0, "length 0");
	BIND(own, 200, "length 200");
	BIND(own, 1, "length 1");
	BIND(bad, sizeof(bad), "family 77");
	BIND(six, sizeof(six), "::");
	BIND(mapped, sizeof(mapped), "::ffff:127.0.0.1");
	any.sin_family = AF_UNSPEC;
	BIND(any, sizeof(any), "AF_UNSPEC 0.0.0.0");
	own.sin_family = AF_UNSPEC;
	BIND(own, sizeof(own), "AF_UNSPEC 127.0.0.1");
	s = make(st);
	if (!is_v6(st) && s.other < 0 && !is_dgram(st) && st != STREAM_REFUSED) {
		struct sockaddr_in taken = s.at;
		struct subject l = make(STREAM_LISTENING);

		taken.sin_port = l.at.sin_port;
		CALL(bind(s.fd, (struct sockaddr *)&taken, sizeof(taken)),
		    "call bind a port that is taken %s", n);
		unmake(&l);
	}
	unmake(&s);
}

static void tell_name(int fd, bool peer, socklen_t room, const char *n)
{
	struct sockaddr_storage ss = {.ss_family = 99};
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	char text[100] = "", host[50] = "-";
	socklen_t len = room;
	int ret = peer ? getpeername(fd, (struct sockaddr *)&ss, &len)
		       : getsockname(fd, (struct sockaddr *)&ss, &len);

	if (ret < 0) {
		line(said(ret), "call %s room %d %s", peer ? "getpeername" : "getsockname",
		    (int)room, n);
		return;
	}
	if (room >= sizeof(*in6))
		inet_ntop(ss.ss_family,
		    ss.ss_family == AF_INET ? (void *)&in->sin_addr : (void *)&in6->sin6_addr, host,
		    sizeof(host));
	snprintf(text, sizeof(text), "length %d %s %s", (int)len, host,
	    room < sizeof(*in6) ? ""
	    : in->sin_port	? "port"
				: "no port");
	line(text, "call %s room %d %s", peer ? "getpeername" : "getsockname", (int)room, n);
}

static void connects_on(enum state st)
{
	struct sockaddr_in a = addr("127.0.0.1", 9), bad = a, zero = addr("0.0.0.0", 9),
			   everybody = addr("127.255.255.255", 9), none = addr("127.0.0.1", 0);
	struct sockaddr_in6 six = addr6("::ffff:127.0.0.1", 9);
	const char *n = state_name[st];
	struct subject s;

	bad.sin_family = 77;
#define CONNECT(a, len, what)                                                                      \
	s = make(st), fcntl(s.fd, F_SETFL, O_RDWR),                                                \
	CALL(connect(s.fd, (struct sockaddr *)&(a), len), "call connect %s %s", what, n),          \
	unmake(&s)
	CONNECT(a, sizeof(a), "to nobody");
	CONNECT(a, sizeof(a) - 1, "too short");
	CONNECT(a, 1, "length 1");
	CONNECT(bad, sizeof(bad), "family 77");
	CONNECT(zero, sizeof(zero), "to 0.0.0.0");
	CONNECT(everybody, sizeof(everybody), "to everybody");
	CONNECT(none, sizeof(none), "to port 0");
	CONNECT(six, sizeof(six), "to ::ffff:127.0.0.1");
	bad.sin_family = AF_UNSPEC;
	CONNECT(bad, sizeof(bad), "AF_UNSPEC");
	CONNECT(bad, 2, "AF_UNSPEC, length 2");
	s = make(st);
	CALL(connect(s.fd, (struct sockaddr *)&bad, sizeof(bad)),
	    "call connect AF_UNSPEC, and then, %s", n);
	tell_name(s.fd, true, 128, n);
	CALL(send(s.fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT), "call send after AF_UNSPEC %s", n);
	unmake(&s);
}

/* ---- all the rest, each on a fresh socket */

static int number(int fd, unsigned long req)
{
	int v = -7;

	return ioctl(fd, req, &v) < 0 ? -1 : v;
}

static long accept_closed(int fd, int flags)
{
	int c = flags < 0 ? accept(fd, NULL, NULL) : accept4(fd, NULL, NULL, flags);

	return c < 0 ? -1 : (close(c), 0);
}

static long receive(int fd, int flags)
{
	char buf[100];

	return recv(fd, buf, sizeof(buf), flags);
}

static long vector(int fd, bool out)
{
	static char ab[] = "ab", cd[] = "cd";
	struct iovec v[2] = {{ab, 2}, {cd, 2}};

	return out ? writev(fd, v, 2) : readv(fd, (struct iovec[1]){{(char[8]){0}, 8}}, 1);
}

static long through_file(int fd, bool out)
{
	int f = open(out ? "/proc/self/exe" : "/dev/null", (out ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
	long ret = sendfile(out ? fd : f, out ? f : fd, NULL, 10);
	int e = errno;

	close(f);
	errno = e;
	return ret;
}

/* A message whose name has a negative length. */
static long misnamed(int fd, bool out)
{
	struct sockaddr_in name = addr("127.0.0.1", 9);
	struct iovec iov = {(char[8]){0}, 8};
	struct msghdr m = {.msg_name = &name, .msg_namelen = (socklen_t)-1, .msg_iov = &iov, .msg_iovlen = 1};

	return out ? sendmsg(fd, &m, MSG_NOSIGNAL) : recvmsg(fd, &m, 0);
}

static long spliced(int fd, bool out)
{
	int p[2];
	long ret;
	int e;

	if (pipe(p) < 0)
		return -1;
	if (out && write(p[1], "abc", 3) != 3)
		return -1;
	ret = out ? splice(p[0], NULL, fd, NULL, 3, SPLICE_F_NONBLOCK)
		  : splice(fd, NULL, p[1], NULL, 3, SPLICE_F_NONBLOCK);
	e = errno;
	close(p[0]);
	close(p[1]);
	errno = e;
	return ret;
}

static long send_to(int fd, const struct sockaddr_in *to, socklen_t len, int flags)
{
	return sendto(
	    fd, "x", 1, flags | MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)to, len);
}

#define ON(expr, what)                                                                             \
	(s = make(st), fcntl(s.fd, F_SETFL, O_RDWR | O_NONBLOCK),                                  \
	    CALL(expr, "call %s %s", what, n), unmake(&s))

static void moves_on(enum state st)
{
	struct sockaddr_in nobody = addr("127.0.0.1", 9), zero = addr("127.0.0.1", 0);
	volatile int minus_one = -1;
	const char *n = state_name[st];
	struct subject s;

	ON(send(s.fd, "x", 1, MSG_NOSIGNAL), "send");
	ON(send(s.fd, "", 0, MSG_NOSIGNAL), "send nothing");
	ON(send(s.fd, "x", 1, MSG_NOSIGNAL | MSG_OOB), "send MSG_OOB");
	ON(send(s.fd, "x", 1, MSG_NOSIGNAL | 0x40000000), "send, flag 0x40000000");
	ON(send(s.fd, "x", 1, MSG_NOSIGNAL | MSG_MORE), "send MSG_MORE");
	ON(send_to(s.fd, &nobody, sizeof(nobody), 0), "sendto nobody");
	ON(send_to(s.fd, &nobody, 4, 0), "sendto, length 4");
	ON(send_to(s.fd, &nobody, 1, 0), "sendto, length 1");
	ON(send_to(s.fd, &zero, sizeof(zero), 0), "sendto port 0");
	ON(send_to(s.fd, &nobody, sizeof(nobody), MSG_DONTROUTE), "sendto MSG_DONTROUTE");
	ON(send_to(s.fd, &nobody, sizeof(nobody), MSG_CONFIRM), "sendto MSG_CONFIRM");
	ON(write(s.fd, "x", 0), "write nothing");
	ON(vector(s.fd, true), "writev");
	ON(misnamed(s.fd, true), "sendmsg, name of length -1");
	ON(misnamed(s.fd, false), "recvmsg, name of length -1");
	ON(receive(s.fd, 0), "recv");
	ON(recv(s.fd, NULL, 0, 0), "recv nothing");
	ON(receive(s.fd, MSG_PEEK), "recv MSG_PEEK");
	ON(receive(s.fd, MSG_TRUNC), "recv MSG_TRUNC");
	ON(receive(s.fd, MSG_OOB), "recv MSG_OOB");
	ON(receive(s.fd, MSG_ERRQUEUE), "recv MSG_ERRQUEUE");
	ON(receive(s.fd, MSG_WAITALL), "recv MSG_WAITALL");
	ON(receive(s.fd, 0x40000000), "recv, flag 0x40000000");
	ON(read(s.fd, NULL, 0), "read nothing");
	ON(vector(s.fd, false), "readv");
	ON(pread(s.fd, (char[4]){0}, 4, 0), "pread");
	ON(pwrite(s.fd, "x", 1, 0), "pwrite");
	ON(lseek(s.fd, 0, SEEK_CUR), "lseek");
	ON(through_file(s.fd, true), "sendfile to it");
	ON(through_file(s.fd, false), "sendfile from it");
	ON(spliced(s.fd, true), "splice to it");
	ON(spliced(s.fd, false), "splice from it");
	ON(readv(s.fd, NULL, minus_one), "readv of -1");
	ON(ftruncate(s.fd, 0), "ftruncate");
	ON(fsync(s.fd), "fsync");
}

static long select_on(int fd)
{
	fd_set r, w, x;
	struct timeval none = {0, 0};

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	if (select(fd + 1, &r, &w, &x, &none) < 0)
		return -1;
	return !!FD_ISSET(fd, &r) + 2 * !!FD_ISSET(fd, &w) + 4 * !!FD_ISSET(fd, &x);
}

static void states_on(enum state st)
{
	const char *n = state_name[st];
	struct subject s;
	struct stat sb;

	ON(listen(s.fd, 5), "listen");
	ON(listen(s.fd, -1), "listen -1");
	ON(accept_closed(s.fd, -1), "accept");
	ON(accept_closed(s.fd, SOCK_NONBLOCK | SOCK_CLOEXEC), "accept4");
	ON(accept_closed(s.fd, 0x1), "accept4, flag 1");
	ON(shutdown(s.fd, SHUT_RD), "shutdown RD");
	ON(shutdown(s.fd, SHUT_WR), "shutdown WR");
	ON(shutdown(s.fd, SHUT_RDWR), "shutdown RDWR");
	ON(shutdown(s.fd, 3), "shutdown 3");
	ON(shutdown(s.fd, -1), "shutdown -1");
	if (st != STREAM_EOF) /* then it is over sooner or later */
		ON((shutdown(s.fd, SHUT_WR), shutdown(s.fd, SHUT_WR)), "shutdown WR twice");
	ON((shutdown(s.fd, SHUT_RD), receive(s.fd, 0)), "recv after shutdown RD");
	ON((shutdown(s.fd, SHUT_WR), send(s.fd, "x", 1, MSG_NOSIGNAL)), "send after shutdown WR");
	ON(number(s.fd, FIONREAD), "ioctl FIONREAD");
	ON(number(s.fd, SIOCATMARK), "ioctl SIOCATMARK");
	ON(number(s.fd, FIOGETOWN), "ioctl FIOGETOWN");
	ON(number(s.fd, SIOCGPGRP), "ioctl SIOCGPGRP");
	ON(number(s.fd, FIONBIO), "ioctl FIONBIO");
	ON(number(s.fd, FIONCLEX), "ioctl FIONCLEX");
	ON(number(s.fd, 0x5401), "ioctl TCGETS");
	ON(number(s.fd, 0xdeadbeef), "ioctl 0xdeadbeef");
	ON(fcntl(s.fd, F_GETFL), "fcntl F_GETFL");
	ON(fcntl(s.fd, F_GETOWN), "fcntl F_GETOWN");
	ON((fcntl(s.fd, F_SETOWN, getpid()), fcntl(s.fd, F_GETOWN) == getpid()),
	    "fcntl F_SETOWN and back");
	ON((fcntl(s.fd, F_SETSIG, SIGUSR1), fcntl(s.fd, F_GETSIG)), "fcntl F_SETSIG and back");
	ON((fcntl(s.fd, F_SETFL, O_RDWR | O_NONBLOCK | O_APPEND), fcntl(s.fd, F_GETFL)),
	    "fcntl F_SETFL O_APPEND");
	ON(fcntl(s.fd, F_GETLK, &(struct flock){.l_type = F_RDLCK}), "fcntl F_GETLK");
	ON(fcntl(s.fd, 9999), "fcntl 9999");
	ON(fcntl(s.fd, F_DUPFD, -1), "fcntl F_DUPFD -1");
	ON(fcntl(s.fd, F_GETPIPE_SZ), "fcntl F_GETPIPE_SZ");
	ON((fstat(s.fd, &sb), S_ISSOCK(sb.st_mode)), "fstat");
	ON(select_on(s.fd), "select");
	s = make(st);
	tell_name(s.fd, false, 128, n);
	tell_name(s.fd, false, 3, n);
	tell_name(s.fd, false, (socklen_t)-1, n);
	tell_name(s.fd, true, 128, n);
	tell_name(s.fd, true, 3, n);
	unmake(&s);
	/* What was sent last is acknowledged sooner or later; of a connection that was none the
	 * kernel tells odd numbers. */
	if (st == STREAM_SHUT_WR || st == STREAM_REFUSED || st == STREAM_RESET)
		return;
	if (!is_dgram(st))
		ON(number(s.fd, SIOCOUTQNSD), "ioctl SIOCOUTQNSD");
	if (st != DGRAM_DATA && st != DGRAM_REFUSED)
		ON(number(s.fd, SIOCOUTQ), "ioctl SIOCOUTQ");
}

/* IP_BIND_ADDRESS_NO_PORT: the address now, the port with the peer. */
static void no_port(enum state st)
{
	struct subject s = make(st), l = make(is_dgram(st) ? DGRAM_BOUND : STREAM_LISTENING);
	struct sockaddr_in own = addr("127.0.0.1", 0), to = own;
	socklen_t len = sizeof(to);
	char name[40];
	int one = 1;

	snprintf(name, sizeof(name), "no-port %s", state_name[st]);
	getsockname(l.fd, (struct sockaddr *)&to, &len);
	CALL(setsockopt(s.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)),
	    "call option %s", name);
	CALL(bind(s.fd, (struct sockaddr *)&own, sizeof(own)), "call bind %s", name);
	tell_name(s.fd, false, 128, name);
	CALL(connect(s.fd, (struct sockaddr *)&to, sizeof(to)), "call connect %s", name);
	strcat(name, " connected");
	tell_name(s.fd, false, 128, name);
	unmake(&s);
	unmake(&l);
}

static void on_nothing(void)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), bads[] = {-1, 99999, file};
	const char *what[] = {"-1", "99999", "a file"};
	struct sockaddr_in a = addr("127.0.0.1", 9);

	for (int i = 0; i < 3; i++) {
		int fd = bads[i], v = 0;
		socklen_t len = sizeof(v);

		CALL(bind(fd, (struct sockaddr *)&a, sizeof(a)), "call bind on %s", what[i]);
		CALL(listen(fd, 1), "call listen on %s", what[i]);
		CALL(accept(fd, NULL, NULL), "call accept on %s", what[i]);
		CALL(connect(fd, (struct sockaddr *)&a, sizeof(a)), "call connect on %s", what[i]);
		CALL(send(fd, "x", 1, 0), "call send on %s", what[i]);
		CALL(recv(fd, &v, 1, 0), "call recv on %s", what[i]);
		CALL(shutdown(fd, 0), "call shutdown on %s", what[i]);
		CALL(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len), "call getsockopt on %s",
		    what[i]);
		CALL(getsockname(fd, (struct sockaddr *)&a, &len), "call getsockname on %s",
		    what[i]);
		CALL(dup2(fd, -1), "call dup2 to -1 of %s", what[i]);
	}
	close(file);
}

void do_calls(void)
{
	for (enum state st = 0; st < STATES; st++) {
		names_on(st);
		connects_on(st);
		moves_on(st);
		states_on(st);
	}
	no_port(STREAM_NEW);
	no_port(DGRAM_NEW);
	on_nothing();
}
