/* Fetches http://ADDRESS:PORT/ over netd: example-get 10.99.0.1 80 */
#include <arpa/inet.h>
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	int fd = netd_socket(AF_INET, SOCK_STREAM, 0);
	const void *data;
	size_t len;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: get ADDRESS PORT\n");
		return 2;
	}
	to.sin_port = htons((in_port_t)atoi(argv[2]));
	if (fd < 0 || netd_connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
	    netd_send(fd, request, strlen(request), 0) < 0) {
		perror(argv[1]);
		return 1;
	}
	while (netd_recv_borrow(fd, &data, &len, 0, NULL, NULL) == 0 && len > 0) {
		fwrite(data, 1, len, stdout);
		netd_recv_release(fd, len);
	}
	return netd_close(fd) < 0;
}
