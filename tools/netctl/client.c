/* The way to netd: one SEQPACKET connection, one message each way. */
#include "tools/netctl/netctl.h"
#include "proto/channel.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 10000 /* longer than any pause */

const char *socket_path(void)
{
	const char *path = getenv("NETD_SOCKET");

	return path && *path ? path : "/run/netd/netd.sock";
}

int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *path = socket_path();
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		fprintf(stderr, "netctl: the socket's path is too long: %s\n", path);
		return -1;
	}
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		const char *why = errno == ENOENT || errno == ECONNREFUSED ? "netd is not running there" : strerror(errno);

		fprintf(stderr, "netctl: %s: %s\n", path, why);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* The answer with our id; others (an answer repeated after a restart) are dropped. 0, -ETIMEDOUT, or -EPIPE: netd hung up. */
static int await(int fd, uint64_t id, response **answer)
{
	static struct channel_msg m;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		response *a;
		int ret;

		if (poll(&p, 1, ANSWER_MS) == 0)
			return -ETIMEDOUT;
		ret = channel_recv(fd, &m, 0);
		if (ret == -EAGAIN || ret == -EINTR)
			continue;
		if (ret <= 0)
			return -EPIPE;
		channel_close_fds(&m);
		a = netd__control__response__unpack(NULL, m.len, m.data);
		if (a && a->id == id) {
			*answer = a;
			return 0;
		}
		response_free(a);
	}
}

static int ask_once(request *r, response **a)
{
	int fd = dial(), ret;

	if (fd < 0)
		return fd;
	r->id = 1;
	ret = channel_send_wait(fd, &r->base, NULL, 0, ANSWER_MS);
	ret = ret ? (ret == -ETIMEDOUT ? ret : -EPIPE) : await(fd, r->id, a);
	close(fd);
	return ret;
}

response *ask(request *r)
{
	response *a = NULL;
	int ret = -EPIPE;

	/* A connection that netd accepted but had not noted when it died is closed: once more. */
	for (int attempt = 0; attempt < 5 && ret == -EPIPE; attempt++)
		ret = ask_once(r, &a);
	if (ret == -ETIMEDOUT)
		fprintf(stderr, "netctl: netd does not answer\n");
	else if (ret == -EPIPE)
		fprintf(stderr, "netctl: netd hung up\n");
	if (a && a->error) {
		fprintf(stderr, "netctl: %s\n", a->text && *a->text ? a->text : strerror(-a->error));
		response_free(a);
		return NULL;
	}
	return a;
}

void response_free(response *a)
{
	if (a)
		netd__control__response__free_unpacked(a, NULL);
}
