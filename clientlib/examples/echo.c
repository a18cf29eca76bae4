/* An echo server on netd: cc echo.c $(pkg-config --cflags --libs netd) && ./a.out 7000 */
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct sockaddr_in here = {
	    .sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(argc > 1 ? argv[1] : "7000"))};
	int one = 1, listener = netd_socket(AF_INET, SOCK_STREAM, 0);

	if (listener < 0 ||
	    netd_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    netd_bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    netd_listen(listener, 16) < 0) {
		perror("netd");
		return 1;
	}
	for (;;) {
		int conn = netd_accept(listener, NULL, NULL);
		const void *data;
		size_t len;

		if (conn < 0)
			break;
		while (netd_recv_borrow(conn, &data, &len, 0, NULL, NULL) == 0 && len > 0) {
			ssize_t sent = netd_send(conn, data, len, 0);

			if (sent < 0)
				break;
			netd_recv_release(conn, (size_t)sent);
		}
		netd_close(conn);
	}
	perror("netd_accept");
	return 1;
}
