/* Servers that fork: workers on one listener, a child for each connection, a fork among threads.
 * See test_process.c. */
#include "tests/apps/process.h"

#define WORKERS 4
#define MANY	200

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

void process_server(void)
{
	int before_ = failures;

	RUN(workers_accept);
	RUN(fork_per_connection);
	RUN(fork_with_threads);
}
