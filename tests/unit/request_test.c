/* Requests: every check, every lie, exactly once. */
#include "session_rig.h"

static struct rig *r;
static struct client c;

static void setup(void)
{
	r = rig_new();
	client_attach(&c, r);
}

static void teardown(void)
{
	client_die(&c);
	rig_free(r);
}

TestSuite(request, .init = setup, .fini = teardown);

static void expect_thrown_out(void)
{
	uint64_t before = r->s.count.bad_client;

	rig_settle(r);
	cr_assert_gt(r->s.count.bad_client + (before > 0), before);
	cr_assert_not(client_lives(&c));
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 0);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(rig_deposits(r), 0);
}

Test(request, socket_types)
{
	static const struct {
		int family, type, protocol, want;
	} row[] = {
	    {AF_INET, SOCK_STREAM, 0, 0},
	    {AF_INET6, SOCK_STREAM, IPPROTO_TCP, 0},
	    {AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0},
	    {AF_UNIX, SOCK_STREAM, 0, -EAFNOSUPPORT},
	    {AF_INET, SOCK_STREAM, IPPROTO_UDP, -EPROTONOSUPPORT},
	    {AF_INET, SOCK_SEQPACKET, 0, -ESOCKTNOSUPPORT},
	    {AF_INET, 77, 0, -EINVAL},
	    {AF_INET, -1, 0, -EINVAL},
	    {AF_INET, SOCK_DGRAM, 5000, -EINVAL},
	    {AF_INET, SOCK_RAW, IPPROTO_ICMP, 0},
	    {AF_INET, SOCK_RAW, 200, 0},
	    {AF_INET, SOCK_RAW, 0, -EPROTONOSUPPORT},
	    {AF_INET, SOCK_DGRAM, IPPROTO_ICMP, 0},
	    {AF_INET6, SOCK_RAW, IPPROTO_ICMPV6, -ESOCKTNOSUPPORT},
	    {AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, -EPROTONOSUPPORT},
	    {AF_PACKET, SOCK_RAW, 0, 0},
	    {AF_PACKET, SOCK_DGRAM, 0x0806, 0},
	    {AF_PACKET, SOCK_STREAM, 3, -ESOCKTNOSUPPORT},
	    {AF_NETLINK, SOCK_RAW, 0, -EAFNOSUPPORT},
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(row); i++)
		cr_assert_eq(client_socket(&c, i, row[i].family, row[i].type, row[i].protocol),
		    row[i].want, "row %u", i);
	cr_assert_eq(client_slot(&c, 0)->state & CM_ST_OPEN, CM_ST_OPEN);
	cr_assert_eq(client_slot(&c, 0)->tx.cap, 4096);
	cr_assert_eq(client_slot(&c, 0)->tx.mem, 1);
	cr_assert_eq(client_slot(&c, 3)->state, 0);
}

Test(request, unprivileged)
{
	struct endpoint low = {.addr = ipaddr_v4(0x7f000001), .port = 80}, high = low;

	session_get(&r->s, session_at(&r->s, 0))->uid = 54321;
	high.port = 8080;
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_RAW, IPPROTO_ICMP), -EPERM);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 0, .arg = {AF_INET}, .ep = low}),
	    -EACCES);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 0, .arg = {AF_INET}, .ep = high}),
	    0);
	cr_assert_eq(
	    client_do(&c,
		(struct cm_sqe){.op = CM_SETSOCKOPT, .slot = 0, .arg = {SOL_SOCKET, SO_MARK, 4}}),
	    -EPERM);
	cr_assert_eq(client_slot(&c, 0)->local.port, 8080);
}

/* Raw and packet sockets: administrators, and who is named. Ping sockets: by the group. */
Test(request, who_may_see_packets)
{
	Netd__Component__GidRange range = NETD__COMPONENT__GID_RANGE__INIT;
	struct session_rec *me = session_get(&r->s, session_at(&r->s, 0));
	uint32_t friend = 54321;

	me->uid = 54321;
	me->gid = 100;
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_RAW, IPPROTO_UDP), -EPERM);
	cr_assert_eq(client_socket(&c, 0, AF_PACKET, SOCK_RAW, 3), -EPERM);
	cr_assert_eq(client_socket(&c, 0, AF_PACKET, SOCK_STREAM, 3), -EPERM);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
	range.first = 101;
	range.last = 200;
	r->config.ping_gids = &range;
	cr_assert_eq(client_socket(&c, 1, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), -EACCES);
	range.first = 100;
	cr_assert_eq(client_socket(&c, 1, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
	r->config.raw_uid = &friend;
	r->config.n_raw_uid = 1;
	cr_assert_eq(client_socket(&c, 2, AF_INET, SOCK_RAW, IPPROTO_UDP), 0);
	cr_assert_eq(client_socket(&c, 3, AF_PACKET, SOCK_RAW, 3), 0);
}

/* What the policy says; the rig's sockets know no options. */
static int refusal(uint32_t rights, int level, int name, int value)
{
	struct cm_sqe e = {.op = CM_SETSOCKOPT, .slot = 0, .arg = {level, name, sizeof(value)}};
	int ret;

	session_get(&r->s, session_at(&r->s, 0))->kept = rights;
	memcpy(e.data, &value, sizeof(value));
	ret = client_do(&c, e);
	return ret == -ENOPROTOOPT ? 0 : ret;
}

/* A socket of this user's with what there is a fixed number of. */
static void somebody_has(uint32_t uid, enum record_kind kind)
{
	uint32_t sk, i;
	struct sock_rec *k = sock_alloc(&r->s, &sk);
	void *rec = state_alloc(r->s.state, kind, &i);

	cr_assert(k && rec);
	k->uid = uid;
	if (kind == KIND_RAW)
		((struct raw_rec *)rec)->sk = sk;
	else
		((struct member_rec *)rec)->owner = sk;
}

/* Half of them are for others. */
Test(request, no_user_takes_all_groups_and_ping_sockets)
{
	struct session_rec *me = session_get(&r->s, session_at(&r->s, 0));
	enum { HALF = RIG_FEW / 2 };

	me->uid = 54321;
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_DGRAM, IPPROTO_UDP), 0);
	for (unsigned i = 0; i < HALF; i++) {
		cr_assert_eq(refusal(0, IPPROTO_IP, IP_ADD_MEMBERSHIP, 0), 0);
		cr_assert_eq(policy_type(&r->s, me, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
		somebody_has(54321, KIND_MEMBER);
		somebody_has(54321, KIND_RAW);
	}
	cr_assert_eq(refusal(0, IPPROTO_IP, IP_ADD_MEMBERSHIP, 0), -ENOBUFS);
	cr_assert_eq(refusal(0, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, 0), -ENOBUFS);
	cr_assert_eq(refusal(0, IPPROTO_IP, IP_DROP_MEMBERSHIP, 0), 0);
	cr_assert_eq(policy_type(&r->s, me, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), -ENOBUFS);
	cr_assert_eq(policy_type(&r->s, me, AF_INET, SOCK_DGRAM, IPPROTO_UDP), 0);
	me = session_get(&r->s, session_at(&r->s, 0));
	me->uid = 54322;
	cr_assert_eq(refusal(0, IPPROTO_IP, IP_ADD_MEMBERSHIP, 0), 0);
	cr_assert_eq(policy_type(&r->s, me, AF_INET, SOCK_DGRAM, IPPROTO_ICMP), 0);
}

/* Options that take CAP_NET_ADMIN, and those that take it or CAP_NET_RAW. */
Test(request, options_that_take_rights)
{
	static const struct {
		int level, name, value, none, raw;
	} row[] =
	    {
		{SOL_SOCKET, SO_MARK, 1, -EPERM, 0},
		{SOL_SOCKET, SO_PRIORITY, 6, 0, 0},
		{SOL_SOCKET, SO_PRIORITY, 7, -EPERM, 0},
		{SOL_SOCKET, SO_PREFER_BUSY_POLL, 1, -EPERM, -EPERM},
		{SOL_SOCKET, SO_PREFER_BUSY_POLL, 0, 0, 0},
		{SOL_SOCKET, SO_BUSY_POLL_BUDGET, 1, -EPERM, -EPERM},
		{SOL_SOCKET, SO_BUSY_POLL_BUDGET, 0, 0, 0},
		{SOL_SOCKET, SO_RCVBUFFORCE, 4096, -EPERM, -EPERM},
		{SOL_SOCKET, SO_SNDBUFFORCE, 4096, -EPERM, -EPERM},
		{SOL_SOCKET, SO_DEBUG, 0, 0, 0},
		{SOL_SOCKET, SO_DEBUG, 1, -EACCES, -EACCES},
		{IPPROTO_IP, IP_TRANSPARENT, 0, 0, 0},
		{IPPROTO_IP, IP_TRANSPARENT, 1, -EPERM, 0},
		{IPPROTO_IPV6, IPV6_TRANSPARENT, 1, -EPERM, 0},
	    },
	  *w = row;

	session_get(&r->s, session_at(&r->s, 0))->uid = 54321;
	cr_assert_eq(client_socket(&c, 0, AF_INET6, SOCK_STREAM, 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(row); i++, w++) {
		cr_assert_eq(refusal(0, w->level, w->name, w->value), w->none, "row %u", i);
		cr_assert_eq(
		    refusal(CM_RIGHT_RAW, w->level, w->name, w->value), w->raw, "row %u", i);
		cr_assert_eq(refusal(CM_RIGHT_ADMIN, w->level, w->name, w->value), 0, "row %u", i);
	}
}

Test(request, families_of_names)
{
	struct endpoint v4 = {.addr = ipaddr_v4(0x0a000001), .port = 8000};
	struct endpoint v6 = {.addr = {{0xfd, 0x99, [15] = 1}}, .port = 8000};

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_socket(&c, 1, AF_INET6, SOCK_STREAM, 0), 0);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 0, .arg = {AF_INET6}, .ep = v6}),
	    -EAFNOSUPPORT);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 0, .arg = {AF_INET}, .ep = v6}),
	    -EAFNOSUPPORT);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 1, .arg = {AF_INET}, .ep = v4}),
	    -EAFNOSUPPORT);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_BIND, .slot = 1, .arg = {AF_INET6}, .ep = v4}),
	    0);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_CONNECT, .slot = 0, .arg = {AF_INET}, .ep = v4}),
	    -EINPROGRESS);
}

Test(request, options)
{
	struct cm_sqe set = {
	    .op = CM_SETSOCKOPT, .slot = 0, .arg = {SOL_SOCKET, SO_PRIORITY, 4}, .data = {5}};
	struct cm_cqe q;

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_do(&c, set), 0);
	client_put(&c, (struct cm_sqe){
			   .op = CM_GETSOCKOPT, .slot = 0, .arg = {SOL_SOCKET, SO_PRIORITY, 4000}});
	rig_cycle(r);
	cr_assert(client_get(&c, &q));
	cr_assert_eq(q.res, 0);
	cr_assert_eq(q.arg, 4);
	cr_assert_eq(q.data[0], 5);
	set.arg[2] = 65;
	cr_assert_eq(client_do(&c, set), -EINVAL);
	set.arg[2] = -1;
	cr_assert_eq(client_do(&c, set), -EINVAL);
	cr_assert_eq(client_do(&c,
			 (struct cm_sqe){
			     .op = CM_GETSOCKOPT, .slot = 0, .arg = {SOL_SOCKET, SO_PRIORITY, -1}}),
	    -EINVAL);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_GETSOCKOPT, .slot = 0, .arg = {9, 9, 4}}),
	    -ENOPROTOOPT);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_SHUTDOWN, .slot = 0, .arg = {9}}), -EINVAL);
}

Test(request, slots_in_use_and_empty)
{
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), -EEXIST);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 9}), -EBADF);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), 0);
	cr_assert_eq(client_slot(&c, 0)->state, 0);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), -EBADF);
	client_put(&c, (struct cm_sqe){.op = CM_POKE, .slot = 0});
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0, "a late poke does no harm");
	cr_assert(client_lives(&c));
}

Test(request, grow_keeps_bytes)
{
	struct cm_slot *m;

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	m = client_slot(&c, 0);
	mock_keep = true;
	memcpy(c.mem + ring_place_at(&m->tx, 0), "hello", 5);
	m->tx_tail = 5;
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_GROW, .slot = 0, .arg = {60000}}), 0);
	cr_assert_eq(m->tx.cap, 65536);
	cr_assert_eq(m->layout_seq & 1, 0);
	cr_assert(!memcmp(c.mem + ring_place_at(&m->tx, 0), "hello", 5));
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_GROW, .slot = 0, .arg = {100}}), 0);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_GROW, .slot = 0, .arg = {-1}}), 0);
	cr_assert_eq(m->tx.cap, 65536);
	r->limits.user_memory = 65536;
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_GROW, .slot = 0, .arg = {1 << 20}}), -ENOMEM);
	mock_keep = false;
}

Test(request, accept_gives_the_child_a_slot)
{
	struct sock_rec *k;
	uint32_t child;

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_ACCEPT, .slot = 0, .arg = {1}}), -EAGAIN);
	k = sock_alloc(&r->s, &child);
	k->family = AF_INET;
	k->type = SOCK_STREAM;
	k->protocol = IPPROTO_TCP;
	k->remote = (struct endpoint){.addr = ipaddr_v4(0x0a630001), .port = 4711};
	cr_assert_eq(mock_create(&r->s, child), 0);
	ring_write(r->s.mem, &k->rx, 0, "early", 5);
	k->rx_tail = 5;
	mock_child = child;
	cr_assert_eq(
	    client_do(&c, (struct cm_sqe){.op = CM_ACCEPT, .slot = 0, .arg = {0}}), -EEXIST);
	client_clear_slot(&c, 1);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_ACCEPT, .slot = 0, .arg = {1}}), 0);
	cr_assert_eq(client_slot(&c, 1)->remote.port, 4711);
	cr_assert_eq(client_slot(&c, 1)->rx_tail, 5);
	cr_assert_eq(client_slot(&c, 1)->rx.mem, 1);
	cr_assert(!memcmp(c.mem + ring_place_at(&client_slot(&c, 1)->rx, 0), "early", 5));
}

/* ---- lies */

Test(request, lie_unknown_request)
{
	client_put(&c, (struct cm_sqe){.op = CM_OPS});
	expect_thrown_out();
}

Test(request, lie_slot_number)
{
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	client_put(&c, (struct cm_sqe){.op = CM_POKE, .slot = 64});
	expect_thrown_out();
}

Test(request, lie_child_slot)
{
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	client_put(&c, (struct cm_sqe){.op = CM_ACCEPT, .slot = 0, .arg = {-1}});
	expect_thrown_out();
}

Test(request, lie_submission_position)
{
	client_header(&c)->sq_prod = c.sq_prod + CM_SQ_ENTRIES + 1;
	expect_thrown_out();
}

Test(request, lie_submission_backwards)
{
	client_do(&c, (struct cm_sqe){.op = CM_NOP});
	client_header(&c)->sq_prod = c.sq_prod - 1;
	expect_thrown_out();
}

Test(request, lie_completion_position)
{
	client_header(&c)->cq_cons = 5;
	client_put(&c, (struct cm_sqe){.op = CM_NOP});
	expect_thrown_out();
}

Test(request, lie_ring_positions_cost_only_the_liar)
{
	struct client good;

	client_attach(&good, r);
	cr_assert_eq(client_socket(&good, 0, AF_INET, SOCK_STREAM, 0), 0);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	client_slot(&c, 0)->tx_tail = 1 << 30;
	client_put(&c, (struct cm_sqe){.op = CM_POKE, .slot = 0});
	rig_settle(r);
	cr_assert_not(client_lives(&c));
	cr_assert_eq(client_slot(&c, 0)->state & CM_ST_DEAD, CM_ST_DEAD, "and it is told");
	cr_assert_eq(r->s.count.bad_client, 1);
	cr_assert(client_lives(&good));
	cr_assert_eq(client_do(&good, (struct cm_sqe){.op = CM_NOP}), 0);
	client_die(&good);
}

/* The daemon's own words in client memory mean nothing to it. */
Test(request, scribbled_header_changes_nothing)
{
	struct cm_header *h = client_header(&c);
	uint64_t prod = h->sq_prod, cons = h->cq_cons;

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	prod = h->sq_prod;
	cons = h->cq_cons;
	memset(h, 0xee, sizeof(*h));
	h->sq_prod = prod;
	h->cq_cons = cons;
	h->ev_cons = 0;
	h->cq_want = 0;
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {1}}), 0);
	rig_restart(r);
	cr_assert_eq(client_header(&c)->cq_prod, c.cq_cons);
	rig_settle(r);
}

Test(request, stops_at_a_full_completion_ring)
{
	struct cm_cqe q;

	for (unsigned i = 0; i < CM_SQ_ENTRIES; i++)
		client_put(&c, (struct cm_sqe){.op = CM_NOP});
	for (int i = 0; i < 40; i++)
		rig_cycle(r);
	cr_assert_eq(client_header(&c)->cq_prod, CM_CQ_ENTRIES);
	client_put(&c, (struct cm_sqe){.op = CM_NOP});
	rig_settle(r);
	cr_assert_eq(client_header(&c)->cq_prod, CM_CQ_ENTRIES);
	cr_assert_not(socket_pending(&r->s), "a full ring is nothing to spin for");
	cr_assert(client_get(&c, &q));
	client_put(&c, (struct cm_sqe){.op = CM_NOP});
	rig_settle(r);
	cr_assert_eq(client_header(&c)->cq_prod, CM_CQ_ENTRIES + 1);
	cr_assert(client_lives(&c));
}

/* ---- exactly once */

static void count_once(int point)
{
	struct endpoint ep = {.addr = ipaddr_v4(0x0a630001), .port = 99};
	struct cm_cqe q;

	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_DGRAM, 0), 0);
	client_put(&c, (struct cm_sqe){.op = CM_CONNECT, .slot = 0, .arg = {AF_INET}, .ep = ep});
	client_put(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {17}});
	rig_gather(r);
	if (point >= 1)
		rig_commit(r);
	if (point >= 2)
		socket_speak(&r->s, false);
	rig_restart(r);
	rig_settle(r);
	cr_assert_eq(mock_connects, point == 0 ? 2 : 1, "done again only if it had not been");
	cr_assert_eq(sock_peek(&r->s, state_next(r->s.state, KIND_SOCK, 0))->backlog, 17);
	cr_assert(client_get(&c, &q));
	cr_assert_eq(q.token, c.token - 1);
	cr_assert_eq(q.res, -EINPROGRESS);
	cr_assert(client_get(&c, &q));
	cr_assert_eq(q.token, c.token);
	cr_assert_eq(q.res, 0);
	cr_assert_not(client_get(&c, &q));
	cr_assert_eq(client_header(&c)->sq_cons, c.sq_prod);
}

Test(request, once_dead_before_commit)
{
	count_once(0);
}
Test(request, once_dead_before_speak)
{
	count_once(1);
}
Test(request, once_dead_after_speak)
{
	count_once(2);
}

/* ---- a client that does whatever it likes */

static uint32_t seed = 12345;

static uint32_t any(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

static void write_garbage(struct client *bad)
{
	struct cm_sqe *ring = (struct cm_sqe *)(void *)(bad->mem + bad->lay.sq_off);
	struct cm_header *h = client_header(bad);

	for (unsigned i = 0; i < 64; i++) {
		struct cm_sqe *e = &ring[any() & (CM_SQ_ENTRIES - 1)];
		uint8_t *b = (uint8_t *)e;

		for (unsigned k = 0; k < sizeof(*e); k++)
			b[k] = (uint8_t)any();
		e->op = any() % (any() % 16 ? CM_OPS : 40);
		e->slot = any() % (any() % 64 ? 8 : 200);
		e->arg[0] = any() % 2 ? AF_INET : any() % 4 ? (int)(any() % 12) : (int)any();
		e->arg[1] = any() % 3 ? (int)(any() % 3 + 1) : (int)any();
		e->arg[2] = any() % 3 ? 0 : (int)any();
	}
	if (any() % 8 == 0)
		for (unsigned i = 0; i < 8; i++) {
			struct cm_slot *m = client_slot(bad, i);

			m->rx_head = any() % 4096;
			m->tx_tail = any() % 8192;
			m->tx_want = m->want = any() % 2;
			m->set[any() % 4] = (uint16_t)any();
			m->rx_epoch_ack = any();
		}
	client_set(bad, 0)->arm = any();
	h->cq_cons = h->cq_prod - (any() % 16 ? 0 : any());
	h->ev_cons = any() % 16 ? h->ev_prod : any();
	h->cq_want = any();
	h->sq_prod += any() % 32 ? any() % 64 : any();
	bell_ring(bad->bell);
}

Test(request, garbage_hurts_only_its_sender, .timeout = 60)
{
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
	for (int round = 0; round < 60; round++) {
		struct client bad;

		client_attach(&bad, r);
		for (int i = 0; i < 20; i++) {
			write_garbage(&bad);
			rig_gather(r);
			if (any() % 8 == 0) {
				rig_restart(r);
				continue;
			}
			rig_commit(r);
			if (any() % 8 == 0)
				rig_restart(r);
			else
				socket_speak(&r->s, false);
		}
		client_die(&bad);
		rig_settle(r);
		cr_assert_eq(
		    client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {round + 1}}),
		    0);
		cr_assert_eq(state_count(r->s.state, KIND_SESSION), 1);
		cr_assert_eq(state_count(r->s.state, KIND_SOCK), 1);
		cr_assert_eq(rig_deposits(r), 1);
	}
}
