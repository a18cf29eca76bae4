/* The library's own descriptors (own.c): where they are, and how they are made. core.h says which ones there are. */
#pragma once
#include <stdbool.h>

/* Moves a descriptor of ours to its place, if there is room there. Its number; a negative `fd` as it is. */
int own_place(int fd);
/* The system call `nr`, which makes a descriptor: ours. Its number, or what the kernel says. */
int own_make(long nr, long a, long b, long c);
int own_eventfd(void);
/* Does it count as one of those that the program may have? */
bool own_counts(int fd);
/* Could one more be had now? 0, -EMFILE. To be asked before what cannot be undone. `any`: an open one, of whatever kind. */
int own_room(int any);
