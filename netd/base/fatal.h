/*
 * Fatal signals, for the black box: the signal and the place in the code are noted in memory that
 * outlives the process, then the signal does what it would have done.
 */
#pragma once
#include <stdint.h>

/* The place lies in a library: only where in its page is known. */
#define FATAL_IN_LIBRARY (1ull << 63)

/*
 * From now on SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGSYS are noted: `*place` (relative to the start of the
 * program's image), then `*signal`. Both are cleared. Call before the sandbox. Nothing under the address sanitizer,
 * which has handlers of its own.
 */
void fatal_note(uint32_t *signal, uint64_t *place);
