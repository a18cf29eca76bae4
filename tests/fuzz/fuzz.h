/*
 * What the fuzzers share: seeded randomness, so that every run is repeatable, mutation, and a check
 * that says which seed broke it. Rounds: $NETD_FUZZ_ROUNDS times the normal number; $NETD_FUZZ_SEED
 * starts elsewhere (a failure prints the seed of its round: run that one alone with ROUNDS=0).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz {
	uint64_t state, seed;
};

extern struct fuzz fuzz_now; /* of the round that runs: a failure prints it */

#define check(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fuzz_fail(__FILE__, __LINE__, #cond, __VA_ARGS__);                         \
	} while (0)

void fuzz_fail(const char *file, int line, const char *cond, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), noreturn));
/* Runs `round` with seeds one after another, `rounds` of them unless the environment wants more. */
int fuzz_main(const char *name, unsigned rounds, void (*round)(void));

uint64_t rnd64(void);
static inline uint32_t rnd(uint32_t below)
{
	return below ? (uint32_t)(rnd64() >> 32) % below : 0;
}
/* True once in `n`. */
static inline bool one_in(uint32_t n)
{
	return rnd(n) == 0;
}
void rnd_bytes(void *buf, size_t len);
/* A number of the kind that breaks things: small, a power of two and its neighbours, near the top. */
uint64_t rnd_odd(void);
/* Changes a few bytes, bits or 16/32-bit fields. */
void mutate(uint8_t *buf, size_t len);
/* Open descriptors of this process. */
unsigned count_fds(void);
