/* Streams of the client library against a make-believe daemon. */
#include "clientlib_rig.h"
#include "clientlib/core.h"
#include <poll.h>
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

TestSuite(clientlib_stream, .init = rig_start, .fini = rig_stop, .timeout = 30);

static struct sockaddr_in to_port(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((in_port_t)port)};

	in.sin_addr.s_addr = htonl(0x0a000001);
	return in;
}

static struct nsock *connected(void)
{
	struct sockaddr_in to = to_port(80);
	struct nsock *s;

	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &s), 0);
	cr_assert_eq(ns_connect(s, (struct sockaddr *)&to, sizeof(to), false), 0);
	return s;
}

static ssize_t put(struct nsock *s, const void *data, size_t len, bool nonblock)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return ns_sendmsg(s, &m, 0, nonblock);
}

static ssize_t take(struct nsock *s, void *data, size_t len, int flags)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return ns_recvmsg(s, &m, flags, false);
}

Test(clientlib_stream, local_checks_have_the_kernels_errno)
{
	struct nsock *s;

	cr_assert_eq(ns_socket(AF_UNIX, SOCK_STREAM, 0, &s), -EAFNOSUPPORT);
	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, IPPROTO_UDP, &s), -EPROTONOSUPPORT);
	cr_assert_eq(ns_socket(AF_INET, 0, 0, &s), -ESOCKTNOSUPPORT);
	cr_assert_eq(ns_socket(AF_INET, SOCK_SEQPACKET, 0, &s), -ESOCKTNOSUPPORT);
}

Test(clientlib_stream, echo_wraps_many_times)
{
	static uint8_t out[300000], in[300000];
	struct nsock *s = connected();
	size_t got = 0, sent = 0;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + (i >> 8));
	while (got < sizeof(in)) {
		ssize_t n = sent < sizeof(out)
				? put(s, out + sent,
				      sizeof(out) - sent > 7001 ? 7001 : sizeof(out) - sent, true)
				: 0;

		if (n > 0)
			sent += (size_t)n;
		n = take(s, in + got, 5003, 0);
		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	cr_assert_arr_eq(in, out, sizeof(in));
	cr_assert_lt(rig.pokes, 2000);
	ns_put(s);
}

Test(clientlib_stream, waitall_peek_and_trunc)
{
	struct nsock *s = connected();
	char buf[16] = "";
	int n;

	cr_assert_eq(put(s, "hello", 5, false), 5);
	cr_assert_eq(take(s, buf, 5, MSG_WAITALL | MSG_PEEK), 5);
	cr_assert_eq(ns_ioctl(s, FIONREAD, &n), 0);
	cr_assert_eq(n, 5);
	cr_assert_eq(take(s, buf, 2, MSG_TRUNC), 2);
	cr_assert_eq(take(s, buf, 3, MSG_WAITALL), 3);
	cr_assert_arr_eq(buf, "llo", 3);
	cr_assert_eq(take(s, buf, 1, MSG_DONTWAIT), -EAGAIN);
	ns_put(s);
}

Test(clientlib_stream, the_receive_ring_moves_under_the_reader)
{
	struct nsock *s = connected();
	uint8_t out[3000], in[3000];
	size_t got = 0;

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	rig_lock();
	rig_push(0, out, 1000);
	rig_tell(0);
	rig_unlock();
	cr_assert_eq(take(s, in, 400, 0), 400);
	rig_lock();
	rig_move(0, true, 65536);
	rig_push(0, out + 1000, 2000);
	rig_tell(0);
	rig_unlock();
	for (got = 400; got < sizeof(in);) {
		ssize_t n = take(s, in + got, sizeof(in) - got, 0);

		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
	cr_assert_arr_eq(in, out, sizeof(in));
	cr_assert_eq(load_once(&rig_slot(0)->rx_epoch_ack), rig.sock[0].rx.epoch);
	ns_put(s);
}

Test(clientlib_stream, the_transmit_ring_grows_to_its_limit)
{
	static uint8_t block[1 << 20];
	struct nsock *s = connected();
	size_t sent = 0;
	ssize_t n;

	rig_lock();
	rig.sock[0].rx.cap = 0; /* nobody takes anything */
	rig_unlock();
	while ((n = put(s, block, sizeof(block), true)) > 0)
		sent += (size_t)n;
	cr_assert_eq(n, -EAGAIN);
	cr_assert_eq(sent, 4u << 20);
	cr_assert_eq(ns_poll(s) & POLLOUT, 0);
	cr_assert_eq(load_once(&rig_slot(0)->tx_want), 1);
	ns_put(s);
}

/* SO_SNDBUF, as the daemon tells it: what is written stops there, wherever the ring ends. */
Test(clientlib_stream, no_more_is_written_than_the_limit)
{
	static uint8_t block[1 << 18];
	struct nsock *s = connected();

	rig_lock();
	rig.sock[0].rx.cap = 0; /* nobody takes anything */
	store_once(&rig_slot(0)->tx_limit, 100000);
	rig_unlock();
	cr_assert_eq(put(s, block, sizeof(block), true), 100000);
	cr_assert_eq(put(s, block, 1, true), -EAGAIN);
	cr_assert_eq(ns_poll(s) & POLLOUT, 0);
	rig_lock();
	store_once(&rig_slot(0)->tx_limit, 50000);
	rig_unlock();
	cr_assert_eq(put(s, block, 1, true), -EAGAIN);
	rig_lock();
	store_once(&rig_slot(0)->tx_limit, 200000);
	rig_unlock();
	cr_assert_eq(ns_poll(s) & POLLOUT, POLLOUT);
	cr_assert_eq(put(s, block, sizeof(block), true), 100000);
	cr_assert_eq(ns_poll(s) & POLLOUT, 0);
	ns_put(s);
}

/* TCP_NOTSENT_LOWAT: nothing was sent, so no more than the daemon says. */
Test(clientlib_stream, no_more_is_written_than_may_be_unsent)
{
	static uint8_t block[1 << 18];
	struct nsock *s = connected();

	rig_lock();
	rig.sock[0].rx.cap = 0;
	store_once(&rig_slot(0)->notsent_lowat, 1000);
	store_once(&rig_slot(0)->notsent_most, 16000);
	rig_unlock();
	cr_assert_eq(ns_poll(s) & POLLOUT, POLLOUT);
	cr_assert_eq(put(s, block, 500, true), 500);
	cr_assert_eq(ns_poll(s) & POLLOUT, 0);
	cr_assert_eq(put(s, block, sizeof(block), true), 16000 - 500);
	cr_assert_eq(put(s, block, 1, true), -EAGAIN);
	cr_assert_eq(load_once(&rig_slot(0)->tx_want), 1);
	ns_put(s);
}

/* The kernel sends within write(): what left makes room for what that very call still has. */
Test(clientlib_stream, what_is_sent_meanwhile_is_not_unsent)
{
	static uint8_t block[1 << 18];
	struct nsock *s = connected();

	rig_lock();
	rig.sock[0].rx.cap = 0;
	rig.sock[0].sent_most = 10000;
	store_once(&rig_slot(0)->notsent_lowat, 4000);
	store_once(&rig_slot(0)->notsent_most, 16000);
	rig_unlock();
	cr_assert_eq(put(s, block, 59000, true), 26000);
	cr_assert_eq(put(s, block, 1, true), -EAGAIN);
	rig_lock();
	rig.sock[0].sent_most = 18000; /* this is not told before somebody asks */
	rig_unlock();
	cr_assert_eq(put(s, block, 59000, true), 8000);
	ns_put(s);
}

Test(clientlib_stream, shutdown_and_end_of_file)
{
	struct nsock *s = connected();
	char buf[8];

	cr_assert_eq(put(s, "bye", 3, false), 3);
	cr_assert_eq(ns_shutdown(s, SHUT_WR), 0);
	cr_assert_eq(put(s, "x", 1, false), -EPIPE);
	cr_assert_eq(take(s, buf, 3, MSG_WAITALL), 3);
	cr_assert_eq(take(s, buf, 3, 0), 0);
	cr_assert_eq(ns_poll(s) & (POLLIN | POLLRDHUP | POLLHUP), POLLIN | POLLRDHUP | POLLHUP);
	ns_put(s);
}

Test(clientlib_stream, connect_refused_silent_and_again)
{
	struct sockaddr_in refused = to_port(RIG_PORT_REFUSED), silent = to_port(RIG_PORT_SILENT);
	struct timeval tv = {.tv_usec = 20000};
	struct nsock *s, *t;

	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &s), 0);
	cr_assert_eq(ns_poll(s), POLLOUT | POLLWRNORM | POLLHUP);
	cr_assert_eq(
	    ns_connect(s, (struct sockaddr *)&refused, sizeof(refused), false), -ECONNREFUSED);
	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &t), 0);
	cr_assert_eq(ns_connect(t, (struct sockaddr *)&silent, sizeof(silent), true), -EINPROGRESS);
	cr_assert_eq(ns_poll(t), 0);
	cr_assert_eq(ns_connect(t, (struct sockaddr *)&silent, sizeof(silent), true), -EALREADY);
	cr_assert_eq(ns_setsockopt(t, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)), 0);
	cr_assert_eq(
	    ns_connect(t, (struct sockaddr *)&silent, sizeof(silent), false), -EINPROGRESS);
	ns_put(s);
	ns_put(t);
}

Test(clientlib_stream, accept_gives_the_child_with_its_bytes)
{
	struct nsock *l, *c;
	struct endpoint peer;
	char buf[4];

	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &l), 0);
	cr_assert_eq(ns_listen(l, 5), 0);
	cr_assert(ns_listening(l));
	cr_assert_eq(ns_accept(l, true, &c, &peer), -EAGAIN);
	rig_lock();
	rig.sock[0].children = 1;
	rig_tell(0);
	rig_unlock();
	cr_assert(ns_poll(l) & POLLIN);
	cr_assert_eq(ns_accept(l, false, &c, &peer), 0);
	cr_assert_eq(peer.port, 1234);
	cr_assert_eq(take(c, buf, 4, 0), 2);
	ns_put(c);
	ns_put(l);
}

Test(clientlib_stream, a_receive_timeout)
{
	struct nsock *s = connected();
	struct timeval tv = {.tv_usec = 30000};
	char buf[4];

	cr_assert_eq(ns_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), 0);
	cr_assert_eq(take(s, buf, 4, 0), -EAGAIN);
	ns_put(s);
}

static void nothing(int sig)
{
	(void)sig;
}

Test(clientlib_stream, a_signal_interrupts_or_not_as_the_kernel_would)
{
	struct sigaction sa = {.sa_handler = nothing};
	struct itimerval soon = {.it_value.tv_usec = 20000};
	struct nsock *s = connected();
	struct timespec t;
	char buf[4];

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	cr_assert_eq(take(s, buf, 4, 0), -EINTR);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	cr_assert_eq(ns_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 60000},
			 sizeof(struct timeval)),
	    0);
	cr_assert_eq(take(s, buf, 4, 0), -EINTR);
	ns_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0}, sizeof(struct timeval));
	setitimer(ITIMER_REAL, &soon, NULL);
	clock_gettime(CLOCK_MONOTONIC, &t);
	cr_assert_eq(ns_wait(s, POLLIN, 10), 0);
	ns_put(s);
}

static void *late_bytes(void *arg)
{
	usleep(60000);
	rig_lock();
	rig_push(0, "late", 4);
	rig_tell(0);
	rig_unlock();
	return arg;
}

Test(clientlib_stream, a_blocked_reader_restarts_and_is_woken)
{
	struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value.tv_usec = 20000};
	struct nsock *s = connected();
	pthread_t t;
	char buf[4];

	sigaction(SIGALRM, &sa, NULL);
	pthread_create(&t, NULL, late_bytes, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	cr_assert_eq(take(s, buf, 4, 0), 4);
	pthread_join(t, NULL);
	ns_put(s);
}

static void *closer(void *arg)
{
	usleep(30000);
	ns_close(arg);
	return NULL;
}

Test(clientlib_stream, close_wakes_a_blocked_reader)
{
	struct nsock *s = connected();
	pthread_t t;
	char buf[4];

	pthread_create(&t, NULL, closer, s);
	cr_assert_eq(take(s, buf, 4, 0), -EBADF);
	pthread_join(t, NULL);
	ns_put(s);
}

Test(clientlib_stream, slots_are_used_again)
{
	for (unsigned i = 0; i < RIG_SLOTS * 3; i++) {
		struct nsock *s;

		cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &s), 0);
		ns_put(s);
	}
}

Test(clientlib_stream, no_more_slots)
{
	struct nsock *s[RIG_SLOTS], *more;

	for (unsigned i = 0; i < RIG_SLOTS; i++)
		cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &s[i]), 0);
	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &more), -EMFILE);
	for (unsigned i = 0; i < RIG_SLOTS; i++)
		ns_put(s[i]);
	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &more), 0);
	ns_put(more);
}

Test(clientlib_stream, options)
{
	struct nsock *s = connected();
	int v = 1;
	socklen_t len = sizeof(v);

	cr_assert_eq(ns_setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, sizeof(v)), 0);
	v = 0;
	cr_assert_eq(ns_getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &v, &len), 0);
	cr_assert_eq(v, 1);
	cr_assert_eq(ns_getsockopt(s, SOL_SOCKET, SO_TYPE, &v, &len), 0);
	cr_assert_eq(v, SOCK_STREAM);
	cr_assert_eq(ns_getsockopt(s, SOL_SOCKET, SO_ERROR, &v, &len), 0);
	cr_assert_eq(v, 0);
	cr_assert_eq(ns_setsockopt(s, SOL_SOCKET, SO_TYPE, &v, sizeof(v)), -ENOPROTOOPT);
	ns_put(s);
}

Test(clientlib_stream, bytes_come_before_the_error)
{
	struct nsock *s = connected();
	char buf[8];

	rig_lock();
	rig_push(0, "abc", 3);
	rig.sock[0].state |= CM_ST_DEAD;
	rig_slot(0)->so_error = ECONNRESET;
	rig.sock[0].err_seq++;
	rig_tell(0);
	rig_unlock();
	cr_assert(ns_poll(s) & POLLERR);
	cr_assert_eq(take(s, buf, 8, 0), 3);
	cr_assert_eq(take(s, buf, 8, 0), -ECONNRESET);
	cr_assert_eq(take(s, buf, 8, 0), 0);
	cr_assert_eq(put(s, buf, 1, false), -EPIPE);
	ns_put(s);
}

Test(clientlib_stream, zero_copy)
{
	struct nsock *s = connected();
	const void *data;
	void *room;
	size_t len;
	char buf[4];

	cr_assert_eq(ns_send_reserve(s, 4, &room, &len, NULL, false), 0);
	cr_assert_eq(len, 4);
	cr_assert_eq(put(s, "x", 1, true), -EBUSY);
	memcpy(room, "zero", 4);
	cr_assert_eq(ns_send_commit(s, 4), 0);
	cr_assert_eq(ns_recv_borrow(s, &data, &len, NULL, false), 0);
	cr_assert_eq(len, 4);
	cr_assert_arr_eq(data, "zero", 4);
	cr_assert_eq(take(s, buf, 4, 0), -EBUSY);
	cr_assert_eq(ns_recv_release(s, 1), 0);
	cr_assert_eq(take(s, buf, 4, 0), 3);
	ns_put(s);
}
