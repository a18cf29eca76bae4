/* The supervisor's escrow: keys, order, replacement, and that no operation slows down with their number. */
#include "supervisor/escrow.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>

static struct fdset *one_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fdset_take(&fd, 1);
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(escrow, keeps_and_returns)
{
	struct escrow *e = escrow_new();
	struct escrow_key key = {.owner = 1, .kind = 2, .index = 3, .generation = 4}, other = key;
	struct fdset *fds = one_fd();
	int fd = fds->fd[0];

	cr_assert_eq(escrow_put(e, &key, fds), 0);
	cr_assert_eq(escrow_find(e, &key)->fds->fd[0], fd);
	other.generation = 5;
	cr_assert_null(escrow_find(e, &other));
	cr_assert_eq(escrow_remove(e, &other), -ENOENT);
	cr_assert_eq(escrow_remove(e, &key), 0);
	cr_assert_not(is_open(fd));
	cr_assert_eq(escrow_count(e), 0);
	escrow_free(e);
}

Test(escrow, same_key_replaces_and_keeps_its_place)
{
	struct escrow *e = escrow_new();
	struct escrow_key a = {.kind = 1, .index = 1}, b = {.kind = 1, .index = 2};
	struct fdset *first = one_fd();
	int fd = first->fd[0];

	escrow_put(e, &a, first);
	escrow_put(e, &b, one_fd());
	cr_assert_eq(escrow_put(e, &a, one_fd()), 0);
	cr_assert_eq(escrow_count(e), 2);
	cr_assert_eq(escrow_first(e, 0)->key.index, 1);
	cr_assert_neq(escrow_first(e, 0)->fds, first);
	(void)fd;
	escrow_free(e);
}

Test(escrow, owners_are_apart_and_ordered)
{
	struct escrow *e = escrow_new();
	uint32_t want = 0;

	for (uint32_t i = 0; i < 100; i++) {
		struct escrow_key key = {.owner = i % 2, .kind = 1, .index = i};

		escrow_put(e, &key, one_fd());
	}
	for (const struct deposit *d = escrow_first(e, 0); d; d = d->next, want += 2)
		cr_assert_eq(d->key.index, want);
	cr_assert_eq(want, 100);
	escrow_remove_owner(e, 0);
	cr_assert_eq(escrow_count(e), 50);
	cr_assert_null(escrow_first(e, 0));
	cr_assert_eq(escrow_first(e, 1)->key.index, 1);
	escrow_free(e);
}

Test(escrow, bad_owner_is_refused_and_closed)
{
	struct escrow *e = escrow_new();
	struct escrow_key key = {.owner = ESCROW_OWNERS};
	struct fdset *fds = one_fd();
	int fd = fds->fd[0];

	cr_assert_eq(escrow_put(e, &key, fds), -EINVAL);
	cr_assert_not(is_open(fd));
	escrow_free(e);
}

Test(escrow, a_message_under_way_keeps_its_descriptors)
{
	struct escrow *e = escrow_new();
	struct escrow_key key = {.kind = 1};
	struct fdset *fds = one_fd();
	int fd = fds->fd[0];

	escrow_put(e, &key, fds);
	fdset_ref(fds);
	escrow_remove(e, &key);
	cr_assert(is_open(fd));
	fdset_unref(fds);
	cr_assert_not(is_open(fd));
	escrow_free(e);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Put, find and remove `n` deposits of no descriptors; seconds for each. */
static double cost(uint32_t n)
{
	struct escrow *e = escrow_new();
	double from = seconds(), each;

	for (uint32_t i = 0; i < n; i++) {
		struct escrow_key key = {.kind = 1, .index = i, .generation = i * 7};

		cr_assert_eq(escrow_put(e, &key, fdset_take(NULL, 0)), 0);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct escrow_key key = {.kind = 1, .index = (i * 7919u) % n};

		key.generation = key.index * 7;
		cr_assert_not_null(escrow_find(e, &key));
	}
	for (uint32_t i = 0; i < n; i++) {
		struct escrow_key key = {.kind = 1, .index = i, .generation = i * 7};

		cr_assert_eq(escrow_remove(e, &key), 0);
	}
	each = (seconds() - from) / n;
	escrow_free(e);
	return each;
}

Test(escrow, fifty_thousand_cost_no_more_each)
{
	double few = cost(2000), many = cost(50000);

	cr_assert_lt(many, few * 20 + 2e-6, "%g s each of few, %g s each of many", few, many);
}
