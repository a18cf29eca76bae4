/*
 * Programs that have as many descriptors as they may have: a socket takes one, and what netd needs beside it is not the
 * program's affair. See pair.h. Each test is a process of its own, whose first socket may be the first of all. With LIMITED in the environment
 * the limit was there before the program began, and may not be lifted: then it has some numbers less, but all that it has
 * are its own.
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

/* The limit cannot be lifted any more, nor what counts in it. */
static void give_up_privilege(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];

	CHECK(syscall(SYS_capget, &h, caps) == 0);
	caps[0].effective &= ~(1u << CAP_SYS_RESOURCE);
	caps[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
	CHECK(syscall(SYS_capset, &h, caps) == 0);
}

/* Takes all numbers but `left`. `hard`: and the limit cannot be lifted any more. */
static void fill(int left, bool hard)
{
	struct rlimit l;

	CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l = (struct rlimit){.rlim_cur = LIMIT, .rlim_max = hard ? LIMIT : l.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
	if (hard)
		give_up_privilege();
	while (n_held < LIMIT && (held[n_held] = open("/dev/null", O_RDONLY)) >= 0)
		n_held++;
	CHECK(n_held < LIMIT && errno == EMFILE);
	let_go(left);
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

static void with_left(int left, bool hard)
{
	int s[LIMIT], n = 0;

	fill(left, hard);
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

static void with_left_soft(int left)
{
	with_left(left, false);
}

static void with_left_hard(int left)
{
	with_left(left, true);
}

static void first_socket(void)
{
	for (int left = 0; left <= 8; left++) {
		in_child(with_left_soft, left);
		in_child(with_left_hard, left);
	}
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
	in_child(forks, 1);
}

static void sends_rights(int hard)
{
	int p[2], over[2], got;

	make_pair(p);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	fill(0, hard);
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
	in_child(sends_rights, 1);
}

static void polls(int hard)
{
	struct pollfd f[2];
	int p[2], pipes[2];

	make_pair(p);
	CHECK(pipe(pipes) == 0);
	fill(0, hard);
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
	in_child(polls, 1);
}

static void watches(int hard)
{
	enum { SETS = 12 };
	struct epoll_event ev = {.events = EPOLLIN};
	int p[2], ep[SETS];

	make_pair(p);
	for (int i = 0; i < SETS; i++)
		CHECK((ep[i] = epoll_create1(0)) >= 0);
	fill(0, hard);
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
	in_child(watches, 1);
}

/* What netd needs stands among the program's numbers, but is not given to it: after EMFILE there is no socket. */
static void stays(int of_socket)
{
	enum { MANY = 256 };
	struct rlimit l = {.rlim_cur = MANY, .rlim_max = MANY};
	int p[2], fds[MANY], n = 0, s;

	CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
	make_pair(p);
	while (n < MANY && (fds[n] = dup(of_socket ? p[0] : 0)) >= 0)
		n++;
	CHECK(n < MANY && errno == EMFILE);
	FAILS(new_socket(), EMFILE);
	FAILS(dup(p[0]), EMFILE);
	FAILS(dup(0), EMFILE);
	close(fds[--n]);
	CHECK((s = new_socket()) >= 0);
	FAILS(new_socket(), EMFILE);
	close(s);
	CHECK(talk(p[0], p[1], "still"));
}

static void full_is_full(void)
{
	in_child(stays, 0);
	in_child(stays, 1);
}

/* ---- the limit itself */

static bool limits_are(rlim_t soft, rlim_t hard)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == soft && l.rlim_max == hard;
}

static int set_limits(rlim_t soft, rlim_t hard)
{
	return setrlimit(RLIMIT_NOFILE, &(struct rlimit){soft, hard});
}

static void shell_agrees(int arg)
{
	(void)arg;
	execlp("sh", "sh", "-c", "test $(ulimit -n) = 64 && test $(ulimit -Hn) = 64", NULL);
	CHECK(!"sh");
}

static void sets(int arg)
{
	struct rlimit was;
	FILE *f;
	int n = 0;

	(void)arg;
	give_up_privilege();
	CHECK(set_limits(LIMIT + 40, LIMIT + 40) == 0 && limits_are(LIMIT + 40, LIMIT + 40));
	CHECK(prlimit(0, RLIMIT_NOFILE, &(struct rlimit){LIMIT, LIMIT}, &was) == 0);
	CHECK(was.rlim_cur == LIMIT + 40 && limits_are(LIMIT, LIMIT));
	FAILS(set_limits(LIMIT, LIMIT + 1), EPERM);
	FAILS(set_limits(LIMIT + 1, LIMIT), EINVAL);
	CHECK(set_limits(LIMIT - 10, LIMIT) == 0 && limits_are(LIMIT - 10, LIMIT));
	CHECK(set_limits(LIMIT, LIMIT) == 0 && limits_are(LIMIT, LIMIT));
	in_child(shell_agrees, 0);
	f = popen("ulimit -n", "r");
	CHECK(f && fscanf(f, "%d", &n) == 1 && n == LIMIT);
	if (f)
		CHECK(pclose(f) == 0);
	CHECK(system("test $(ulimit -n) = 64") == 0);
	FAILS(execl("/nowhere", "nowhere", NULL), ENOENT);
	CHECK(limits_are(LIMIT, LIMIT));
	works();
}

/* What is told is what was set, here and in what is executed. */
static void set_and_told(void)
{
	in_child(sets, 0);
}

/* The last number that is told can be had by its name, too. */
static void by_number(int arg)
{
	int p[2];

	(void)arg;
	make_pair(p);
	CHECK(dup2(0, LIMIT - 1) == LIMIT - 1 && fcntl(LIMIT - 1, F_GETFD) == 0);
	CHECK(dup3(p[0], LIMIT - 1, O_CLOEXEC) == LIMIT - 1);
	CHECK(fcntl(LIMIT - 1, F_GETFD) == FD_CLOEXEC);
	CHECK(talk(LIMIT - 1, p[1], "last"));
	FAILS(dup2(0, LIMIT), EBADF);
	FAILS(dup2(p[0], LIMIT), EBADF);
	close(LIMIT - 1);
	close_pair(p);
}

/* It was there before: it is told as it is, and everything is done with what is left of it. */
static void inherited(int arg)
{
	(void)arg;
	CHECK(limits_are(LIMIT, LIMIT));
	in_child(shell_agrees, 0);
	in_child(by_number, 0);
	in_child(forks, 0);
	in_child(sends_rights, 0);
	in_child(polls, 0);
	CHECK(limits_are(LIMIT, LIMIT));
}

static void limited_before(void)
{
	in_child(inherited, 0);
}

static void all(void)
{
	int before_ = 0;

	if (getenv("LIMITED")) {
		RUN(limited_before);
		return;
	}
	RUN(first_socket);
	RUN(fork_when_full);
	RUN(rights_when_full);
	RUN(poll_when_full);
	RUN(epoll_when_full);
	RUN(full_is_full);
	RUN(set_and_told);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
