/*
 * Shared by the preload library's files: libc's own functions, and how a call ends.
 *
 * Theory of operation
 *
 * - Every hook asks the table of numbers (clientlib/fdtable.h, no lock) whether the descriptor is a
 *   socket of netd. If not, the call goes to libc unchanged, arguments and errno included.
 * - The core below makes its system calls itself (clientlib/sys.h) and never comes back up here, so
 *   there is no guard against recursion. In these files: `real`, or sys_*(), never the plain name.
 * - A vfork() child runs in our memory but is another process with descriptors of its own: it must
 * not touch a table. Every hook that changes one asks ns_owner() first and makes the bare system
 * call in such a child; it will exec soon, and what it closes there is only its own copy of a
 * placeholder.
 */
#pragma once
#undef _FORTIFY_SOURCE
#include "clientlib/core.h"
#include "clientlib/fdtable.h"
#include "clientlib/sys.h"
#include "clientlib/usermem.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define HOOK __attribute__((visibility("default")))

/* What the fortified headers turn calls into. */
ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room);
ssize_t __pread64_chk(int fd, void *buf, size_t n, off64_t off, size_t room);
ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
ssize_t __recvfrom_chk(
    int fd, void *buf, size_t n, size_t room, int flags, __SOCKADDR_ARG sa, socklen_t *len);
int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room);
int __ppoll_chk(
    struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask, size_t room);
int __dprintf_chk(int fd, int flag, const char *format, ...);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);
int __vdprintf_chk(int fd, int flag, const char *format, va_list ap);
void __chk_fail(void) __attribute__((noreturn));

/* libc's functions, each resolved once. Called through real_(), which sees to that. */
/* clang-format off */
#define REAL_LIST(X) \
	X(read) X(write) X(close) X(readv) X(writev) X(pread) X(pwrite) X(pread64) \
	X(pwrite64) X(preadv2) X(pwritev2) X(preadv) X(pwritev) X(preadv64) X(pwritev64) X(lseek) X(lseek64) \
	X(socket) X(bind) X(listen) X(accept) X(accept4) X(connect) X(shutdown) \
	X(getsockname) X(getpeername) X(getsockopt) X(setsockopt) \
	X(send) X(sendto) X(sendmsg) X(sendmmsg) X(recv) X(recvfrom) X(recvmsg) \
	X(recvmmsg) X(sendfile) X(sendfile64) X(splice) \
	X(dup) X(dup2) X(dup3) X(close_range) X(fcntl) X(fcntl64) X(ioctl) X(poll) \
	X(ppoll) X(select) X(pselect) \
	X(epoll_create) X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(epoll_pwait) \
	X(epoll_pwait2) X(mmap) X(mmap64) X(munmap) X(mprotect) X(mremap) X(mlockall) X(prlimit) X(getaddrinfo) X(gethostbyname2) X(gethostbyname2_r) X(fdopen) \
	X(fopen64) X(freopen64) X(vdprintf) \
	X(execve) X(execvpe) X(fexecve) X(execveat) X(posix_spawn) X(posix_spawnp) \
	X(clone) X(posix_spawn_file_actions_adddup2) X(system) X(popen) X(open) X(open64) X(openat) X(openat64) X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2) X(fopen) X(dlopen) X(chroot) X(unshare) X(prctl) X(fstat) X(fstat64)
/* clang-format on */

struct libc_calls {
#define X(name) __typeof__(name) *name;
	REAL_LIST(X)
#undef X
};
extern struct libc_calls libc_table;
extern bool libc_ready;
void real_resolve(void);
static inline const struct libc_calls *real_(void)
{
	if (__builtin_expect(!__atomic_load_n(&libc_ready, __ATOMIC_ACQUIRE), 0))
		real_resolve();
	return &libc_table;
}
#define real (*real_())

/* How a call on a socket of netd ends: the result, or -1 and errno. */
static inline ssize_t done(ssize_t ret)
{
	if (ret >= 0)
		return ret;
	errno = (int)-ret;
	return -1;
}

/* done(), after the reference was put. */
static inline ssize_t done_put(struct nsock *s, ssize_t ret)
{
	ns_put(s);
	return done(ret);
}

/* data.c: the end of a sending call: -EPIPE on a stream raises SIGPIPE unless MSG_NOSIGNAL. */
ssize_t sent(struct nsock *s, ssize_t ret, int flags);
ssize_t data_read(struct nsock *s, void *buf, size_t n);
ssize_t data_write(struct nsock *s, const void *buf, size_t n);
/* readv() or writev() of a socket of netd with RWF_ flags, of which sockets have RWF_NOWAIT. */
ssize_t data_vector(int fd, const struct iovec *iov, int n, int flags, bool out);

/*
 * readiness.c: ns_poll(), and POLLIN for a listener whose child could not be given a number
 * (EMFILE) and waits here for the next accept().
 */
unsigned readiness(struct nsock *s);
void stash_put(struct nsock *listener, struct nsock *child, const struct endpoint *peer);
bool stash_take(struct nsock *listener, struct nsock **child, struct endpoint *peer);
/* A socket was closed: what was kept for it goes too. */
void stash_forget(struct nsock *listener);
void stash_fork_prepare(void);
void stash_fork_done(bool child);

/* life.c: takes the number out of the table, and the socket out of every epoll set if that was its
 * last number. */
int number_close(int fd);
/* The same where the kernel is about to put something else at the number. */
void number_forget(int fd);
/* A number of the kernel's was copied by dup() or the like: what the library knows of it holds for the copy too. */
void number_copied(int fd, int copy);
/* Is it a descriptor of the library's own, that the application does not know of? */
bool number_own(int fd);

/* stdio.c: a socket is at this number now; if it is one of the first three, libc's stream on it must change. */
void stdio_over(int fd);
void stdio_fork_prepare(void);
void stdio_fork_done(bool child);

/* poll.c: ppoll() and pselect6() by number, as syscall() gives their results. */
long ppoll_by_number(const long *a);
long pselect_by_number(const long *a);

/* clone.c: a clone() by number that is ours to do: true, and its result as syscall() gives it. */
bool clone_by_number(long nr, const long *a, long *ret);

/*
 * rights.c: what sendmsg() and recvmsg() of the kernel's sockets carry. Before sending: netd's descriptors in the message
 * become tokens. After receiving: tokens in it become sockets.
 */
void rights_send(const struct msghdr *m);
void rights_received(struct msghdr *m);

/* passthrough.c: gives every number of the socket a kernel socket instead, options and epoll sets
 * carried over. 0 or negative errno. */
int passthrough_switch(struct nsock *s);
