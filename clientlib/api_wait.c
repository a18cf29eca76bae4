/*
 * Waiting, for programs: netd_poll(), netd_event_fd(), netd_close().
 *
 * netd_poll() looks at all sockets first, and asks the kernel about its own descriptors without
 * sleeping; only if nothing is ready it enters the sockets into the thread's own wait set, arms it,
 * looks again, and sleeps in the kernel. A thread's set is kept for its next call.
 *
 * netd_event_fd() is a wait set with one member that is always armed; acknowledging arms it anew.
 */
#include "clientlib/api.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* ---- poll */

static pthread_key_t set_key;
static pthread_once_t set_once = PTHREAD_ONCE_INIT;
struct thread_set {
	struct nset *set;
	int pid;
};

static void thread_set_free(void *p)
{
	struct thread_set *t = p;

	ns_set_free(t->set);
	free(t);
}

static void make_key(void)
{
	pthread_key_create(&set_key, thread_set_free);
}

/* This thread's wait set. After a fork a new one: the old one is the parent's. */
static int thread_set(struct nset **out)
{
	struct thread_set *t;
	int ret;

	pthread_once(&set_once, make_key);
	t = pthread_getspecific(set_key);
	if (t && (t->pid != sys_getpid() || ns_set_lost(t->set))) {
		pthread_setspecific(set_key, NULL);
		thread_set_free(t);
		t = NULL;
	}
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (!t)
			return -ENOMEM;
		ret = ns_set_new(&t->set);
		if (ret < 0) {
			free(t);
			return ret;
		}
		ns_set_of_calls(t->set);
		t->pid = sys_getpid();
		pthread_setspecific(set_key, t);
	}
	*out = t->set;
	return 0;
}

struct poll_call {
	struct pollfd *fds;
	nfds_t n;
	struct nsock **sock;   /* NULL: the kernel's */
	struct pollfd *kernel; /* as many, and one for the set */
	unsigned sockets;
};

/* The sockets' revents; how many entries have any. */
static int look(struct poll_call *c)
{
	int ready = 0;

	for (nfds_t i = 0; i < c->n; i++) {
		if (!c->sock[i])
			continue;
		c->fds[i].revents =
		    (short)(ns_poll(c->sock[i]) &
			    ((unsigned)c->fds[i].events | POLLERR | POLLHUP | POLLNVAL));
		ready += c->fds[i].revents != 0;
	}
	return ready;
}

/* The kernel's revents after `ns` (negative: no limit); `bell` wakes too, -1 for none. */
static int look_kernel(struct poll_call *c, int bell, int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	int ret, ready = 0;

	for (nfds_t i = 0; i < c->n; i++)
		c->kernel[i] = (struct pollfd){
		    .fd = c->sock[i] ? -1 : c->fds[i].fd, .events = c->fds[i].events};
	c->kernel[c->n] = (struct pollfd){.fd = bell, .events = POLLIN};
	ret = sys_ppoll(c->kernel, (unsigned)c->n + 1, ns < 0 ? NULL : &ts);
	if (ret < 0)
		return ret;
	for (nfds_t i = 0; i < c->n; i++) {
		if (c->sock[i])
			continue;
		c->fds[i].revents = c->kernel[i].revents;
		ready += c->fds[i].revents != 0;
	}
	return ready;
}

static void ignore(void *arg, void *udata, struct nsock *s)
{
	(void)arg, (void)udata, (void)s;
}

static int64_t monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Nanoseconds until `deadline`; -1 (no limit) if that is -1. */
static int64_t left(int64_t deadline)
{
	int64_t now = monotonic();

	if (deadline < 0)
		return -1;
	return now < deadline ? deadline - now : 0;
}

static int poll_sleep(struct poll_call *c, struct nset *set, int64_t deadline)
{
	for (;;) {
		int64_t ns;
		int ready, kernel;

		ns_set_arm(set);
		ns_set_events(set, ignore, NULL);
		ready = look(c);
		ns = ready ? 0 : left(deadline);
		kernel = look_kernel(c, ns_set_fd(set), ns);
		ns_set_disarm(set);
		if (kernel < 0)
			return kernel;
		if (!ready)
			ready = look(c);
		if (ready + kernel || ns == 0)
			return ready + kernel;
	}
}

static int poll_run(struct poll_call *c, int timeout_ms)
{
	int64_t ns = timeout_ms < 0 ? -1 : (int64_t)timeout_ms * 1000000;
	int64_t deadline = ns < 0 ? -1 : monotonic() + ns;
	struct nset *set;
	int ready, kernel, ret;

	(void)ns_settle();
	ready = look(c);
	kernel = look_kernel(c, -1, c->sockets ? 0 : ns);
	if (kernel < 0 || ready + kernel || timeout_ms == 0 || !c->sockets)
		return kernel < 0 ? kernel : ready + kernel;
	ret = thread_set(&set);
	if (ret < 0)
		return ret;
	for (nfds_t i = 0; i < c->n; i++)
		if (c->sock[i])
			ns_set_add(set, c->sock[i], NULL);
	ret = poll_sleep(c, set, deadline);
	for (nfds_t i = 0; i < c->n; i++)
		if (c->sock[i])
			ns_set_del(set, c->sock[i]);
	return ret;
}

int netd_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct poll_call c = {.fds = fds, .n = n};
	int ret;

	if (n > 1u << 20) {
		errno = EINVAL;
		return -1;
	}
	c.sock = calloc(n + 1, sizeof(*c.sock));
	c.kernel = calloc(n + 1, sizeof(*c.kernel));
	if (!c.sock || !c.kernel) {
		free(c.sock);
		free(c.kernel);
		errno = ENOMEM;
		return -1;
	}
	for (nfds_t i = 0; i < n; i++) {
		fds[i].revents = 0;
		c.sock[i] = fds[i].fd >= 0 ? fdtable_get(fds[i].fd) : NULL;
		c.sockets += c.sock[i] != NULL;
	}
	if (c.sockets == 1 && n == 1) {
		ret = ns_wait(c.sock[0], (unsigned)(unsigned short)fds[0].events, timeout_ms);
		if (ret > 0)
			fds[0].revents = (short)ret;
		ret = ret > 0 ? 1 : ret;
	} else {
		ret = poll_run(&c, timeout_ms);
	}
	for (nfds_t i = 0; i < n; i++)
		if (c.sock[i])
			ns_put(c.sock[i]);
	free(c.sock);
	free(c.kernel);
	return (int)api_result(ret);
}

/* ---- event descriptors */

int netd_event_fd(int fd)
{
	struct nsock *s = api_get(fd);
	int ret;

	if (!s)
		return -1;
	ret = ns_event_fd(s);
	ns_put(s);
	return (int)api_result(ret);
}

int netd_event_ack(int fd)
{
	struct nsock *s = api_get(fd);
	int ret;

	if (!s)
		return -1;
	ret = ns_event_ack(s);
	ns_put(s);
	return (int)api_result(ret);
}

int netd_close(int fd)
{
	int ret = fdtable_close(fd);

	if (ret < 0)
		ret = sys_fcntl(fd, F_GETFD, 0) < 0 ? -EBADF : -ENOTSOCK;
	return (int)api_result(ret);
}
