/*
 * epoll_create, epoll_ctl, epoll_wait and their variants (see epset.h for how it works).
 *
 * An epoll set without a socket of netd goes straight to the kernel; only the count of sleepers is
 * kept, so that the first socket of netd added by another thread can wake them.
 */
#include "clientlib/preload/deadline.h"
#include "clientlib/preload/epview.h"

/* What may stand beside EPOLLEXCLUSIVE. */
#define EXCLUSIVE_WITH                                                                             \
	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define EVENTS_MAX ((int)(0x7fffffff / sizeof(struct epoll_event)))

static int created(int epfd)
{
	struct epset *ep;

	if (epfd < 0 || !ns_owner())
		return epfd;
	ep = epset_open(epfd, false);
	if (ep)
		epset_put(ep);
	return epfd;
}

HOOK int epoll_create(int size)
{
	return created(real.epoll_create(size));
}

HOOK int epoll_create1(int flags)
{
	return created(real.epoll_create1(flags));
}

/* ---- epoll_ctl */

static int ctl_add(struct epset *ep, int fd, struct nsock *s, const struct epoll_event *ev)
{
	int ret;

	epset_count(s, 1);
	pthread_mutex_lock(&ep->lock);
	epview_sync(ep);
	ret = epset_prepare(ep);
	if (ret == 0)
		ret = epmember_add(ep, fd, s, ev);
	if (ret == -EOPNOTSUPP && ep->members == 0 && !ns_foreign(s)) {
		epset_discard(ep); /* was made for a session that is lost */
		ret = epset_prepare(ep);
		if (ret == 0)
			ret = epmember_add(ep, fd, s, ev);
	}
	if (ret == 0) {
		ret = epview_added(ep, epmember_find(ep, fd, s));
		if (ret < 0)
			epmember_del(ep, epmember_find(ep, fd, s));
	}
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
	if (ret < 0)
		epset_count(s, -1);
	return ret;
}

static int ctl_del(struct epset *ep, int fd, struct nsock *s)
{
	struct epmember *m;

	pthread_mutex_lock(&ep->lock);
	epview_sync(ep);
	m = epmember_find(ep, fd, s);
	if (m) {
		epview_removed(ep, m);
		epmember_del(ep, m);
		epset_settle(ep);
	}
	pthread_mutex_unlock(&ep->lock);
	if (!m)
		return -ENOENT;
	epset_count(s, -1);
	return 0;
}

static int ctl_mod(struct epset *ep, int fd, struct nsock *s, const struct epoll_event *ev)
{
	struct epmember *m;
	int ret = 0;

	pthread_mutex_lock(&ep->lock);
	epview_sync(ep);
	m = epmember_find(ep, fd, s);
	if (m && m->events & EPOLLEXCLUSIVE) {
		ret = -EINVAL;
	} else if (m) {
		epmember_mod(ep, m, ev);
		epview_changed(ep, m);
		epset_settle(ep);
	} else {
		ret = -ENOENT;
	}
	pthread_mutex_unlock(&ep->lock);
	return ret;
}

static int ctl_netd(int epfd, int op, int fd, struct nsock *s, const struct epoll_event *ev)
{
	struct epset *ep = epset_get(epfd);
	int ret = -EINVAL;

	if (ep)
		epset_revive(ep);
	if (op != EPOLL_CTL_DEL && !user_readable(ev, sizeof(*ev)))
		ret = -EFAULT;
	else if (!ep && sys_fcntl(epfd, F_GETFD, 0) < 0)
		ret = -EBADF;
	else if (!ep && fdtable_has(epfd))
		ret = -EINVAL;
	else if (!ep && !(ep = epset_open(epfd, true)))
		ret = -ENOMEM;
	else if (op != EPOLL_CTL_DEL && ev->events & EPOLLEXCLUSIVE && (op == EPOLL_CTL_MOD || ev->events & ~EXCLUSIVE_WITH))
		ret = -EINVAL;
	else if (op == EPOLL_CTL_ADD)
		ret = ctl_add(ep, fd, s, ev);
	else if (op == EPOLL_CTL_DEL)
		ret = ctl_del(ep, fd, s);
	else if (op == EPOLL_CTL_MOD)
		ret = ctl_mod(ep, fd, s, ev);
	if (ep)
		epset_put(ep);
	return ret;
}

/* A kernel descriptor went in or out. An epoll set that is nested in this one must keep its bell
 * armed. */
static void ctl_kernel_done(int epfd, int op, int fd)
{
	struct epset *outer = epset_get(epfd), *inner;

	if (outer && op == EPOLL_CTL_ADD)
		__atomic_add_fetch(&outer->kernel_fds, 1, __ATOMIC_RELAXED);
	else if (outer && op == EPOLL_CTL_DEL && __atomic_load_n(&outer->kernel_fds, __ATOMIC_RELAXED))
		__atomic_sub_fetch(&outer->kernel_fds, 1, __ATOMIC_RELAXED);
	inner = op == EPOLL_CTL_ADD ? epset_get(fd) : NULL;
	if (inner) {
		pthread_mutex_lock(&inner->lock);
		inner->nested = true;
		epset_settle(inner);
		pthread_mutex_unlock(&inner->lock);
		epset_put(inner);
		if (outer)
			__atomic_store_n(&outer->nests, true, __ATOMIC_RELAXED);
	}
	if (outer)
		epset_put(outer);
}

HOOK int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct nsock *s = fdtable_get(fd);
	int ret;

	if (s && ns_owner())
		return (int)done_put(s, ctl_netd(epfd, op, fd, s, ev));
	if (s)
		ns_put(s);
	ret = real.epoll_ctl(epfd, op, fd, ev);
	if (ret == 0 && op != EPOLL_CTL_MOD && ns_owner())
		ctl_kernel_done(epfd, op, fd);
	return ret;
}

/* ---- epoll_wait */

/* A call under way. */
struct wait {
	struct epset *ep;
	int epfd;
	struct epoll_event *ev;
	int max;
	struct deadline until;
	bool poll; /* a timeout of zero */
	bool ms;   /* in milliseconds: epoll_pwait2() may not exist */
	const sigset_t *mask;
};

/* Takes our own marks out of `n` events; true in *marks if there were any. Returns how many are
 * left. */
static int filter(struct epoll_event *ev, int n, bool *marks)
{
	int kept = 0;

	*marks = false;
	for (int i = 0; i < n; i++) {
		if (epset_secret && (ev[i].data.u64 & ~1ull) == epset_secret)
			*marks = true;
		else
			ev[kept++] = ev[i];
	}
	return kept;
}

/* The kernel's part without sleeping. Not a point to be cancelled at, for the set is locked. */
static int kernel_look(const struct wait *w, struct epoll_event *ev, int max)
{
	return (int)sys_call(SYS_epoll_pwait, w->epfd, (long)ev, max, 0, 0, 8);
}

/*
 * The kernel's part. The signal mask counts only in this one call that may sleep, so that an -EINTR is never thrown away.
 * -1 and errno like the call itself.
 */
static int kernel_wait(const struct wait *w)
{
	struct timespec ts = {0, 0}, *left = w->poll ? &ts : deadline_left(&w->until, &ts);
	long ms = -1;

	if (!w->ms && real.epoll_pwait2)
		return real.epoll_pwait2(w->epfd, w->ev, w->max, left, w->mask);
	if (left)
		ms = left->tv_sec > 2000000
			 ? 2000000000
			 : left->tv_sec * 1000 + (left->tv_nsec + 999999) / 1000000;
	return real.epoll_pwait(w->epfd, w->ev, w->max, (int)ms, w->mask);
}

static void wait_cancelled(void *arg)
{
	struct epset *ep = ((struct wait *)arg)->ep;

	pthread_mutex_lock(&ep->lock);
	__atomic_sub_fetch(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
	epset_put(ep);
}

/* The sleep of one who is counted in ep->sleepers; without the lock. The thread may be cancelled in it. */
static int kernel_sleep(struct wait *w)
{
	int ret;

	pthread_cleanup_push(wait_cancelled, w);
	ret = kernel_wait(w);
	pthread_cleanup_pop(0);
	return ret;
}

/* Other processes that have the set learn whether anybody sleeps in it here. */
static void say_sleepers(struct epset *ep)
{
	int saved = errno;

	pthread_mutex_lock(&ep->lock);
	if (ep->view)
		epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
	errno = saved;
}

/* No socket of netd in the set (yet). True with *ret if that was all. */
static bool wait_plain(struct wait *w, int *ret)
{
	bool marks;

	__atomic_add_fetch(&w->ep->sleepers, 1, __ATOMIC_SEQ_CST);
	say_sleepers(w->ep);
	if (__atomic_load_n(&w->ep->set, __ATOMIC_SEQ_CST) || epview_populated(w->ep)) {
		__atomic_sub_fetch(&w->ep->sleepers, 1, __ATOMIC_SEQ_CST);
		return false;
	}
	*ret = kernel_sleep(w);
	__atomic_sub_fetch(&w->ep->sleepers, 1, __ATOMIC_SEQ_CST);
	say_sleepers(w->ep);
	if (*ret <= 0)
		return true;
	*ret = filter(w->ev, *ret, &marks);
	return *ret || !marks;
}

/* What is ready now, netd's and the kernel's in turns first. Called and left with the lock held. */
static int collect(struct wait *w)
{
	struct epset *ep = w->ep;
	bool marks, ask = __atomic_load_n(&ep->kernel_fds, __ATOMIC_RELAXED) != 0;
	int n = 0, k = 0;

	epset_pump(ep);
	ep->kernel_first = !ep->kernel_first;
	if (!ep->kernel_first || !ask)
		n = epset_harvest(ep, w->ev, w->max);
	/* Nothing of netd's: the sleep that follows asks the kernel anyway. */
	if (ask && n < w->max && (ep->kernel_first ? ep->ready : (unsigned)n)) {
		k = kernel_look(w, w->ev + n, w->max - n);
		k = k > 0 ? filter(w->ev + n, k, &marks) : 0;
	}
	if (ep->kernel_first && ask)
		n = epset_harvest(ep, w->ev + k, w->max - k);
	return n + k;
}

/* Sleeps once. The number of events, 0 after the timeout, -1 and errno, -2 to look again. Lock
 * held. */
static int sleep_once(struct wait *w)
{
	struct epset *ep = w->ep;
	bool marks = false;
	int ret, saved;
	uint64_t from;

	__atomic_add_fetch(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	epset_settle(ep);
	if (epset_any_ready(ep) && !w->poll) {
		__atomic_sub_fetch(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
		return -2;
	}
	pthread_mutex_unlock(&ep->lock);
	from = halt_poll_now();
	ret = kernel_sleep(w);
	saved = errno;
	pthread_mutex_lock(&ep->lock);
	if (!w->poll)
		halt_poll_slept(&ep->halt, from, halt_poll_now());
	__atomic_sub_fetch(&ep->sleepers, 1, __ATOMIC_SEQ_CST);
	if (ret > 0)
		ret = filter(w->ev, ret, &marks);
	if (marks)
		epset_calm(ep);
	epset_pump(ep);
	if (ret >= 0 && ret < w->max)
		ret += epset_harvest(ep, w->ev + ret, w->max - ret);
	errno = saved;
	return ret == 0 && marks && !w->poll ? -2 : ret;
}

/*
 * Before a sleep: looks for news of netd's with open eyes, if that has paid lately (proto/halt_poll.h). One thread does; kernel
 * descriptors wait for as long. Lock held, given up meanwhile. True if there is something.
 */
static bool look_longer(struct wait *w)
{
	struct epset *ep = w->ep;
	struct nset *set = __atomic_load_n(&ep->set, __ATOMIC_ACQUIRE);
	struct halt_poll halt = ep->halt;
	bool news = false;

	if (w->poll || !set || !halt.window_ns || ep->looking || __atomic_load_n(&ep->sleepers, __ATOMIC_RELAXED))
		return false;
	ep->looking = true;
	pthread_mutex_unlock(&ep->lock);
	while (!(news = ns_set_news(set)) && halt_poll_again(&halt, halt_poll_now()))
		;
	pthread_mutex_lock(&ep->lock);
	ep->looking = false;
	return news;
}

static int wait_mixed(struct wait *w)
{
	struct epset *ep = w->ep;
	int ret;

	pthread_mutex_lock(&ep->lock);
	do {
		if (!ep->set && epview_populated(ep)) {
			pthread_mutex_unlock(&ep->lock);
			epset_revive(ep);
			pthread_mutex_lock(&ep->lock);
		}
		ret = collect(w);
		if (ret == 0 && look_longer(w))
			ret = -2;
		if (ret == 0 &&
		    (!w->poll || w->mask || __atomic_load_n(&ep->kernel_fds, __ATOMIC_RELAXED)))
			ret = sleep_once(w);
	} while (ret == -2);
	if (ep->nested)
		epset_calm(ep);
	epset_settle(ep);
	pthread_mutex_unlock(&ep->lock);
	return ret;
}

static int wait_any(struct wait *w, const struct timespec *timeout)
{
	int ret;

	if (w->max <= 0 || w->max > EVENTS_MAX)
		return (int)done(-EINVAL);
	epset_revive(w->ep);
	(void)ns_settle();
	if (__atomic_load_n(&w->ep->nests, __ATOMIC_RELAXED))
		epset_refresh_nested();
	w->poll = timespec_zero(timeout);
	w->until = w->poll ? (struct deadline){0} : deadline_in(timeout);
	if (__atomic_load_n(&w->ep->set, __ATOMIC_ACQUIRE) || !wait_plain(w, &ret)) {
		if (!user_writable(w->ev, sizeof(*w->ev)) ||
		    (w->mask && !user_readable(w->mask, sizeof(uint64_t))))
			return (int)done(-EFAULT);
		epset_revive(w->ep);
		ret = wait_mixed(w);
	}
	return ret;
}

static int wait_put(struct wait *w, const struct timespec *timeout)
{
	int saved, ret = wait_any(w, timeout);

	saved = errno;
	epset_put(w->ep);
	errno = saved;
	return ret;
}

HOOK int epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout, const sigset_t *mask)
{
	struct wait w = {
	    .ep = epset_get(epfd), .epfd = epfd, .ev = ev, .max = max, .ms = true, .mask = mask};
	struct timespec ts;

	if (!w.ep)
		return real.epoll_pwait(epfd, ev, max, timeout, mask);
	return wait_put(&w, from_ms(timeout, &ts));
}

HOOK int epoll_wait(int epfd, struct epoll_event *ev, int max, int timeout)
{
	return epoll_pwait(epfd, ev, max, timeout, NULL);
}

HOOK int epoll_pwait2(
    int epfd, struct epoll_event *ev, int max, const struct timespec *timeout, const sigset_t *mask)
{
	struct wait w = {.ep = epset_get(epfd), .epfd = epfd, .ev = ev, .max = max, .mask = mask};

	if (!real.epoll_pwait2 || !w.ep) {
		if (w.ep)
			epset_put(w.ep);
		return real.epoll_pwait2 ? real.epoll_pwait2(epfd, ev, max, timeout, mask)
					 : (int)done(-ENOSYS);
	}
	if (timeout && !user_readable(timeout, sizeof(*timeout))) {
		epset_put(w.ep);
		return (int)done(-EFAULT);
	}
	if (timeout &&
	    (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec > 999999999)) {
		epset_put(w.ep);
		return (int)done(-EINVAL);
	}
	return wait_put(&w, timeout);
}
