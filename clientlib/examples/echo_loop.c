/*
 * An echo server for many clients in one thread, with the kernel's epoll: netd_event_fd() gives
 * each socket a descriptor that any event loop can watch.
 */
#include <errno.h>
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

static int watch(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
	int event = netd_event_fd(fd);

	return event < 0 ? -1 : epoll_ctl(ep, EPOLL_CTL_ADD, event, &ev);
}

static void accept_all(int ep, int listener)
{
	int conn;

	while ((conn = netd_accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		if (watch(ep, conn) < 0)
			netd_close(conn);
}

/* Until there is nothing to read, or no room to write: then the next news brings us back. */
static void echo(int conn)
{
	const void *data;
	size_t len;
	ssize_t sent = 1;

	while (sent > 0 && netd_recv_borrow(conn, &data, &len, 0, NULL, NULL) == 0) {
		if (!len) {
			netd_close(conn);
			return;
		}
		sent = netd_send(conn, data, len, 0);
		netd_recv_release(conn, sent > 0 ? (size_t)sent : 0);
	}
	if (errno != EAGAIN)
		netd_close(conn);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argc > 1 ? argv[1] : "7000"))};
	int listener = netd_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
	    ep = epoll_create1(EPOLL_CLOEXEC);

	if (listener < 0 || netd_bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    netd_listen(listener, 128) < 0 || watch(ep, listener) < 0) {
		perror("netd");
		return 1;
	}
	for (;;) {
		struct epoll_event ev[64];
		int n = epoll_wait(ep, ev, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = ev[i].data.fd, bits = netd_event_ack(fd);

			if (fd == listener)
				accept_all(ep, fd);
			else if (bits < 0 || (bits & (POLLERR | POLLNVAL)))
				netd_close(fd);
			else
				echo(fd);
		}
	}
}
