/* Sockets that several processes hold, on a make-believe daemon: fork, tokens, deaths. */
#include "share_rig.h"
#include "clientlib/fdtable.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netd/netd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(clientlib_share, .init = share_rig_start, .fini = share_rig_stop, .timeout = 30);

static int made(void)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x0a000001)};
	int fd = netd_socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(netd_connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static bool echoes(int fd, const char *word)
{
	char buf[64];
	ssize_t n = (ssize_t)strlen(word);

	return netd_send(fd, word, (size_t)n, 0) == n &&
	       netd_recv(fd, buf, (size_t)n, MSG_WAITALL) == n && !memcmp(buf, word, (size_t)n);
}

static bool ended_well(pid_t pid)
{
	int status = -1;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

/* The daemon hears of ends a little later. */
static bool left(int sessions, int socks, int tokens)
{
	for (int i = 0; i < 2000; i++) {
		if (share_rig->sessions == sessions && share_rig->socks == socks &&
		    share_rig->tokens == tokens)
			return true;
		usleep(1000);
	}
	return false;
}

static bool all_closed(void)
{
	for (int i = 0; i < 2000 && share_rig->socks; i++)
		usleep(1000);
	return !share_rig->socks;
}

static bool no_shares(void)
{
	for (int i = 0; i < 2000 && share_rig->shares; i++)
		usleep(1000);
	return !share_rig->shares;
}

Test(clientlib_share, parent_and_child_use_one_socket)
{
	int fd = made();
	pid_t pid;

	cr_assert(echoes(fd, "alone"));
	pid = fork();
	if (!pid)
		_exit(!(echoes(fd, "child") && netd_set_nonblock(fd, true) == 0));
	cr_assert(ended_well(pid));
	cr_assert_eq(netd_get_nonblock(fd), 1, "one description");
	netd_set_nonblock(fd, false);
	cr_assert(echoes(fd, "parent"));
	cr_assert(left(1, 1, 0), "the clone went with the child");
	netd_close(fd);
	cr_assert(left(1, 0, 0));
	cr_assert(no_shares());
}

Test(clientlib_share, the_child_goes_on_when_the_parent_closed)
{
	int fd = made(), go[2];
	pid_t pid;
	char c;

	cr_assert_eq(pipe(go), 0);
	pid = fork();
	if (!pid) {
		if (read(go[0], &c, 1) != 1 || !echoes(fd, "mine now"))
			_exit(1);
		netd_close(fd);
		_exit(!left(2, 0, 0));
	}
	netd_close(fd);
	cr_assert(left(2, 1, 0));
	cr_assert_eq(write(go[1], "x", 1), 1);
	cr_assert(ended_well(pid));
	cr_assert(left(1, 0, 0));
}

Test(clientlib_share, children_of_children_make_their_own)
{
	int fd = made();
	pid_t pid = fork();

	if (!pid) {
		int own = made();
		pid_t deep = fork();

		if (!deep) {
			int more = made();

			_exit(!(
			    echoes(fd, "first") && echoes(own, "second") && echoes(more, "third")));
		}
		_exit(!(ended_well(deep) && echoes(own, "second") && echoes(fd, "first")));
	}
	cr_assert(ended_well(pid));
	cr_assert(echoes(fd, "first"));
	for (int i = 0; i < 20; i++) { /* as a server does */
		int conn = made();

		pid = fork();
		if (!pid)
			_exit(!(netd_close(fd) == 0 && echoes(conn, "served")));
		netd_close(conn);
		cr_assert(ended_well(pid));
	}
	cr_assert(left(1, 1, 0));
}

Test(clientlib_share, bulk_through_a_shared_ring)
{
	enum { BYTES = 3000000 };
	int fd = made();
	pid_t pid;
	static char out[BYTES], in[BYTES];

	for (int i = 0; i < BYTES; i++)
		out[i] = (char)(i * 7 + i / 251);
	cr_assert_eq(
	    netd_send(fd, out, 1000, 0), 1000); /* some of it is under way when it is shared */
	pid = fork();
	if (!pid)
		_exit(netd_send(fd, out + 1000, BYTES - 1000, 0) != BYTES - 1000);
	cr_assert_eq(netd_recv(fd, in, BYTES, MSG_WAITALL), BYTES);
	cr_assert_eq(memcmp(in, out, BYTES), 0);
	cr_assert(ended_well(pid));
	cr_assert_eq(share_rig->refused_grows, 0);
}

Test(clientlib_share, a_killed_holder_leaves_no_lock)
{
	static char block[100000];
	int fd = made();

	for (int i = 0; i < 30; i++) {
		pid_t pid = fork();

		if (!pid)
			for (;;) {
				netd_send(fd, block, sizeof(block), MSG_DONTWAIT);
				netd_recv(fd, block, sizeof(block), MSG_DONTWAIT);
			}
		usleep(1000 + 300 * (useconds_t)i);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		/* Both rings may be full of what comes back: who does not read could wait for ever. */
		while (netd_send(fd, "y", 1, MSG_DONTWAIT) < 0) {
			cr_assert_eq(errno, EAGAIN);
			while (netd_recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
				;
		}
	}
	cr_assert(left(1, 1, 0));
}

Test(clientlib_share, a_token_is_a_way_in)
{
	int fd = made(), copy, same;
	struct nsock *s;

	cr_assert_eq(fdtable_token(fd), 0);
	cr_assert_eq(share_rig->tokens, 1);
	cr_assert_eq(fdtable_token(fd), 0, "it has one");
	cr_assert_eq(share_rig->tokens, 1);
	copy = netd_dup(fd);
	cr_assert(ns_is_token(copy), "what is copied is the token");
	same = dup(fd); /* as it arrives over a Unix socket */
	cr_assert_eq(ns_join(same, &s), 0);
	ns_put(s);
	cr_assert_eq(ns_join(0, &s), -ENOTSOCK);
	netd_close(copy);
	netd_close(fd);
	cr_assert(left(1, 1, 1), "the descriptor alone keeps it");
	cr_assert_eq(fdtable_join(same), same);
	cr_assert(echoes(same, "joined"));
	netd_close(same);
	cr_assert(left(1, 0, 0));
}

static volatile bool stop;

static void *chat(void *arg)
{
	int fd = made();
	intptr_t wrong = 0;

	(void)arg;
	while (!stop)
		wrong += !echoes(fd, "a thread's words");
	netd_close(fd);
	return (void *)wrong;
}

Test(clientlib_share, forks_of_a_busy_threaded_process)
{
	pthread_t t[3];
	void *wrong;
	int fd = made();

	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, chat, NULL);
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(!echoes(fd, "child"));
		cr_assert(ended_well(pid));
	}
	stop = true;
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &wrong);
		cr_assert_null(wrong);
	}
	cr_assert(left(1, 1, 0));
}

/* The second copies of what came in an answer keep nothing alive. */
Test(clientlib_share, answers_may_come_twice)
{
	int fd = made(), go[2];
	pid_t pid;
	char c;

	share_rig->twice = true;
	cr_assert_eq(pipe(go), 0);
	pid = fork();
	if (!pid)
		_exit(!echoes(fd, "child") || read(go[0], &c, 1) != 1);
	cr_assert_eq(share_rig->sessions, 2);
	cr_assert_eq(write(go[1], "x", 1), 1);
	cr_assert(ended_well(pid));
	cr_assert(left(1, 1, 0), "the clone went with the child");
	cr_assert_eq(fdtable_token(fd), 0);
	cr_assert_eq(share_rig->tokens, 1);
	netd_close(fd);
	cr_assert(left(1, 0, 0), "the token went with its descriptor");
}

/* One socket finds no room in the share: no other is lost with it. */
Test(clientlib_share, a_socket_that_cannot_be_shared)
{
	int fd = made(), poor = made();
	pid_t pid;

	share_rig->crowded = true;
	pid = fork();
	if (!pid)
		_exit(!(echoes(fd, "child") && !echoes(poor, "child")));
	cr_assert(ended_well(pid));
	cr_assert(echoes(fd, "parent"));
	cr_assert_not(echoes(poor, "parent"));
	cr_assert(left(1, 1, 0));
	netd_close(poor);
	share_rig->crowded = false;
	poor = made();
	cr_assert(echoes(poor, "another"));
}

/* ---- closes beside a fork */

enum { CLOSERS = 8, EACH = 8 };

static pthread_barrier_t together;
static int victims[CLOSERS][EACH];

static void *closer(void *arg)
{
	const int *mine = arg;

	pthread_barrier_wait(&together);
	for (int i = 0; i < EACH; i++)
		netd_close(mine[i]);
	return NULL;
}

/* Whoever comes first, thread or fork: the child does not keep what the parent closed. */
Test(clientlib_share, closes_beside_a_fork)
{
	pthread_t t[CLOSERS];
	int go[2];
	char c;

	cr_assert_eq(pthread_barrier_init(&together, NULL, CLOSERS + 1), 0);
	for (int round = 0; round < 30; round++) {
		pid_t pid;

		cr_assert_eq(pipe(go), 0);
		for (int i = 0; i < CLOSERS * EACH; i++)
			victims[i / EACH][i % EACH] = made();
		pid = fork(); /* from here on they are shared */
		if (!pid)
			_exit(0);
		cr_assert(ended_well(pid));
		for (int i = 0; i < CLOSERS; i++)
			pthread_create(&t[i], NULL, closer, victims[i]);
		pthread_barrier_wait(&together);
		pid = fork();
		if (!pid) {
			close(go[1]);
			for (int i = 0; i < CLOSERS * EACH; i++) /* those that it has: the fork came first */
				netd_close(victims[i / EACH][i % EACH]);
			_exit(read(go[0], &c, 1) != 0);
		}
		for (int i = 0; i < CLOSERS; i++)
			pthread_join(t[i], NULL);
		cr_assert(all_closed(), "in round %d", round);
		close(go[0]);
		close(go[1]);
		cr_assert(ended_well(pid));
	}
	pthread_barrier_destroy(&together);
}
