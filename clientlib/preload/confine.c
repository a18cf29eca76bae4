/*
 * A root folder of one's own, as mail servers' processes have it, is often taken before the first
 * socket. The control socket is out of reach then; so the process becomes a client before.
 */
#include "clientlib/preload/hook.h"

HOOK int chroot(const char *path)
{
	int saved = errno;

	if (ns_owner())
		ns_enclose();
	errno = saved;
	return real.chroot(path);
}
