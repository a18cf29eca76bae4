/* Wait sets, descriptors, datagrams, forks of the client library against a make-believe daemon. */
#include "clientlib_rig.h"
#include "clientlib/core.h"
#include "clientlib/fdtable.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netd/netd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(clientlib_wait, .init = rig_start, .fini = rig_stop, .timeout = 30);

static struct sockaddr_in there(void)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x0a000001)};

	return in;
}

static int made(int type)
{
	struct sockaddr_in in = there();
	int fd = netd_socket(AF_INET, type, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(netd_connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static void count(void *arg, void *udata, struct nsock *s)
{
	(void)s;
	*(int *)arg += udata != NULL;
}

static bool rings(const struct nset *set, int ms)
{
	struct pollfd p = {.fd = ns_set_fd(set), .events = POLLIN};

	return poll(&p, 1, ms) == 1;
}

static void news(uint32_t slot)
{
	rig_lock();
	rig_push(slot, "n", 1);
	rig_tell(slot);
	rig_unlock();
}

Test(clientlib_wait, every_set_of_a_crowded_socket_hears)
{
	enum { SETS = 12 };
	struct nset *set[SETS];
	int fd = made(SOCK_STREAM);
	struct nsock *s = fdtable_get(fd);

	for (int i = 0; i < SETS; i++) {
		int n = 0;

		cr_assert_eq(ns_set_new(&set[i]), 0);
		cr_assert_eq(ns_set_add(set[i], s, &set[i]), 0);
		cr_assert_eq(ns_set_add(set[i], s, NULL), -EEXIST);
		ns_set_events(set[i], count, &n);
		cr_assert_eq(n, 1, "what was just added is news");
	}
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < SETS; i++) {
			int n = 0;

			ns_set_arm(set[i]);
			ns_set_events(set[i], count, &n);
		}
		for (int i = 0; i < SETS; i++) /* nothing is left from before */
			cr_assert(!rings(set[i], 0));
		news(0);
		for (int i = 0; i < SETS; i++)
			cr_assert(rings(set[i], 1000), "set %d", i);
		for (int i = 0; i < SETS; i++) {
			int n = 0;

			ns_set_disarm(set[i]);
			cr_assert_eq(ns_set_events(set[i], count, &n), 1);
		}
	}
	for (int i = 0; i < SETS; i++)
		ns_set_free(set[i]);
	ns_put(s);
	cr_assert_eq(netd_close(fd), 0);
}

Test(clientlib_wait, more_sets_than_the_daemon_has_numbers)
{
	enum { SETS = 80 };
	struct nset *set[SETS];
	int fd[SETS];

	for (int i = 0; i < SETS; i++) {
		struct nsock *s;

		fd[i] = made(SOCK_STREAM);
		s = fdtable_get(fd[i]);
		cr_assert_eq(ns_set_new(&set[i]), 0);
		cr_assert_eq(ns_set_add(set[i], s, s), 0);
		ns_set_arm(set[i]);
		ns_set_events(set[i], count, &(int){0});
		ns_put(s);
	}
	for (int i = SETS - 1; i >= 0; i -= 7) {
		int n = 0;

		news((uint32_t)i);
		cr_assert(rings(set[i], 1000), "set %d", i);
		ns_set_disarm(set[i]);
		cr_assert_eq(ns_set_events(set[i], count, &n), 1, "set %d", i);
		ns_set_arm(set[i]);
	}
	for (int i = 0; i < SETS; i++) {
		ns_set_free(set[i]);
		netd_close(fd[i]);
	}
}

Test(clientlib_wait, a_new_incarnation_is_news_of_everything)
{
	int fd = made(SOCK_STREAM), n = 0;
	struct nsock *s = fdtable_get(fd);
	struct nset *set;

	cr_assert_eq(ns_set_new(&set), 0);
	cr_assert_eq(ns_set_add(set, s, s), 0);
	ns_set_events(set, count, &n);
	cr_assert_eq(ns_set_events(set, count, &n), 0);
	store_once(&rig.h->incarnation, rig.h->incarnation + 1);
	cr_assert_eq(ns_set_events(set, count, &n), 1);
	cr_assert_eq(ns_close(s), 0);
	cr_assert_eq(ns_set_del(set, s), -ENOENT);
	ns_set_free(set);
	ns_put(s);
	netd_close(fd);
}

Test(clientlib_wait, poll_mixes_sockets_and_pipes)
{
	int a = made(SOCK_STREAM), b = made(SOCK_STREAM), p[2];
	struct pollfd fds[3] = {
	    {.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN | POLLOUT}, {.events = POLLIN}};

	cr_assert_eq(pipe(p), 0);
	fds[2].fd = p[0];
	cr_assert_eq(netd_poll(fds, 3, 0), 1);
	cr_assert_eq(fds[1].revents, POLLOUT);
	fds[1].events = POLLIN;
	cr_assert_eq(netd_poll(fds, 3, 10), 0);
	cr_assert_eq(netd_send(a, "hello", 5, 0), 5);
	cr_assert_eq(netd_poll(fds, 3, 2000), 1);
	cr_assert_eq(fds[0].revents, POLLIN);
	fds[0].fd = -1;
	cr_assert_eq(write(p[1], "x", 1), 1);
	cr_assert_eq(netd_poll(fds, 3, 2000), 1);
	cr_assert_eq(fds[2].revents, POLLIN);
	fds[2].fd = -1;
	cr_assert_eq(netd_send(b, "hello", 5, 0), 5);
	cr_assert_eq(netd_poll(fds + 1, 1, 2000), 1);
	netd_close(a);
	netd_close(b);
	close(p[0]);
	close(p[1]);
}

Test(clientlib_wait, an_event_descriptor)
{
	int fd = made(SOCK_STREAM), ev = netd_event_fd(fd);
	struct pollfd p = {.fd = ev, .events = POLLIN};
	char buf[8];

	cr_assert_geq(ev, 0);
	cr_assert_eq(netd_event_ack(fd), POLLOUT | POLLWRNORM);
	cr_assert_eq(poll(&p, 1, 0), 0);
	cr_assert_eq(netd_send(fd, "hello", 5, 0), 5);
	do /* the ring's growth was news, too */
		cr_assert_eq(poll(&p, 1, 2000), 1);
	while (!(netd_event_ack(fd) & POLLIN));
	cr_assert_eq(netd_recv(fd, buf, 8, 0), 5);
	cr_assert_eq(netd_event_ack(fd) & POLLIN, 0);
	netd_close(fd);
}

/* Waits for the set's descriptor, then takes all its news; the bits of what was entered as `data`.
 */
static int news_of(int set, void *data)
{
	struct pollfd p = {.fd = set, .events = POLLIN};
	struct netd_event ev[4];
	int n, bits = 0;

	poll(&p, 1, 2000);
	do {
		n = netd_set_events(set, ev, 4);
		cr_assert_geq(n, 0);
		for (int i = 0; i < n; i++)
			bits |= ev[i].data == data ? ev[i].events : 0;
	} while (n == 4);
	return bits;
}

Test(clientlib_wait, a_set_for_an_event_loop)
{
	enum { N = 100 };
	static char tag[N];
	int fd[N], set = netd_set_open();
	struct pollfd p = {.fd = set, .events = POLLIN};
	struct netd_event ev[N + 1];
	char buf[8];

	cr_assert_geq(set, 0);
	for (int i = 0; i < N; i++) {
		fd[i] = made(SOCK_STREAM);
		cr_assert_eq(netd_set_add(set, fd[i], &tag[i]), 0);
	}
	cr_assert_eq(netd_set_add(set, fd[0], NULL), -1);
	cr_assert_eq(errno, EEXIST);
	/* Each was just added: all are told once, in parts if asked so. */
	cr_assert_eq(netd_set_events(set, ev, 7), 7);
	cr_assert_eq(netd_set_events(set, ev, N + 1), N - 7);
	cr_assert(ev[0].events & POLLOUT);
	cr_assert_eq(netd_set_events(set, ev, N + 1), 0);
	cr_assert_eq(poll(&p, 1, 0), 0, "silent when there is no news");

	cr_assert_eq(netd_send(fd[42], "hello", 5, 0), 5);
	while (!(news_of(set, &tag[42]) & POLLIN))
		;
	cr_assert_eq(netd_recv(fd[42], buf, 8, 0), 5);

	/* Out of the set: by hand, and by being closed. */
	cr_assert_eq(netd_set_remove(set, fd[1]), 0);
	cr_assert_eq(netd_set_remove(set, fd[1]), -1);
	cr_assert_eq(errno, ENOENT);
	netd_close(fd[2]);
	cr_assert_eq(netd_send(fd[1], "hello", 5, 0), 5);
	cr_assert_eq(netd_send(fd[3], "hello", 5, 0), 5);
	for (int bits = 0; !(bits & POLLIN);) {
		int n;

		poll(&p, 1, 2000);
		n = netd_set_events(set, ev, N);
		for (int i = 0; i < n; i++) {
			cr_assert_neq(ev[i].data, &tag[1]);
			cr_assert_neq(ev[i].data, &tag[2]);
			bits |= ev[i].data == &tag[3] ? ev[i].events : 0;
		}
	}
	cr_assert_eq(netd_set_close(set), 0);
	cr_assert_eq(netd_set_events(set, ev, N), -1);
	cr_assert_eq(errno, EBADF);
	for (int i = 0; i < N; i++)
		netd_close(fd[i]);
}

Test(clientlib_wait, sets_have_an_end)
{
	int set[65], n = 0;
	struct netd_event ev[1];

	while (n < 65 && (set[n] = netd_set_open()) >= 0)
		n++;
	cr_assert_eq(n, 64);
	cr_assert_eq(errno, EMFILE);
	cr_assert_eq(netd_set_add(set[0], 0, NULL), -1);
	cr_assert_eq(errno, ENOTSOCK);
	cr_assert_eq(netd_set_events(set[0], ev, 0), -1);
	cr_assert_eq(errno, EINVAL);
	cr_assert_eq(netd_set_close(set[7]), 0);
	cr_assert_geq(set[7] = netd_set_open(), 0, "a closed one makes room");
	while (n)
		cr_assert_eq(netd_set_close(set[--n]), 0);
	cr_assert_eq(netd_set_close(set[0]), -1);
	cr_assert_eq(errno, EBADF);
}

Test(clientlib_wait, numbers)
{
	int fd = made(SOCK_STREAM), second = netd_dup(fd);
	struct stat st;

	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert(S_ISSOCK(st.st_mode));
	cr_assert_eq(netd_close(fd), 0);
	cr_assert_eq(fstat(fd, &st), -1);
	cr_assert_eq(netd_close(fd), -1);
	cr_assert_eq(errno, EBADF);
	cr_assert_eq(netd_send(second, "x", 1, 0), 1, "the second number still is the socket");
	cr_assert_eq(netd_send(0, "x", 1, 0), -1);
	cr_assert_eq(errno, ENOTSOCK);
	cr_assert_eq(netd_close(second), 0);
}

Test(clientlib_wait, datagrams_wrap_and_keep_their_borders)
{
	struct sockaddr_in to = there(), from;
	int fd = netd_socket(AF_INET, SOCK_DGRAM, 0);
	static char out[70000], in[70000];
	socklen_t len;

	memset(out, 'd', sizeof(out));
	cr_assert_eq(netd_send(fd, out, 1, 0), -1);
	cr_assert_eq(errno, EDESTADDRREQ);
	cr_assert_eq(netd_sendto(fd, out, 65508, 0, (struct sockaddr *)&to, sizeof(to)), -1);
	cr_assert_eq(errno, EMSGSIZE);
	for (int i = 0; i < 400; i++) {
		size_t n = (size_t)i * 7919 % 65507;

		out[0] = (char)i;
		cr_assert_eq(
		    netd_sendto(fd, out, n, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)n);
		len = sizeof(from);
		cr_assert_eq(netd_recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&from, &len),
		    (ssize_t)n);
		cr_assert(n == 0 || in[0] == out[0]);
		cr_assert_eq(from.sin_port, to.sin_port);
	}
	cr_assert_eq(netd_sendto(fd, "12345", 5, 0, (struct sockaddr *)&to, sizeof(to)), 5);
	cr_assert_eq(netd_recv(fd, in, 2, MSG_PEEK | MSG_TRUNC), 5);
	cr_assert_eq(netd_recv(fd, in, 2, 0), 2);
	cr_assert_eq(netd_recv(fd, in, 2, MSG_DONTWAIT), -1);
	netd_close(fd);
}

Test(clientlib_wait, where_a_datagram_came_to)
{
	struct sockaddr_in to = there();
	int fd = netd_socket(AF_INET, SOCK_DGRAM, 0), one = 1, type[4], n = 0;
	char control[128], buf[8];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control)};

	cr_assert_eq(netd_setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)), 0);
	cr_assert_eq(netd_setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one)), 0);
	cr_assert_eq(netd_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	cr_assert_eq(netd_recvmsg(fd, &m, 0), 1);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c && n < 4; c = CMSG_NXTHDR(&m, c))
		type[n++] = c->cmsg_type;
	cr_assert_eq(n, 2);
	cr_assert_eq(type[0], IP_PKTINFO);
	cr_assert_eq(type[1], IP_TTL);
	netd_close(fd);
}

Test(clientlib_wait, where_nothing_can_be_shared_sockets_stay_with_the_parent)
{
	int fd = made(SOCK_STREAM), status;
	char buf[8];
	pid_t pid = fork();

	if (!pid) {
		bool good =
		    netd_send(fd, "x", 1, 0) == -1 && errno == ENETDOWN && netd_close(fd) == 0;

		_exit(good ? 0 : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(netd_send(fd, "hello", 5, 0), 5, "the parent's is untouched");
	cr_assert_eq(netd_recv(fd, buf, 5, MSG_WAITALL), 5);
	netd_close(fd);
}

Test(clientlib_wait, pass_through)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x7f000035)};

	cr_assert(ns_pass_through((struct sockaddr *)&in, sizeof(in)));
	in.sin_port = htons(54);
	cr_assert(!ns_pass_through((struct sockaddr *)&in, sizeof(in)));
}

static void *chat(void *arg)
{
	int fd = made(SOCK_STREAM);
	char buf[64];

	for (int i = 0; i < 300; i++) {
		if (netd_send(fd, "0123456789", 10, 0) != 10 ||
		    netd_recv(fd, buf, 10, MSG_WAITALL) != 10)
			return arg;
	}
	netd_close(fd);
	return NULL;
}

Test(clientlib_wait, threads)
{
	pthread_t t[8];
	void *bad;

	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, chat, t);
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], &bad);
		cr_assert_null(bad);
	}
}

Test(clientlib_wait, forks_of_a_busy_threaded_process)
{
	pthread_t t[4];
	void *bad;
	int fd = made(SOCK_STREAM), good = 0;

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, chat, t);
	for (int i = 0; i < 40; i++) {
		int status;
		pid_t pid = fork();

		if (!pid)
			_exit(netd_close(fd) == 0 && netd_send(fd, "x", 1, 0) < 0 ? 0 : 1);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		good += status == 0;
	}
	cr_assert_eq(good, 40);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		cr_assert_null(bad);
	}
	netd_close(fd);
}

static unsigned awake; /* sleepers that have had news */

static void *sleeper(void *arg)
{
	struct nset *set = arg;
	struct pollfd p = {.fd = ns_set_fd(set), .events = POLLIN};
	int n = 0;

	while (!n) {
		ns_set_arm(set);
		if (!ns_set_events(set, count, &n))
			poll(&p, 1, 5000);
		ns_set_disarm(set);
		if (!n)
			ns_set_events(set, count, &n);
	}
	__atomic_fetch_add(&awake, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

Test(clientlib_wait, two_threads_asleep_on_one_set)
{
	int a = made(SOCK_STREAM), b = made(SOCK_STREAM);
	struct nsock *sa = fdtable_get(a), *sb = fdtable_get(b);
	struct nset *set;
	pthread_t t[2];

	cr_assert_eq(ns_set_new(&set), 0);
	cr_assert_eq(ns_set_add(set, sa, sa), 0);
	cr_assert_eq(ns_set_add(set, sb, sb), 0);
	for (int round = 0; round < 50; round++) {
		ns_set_events(set, count, &(int){0});
		for (int i = 0; i < 2; i++)
			pthread_create(&t[i], NULL, sleeper, set);
		usleep(2000);
		awake = 0;
		news(0); /* one of them takes this, the other sleeps on */
		while (!__atomic_load_n(&awake, __ATOMIC_SEQ_CST))
			usleep(100);
		news(1);
		for (int i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
	}
	ns_set_free(set);
	ns_put(sa);
	ns_put(sb);
	netd_close(a);
	netd_close(b);
}
