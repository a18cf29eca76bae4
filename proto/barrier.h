/*
 * Memory ordering for words that two processes share.
 *
 * A position is published with store_release() and read with load_acquire(): what was written before
 * the position is visible to whoever saw the position. The bell needs more: "I store mine, then look
 * at yours" on both sides is Dekker's pattern, for which only a full fence is enough (acquire and
 * release alone missed each other on x86 in measurement; see ring.h).
 */
#pragma once
#include <stdint.h>

#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define load_acquire(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
/* Read or write a shared word exactly once, with no ordering. */
#define store_once(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define load_once(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define fence_full()     __atomic_thread_fence(__ATOMIC_SEQ_CST)

#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#else
#define cpu_relax() __asm__ __volatile__("" ::: "memory")
#endif
