/*
 * An echo server on netd with blocking calls, one thread a client:
 * cc echo.c $(pkg-config --cflags --libs netd) && ./a.out 7000
 */
#include <netd/netd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Serves one client until it ends its side, or is gone. A send may take less than it was given. */
static void *serve(void *arg)
{
	int conn = (int)(intptr_t)arg;
	ssize_t got, sent = 0;
	char buf[65536];

	while (sent >= 0 && (got = netd_recv(conn, buf, sizeof(buf), 0)) > 0)
		for (ssize_t at = 0; sent >= 0 && at < got; at += sent)
			sent = netd_send(conn, buf + at, (size_t)(got - at), 0);
	netd_close(conn); /* what was sent still arrives */
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argc > 1 ? argv[1] : "7000"))};
	int conn, one = 1, listener = netd_socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;

	if (listener < 0 ||
	    netd_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    netd_bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    netd_listen(listener, 128) < 0) {
		perror("netd");
		return 1;
	}
	while ((conn = netd_accept(listener, NULL, NULL)) >= 0) {
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)conn) == 0)
			pthread_detach(thread);
		else
			netd_close(conn);
	}
	perror("netd_accept");
	return 1;
}
