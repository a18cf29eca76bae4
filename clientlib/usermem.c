/*
 * Asking the kernel about a page (usermem.h).
 *
 * Reading: rt_sigprocmask() copies the set in before it finds that there is no such way to change the mask. Writing: the
 * futex operation that adds no bit to a word, atomically, and wakes nobody: the word is left as it is whatever other threads
 * do to it meanwhile. Both are calls that the library makes anyway, so a sandbox in which it works lets them through. The
 * second word of the page is asked for, as rt_sigprocmask() takes the address 0 for no set at all.
 */
#include "clientlib/usermem.h"
#include "clientlib/sys.h"

#define NO_SUCH_WAY (-1)
#define ADD_NOTHING FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_LT, -2048)

uint64_t usermem_known[USERMEM_KNOWN];

static int touch(uintptr_t at, bool write)
{
	static uint32_t nobody;

	if (!write)
		return (int)sys_call(
		    SYS_rt_sigprocmask, NO_SUCH_WAY, (long)at, 0, sizeof(uint64_t), 0, 0);
	return (int)sys_call(
	    SYS_futex, (long)&nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0, (long)at, ADD_NOTHING);
}

bool usermem_ask(uintptr_t page, bool write)
{
	if (touch((page << USERMEM_SHIFT) + 8, write) == -EFAULT)
		return false;
	__atomic_store_n(&usermem_known[page % USERMEM_KNOWN], (uint64_t)page << 2 | 2 | write,
	    __ATOMIC_RELAXED);
	return true;
}

void usermem_forget(const void *p, size_t n)
{
	uintptr_t first = (uintptr_t)p >> USERMEM_SHIFT,
		  last = ((uintptr_t)p + n - 1) >> USERMEM_SHIFT;

	if (!n || last < first)
		return;
	for (uintptr_t i = first; i <= last && i - first < USERMEM_KNOWN; i++) {
		uint64_t *e = &usermem_known[i % USERMEM_KNOWN];
		uint64_t page = __atomic_load_n(e, __ATOMIC_RELAXED) >> 2;

		if (page >= first && page <= last)
			__atomic_store_n(e, 0, __ATOMIC_RELAXED);
	}
}
