/* Memories shared with netd in this process's address space, and RLIMIT_AS. Inside the core. */
#pragma once
#include <stdint.h>

/* Maps the whole memory: the address, or a negative errno. */
long space_map(int fd, uint64_t size);
void space_unmap(void *at, uint64_t size);
/* A fork did not take it along: it is not in this process. */
void space_left(uint64_t size);
/* The locks of a process that was just forked. */
void space_forked(void);
/* How large a session memory may be, for others like it to find room beside it; 0: as large as netd likes. */
uint64_t space_room(void);
