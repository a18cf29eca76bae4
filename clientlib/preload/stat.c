/*
 * fstat(): who a socket is. Placeholders share one anchor, and are replaced when a socket goes to
 * another program, so their inodes say nothing; but programs tell by it whether they were given the
 * socket that they were told of (dovecot's do). The socket's inode is its cookie, the same for all
 * who hold it.
 */
#include "clientlib/preload/hook.h"
#include <sys/stat.h>

static void identify(int fd, ino_t *ino)
{
	struct nsock *s = fdtable_get(fd);
	uint64_t cookie;
	socklen_t len = sizeof(cookie);

	if (!s)
		return;
	if (ns_getsockopt(s, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0)
		*ino = cookie;
	ns_put(s);
}

HOOK int fstat(int fd, struct stat *st)
{
	int ret = real.fstat(fd, st);

	if (ret == 0 && S_ISSOCK(st->st_mode))
		identify(fd, &st->st_ino);
	return ret;
}

HOOK int fstat64(int fd, struct stat64 *st)
{
	int ret = real.fstat64(fd, st);

	if (ret == 0 && S_ISSOCK(st->st_mode))
		identify(fd, &st->st_ino);
	return ret;
}
