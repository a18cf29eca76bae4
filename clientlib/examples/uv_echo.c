/*
 * An echo server for any number of clients in one thread, on libuv's event loop: uv_echo PORT
 *
 * netd_set_open() makes a set of sockets and gives a descriptor of the kernel for it, which is
 * readable when there is news on any of them: bytes to read, room to write, a connection to accept,
 * an error. So any loop that can wait for a readable descriptor can wait for netd; here a uv_poll_t
 * does.
 *
 * News is told once. So whoever hears of it uses the socket until EAGAIN; what comes after that is
 * news again. There is nothing to switch on for writing: room in a full send ring is news, too.
 */
#include <errno.h>
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define AT_ONCE 64

struct server {
	int set, listener;
};

struct client { /* here only its descriptor; a real server keeps its state of the client in it */
	int fd;
};

static void hang_up(struct client *c)
{
	netd_close(c->fd); /* leaves the set by that */
	free(c);
}

/*
 * Sends what came, straight from where it lies in the receive ring. What does not fit is left
 * there: the ring fills, the window closes, and a client that does not read cannot send for ever.
 */
static void serve(struct client *c)
{
	const void *data;
	size_t len;
	ssize_t sent;

	while (netd_recv_borrow(c->fd, &data, &len, 0, NULL, NULL) == 0) {
		sent = len ? netd_send(c->fd, data, len, 0) : 0;
		if (sent < 0 && errno == EAGAIN) {
			netd_recv_release(c->fd, 0); /* full: room will be news */
			return;
		}
		if (sent <= 0) { /* an error; or the client ended its side, and has got all */
			hang_up(c);
			return;
		}
		netd_recv_release(c->fd, (size_t)sent);
	}
	if (errno != EAGAIN)
		hang_up(c);
}

static void accept_all(struct server *s)
{
	struct client *c;
	int fd;

	while ((fd = netd_accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		c = malloc(sizeof(*c));
		if (!c || netd_set_add(s->set, fd, c) < 0) {
			free(c);
			netd_close(fd);
			continue;
		}
		c->fd = fd;
		serve(c); /* what it sent before it was in the set is no news */
	}
	if (errno != EAGAIN)
		perror("netd_accept4"); /* EMFILE, say: those that wait come later */
}

static void on_news(uv_poll_t *handle, int status, int events)
{
	struct server *s = handle->data;
	struct netd_event ev[AT_ONCE];
	int n;

	(void)status, (void)events;
	do {
		n = netd_set_events(s->set, ev, AT_ONCE);
		if (n < 0) {
			perror("netd is gone");
			exit(1);
		}
		for (int i = 0; i < n; i++) {
			if (ev[i].data)
				serve(ev[i].data);
			else
				accept_all(s);
		}
	} while (n == AT_ONCE);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argc > 1 ? argv[1] : "7000"))};
	struct server s = {.listener = netd_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
	uv_poll_t poll = {.data = &s};
	int one = 1;

	if (s.listener < 0 ||
	    netd_setsockopt(s.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    netd_bind(s.listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    netd_listen(s.listener, 1024) < 0 || (s.set = netd_set_open()) < 0 ||
	    netd_set_add(s.set, s.listener, NULL) < 0) {
		perror("netd");
		return 1;
	}
	uv_poll_init(uv_default_loop(), &poll, s.set);
	uv_poll_start(&poll, UV_READABLE, on_news);
	accept_all(&s);
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
