/*
 * An echo server for any number of clients in one thread, on libuv's event loop: uv_echo PORT
 *
 * netd_event_fd() gives a socket a descriptor of the kernel that is readable whenever there may be
 * news on the socket: bytes to read, room to write, a connection to accept, an error. So any loop
 * that can wait for a readable descriptor can wait for netd; here it is a uv_poll_t a socket.
 *
 * The pattern is always the same: netd_event_ack() first, which silences the descriptor until
 * there is further news; then use the socket until EAGAIN. News that comes in between makes the
 * descriptor readable again, so nothing is missed. There is nothing to switch on for writing: room
 * in a full send ring is news too.
 */
#include <errno.h>
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct watched {
	uv_poll_t poll; /* first, so that a handle is its socket */
	int fd;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

/* First out of the loop, then close: the descriptor in the loop goes with the socket. */
static void hang_up(struct watched *w)
{
	uv_poll_stop(&w->poll);
	netd_close(w->fd);
	uv_close((uv_handle_t *)&w->poll, on_closed);
}

/*
 * Sends what came, straight from where it lies in the receive ring. What does not fit is left
 * there: the ring fills, the window closes, and a client that does not read cannot send for ever.
 */
static void on_client(uv_poll_t *handle, int status, int events)
{
	struct watched *w = (struct watched *)handle;
	const void *data;
	size_t len;
	ssize_t sent;

	(void)events;
	if (status < 0 || netd_event_ack(w->fd) < 0) {
		hang_up(w);
		return;
	}
	while (netd_recv_borrow(w->fd, &data, &len, 0, NULL, NULL) == 0) {
		sent = len ? netd_send(w->fd, data, len, 0) : 0;
		if (sent < 0 && errno == EAGAIN) {
			netd_recv_release(w->fd, 0); /* full: room will be news */
			return;
		}
		if (sent <= 0) { /* an error; or the client ended its side, and has got all */
			hang_up(w);
			return;
		}
		netd_recv_release(w->fd, (size_t)sent);
	}
	if (errno != EAGAIN)
		hang_up(w);
}

/* Enters a socket into the loop. The first acknowledgement arms it: do it before the first look. */
static struct watched *watch(uv_loop_t *loop, int fd, uv_poll_cb news)
{
	struct watched *w = calloc(1, sizeof(*w));
	int event = netd_event_fd(fd);

	if (!w || event < 0 || uv_poll_init(loop, &w->poll, event) < 0) {
		free(w);
		return NULL;
	}
	w->fd = fd;
	uv_poll_start(&w->poll, UV_READABLE, news);
	return w;
}

static void on_listener(uv_poll_t *handle, int status, int events)
{
	struct watched *listener = (struct watched *)handle;
	struct watched *client;
	int conn;

	(void)status, (void)events;
	netd_event_ack(listener->fd);
	while ((conn = netd_accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		client = watch(handle->loop, conn, on_client);
		if (client)
			on_client(&client->poll, 0, 0); /* it may have sent already */
		else
			netd_close(conn);
	}
	if (errno != EAGAIN)
		perror("netd_accept4"); /* EMFILE, say: those that wait come later */
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argc > 1 ? argv[1] : "7000"))};
	int one = 1, listener = netd_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct watched *w;

	if (listener < 0 ||
	    netd_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    netd_bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    netd_listen(listener, 1024) < 0 ||
	    !(w = watch(uv_default_loop(), listener, on_listener))) {
		perror("netd");
		return 1;
	}
	on_listener(&w->poll, 0, 0);
	return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
