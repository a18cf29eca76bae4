/*
 * The control socket: systemd's, a predecessor's, or a new one.
 *
 * A new one takes the place of what lies there from a netd that is gone. Between the look whether somebody answers there
 * and the moment when we do, nobody else may do the same: so we hold a lock on a file beside it, which only our user may
 * open, and which is gone when we are done.
 */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BACKLOG 4096

static struct sockaddr_un address(const struct supervisor *s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", s->config->socket);
	return addr;
}

int listening_connect(const struct supervisor *s)
{
	struct sockaddr_un addr = address(s);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* The descriptor that holds the lock, or a negative errno. */
static int lock_place(const char *path)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	int fd, ret;

	do {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (fcntl(fd, F_OFD_SETLKW, &whole) < 0 || fstat(fd, &st) < 0)
			ret = -errno;
		else if (st.st_nlink)
			return fd;
		else
			ret = -EINTR; /* whom we waited for has removed it */
		close(fd);
	} while (ret == -EINTR);
	return ret;
}

static int take_place(struct supervisor *s)
{
	struct sockaddr_un addr = address(s);
	int other = listening_connect(s);
	struct stat st;

	if (other >= 0) {
		close(other);
		return succession_occupied(s);
	}
	if (lstat(addr.sun_path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		log_error("%s is there already, and no socket", addr.sun_path);
		return -EEXIST;
	}
	unlink(addr.sun_path);
	s->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	channel_want_credentials(s->listening);
	if (s->listening >= 0 && bind(s->listening, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	    chmod(addr.sun_path, 0666) == 0 && listen(s->listening, BACKLOG) == 0)
		return 0;
	other = -errno;
	log_error("%s: %s", addr.sun_path, strerror(-other));
	return other;
}

static int listen_anew(struct supervisor *s)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int ret = make_directories(s->config->socket, true), lock = ret;

	snprintf(path, sizeof(path), "%s.lock", s->config->socket);
	if (!ret)
		lock = lock_place(path);
	if (lock < 0) {
		log_error("%s cannot be made: %s", s->config->socket, strerror(-lock));
		return lock;
	}
	ret = take_place(s);
	unlink(path);
	close(lock);
	if (ret < 0)
		return ret;
	s->own_socket = true;
	store_put(s, s->listening, "control");
	return 0;
}

int listening_start(struct supervisor *s)
{
	s->listening = store_take(s, "activated");
	channel_want_credentials(s->listening);
	if (s->listening >= 0)
		return 0;
	s->listening = store_take(s, "control");
	if (s->listening < 0)
		return listen_anew(s);
	s->own_socket = true;
	return 0;
}
