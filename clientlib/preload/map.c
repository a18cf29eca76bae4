/*
 * mmap() of a socket: a packet socket's ring (clientlib/tpacket.c). And what is mapped otherwise, or no more: what was known
 * of the pages is to be forgotten (clientlib/usermem.h).
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>

static void *map_socket(struct nsock *s, void *addr, size_t len, int flags, off_t off)
{
	void *at = MAP_FAILED;
	int ret = ns_mmap(s, addr, len, flags, off, &at);

	return done_put(s, ret) < 0 ? MAP_FAILED : at;
}

HOOK void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct nsock *s = fd < 0 || flags & MAP_ANONYMOUS ? NULL : fdtable_get(fd);

	addr =
	    s ? map_socket(s, addr, len, flags, off) : real.mmap(addr, len, prot, flags, fd, off);
	if (addr != MAP_FAILED)
		usermem_forget(addr, len);
	return addr;
}

HOOK void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	return mmap(addr, len, prot, flags, fd, off);
}

HOOK int munmap(void *addr, size_t len)
{
	int ret = real.munmap(addr, len);

	usermem_forget(addr, len);
	return ret;
}

HOOK int mprotect(void *addr, size_t len, int prot)
{
	int ret = real.mprotect(addr, len, prot);

	usermem_forget(addr, len);
	return ret;
}

HOOK void *mremap(void *addr, size_t len, size_t size, int flags, ...)
{
	va_list ap;
	void *to;

	va_start(ap, flags);
	to = va_arg(ap, void *);
	va_end(ap);
	to = real.mremap(addr, len, size, flags, to);
	usermem_forget(addr, len);
	if (to != MAP_FAILED)
		usermem_forget(to, size);
	return to;
}
