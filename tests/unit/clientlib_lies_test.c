/* A daemon that breaks the contract must cost the application its sockets, never its life. */
#include "clientlib_rig.h"
#include "clientlib/core.h"
#include <poll.h>
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <unistd.h>

TestSuite(clientlib_lies, .init = rig_start, .fini = rig_stop, .timeout = 30);

static struct nsock *made(int type)
{
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0x0a000001)};
	struct nsock *s;

	cr_assert_eq(ns_socket(AF_INET, type, 0, &s), 0);
	cr_assert_eq(ns_connect(s, (struct sockaddr *)&in, sizeof(in), false), 0);
	return s;
}

static ssize_t take(struct nsock *s)
{
	char buf[100];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return ns_recvmsg(s, &m, 0, false);
}

static ssize_t put(struct nsock *s)
{
	struct iovec iov = {.iov_base = (char[]){"abc"}, .iov_len = 3};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	return ns_sendmsg(s, &m, 0, false);
}

static void expect_broken(struct nsock *s)
{
	cr_assert_eq(take(s), -ENETDOWN);
	cr_assert_eq(put(s), -ENETDOWN);
	cr_assert(ns_poll(s) & POLLERR);
	ns_put(s);
}

Test(clientlib_lies, a_receive_position_beyond_the_ring)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	rig.sock[0].rx_tail = 1ull << 40;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

Test(clientlib_lies, a_place_outside_the_heap)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	rig.sock[0].rx.off = RIG_SIZE - 100;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

Test(clientlib_lies, a_place_in_another_memory)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	rig.sock[0].rx.mem = 77;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

Test(clientlib_lies, a_capacity_that_is_no_power_of_two)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	rig.sock[0].rx.cap = 3000;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

Test(clientlib_lies, acknowledged_what_was_never_written)
{
	struct nsock *s = made(SOCK_STREAM);

	cr_assert_eq(put(s), 3);
	cr_assert_eq(take(s), 3);
	rig_lock();
	rig.sock[0].tx_head = 1000;
	rig_tell(0);
	rig_unlock();
	cr_assert_eq(put(s), -ENETDOWN);
	ns_put(s);
}

Test(clientlib_lies, a_datagram_longer_than_what_is_there)
{
	struct nsock *s = made(SOCK_DGRAM);
	struct cm_dgram d = {.len = 60000};

	rig_lock();
	memcpy(rig.mem + rig.sock[0].rx.off, &d, sizeof(d));
	rig.sock[0].rx_tail = 128;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

Test(clientlib_lies, a_filler_that_does_not_reach_the_end)
{
	struct nsock *s = made(SOCK_DGRAM);
	struct cm_dgram d = {.len = 64, .flags = CM_DGRAM_SKIP};

	rig_lock();
	memcpy(rig.mem + rig.sock[0].rx.off, &d, sizeof(d));
	rig.sock[0].rx_tail = 128;
	rig_tell(0);
	rig_unlock();
	expect_broken(s);
}

/* The session is given up, and nothing is asked of such a daemon any more. */
static void expect_given_up(struct nsock *s)
{
	uint64_t asked = load_once(&rig.h->sq_prod);

	cr_assert_eq(ns_listen(s, 1), -ENETDOWN);
	cr_assert_eq(load_once(&rig.h->sq_prod), asked);
	ns_put(s);
}

Test(clientlib_lies, an_answer_to_nothing)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	((struct cm_cqe *)(void *)(rig.mem + rig.lay.cq_off))[rig.cq_prod++ & (CM_CQ_ENTRIES - 1)]
	    .token = 0xdeadbeef00001234;
	store_release(&rig.h->cq_prod, rig.cq_prod);
	rig_unlock();
	expect_given_up(s);
}

Test(clientlib_lies, a_completion_position_far_ahead)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	store_release(&rig.h->cq_prod, rig.cq_prod + 100000);
	rig_unlock();
	expect_given_up(s);
}

Test(clientlib_lies, an_event_for_a_slot_that_is_none)
{
	struct nsock *s = made(SOCK_STREAM);
	struct nset *set;

	cr_assert_eq(ns_set_new(&set), 0);
	cr_assert_eq(ns_set_add(set, s, NULL), 0);
	rig_lock();
	((uint32_t *)(void *)(rig.mem + rig.lay.ev_off))[rig.ev_prod & (RIG_SLOTS - 1)] =
	    0xffffffff;
	store_release(&rig.h->ev_prod, ++rig.ev_prod);
	rig_unlock();
	ns_set_arm(set);
	ns_set_disarm(set);
	ns_set_free(set);
	ns_put(s);
}

Test(clientlib_lies, the_end_of_the_session_and_a_new_one)
{
	struct nsock *s = made(SOCK_STREAM), *t;

	rig_lock();
	rig_hang_up();
	rig_unlock();
	cr_assert_eq(take(s), -ENETDOWN);
	cr_assert_eq(ns_socket(AF_INET, SOCK_STREAM, 0, &t), 0);
	ns_put(s);
	ns_put(t);
}

Test(clientlib_lies, a_layout_lock_held_for_long)
{
	struct nsock *s = made(SOCK_STREAM);

	rig_lock();
	rig_push(0, "x", 1);
	rig_tell(0);
	store_release(&rig_slot(0)->layout_seq, rig_slot(0)->layout_seq + 1);
	rig_unlock();
	usleep(1000);
	store_release(&rig_slot(0)->layout_seq, rig_slot(0)->layout_seq + 1);
	cr_assert_eq(take(s), 1);
	ns_put(s);
}
