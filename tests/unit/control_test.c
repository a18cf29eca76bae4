/* Control requests: rights, malformed ones, tables, answers that cannot be sent. */
#include "session_rig.h"
#include <sys/resource.h>

static struct rig *r;
static struct client c;
static struct channel_msg msg;

static void setup(void)
{
	r = rig_new();
	client_open(&c, r);
	rig_cycle(r);
}

static void teardown(void)
{
	client_die(&c);
	rig_free(r);
}

TestSuite(control, .init = setup, .fini = teardown);

static Netd__Control__Response *ask(Netd__Control__Request *q)
{
	client_ask(&c, q);
	rig_settle(r);
	return client_answer(&c, &msg);
}

Test(control, status)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *a;

	q.body_case = NETD__CONTROL__REQUEST__BODY_STATUS;
	q.status = &empty;
	a = ask(&q);
	cr_assert(a && !a->error && a->body_case == NETD__CONTROL__RESPONSE__BODY_STATUS);
	cr_assert_eq(a->id, c.id);
	cr_assert_eq(a->status->incarnation, 1);
	netd__control__response__free_unpacked(a, NULL);
}

Test(control, every_counter_has_a_name)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *a;

	q.body_case = NETD__CONTROL__REQUEST__BODY_STATS;
	q.stats = &empty;
	a = ask(&q);
	cr_assert(a && a->body_case == NETD__CONTROL__RESPONSE__BODY_STATS);
	/* And what is held: records by kind, chunks twice, ring bytes. */
	cr_assert_eq(a->stats->n_stat, sizeof(struct counters) / sizeof(uint64_t) + KIND_COUNT + 3);
	netd__control__response__free_unpacked(a, NULL);
}

Test(control, socket_list_has_pages)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__SockList list = NETD__CONTROL__SOCK_LIST__INIT;
	struct client p;
	unsigned seen = 0;

	client_attach(&p, r);
	for (uint32_t i = 0; i < 64; i++)
		cr_assert_eq(client_socket(&p, i, AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0), 0);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t sk;
		struct sock_rec *k = sock_alloc(&r->s, &sk);

		*k = *sock_peek(&r->s, state_next(r->s.state, KIND_SOCK, 0));
		k->session = NO_INDEX;
		k->rx.cap = k->tx.cap = 0;
	}
	do {
		Netd__Control__Response *a;

		q.body_case = NETD__CONTROL__REQUEST__BODY_SOCK_LIST;
		q.sock_list = &list;
		a = ask(&q);
		cr_assert(a && a->body_case == NETD__CONTROL__RESPONSE__BODY_SOCKS);
		cr_assert_lt(msg.len, 16384);
		seen += (unsigned)a->socks->n_sock;
		list.cursor = a->socks->next;
		cr_assert_str_eq(a->socks->sock[0]->proto, "mock");
		netd__control__response__free_unpacked(a, NULL);
	} while (list.cursor);
	cr_assert_eq(seen, 104);
	client_die(&p);
}

Test(control, changes_need_an_administrator)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Addr addr = NETD__CONTROL__ADDR__INIT;
	Netd__Control__KillPoint kill = NETD__CONTROL__KILL_POINT__INIT;
	Netd__Control__Response *a;

	session_get(&r->s, session_at(&r->s, 0))->uid = 54321;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ADDR_ADD;
	q.addr_add = &addr;
	a = ask(&q);
	cr_assert(a);
	cr_assert_eq(a->error, -EPERM);
	cr_assert(*a->text);
	netd__control__response__free_unpacked(a, NULL);
	kill.name = (char *)(uintptr_t) "cycle.speak";
	kill.countdown = 1;
	q.body_case = NETD__CONTROL__REQUEST__BODY_KILL_POINT;
	q.kill_point = &kill;
	a = ask(&q);
	cr_assert_eq(a->error, -EPERM);
	netd__control__response__free_unpacked(a, NULL);
}

Test(control, malformed_addresses)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Addr addr = NETD__CONTROL__ADDR__INIT;
	uint8_t b[3] = {1, 2, 3};
	Netd__Control__Response *a;

	addr.dev = (char *)(uintptr_t) "lo";
	addr.addr = (ProtobufCBinaryData){sizeof(b), b};
	addr.prefix = 24;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ADDR_ADD;
	q.addr_add = &addr;
	a = ask(&q);
	cr_assert(a);
	cr_assert_eq(a->error, -EINVAL);
	netd__control__response__free_unpacked(a, NULL);
}

Test(control, garbage_costs_the_connection)
{
	static const uint8_t junk[] = {0xff, 0xff, 0xff, 0xff, 0xff};

	cr_assert_eq(send(c.conn, junk, sizeof(junk), 0), (ssize_t)sizeof(junk));
	rig_settle(r);
	cr_assert_not(client_lives(&c));
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(rig_deposits(r), 0);
}

Test(control, too_long_costs_the_connection)
{
	static uint8_t big[40000];

	cr_assert_eq(send(c.conn, big, sizeof(big), 0), (ssize_t)sizeof(big));
	rig_settle(r);
	cr_assert_not(client_lives(&c));
}

Test(control, empty_request_is_answered)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Response *a = ask(&q);

	cr_assert(a);
	cr_assert_eq(a->error, -EOPNOTSUPP);
	netd__control__response__free_unpacked(a, NULL);
}

Test(control, descriptors_are_not_accepted)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *a;
	int pipe[2], probe;
	char b;

	cr_assert_eq(bell_create(pipe), 0);
	q.id = ++c.id;
	q.body_case = NETD__CONTROL__REQUEST__BODY_STATUS;
	q.status = &empty;
	cr_assert_eq(channel_send(c.conn, &q.base, &pipe[1], 1), 0);
	close(pipe[1]);
	probe = dup(pipe[0]);
	rig_settle(r);
	a = client_answer(&c, &msg);
	cr_assert(a && !a->error);
	netd__control__response__free_unpacked(a, NULL);
	cr_assert_eq(read(pipe[0], &b, 1), 0, "nobody holds the writing end any more");
	close(pipe[0]);
	close(probe);
}

Test(control, attach_of_another_version)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach at = NETD__CONTROL__ATTACH__INIT;
	Netd__Control__Response *a;

	at.version = 99;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &at;
	a = ask(&q);
	cr_assert(a);
	cr_assert_eq(a->error, -EPROTONOSUPPORT);
	netd__control__response__free_unpacked(a, NULL);
	client_ask_attach(&c, 0, 0);
	rig_settle(r);
	cr_assert(client_take_attached(&c), "the connection can still attach");
}

Test(control, attach_when_the_supervisor_takes_nothing)
{
	Netd__Control__Response *a;

	r->fail_deposit = EPIPE;
	client_ask_attach(&c, 16, 0);
	rig_settle(r);
	a = client_answer(&c, &msg);
	cr_assert(a);
	cr_assert_eq(a->error, -EPIPE);
	netd__control__response__free_unpacked(a, NULL);
	r->fail_deposit = 0;
	cr_assert_eq(rig_deposits(r), 1);
	client_ask_attach(&c, 16, 0);
	rig_settle(r);
	cr_assert(client_take_attached(&c));
}

/* A client that asks and never reads: it waits in nobody's way, and gets every answer in the end.
 */
Test(control, slow_reader)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	uint64_t asked = 0, got = 0;
	uint8_t buf[64];

	q.body_case = NETD__CONTROL__REQUEST__BODY_STATS;
	q.stats = &empty;
	for (int i = 0; i < 2000; i++) {
		size_t len;

		q.id = ++c.id;
		len = netd__control__request__pack(&q, buf);
		if (send(c.conn, buf, len, MSG_DONTWAIT) != (ssize_t)len)
			break;
		asked++;
		rig_cycle(r);
	}
	rig_settle(r);
	cr_assert(session_at(&r->s, 0)->blocked);
	cr_assert_not(socket_pending(&r->s), "nothing to spin for");
	for (uint64_t i = 0; i < asked * 4 && got < asked; i++) {
		Netd__Control__Response *a = client_answer(&c, &msg);

		rig_cycle(r);
		if (!a)
			continue;
		got++;
		cr_assert_eq(a->id, got);
		netd__control__response__free_unpacked(a, NULL);
	}
	cr_assert_eq(got, asked);
}

/*
 * The kernel counts a user's descriptors that are under way in sockets. Above its limit no answer with
 * descriptors can be sent; nothing tells when that is over, so it is tried again from time to time.
 */
Test(control, an_answer_while_too_many_descriptors_are_under_way)
{
	struct rlimit few = {.rlim_cur = 256, .rlim_max = 256};
	Netd__Control__Response answer = NETD__CONTROL__RESPONSE__INIT;
	int pair[2], fds[CHANNEL_FDS_MAX], ret = 0;

	if (getuid() == 0) /* whose descriptors are not limited */
		cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int i = 0; i < CHANNEL_FDS_MAX; i++)
		fds[i] = pair[0];
	for (unsigned sent = 0; !ret && sent <= few.rlim_cur + CHANNEL_FDS_MAX; sent += CHANNEL_FDS_MAX)
		ret = channel_send(pair[0], &answer.base, fds, CHANNEL_FDS_MAX);
	cr_assert_eq(ret, -ETOOMANYREFS);
	client_ask_attach(&c, 16, 0);
	rig_settle(r);
	cr_assert_null(client_answer(&c, &msg));
	cr_assert_not(socket_pending(&r->s), "nothing to spin for");
	cr_assert_gt(socket_next_work(&r->s), r->s.now);
	cr_assert_lt(socket_next_work(&r->s), r->s.now + NSEC_PER_SEC, "a moment to wake up at");
	close(pair[0]);
	close(pair[1]);
	while (socket_next_work(&r->s) != UINT64_MAX)
		rig_cycle(r);
	cr_assert(client_take_attached(&c));
}
