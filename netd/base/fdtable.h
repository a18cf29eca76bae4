/*
 * Descriptors by name: what one supervisor needs of another. The supervisor has such a table (supervisor/store.c),
 * and every netd-inet has its copy of it (daemon/alone.h), with the same names.
 */
#pragma once

#define FDTABLE_MAX  256
#define FDTABLE_NAME 64

struct fdtable {
	struct fdtable_item {
		char name[FDTABLE_NAME];
		int fd;
	} item[FDTABLE_MAX];
	unsigned n;
};

/* What has this name, or -1. */
int fdtable_find(const struct fdtable *t, const char *name);
/* In the place of what had that name. 0, -EINVAL for what is no name or no descriptor, or -ENOSPC. */
int fdtable_put(struct fdtable *t, const char *name, int fd);
/* Takes it out: the descriptor, or -1. */
int fdtable_take(struct fdtable *t, const char *name);

/* The same for a table that owns its descriptors: closes what is replaced, or cannot be taken, or goes. */
int fdtable_own(struct fdtable *t, const char *name, int fd);
void fdtable_drop(struct fdtable *t, const char *name);
void fdtable_close(struct fdtable *t);
