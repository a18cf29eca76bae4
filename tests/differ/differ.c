/* usage: differ SECTION: prints what the calls of that section answer. */
#include "tests/differ/differ.h"
#include <signal.h>
#include <stdarg.h>
#include <time.h>

const char *const state_name[STATES] = {"stream", "stream-bound", "stream-listening",
    "stream-connected", "stream-eof", "stream-data", "stream-shut-wr", "stream-shut-rd",
    "stream-reset", "stream-refused", "stream6", "stream6-listening", "stream6-connected", "dgram",
    "dgram-bound", "dgram-connected", "dgram-data", "dgram-refused", "dgram-shut", "dgram6",
    "dgram6-connected"};

static void die(const char *what)
{
	fprintf(stderr, "differ: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int check(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

const char *said(long ret)
{
	static char text[64];

	if (ret >= 0)
		snprintf(text, sizeof(text), "%ld", ret);
	else
		snprintf(text, sizeof(text), "-1 %s", strerrorname_np(errno) ?: "?");
	return text;
}

void line(const char *answer, const char *key, ...)
{
	va_list ap;

	va_start(ap, key);
	vprintf(key, ap);
	va_end(ap);
	printf("\t%s\n", answer);
}

void await(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
	time_t end = time(NULL) + 10;

	do { /* an error may be seen a moment before the state that it leads to */
		if (poll(&p, 1, 10000) < 0 || time(NULL) > end)
			die("a condition did not come");
	} while (!(p.revents & events));
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static struct sockaddr_in name_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	check(getsockname(fd, (struct sockaddr *)&ss, &len), "getsockname");
	return loopback(
	    ntohs(((struct sockaddr_in *)&ss)->sin_port)); /* at the same place in both families */
}

static void bind_any(int fd, bool v6)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = loopback(0);

	check(bind(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&four,
		  v6 ? sizeof(six) : sizeof(four)),
	    "bind");
}

static void connect_to(int fd, bool v6, const struct sockaddr_in *to)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = to->sin_port};

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &six.sin6_addr);
	check(connect(fd, v6 ? (struct sockaddr *)&six : (const struct sockaddr *)to,
		  v6 ? sizeof(six) : sizeof(*to)),
	    "connect");
}

/*
 * A port of loopback that nobody has in the test's network. Not one of those that are given out: it could be given
 * to the very socket that is to be refused there.
 */
static struct sockaddr_in nobody(void)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listener(bool v6)
{
	int fd = check(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0), "socket");

	bind_any(fd, v6);
	check(listen(fd, 5), "listen");
	return fd;
}

static void stream_pair(struct subject *s, bool v6)
{
	int l = listener(false);

	s->at = name_of(l);
	s->fd = check(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0), "socket");
	connect_to(s->fd, v6, &s->at);
	await(l, POLLIN);
	s->other = check(accept(l, NULL, NULL), "accept");
	close(l);
}

static void dgram_pair(struct subject *s, bool v6)
{
	struct sockaddr_in own;

	s->other = check(socket(AF_INET, SOCK_DGRAM, 0), "socket");
	bind_any(s->other, false);
	s->at = name_of(s->other);
	s->fd = check(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0), "socket");
	connect_to(s->fd, v6, &s->at);
	own = name_of(s->fd);
	check(connect(s->other, (struct sockaddr *)&own, sizeof(own)), "connect back");
}

static void make_plain(struct subject *s, enum state st)
{
	s->fd = check(
	    socket(is_v6(st) ? AF_INET6 : AF_INET, is_dgram(st) ? SOCK_DGRAM : SOCK_STREAM, 0),
	    "socket");
	if (st == STREAM_BOUND || st == DGRAM_BOUND)
		bind_any(s->fd, false);
	if (st == STREAM_REFUSED) {
		s->at = nobody();
		if (connect(s->fd, (struct sockaddr *)&s->at, sizeof(s->at)) == 0 ||
		    errno != ECONNREFUSED)
			die("a connection that should have been refused");
	}
	if (st == DGRAM_REFUSED) {
		s->at = nobody();
		connect_to(s->fd, false, &s->at);
		check((int)send(s->fd, "x", 1, 0), "send");
		await(s->fd, POLLERR);
	}
}

static void advance(struct subject *s, enum state st)
{
	struct linger hard = {.l_onoff = 1};

	switch (st) {
	case STREAM_EOF:
		close(s->other);
		s->other = -1;
		await(s->fd, POLLIN);
		break;
	case STREAM_RESET:
		check(
		    setsockopt(s->other, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), "SO_LINGER");
		close(s->other);
		s->other = -1;
		await(s->fd, POLLHUP);
		break;
	case STREAM_DATA:
	case DGRAM_DATA:
		check((int)send(s->other, "hello", 5, 0), "send");
		await(s->fd, POLLIN);
		break;
	case STREAM_SHUT_WR:
		check(shutdown(s->fd, SHUT_WR), "shutdown");
		await(s->other, POLLIN);
		break;
	case STREAM_SHUT_RD:
		check(shutdown(s->fd, SHUT_RD), "shutdown");
		break;
	case DGRAM_SHUT:
		check(shutdown(s->fd, SHUT_RDWR), "shutdown");
		break;
	default:
		break;
	}
}

struct subject make(enum state st)
{
	struct subject s = {.other = -1, .at = loopback(9)};

	switch (st) {
	case STREAM_LISTENING:
	case STREAM6_LISTENING:
		s.fd = listener(is_v6(st));
		s.at = name_of(s.fd);
		break;
	case STREAM_NEW:
	case STREAM_BOUND:
	case STREAM_REFUSED:
	case STREAM6_NEW:
	case DGRAM_NEW:
	case DGRAM_BOUND:
	case DGRAM_REFUSED:
	case DGRAM6_NEW:
		make_plain(&s, st);
		break;
	default:
		if (is_dgram(st))
			dgram_pair(&s, is_v6(st));
		else
			stream_pair(&s, is_v6(st));
		advance(&s, st);
	}
	return s;
}

void unmake(struct subject *s)
{
	close(s->fd);
	if (s->other >= 0)
		close(s->other);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} sections[] = {{"options", do_options}, {"structs", do_structs}, {"creation", do_creation},
	    {"calls", do_calls}, {"data", do_data}, {"ready", do_ready}, {"raw", do_raw},
	    {"send", do_send}};
	static char buffer[1 << 16];

	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		if (argc == 2 && !strcmp(argv[1], sections[i].name)) {
			sections[i].run();
			return fflush(stdout) ? 2 : 0;
		}
	fprintf(stderr, "usage: differ options|structs|creation|calls|data|ready|raw|send\n");
	return 2;
}
