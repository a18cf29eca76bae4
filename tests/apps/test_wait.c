/* poll, select and epoll, sockets mixed with pipes; see pair.h. */
#include "tests/apps/pair.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static void poll_refusals(void)
{
	struct pollfd *volatile nowhere = NULL;
	volatile nfds_t too_many = (nfds_t)-1;

	FAILS(poll(nowhere, 1, 0), EFAULT);
	FAILS(poll(nowhere, too_many, 0), EINVAL);
	CHECK(poll(nowhere, 0, 0) == 0);
}

static void poll_states(void)
{
	struct pollfd f[2];
	char c;
	int p[2];

	make_pair(p);
	f[0] = (struct pollfd){.fd = p[0], .events = POLLIN | POLLOUT | POLLRDHUP};
	f[1] = (struct pollfd){.fd = p[1], .events = POLLIN};
	CHECK(poll(f, 2, 0) == 1 && f[0].revents == POLLOUT && f[1].revents == 0);
	CHECK(write(p[0], "x", 1) == 1);
	CHECK(poll(f + 1, 1, 3000) == 1 && f[1].revents == POLLIN);
	CHECK(read(p[1], &c, 1) == 1 && poll(f + 1, 1, 0) == 0);
	shutdown(p[1], SHUT_WR);
	CHECK(wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(poll(f, 1, 0) == 1 && f[0].revents == (POLLIN | POLLOUT | POLLRDHUP));
	shutdown(p[0], SHUT_WR);
	f[0].events = POLLIN;
	CHECK(wait_for(p[1], POLLIN, 3000) >= 0);
	CHECK(poll(f, 1, 0) == 1 && (f[0].revents & POLLHUP));
	close(p[0]);
	f[0].revents = 0;
	CHECK(poll(f, 1, 0) == 1 && f[0].revents == POLLNVAL);
	close(p[1]);
}

/* After 50 ms, a byte into one of two descriptors. */
struct later {
	int fd, ms;
};

static void *write_later(void *arg)
{
	const struct later *l = arg;

	usleep((useconds_t)l->ms * 1000);
	return (void *)(intptr_t)write(l->fd, "L", 1);
}

static void poll_mixed(void)
{
	int p[2], pipes[2];
	char c;

	make_pair(p);
	CHECK(pipe(pipes) == 0);
	for (int i = 0; i < 2; i++) {
		struct pollfd f[3] = {
		    {.fd = p[1], .events = POLLIN}, {.fd = -1}, {.fd = pipes[0], .events = POLLIN}};
		struct later l = {i ? p[0] : pipes[1], 50};
		pthread_t t;

		pthread_create(&t, NULL, write_later, &l);
		CHECK(poll(f, 3, 3000) == 1);
		CHECK(f[0].revents == (i ? POLLIN : 0) && f[2].revents == (i ? 0 : POLLIN) &&
		      f[1].revents == 0);
		CHECK(read(i ? p[1] : pipes[0], &c, 1) == 1);
		pthread_join(t, NULL);
	}
	CHECK(write(p[0], "a", 1) == 1 && write(pipes[1], "b", 1) == 1 &&
	      wait_for(p[1], POLLIN, 3000) >= 0);
	{
		struct pollfd f[2] = {
		    {.fd = p[1], .events = POLLIN}, {.fd = pipes[0], .events = POLLIN}};

		CHECK(poll(f, 2, -1) == 2);
	}
	close_pair(p);
	close_pair(pipes);
}

static void poll_times(void)
{
	struct timespec ts = {0, 30000000};
	struct pollfd f;
	double start = seconds();
	int p[2];

	make_pair(p);
	f = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK(poll(&f, 1, 50) == 0);
	CHECK(seconds() - start >= 0.05 && seconds() - start < 0.5);
	start = seconds();
	CHECK(ppoll(&f, 1, &ts, NULL) == 0 && seconds() - start >= 0.03);
	close_pair(p);
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* A blocked signal that is pending interrupts ppoll() and epoll_pwait() with a mask that lets it
 * in, once. */
static void signal_masks(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct epoll_event ev = {.events = EPOLLIN};
	struct timespec ts = {1, 0};
	sigset_t block, open_mask;
	struct pollfd f;
	int p[2], ep = epoll_create1(0);

	make_pair(p);
	f = (struct pollfd){.fd = p[0], .events = POLLIN};
	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, &open_mask);
	signals = 0;
	raise(SIGUSR1);
	CHECK(poll(&f, 1, 10) == 0 && signals == 0);
	FAILS(ppoll(&f, 1, &ts, &open_mask), EINTR);
	CHECK(signals == 1);
	raise(SIGUSR1);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
	FAILS(epoll_pwait(ep, &ev, 1, 1000, &open_mask), EINTR);
	CHECK(signals == 2);
	sigprocmask(SIG_SETMASK, &open_mask, NULL);
	close(ep);
	close_pair(p);
}

static void select_sets(void)
{
	struct timeval tv = {3, 0};
	fd_set in, out;
	char c;
	int p[2], pipes[2], max;

	make_pair(p);
	CHECK(pipe(pipes) == 0);
	max = (p[1] > pipes[0] ? p[1] : pipes[0]) + 1;
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(p[1], &in);
	FD_SET(pipes[0], &in);
	FD_SET(p[1], &out);
	CHECK(
	    select(max, &in, &out, NULL, &tv) == 1 && !FD_ISSET(p[1], &in) && FD_ISSET(p[1], &out));
	CHECK(write(p[0], "s", 1) == 1);
	FD_ZERO(&in);
	FD_SET(p[1], &in);
	FD_SET(pipes[0], &in);
	tv = (struct timeval){3, 0};
	CHECK(select(max, &in, NULL, NULL, &tv) == 1 && FD_ISSET(p[1], &in) &&
	      !FD_ISSET(pipes[0], &in));
	CHECK(tv.tv_sec == 2);
	CHECK(read(p[1], &c, 1) == 1);
	FD_ZERO(&in);
	FD_SET(p[1], &in);
	tv = (struct timeval){0, 30000};
	CHECK(select(max, &in, NULL, NULL, &tv) == 0 && !FD_ISSET(p[1], &in) && tv.tv_sec == 0 &&
	      tv.tv_usec == 0);
	FD_SET(p[1], &in);
	close_pair(p);
	FAILS(select(max, &in, NULL, NULL, NULL), EBADF);
	close_pair(pipes);
}

/* Sets beyond FD_SETSIZE, as some programs make them. */
static void select_large(void)
{
	static unsigned long in[4096 / (8 * sizeof(long))];
	int p[2], fd;

	make_pair(p);
	fd = fcntl(p[1], F_DUPFD, 2000);
	if (fd >= 2000) {
		in[fd / 64] |= 1ul << (fd % 64);
		CHECK(write(p[0], "x", 1) == 1);
		CHECK(select(fd + 1, (fd_set *)(void *)in, NULL, NULL, NULL) == 1);
		CHECK(in[fd / 64] == 1ul << (fd % 64));
		close(fd);
	}
	close_pair(p);
}

/* ---- epoll */

static int ep_add(int ep, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u64 = 0x100000000ull + (unsigned)fd};

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

/* One epoll_wait() for one event; its bits if it is `fd`'s, 0 for none, ~0 for something else. */
static uint32_t ep_one(int ep, int fd, int ms)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep, ev, 4, ms);

	if (n == 0)
		return 0;
	return n == 1 && ev[0].data.u64 == 0x100000000ull + (unsigned)fd ? ev[0].events : ~0u;
}

/* No event comes. */
static bool ep_none(int ep, int fd, int ms)
{
	return ep_one(ep, fd, ms) == 0;
}

static void epoll_level(void)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT};
	char c;
	int p[2], ep = epoll_create1(EPOLL_CLOEXEC);

	make_pair(p);
	CHECK(ep_add(ep, p[1], EPOLLIN) == 0);
	FAILS(ep_add(ep, p[1], EPOLLIN), EEXIST);
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev), ENOENT);
	CHECK(ep_one(ep, p[1], 0) == 0 && ep_one(ep, p[1], 30) == 0);
	CHECK(write(p[0], "ab", 2) == 2);
	CHECK(ep_one(ep, p[1], 3000) == EPOLLIN && ep_one(ep, p[1], 0) == EPOLLIN);
	CHECK(read(p[1], &c, 1) == 1 && ep_one(ep, p[1], 3000) == EPOLLIN);
	CHECK(read(p[1], &c, 1) == 1 && ep_one(ep, p[1], 0) == 0);
	ev.data.u64 = 0x100000000ull + (unsigned)p[1];
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev) == 0 && ep_one(ep, p[1], 0) == EPOLLOUT);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL) == 0 && ep_one(ep, p[1], 0) == 0);
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], NULL), ENOENT);
	FAILS(epoll_wait(ep, &ev, 0, 0), EINVAL);
	close(ep);
	close_pair(p);
}

static void epoll_edge(void)
{
	char c[8];
	int p[2], ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};

	make_pair(p);
	CHECK(write(p[0], "1", 1) == 1 && wait_for(p[1], POLLIN, 3000) >= 0);
	CHECK(ep_add(ep, p[1], EPOLLIN | EPOLLRDHUP | EPOLLET) == 0); /* ready already: one event */
	CHECK(ep_one(ep, p[1], 100) == EPOLLIN && ep_none(ep, p[1], 50));
	CHECK(write(p[0], "2", 1) == 1); /* news, though the first byte was not read */
	CHECK(ep_one(ep, p[1], 3000) == EPOLLIN && ep_none(ep, p[1], 50));
	ev.data.u64 = 0x100000000ull + (unsigned)p[1];
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev) == 0); /* looks again */
	CHECK(ep_one(ep, p[1], 100) == EPOLLIN && ep_none(ep, p[1], 0));
	CHECK(read(p[1], c, 8) == 2 && ep_none(ep, p[1], 20));
	shutdown(p[0], SHUT_WR);
	CHECK(ep_one(ep, p[1], 3000) == (EPOLLIN | EPOLLRDHUP) && ep_none(ep, p[1], 50));
	close(ep);
	close_pair(p);
}

static void epoll_oneshot(void)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLONESHOT};
	int p[2], ep = epoll_create(5);

	make_pair(p);
	CHECK(ep_add(ep, p[1], EPOLLIN | EPOLLONESHOT) == 0 && write(p[0], "1", 1) == 1);
	CHECK(ep_one(ep, p[1], 3000) == EPOLLIN && ep_one(ep, p[1], 30) == 0);
	CHECK(write(p[0], "2", 1) == 1 && ep_one(ep, p[1], 30) == 0);
	ev.data.u64 = 0x100000000ull + (unsigned)p[1];
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev) == 0 && ep_one(ep, p[1], 1000) == EPOLLIN);
	close(ep);
	close_pair(p);
}

/* Closing takes a socket out, but only with its last number. */
static void epoll_close(void)
{
	int p[2], q[2], ep = epoll_create1(0), copy;

	make_pair(p);
	make_pair(q);
	CHECK(ep_add(ep, p[1], EPOLLIN) == 0 && ep_add(ep, q[1], EPOLLIN) == 0);
	copy = dup(p[1]);
	close(p[1]);
	CHECK(write(p[0], "x", 1) == 1 && ep_one(ep, p[1], 3000) == EPOLLIN);
	close(copy);
	CHECK(ep_one(ep, p[1], 30) == 0);
	CHECK(write(q[0], "x", 1) == 1 && ep_one(ep, q[1], 3000) == EPOLLIN);
	close(ep);
	close(p[0]);
	close_pair(q);
}

static void epoll_mixed(void)
{
	struct epoll_event ev[8];
	uint64_t one = 1;
	int p[2], pipes[2], ep = epoll_create1(0), bell = eventfd(0, EFD_NONBLOCK), copy, n;

	make_pair(p);
	CHECK(pipe(pipes) == 0);
	CHECK(ep_add(ep, pipes[0], EPOLLIN) == 0 && ep_add(ep, bell, EPOLLIN) == 0 &&
	      ep_add(ep, p[1], EPOLLIN) == 0);
	CHECK(write(pipes[1], "p", 1) == 1 && ep_one(ep, pipes[0], 1000) == EPOLLIN);
	CHECK(write(p[0], "s", 1) == 1 && write(bell, &one, 8) == 8 &&
	      wait_for(p[1], POLLIN, 3000) >= 0);
	CHECK(epoll_wait(ep, ev, 8, 1000) == 3);
	/* one at a time, everybody gets a turn */
	for (unsigned seen = n = 0; n < 50 && seen != 7; n++) {
		CHECK(epoll_wait(ep, ev, 1, 1000) == 1);
		seen |= ev[0].data.u64 == 0x100000000ull + (unsigned)p[1]   ? 1u
			: ev[0].data.u64 == 0x100000000ull + (unsigned)bell ? 2u
									    : 4u;
	}
	CHECK(n < 50);
	copy = dup(ep); /* the same set by another number */
	close(ep);
	CHECK(epoll_wait(copy, ev, 8, 0) == 3);
	close(copy);
	close(bell);
	close_pair(p);
	close_pair(pipes);
}

/* An epoll descriptor in poll(), and in another epoll set. */
static void epoll_nested(void)
{
	char c;
	int p[2], in = epoll_create1(0), out = epoll_create1(0);

	make_pair(p);
	CHECK(ep_add(out, in, EPOLLIN) == 0 && ep_add(in, p[1], EPOLLIN) == 0);
	CHECK(wait_for(in, POLLIN, 30) == -1 && (ep_none(out, in, 30) || storm));
	CHECK(write(p[0], "n", 1) == 1);
	CHECK(wait_for(in, POLLIN, 3000) >= 0);
	CHECK(ep_one(out, in, 3000) == EPOLLIN && ep_one(in, p[1], 3000) == EPOLLIN);
	CHECK(ep_one(out, in, 3000) == EPOLLIN); /* still: level */
	CHECK(read(p[1], &c, 1) == 1);
	CHECK(wait_for(in, POLLIN, 30) == -1 && ep_none(in, p[1], 30) &&
	      (ep_none(out, in, 30) || storm));
	{
		struct later l = {p[0], 50};
		pthread_t t;

		pthread_create(&t, NULL, write_later, &l);
		CHECK(ep_one(out, in, 3000) == EPOLLIN);
		pthread_join(t, NULL);
	}
	close(in);
	close(out);
	close_pair(p);
}

/* ---- several threads in one epoll set: every byte that is sent is taken, nobody sleeps over one
 */

#define WORKERS 3
#define SOCKETS 8
#define ROUNDS	3000

static int crowd_ep, crowd_stop;
static unsigned taken; /* atomic */

static void *crowd(void *arg)
{
	(void)arg;
	for (;;) {
		struct epoll_event ev[2];
		int n = epoll_wait(crowd_ep, ev, 2, 5000);

		if (n <= 0)
			return (void *)1;
		for (int i = 0; i < n; i++) {
			char buf[64];
			ssize_t got;

			if ((int)ev[i].data.u32 == crowd_stop)
				return NULL;
			while ((got = read((int)ev[i].data.u32, buf, sizeof(buf))) > 0)
				__atomic_add_fetch(&taken, (unsigned)got, __ATOMIC_RELAXED);
		}
	}
}

static void crowd_run(uint32_t flags)
{
	int p[SOCKETS][2], stop[2];
	pthread_t t[WORKERS];
	unsigned sent = 0;
	void *ret;

	crowd_ep = epoll_create1(0);
	taken = 0;
	CHECK(pipe(stop) == 0);
	crowd_stop = stop[0];
	epoll_ctl(crowd_ep, EPOLL_CTL_ADD, stop[0],
	    &(struct epoll_event){.events = EPOLLIN, .data.u32 = (uint32_t)stop[0]});
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&t[i], NULL, crowd, NULL);
	for (int i = 0; i < SOCKETS; i++) { /* added while others sleep */
		struct epoll_event ev = {.events = EPOLLIN | flags};

		make_pair(p[i]);
		fcntl(p[i][1], F_SETFL, O_NONBLOCK);
		ev.data.u32 = (uint32_t)p[i][1];
		CHECK(epoll_ctl(crowd_ep, EPOLL_CTL_ADD, p[i][1], &ev) == 0);
	}
	for (int i = 0; i < ROUNDS; i++, sent++) {
		CHECK(write(p[i % SOCKETS][0], "c", 1) == 1);
		for (int k = 0;
		     i % 10 == 0 && k < 3000 && __atomic_load_n(&taken, __ATOMIC_RELAXED) <= sent;
		     k++)
			usleep(1000);
	}
	for (int k = 0; k < 3000 && __atomic_load_n(&taken, __ATOMIC_RELAXED) < sent; k++)
		usleep(1000);
	CHECK(taken == sent);
	CHECK(write(stop[1], "s", 1) == 1);
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(t[i], &ret);
		CHECK(ret == NULL);
	}
	for (int i = 0; i < SOCKETS; i++)
		close_pair(p[i]);
	close_pair(stop);
	close(crowd_ep);
}

static void epoll_threads_level(void)
{
	crowd_run(0);
}

static void epoll_threads_edge(void)
{
	crowd_run(EPOLLET);
}

static void all(void)
{
	int before_ = 0;

	RUN(poll_refusals);
	RUN(poll_states);
	RUN(poll_mixed);
	RUN(poll_times);
	RUN(signal_masks);
	RUN(select_sets);
	RUN(select_large);
	RUN(epoll_level);
	RUN(epoll_edge);
	RUN(epoll_oneshot);
	RUN(epoll_close);
	RUN(epoll_mixed);
	RUN(epoll_nested);
	RUN(epoll_threads_level);
	RUN(epoll_threads_edge);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
