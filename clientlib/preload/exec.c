/*
 * Other programs: exec, posix_spawn, vfork.
 *
 * Sockets that stay open over an exec (their numbers have no FD_CLOEXEC) get tokens at their
 * numbers first. Nothing else changes, so an exec that fails leaves the process as it was. The new
 * image finds the tokens (inherit.c).
 *
 * A network is inherited as a network namespace is: whoever is on netd starts programs that are,
 * also with an environment of its own making, as sshd and the masters of mail servers do. So
 * LD_PRELOAD and NETD_SOCKET are put into an environment that has no such names. One that has
 * LD_PRELOAD, be it empty, is the caller's word. The loader ignores LD_PRELOAD for set-uid images,
 * so nothing is smuggled into those.
 *
 * vfork() is fork(). A C function cannot stand before the real one: the child would return through,
 * and destroy, the frame that the parent still needs. And in a real vfork() child no socket could
 * be moved, closed or given a token, for it works on its parent's memory. POSIX promises no more
 * than fork() does. Processes that come to be inside libc (posix_spawn, popen, system) are not
 * concerned: they only exec, and what they take along is prepared for here.
 */
#include "clientlib/preload/hook.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static char *preload_word,
    *socket_word; /* "LD_PRELOAD=...", "NETD_SOCKET=..." as this program was started */

static char *keep(const char *name)
{
	const char *value = secure_getenv(name);
	char *word = NULL;

	return value && asprintf(&word, "%s=%s", name, value) > 0 ? word : NULL;
}

__attribute__((constructor)) static void keep_words(void)
{
	preload_word = keep("LD_PRELOAD");
	socket_word = keep("NETD_SOCKET");
}

/* Every socket that stays open gets a token. */
static void carry(void)
{
	int saved = errno, end = fdtable_limit();

	if (!ns_owner())
		return;
	for (int fd = 0; fd < end; fd++) {
		int flags = fdtable_has(fd) ? sys_fcntl(fd, F_GETFD, 0) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC))
			(void)fdtable_token(fd);
	}
	errno = saved;
}

static bool has_word(char *const *envp, const char *word)
{
	size_t n = strchr(word, '=') - word + 1;

	for (; envp && *envp; envp++)
		if (!strncmp(*envp, word, n))
			return true;
	return false;
}

static size_t count(char *const *envp)
{
	size_t n = 0;

	while (envp && envp[n])
		n++;
	return n;
}

/* In `room` the environment with what the new image needs to find netd. */
static char *const *with_words(char **room, char *const *envp)
{
	size_t n = count(envp);

	if (n)
		memcpy(room, envp, n * sizeof(*room));
	if (preload_word && !has_word(envp, preload_word))
		room[n++] = preload_word;
	if (socket_word && !has_word(envp, socket_word))
		room[n++] = socket_word;
	room[n] = NULL;
	return room;
}

/* `call` with `envp` as it must be; on the stack, for a child of fork() may not allocate. */
#define EXEC(ret, spawn, envp, call)                                                               \
	do {                                                                                       \
		char **room_ = __builtin_alloca((count(envp) + 3) * sizeof(*room_));               \
		char *const *env_ = with_words(room_, envp);                                       \
		struct rlimit was_ = {RLIM_INFINITY, RLIM_INFINITY};                               \
		bool owner_ = ns_owner();                                                          \
		carry();                                                                           \
		if (!(spawn) && owner_)                                                            \
			ns_space_exec(&was_);                                                      \
		if (owner_)                                                                        \
			ns_numbers_exec();                                                         \
		(ret) = call;                                                                      \
		if (owner_)                                                                        \
			ns_numbers_stay();                                                         \
		ns_space_stay(&was_);                                                              \
	} while (0)

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
	int ret;

	EXEC(ret, false, envp, real.execve(path, argv, env_));
	return ret;
}

HOOK int execvpe(const char *file, char *const argv[], char *const envp[])
{
	int ret;

	EXEC(ret, false, envp, real.execvpe(file, argv, env_));
	return ret;
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
	int ret;

	EXEC(ret, false, envp, real.fexecve(fd, argv, env_));
	return ret;
}

HOOK int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
	int ret;

	if (!real.execveat)
		return (int)done(-ENOSYS);
	EXEC(ret, false, envp, real.execveat(fd, path, argv, env_, flags));
	return ret;
}

HOOK int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

HOOK int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* Arguments from `first` to NULL as an array on the caller's stack; `ap` stands behind the NULL
 * then. */
#define ARGV(argv, first, ap)                                                                      \
	do {                                                                                       \
		size_t n_ = 2;                                                                     \
		va_list copy_;                                                                     \
		va_copy(copy_, ap);                                                                \
		while (va_arg(copy_, char *))                                                      \
			n_++;                                                                      \
		va_end(copy_);                                                                     \
		(argv) = __builtin_alloca(n_ * sizeof(char *));                                    \
		(argv)[0] = (char *)(uintptr_t)(first);                                            \
		for (size_t i_ = 1; i_ < n_; i_++)                                                 \
			(argv)[i_] = va_arg(ap, char *);                                           \
	} while (0)

HOOK int execl(const char *path, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	ARGV(argv, arg, ap);
	va_end(ap);
	return execve(path, argv, environ);
}

HOOK int execlp(const char *file, const char *arg, ...)
{
	char **argv;
	va_list ap;

	va_start(ap, arg);
	ARGV(argv, arg, ap);
	va_end(ap);
	return execvpe(file, argv, environ);
}

HOOK int execle(const char *path, const char *arg, ...)
{
	char **argv, **envp;
	va_list ap;

	va_start(ap, arg);
	ARGV(argv, arg, ap);
	envp = va_arg(ap, char **);
	va_end(ap);
	return execve(path, argv, envp);
}

/* ---- processes that libc makes and starts at once */

HOOK int posix_spawn(pid_t *restrict pid, const char *restrict path,
    const posix_spawn_file_actions_t *restrict fa, const posix_spawnattr_t *restrict attr,
    char *const argv[restrict], char *const envp[restrict])
{
	int ret;

	EXEC(ret, true, envp, real.posix_spawn(pid, path, fa, attr, argv, env_));
	return ret;
}

HOOK int posix_spawnp(pid_t *restrict pid, const char *restrict file,
    const posix_spawn_file_actions_t *restrict fa, const posix_spawnattr_t *restrict attr,
    char *const argv[restrict], char *const envp[restrict])
{
	int ret;

	EXEC(ret, true, envp, real.posix_spawnp(pid, file, fa, attr, argv, env_));
	return ret;
}

/* These hand on this process's own environment, so that is what gets the words if it lost them. */
static bool before_shell(void)
{
	bool owner = ns_owner();

	carry();
	if (preload_word && !has_word(environ, preload_word))
		(void)putenv(preload_word);
	if (socket_word && !has_word(environ, socket_word))
		(void)putenv(socket_word);
	if (owner)
		ns_numbers_exec();
	return owner;
}

static void after_shell(bool owner)
{
	if (owner)
		ns_numbers_stay();
}

HOOK int system(const char *command)
{
	bool owner = command && before_shell();
	int ret = real.system(command);

	after_shell(owner);
	return ret;
}

HOOK FILE *popen(const char *command, const char *mode)
{
	bool owner = before_shell();
	FILE *f = real.popen(command, mode);

	after_shell(owner);
	return f;
}

/* The copy has no FD_CLOEXEC: it will be in the new image. */
HOOK int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *fa, int fd, int to)
{
	if (fdtable_has(fd) && ns_owner())
		(void)fdtable_token(fd);
	return real.posix_spawn_file_actions_adddup2(fa, fd, to);
}

HOOK pid_t vfork(void)
{
	return fork();
}
