/* Answers with descriptors for which there is no room, and the library's own descriptors near the limit. */
#include "clientlib/control.h"
#include "clientlib/own.h"
#include "proto/channel.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LIMIT = 100, SENT = 3 };

static int ends[2];

static unsigned count_open(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 2 * LIMIT; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptor numbers up to the limit are taken but for `left`; it can be lifted unless it is the `hard` one. */
static void fill(int left, bool hard)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	struct rlimit l;
	int fd;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	l = (struct rlimit){.rlim_cur = LIMIT, .rlim_max = hard ? LIMIT : l.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	cr_assert_eq(syscall(SYS_capget, &h, caps), 0);
	caps[0].effective &= ~(1u << CAP_SYS_RESOURCE);
	caps[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
	cr_assert_eq(syscall(SYS_capset, &h, caps), 0);
	do
		fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	while (fd >= 0);
	for (int last = LIMIT - 1; left--; last--)
		cr_assert_eq(close(last), 0);
}

/* An answer to request `id` with three descriptors is on its way. */
static void answer(uint64_t id)
{
	Netd__Control__Response a = NETD__CONTROL__RESPONSE__INIT;
	int fds[SENT] = {0, 0, 0};

	a.id = id;
	cr_assert_eq(channel_send(ends[1], &a.base, fds, SENT), 0);
}

static int ask(uint64_t id, struct reply *r)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Response *a;
	int ret;

	q.id = id;
	ret = control_call(ends[0], &q, r, &a);
	if (ret == 0)
		netd__control__response__free_unpacked(a, NULL);
	return ret;
}

static void begin(void)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

TestSuite(own, .init = begin, .timeout = 30);

Test(own, an_answer_finds_room_above_the_limit)
{
	struct rlimit l;
	struct reply r = {0};

	answer(1);
	fill(1, false);
	cr_assert_eq(ask(1, &r), 0);
	cr_assert_eq(reply_holds(&r, SENT), 0);
	cr_assert_eq(reply_holds(&r, SENT + 1), -EPROTO);
	for (int i = 0; i < SENT; i++) {
		int fd = reply_take(&r, i);

		cr_assert_geq(fd, LIMIT, "near the limit none of ours is one of the program's");
		close(fd);
	}
	reply_free(&r);
	cr_assert_eq(count_open(), LIMIT - 1);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	cr_assert_eq(l.rlim_cur, LIMIT);
}

Test(own, an_answer_without_room_is_consumed_and_leaves_nothing)
{
	struct reply r = {0};

	answer(1);
	answer(2);
	fill(SENT - 1, true);
	cr_assert_eq(ask(1, &r), 0, "what the daemon did is done");
	cr_assert_eq(reply_holds(&r, 1), -EMFILE);
	cr_assert_eq(reply_take(&r, 0), -EMFILE);
	reply_free(&r);
	cr_assert_eq(count_open(), LIMIT - (SENT - 1));
	close(LIMIT - SENT);
	cr_assert_eq(ask(2, &r), 0);
	cr_assert_eq(reply_holds(&r, SENT), 0);
	reply_free(&r);
	cr_assert_eq(count_open(), LIMIT - SENT);
}

Test(own, descriptors_made_near_the_limit_stand_above_it)
{
	int fd;

	fill(0, false);
	cr_assert_eq(own_room(ends[0]), 0);
	fd = own_eventfd();
	cr_assert_geq(fd, LIMIT);
	cr_assert_not(own_counts(fd));
	cr_assert(own_counts(ends[0]));
	close(fd);
	cr_assert_eq(count_open(), LIMIT);
}

Test(own, none_is_made_above_a_hard_limit)
{
	fill(0, true);
	cr_assert_eq(own_room(ends[0]), -EMFILE);
	cr_assert_eq(own_eventfd(), -EMFILE);
	close(LIMIT - 1);
	cr_assert_eq(own_room(ends[0]), 0);
	cr_assert_eq(own_eventfd(), LIMIT - 1);
}

/* Far from the limit: high, but no higher than it must be. */
Test(own, descriptors_are_out_of_the_programs_way)
{
	struct rlimit l = {.rlim_cur = 2000, .rlim_max = 2000};
	int fd;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
	fd = own_eventfd();
	cr_assert(fd >= 900 && fd < 1024, "%d", fd);
}
