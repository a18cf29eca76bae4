/*
 * Limits that would count what is the library's, of which the program does not know: of memory that it has mapped (RLIMIT_AS,
 * clientlib/space.c, and mlockall()), and of descriptors (RLIMIT_NOFILE, clientlib/numbers.c).
 */
#include "clientlib/preload/hook.h"

struct limit {
	int (*get)(struct rlimit *l);
	int (*set)(const struct rlimit *l);
};

/* NULL: all of it is the kernel's. */
static const struct limit *limit_of(pid_t pid, int resource)
{
	static const struct limit space = {ns_space_get, ns_space_set},
				  numbers = {ns_numbers_get, ns_numbers_set};

	if ((resource != RLIMIT_AS && resource != RLIMIT_NOFILE) || (pid && pid != sys_getpid()) ||
	    !ns_owner())
		return NULL;
	return resource == RLIMIT_AS ? &space : &numbers;
}

/* Before inherit.c looks for sockets, for which there must be room. */
__attribute__((constructor(101))) static void reserve(void)
{
	ns_numbers_reserve();
}

HOOK int prlimit(
    pid_t pid, __rlimit_resource_t resource, const struct rlimit *new, struct rlimit *old)
{
	const struct limit *limit = limit_of(pid, (int)resource);
	struct rlimit was;
	int ret;

	if (!limit)
		return real.prlimit(pid, resource, new, old);
	if ((new && !user_readable(new, sizeof(*new))) ||
	    (old && !user_writable(old, sizeof(*old))))
		return (int)done(-EFAULT);
	ret = limit->get(&was);
	if (ret == 0 && new)
		ret = limit->set(new);
	if (ret == 0 && old)
		*old = was;
	return (int)done(ret);
}

HOOK int prlimit64(
    pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *new, struct rlimit64 *old)
{
	return prlimit(
	    pid, resource, (const struct rlimit *)(const void *)new, (struct rlimit *)(void *)old);
}

HOOK int setrlimit(__rlimit_resource_t resource, const struct rlimit *new)
{
	return prlimit(0, resource, new, NULL);
}

HOOK int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *new)
{
	return setrlimit(resource, (const struct rlimit *)(const void *)new);
}

HOOK int getrlimit(__rlimit_resource_t resource, struct rlimit *old)
{
	return prlimit(0, resource, NULL, old);
}

HOOK int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *old)
{
	return getrlimit(resource, (struct rlimit *)(void *)old);
}

/* Pages are locked as they are touched: gigabytes of ours never are, and would all be filled. */
HOOK int mlockall(int flags)
{
	return real.mlockall(flags | MCL_ONFAULT);
}
