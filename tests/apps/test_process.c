/*
 * Sockets that several processes hold, see pair.h: fork, exec, descriptor passing, kills; the tests
 * are in process_*.c. Run with "cat", "say", "async" or "serve" as its first word the program is a helper
 * that was given its sockets by exec, with "call" or "jail" one that makes a socket of its own.
 */
#include "tests/apps/process.h"

const char *process_self;

static void all(void)
{
	process_fork();
	process_server();
	process_exec();
	process_rights();
}

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

/* Signals about descriptor 0 were asked for before the exec. */
static int async(void)
{
	struct timespec long_wait = {10, 0}, none = {0, 0};
	sigset_t io;
	char c;

	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	while (sigtimedwait(&io, NULL, &none) == SIGIO)
		;
	if (!(fcntl(0, F_GETFL) & O_ASYNC) || write(0, "?", 1) != 1)
		return 1;
	while (read(0, &c, 1) != 1)
		if (sigtimedwait(&io, NULL, &long_wait) != SIGIO)
			return 2;
	return c == '!' ? 0 : 3;
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

/* Connects to where it was told. */
static int call(const char *where)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	char host[20], c;
	int port, fd;

	if (sscanf(where, "%19s %d", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &at.sin_addr) != 1)
		return 1;
	at.sin_port = htons((in_port_t)port);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
		return 2;
	return write(fd, "?", 1) == 1 && read(fd, &c, 1) == 1 && c == '!' ? 0 : 3;
}

/* The same by a child, from a root folder that has nothing in it, if we may go there. */
static int jail(const char *where)
{
	char folder[] = "/tmp/netd-jail.XXXXXX";
	pid_t pid;

	if (!mkdtemp(folder) || chdir(folder) || rmdir(folder) || (chroot(".") && errno != EPERM))
		return 4;
	pid = fork();
	if (pid == 0)
		_exit(call(where));
	return ended_well(pid) ? 0 : 5;
}

int main(int argc, char **argv)
{
	process_self = argv[0];
	if (argc == 2 && !strcmp(argv[1], "cat"))
		return cat();
	if (argc == 2 && !strcmp(argv[1], "async"))
		return async();
	if (argc == 2 && !strcmp(argv[1], "say"))
		return say();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "call"))
		return call(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "jail"))
		return jail(argv[2]);
	return test_main(argc, argv, all);
}
