/*
 * Sockets that several processes hold, see pair.h: fork, exec, descriptor passing, kills. Run with
 * "cat", "say" or "serve" as its first word the program is a helper that was given its sockets by
 * exec.
 */
#include "tests/apps/pair.h"
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>

#define WORKERS 4
#define MANY	200

static const char *self;

/* The child's end: its failures are its status. */
static void leave(void)
{
	_exit(failures ? 1 : 0);
}

/* A child that runs the block. */
#define CHILD(pid)                                                                                 \
	fflush(NULL);                                                                              \
	(pid) = fork();                                                                            \
	CHECK((pid) >= 0);                                                                         \
	if ((pid) == 0)                                                                            \
		failures = 0;                                                                      \
	if ((pid) == 0)

static bool ended_well(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Writes and reads one word through both ends. */
static bool talk(int from, int to, const char *word)
{
	char buf[64];
	size_t len = strlen(word), done = 0;

	if (write(from, word, len) != (ssize_t)len)
		return false;
	while (done < len) {
		ssize_t n = read(to, buf + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return !memcmp(buf, word, len);
}

/* ---- fork */

static void fork_both_use(void)
{
	char buf[64];
	pid_t pid;
	int p[2];

	make_pair(p);
	CHECK(talk(p[0], p[1], "before"));
	CHILD(pid)
	{
		CHECK(write(p[0], "child", 5) == 5);
		CHECK(read(p[0], buf, 6) == 6 && !memcmp(buf, "parent", 6));
		CHECK(fcntl(p[0], F_SETFL, O_RDWR | O_NONBLOCK) == 0);
		FAILS(read(p[0], buf, 1), EAGAIN);
		CHECK(write(p[0], "done", 4) == 4);
		leave();
	}
	CHECK(read(p[1], buf, 5) == 5 && !memcmp(buf, "child", 5));
	CHECK(write(p[1], "parent", 6) == 6);
	CHECK(read(p[1], buf, 4) == 4);
	CHECK(ended_well(pid));
	/* One open file description: its flags are everybody's. */
	CHECK(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	CHECK(fcntl(p[0], F_SETFL, O_RDWR) == 0);
	CHECK(talk(p[0], p[1], "after") && talk(p[1], p[0], "back"));
	close_pair(p);
}

static void fork_last_close(void)
{
	pid_t pid;
	int p[2], go[2];
	char c;

	make_pair(p);
	CHECK(pipe(go) == 0);
	CHILD(pid)
	{
		close(p[1]);
		CHECK(read(go[0], &c, 1) == 1);
		CHECK(write(p[0], "late", 4) == 4);
		leave();
	}
	close(p[0]);
	CHECK(wait_for(p[1], POLLIN, 100) == -1); /* the child holds it open */
	CHECK(write(go[1], "x", 1) == 1);
	CHECK(wait_for(p[1], POLLIN, 5000) >= 0);
	CHECK(read(p[1], &c, 1) == 1 && c == 'l');
	CHECK(ended_well(pid));
	for (int i = 0; i < 3; i++)
		CHECK(read(p[1], &c, 1) == 1);
	CHECK(wait_for(p[1], POLLIN, 5000) >= 0 && read(p[1], &c, 1) == 0);
	close(p[1]);
	close(go[0]);
	close(go[1]);
}

static void fork_grandchild(void)
{
	pid_t pid;
	int p[2];
	char buf[16];

	make_pair(p);
	CHILD(pid)
	{
		CHILD(pid)
		{
			CHILD(pid)
			{
				CHECK(talk(p[0], p[1], "third"));
				CHECK(write(p[1], "deep", 4) == 4);
				leave();
			}
			CHECK(ended_well(pid));
			leave();
		}
		CHECK(ended_well(pid));
		leave();
	}
	CHECK(read(p[0], buf, 4) == 4 && !memcmp(buf, "deep", 4));
	CHECK(ended_well(pid));
	CHECK(talk(p[1], p[0], "still"));
	close_pair(p);
}

/* Both write records at the same time; none is torn, none is lost. */
static void fork_both_write(void)
{
	enum { RECORDS = 3000 };
	struct record {
		uint32_t who, count;
		char fill[56];
	} r;
	uint32_t next[2] = {0, 0};
	pid_t pid, reader;
	int p[2];

	make_pair(p);
	CHILD(reader)
	{
		close(p[0]);
		for (int i = 0; i < 2 * RECORDS; i++) {
			if (recv(p[1], &r, sizeof(r), MSG_WAITALL) != sizeof(r) || r.who > 1 ||
			    r.count != next[r.who]++) {
				CHECK(!"torn or lost");
				break;
			}
		}
		leave();
	}
	close(p[1]);
	CHILD(pid)
	{
		r = (struct record){.who = 1};
		for (; r.count < RECORDS; r.count++)
			CHECK(write(p[0], &r, sizeof(r)) == sizeof(r));
		leave();
	}
	r = (struct record){.who = 0};
	for (; r.count < RECORDS; r.count++)
		CHECK(write(p[0], &r, sizeof(r)) == sizeof(r));
	CHECK(ended_well(pid));
	CHECK(ended_well(reader));
	close(p[0]);
}

/* A child reads what the parent does not: every byte once. */
static void fork_both_read(void)
{
	enum { BYTES = 1000000 };
	int p[2], sum[2];
	unsigned total = 0, expect = 0;
	char buf[1000];
	pid_t pid, writer;
	ssize_t n;

	make_pair(p);
	CHECK(pipe(sum) == 0);
	CHILD(writer)
	{
		close(p[0]);
		for (int i = 0; i < BYTES / 1000; i++) {
			memset(buf, i, sizeof(buf));
			CHECK(write(p[1], buf, sizeof(buf)) == sizeof(buf));
		}
		leave();
	}
	close(p[1]);
	CHILD(pid)
	{
		while ((n = read(p[0], buf, sizeof(buf))) > 0)
			for (ssize_t i = 0; i < n; i++)
				total += (unsigned char)buf[i];
		CHECK(n == 0 && write(sum[1], &total, sizeof(total)) == sizeof(total));
		leave();
	}
	while ((n = read(p[0], buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			total += (unsigned char)buf[i];
	CHECK(n == 0);
	for (int i = 0; i < BYTES / 1000; i++)
		expect += 1000u * (unsigned char)i;
	{
		unsigned theirs = 0;

		CHECK(read(sum[0], &theirs, sizeof(theirs)) == sizeof(theirs));
		CHECK(total + theirs == expect);
	}
	CHECK(ended_well(writer));
	CHECK(ended_well(pid));
	close(p[0]);
	close(sum[0]);
	close(sum[1]);
}

/* A file goes out through a socket that two hold. */
static void fork_sendfile(void)
{
	char path[] = "/tmp/netd-process.XXXXXX", buf[1000];
	off_t off = 50000;
	int p[2], file = mkstemp(path), sum = 0;
	pid_t pid;
	ssize_t n;

	unlink(path);
	for (int i = 0; i < 100; i++) {
		memset(buf, i, sizeof(buf));
		CHECK(write(file, buf, sizeof(buf)) == sizeof(buf));
	}
	CHECK(lseek(file, 0, SEEK_SET) == 0);
	make_pair(p);
	CHILD(pid)
	{
		close(p[1]);
		for (size_t left = 100000; left; left -= (size_t)n) {
			n = sendfile(p[0], file, NULL, left);
			CHECK(n > 0);
			if (n <= 0)
				break;
		}
		CHECK(lseek(file, 0, SEEK_CUR) == 100000);
		CHECK(sendfile(p[0], file, &off, 10) == 10 && off == 50010);
		leave();
	}
	close(p[0]);
	while ((n = read(p[1], buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, sum++)
			if (buf[i] != (sum < 100000 ? sum / 1000 : 50))
				failures++;
	CHECK(n == 0 && sum == 100010);
	CHECK(ended_well(pid));
	close(p[1]);
	close(file);
}

static void fork_high_numbers(void)
{
	struct rlimit rl;
	pid_t pid;
	int p[2], high;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur < 3000)
		return;
	make_pair(p);
	high = fcntl(p[0], F_DUPFD, 2500);
	CHECK(high >= 2500);
	close(p[0]);
	CHILD(pid)
	{
		CHECK(talk(high, p[1], "high"));
		leave();
	}
	CHECK(ended_well(pid));
	CHECK(talk(p[1], high, "again"));
	close(high);
	close(p[1]);
}

/* As daemons do: all descriptors closed, then a fresh start. */
static void fork_close_all(void)
{
	pid_t pid;
	int p[2], q[2];
	char c;

	make_pair(p);
	CHILD(pid)
	{
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		make_pair(q);
		CHECK(talk(q[0], q[1], "fresh"));
		close_pair(q);
		close_range(3, ~0u, 0);
		make_pair(q);
		CHECK(talk(q[0], q[1], "fresh"));
		leave();
	}
	CHECK(ended_well(pid));
	CHECK(talk(p[0], p[1], "kept"));
	close(p[0]);
	CHECK(read(p[1], &c, 1) == 0);
	close(p[1]);
}

static void fork_epoll(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	pid_t pid;
	int p[2], ep = epoll_create1(0);
	char c;

	make_pair(p);
	ev.data.fd = p[0];
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
	CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
	CHILD(pid)
	{
		CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && ev.data.fd == p[0]);
		CHECK(read(p[0], &c, 1) == 1);
		CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
		leave();
	}
	CHECK(write(p[1], "x", 1) == 1);
	CHECK(ended_well(pid));
	CHECK(write(p[1], "y", 1) == 1);
	CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && read(p[0], &c, 1) == 1 && c == 'y');
	close_pair(p);
	close(ep);
}

/* ---- servers */

static int client_of(const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof(*at)) == 0);
	return fd;
}

/* Workers accept on one listener: each connection has one of them. */
static void workers_accept(void)
{
	struct sockaddr_in at;
	pid_t pid[WORKERS];
	int l, got[WORKERS] = {0}, sum = 0;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	for (int i = 0; i < WORKERS; i++) {
		CHILD(pid[i])
		{
			for (;;) {
				int c = accept(l, NULL, NULL);
				char me = (char)i;

				if (c < 0 || write(c, &me, 1) != 1)
					_exit(1);
				close(c);
			}
		}
	}
	for (int i = 0; i < MANY; i++) {
		char who[2];
		int c = client_of(&at);

		if (recv(c, who, 2, MSG_WAITALL) == 1 && who[0] >= 0 && who[0] < WORKERS)
			got[(int)who[0]]++;
		close(c);
	}
	for (int i = 0; i < WORKERS; i++)
		sum += got[i];
	CHECK(sum == MANY);
	for (int i = 0; i < WORKERS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	/* They are gone; the listener is not. */
	{
		int c = client_of(&at), s = accept(l, NULL, NULL);

		CHECK(s >= 0 && talk(c, s, "mine"));
		close(c);
		close(s);
	}
	close(l);
}

/* A child for each connection, the parent keeps none. */
static void fork_per_connection(void)
{
	struct sockaddr_in at;
	char buf[16];
	int l, c[8];
	pid_t pid;

	if (!over_tcp)
		return;
	l = tcp_listener(&at);
	for (int i = 0; i < 8; i++) {
		int s;

		c[i] = client_of(&at);
		s = accept(l, NULL, NULL);
		CHECK(s >= 0);
		CHILD(pid)
		{
			ssize_t n;

			close(l);
			for (int k = 0; k <= i; k++)
				close(c[k]);
			while ((n = read(s, buf, sizeof(buf))) > 0)
				CHECK(write(s, buf, (size_t)n) == n);
			leave();
		}
		close(s);
	}
	for (int i = 7; i >= 0; i--) {
		CHECK(write(c[i], "ping", 4) == 4);
		CHECK(recv(c[i], buf, 4, MSG_WAITALL) == 4 && !memcmp(buf, "ping", 4));
		CHECK(shutdown(c[i], SHUT_WR) == 0 && read(c[i], buf, 1) == 0);
		close(c[i]);
	}
	for (int i = 0; i < 8; i++)
		CHECK(ended_well(-1));
	close(l);
}

/* ---- threads */

static volatile bool stop_threads;

static void *ping_pong(void *arg)
{
	int *p = arg;
	intptr_t wrong = 0;

	while (!stop_threads)
		wrong += !talk(p[0], p[1], "there") || !talk(p[1], p[0], "and back");
	return (void *)wrong;
}

static void fork_with_threads(void)
{
	enum { THREADS = 3, FORKS = 30 };
	pthread_t t[THREADS];
	int p[THREADS][2], q[2];
	pid_t pid;

	for (int i = 0; i < THREADS; i++)
		make_pair(p[i]);
	make_pair(q);
	stop_threads = false;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, ping_pong, p[i]);
	for (int i = 0; i < FORKS; i++) {
		CHILD(pid)
		{
			int own[2];

			CHECK(talk(q[0], q[1], "child"));
			make_pair(own);
			CHECK(talk(own[0], own[1], "own"));
			leave();
		}
		CHECK(ended_well(pid));
	}
	stop_threads = true;
	for (int i = 0; i < THREADS; i++) {
		void *wrong;

		pthread_join(t[i], &wrong);
		CHECK(wrong == NULL);
		close(p[i][0]);
		CHECK(read(p[i][1], &pid, 1) == 0); /* no child keeps it */
		close(p[i][1]);
	}
	close_pair(q);
}

/* ---- exec */

/* Starts ourselves as `what` with this socket as 0 and 1. */
static pid_t exec_with(int fd, const char *path, const char *what)
{
	pid_t pid;

	CHILD(pid)
	{
		if (dup2(fd, 0) != 0 || dup2(fd, 1) != 1)
			_exit(3);
		execl(path, path, what, (char *)NULL);
		_exit(4);
	}
	return pid;
}

static void exec_cat(void)
{
	char buf[16];
	pid_t pid;
	int p[2];

	make_pair(p);
	CHECK(fcntl(p[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(p[1], F_SETFD, FD_CLOEXEC) == 0);
	pid = exec_with(p[0], self, "cat");
	close(p[0]);
	for (int i = 0; i < 100; i++) {
		CHECK(write(p[1], "over", 4) == 4);
		CHECK(recv(p[1], buf, 4, MSG_WAITALL) == 4 && !memcmp(buf, "over", 4));
	}
	CHECK(shutdown(p[1], SHUT_WR) == 0);
	CHECK(read(p[1], buf, 1) == 0);
	CHECK(ended_well(pid));
	close(p[1]);
}

static void exec_stdio(void)
{
	char buf[64];
	pid_t pid;
	int p[2];

	make_pair(p);
	CHECK(fcntl(p[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(p[1], F_SETFD, FD_CLOEXEC) == 0);
	pid = exec_with(p[0], self, "say");
	CHECK(write(p[1], "you\n", 4) == 4);
	CHECK(recv(p[1], buf, 10, MSG_WAITALL) == 10 && !memcmp(buf, "hello you\n", 10));
	CHECK(ended_well(pid));
	CHECK(talk(p[0], p[1], "ours"));
	close_pair(p);
}

/* Numbers with FD_CLOEXEC stay behind, the others go along; an exec that fails changes nothing. */
static void exec_numbers(void)
{
	char *const none[] = {(char *)(uintptr_t) "no", NULL};
	char word[32];
	char c;
	pid_t pid;
	int p[2], q[2];

	make_pair(p);
	make_pair(q);
	CHECK(fcntl(q[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(q[1], F_SETFD, FD_CLOEXEC) == 0);
	FAILS(execv("/nonexistent", none), ENOENT);
	CHECK(talk(p[0], p[1], "still"));
	CHILD(pid)
	{
		char *const env[] = {NULL};

		close(p[1]);
		close(q[1]);
		snprintf(word, sizeof(word), "%d %d", p[0], q[0]);
		execle(self, self, "serve", word, (char *)NULL, env);
		_exit(4);
	}
	close(p[0]);
	CHECK(write(p[1], "?", 1) == 1 && read(p[1], &c, 1) == 1 && c == '!');
	CHECK(ended_well(pid));
	CHECK(read(p[1], &c, 1) == 0);
	close(p[1]);
	close(q[0]);
	CHECK(read(q[1], &c, 1) == 0);
	close(q[1]);
}

/* ---- processes started in other ways */

static void vfork_exec(void)
{
	char buf[8];
	pid_t pid;
	int p[2];

	make_pair(p);
	fcntl(p[1], F_SETFD, FD_CLOEXEC);
	pid = vfork();
	if (pid == 0) {
		dup2(p[0], 0);
		dup2(p[0], 1);
		execl(self, self, "cat", (char *)NULL);
		_exit(4);
	}
	close(p[0]);
	CHECK(write(p[1], "vf", 2) == 2 && recv(p[1], buf, 2, MSG_WAITALL) == 2);
	shutdown(p[1], SHUT_WR);
	CHECK(ended_well(pid));
	close(p[1]);
}

static void spawn(void)
{
	char *const argv[] = {(char *)(uintptr_t)self, (char *)(uintptr_t) "cat", NULL};
	char *const env[] = {NULL};
	posix_spawn_file_actions_t fa;
	char buf[8];
	pid_t pid;
	int p[2];

	make_pair(p);
	fcntl(p[0], F_SETFD, FD_CLOEXEC);
	fcntl(p[1], F_SETFD, FD_CLOEXEC);
	posix_spawn_file_actions_init(&fa);
	CHECK(posix_spawn_file_actions_adddup2(&fa, p[0], 0) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&fa, p[0], 1) == 0);
	CHECK(posix_spawn(&pid, self, &fa, NULL, argv, env) == 0);
	posix_spawn_file_actions_destroy(&fa);
	close(p[0]);
	CHECK(write(p[1], "sp", 2) == 2 && recv(p[1], buf, 2, MSG_WAITALL) == 2);
	shutdown(p[1], SHUT_WR);
	CHECK(read(p[1], buf, 1) == 0);
	CHECK(ended_well(pid));
	close(p[1]);
	CHECK(system("true") == 0);
}

/* ---- SCM_RIGHTS */

static int send_fds(int over, const int *fd, size_t n)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} c = {.h = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(char[]){'f'}, 1};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &c,
	    .msg_controllen = CMSG_SPACE(n * sizeof(int))};

	c.h.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&c.h), fd, n * sizeof(int));
	return sendmsg(over, &m, 0) == 1 ? 0 : -1;
}

static size_t receive_fds(int over, int *fd, int flags)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} c;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	size_t n;

	if (recvmsg(over, &m, flags) != 1 || m.msg_controllen < CMSG_LEN(sizeof(int)))
		return 0;
	n = (c.h.cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fd, CMSG_DATA(&c.h), n * sizeof(int));
	return n;
}

static void rights(void)
{
	int p[2], q[2], over[2], fd[2], both[2];
	pid_t pid;
	char c;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	CHILD(pid)
	{
		CHECK(receive_fds(over[1], fd, MSG_CMSG_CLOEXEC) == 2);
		CHECK(fcntl(fd[0], F_GETFD) & FD_CLOEXEC);
		CHECK(read(fd[0], &c, 1) == 1 && c == 'w');
		CHECK(write(fd[0], "passed", 6) == 6);
		CHECK(wait_for(fd[1], POLLIN, 0) == -1);
		leave();
	}
	make_pair(p); /* made after the fork: the child knows it from the message only */
	make_pair(q);
	CHECK(write(p[1], "w", 1) == 1);
	both[0] = p[0];
	both[1] = q[0];
	CHECK(send_fds(over[0], both, 2) == 0);
	close(p[0]); /* it may be on its way now, held by nobody but the message */
	close(q[0]);
	{
		char buf[8];

		CHECK(recv(p[1], buf, 6, MSG_WAITALL) == 6 && !memcmp(buf, "passed", 6));
	}
	CHECK(ended_well(pid));
	CHECK(read(p[1], &c, 1) == 0 && read(q[1], &c, 1) == 0);
	close(p[1]);
	close(q[1]);
	/* To ourselves, and lost on the way. */
	make_pair(p);
	CHECK(send_fds(over[0], p, 1) == 0 && receive_fds(over[1], fd, 0) == 1);
	CHECK(talk(fd[0], p[1], "twin") && talk(p[1], p[0], "twin"));
	close(fd[0]);
	CHECK(send_fds(over[0], p, 1) == 0);
	close(p[0]);
	close(over[0]);
	close(over[1]);
	CHECK(wait_for(p[1], POLLIN, 5000) >= 0 && read(p[1], &c, 1) == 0);
	close(p[1]);
}

/* ---- deaths */

/* Children are killed while they write and read: the others go on. */
static void killed_holders(void)
{
	enum { ROUNDS = 20 };
	char buf[4096];
	int p[2], end = 0;
	pid_t pid, sink;

	make_pair(p);
	CHILD(sink)
	{
		static const char last[] = "the end";
		size_t hit = 0;
		ssize_t n;

		close(p[0]);
		while (hit < 7 && (n = read(p[1], buf, sizeof(buf))) > 0)
			for (ssize_t i = 0; i < n; i++)
				hit = buf[i] == last[hit] ? hit + 1 : buf[i] == last[0];
		CHECK(hit == 7);
		leave();
	}
	close(p[1]);
	memset(buf, 'x', sizeof(buf));
	for (int i = 0; i < ROUNDS; i++) {
		CHILD(pid)
		{
			while (write(p[0], buf, 1 + (size_t)(end++ % 4000)) > 0)
				;
			leave();
		}
		usleep(2000 + 700 * (useconds_t)i);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		CHECK(write(p[0], "y", 1) == 1);
	}
	CHECK(write(p[0], "the end", 7) == 7);
	CHECK(ended_well(sink));
	close(p[0]);
}

/* A worker gives up its rights: its sockets stay, privileged ports go. */
static void other_user(void)
{
	struct sockaddr_in low = {.sin_family = AF_INET, .sin_port = htons(81)};
	FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
	int p[2], first = 1024;
	pid_t pid;

	if (f) {
		if (fscanf(f, "%d", &first) != 1)
			first = 1024;
		fclose(f);
	}
	if (!over_tcp || geteuid() != 0 || first <= 81)
		return;
	make_pair(p);
	CHILD(pid)
	{
		int s;

		CHECK(setgid(65534) == 0 && setuid(65534) == 0);
		CHECK(talk(p[0], p[1], "nobody"));
		s = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(s >= 0);
		FAILS(bind(s, (struct sockaddr *)&low, sizeof(low)), EACCES);
		low.sin_port = 0;
		CHECK(bind(s, (struct sockaddr *)&low, sizeof(low)) == 0);
		leave();
	}
	CHECK(ended_well(pid));
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	RUN(fork_both_use);
	RUN(fork_last_close);
	RUN(fork_grandchild);
	RUN(fork_both_write);
	RUN(fork_both_read);
	RUN(fork_sendfile);
	RUN(fork_high_numbers);
	RUN(fork_close_all);
	RUN(fork_epoll);
	RUN(workers_accept);
	RUN(fork_per_connection);
	RUN(fork_with_threads);
	RUN(exec_cat);
	RUN(exec_stdio);
	RUN(exec_numbers);
	RUN(vfork_exec);
	RUN(spawn);
	RUN(rights);
	RUN(killed_holders);
	RUN(other_user);
}

/* ---- the helpers */

static int cat(void)
{
	char buf[512];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (write(1, buf, (size_t)n) != n)
			return 1;
	return n < 0;
}

static int say(void)
{
	char name[32];

	return scanf("%31s", name) == 1 && printf("hello %s\n", name) > 0 ? 0 : 1;
}

/* The first number must be a socket, the second must be closed. */
static int serve(const char *numbers)
{
	int kept, gone;
	char c;

	if (sscanf(numbers, "%d %d", &kept, &gone) != 2 || fcntl(gone, F_GETFD) != -1)
		return 1;
	return read(kept, &c, 1) == 1 && c == '?' && write(kept, "!", 1) == 1 ? 0 : 2;
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 2 && !strcmp(argv[1], "cat"))
		return cat();
	if (argc == 2 && !strcmp(argv[1], "say"))
		return say();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	return test_main(argc, argv, all);
}
