/* What epoll(7), signals and limits say beyond test_wait.c; see pair.h. */
#include "tests/apps/pair.h"
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>

static int ep_ctl(int ep, int op, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.fd = fd};

	return epoll_ctl(ep, op, fd, &ev);
}

static int ep_wait(int ep, int ms, int *fd)
{
	struct epoll_event ev = {.data.fd = -1};
	int n = epoll_wait(ep, &ev, 1, ms);

	*fd = n == 1 ? ev.data.fd : -1;
	return n == 1 ? (int)ev.events : n;
}

static void ctl_errors(void)
{
	int p[2], ep = epoll_create1(0), file = open("/", O_RDONLY), fd;
	volatile int none = 0;

	make_pair(p);
	FAILS(epoll_create(0), EINVAL);
	FAILS(epoll_create1(1), EINVAL);
	FAILS(ep_ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN), EINVAL);
	FAILS(ep_ctl(ep, EPOLL_CTL_ADD, 3000, EPOLLIN), EBADF);
	FAILS(ep_ctl(3000, EPOLL_CTL_ADD, p[0], EPOLLIN), EBADF);
	FAILS(ep_ctl(file, EPOLL_CTL_ADD, p[0], EPOLLIN), EINVAL);
	FAILS(ep_ctl(p[1], EPOLL_CTL_ADD, p[0], EPOLLIN), EINVAL);
	FAILS(ep_ctl(ep, EPOLL_CTL_ADD, file, EPOLLIN), EPERM);
	FAILS(ep_ctl(ep, 99, p[0], EPOLLIN), EINVAL);
	FAILS(ep_ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN), ENOENT);
	FAILS(ep_ctl(ep, EPOLL_CTL_DEL, p[0], 0), ENOENT);
	FAILS(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLEXCLUSIVE) == 0);
	FAILS(ep_ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN), EINVAL);
	CHECK(ep_ctl(ep, EPOLL_CTL_DEL, p[0], 0) == 0);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	FAILS(ep_ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
	FAILS(epoll_wait(p[0], &(struct epoll_event){0}, 1, 0), EINVAL);
	FAILS(epoll_wait(3000, &(struct epoll_event){0}, 1, 0), EBADF);
	FAILS(epoll_wait(ep, &(struct epoll_event){0}, none, 0), EINVAL);
	CHECK(write(p[1], "x", 1) == 1 && ep_wait(ep, 3000, &fd) == EPOLLIN && fd == p[0]);
	close(file);
	close(ep);
	close_pair(p);
}

/* What is asked for is what is told, and hang-ups and errors always. */
static void masks(void)
{
	int p[2], ep = epoll_create1(0), fd;

	make_pair(p);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], 0) == 0 && ep_wait(ep, 0, &fd) == 0);
	CHECK(write(p[1], "x", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0 &&
	      ep_wait(ep, 20, &fd) == 0);
	CHECK(ep_ctl(ep, EPOLL_CTL_MOD, p[0], EPOLLRDHUP) == 0 && ep_wait(ep, 20, &fd) == 0);
	shutdown(p[1], SHUT_WR);
	CHECK(ep_wait(ep, 3000, &fd) == EPOLLRDHUP);
	CHECK(ep_ctl(ep, EPOLL_CTL_MOD, p[0], 0) == 0 && ep_wait(ep, 20, &fd) == 0);
	shutdown(p[0], SHUT_WR);
	CHECK(ep_wait(ep, 3000, &fd) == EPOLLHUP);
	close(ep);
	close_pair(p);
}

/* Writable is news after it was not, once. */
static void edge_of_writing(void)
{
	static char buf[1 << 16];
	int p[2], ep = epoll_create1(0), fd;
	ssize_t n;

	make_pair(p);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	fcntl(p[1], F_SETFL, O_NONBLOCK);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLOUT | EPOLLET) == 0);
	CHECK(ep_wait(ep, 3000, &fd) == EPOLLOUT && ep_wait(ep, 20, &fd) == 0);
	do { /* full, also after what is on its way has settled */
		while ((n = write(p[0], buf, sizeof(buf))) > 0)
			;
		CHECK(errno == EAGAIN);
	} while (ep_wait(ep, 100, &fd) == EPOLLOUT);
	for (int i = 0; i < 2000 && ep_wait(ep, 0, &fd) != EPOLLOUT; i++) {
		n = read(p[1], buf, sizeof(buf));
		if (n <= 0)
			usleep(1000);
	}
	CHECK(write(p[0], buf, 1) == 1);
	close(ep);
	close_pair(p);
}

/* What became ready first is told first. A restart tells everything once more, in the sockets' own order. */
static void first_ready_first(void)
{
	enum { N = 7 };
	struct epoll_event ev[N];
	int p[N][2], ep = epoll_create1(0);

	for (int i = 0; i < N; i++) {
		make_pair(p[i]);
		CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[i][0], EPOLLIN | EPOLLET) == 0);
	}
	CHECK(epoll_wait(ep, ev, N, 0) == 0 || storm);
	for (int turn = 0; turn < 2; turn++) { /* beginning with each of two, by an odd step */
		int n;

		for (int i = 0, at = turn; i < N; i++, at = (at + 3) % N)
			CHECK(write(p[at][1], "x", 1) == 1 && wait_for(p[at][0], POLLIN, 3000) >= 0);
		n = epoll_wait(ep, ev, N, 3000);
		CHECK(n == N || storm);
		for (int i = 0, at = turn; i < n; i++, at = (at + 3) % N)
			CHECK(ev[i].data.fd == p[at][0] || storm);
	}
	for (int i = 0; i < N; i++)
		close_pair(p[i]);
	close(ep);
}

/* With no descriptor left a set takes sockets all the same: what it needs itself is not the program's. */
static void full_table(void)
{
	struct rlimit was, low;
	int p[2], held[64], n = 0, fd, ep = epoll_create1(0);

	make_pair(p);
	CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
	low = (struct rlimit){.rlim_cur = 64, .rlim_max = was.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
	while (n < 64 && (held[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	CHECK(n < 64 && errno == EMFILE);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &low) == 0 && low.rlim_cur == 64 && low.rlim_max == was.rlim_max);
	CHECK(write(p[1], "n", 1) == 1);
	CHECK(ep_wait(ep, 3000, &fd) == EPOLLIN && fd == p[0]);
	CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
	while (n)
		close(held[--n]);
	close_pair(p);
	close(ep);
}

/* A set in a set, edge-triggered: each news inside is one event outside. */
static void nested_edge(void)
{
	int p[2], in = epoll_create1(0), out = epoll_create1(0), fd;
	char c;

	make_pair(p);
	CHECK(ep_ctl(in, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0 &&
	      ep_ctl(out, EPOLL_CTL_ADD, in, EPOLLIN | EPOLLET) == 0);
	CHECK(ep_wait(out, 20, &fd) == 0 || storm);
	for (int i = 0; i < 5; i++) {
		CHECK(write(p[1], "n", 1) == 1);
		CHECK(ep_wait(out, 3000, &fd) == EPOLLIN && fd == in);
		CHECK(ep_wait(in, 3000, &fd) == EPOLLIN && fd == p[0]);
		CHECK(read(p[0], &c, 1) == 1 && ep_wait(in, 0, &fd) == 0);
		CHECK(ep_wait(out, 0, &fd) == 0 || storm);
	}
	FAILS(ep_ctl(in, EPOLL_CTL_ADD, out, EPOLLIN), ELOOP);
	close(in);
	close(out);
	close_pair(p);
}

/* A set in a set, level-triggered: what was read without asking the inner set is not told any more, and what comes then is. */
static void nested_level(unsigned edge_inside)
{
	int p[2], in = epoll_create1(0), out = epoll_create1(0), fd;
	char c;

	make_pair(p);
	CHECK(ep_ctl(in, EPOLL_CTL_ADD, p[0], EPOLLIN | edge_inside) == 0 && ep_ctl(out, EPOLL_CTL_ADD, in, EPOLLIN) == 0);
	for (int i = 0; i < 5; i++) {
		CHECK(write(p[1], "n", 1) == 1);
		CHECK(ep_wait(out, 3000, &fd) == EPOLLIN && fd == in);
		CHECK(ep_wait(out, 3000, &fd) == EPOLLIN && fd == in);
		CHECK(read(p[0], &c, 1) == 1);
		CHECK(ep_wait(out, 0, &fd) == 0 || storm);
	}
	close(in);
	close(out);
	close_pair(p);
}

static void nested_levels(void)
{
	nested_level(0);
	nested_level(EPOLLET);
}

/* ---- one listener, many who wait for it */

enum { WAITERS = 4, TURNS = 60 };

static int shared_listener;
static unsigned accepted; /* atomic */

static void *exclusive_waiter(void *arg)
{
	int ep = epoll_create1(0), fd;

	(void)arg;
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, shared_listener, EPOLLIN | EPOLLEXCLUSIVE) == 0);
	while (ep_wait(ep, 10000, &fd) > 0) {
		int c = accept4(shared_listener, NULL, NULL, SOCK_CLOEXEC);

		if (c >= 0) {
			CHECK(write(c, "!", 1) == 1);
			close(c);
			__atomic_add_fetch(&accepted, 1, __ATOMIC_SEQ_CST);
		} else if (errno != EAGAIN) {
			break;
		}
	}
	close(ep);
	return NULL;
}

static void exclusive_threads(void)
{
	struct sockaddr_in at;
	pthread_t t[WAITERS];
	char c;

	if (!over_tcp)
		return;
	shared_listener = tcp_listener(&at);
	fcntl(shared_listener, F_SETFL, O_NONBLOCK);
	accepted = 0;
	for (int i = 0; i < WAITERS; i++)
		pthread_create(&t[i], NULL, exclusive_waiter, NULL);
	for (int i = 0; i < TURNS; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0 && read(s, &c, 1) == 1);
		close(s);
	}
	CHECK(shutdown(shared_listener, SHUT_RD) == 0);
	for (int i = 0; i < WAITERS; i++)
		pthread_join(t[i], NULL);
	CHECK(accepted == TURNS);
	close(shared_listener);
}

static void exclusive_processes(void)
{
	struct sockaddr_in at;
	pid_t pid[WAITERS];
	char c;

	if (!over_tcp)
		return;
	shared_listener = tcp_listener(&at);
	fcntl(shared_listener, F_SETFL, O_NONBLOCK);
	fflush(NULL);
	for (int i = 0; i < WAITERS; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			exclusive_waiter(NULL);
			_exit(failures != 0);
		}
	}
	for (int i = 0; i < TURNS; i++) {
		int s = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(connect(s, (struct sockaddr *)&at, sizeof(at)) == 0 && read(s, &c, 1) == 1);
		close(s);
	}
	for (int i = 0; i < WAITERS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	close(shared_listener);
}

/* A set that two processes have since a fork: each can wait in it, and nobody spins. */
static void shared_by_fork(void)
{
	struct rusage before, after;
	int p[2], go[2], ep = epoll_create1(0), fd, status;
	pid_t pid;
	char c;

	make_pair(p);
	CHECK(pipe(go) == 0 && ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 3; i++) {
			CHECK(ep_wait(ep, 5000, &fd) == EPOLLIN && fd == p[0]);
			CHECK(read(p[0], &c, 1) == 1);
			CHECK(write(go[1], "g", 1) == 1);
		}
		pause();
	}
	for (int i = 0; i < 3; i++)
		CHECK(write(p[1], "c", 1) == 1 && read(go[0], &c, 1) == 1);
	/* The child has other things to do: we wait in it alone. */
	getrusage(RUSAGE_SELF, &before);
	CHECK(ep_wait(ep, 300, &fd) == 0);
	getrusage(RUSAGE_SELF, &after);
	CHECK((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
		  before.ru_utime.tv_usec +
		  (after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
		  after.ru_stime.tv_usec - before.ru_stime.tv_usec <
	      150000);
	CHECK(write(p[1], "p", 1) == 1 && ep_wait(ep, 5000, &fd) == EPOLLIN && fd == p[0] &&
	      read(p[0], &c, 1) == 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	CHECK(write(p[1], "q", 1) == 1 && ep_wait(ep, 5000, &fd) == EPOLLIN &&
	      read(p[0], &c, 1) == 1);
	close(ep);
	close_pair(go);
	close_pair(p);
}

/* ---- times, masks, limits */

static void pwait2(void)
{
	struct timespec ts = {0, 20000000}, bad = {0, 1000000000};
	struct epoll_event ev;
	int p[2], ep = epoll_create1(0);
	double start = seconds();

	make_pair(p);
	CHECK(ep_ctl(ep, EPOLL_CTL_ADD, p[0], EPOLLIN) == 0);
	if (epoll_pwait2(ep, &ev, 1, &ts, NULL) == 0)
		CHECK(seconds() - start >= 0.02);
	else
		CHECK(errno == ENOSYS);
	if (errno != ENOSYS)
		FAILS(epoll_pwait2(ep, &ev, 1, &bad, NULL), EINVAL);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(syscall(SYS_epoll_pwait, ep, &ev, 1L, 3000L, NULL, 8L) == 1);
	close(ep);
	close_pair(p);
}

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* A signal that is let in only while pselect() sleeps. */
static void pselect_mask(void)
{
	struct sigaction sa = {.sa_handler = on_signal}, old;
	struct timespec ts = {5, 0};
	sigset_t block, open_mask;
	fd_set in;
	int p[2];

	make_pair(p);
	sigaction(SIGUSR2, &sa, &old);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR2);
	sigprocmask(SIG_BLOCK, &block, &open_mask);
	signals = 0;
	raise(SIGUSR2);
	FD_ZERO(&in);
	FD_SET(p[0], &in);
	FAILS(pselect(p[0] + 1, &in, NULL, NULL, &ts, &open_mask), EINTR);
	CHECK(signals == 1 && FD_ISSET(p[0], &in));
	/* What is ready goes first, and the signal stays pending. */
	raise(SIGUSR2);
	CHECK(write(p[1], "x", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(pselect(p[0] + 1, &in, NULL, NULL, &ts, NULL) == 1 && FD_ISSET(p[0], &in) &&
	      signals == 1);
	sigprocmask(SIG_SETMASK, &open_mask, NULL);
	CHECK(signals == 2);
	sigaction(SIGUSR2, &old, NULL);
	close_pair(p);
}

static void many_descriptors(void)
{
	enum { N = 1500 };
	static struct pollfd f[N];
	struct rlimit rl, small;
	int p[2], n = 0, high;

	make_pair(p);
	getrlimit(RLIMIT_NOFILE, &rl);
	for (; n < N && rl.rlim_cur > 2000; n++)
		f[n] = (struct pollfd){.fd = n % 2 ? p[0] : -1, .events = POLLIN};
	CHECK(poll(f, (nfds_t)n, 0) == 0);
	CHECK(write(p[1], "x", 1) == 1 && wait_for(p[0], POLLIN, 3000) >= 0);
	CHECK(poll(f, (nfds_t)n, 3000) == n / 2 && (!n || f[n - 1].revents == POLLIN));
	high = fcntl(p[0], F_DUPFD, 1100);
	if (high >= 0) {
		CHECK(wait_for(high, POLLIN, 3000) >= 0);
		close(high);
	}
	small = (struct rlimit){50, rl.rlim_max};
	CHECK(setrlimit(RLIMIT_NOFILE, &small) == 0);
	f[0] = (struct pollfd){.fd = p[0], .events = POLLIN};
	CHECK(poll(f, 50, 0) >= 1);
	FAILS(poll(f, 51, 0), EINVAL);
	CHECK(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	FAILS(select(-1, NULL, NULL, NULL, NULL), EINVAL);
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	RUN(ctl_errors);
	RUN(masks);
	RUN(edge_of_writing);
	RUN(first_ready_first);
	RUN(full_table);
	RUN(nested_edge);
	RUN(nested_levels);
	RUN(exclusive_threads);
	RUN(exclusive_processes);
	RUN(shared_by_fork);
	RUN(pwait2);
	RUN(pselect_mask);
	RUN(many_descriptors);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
