/*
 * Libraries that a program loads later. With RTLD_DEEPBIND (php loads its extensions so) one would
 * find libc's calls before ours, and be on the kernel's sockets unnoticed: so that flag does not
 * pass. The real dlopen() is the last thing here, a jump: it sees the program as its caller, whose
 * RUNPATH it may need.
 */
#include "clientlib/preload/hook.h"

HOOK void *dlopen(const char *file, int mode)
{
	return real.dlopen(file, mode & ~RTLD_DEEPBIND);
}
