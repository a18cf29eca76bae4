/*
 * Processes that give something up: what netd goes by has to be told to it before.
 *
 * A root folder of one's own, as mail servers' processes have it, is often taken before the first
 * socket; the control socket is out of reach then. And who will go on with capabilities after a
 * change of user (PR_SET_KEEPCAPS: name and time servers) must have been a client as root: netd
 * cannot see a capability, but it lets a session keep what it had. Nor can it see that root's
 * process is root of a user namespace only: the library itself remembers that (session_abroad).
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>

HOOK int chroot(const char *path)
{
	int saved = errno;

	if (ns_owner())
		ns_enclose();
	errno = saved;
	return real.chroot(path);
}

HOOK int prctl(int option, ...)
{
	unsigned long arg[4];
	int saved = errno;
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		arg[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option == PR_SET_KEEPCAPS && arg[0] && ns_owner())
		ns_enclose();
	errno = saved;
	return real.prctl(option, arg[0], arg[1], arg[2], arg[3]);
}

HOOK int unshare(int flags)
{
	int ret = real.unshare(flags);

	if (ret == 0 && flags & CLONE_NEWUSER)
		session_abroad();
	return ret;
}
