/*
 * Helpers of the call tests. The same checks run three ways, and must hold in each:
 *   unix       AF_UNIX pairs: with the preload library and no netd, it must be transparent
 *   tcp ADDR   TCP over the kernel, without the preload library: shows that the checks are right
 *   tcp ADDR   TCP over netd, by netctl run in the lab
 */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern bool over_tcp;
extern bool storm; /* netd-inet is being killed: a nested set may wake for nothing (netd-preload(7)) */
extern struct sockaddr_in address; /* port 0 */
extern int failures;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s: %s (errno %d)\n", __FILE__, __LINE__,          \
			    __func__, #cond, errno);                                               \
			failures++;                                                                \
		}                                                                                  \
	} while (0)
/* The call fails with this errno. */
#define FAILS(call, err)                                                                           \
	do {                                                                                       \
		errno = 0;                                                                         \
		CHECK((call) == -1);                                                               \
		CHECK(errno == (err));                                                             \
	} while (0)
/* With ONLY=NAME in the environment, just that test. */
#define RUN(test)                                                                                  \
	do {                                                                                       \
		if (getenv("ONLY") && strcmp(getenv("ONLY"), #test))                               \
			break;                                                                     \
		alarm(60);                                                                         \
		test();                                                                            \
		printf("%s %s\n", failures == before_ ? "ok" : "NOT OK", #test);                   \
		before_ = failures;                                                                \
	} while (0)

int test_main(int argc, char **argv, void (*all)(void));
int tcp_listener(struct sockaddr_in *at);
/* Two connected stream sockets. */
void make_pair(int fd[2]);
void close_pair(int fd[2]);
/* So many bytes, however often it takes; false at the end or an error. */
bool read_all(int fd, char *to, size_t n);
/* Milliseconds until `fd` says one of `events`, or -1 after `ms`. */
int wait_for(int fd, short events, int ms);
double seconds(void);
