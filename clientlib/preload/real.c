/*
 * libc's own functions.
 *
 * Resolved by the constructor, or by the first call if some other library's constructor comes
 * earlier. A function that this libc lacks stays NULL; hooks of such functions answer ENOSYS.
 */
#include "clientlib/preload/async.h"
#include "clientlib/preload/epset.h"
#include <dlfcn.h>

struct libc_calls libc_table;
bool libc_ready;

void real_resolve(void)
{
	int saved = errno;

#define X(name) *(void **)&libc_table.name = dlsym(RTLD_NEXT, #name);
	REAL_LIST(X)
#undef X
	__atomic_store_n(&libc_ready, true, __ATOMIC_RELEASE);
	errno = saved;
}

static void fork_prepare(void)
{
	async_fork_prepare();
	stdio_fork_prepare();
	epset_fork_prepare();
	stash_fork_prepare();
}

static void fork_done(bool child)
{
	stash_fork_done(child);
	epset_fork_done(child);
	stdio_fork_done(child);
	async_fork_done(child);
}

__attribute__((constructor)) static void real_start(void)
{
	(void)real_();
	ns_on_fork(fork_prepare, fork_done);
}
