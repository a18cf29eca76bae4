/* See pollset.h. */
#include "clientlib/preload/pollset.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ON_STACK 64
#define FEW	 16 /* entries that no limit forbids in practice */
#define POLL_MAX (1u << 20) /* fs.nr_open: nobody has more descriptors */
#define SLICE_NS 5000000L /* between looks if there is no wait set */

struct watched {
	struct nsock *sock;
	bool added; /* to the wait set, by this entry */
};

struct pollset {
	struct pollfd *fds;
	nfds_t n;
	const sigset_t *mask;
	struct pollfd *kernel;	 /* n entries */
	struct watched *watched; /* n entries */
	struct epset **ep;	 /* n entries */
	void *heap;		 /* what is not on the stack, or NULL */
	nfds_t bell_at;		 /* the first entry that is a socket of netd, n if none is */
	bool have_kernel, have_ep;
	struct nset *set;
};

/* ---- this thread's wait set */

static __thread struct nset *thread_set;
static __thread int thread_pid; /* of the process that made it */
static pthread_key_t thread_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void thread_end(void *set)
{
	if (set && thread_pid == sys_getpid())
		ns_set_free(set);
	thread_set = NULL;
}

static void make_key(void)
{
	(void)pthread_key_create(&thread_key, thread_end);
}

static struct nset *my_set(bool again)
{
	pthread_once(&once, make_key);
	if (thread_set && thread_pid != sys_getpid())
		thread_set = NULL; /* the parent's */
	if (thread_set && again) {
		ns_set_free(thread_set);
		thread_set = NULL;
	}
	if (!thread_set) {
		if (ns_set_new(&thread_set) < 0)
			thread_set = NULL;
		else
			ns_set_of_calls(thread_set);
		thread_pid = sys_getpid();
		(void)pthread_setspecific(thread_key, thread_set);
	}
	return thread_set;
}

/* ---- what is true now */

bool pollset_concerns(struct pollfd *fds, nfds_t n)
{
	if (n > POLL_MAX || !user_writable(fds, n * sizeof(*fds)))
		return false; /* the kernel says what is wrong */
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].fd >= 0 && (fdtable_has(fds[i].fd) || epset_has(fds[i].fd)))
			return true;
	return false;
}

static void gather(struct pollset *p)
{
	p->bell_at = p->n;
	for (nfds_t i = 0; i < p->n; i++) {
		int fd = p->fds[i].fd;

		p->watched[i] = (struct watched){.sock = fd < 0 ? NULL : fdtable_get(fd)};
		if (p->watched[i].sock && p->bell_at == p->n)
			p->bell_at = i;
		p->ep[i] = p->watched[i].sock || fd < 0 ? NULL : epset_get(fd);
		p->kernel[i] =
		    (struct pollfd){.fd = p->watched[i].sock ? -1 : fd, .events = p->fds[i].events};
		p->have_kernel = p->have_kernel || p->kernel[i].fd >= 0;
		if (p->ep[i]) {
			p->have_ep = true;
			epset_watch_begin(p->ep[i]);
		}
	}
}

static void release(struct pollset *p)
{
	for (nfds_t i = 0; i < p->n; i++) {
		if (p->watched[i].added)
			ns_set_del(p->set, p->watched[i].sock);
		if (p->watched[i].sock)
			ns_put(p->watched[i].sock);
		if (p->ep[i]) {
			epset_watch_end(p->ep[i]);
			epset_put(p->ep[i]);
		}
	}
}

/* Fills revents of netd's sockets; how many are ready. */
static int ask_netd(struct pollset *p)
{
	int count = 0;

	for (nfds_t i = 0; i < p->n; i++) {
		if (!p->watched[i].sock)
			continue;
		p->fds[i].revents =
		    (short)(readiness(p->watched[i].sock) &
			    ((unsigned)p->fds[i].events | POLLERR | POLLHUP | POLLNVAL));
		count += p->fds[i].revents != 0;
	}
	return count;
}

/* An epoll descriptor was readable, maybe only by our bell: asks again after that is put right. */
static int settle_ep(struct pollset *p, nfds_t i)
{
	struct timespec none = {0, 0};

	epset_watch_refresh(p->ep[i]);
	p->kernel[i].revents = 0;
	return sys_ppoll(&p->kernel[i], 1, &none) > 0;
}

/* Takes over what the kernel said; how many of its descriptors are ready. */
static int take_kernel(struct pollset *p)
{
	int count = 0;

	for (nfds_t i = 0; i < p->n; i++) {
		if (p->watched[i].sock)
			continue;
		if (p->ep[i] && p->kernel[i].revents && !settle_ep(p, i))
			p->kernel[i].revents = 0;
		p->fds[i].revents = p->kernel[i].revents;
		count += p->fds[i].revents != 0;
	}
	return count;
}

/* The kernel's descriptors without sleeping; with no signal mask, so that no -EINTR is lost. */
static int ask_kernel(struct pollset *p)
{
	struct timespec none = {0, 0};

	if (p->have_kernel && sys_ppoll(p->kernel, (unsigned)p->n, &none) > 0)
		return take_kernel(p);
	for (nfds_t i = 0; i < p->n; i++)
		if (!p->watched[i].sock)
			p->fds[i].revents = 0;
	return 0;
}

/* ---- sleeping */

/* Puts the sockets into the thread's wait set. */
static bool enter_set(struct pollset *p, bool again)
{
	p->set = my_set(again);
	for (nfds_t i = 0; p->set && i < p->n; i++) {
		int ret;

		if (!p->watched[i].sock)
			continue;
		ret = ns_set_add(p->set, p->watched[i].sock, NULL);
		p->watched[i].added = ret == 0;
		if (ret == -EOPNOTSUPP && !again && !ns_foreign(p->watched[i].sock)) {
			for (nfds_t k = 0; k < i; k++)
				p->watched[k].added = false; /* goes with the old set */
			return enter_set(p, true);
		}
	}
	return p->set;
}

static void nothing(void *arg, void *udata, struct nsock *s)
{
	(void)arg;
	(void)udata;
	(void)s;
}

/*
 * Sleeps once; the result of ppoll() (-1 and errno), the bell not counted. The bell takes a
 * socket's place in the array, for the kernel refuses arrays longer than RLIMIT_NOFILE, and a
 * sandboxed process may have as little as one.
 */
static int sleep_once(struct pollset *p, const struct deadline *until, bool slice)
{
	struct timespec ts, *left = deadline_left(until, &ts);
	struct pollfd *bell = p->set && p->bell_at < p->n ? &p->kernel[p->bell_at] : NULL;
	bool short_one = false, rang;
	int ret;

	if (bell)
		*bell = (struct pollfd){.fd = ns_set_fd(p->set), .events = POLLIN};
	if (slice && (!left || left->tv_sec || left->tv_nsec > SLICE_NS)) {
		ts = (struct timespec){.tv_nsec = SLICE_NS};
		left = &ts;
		short_one = true;
	}
	ret = real.ppoll(p->kernel, p->n, left, p->mask);
	rang = ret > 0 && bell && bell->revents;
	if (bell)
		*bell = (struct pollfd){.fd = -1};
	if (ret < 0 || rang)
		return ret < 0 ? ret : 1;
	return ret == 0 && short_one ? 1 : ret;
}

/* Nothing was ready: sleeps until something is. */
static int wait_long(struct pollset *p, const struct deadline *until)
{
	bool slice = !enter_set(p, false);
	int ret, count;

	for (;;) {
		if (p->set) {
			slice = ns_set_arm(p->set) < 0;
			ns_set_events(p->set, nothing, NULL);
		}
		count = ask_netd(p);
		ret = count ? 0 : sleep_once(p, until, slice);
		if (p->set && !slice) {
			int saved = errno;

			ns_set_disarm(p->set);
			errno = saved;
		}
		if (ret < 0)
			return ret;
		if (count)
			return count + ask_kernel(p);
		count = ask_netd(p) + take_kernel(p);
		if (count || ret == 0)
			return count;
	}
}

static int pollset_run(struct pollset *p, const struct timespec *timeout)
{
	struct deadline until = deadline_in(timeout);
	int count, ret, saved;

	gather(p);
	count = ask_netd(p);
	if (count || timespec_zero(timeout))
		count += count || !p->mask ? ask_kernel(p) : 0;
	if (count || (timespec_zero(timeout) && !p->mask))
		ret = count;
	else
		ret = wait_long(p, &until);
	saved = errno;
	release(p);
	errno = saved;
	return ret;
}

/* The kernel refuses more entries than there may be descriptors. */
static bool too_many(nfds_t n)
{
	struct rlimit rl;

	return n > 1u << 20 ||
	       (sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&rl, 0, 0) == 0 && n > rl.rlim_cur);
}

/* Cancelled in the sleep. The thread's wait set, armed as it is, goes with the thread. */
static void cancelled(void *arg)
{
	struct pollset *p = arg;

	release(p);
	free(p->heap);
}

static int pollset_safely(struct pollset *p, const struct timespec *timeout)
{
	int ret;

	pthread_cleanup_push(cancelled, p);
	ret = pollset_run(p, timeout);
	pthread_cleanup_pop(0);
	free(p->heap);
	return ret;
}

int pollset_wait(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct pollfd kernel[ON_STACK];
	struct watched watched[ON_STACK];
	struct epset *ep[ON_STACK];
	struct pollset p = {
	    .fds = fds, .n = n, .mask = mask, .kernel = kernel, .watched = watched, .ep = ep};

	if (n > FEW && too_many(n))
		return (int)done(-EINVAL);
	(void)ns_settle();
	if (n <= ON_STACK)
		return pollset_safely(&p, timeout);
	p.heap = malloc(n * (sizeof(*ep) + sizeof(*watched) + sizeof(*kernel)));
	if (!p.heap)
		return (int)done(-ENOMEM);
	p.ep = p.heap;
	p.watched = (struct watched *)(void *)(p.ep + n);
	p.kernel = (struct pollfd *)(void *)(p.watched + n);
	return pollset_safely(&p, timeout);
}
