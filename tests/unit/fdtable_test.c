/* Descriptors by name (base/fdtable.h). */
#include "base/fdtable.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int some_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(fdtable, a_name_stands_for_one_descriptor)
{
	static struct fdtable t;
	int a = some_fd(), b = some_fd();

	cr_assert_eq(fdtable_find(&t, "x"), -1);
	cr_assert_eq(fdtable_put(&t, "x", a), 0);
	cr_assert_eq(fdtable_put(&t, "y", a), 0);
	cr_assert_eq(fdtable_put(&t, "x", b), 0);
	cr_assert_eq(fdtable_find(&t, "x"), b);
	cr_assert_eq(fdtable_take(&t, "x"), b);
	cr_assert_eq(fdtable_take(&t, "x"), -1);
	cr_assert_eq(fdtable_find(&t, "y"), a);
	cr_assert(is_open(a) && is_open(b), "they are the caller's");
}

Test(fdtable, an_owner_closes)
{
	static struct fdtable t;
	int a = some_fd(), b = some_fd(), c = some_fd();

	cr_assert_eq(fdtable_own(&t, "x", a), 0);
	cr_assert_eq(fdtable_own(&t, "x", b), 0);
	cr_assert(!is_open(a) && is_open(b));
	cr_assert_eq(fdtable_own(&t, "", c), -EINVAL);
	cr_assert(!is_open(c));
	fdtable_drop(&t, "x");
	cr_assert(!is_open(b));
	cr_assert_eq(fdtable_own(&t, "y", some_fd()), 0);
	fdtable_close(&t);
	cr_assert_eq(fdtable_find(&t, "y"), -1);
}

Test(fdtable, has_an_end)
{
	static struct fdtable t;
	char name[FDTABLE_NAME + 1];
	int fd;

	for (int i = 0; i < FDTABLE_MAX; i++) {
		snprintf(name, sizeof(name), "%d", i);
		cr_assert_eq(fdtable_put(&t, name, 0), 0);
	}
	fd = some_fd();
	cr_assert_eq(fdtable_own(&t, "more", fd), -ENOSPC);
	cr_assert(!is_open(fd));
	cr_assert_eq(fdtable_put(&t, "7", 1), 0, "what is there can be replaced");
	memset(name, 'x', FDTABLE_NAME);
	name[FDTABLE_NAME] = 0;
	cr_assert_eq(fdtable_put(&t, name, 0), -EINVAL);
	cr_assert_eq(fdtable_put(&t, "7", -1), -EINVAL);
	cr_assert_eq(fdtable_find(&t, "7"), 1);
}
