/*
 * Sleeping on one socket.
 *
 * The caller notes ev_seq and the socket's own `kick` word with sock_seen() before it looks at the
 * socket, and sleeps only if neither has moved since. `want` tells the daemon to wake ev_seq; a
 * full fence stands between that store and the last look. `kick` is this process's own: ns_close()
 * and a broken session wake sleepers by it.
 *
 * Signals. Without a deadline the sleep must restart by itself when the handler has SA_RESTART;
 * with one it must not (the kernel's rule for SO_RCVTIMEO). futex_waitv() restarts even with a
 * timeout, which leaves room for a look at the session's health every other second; FUTEX_WAIT with
 * a timeout does not.
 *
 * A sleep is a point where the thread may be cancelled. It holds no lock then, and whoever sleeps has one reference.
 *
 * Before it sleeps, a thread spins for a moment if there is more than one processor and spinning
 * has paid lately: a wake-up costs an order of magnitude more than a neighbour's answer.
 */
#include "clientlib/session.h"
#include <string.h>

#define SPIN_MIN   16u
#define SPIN_START 64u
#define SPIN_MAX   256u
#define HEALTH_NS  2000000000ull

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){
	    .tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull)};
}

struct sleep_seen sock_seen(const struct nsock *s)
{
	struct sleep_seen seen = {.kick = load_acquire(&s->kick)};

	if (!(session_dead(s->ss) & SS_FOREIGN))
		seen.ev = load_acquire(&s->ev->ev_seq);
	return seen;
}

static bool moved(const struct nsock *s, struct sleep_seen seen)
{
	return load_acquire(&s->ev->ev_seq) != seen.ev || load_acquire(&s->kick) != seen.kick;
}

/* How many this process may run on. */
static int processors(void)
{
	static int known;
	uint64_t mask[64] = {0};
	int n = load_once(&known);

	if (n)
		return n;
	if (sys_call(SYS_sched_getaffinity, 0, sizeof(mask), (long)mask, 0, 0, 0) > 0)
		for (unsigned i = 0; i < 64; i++)
			n += __builtin_popcountll(mask[i]);
	n = n ? n : 1;
	store_once(&known, n);
	return n;
}

/* True if news came while we spun. */
static bool spin(struct nsock *s, struct sleep_seen seen)
{
	uint32_t rounds = load_once(&s->spin);

	if (processors() < 2)
		return false;
	if (!rounds)
		rounds = SPIN_START;
	for (uint32_t i = 0; i < rounds; i++) {
		if (moved(s, seen)) {
			store_once(&s->spin, rounds * 2 > SPIN_MAX ? SPIN_MAX : rounds * 2);
			return true;
		}
		cpu_relax();
	}
	store_once(&s->spin, rounds / 2 < SPIN_MIN ? SPIN_MIN : rounds / 2);
	return false;
}

static int sleep_until(struct nsock *s, struct sleep_seen seen, uint64_t deadline)
{
	uint64_t now = now_ns();
	struct timespec ts;

	if (deadline <= now)
		return -ETIMEDOUT;
	ts = to_timespec(deadline - now);
	return sys_futex_wait(&s->ev->ev_seq, seen.ev, &ts);
}

static int sleep_long(struct nsock *s, struct sleep_seen seen)
{
	struct futex_waitv w[2] = {
	    {.val = seen.ev, .uaddr = (uintptr_t)&s->ev->ev_seq, .flags = FUTEX_32},
	    {.val = seen.kick,
		.uaddr = (uintptr_t)&s->kick,
		.flags = FUTEX_32 | FUTEX_PRIVATE_FLAG}};
	struct timespec ts = to_timespec(now_ns() + HEALTH_NS);
	int ret = sys_futex_waitv(w, 2, &ts);

	if (ret == -ENOSYS || ret == -EPERM)
		return sys_futex_wait(&s->ev->ev_seq, seen.ev, NULL);
	if (ret == -ETIMEDOUT) {
		session_alive(s->ss);
		return 0;
	}
	return ret;
}

static void sleep_over(struct nsock *s)
{
	small_lock(&s->wait_lock);
	if (--s->sleepers == 0)
		store_once(&s->ev->want, 0);
	small_unlock(&s->wait_lock);
}

/* The thread was cancelled in its sleep: the reference of the call that it was in is put for it. */
static void sleep_cancelled(void *arg)
{
	sleep_over(arg);
	ns_put(arg);
}

static int sleep_or_end(struct nsock *s, struct sleep_seen seen, uint64_t deadline)
{
	int ret, type;

	pthread_cleanup_push(sleep_cancelled, s);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	ret = deadline ? sleep_until(s, seen, deadline) : sleep_long(s, seen);
	pthread_setcanceltype(type, NULL);
	pthread_cleanup_pop(0);
	return ret;
}

/*
 * Sleeps until something moved since `seen`. 0 (look again, also for no reason), -EINTR, -EAGAIN
 * when `deadline` (monotonic ns, 0: none) is over.
 */
int sock_sleep(struct nsock *s, struct sleep_seen seen, uint64_t deadline)
{
	int ret = 0;

	if (sock_check(s) < 0 || spin(s, seen))
		return 0;
	small_lock(&s->wait_lock);
	if (s->sleepers++ == 0)
		store_once(&s->ev->want, 1);
	small_unlock(&s->wait_lock);
	fence_full();
	if (!moved(s, seen) && sock_check(s) == 0)
		ret = sleep_or_end(s, seen, deadline);
	sleep_over(s);
	if (ret == -EINTR)
		return -EINTR;
	return ret == -ETIMEDOUT && deadline && now_ns() >= deadline ? -EAGAIN : 0;
}
