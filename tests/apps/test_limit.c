/*
 * Limits of memory that a program sets itself: they are for its own memory, not for what netd maps into it. See pair.h.
 * With LIMITED in the environment the limit was set before the program began, where it may not be lifted: then it must do
 * with less, but it must do.
 */
#include "tests/apps/pair.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define MIB   (1ul << 20)
#define LIMIT (200 * MIB)
#define BULK  (4 * MIB)

static void *writer(void *arg)
{
	char *data = calloc(1, BULK);
	int fd = *(int *)arg;

	CHECK(data);
	for (size_t at = 0; data && at < BULK;) {
		ssize_t n = write(fd, data + at, BULK - at);

		CHECK(n > 0);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	free(data);
	return NULL;
}

static void move(int from, int to)
{
	char *back = malloc(BULK);
	pthread_t t;

	CHECK(back && pthread_create(&t, NULL, writer, &from) == 0);
	CHECK(back && recv(to, back, BULK, MSG_WAITALL) == (ssize_t)BULK);
	pthread_join(t, NULL);
	free(back);
}

static bool room_for(size_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p != MAP_FAILED && munmap(p, size) == 0;
}

/* What `work` does, in a process of its own. */
static void child(void (*work)(int p[2]), int p[2])
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		failures = 0;
		work(p);
		_exit(failures != 0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	      !WEXITSTATUS(status));
}

static void set_and_check(void)
{
	struct rlimit l = {LIMIT, LIMIT}, now;

	CHECK(setrlimit(RLIMIT_AS, &l) == 0);
	CHECK(getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_cur == LIMIT && now.rlim_max == LIMIT);
	CHECK(room_for(64 * MIB) && !room_for(LIMIT));
}

static void both_ways(int p[2])
{
	int mine[2];

	move(p[0], p[1]);
	make_pair(mine);
	move(mine[0], mine[1]);
	close_pair(mine);
}

/* What a program finds that this one becomes. */
static void exec_shell(int p[2])
{
	(void)p;
	execl("/bin/sh", "sh", "-c", "test $(ulimit -v) = 204800", NULL);
	failures++;
}

static void limited_now(int p[2])
{
	set_and_check();
	both_ways(p);
	child(both_ways, p);
	child(exec_shell, p);
	CHECK(room_for(64 * MIB) && !room_for(LIMIT));
}

static void before_any(int p[2])
{
	set_and_check();
	make_pair(p);
	both_ways(p);
	child(both_ways, p);
	child(exec_shell, p);
	CHECK(room_for(64 * MIB) && !room_for(LIMIT));
}

/* By one who has no socket yet. */
static void before(void)
{
	int p[2];

	child(before_any, p);
}

/* By one who has, as vsftpd's child for a session. */
static void after(void)
{
	int p[2];

	make_pair(p);
	child(limited_now, p);
	move(p[1], p[0]);
	close_pair(p);
}

/* Locked memory is the program's, too. */
static void locked(int p[2])
{
	struct rusage before_lock, after_lock;

	CHECK(getrusage(RUSAGE_SELF, &before_lock) == 0);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		return; /* not allowed here */
	move(p[0], p[1]);
	CHECK(getrusage(RUSAGE_SELF, &after_lock) == 0);
	CHECK(after_lock.ru_maxrss - before_lock.ru_maxrss < 200 * 1024);
}

static void lock(void)
{
	int p[2];

	make_pair(p);
	child(locked, p);
	close_pair(p);
}

static void inherited(void)
{
	int p[2];

	make_pair(p);
	both_ways(p);
	child(both_ways, p);
	close_pair(p);
}

static void all(void)
{
	int before_ = 0;

	if (getenv("LIMITED")) {
		RUN(inherited);
		return;
	}
	RUN(before);
	RUN(after);
	RUN(lock);
}

int main(int argc, char **argv)
{
	return test_main(argc, argv, all);
}
