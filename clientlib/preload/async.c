/*
 * Signals about sockets: F_SETOWN, F_SETSIG, O_ASYNC.
 *
 * The kernel sends them where news comes in; here nobody is awake then. So the first socket that
 * wants them starts a thread, which sleeps on a wait set of all of them with every signal blocked,
 * and sends what the kernel would: SIGIO, or the signal of F_SETSIG with the number and what is
 * ready; SIGURG when there is urgent data. A signal more than the kernel would send is possible, as
 * news is a hint; handlers look for themselves.
 *
 * What was set belongs to the open file description. A child by fork() inherits it as a fact, but
 * the signals come from the process that asked for them. After an exec the new program goes on with that if the
 * signals are for its process; for others it sends none, as whoever asked may still do.
 *
 * Locks: async_lock, then the core's. The core's callback takes none; an entry goes only after
 * ns_set_del().
 */
#include "clientlib/preload/async.h"
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct async {
	struct nsock *sock;
	int fd;		/* the number it was asked for by */
	int owner_type; /* F_OWNER_* */
	int owner, sig; /* atomic */
	bool on;	/* O_ASYNC; atomic */
	bool member;	/* of the wait set */
	unsigned was;	/* ready for, at the last look; the thread's once it is a member */
	struct async *next;
};

static struct async *entries;
static struct nset *helper_set;
static bool helper_runs;
static pthread_mutex_t async_lock = PTHREAD_MUTEX_INITIALIZER;

static struct async *find(const struct nsock *s)
{
	struct async *a = entries;

	while (a && a->sock != s)
		a = a->next;
	return a;
}

/* ---- sending */

/* With `band`, what is ready and where: si_code is SI_SIGIO then, for POLL_IN and its like are the
 * kernel's to say. */
static void send_signal(const struct async *a, int sig, int band)
{
	siginfo_t info = {.si_signo = sig, .si_code = band ? SI_SIGIO : SI_QUEUE};
	int owner = __atomic_load_n(&a->owner, __ATOMIC_RELAXED), me = sys_getpid();

	info.si_band = band;
	info.si_fd = a->fd;
	if (a->owner_type == F_OWNER_TID)
		(void)sys_call(SYS_rt_tgsigqueueinfo, me, owner, sig, (long)&info, 0, 0);
	else if (band && owner > 0)
		(void)sys_call(SYS_rt_sigqueueinfo, owner, sig, (long)&info, 0, 0, 0);
	else
		(void)sys_call(SYS_kill, owner, sig, 0, 0, 0, 0);
}

static void tell(const struct async *a, unsigned ready)
{
	int sig = __atomic_load_n(&a->sig, __ATOMIC_RELAXED);

	if (!sig)
		send_signal(a, SIGIO, 0);
	else if (ready & POLLERR)
		send_signal(a, sig, POLLERR);
	else if (ready & POLLHUP)
		send_signal(a, sig, POLLHUP | POLLERR);
	else if (ready & POLLIN)
		send_signal(a, sig, POLLIN | POLLRDNORM);
	else
		send_signal(a, sig, POLLOUT | POLLWRNORM | POLLWRBAND);
}

/* News of a member. The first comes from its becoming one: it counts only if more is true than was
 * then. */
static void news(void *arg, void *udata, struct nsock *s)
{
	struct async *a = udata;
	unsigned ready = readiness(s), more = ready & ~a->was,
		 again = ready & (POLLIN | POLLERR | POLLHUP);
	bool first = a->was & POLLNVAL;

	(void)arg;
	if (first)
		more &= ~(unsigned)POLLNVAL;
	a->was = ready;
	if ((ready & POLLNVAL) || !__atomic_load_n(&a->owner, __ATOMIC_RELAXED))
		return;
	if (more & POLLPRI)
		send_signal(a, SIGURG, 0);
	if (__atomic_load_n(&a->on, __ATOMIC_RELAXED) && (more || (again && !first)))
		tell(a, more ? more : again);
}

static void *helper(void *arg)
{
	struct nset *set = arg;

	while (!ns_set_lost(set)) {
		struct pollfd p = {.fd = ns_set_fd(set), .events = POLLIN};
		int n = ns_set_events(set, news, NULL);

		if (ns_set_arm(set) < 0)
			break;
		if (!n && !ns_set_events(set, news, NULL))
			(void)sys_ppoll(&p, 1, NULL);
		ns_set_disarm(set);
	}
	return NULL;
}

/* async_lock held. */
static int start_helper(void)
{
	pthread_attr_t attr;
	pthread_t t;
	sigset_t every;
	int ret;

	if (helper_runs)
		return 0;
	ret = ns_set_new(&helper_set);
	if (ret < 0)
		return ret;
	sigfillset(&every);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setsigmask_np(&attr, &every);
	ret = pthread_create(&t, &attr, helper, helper_set);
	pthread_attr_destroy(&attr);
	if (ret) {
		ns_set_free(helper_set);
		return -ret;
	}
	helper_runs = true;
	return 0;
}

/* ---- asking. async_lock held */

static struct async *find_or_make(struct nsock *s, int fd)
{
	struct async *a = find(s);

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	*a = (struct async){.sock = s, .fd = fd, .owner_type = F_OWNER_PID, .next = entries};
	entries = a;
	return a;
}

/* Makes it a member if there is anybody to be told anything. */
static int attend(struct async *a)
{
	int ret;

	if (a->member || !a->owner)
		return 0;
	ret = start_helper();
	if (ret < 0)
		return ret;
	a->was = readiness(a->sock) | POLLNVAL; /* marks it as new */
	ret = ns_set_add(helper_set, a->sock, a);
	a->member = ret == 0;
	return ret;
}

int async_set(struct nsock *s, int fd, bool on)
{
	struct async *a;
	int ret = 0;

	pthread_mutex_lock(&async_lock);
	a = on ? find_or_make(s, fd) : find(s);
	if (on && !a)
		ret = -ENOMEM;
	if (a) {
		a->fd = on ? fd : a->fd;
		__atomic_store_n(&a->on, on, __ATOMIC_RELAXED);
		ret = attend(a);
	}
	pthread_mutex_unlock(&async_lock);
	return ret;
}

/* `pid` as kill() takes it, 0 for nobody. */
static int set_owner(struct nsock *s, int fd, int type, int pid)
{
	struct async *a;
	int ret = 0;

	if (pid == INT_MIN)
		return -EINVAL;
	if (pid && sys_call(SYS_kill, pid, 0, 0, 0, 0, 0) == -ESRCH)
		return -ESRCH;
	pthread_mutex_lock(&async_lock);
	a = find_or_make(s, fd);
	if (a) {
		a->owner_type = type;
		__atomic_store_n(&a->owner, pid, __ATOMIC_RELAXED);
		ns_keep(s, NS_KEPT_OWNER, pid);
		ret = attend(a);
	}
	pthread_mutex_unlock(&async_lock);
	return a ? ret : -ENOMEM;
}

static int set_owner_ex(struct nsock *s, int fd, const struct f_owner_ex *from)
{
	struct f_owner_ex o;

	if (copy_from_user(&o, from, sizeof(o)) < 0)
		return -EFAULT;
	if (o.type != F_OWNER_TID && o.type != F_OWNER_PID && o.type != F_OWNER_PGRP)
		return -EINVAL;
	return set_owner(s, fd, o.type, o.type == F_OWNER_PGRP ? -o.pid : o.pid);
}

static int get_owner_ex(const struct nsock *s, struct f_owner_ex *to)
{
	int owner = ns_kept(s, NS_KEPT_OWNER);
	struct f_owner_ex o = {.pid = owner < 0 ? -owner : owner};
	const struct async *a;

	pthread_mutex_lock(&async_lock);
	a = find(s);
	o.type = owner < 0 ? F_OWNER_PGRP : a ? a->owner_type : F_OWNER_PID;
	pthread_mutex_unlock(&async_lock);
	return copy_to_user(to, &o, sizeof(o));
}

static int set_signal(struct nsock *s, int fd, long sig)
{
	struct async *a;

	if (sig < 0 || sig > 64)
		return -EINVAL;
	pthread_mutex_lock(&async_lock);
	a = find_or_make(s, fd);
	if (a) {
		__atomic_store_n(&a->sig, (int)sig, __ATOMIC_RELAXED);
		ns_keep(s, NS_KEPT_SIG, (int)sig);
	}
	pthread_mutex_unlock(&async_lock);
	return a ? 0 : -ENOMEM;
}

int async_fcntl(struct nsock *s, int fd, int cmd, long arg)
{
	switch (cmd) {
	case F_SETOWN:
		return set_owner(s, fd, F_OWNER_PID, (int)arg);
	case F_GETOWN:
		return ns_kept(s, NS_KEPT_OWNER);
	case F_SETOWN_EX:
		return set_owner_ex(s, fd, (const struct f_owner_ex *)arg);
	case F_GETOWN_EX:
		return get_owner_ex(s, (struct f_owner_ex *)arg);
	case F_SETSIG:
		return set_signal(s, fd, arg);
	default:
		return ns_kept(s, NS_KEPT_SIG);
	}
}

void async_inherited(struct nsock *s, int fd)
{
	struct async *a;

	if (ns_kept(s, NS_KEPT_OWNER) != sys_getpid())
		return;
	pthread_mutex_lock(&async_lock);
	a = find_or_make(s, fd);
	if (a) {
		a->owner = ns_kept(s, NS_KEPT_OWNER);
		a->sig = ns_kept(s, NS_KEPT_SIG);
		a->on = ns_kept(s, NS_KEPT_FLAGS) & O_ASYNC;
		(void)attend(a);
	}
	pthread_mutex_unlock(&async_lock);
}

void async_forget(struct nsock *s)
{
	struct async **p = &entries, *a;

	pthread_mutex_lock(&async_lock);
	while (*p && (*p)->sock != s)
		p = &(*p)->next;
	a = *p;
	if (a) {
		*p = a->next;
		if (a->member)
			(void)ns_set_del(helper_set, s);
	}
	pthread_mutex_unlock(&async_lock);
	free(a);
}

/* ---- fork */

void async_fork_prepare(void)
{
	pthread_mutex_lock(&async_lock);
}

void async_fork_done(bool child)
{
	if (!child) {
		pthread_mutex_unlock(&async_lock);
		return;
	}
	pthread_mutex_init(&async_lock, NULL);
	helper_runs = false;
	helper_set = NULL;
	for (struct async *a = entries; a; a = a->next)
		a->member = false;
}
