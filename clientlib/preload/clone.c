/*
 * clone(), by its name and by number.
 *
 * Without shared memory it is a fork of which libc knows nothing, nor do its handlers, which give the child its session: so
 * it is fork() where there are sockets. What that cannot do, new namespaces above all, is refused as by a kernel that was
 * built without it: such programs (vsftpd) do without then. clone3() is not there at all; whoever calls it by number tries
 * clone() next. With shared memory it makes threads, and children that will only exec (hook.h).
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>

static bool holds_sockets(void)
{
	int n = fdtable_limit(), fd = 0;

	while (fd < n && !fdtable_has(fd))
		fd++;
	return fd < n;
}

bool clone_by_number(long nr, const long *a, long *ret)
{
	uint64_t flags; /* what struct clone_args begins with */

#ifdef SYS_clone3
	if (nr == SYS_clone3 && copy_from_user(&flags, (const void *)a[0], sizeof(flags)) == 0 &&
	    !(flags & CLONE_VM) && holds_sockets()) {
		*ret = done(-ENOSYS);
		return true;
	}
#endif
	if (nr != SYS_clone || a[0] & CLONE_VM || !holds_sockets())
		return false;
	*ret = a[0] == SIGCHLD && !a[1] ? fork() : done(-EINVAL);
	return true;
}

HOOK int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	void *more[3];
	va_list ap;
	pid_t pid;

	va_start(ap, arg);
	for (int i = 0; i < 3; i++)
		more[i] = va_arg(ap, void *);
	va_end(ap);
	if (flags & CLONE_VM || !fn || !stack || !holds_sockets())
		return real.clone(fn, stack, flags, arg, more[0], more[1], more[2]);
	if (flags != SIGCHLD)
		return (int)done(-EINVAL);
	pid =
	    fork(); /* on a copy of this stack: whether it is that one or another no child can tell */
	if (pid == 0)
		_exit(fn(arg));
	return pid;
}
