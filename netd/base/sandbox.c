/*
 * See sandbox.h. Steps, in this order, because each needs what a later one takes away: not dumpable;
 * bounding set emptied and ids changed (both need capabilities); capabilities dropped; no new
 * privileges; filter.
 *
 * The kernel makes a process dumpable again or not at a change of its ids; so that is set once more
 * after them. Under the address sanitizer there is no filter: its run-time needs more calls than are
 * reasonable, and a build with it is not one that ships.
 */
#include "base/sandbox.h"
#include "base/util.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

static int drop_ids(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return -errno;
	/* EINVAL: this user namespace has no such id, so its root is somebody's ordinary user. */
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
		return -errno;
	if (setresuid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int drop_privileges(void)
{
	int ret;

	/* Fails where we have no privilege to lose. */
	for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	if ((ret = drop_ids()) < 0 || (ret = drop_capabilities()) < 0)
		return ret;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return 0;
}

#ifdef __SANITIZE_ADDRESS__
static int install_filter(bool inet)
{
	(void)inet;
	return 0;
}
#else
/* What a libuv loop, malloc, pipes, Unix sockets and shared memory need. */
static const int allowed[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(pwrite64),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(recvmmsg),
    SCMP_SYS(sendmmsg), SCMP_SYS(shutdown), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
    SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(socketpair), SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup),
    SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(fchmod),
    SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(lseek), SCMP_SYS(memfd_create), SCMP_SYS(pipe2),
    SCMP_SYS(eventfd2), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    SCMP_SYS(mprotect), SCMP_SYS(brk), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
    SCMP_SYS(pselect6), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(futex),
    SCMP_SYS(membarrier), SCMP_SYS(set_robust_list), SCMP_SYS(get_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(set_tid_address), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom), SCMP_SYS(getpid),
    SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid), SCMP_SYS(geteuid), SCMP_SYS(getgid),
    SCMP_SYS(getegid), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getcpu), SCMP_SYS(getrusage),
    SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigpending),
    SCMP_SYS(rt_sigtimedwait), SCMP_SYS(rt_sigsuspend), SCMP_SYS(sigaltstack), SCMP_SYS(pause),
    SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group)};

/* Libraries try these and live with a refusal. */
static const int refused[] = {SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat),
    SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(access),
    SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(statx),
    SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(getcwd),
    SCMP_SYS(fchown), SCMP_SYS(setrlimit), SCMP_SYS(sched_setscheduler)};

/* Not there at all: the caller has another way. */
static const int absent[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    SCMP_SYS(clone3)};

/* Calls that this processor's table does not have (select, time ... elsewhere) are passed over. */
static int rules(scmp_filter_ctx f, uint32_t action, const int *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int ret = calls[i] < 0 ? 0 : seccomp_rule_add(f, action, calls[i], 0);

		if (ret < 0 && ret != -EEXIST)
			return ret;
	}
	return 0;
}

/* `call` with its first (or second) argument being exactly `value`. */
static int allow_if(scmp_filter_ctx f, int call, unsigned arg, uint64_t value)
{
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(arg, SCMP_CMP_EQ, value));
}

static int signals_to_self(scmp_filter_ctx f)
{
	uint64_t self = (uint64_t)getpid();
	int ret;

	if ((ret = allow_if(f, SCMP_SYS(kill), 0, self)) < 0)
		return ret;
	return allow_if(f, SCMP_SYS(tgkill), 0, self);
}

/* The processors of the calling thread (base/core.h), not of others. */
static int own_affinity(scmp_filter_ctx f)
{
	int ret = allow_if(f, SCMP_SYS(sched_setaffinity), 0, 0);

	return ret ? ret : seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(sched_setaffinity), 1, SCMP_A0(SCMP_CMP_NE, 0));
}

static int rules_both(scmp_filter_ctx f)
{
	int ret;

	if ((ret = rules(f, SCMP_ACT_ALLOW, allowed, ARRAY_SIZE(allowed))) < 0 ||
	    (ret = rules(f, SCMP_ACT_ERRNO(EPERM), refused, ARRAY_SIZE(refused))) < 0 ||
	    (ret = rules(f, SCMP_ACT_ERRNO(ENOSYS), absent, ARRAY_SIZE(absent))) < 0 ||
	    (ret = signals_to_self(f)) < 0 || (ret = own_affinity(f)) < 0 || (ret = allow_if(f, SCMP_SYS(prctl), 0, PR_SET_NAME)) < 0)
		return ret;
	ret = allow_if(f, SCMP_SYS(ioctl), 1, FIONBIO);
	if (!ret)
		ret = allow_if(f, SCMP_SYS(ioctl), 1, FIOCLEX);
	return ret ? ret : allow_if(f, SCMP_SYS(ioctl), 1, FIONREAD);
}

static int rules_inet(scmp_filter_ctx f)
{
	int ret = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(accept4), 0);

	if (ret < 0)
		return ret;
	/* Threads, no processes; clone3 hides its flags from us and says ENOSYS, then libc takes this one. */
	return seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
	    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
}

/* Asking a TAP what it is; changing it is done before, or at the latest now. */
static int rules_tap(scmp_filter_ctx f)
{
	static const unsigned long requests[] = {
	    TUNGETIFF, TUNGETFEATURES, TUNGETVNETHDRSZ, TUNGETSNDBUF, TUNSETOFFLOAD};
	int ret = 0;

	for (size_t i = 0; !ret && i < ARRAY_SIZE(requests); i++)
		ret = allow_if(f, SCMP_SYS(ioctl), 1, requests[i]);
	return ret;
}

static int install_filter(bool inet)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
	int ret;

	if (!f)
		return -ENOMEM;
	ret = rules_both(f);
	if (!ret)
		ret = inet ? rules_inet(f) : rules_tap(f);
	if (!ret)
		ret = seccomp_load(f);
	seccomp_release(f);
	return ret;
}
#endif

int sandbox_inet(void)
{
	int ret = drop_privileges();

	return ret < 0 ? ret : install_filter(true);
}

int sandbox_driver_tap(void)
{
	int ret = drop_privileges();

	return ret < 0 ? ret : install_filter(false);
}
