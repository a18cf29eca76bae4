/*
 * Other programs: exec, posix_spawn, vfork.
 *
 * Sockets that stay open over an exec (their numbers have no FD_CLOEXEC) get tokens at their
 * numbers first. Nothing else changes, so an exec that fails leaves the process as it was. The new
 * image finds the tokens (inherit.c). Programs like sshd exec with an environment of their own
 * making: kernel sockets would survive that, so if a socket goes along, LD_PRELOAD and NETD_SOCKET
 * do too. If none does the environment is the caller's affair: who cleans it then leaves netd. The
 * loader ignores LD_PRELOAD for set-uid images, so nothing is smuggled into those.
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

/*
 * Every socket that stays open gets a token. Is there one, or, for `spawn`, one that got its token
 * for a file action?
 */
static bool carry(bool spawn)
{
	int saved = errno, end = fdtable_limit();
	bool any = false;

	if (!ns_owner())
		return false;
	for (int fd = 0; fd < end; fd++) {
		int flags = fdtable_has(fd) ? sys_fcntl(fd, F_GETFD, 0) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC) && fdtable_token(fd) == 0)
			any = true;
		if (flags >= 0 && spawn && fdtable_is_token(fd))
			any = true;
	}
	errno = saved;
	return any;
}

static bool has_word(char *const *envp, const char *word)
{
	size_t n = strchr(word, '=') - word + 1;

	for (; envp && *envp; envp++)
		if (!strncmp(*envp, word, n))
			return true;
	return false;
}

/* The environment with what the new image needs to find netd. *made: to be freed if the exec fails.
 */
static char *const *with_words(char *const *envp, char ***made)
{
	char *add[2];
	size_t n = 0, adds = 0;

	*made = NULL;
	if (preload_word && !has_word(envp, preload_word))
		add[adds++] = preload_word;
	if (socket_word && !has_word(envp, socket_word))
		add[adds++] = socket_word;
	while (envp && envp[n])
		n++;
	if (adds)
		*made = malloc((n + adds + 1) * sizeof(**made));
	if (!*made)
		return envp;
	if (n)
		memcpy(*made, envp, n * sizeof(**made));
	memcpy(*made + n, add, adds * sizeof(**made));
	(*made)[n + adds] = NULL;
	return *made;
}

/* `call` with `envp` as it must be. */
#define EXEC(ret, spawn, envp, call)                                                               \
	do {                                                                                       \
		char **made_ = NULL;                                                               \
		char *const *env_ = carry(spawn) ? with_words(envp, &made_) : (envp);              \
		(ret) = call;                                                                      \
		free(made_);                                                                       \
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
static void carry_by_shell(void)
{
	if (!carry(false))
		return;
	if (preload_word && !has_word(environ, preload_word))
		(void)putenv(preload_word);
	if (socket_word && !has_word(environ, socket_word))
		(void)putenv(socket_word);
}

HOOK int system(const char *command)
{
	if (command)
		carry_by_shell();
	return real.system(command);
}

HOOK FILE *popen(const char *command, const char *mode)
{
	carry_by_shell();
	return real.popen(command, mode);
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
