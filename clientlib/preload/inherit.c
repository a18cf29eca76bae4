/*
 * Sockets that this program was started with.
 *
 * A program that was given sockets of netd has tokens at their numbers (exec.c). They are found
 * once, at the start: what comes later comes through hooks. Only a program that was told where netd
 * is looks at all. stdio's streams on such numbers are replaced, for libc's own would write to the
 * token (stdio.c).
 */
#include "clientlib/preload/async.h"
#include <dirent.h>
#include <stdlib.h>

struct entry { /* linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static void look(int fd)
{
	struct nsock *s;

	if (fdtable_join(fd) != fd)
		return;
	stdio_over(fd);
	s = fdtable_get(fd);
	if (s) {
		async_inherited(s, fd);
		ns_put(s);
	}
}

/* Without /proc: the first numbers only. */
static void look_blindly(void)
{
	for (int fd = 0; fd < 256; fd++)
		look(fd);
}

static void look_through(int dir)
{
	_Alignas(8) char buf[4096];
	int found[1024], count = 0;
	long n;

	while ((n = sys_call(SYS_getdents64, dir, (long)buf, sizeof(buf), 0, 0, 0)) > 0)
		for (long at = 0; at < n;) {
			const struct entry *e = (const struct entry *)(const void *)(buf + at);
			int fd = e->name[0] == '.' ? dir : atoi(e->name);

			if (fd != dir && count < 1024)
				found[count++] = fd;
			at += e->len;
		}
	for (int i = 0; i < count; i++)
		look(found[i]);
}

__attribute__((constructor)) static void inherit(void)
{
	int dir, saved = errno;

	if (!secure_getenv("NETD_SOCKET"))
		return;
	dir = sys_openat("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		look_blindly();
	} else {
		look_through(dir);
		sys_close(dir);
	}
	errno = saved;
}
