/*
 * Limits of memory that would count what the library has mapped, which the program does not know of: RLIMIT_AS (clientlib/space.c),
 * and mlockall().
 */
#include "clientlib/preload/hook.h"

static bool ours(pid_t pid, int resource)
{
	return resource == RLIMIT_AS && (!pid || pid == sys_getpid()) && ns_owner();
}

HOOK int prlimit(
    pid_t pid, __rlimit_resource_t resource, const struct rlimit *new, struct rlimit *old)
{
	struct rlimit was;
	int ret;

	if (!ours(pid, resource))
		return real.prlimit(pid, resource, new, old);
	if ((new && !user_readable(new, sizeof(*new))) ||
	    (old && !user_writable(old, sizeof(*old))))
		return (int)done(-EFAULT);
	ret = ns_space_get(&was);
	if (ret == 0 && new)
		ret = ns_space_set(new);
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
