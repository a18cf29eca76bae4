/* poll, ppoll, select, pselect. */
#include "clientlib/preload/pollset.h"
#include <stdlib.h>
#include <string.h>

HOOK int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct timespec ts;

	if (!pollset_concerns(fds, n))
		return real.poll(fds, n, timeout);
	return pollset_wait(fds, n, from_ms(timeout, &ts), NULL);
}

HOOK int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
	if (room / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

/* What the kernel is to say, as it would: that they are not there, or that this is no time. */
static bool bad_time(const struct timespec *ts, const sigset_t *mask)
{
	if ((ts && !user_readable(ts, sizeof(*ts))) ||
	    (mask && !user_readable(mask, sizeof(uint64_t))))
		return true;
	return ts && (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec > 999999999);
}

HOOK int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	if (!pollset_concerns(fds, n) || bad_time(ts, mask))
		return real.ppoll(fds, n, ts, mask);
	return pollset_wait(fds, n, ts, mask);
}

HOOK int __ppoll_chk(
    struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask, size_t room)
{
	if (room / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, ts, mask);
}

/*
 * ---- select: the three sets become a pollfd array and come back.
 *
 * The sets are used as arrays of words, nfds bits long: programs with more than FD_SETSIZE
 * descriptors pass larger ones.
 */

#define NFDS_MAX (1 << 20)
#define WORD	 (8 * (int)sizeof(long))
#define IN	 (POLLRDNORM | POLLRDBAND | POLLIN)
#define OUT	 (POLLWRBAND | POLLWRNORM | POLLOUT)

static unsigned long *words(fd_set *set)
{
	return (unsigned long *)(void *)set;
}

static bool has(fd_set *set, int fd)
{
	return set && (words(set)[fd / WORD] >> (fd % WORD) & 1);
}

static bool there(fd_set *set, int nfds)
{
	return !set || user_writable(set, (size_t)((nfds + WORD - 1) / WORD) * sizeof(long));
}

static bool select_concerns(int nfds, fd_set *in, fd_set *out, fd_set *except)
{
	if (!there(in, nfds) || !there(out, nfds) || !there(except, nfds))
		return false; /* the kernel says so */
	for (int w = 0; w * WORD < nfds; w++) {
		unsigned long bits = (in ? words(in)[w] : 0) | (out ? words(out)[w] : 0) |
				     (except ? words(except)[w] : 0);

		for (; bits; bits &= bits - 1) {
			int fd = w * WORD + __builtin_ctzl(bits);

			if (fd < nfds && (fdtable_has(fd) || epset_has(fd)))
				return true;
		}
	}
	return false;
}

/* Fills `p` (room for nfds); how many entries. */
static nfds_t to_poll(int nfds, fd_set *in, fd_set *out, fd_set *except, struct pollfd *p)
{
	nfds_t n = 0;

	for (int fd = 0; fd < nfds; fd++) {
		short ev = (short)((has(in, fd) ? POLLIN | POLLRDNORM : 0) |
				   (has(out, fd) ? POLLOUT | POLLWRNORM : 0) |
				   (has(except, fd) ? POLLPRI : 0));

		if (ev)
			p[n++] = (struct pollfd){.fd = fd, .events = ev};
	}
	return n;
}

static void clear(fd_set *set, int nfds)
{
	if (set)
		memset(set, 0, (size_t)((nfds + WORD - 1) / WORD) * sizeof(long));
}

static int mark(fd_set *set, int fd, bool asked, bool on)
{
	if (!set || !asked || !on)
		return 0;
	words(set)[fd / WORD] |= 1ul << (fd % WORD);
	return 1;
}

/* The sets from the answers; the number of bits. */
static int from_poll(
    int nfds, fd_set *in, fd_set *out, fd_set *except, const struct pollfd *p, nfds_t n)
{
	int count = 0;

	clear(in, nfds);
	clear(out, nfds);
	clear(except, nfds);
	for (nfds_t i = 0; i < n; i++) {
		count += mark(
		    in, p[i].fd, p[i].events & POLLIN, p[i].revents & (IN | POLLHUP | POLLERR));
		count += mark(out, p[i].fd, p[i].events & POLLOUT, p[i].revents & (OUT | POLLERR));
		count += mark(except, p[i].fd, p[i].events & POLLPRI, p[i].revents & POLLPRI);
	}
	return count;
}

/*
 * Looks through the answers. -EBADF for a bad number; else how many entries select() would wake
 * for. A hang-up alone ends a poll(), but is nothing that a writer or one who waits for exceptions
 * asked for: such an entry is taken out.
 */
static int review(struct pollfd *p, nfds_t n)
{
	int good = 0;

	for (nfds_t i = 0; i < n; i++) {
		short r = p[i].revents, ev = p[i].events;

		if (p[i].fd < 0 || !r)
			continue;
		if (r & POLLNVAL)
			return -EBADF;
		if ((ev & POLLIN && r & (IN | POLLHUP | POLLERR)) ||
		    (ev & POLLOUT && r & (OUT | POLLERR)) || (ev & POLLPRI && r & POLLPRI))
			good++;
		else
			p[i] = (struct pollfd){.fd = -1};
	}
	return good;
}

static int select_run(struct pollfd *p, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	struct deadline until = deadline_in(ts);
	struct timespec left;

	for (;;) {
		int ret = pollset_wait(p, n, ts, mask);

		if (ret < 0)
			return ret;
		if (ret > 0)
			ret = review(p, n);
		if (ret < 0)
			return (int)done(ret);
		if (ret > 0 || timespec_zero(ts))
			return ret;
		ts = deadline_left(&until, &left);
		if (timespec_zero(ts))
			return 0;
	}
}

static int select_wait(int nfds, fd_set *in, fd_set *out, fd_set *except, const struct timespec *ts,
    const sigset_t *mask)
{
	struct pollfd room[64], *p = nfds <= 64 ? room : malloc(sizeof(*p) * (size_t)nfds);
	nfds_t n;
	int ret;

	if (!p)
		return (int)done(-ENOMEM);
	n = to_poll(nfds, in, out, except, p);
	ret = select_run(p, n, ts, mask);
	if (ret >= 0)
		ret = from_poll(nfds, in, out, except, p, n);
	if (p != room)
		free(p);
	return ret;
}

HOOK int select(int nfds, fd_set *restrict in, fd_set *restrict out, fd_set *restrict except,
    struct timeval *restrict tv)
{
	struct timespec ts, left;
	struct deadline until;
	int ret;

	if (nfds < 0 || nfds > NFDS_MAX || !select_concerns(nfds, in, out, except))
		return real.select(nfds, in, out, except, tv);
	if (!tv)
		return select_wait(nfds, in, out, except, NULL, NULL);
	if (!user_writable(tv, sizeof(*tv)))
		return (int)done(-EFAULT);
	if (tv->tv_sec < 0 || tv->tv_usec < 0)
		return (int)done(-EINVAL);
	ts.tv_sec = tv->tv_sec + tv->tv_usec / 1000000;
	ts.tv_nsec = tv->tv_usec % 1000000 * 1000;
	until = deadline_in(&ts);
	ret = select_wait(nfds, in, out, except, &ts, NULL);
	if (!until.never) { /* Linux writes back what is left */
		(void)deadline_left(&until, &left);
		tv->tv_sec = left.tv_sec;
		tv->tv_usec = left.tv_nsec / 1000;
	}
	return ret;
}

HOOK int pselect(int nfds, fd_set *restrict in, fd_set *restrict out, fd_set *restrict except,
    const struct timespec *restrict ts, const sigset_t *restrict mask)
{
	if (nfds < 0 || nfds > NFDS_MAX || !select_concerns(nfds, in, out, except))
		return real.pselect(nfds, in, out, except, ts, mask);
	if (bad_time(ts, mask))
		return real.pselect(nfds, in, out, except, ts, mask);
	return select_wait(nfds, in, out, except, ts, mask);
}

/*
 * ---- By number: the mask has the kernel's size, which is said, and what is left of the time is written back. Where no socket of
 * netd's is concerned, and where something is wrong, it is the kernel's.
 */

/* The mask as libc has it; NULL: none. */
static const sigset_t *mask_of(const void *mask, sigset_t *set)
{
	if (!mask)
		return NULL;
	sigemptyset(set);
	memcpy(set, mask, _NSIG / 8);
	return set;
}

static long back_to_user(struct timespec *ts, const struct deadline *until, long ret)
{
	struct timespec left;

	if (ts && !until->never) {
		(void)deadline_left(until, &left);
		(void)copy_to_user(ts, &left, sizeof(left));
	}
	return ret;
}

long ppoll_by_number(const long *a)
{
	struct pollfd *fds = (void *)a[0];
	struct timespec *ts = (void *)a[2];
	const void *mask = (const void *)a[3];
	struct deadline until;
	sigset_t set;

	if (!pollset_concerns(fds, (nfds_t)a[1]) || bad_time(ts, mask) ||
	    (mask && a[4] != _NSIG / 8))
		return done(sys_call(SYS_ppoll, a[0], a[1], a[2], a[3], a[4], 0));
	until = deadline_in(ts);
	return back_to_user(ts, &until, pollset_wait(fds, (nfds_t)a[1], ts, mask_of(mask, &set)));
}

long pselect_by_number(const long *a)
{
	fd_set *in = (void *)a[1], *out = (void *)a[2], *except = (void *)a[3];
	struct timespec *ts = (void *)a[4];
	struct {
		const void *mask;
		size_t size;
	} m = {NULL, 0};
	struct deadline until;
	int nfds = (int)a[0];
	sigset_t set;

	if (nfds < 0 || nfds > NFDS_MAX || !select_concerns(nfds, in, out, except) ||
	    (a[5] && copy_from_user(&m, (const void *)a[5], sizeof(m)) < 0) ||
	    bad_time(ts, m.mask) || (m.mask && m.size != _NSIG / 8))
		return done(sys_call(SYS_pselect6, a[0], a[1], a[2], a[3], a[4], a[5]));
	until = deadline_in(ts);
	return back_to_user(
	    ts, &until, select_wait(nfds, in, out, except, ts, mask_of(m.mask, &set)));
}
