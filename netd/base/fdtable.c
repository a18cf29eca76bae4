#include "base/fdtable.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static unsigned place(const struct fdtable *t, const char *name)
{
	unsigned i = 0;

	while (i < t->n && strcmp(t->item[i].name, name) != 0)
		i++;
	return i;
}

int fdtable_find(const struct fdtable *t, const char *name)
{
	unsigned i = place(t, name);

	return i < t->n ? t->item[i].fd : -1;
}

int fdtable_put(struct fdtable *t, const char *name, int fd)
{
	unsigned i = place(t, name);

	if (fd < 0 || !*name || strlen(name) >= FDTABLE_NAME)
		return -EINVAL;
	if (i == FDTABLE_MAX)
		return -ENOSPC;
	if (i == t->n)
		snprintf(t->item[t->n++].name, FDTABLE_NAME, "%s", name);
	t->item[i].fd = fd;
	return 0;
}

int fdtable_take(struct fdtable *t, const char *name)
{
	unsigned i = place(t, name);
	int fd;

	if (i == t->n)
		return -1;
	fd = t->item[i].fd;
	t->item[i] = t->item[--t->n];
	return fd;
}

int fdtable_own(struct fdtable *t, const char *name, int fd)
{
	int was = fdtable_find(t, name), ret = fdtable_put(t, name, fd);

	if (ret < 0)
		was = fd;
	if (was >= 0)
		close(was);
	return ret;
}

void fdtable_drop(struct fdtable *t, const char *name)
{
	int fd = fdtable_take(t, name);

	if (fd >= 0)
		close(fd);
}

void fdtable_close(struct fdtable *t)
{
	while (t->n)
		close(t->item[--t->n].fd);
}
