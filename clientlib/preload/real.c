/*
 * libc's own functions.
 *
 * Resolved by the constructor, or by the first call if some other library's constructor comes
 * earlier. A function that this libc lacks stays NULL; hooks of such functions answer ENOSYS.
 */
#include "clientlib/preload/hook.h"
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

__attribute__((constructor)) static void real_start(void)
{
	(void)real_();
}
