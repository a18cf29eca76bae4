/*
 * Sockets that several processes hold, see pair.h: fork, exec, descriptor passing, kills; the tests
 * are in process_*.c. Run with "cat", "say" or "serve" as its first word the program is a helper
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
	if (argc == 2 && !strcmp(argv[1], "say"))
		return say();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	return test_main(argc, argv, all);
}
