/*
 * RLIMIT_AS counts what is mapped here, gigabytes of which little is ever touched; the kernel's sockets take none of it.
 * A program that limits itself (vsftpd: to 200 MiB) speaks of its own memory, so what it says is in force above ours:
 *
 * - What the program sets (ns_space_set()) is set with our mappings added; what it asks for (ns_space_get()) is told without
 *   them. The hard limit is only remembered, so that we may map more.
 * - Where there is a limit when something is mapped, it is lifted by as much.
 * - A limit that was there before and may not be lifted ("ulimit -v" before an unprivileged program) leaves less room than a
 *   session usually has: then it asks for a smaller one (space_room()), and has shares and clones as small.
 * - exec() takes our mappings away: the limit is what the program thinks it is.
 */
#include "clientlib/space.h"
#include "clientlib/core.h"
#include "clientlib/lock.h"
#include <errno.h>
#include <sys/mman.h>

#define ROOM_MOST  (1ull << 42)
#define ROOM_LEAST (1ull << 24)
#define PARTS	   8u /* of the room: a session, its clone in a fork, shares, and the program */

static struct small_lock lock;
static uint64_t mapped; /* by us */
static uint64_t lifted; /* how far the soft limit stands above what the program thinks */
static rlim_t hard;	/* what it thinks of the hard one, if it has set it */
static bool hard_set;

static int get(struct rlimit *l)
{
	return (int)sys_call(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)l, 0, 0);
}

static int set(const struct rlimit *l)
{
	return (int)sys_call(SYS_prlimit64, 0, RLIMIT_AS, (long)l, 0, 0, 0);
}

static rlim_t above(rlim_t v, uint64_t by)
{
	return v > RLIM_INFINITY - 1 - by ? RLIM_INFINITY : v + by;
}

static void lift(uint64_t by)
{
	struct rlimit l;

	if (get(&l) < 0 || l.rlim_cur == RLIM_INFINITY)
		return;
	l.rlim_cur = above(l.rlim_cur, by);
	if (l.rlim_max < l.rlim_cur)
		l.rlim_max = l.rlim_cur;
	if (set(&l) == 0)
		lifted += by;
}

static void lower(uint64_t by)
{
	struct rlimit l;

	by = by < lifted ? by : lifted;
	if (!by || get(&l) < 0 || l.rlim_cur == RLIM_INFINITY)
		return;
	l.rlim_cur -= by;
	if (set(&l) == 0)
		lifted -= by;
}

long space_map(int fd, uint64_t size)
{
	long p;

	small_lock(&lock);
	lift(size);
	p = sys_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd);
	if (p < 0 && p > -4096)
		lower(size);
	else
		mapped += size;
	small_unlock(&lock);
	if (p > 0 || p <= -4096)
		sys_madvise((void *)p, size, MADV_DONTDUMP);
	return p;
}

void space_left(uint64_t size)
{
	small_lock(&lock);
	mapped -= size;
	lower(size);
	small_unlock(&lock);
}

void space_unmap(void *at, uint64_t size)
{
	sys_munmap(at, size);
	space_left(size);
}

void space_forked(void)
{
	lock = (struct small_lock){0};
}

static bool may_lift(const struct rlimit *l)
{
	rlim_t more = above(l->rlim_cur, ROOM_MOST);

	if (set(&(struct rlimit){more, more > l->rlim_max ? more : l->rlim_max}) < 0)
		return false;
	(void)set(l);
	return true;
}

uint64_t space_room(void)
{
	uint64_t size = ROOM_MOST;
	struct rlimit l;

	if (get(&l) < 0 || l.rlim_cur == RLIM_INFINITY || may_lift(&l))
		return 0;
	for (; size > ROOM_LEAST * PARTS; size /= 2) {
		long p = sys_mmap(size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);

		if (p > 0 || p <= -4096) {
			sys_munmap((void *)p, size);
			break;
		}
	}
	return size / PARTS;
}

/* ---- what the program sees */

/* Lock held. */
static int tell(struct rlimit *l)
{
	int ret = get(l);

	if (ret < 0)
		return ret;
	if (l->rlim_cur != RLIM_INFINITY)
		l->rlim_cur -= lifted < l->rlim_cur ? lifted : l->rlim_cur;
	if (hard_set && hard < l->rlim_max)
		l->rlim_max = hard;
	return 0;
}

int ns_space_get(struct rlimit *l)
{
	int ret;

	small_lock(&lock);
	ret = tell(l);
	small_unlock(&lock);
	return ret;
}

/* Lock held. */
static int put(const struct rlimit *l)
{
	struct rlimit now, new = *l;
	int ret = get(&now);

	if (ret < 0)
		return ret;
	if (l->rlim_cur > l->rlim_max)
		return -EINVAL;
	if (l->rlim_cur != RLIM_INFINITY)
		new.rlim_cur = above(l->rlim_cur, mapped);
	if (new.rlim_max < now.rlim_max)
		new.rlim_max = now.rlim_max;
	if (new.rlim_max < new.rlim_cur)
		new.rlim_cur = new.rlim_max;
	ret = set(&new);
	if (ret < 0)
		return ret;
	lifted = new.rlim_cur == RLIM_INFINITY ? 0 : new.rlim_cur - l->rlim_cur;
	hard = l->rlim_max;
	hard_set = true;
	return 0;
}

int ns_space_set(const struct rlimit *l)
{
	int ret;

	small_lock(&lock);
	ret = put(l);
	small_unlock(&lock);
	return ret;
}

void ns_space_exec(struct rlimit *was)
{
	struct rlimit l;

	*was = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	if ((lifted || hard_set) && get(was) == 0 && tell(&l) == 0)
		(void)set(&(struct rlimit){l.rlim_cur, was->rlim_max});
}

void ns_space_stay(const struct rlimit *was)
{
	if (was->rlim_cur != RLIM_INFINITY)
		(void)set(was);
}
