/* Sockets that a program inherits: exec, vfork, posix_spawn(). See test_process.c. */
#include "tests/apps/process.h"
#include <spawn.h>

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
	pid = exec_with(p[0], process_self, "cat");
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
	pid = exec_with(p[0], process_self, "say");
	CHECK(write(p[1], "you\n", 4) == 4);
	CHECK(recv(p[1], buf, 10, MSG_WAITALL) == 10 && !memcmp(buf, "hello you\n", 10));
	CHECK(ended_well(pid));
	CHECK(talk(p[0], p[1], "ours"));
	close_pair(p);
}

/* A program that asked for signals about its socket gets them after an exec, too. */
static void exec_async(void)
{
	sigset_t io;
	pid_t pid;
	int p[2];
	char c;

	make_pair(p);
	CHILD(pid)
	{
		sigemptyset(&io);
		sigaddset(&io, SIGIO);
		sigprocmask(SIG_BLOCK, &io, NULL);
		if (dup2(p[0], 0) != 0 || fcntl(0, F_SETOWN, getpid()) < 0 ||
		    fcntl(0, F_SETFL, O_ASYNC | O_NONBLOCK) < 0)
			_exit(3);
		close_pair(p);
		execl(process_self, process_self, "async", (char *)NULL);
		_exit(4);
	}
	close(p[0]);
	CHECK(read(p[1], &c, 1) == 1 && c == '?' && write(p[1], "!", 1) == 1);
	CHECK(ended_well(pid));
	close(p[1]);
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
		execle(process_self, process_self, "serve", word, (char *)NULL, env);
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

/* Somebody calls from another program, which ends well when it is answered. */
static void answer_call(int listener, pid_t pid)
{
	int conn;
	char c;

	CHECK(wait_for(listener, POLLIN, 20000) >= 0);
	conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(read(conn, &c, 1) == 1 && c == '?' && write(conn, "!", 1) == 1);
	CHECK(ended_well(pid));
	close(conn);
	close(listener);
}

/* Whoever is started with a clean environment, or goes to where the control socket is no more, has the same network. */
static void exec_clean(void)
{
	const char *const how[] = {"call", "jail"};
	char *const env[] = {NULL};
	struct sockaddr_in at;
	char word[32];
	int listener;
	pid_t pid;

	if (!over_tcp)
		return;
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		listener = tcp_listener(&at);
		fcntl(listener, F_SETFD, FD_CLOEXEC);
		snprintf(word, sizeof(word), "%s %d", inet_ntoa(at.sin_addr), ntohs(at.sin_port));
		CHILD(pid)
		{
			execle(process_self, process_self, how[i], word, (char *)NULL, env);
			_exit(4);
		}
		answer_call(listener, pid);
	}
}

/* The shell of system() has this process's environment. */
static void system_clean(void)
{
	struct sockaddr_in at;
	char command[400];
	int listener;
	pid_t pid;

	if (!over_tcp)
		return;
	listener = tcp_listener(&at);
	fcntl(listener, F_SETFD, FD_CLOEXEC);
	snprintf(command, sizeof(command), "exec '%s' call '%s %d'", process_self,
	    inet_ntoa(at.sin_addr), ntohs(at.sin_port));
	CHILD(pid)
	{
		clearenv();
		_exit(system(command) == 0 ? 0 : 4);
	}
	answer_call(listener, pid);
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
		execl(process_self, process_self, "cat", (char *)NULL);
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
	char *const argv[] = {(char *)(uintptr_t)process_self, (char *)(uintptr_t) "cat", NULL};
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
	CHECK(posix_spawn(&pid, process_self, &fa, NULL, argv, env) == 0);
	posix_spawn_file_actions_destroy(&fa);
	close(p[0]);
	CHECK(write(p[1], "sp", 2) == 2 && recv(p[1], buf, 2, MSG_WAITALL) == 2);
	shutdown(p[1], SHUT_WR);
	CHECK(read(p[1], buf, 1) == 0);
	CHECK(ended_well(pid));
	close(p[1]);
	CHECK(system("true") == 0);
}

void process_exec(void)
{
	int before_ = failures;

	RUN(exec_cat);
	RUN(exec_stdio);
	RUN(exec_async);
	RUN(exec_numbers);
	RUN(exec_clean);
	RUN(system_clean);
	RUN(vfork_exec);
	RUN(spawn);
}
