/*
 * The caller's memory: is it there?
 *
 * The kernel answers EFAULT where a pointer leads nowhere; a library that touched it would kill the program. So whatever
 * the caller points to is asked about here before it is touched: names, lengths, options, vectors, sets, payload.
 *
 * Theory of operation
 *
 * - Asking is a system call that does nothing but touch one word of a page (usermem.c), and what it said is remembered, a
 *   word a page: so memory that a program uses again costs a load and a comparison, 3 ns a call.
 * - Of a range the first and the last page are asked about: a hole in the middle of a buffer is not seen.
 * - What the program takes away itself (munmap, mprotect, mremap, another mmap in its place) is forgotten, if it tells
 *   (usermem_forget(); the preload library does). What it lets go otherwise, a file behind a mapping that is cut short
 *   above all, kills it after all if it uses it again.
 */
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define USERMEM_SHIFT 12u /* no page is smaller */
#define USERMEM_KNOWN 16384u /* 64 MiB of buffers that lie together */

/* Pages that were there: the number above two bits, of which one says that the entry is one, the other that it may be written to. */
extern __attribute__((visibility("hidden"))) uint64_t usermem_known[USERMEM_KNOWN];
bool usermem_ask(uintptr_t page, bool write);
/* The program changed what is there. */
void usermem_forget(const void *p, size_t n);

static inline bool usermem_page(uintptr_t page, bool write)
{
	uint64_t e = __atomic_load_n(&usermem_known[page % USERMEM_KNOWN], __ATOMIC_RELAXED);

	return __builtin_expect((e | !write) == ((uint64_t)page << 2 | 3), 1) ||
	       usermem_ask(page, write);
}

static inline bool usermem_range(const void *p, size_t n, bool write)
{
	uintptr_t first = (uintptr_t)p >> USERMEM_SHIFT,
		  last = ((uintptr_t)p + n - 1) >> USERMEM_SHIFT;

	return !n || (usermem_page(first, write) &&
			 (first == last || (first < last && usermem_page(last, write))));
}

static inline bool user_readable(const void *p, size_t n)
{
	return usermem_range(p, n, false);
}

static inline bool user_writable(const void *p, size_t n)
{
	return usermem_range(p, n, true);
}

/* 0 or -EFAULT. */
static inline int copy_from_user(void *to, const void *from, size_t n)
{
	if (!user_readable(from, n))
		return -EFAULT;
	if (n)
		memcpy(to, from, n);
	return 0;
}

static inline int copy_to_user(void *to, const void *from, size_t n)
{
	if (!user_writable(to, n))
		return -EFAULT;
	if (n)
		memcpy(to, from, n);
	return 0;
}
