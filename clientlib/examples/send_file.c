/*
 * Sends a file without copying it in memory: send_file FILE ADDRESS PORT
 *
 * netd_send_reserve() lends room in the socket's transmit ring. The file is read straight into it,
 * and netd_send_commit() sends what was read: no buffer of our own, no copy into the stack. The
 * peer sees an ordinary stream (try: nc -l 7000 >copy).
 *
 * The same works for anything that can produce its bytes in place: a compressor, a serializer, a
 * reader of another socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netd/netd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A wish: we are lent less at the ring's end, and when it is nearly full. */
#define AT_ONCE (1 << 20)

/* Returns how many bytes were sent, or -1 with errno. */
static long long send_file(int conn, int file)
{
	long long total = 0;
	size_t room;
	void *at;
	ssize_t n;

	for (;;) {
		/* Waits until there is room for at least one byte. */
		if (netd_send_reserve(conn, AT_ONCE, &at, &room, 0, NULL, 0) < 0)
			return -1;
		do
			n = read(file, at, room);
		while (n < 0 && errno == EINTR);
		/* Every reserve has its commit: -1 gives the room back unused. */
		if (n <= 0) {
			int why = errno;

			netd_send_commit(conn, -1);
			errno = why;
			return n < 0 ? -1 : total;
		}
		if (netd_send_commit(conn, n) < 0)
			return -1;
		total += n;
	}
}

/* Says that this was all, and waits until the peer has read it and closes too. */
static int finish(int conn)
{
	char ignored[4096];
	ssize_t n;

	if (netd_shutdown(conn, SHUT_WR) < 0)
		return -1;
	do
		n = netd_recv(conn, ignored, sizeof(ignored), 0);
	while (n > 0);
	return (int)n;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int conn, file;
	long long sent;

	if (argc != 4 || inet_pton(AF_INET, argv[2], &to.sin_addr) != 1) {
		fprintf(stderr, "usage: send_file FILE ADDRESS PORT\n");
		return 2;
	}
	to.sin_port = htons((in_port_t)atoi(argv[3]));
	file = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (file < 0) {
		perror(argv[1]);
		return 1;
	}
	conn = netd_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (conn < 0 || netd_connect(conn, (struct sockaddr *)&to, sizeof(to)) < 0) {
		perror(argv[2]);
		return 1;
	}
	sent = send_file(conn, file);
	if (sent < 0 || finish(conn) < 0) {
		perror("send_file");
		return 1;
	}
	printf("%lld bytes sent\n", sent);
	netd_close(conn);
	close(file);
	return 0;
}
