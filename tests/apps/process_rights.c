/* Sockets that are passed on, outlive their holder, or go with one that changes its rights. See
 * test_process.c. */
#include "tests/apps/process.h"

static void rights(void)
{
	int p[2], q[2], over[2], fd[2], both[2];
	pid_t pid;
	char c;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, over) == 0);
	CHILD(pid)
	{
		CHECK(take_rights(over[1], fd, 2, MSG_CMSG_CLOEXEC) == 2);
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
	CHECK(send_rights(over[0], both, 2) == 0);
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
	CHECK(send_rights(over[0], p, 1) == 0 && take_rights(over[1], fd, 2, 0) == 1);
	CHECK(talk(fd[0], p[1], "twin") && talk(p[1], p[0], "twin"));
	close(fd[0]);
	CHECK(send_rights(over[0], p, 1) == 0);
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

void process_rights(void)
{
	int before_ = failures;

	RUN(rights);
	RUN(killed_holders);
	RUN(other_user);
}
