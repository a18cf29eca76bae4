/*
 * Programs that have as many descriptors as they may have: a socket takes one, and what netd needs beside it is not the
 * program's affair. See pair.h. Each test is a process of its own, whose first socket may be the first of all.
 */
#include "tests/apps/relatives.h"
#include <linux/capability.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { LIMIT = 64, MORE = 16 };

static int held[LIMIT], n_held;

static int new_socket(void)
{
	return socket(over_tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
}

static bool limit_is(rlim_t soft)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == soft;
}

/* Frees up to `n` of the numbers that fill() took. */
static void let_go(int n)
{
	while (n-- && n_held)
		close(held[--n_held]);
}

/* Takes all numbers but `left`. `hard`: and the limit cannot be lifted any more. */
static void fill(int left, bool hard)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	struct rlimit l;

	CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l = (struct rlimit){.rlim_cur = LIMIT, .rlim_max = hard ? LIMIT : l.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
	if (hard) {
		CHECK(syscall(SYS_capget, &h, caps) == 0);
		caps[0].effective &= ~(1u << CAP_SYS_RESOURCE);
		caps[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
		CHECK(syscall(SYS_capset, &h, caps) == 0);
	}
	while (n_held < LIMIT && (held[n_held] = open("/dev/null", O_RDONLY)) >= 0)
		n_held++;
	CHECK(n_held < LIMIT && errno == EMFILE);
	let_go(left);
}

/* How many descriptors there are, whoever they are of. */
static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 2048; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Everything works again, or still. */
static void works(void)
{
	int p[2];

	let_go(MORE);
	make_pair(p);
	CHECK(talk(p[0], p[1], "there") && talk(p[1], p[0], "back"));
	close_pair(p);
}

static void in_child(void (*work)(int arg), int arg)
{
	pid_t pid;

	CHILD(pid)
	{
		work(arg);
		leave();
	}
	CHECK(ended_well(pid));
}

/* ---- the first socket of a process */

static void with_left(int left)
{
	int s[LIMIT], n = 0;

	fill(left, false);
	while (n < LIMIT && (s[n] = new_socket()) >= 0)
		n++;
	CHECK(errno == EMFILE);
	CHECK(n == left);
	CHECK(limit_is(LIMIT));
	while (n)
		close(s[--n]);
	works();
	CHECK(limit_is(LIMIT));
}

static void first_socket(void)
{
	for (int left = 0; left <= 8; left++)
		in_child(with_left, left);
}

/* Where it may not be lifted, more than one has to be free. Whoever frees them has his socket; to try leaves nothing behind. */
static void under_hard(int arg)
{
	int s = -1, n;

	(void)arg;
	fill(1, true);
	for (n = 1; n <= MORE && (s = new_socket()) < 0; n++) {
		int before;

		CHECK(errno == EMFILE);
		before = count_open();
		FAILS(new_socket(), EMFILE);
		CHECK(count_open() == before);
		let_go(1);
	}
	CHECK(s >= 0 && n <= 4);
	works();
	close(s);
}

static void first_socket_under_hard(void)
{
	in_child(under_hard, 0);
}

/* ---- what else netd needs descriptors for */

static void forks(int hard)
{
	pid_t pid;
	int p[2];

	make_pair(p);
	fill(0, hard);
	CHILD(pid)
	{
		if (!hard)
			CHECK(talk(p[0], p[1], "child"));
		leave();
	}
	CHECK(ended_well(pid));
	CHECK(talk(p[0], p[1], "parent") && talk(p[1], p[0], "back"));
	CHECK(limit_is(LIMIT));
	works();
}

/* A child has the sockets of its parent, as it has everything else. */
static void fork_when_full(void)
{
	in_child(forks, 0);
}

/* The parent's sockets are as they were, whatever netd could not give to the child. */
static void fork_under_hard(void)
{
	in_child(forks, 1);
}

static void sends_rights(int arg)
{
	int p[2], over[2], got;

	(void)arg;
	make_pair(p);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	fill(0, false);
	CHECK(send_rights(over[0], p, 1) == 0);
	CHECK(take_rights(over[1], &got, 1, 0) == 0); /* there is no room for it */
	CHECK(talk(p[0], p[1], "sent"));
	CHECK(send_rights(over[0], p, 1) == 0);
	let_go(1);
	CHECK(take_rights(over[1], &got, 1, 0) == 1);
	CHECK(talk(got, p[1], "taken") && talk(p[1], p[0], "back"));
	CHECK(limit_is(LIMIT));
	works();
}

static void rights_when_full(void)
{
	in_child(sends_rights, 0);
}

static void polls(int arg)
{
	struct pollfd f[2];
	int p[2], pipes[2];

	(void)arg;
	make_pair(p);
	CHECK(pipe(pipes) == 0);
	fill(0, false);
	CHECK(write(p[1], "n", 1) == 1);
	f[0] = (struct pollfd){.fd = pipes[0], .events = POLLIN};
	f[1] = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK(poll(f, 2, 5000) == 1 && f[1].revents == POLLIN);
	CHECK(limit_is(LIMIT));
	works();
}

static void poll_when_full(void)
{
	in_child(polls, 0);
}

static void watches(int arg)
{
	enum { SETS = 12 };
	struct epoll_event ev = {.events = EPOLLIN};
	int p[2], ep[SETS];

	(void)arg;
	make_pair(p);
	for (int i = 0; i < SETS; i++)
		CHECK((ep[i] = epoll_create1(0)) >= 0);
	fill(0, false);
	for (int i = 0; i < SETS; i++)
		CHECK(epoll_ctl(ep[i], EPOLL_CTL_ADD, p[0], &ev) == 0);
	CHECK(limit_is(LIMIT));
	CHECK(write(p[1], "n", 1) == 1);
	for (int i = 0; i < SETS; i++)
		CHECK(epoll_wait(ep[i], &ev, 1, 5000) == 1);
	works();
}

/* As many sets as the program likes. */
static void epoll_when_full(void)
{
	in_child(watches, 0);
}

static void all(void)
{
	int before_ = 0;

	RUN(first_socket);
	RUN(first_socket_under_hard);
	RUN(fork_when_full);
	RUN(fork_under_hard);
	RUN(rights_when_full);
	RUN(poll_when_full);
	RUN(epoll_when_full);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
