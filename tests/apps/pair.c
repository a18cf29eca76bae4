#include "tests/apps/pair.h"

bool over_tcp, storm;
struct sockaddr_in address = {.sin_family = AF_INET};
int failures;

int test_main(int argc, char **argv, void (*all)(void))
{
	if (argc == 3 && !strcmp(argv[1], "tcp") &&
	    inet_pton(AF_INET, argv[2], &address.sin_addr) == 1) {
		over_tcp = true;
	} else if (argc != 2 || strcmp(argv[1], "unix")) {
		fprintf(stderr, "usage: %s unix | tcp ADDRESS\n", argv[0]);
		return 2;
	}
	storm = getenv("STORM") && *getenv("STORM");
	setvbuf(stdout, NULL, _IOLBF, 0);
	all();
	printf("%d failures\n", failures);
	return failures != 0;
}

int tcp_listener(struct sockaddr_in *at)
{
	int l = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(*at);

	*at = address;
	if (l < 0 || bind(l, (struct sockaddr *)at, sizeof(*at)) < 0 || listen(l, 16) < 0 ||
	    getsockname(l, (struct sockaddr *)at, &len) < 0) {
		perror("listener");
		exit(1);
	}
	return l;
}

void make_pair(int fd[2])
{
	struct sockaddr_in at;
	int l;

	if (!over_tcp) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0) {
			perror("socketpair");
			exit(1);
		}
		return;
	}
	l = tcp_listener(&at);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (fd[0] < 0 || connect(fd[0], (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    (fd[1] = accept(l, NULL, NULL)) < 0) {
		perror("pair");
		exit(1);
	}
	close(l);
}

void close_pair(int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

bool read_all(int fd, char *to, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, to + done, n - done);

		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int wait_for(int fd, short events, int ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	double start = seconds();

	return poll(&p, 1, ms) == 1 ? (int)((seconds() - start) * 1000) : -1;
}
