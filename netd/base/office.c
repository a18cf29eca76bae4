#include "base/office.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define OFFICE_BYTE 1 /* 0 is what netd-inet locks to format the arena */

static struct flock byte(short type)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = OFFICE_BYTE, .l_len = 1};
}

int office_take(int arena, int *fd)
{
	struct flock lock = byte(F_WRLCK);
	char path[64];
	int ret = OFFICE_TAKEN;

	/* Every copy of `arena` that was ever passed on is the same description: this one is ours alone. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", arena);
	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	if (fcntl(*fd, F_OFD_SETLK, &lock) == 0)
		return OFFICE_TAKEN;
	if (errno != EAGAIN && errno != EACCES) {
		ret = -errno;
	} else {
		/* A supervisor's lock belongs to a description (-1), a netd-inet's to a process. */
		ret = OFFICE_BUSY;
		if (fcntl(*fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid == -1)
			ret = OFFICE_OCCUPIED;
	}
	close(*fd);
	*fd = -1;
	return ret;
}

/* The process's own, as opposed to the description's: it ends with the process. */
bool office_borrow(int arena)
{
	struct flock lock = byte(F_WRLCK);

	return fcntl(arena, F_SETLK, &lock) == 0;
}

void office_give_back(int arena)
{
	struct flock lock = byte(F_UNLCK);

	fcntl(arena, F_SETLK, &lock);
}
