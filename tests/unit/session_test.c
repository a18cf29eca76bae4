/* Sessions: attach, its restarts, death, the active set, telling of news. */
#include "session_rig.h"

static struct rig *r;
static struct client c;

static void setup(void)
{
	r = rig_new();
}

static void teardown(void)
{
	client_die(&c);
	rig_free(r);
}

TestSuite(session, .init = setup, .fini = teardown);

Test(session, attach_leaves_one_deposit)
{
	client_attach(&c, r);
	rig_settle(r);
	cr_assert_eq(rig_deposits(r), 1);
	cr_assert(rig_find(r, DEPOSIT_SESSION, 0));
	cr_assert_eq(client_header(&c)->session, 0);
	cr_assert_eq(r->s.socket->attached, 1);
	cr_assert(client_lives(&c));
}

static uint64_t memory_for(uint64_t room)
{
	client_open(&c, r);
	client_ask_attach(&c, 64, room);
	rig_settle(r);
	cr_assert(client_take_attached(&c));
	return c.lay.size;
}

Test(session, memory_as_little_as_asked)
{
	cr_assert_eq(memory_for((20u << 20) + 5), 20u << 20);
}

Test(session, memory_of_use_at_least)
{
	cr_assert_eq(memory_for(1), 16u << 20);
}

Test(session, memory_no_more_than_allowed)
{
	cr_assert_eq(memory_for(64u << 20), 32u << 20);
}

/* A daemon that dies at any moment of an attach: the client gets one session that works. */
static void attach_with_death_after(int steps)
{
	client_open(&c, r);
	if (steps >= 1)
		rig_commit(r), socket_speak(&r->s, false);
	else {
		/* The record never became true: the connection is dropped, and the client tries
		 * again. */
		rig_restart(r);
		cr_assert_not(client_lives(&c));
		session_close_fd(&c.conn);
		client_open(&c, r);
	}
	client_ask_attach(&c, 64, 0);
	if (steps >= 2)
		rig_gather(r);
	if (steps >= 3)
		rig_commit(r);
	if (steps >= 4)
		socket_speak(&r->s, false);
	if (steps >= 1)
		rig_restart(r);
	rig_settle(r);
	cr_assert(client_take_attached(&c));
	cr_assert_not(client_take_attached(&c));
	cr_assert_eq(rig_deposits(r), 1);
	cr_assert_eq(client_socket(&c, 3, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 1);
}

Test(session, death_before_accept_commit)
{
	attach_with_death_after(0);
}
Test(session, death_before_request)
{
	attach_with_death_after(1);
}
Test(session, death_before_attach_commit)
{
	attach_with_death_after(2);
}
Test(session, death_before_answer)
{
	attach_with_death_after(3);
}
Test(session, death_after_answer)
{
	attach_with_death_after(4);
}

Test(session, answer_repeated_with_the_same_bells)
{
	struct client twice;
	char b;

	client_open(&c, r);
	rig_cycle(r);
	client_ask_attach(&c, 64, 0);
	rig_gather(r);
	rig_commit(r);
	rig_restart(r); /* committed, not answered; the successor answers ... */
	rig_gather(r);
	rig_commit(r);
	twice = c;
	cr_assert(rig_find(r, DEPOSIT_ANSWER, 0));
	socket_speak(&r->s, false);
	cr_assert(client_take_attached(&twice));
	c = twice;
	client_slot(&c, 1)->set[0] = 0;
	cr_assert_eq(
	    client_do(
		&c, (struct cm_sqe){.op = CM_SOCKET, .slot = 2, .arg = {AF_INET, SOCK_STREAM, 0}}),
	    0);
	memset(client_slot(&c, 2)->set, 0xff, 8);
	client_slot(&c, 2)->set[0] = 0;
	client_set(&c, 0)->arm = 1;
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 2, .arg = {5}}), 0);
	cr_assert_eq(read(c.set0, &b, 1), 1);
}

Test(session, wait_set_survives_restart)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__NewSet set = NETD__CONTROL__NEW_SET__INIT;
	struct channel_msg *m = malloc(sizeof(*m));
	Netd__Control__Response *a;
	int bell;
	char b;

	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	set.set = 5;
	q.body_case = NETD__CONTROL__REQUEST__BODY_NEW_SET;
	q.new_set = &set;
	client_ask(&c, &q);
	rig_gather(r);
	rig_commit(r);
	rig_restart(r);
	rig_settle(r);
	a = client_answer(&c, m);
	cr_assert(a && !a->error && a->body_case == NETD__CONTROL__RESPONSE__BODY_SET_READY);
	cr_assert_eq(m->nfds, 1);
	bell = channel_take_fd(m, 0);
	netd__control__response__free_unpacked(a, NULL);
	free(m);
	cr_assert_eq(rig_deposits(r), 2);
	rig_restart(r);
	client_slot(&c, 0)->set[1] = 5;
	client_set(&c, 5)->arm = 7;
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {5}}), 0);
	cr_assert_eq(read(bell, &b, 1), 1);
	close(bell);
}

Test(session, end_of_file_closes_everything)
{
	client_attach(&c, r);
	for (uint32_t i = 0; i < 10; i++)
		cr_assert_eq(client_socket(&c, i, AF_INET, SOCK_STREAM, 0), 0);
	client_die(&c);
	rig_settle(r);
	cr_assert_eq(mock_closed, 10);
	cr_assert_eq(mock_killed, 10);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 0);
	cr_assert_eq(rig_deposits(r), 0);
	cr_assert_eq(r->s.socket->attached, 0);
}

Test(session, requests_before_the_end_still_count)
{
	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_DGRAM, 0), 0);
	client_put(&c, (struct cm_sqe){.op = CM_CONNECT,
			   .slot = 0,
			   .arg = {AF_INET},
			   .ep = {.addr = ipaddr_v4(1), .port = 9}});
	client_put(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0});
	client_die(&c);
	rig_settle(r);
	cr_assert_eq(mock_connects, 1);
	cr_assert_eq(mock_closed, 1);
	cr_assert_eq(mock_killed, 0);
}

Test(session, dies_while_the_daemon_is_dead)
{
	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	rig_kill(r);
	client_die(&c);
	rig_start(r);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(rig_deposits(r), 0);
}

/* Memory with unsent bytes outlives its client, and netd-inet. */
Test(session, memory_stays_for_orphans)
{
	uint32_t sk;

	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	sk = state_next(r->s.state, KIND_SOCK, 0);
	mock_keep = true;
	client_slot(&c, 0)->tx_tail = 100;
	client_die(&c);
	rig_settle(r);
	cr_assert_eq(sock_peek(&r->s, sk)->tx_tail, 100, "last tail was read");
	cr_assert_eq(session_peek(&r->s, session_at(&r->s, 0))->state, SESSION_DEAD);
	cr_assert_eq(rig_deposits(r), 1);
	rig_restart(r);
	cr_assert(memory_base(r->s.mem, 1));
	cr_assert_gt(memory_used(r->s.mem, 1), 0);
	rig_settle(r);
	cr_assert_eq(rig_deposits(r), 1);
	sock_free(&r->s, sk);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(rig_deposits(r), 0);
	cr_assert_not(memory_base(r->s.mem, 1));
}

Test(session, record_without_descriptors_is_dropped)
{
	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	rig_kill(r);
	rig_lose(r, DEPOSIT_SESSION, 0);
	rig_start(r);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 0);
}

Test(session, goes_to_sleep_and_is_woken)
{
	client_attach(&c, r);
	for (int i = 0; i < 3; i++)
		rig_cycle(r);
	cr_assert_eq(client_header(&c)->daemon_sleeps, 0, "polled while active");
	cr_assert(socket_arm(&r->s, true));
	cr_assert_eq(client_header(&c)->daemon_sleeps, 1);
	cr_assert(TAILQ_EMPTY(&r->s.socket->active));
	client_put(&c, (struct cm_sqe){.op = CM_NOP});
	cr_assert_eq(rig_gather(r), 1);
	cr_assert_eq(client_header(&c)->daemon_sleeps, 0);
	rig_commit(r);
	socket_speak(&r->s, false);
	client_put(&c, (struct cm_sqe){.op = CM_NOP});
	cr_assert_not(socket_arm(&r->s, true), "what came before the fence is seen");
	cr_assert(socket_pending(&r->s));
	for (int i = 0; i < 300; i++)
		rig_cycle(r);
	cr_assert_eq(client_header(&c)->daemon_sleeps, 1, "left the active set by itself");
}

Test(session, one_event_a_slot)
{
	struct cm_header *h;

	client_attach(&c, r);
	h = client_header(&c);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(h->ev_prod, 0, "the slot names no set yet");
	client_slot(&c, 0)->set[0] = 0;
	for (int i = 1; i < 4; i++) {
		sock_set_error(&r->s, state_next(r->s.state, KIND_SOCK, 0), ECONNREFUSED);
		rig_cycle(r);
	}
	cr_assert_eq(h->ev_prod, 1);
	cr_assert_eq(client_slot(&c, 0)->so_error, ECONNREFUSED);
	h->ev_cons = 1;
	sock_set_error(&r->s, state_next(r->s.state, KIND_SOCK, 0), ECONNRESET);
	rig_cycle(r);
	cr_assert_eq(h->ev_prod, 2);
	h->ev_cons = 99; /* a lie */
	sock_set_error(&r->s, state_next(r->s.state, KIND_SOCK, 0), EPIPE);
	rig_settle(r);
	cr_assert_not(client_lives(&c));
}

Test(session, a_set_is_rung_once_for_each_arming)
{
	char b[8];
	uint32_t sk;

	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	sk = state_next(r->s.state, KIND_SOCK, 0);
	client_slot(&c, 0)->set[2] = 0;
	client_set(&c, 0)->arm = 1;
	for (int i = 0; i < 3; i++) {
		sock_set_error(&r->s, sk, EPIPE);
		rig_cycle(r);
	}
	cr_assert_eq(read(c.set0, b, sizeof(b)), 1);
	client_set(&c, 0)->arm = 2;
	sock_set_error(&r->s, sk, EPIPE);
	rig_cycle(r);
	cr_assert_eq(read(c.set0, b, sizeof(b)), -1);
	client_set(&c, 0)->arm = 3;
	sock_set_error(&r->s, sk, EPIPE);
	rig_cycle(r);
	cr_assert_eq(read(c.set0, b, sizeof(b)), 1);
}

Test(session, room_is_news_only_when_asked)
{
	struct cm_slot *m;
	uint32_t seq;

	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	m = client_slot(&c, 0);
	seq = m->ev_seq;
	m->tx_tail = 10;
	client_put(&c, (struct cm_sqe){.op = CM_POKE, .slot = 0});
	rig_cycle(r);
	cr_assert_eq(m->tx_head, 10);
	cr_assert_eq(m->ev_seq, seq);
	m->tx_want = 1;
	m->tx_tail = 20;
	client_put(&c, (struct cm_sqe){.op = CM_POKE, .slot = 0});
	rig_cycle(r);
	cr_assert_eq(m->tx_head, 20);
	cr_assert_eq(m->ev_seq, seq + 1);
}

Test(session, quota_of_sockets)
{
	client_attach(&c, r);
	r->limits.user_sockets = 2;
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_socket(&c, 1, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_socket(&c, 2, AF_INET, SOCK_STREAM, 0), -ENOBUFS);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), 0);
	cr_assert_eq(client_socket(&c, 2, AF_INET, SOCK_STREAM, 0), 0);
	rig_restart(r);
	cr_assert_eq(client_socket(&c, 4, AF_INET, SOCK_STREAM, 0), -ENOBUFS,
	    "counted again after a restart");
}

Test(session, redeposit_gives_everything_again)
{
	client_attach(&c, r);
	rig_settle(r);
	rig_lose(r, DEPOSIT_SESSION, 0);
	cr_assert_eq(rig_deposits(r), 0);
	cr_assert_eq(socket_redeposit(&r->s), 0);
	rig_restart(r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
}
