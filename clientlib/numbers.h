/* The limit of descriptor numbers (numbers.c), inside the core. What the program sees of it: core.h. */
#pragma once
#include <stdbool.h>
#include <sys/resource.h>

/* What the kernel has. */
int numbers_limit(struct rlimit *l);
/* A system call for which there were too few numbers, with room above the limit. -EMFILE if there may be none. */
long numbers_lifted(long nr, long a, long b, long c);

/* For fork.c: the child has the limit that the program set. */
void numbers_fork_prepare(void);
void numbers_fork_done(bool child);
