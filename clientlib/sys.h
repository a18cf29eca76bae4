/*
 * System calls, made directly.
 *
 * The library may run below a preload library that replaces libc's functions on descriptors, and
 * must not change errno; so the core calls the kernel itself. Every function returns >= 0 or a
 * negative errno.
 */
#pragma once
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#if defined(__x86_64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "system calls of this machine are not known to clientlib/sys.h"
#endif

static inline int sys_close(int fd)
{
	return (int)sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline ssize_t sys_read(int fd, void *buf, size_t len)
{
	return sys_call(SYS_read, fd, (long)buf, (long)len, 0, 0, 0);
}

static inline ssize_t sys_write(int fd, const void *buf, size_t len)
{
	return sys_call(SYS_write, fd, (long)buf, (long)len, 0, 0, 0);
}

static inline int sys_fcntl(int fd, int cmd, long arg)
{
	return (int)sys_call(SYS_fcntl, fd, cmd, arg, 0, 0, 0);
}

static inline int sys_dup3(int from, int to, int flags)
{
	return (int)sys_call(SYS_dup3, from, to, flags, 0, 0, 0);
}

static inline int sys_connect(int fd, const void *sa, socklen_t len)
{
	return (int)sys_call(SYS_connect, fd, (long)sa, (long)len, 0, 0, 0);
}

static inline ssize_t sys_sendmsg(int fd, const struct msghdr *m, int flags)
{
	return sys_call(SYS_sendmsg, fd, (long)m, flags, 0, 0, 0);
}

static inline ssize_t sys_recvmsg(int fd, struct msghdr *m, int flags)
{
	return sys_call(SYS_recvmsg, fd, (long)m, flags, 0, 0, 0);
}

/* `ts` is changed by the kernel to what is left. */
static inline int sys_ppoll(struct pollfd *p, unsigned n, struct timespec *ts)
{
	return (int)sys_call(SYS_ppoll, (long)p, (long)n, (long)ts, 0, 8, 0);
}

static inline int sys_epoll_ctl(int ep, int op, int fd, void *event)
{
	return (int)sys_call(SYS_epoll_ctl, ep, op, fd, (long)event, 0, 0);
}

/* MAP_FAILED never comes back: a small negative number does. */
static inline long sys_mmap(size_t len, int prot, int flags, int fd)
{
	return sys_call(SYS_mmap, 0, (long)len, prot, flags, fd, 0);
}

static inline void sys_munmap(void *p, size_t len)
{
	(void)sys_call(SYS_munmap, (long)p, (long)len, 0, 0, 0, 0);
}

static inline int sys_madvise(void *p, size_t len, int advice)
{
	return (int)sys_call(SYS_madvise, (long)p, (long)len, advice, 0, 0, 0);
}

static inline long sys_lseek(int fd, long off, int whence)
{
	return sys_call(SYS_lseek, fd, off, whence, 0, 0, 0);
}

static inline int sys_getpid(void)
{
	return (int)sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static inline void sys_nanosleep(long ns)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};

	(void)sys_call(SYS_nanosleep, (long)&ts, 0, 0, 0, 0, 0);
}

/* Shared futexes: the other side is another process. `ts` relative, NULL for none. */
static inline int sys_futex_wait(const uint32_t *word, uint32_t seen, const struct timespec *ts)
{
	return (int)sys_call(SYS_futex, (long)word, FUTEX_WAIT, seen, (long)ts, 0, 0);
}

static inline int sys_futex_wake(const uint32_t *word, int n)
{
	return (int)sys_call(SYS_futex, (long)word, FUTEX_WAKE, n, 0, 0, 0);
}

/* The same between threads of one process. */
static inline int sys_futex_wait_private(const uint32_t *word, uint32_t seen)
{
	return (int)sys_call(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, seen, 0, 0, 0);
}

static inline int sys_futex_wake_private(const uint32_t *word, int n)
{
	return (int)sys_call(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, n, 0, 0, 0);
}

/*
 * Sleeps on several words; `ts` is an absolute CLOCK_MONOTONIC time. Unlike FUTEX_WAIT with a
 * timeout it restarts by itself under SA_RESTART. -ENOSYS before Linux 5.16.
 */
static inline int sys_futex_waitv(struct futex_waitv *w, unsigned n, const struct timespec *ts)
{
#ifdef SYS_futex_waitv
	return (int)sys_call(SYS_futex_waitv, (long)w, n, 0, (long)ts, CLOCK_MONOTONIC, 0);
#else
	(void)w, (void)n, (void)ts;
	return -38; /* ENOSYS */
#endif
}

/* Writes one byte; a SIGPIPE that this causes does not reach the process. */
static inline ssize_t sys_ring(int fd)
{
	uint64_t pipe_set = 1ull << (SIGPIPE - 1), old = 0, pending = 0;
	struct timespec none = {0, 0};
	ssize_t n;

	(void)sys_call(SYS_rt_sigprocmask, SIG_BLOCK, (long)&pipe_set, (long)&old, 8, 0, 0);
	(void)sys_call(SYS_rt_sigpending, (long)&pending, 8, 0, 0, 0, 0);
	n = sys_write(fd, "", 1);
	if (n == -32 /* EPIPE */ && !(pending & pipe_set))
		(void)sys_call(SYS_rt_sigtimedwait, (long)&pipe_set, 0, (long)&none, 8, 0, 0);
	(void)sys_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&old, 0, 8, 0, 0);
	return n;
}

static inline int sys_openat(const char *path, int flags)
{
	return (int)sys_call(SYS_openat, AT_FDCWD, (long)path, flags, 0, 0, 0);
}
