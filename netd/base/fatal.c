#include "base/fatal.h"
#include "proto/barrier.h"
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static uint32_t *noted_signal;
static uint64_t *noted_place;

#ifndef __SANITIZE_ADDRESS__
extern const char __executable_start[], etext[];

static uintptr_t counter_of(const ucontext_t *c)
{
#if defined(__x86_64__)
	return (uintptr_t)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)c->uc_mcontext.pc;
#else
	(void)c;
	return 0;
#endif
}

/* The same for every process: libraries lie elsewhere each time, but only by whole pages. */
static uint64_t place_of(const ucontext_t *c)
{
	uintptr_t pc = counter_of(c), start = (uintptr_t)__executable_start;

	if (pc >= start && pc < (uintptr_t)etext)
		return pc - start;
	return FATAL_IN_LIBRARY | (pc & 0xfff);
}

/* Only what is safe in any state of the process. */
static void on_fatal(int sig, siginfo_t *info, void *context)
{
	(void)info;
	store_once(noted_place, place_of(context));
	store_release(noted_signal, (uint32_t)sig);
	/* The handler was reset on entry: this one ends the process as soon as we return. */
	kill(getpid(), sig);
}

static void catch_fatal(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	static char stack[16384]; /* the ordinary one may be what is wrong */
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_ONSTACK)};

	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
}
#else
static void catch_fatal(void)
{
}
#endif

void fatal_note(uint32_t *signal, uint64_t *place)
{
	noted_signal = signal;
	noted_place = place;
	*place = 0;
	*signal = 0;
	catch_fatal();
}
