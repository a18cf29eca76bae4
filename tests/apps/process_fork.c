/* What a process and its children do with the sockets that they both hold. See test_process.c. */
#include "tests/apps/process.h"
#include <sched.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

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

static pid_t raw_clone(unsigned long flags)
{
	fflush(NULL);
	return (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
}

/* As it is used: clone() where there is no such call. */
static pid_t raw_clone3(void)
{
	uint64_t args[11] = {[4] = SIGCHLD};
	pid_t pid;

	fflush(NULL);
	pid = (pid_t)syscall(SYS_clone3, args, sizeof(args));
	return pid < 0 && errno == ENOSYS ? raw_clone(SIGCHLD) : pid;
}

static int cloned(void *pair)
{
	const int *p = pair;

	failures = 0;
	CHECK(talk(p[0], p[1], "child"));
	leave();
}

static void fork_by_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	pid_t pid;
	int p[2];

	make_pair(p);
	fflush(NULL);
	pid = clone(cloned, stack + sizeof(stack), SIGCHLD, p);
	CHECK(ended_well(pid) && talk(p[1], p[0], "parent"));
	pid = raw_clone3();
	if (pid == 0)
		cloned(p);
	CHECK(ended_well(pid) && talk(p[1], p[0], "parent"));
	close_pair(p);
}

/* A fork past libc, with namespaces of its own if it can have them (as vsftpd does it). */
static void fork_by_number(void)
{
	pid_t pid;
	int p[2];

	make_pair(p);
	for (int i = 0; i < 2; i++) {
		pid = i ? raw_clone(CLONE_NEWUTS | SIGCHLD) : -1;
		if (pid < 0)
			pid = raw_clone(SIGCHLD);
		CHECK(pid >= 0);
		if (pid == 0) {
			failures = 0;
			CHECK(talk(p[0], p[1], "child"));
			leave();
		}
		CHECK(ended_well(pid) && talk(p[1], p[0], "parent"));
	}
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

void process_fork(void)
{
	int before_ = failures;

	RUN(fork_both_use);
	RUN(fork_by_number);
	RUN(fork_by_clone);
	RUN(fork_last_close);
	RUN(fork_grandchild);
	RUN(fork_both_write);
	RUN(fork_both_read);
	RUN(fork_sendfile);
	RUN(fork_high_numbers);
	RUN(fork_close_all);
	RUN(fork_epoll);
}
