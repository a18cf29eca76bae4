/* Signals that come into the middle of calls; see pair.h. */
#include "tests/apps/blocked.h"
#include <sys/time.h>

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* Sends a signal to the blocked thread. Is the call over after it? */
static bool interrupted(struct blocked *b, int flags)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};

	sigaction(SIGUSR1, &sa, NULL);
	signals = 0;
	pthread_kill(b->t, SIGUSR1);
	usleep(NAP);
	CHECK(signals == 1);
	return __atomic_load_n(&b->over, __ATOMIC_SEQ_CST);
}

static void signals_interrupt(void)
{
	static const enum what calls[] = {READ, RECVMSG, POLL, SELECT, EPOLL};
	struct blocked b;
	int p[2];

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		bool restarts = i < 2;

		make_pair(p);
		block(&b, calls[i], p[0]);
		CHECK(interrupted(&b, 0));
		join(&b);
		CHECK(b.ret == -1 && b.err == EINTR);
		block(&b, calls[i], p[0]);
		CHECK(interrupted(&b, SA_RESTART) == !restarts);
		CHECK(write(p[1], "x", 1) == 1);
		join(&b);
		CHECK(restarts ? b.ret == 1 : b.ret == -1 && b.err == EINTR);
		close_pair(p);
	}
}

static void signals_and_accept(void)
{
	struct sockaddr_in at;
	struct blocked b;
	int l;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	block(&b, ACCEPT, l);
	CHECK(interrupted(&b, 0));
	join(&b);
	CHECK(b.ret == -1 && b.err == EINTR);
	block(&b, ACCEPT, l);
	CHECK(!interrupted(&b, SA_RESTART));
	connection_ends(&b, &at);
	close(l);
}

/* With a time limit of the socket's a signal ends the call even under SA_RESTART (signal(7)). */
static void signals_and_timeouts(void)
{
	struct timeval tv = {20, 0};
	struct blocked b;
	int p[2];

	make_pair(p);
	setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	block(&b, READ, p[0]);
	CHECK(interrupted(&b, SA_RESTART));
	join(&b);
	CHECK(b.ret == -1 && b.err == EINTR);
	close_pair(p);
}

/* What was written before the signal came is the answer. */
static void signal_in_write(void)
{
	static char buf[64 << 20];
	const struct itimerval often = {{0, 100000}, {0, 100000}};
	struct sigaction sa = {.sa_handler = on_signal}, old;
	int p[2];
	ssize_t n;

	make_pair(p);
	sigaction(SIGALRM, &sa, &old);
	signals = 0;
	alarm(1);
	n = write(p[0], buf, sizeof(buf));
	CHECK(n > 0 && n < (ssize_t)sizeof(buf) && signals == 1);
	setitimer(ITIMER_REAL, &often, NULL);
	FAILS(fill(p[0]), EINTR);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	sigaction(SIGALRM, &old, NULL);
	close_pair(p);
}

/* A stopped and continued process finds its call as it was. */
static void stopped(void)
{
	int p[2], status;
	pid_t pid;
	char c;

	make_pair(p);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(read(p[0], &c, 1) == 1 && c == 's' ? 0 : 1);
	usleep(NAP);
	CHECK(kill(pid, SIGSTOP) == 0 && waitpid(pid, &status, WUNTRACED) == pid &&
	      WIFSTOPPED(status));
	CHECK(kill(pid, SIGCONT) == 0);
	usleep(NAP);
	CHECK(write(p[1], "s", 1) == 1);
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	RUN(signals_interrupt);
	RUN(signals_and_accept);
	RUN(signals_and_timeouts);
	RUN(signal_in_write);
	RUN(stopped);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
