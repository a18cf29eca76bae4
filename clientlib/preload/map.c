/* mmap() of a socket: a packet socket's ring (clientlib/tpacket.c). */
#include "clientlib/preload/hook.h"

static void *map_socket(struct nsock *s, void *addr, size_t len, int flags, off_t off)
{
	void *at = MAP_FAILED;
	int ret = ns_mmap(s, addr, len, flags, off, &at);

	return done_put(s, ret) < 0 ? MAP_FAILED : at;
}

HOOK void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct nsock *s = fd < 0 || flags & MAP_ANONYMOUS ? NULL : fdtable_get(fd);

	return s ? map_socket(s, addr, len, flags, off)
		 : real.mmap(addr, len, prot, flags, fd, off);
}

HOOK void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}
