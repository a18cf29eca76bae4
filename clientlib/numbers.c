/*
 * RLIMIT_NOFILE, which is the program's: what netd needs descriptors for beside its sockets must not count in it. So ours stand
 * above the limit that is in force (own.c), which is lifted for the one system call that makes them; that matters to nobody
 * but another thread that gets a number in the same moment.
 *
 * It can be lifted where there is something above it. So the hard limit is kept higher than the program is told:
 *
 * - What the program sets (ns_numbers_set()) is in force, but the hard limit goes down to ROOM more than it said.
 * - A hard limit that was there before and may not be lifted has no more above it: then the soft one, if it comes near, is
 *   set lower by some, and the program has so many numbers less than it is told. Else it would lack its first socket, or a
 *   child of its the sockets, when it has taken all. One of those that it asks for by number it gets (ns_numbers_dup()).
 * - exec(), and what makes processes in libc, find what the program was told (ns_numbers_exec()).
 *
 * A limit that somebody else has set meanwhile (prlimit() from another process) is as the kernel says.
 */
#include "clientlib/numbers.h"
#include "clientlib/core.h"
#include "clientlib/lock.h"
#include "clientlib/sys.h"
#include <errno.h>

#define ROOM	   64u	/* for ours above what the program may have */
#define KEPT	   16u	/* ... within it, where nothing is above: programs leave no more than 32 to what they forgot */
#define PART	   4u	/* ... but not more of all numbers than one in so many */
#define ROOM_ABOVE 4096 /* a hard limit, for those who may lift that, too */

static struct small_lock lock; /* held while the limit is lifted */
static struct rlimit told;     /* what the program thinks, where that differs from */
static struct rlimit kept;     /* what the kernel has */
static unsigned bare;	       /* threads in an exec(), or about to make a process that does one */

static int get(struct rlimit *l)
{
	return (int)sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)l, 0, 0);
}

static int set(rlim_t soft, rlim_t hard)
{
	struct rlimit l = {.rlim_cur = soft, .rlim_max = hard};

	return (int)sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&l, 0, 0, 0);
}

static rlim_t least(rlim_t a, rlim_t b)
{
	return a < b ? a : b;
}

int numbers_limit(struct rlimit *l)
{
	return get(l);
}

static int lift(const struct rlimit *was)
{
	rlim_t above = was->rlim_cur + ROOM_ABOVE;

	if (set(above, above > was->rlim_max ? above : was->rlim_max) == 0)
		return 0;
	return was->rlim_max > was->rlim_cur ? set(was->rlim_max, was->rlim_max) : -EMFILE;
}

long numbers_lifted(long nr, long a, long b, long c)
{
	struct rlimit was;
	long ret = -EMFILE;

	small_lock(&lock);
	if (get(&was) == 0 && lift(&was) == 0) {
		ret = sys_call(nr, a, b, c, 0, 0, 0);
		(void)set(was.rlim_cur, was.rlim_max);
	}
	small_unlock(&lock);
	return ret;
}

/* ---- what the program sees; lock held */

static int tell(struct rlimit *l)
{
	int ret = get(l);

	if (ret == 0 && kept.rlim_max && l->rlim_cur == kept.rlim_cur &&
	    l->rlim_max == kept.rlim_max)
		*l = told;
	return ret;
}

/* These limits, which the kernel allows, for the program; room for ours where it is scarce. */
static int put(const struct rlimit *l)
{
	struct rlimit now;
	rlim_t more = l->rlim_max + ROOM;
	int ret = get(&now);

	if (ret < 0)
		return ret;
	told = kept = *l;
	if (l->rlim_cur < l->rlim_max && l->rlim_max - l->rlim_cur >= ROOM)
		return set(l->rlim_cur, l->rlim_max);
	kept.rlim_max = more > ROOM ? more : l->rlim_max;
	if (set(kept.rlim_cur, kept.rlim_max) == 0)
		return 0;
	kept.rlim_max = now.rlim_max > l->rlim_max ? now.rlim_max : l->rlim_max;
	kept.rlim_cur = least(l->rlim_cur, kept.rlim_max - least(KEPT, kept.rlim_max / PART));
	return set(kept.rlim_cur, kept.rlim_max);
}

/* More than the program is told: the kernel decides, from there. */
static int raise_to(const struct rlimit *l, const struct rlimit *was)
{
	int ret;

	(void)set(was->rlim_cur, was->rlim_max);
	ret = set(l->rlim_cur, l->rlim_max);
	(void)put(ret < 0 ? was : l);
	return ret;
}

static int change(const struct rlimit *l)
{
	struct rlimit was;
	int ret = tell(&was);

	if (ret < 0)
		return ret;
	if (l->rlim_cur > l->rlim_max)
		return -EINVAL;
	return l->rlim_max > was.rlim_max ? raise_to(l, &was) : put(l);
}

int ns_numbers_get(struct rlimit *l)
{
	int ret;

	small_lock(&lock);
	ret = tell(l);
	small_unlock(&lock);
	return ret;
}

int ns_numbers_dup(int from, int fd, int flags)
{
	struct rlimit l;
	int ret = sys_dup3(from, fd, flags);

	/* Beyond what the kernel has, but not beyond what it was told? */
	if (ret != -EBADF || ns_numbers_get(&l) < 0 || (rlim_t)fd >= l.rlim_cur)
		return ret;
	ret = (int)numbers_lifted(SYS_dup3, from, fd, flags);
	return ret == -EMFILE ? -EBADF : ret;
}

int ns_numbers_set(const struct rlimit *l)
{
	int ret;

	small_lock(&lock);
	ret = change(l);
	small_unlock(&lock);
	return ret;
}

/* Lock held. */
static void reserve(void)
{
	struct rlimit l;

	if (tell(&l) == 0)
		(void)put(&l);
}

void ns_numbers_reserve(void)
{
	small_lock(&lock);
	reserve();
	small_unlock(&lock);
}

void ns_numbers_exec(void)
{
	struct rlimit l;

	small_lock(&lock);
	bare++;
	if (tell(&l) == 0)
		(void)set(l.rlim_cur, l.rlim_max);
	small_unlock(&lock);
}

void ns_numbers_stay(void)
{
	small_lock(&lock);
	if (!--bare)
		reserve();
	small_unlock(&lock);
}

void numbers_fork_prepare(void)
{
	small_lock(&lock);
}

void numbers_fork_done(bool child)
{
	if (!child) {
		small_unlock(&lock);
		return;
	}
	lock = (struct small_lock){0};
	bare = 0;
}
