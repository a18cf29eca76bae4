/*
 * Sockets that several processes hold, see pair.h: fork, exec, descriptor passing, kills; the tests
 * are in process_*.c. Run with "cat", "say", "async" or "serve" as its first word the program is a helper
 * that was given its sockets by exec.
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
	return test_main(argc, argv, all);
}
