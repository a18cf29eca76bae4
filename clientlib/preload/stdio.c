/*
 * stdio on a socket of netd.
 *
 * libc's streams call the kernel from inside libc, where no symbol can be replaced. So fdopen() on
 * such a socket gives a cookie stream whose functions come back here; its descriptor number is put
 * where fileno() finds it. dprintf() formats first and writes then.
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

static ssize_t stream_read(void *cookie, char *buf, size_t n)
{
	return read((int)(intptr_t)cookie, buf, n);
}

static ssize_t stream_write(void *cookie, const char *buf, size_t n)
{
	ssize_t ret = write((int)(intptr_t)cookie, buf, n);

	return ret < 0 ? 0 : ret; /* how a cookie says "error" */
}

static int stream_close(void *cookie)
{
	return close((int)(intptr_t)cookie);
}

static FILE *cookie_stream(int fd, const char *mode)
{
	cookie_io_functions_t io = {
	    .read = stream_read, .write = stream_write, .close = stream_close};
	FILE *f = fopencookie((void *)(intptr_t)fd, mode, io);

	if (f)
		f->_fileno = fd;
	return f;
}

HOOK FILE *fdopen(int fd, const char *mode)
{
	return fdtable_has(fd) ? cookie_stream(fd, mode) : real.fdopen(fd, mode);
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
