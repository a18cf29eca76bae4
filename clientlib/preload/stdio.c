/*
 * stdio on a socket of netd.
 *
 * libc's streams call the kernel from inside libc, where no symbol can be replaced. So fdopen() on
 * such a socket gives a cookie stream whose functions come back here; its descriptor number is put
 * where fileno() finds it. dprintf() formats first and writes then. freopen() would make a stream of libc's out of what is
 * none, and crash: here it puts the new file at the stream's number.
 */
#include "clientlib/preload/hook.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

#define LIBIO_NO_READS	0x4 /* bits of _flags as all of libc's stdio knows them, by names that it keeps to itself */
#define LIBIO_NO_WRITES 0x8
#define LIBIO_PUTTING	0x800

struct cookie {
	int fd;
	FILE *f;
	struct cookie *next;
};

static struct cookie *cookies; /* all of ours, under the lock */
static pthread_mutex_t cookie_lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t stream_read(void *cookie, char *buf, size_t n)
{
	return read(((struct cookie *)cookie)->fd, buf, n);
}

static ssize_t stream_write(void *cookie, const char *buf, size_t n)
{
	ssize_t ret = write(((struct cookie *)cookie)->fd, buf, n);

	return ret < 0 ? 0 : ret; /* how a cookie says "error" */
}

static int stream_seek(void *cookie, off64_t *off, int whence)
{
	off64_t ret = lseek64(((struct cookie *)cookie)->fd, *off, whence);

	if (ret < 0)
		return -1;
	*off = ret;
	return 0;
}

static int stream_close(void *cookie)
{
	struct cookie *c = cookie;
	int fd = c->fd;

	pthread_mutex_lock(&cookie_lock);
	for (struct cookie **p = &cookies; *p; p = &(*p)->next) {
		if (*p == c) {
			*p = c->next;
			break;
		}
	}
	pthread_mutex_unlock(&cookie_lock);
	free(c);
	return close(fd);
}

static FILE *cookie_stream(int fd, const char *mode)
{
	cookie_io_functions_t io = {
	    .read = stream_read, .write = stream_write, .seek = stream_seek, .close = stream_close};
	struct cookie *c = malloc(sizeof(*c));
	FILE *f = c ? fopencookie(c, mode, io) : NULL;

	if (!f) {
		free(c);
		return NULL;
	}
	f->_fileno = fd;
	*c = (struct cookie){.fd = fd, .f = f};
	pthread_mutex_lock(&cookie_lock);
	c->next = cookies;
	cookies = c;
	pthread_mutex_unlock(&cookie_lock);
	return f;
}

/* The number of a stream that we made, -1 for libc's own. */
static int cookie_fd(const FILE *f)
{
	struct cookie *c;
	int fd;

	pthread_mutex_lock(&cookie_lock);
	for (c = cookies; c && c->f != f; c = c->next)
		;
	fd = c ? c->fd : -1;
	pthread_mutex_unlock(&cookie_lock);
	return fd;
}

void stdio_fork_prepare(void)
{
	pthread_mutex_lock(&cookie_lock);
}

void stdio_fork_done(bool child)
{
	if (child)
		pthread_mutex_init(&cookie_lock, NULL);
	else
		pthread_mutex_unlock(&cookie_lock);
}

HOOK FILE *fdopen(int fd, const char *mode)
{
	return fdtable_has(fd) ? cookie_stream(fd, mode) : real.fdopen(fd, mode);
}

static FILE *reopen(FILE *f, int fd, const char *path, const char *mode)
{
	FILE *g;
	int ret;

	fflush(f);
	g = real.fopen64(path, mode);
	ret = g ? dup3(fileno(g), fd, fcntl(fileno(g), F_GETFD) & FD_CLOEXEC ? O_CLOEXEC : 0) : -1;
	if (ret >= 0) {
		__fpurge(f);
		clearerr(f);
		f->_flags &= ~(LIBIO_NO_READS | LIBIO_NO_WRITES | LIBIO_PUTTING);
		f->_flags |= g->_flags & (LIBIO_NO_READS | LIBIO_NO_WRITES);
	}
	if (g)
		fclose(g);
	if (ret >= 0)
		return f;
	ret = errno;
	fclose(f);
	errno = ret;
	return NULL;
}

HOOK FILE *freopen64(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	int fd = cookie_fd(f);
	char self[32];

	if (fd < 0)
		return real.freopen64(path, mode, f);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return reopen(f, fd, path ? path : self, mode);
}

HOOK FILE *freopen(const char *restrict path, const char *restrict mode, FILE *restrict f)
{
	return freopen64(path, mode, f);
}

/*
 * A socket comes to stand at number 0, 1 or 2, where a stream of libc's is already: the variable of that name is a cookie
 * stream from now on. It goes through the hooks, so it will do for whatever comes to that number later, too.
 */
void stdio_over(int fd)
{
	static FILE **const stream[] = {&stdin, &stdout, &stderr};
	static bool replaced[3];
	FILE *f;

	if (fd < 0 || fd > 2 || replaced[fd])
		return;
	f = cookie_stream(fd, fd ? "w" : "r");
	if (!f)
		return;
	if (fd == 2 || __flbf(*stream[fd]))
		setvbuf(f, NULL, fd == 2 ? _IONBF : _IOLBF, BUFSIZ);
	*stream[fd] = f;
	replaced[fd] = true;
}

HOOK int vdprintf(int fd, const char *restrict format, va_list ap)
{
	char *text;
	int n, sum = 0;

	if (!fdtable_has(fd))
		return real.vdprintf(fd, format, ap);
	n = vasprintf(&text, format, ap);
	while (n > 0 && sum < n) {
		ssize_t ret = write(fd, text + sum, (size_t)(n - sum));

		if (ret < 0) {
			sum = -1;
			break;
		}
		sum += (int)ret;
	}
	if (n >= 0)
		free(text);
	return n < 0 ? n : sum;
}

HOOK int dprintf(int fd, const char *restrict format, ...)
{
	va_list ap;
	int ret;

	va_start(ap, format);
	ret = vdprintf(fd, format, ap);
	va_end(ap);
	return ret;
}

HOOK int __dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int ret;

	(void)flag;
	va_start(ap, format);
	ret = vdprintf(fd, format, ap);
	va_end(ap);
	return ret;
}

HOOK int __vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	(void)flag;
	return vdprintf(fd, format, ap);
}
