/* Who may have which port, and who is found. */
#include "ip_rig.h"

TestSuite(ports, .init = rig_open, .fini = rig_close);

#define PORT 8080

/* One side of the matrix. */
struct side {
	int family, type;
	uint32_t addr; /* 0: wildcard of the family */
	uint32_t flags;
	uint32_t uid;
	uint32_t dev; /* 0: none */
};

#define R    SOCK_F_REUSEADDR
#define P    SOCK_F_REUSEPORT
#define V6   SOCK_F_V6ONLY
#define L    SOCK_F_LISTEN /* it listens before the other one binds */
#define T4   AF_INET, SOCK_STREAM
#define U4   AF_INET, SOCK_DGRAM
#define T6   AF_INET6, SOCK_STREAM
#define U6   AF_INET6, SOCK_DGRAM

static const struct {
	struct side a, b;
	bool conflict;
} matrix[] = {
	/* plain */
	{{T4, 0, 0, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{T4, HOST, 0, 1, 0}, {T4, HOST, 0, 1, 0}, true},
	{{T4, HOST, 0, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{T4, 0, 0, 1, 0}, {T4, HOST, 0, 1, 0}, true},
	{{T4, HOST, 0, 1, 0}, {T4, LOOPBACK, 0, 1, 0}, false},
	{{T4, HOST, 0, 1, 0}, {U4, HOST, 0, 1, 0}, false},
	/* SO_REUSEADDR: streams until one listens */
	{{T4, 0, R, 1, 0}, {T4, 0, R, 1, 0}, false},
	{{T4, 0, R, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{T4, 0, 0, 1, 0}, {T4, 0, R, 1, 0}, true},
	{{T4, 0, R | L, 1, 0}, {T4, 0, R, 1, 0}, true},
	{{T4, 0, R | L, 1, 0}, {T4, HOST, R, 1, 0}, true},
	{{T4, HOST, R | L, 1, 0}, {T4, LOOPBACK, R, 1, 0}, false},
	/* SO_REUSEADDR: datagrams always */
	{{U4, 0, R, 1, 0}, {U4, 0, R, 1, 0}, false},
	{{U4, HOST, R, 1, 0}, {U4, HOST, R, 2, 0}, false},
	{{U4, 0, R, 1, 0}, {U4, 0, 0, 1, 0}, true},
	{{U4, 0, 0, 1, 0}, {U4, HOST, 0, 1, 0}, true},
	/* SO_REUSEPORT: same user only */
	{{T4, 0, P, 1, 0}, {T4, 0, P, 1, 0}, false},
	{{T4, 0, P | L, 1, 0}, {T4, 0, P, 1, 0}, false},
	{{T4, 0, P | L, 1, 0}, {T4, 0, P, 2, 0}, true},
	{{T4, 0, P, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{T4, 0, P, 1, 0}, {T4, 0, R, 1, 0}, true},
	{{T4, 0, P | R | L, 1, 0}, {T4, 0, P | R, 1, 0}, false},
	{{T4, 0, P | R | L, 1, 0}, {T4, 0, P | R, 2, 0}, true},
	{{U4, 0, P, 1, 0}, {U4, 0, P, 1, 0}, false},
	{{U4, 0, P, 1, 0}, {U4, 0, P, 2, 0}, true},
	{{U4, 0, P | R, 1, 0}, {U4, 0, P | R, 2, 0}, false},
	/* devices */
	{{T4, 0, 0, 1, 1}, {T4, 0, 0, 1, 2}, false},
	{{T4, 0, 0, 1, 1}, {T4, 0, 0, 1, 1}, true},
	{{T4, 0, 0, 1, 1}, {T4, 0, 0, 1, 0}, true},
	/* families */
	{{T6, 0, 0, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{T4, 0, 0, 1, 0}, {T6, 0, 0, 1, 0}, true},
	{{T6, 0, V6, 1, 0}, {T4, 0, 0, 1, 0}, false},
	{{T4, 0, 0, 1, 0}, {T6, 0, V6, 1, 0}, false},
	{{T6, 0, V6, 1, 0}, {T6, 0, 0, 1, 0}, true},
	{{T6, 0, V6, 1, 0}, {T6, 0, V6, 1, 0}, true},
	{{T6, 0, 0, 1, 0}, {T4, HOST, 0, 1, 0}, true},
	{{T6, 0, V6, 1, 0}, {T4, HOST, 0, 1, 0}, false},
	{{T6, HOST, 0, 1, 0}, {T4, HOST, 0, 1, 0}, true},
	{{T6, HOST, 0, 1, 0}, {T4, LOOPBACK, 0, 1, 0}, false},
	{{T6, HOST, 0, 1, 0}, {T4, 0, 0, 1, 0}, true},
	{{U6, 0, 0, 1, 0}, {U4, HOST, 0, 1, 0}, true},
	{{U6, 0, R, 1, 0}, {U4, HOST, R, 1, 0}, false},
	{{U6, 0, V6, 1, 0}, {U4, 0, 0, 1, 0}, false},
};

static uint32_t make(const struct side *d)
{
	uint32_t sk = rig_socket(d->family, d->type, d->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
	struct sock_rec *k = sock_get(&rig.s, sk);

	k->flags |= d->flags & ~(uint32_t)L;
	k->uid = d->uid;
	if (d->dev)
		k->bound_dev = d->dev;
	return sk;
}

static int bind_it(uint32_t sk, uint32_t addr, uint16_t port)
{
	struct endpoint ep = rig_ep(addr, port);

	return port_bind(&rig.s, sk, &ep);
}

static uint32_t stream(uint32_t flags)
{
	return make(&(struct side){T4, 0, flags, 1, 0});
}

Test(ports, conflicts_as_in_the_kernel)
{
	for (size_t i = 0; i < ARRAY_SIZE(matrix); i++) {
		uint32_t a = make(&matrix[i].a), b = make(&matrix[i].b);

		cr_assert_eq(bind_it(a, matrix[i].a.addr, PORT), 0, "row %zu", i);
		if (matrix[i].a.flags & L)
			cr_assert_eq(port_listen(&rig.s, a), 0);
		cr_assert_eq(bind_it(b, matrix[i].b.addr, PORT), matrix[i].conflict ? -EADDRINUSE : 0, "row %zu", i);
		sock_free(&rig.s, a);
		if (matrix[i].conflict)
			cr_assert_eq(bind_it(b, matrix[i].b.addr, PORT), 0, "row %zu, afterwards", i);
		sock_free(&rig.s, b);
		rig_cycle();
	}
}

Test(ports, two_listeners_need_reuseport)
{
	uint32_t a = stream(R), b = stream(R), c = stream(P), d = stream(P);

	cr_assert_eq(bind_it(a, 0, PORT), 0);
	cr_assert_eq(bind_it(b, 0, PORT), 0);
	cr_assert_eq(port_listen(&rig.s, a), 0);
	cr_assert_eq(port_listen(&rig.s, b), -EADDRINUSE);
	port_unlisten(&rig.s, a);
	cr_assert_eq(port_listen(&rig.s, b), 0);
	cr_assert_eq(bind_it(c, 0, PORT + 1), 0);
	cr_assert_eq(bind_it(d, 0, PORT + 1), 0);
	cr_assert_eq(port_listen(&rig.s, c), 0);
	cr_assert_eq(port_listen(&rig.s, d), 0);
}

Test(ports, addresses_must_be_ours)
{
	uint32_t a = stream(0), u = rig_udp_socket(), v6 = make(&(struct side){T6, 0, V6, 1, 0});
	struct endpoint real6 = {.addr = {{0xfd, 0x99}}, .port = 1};

	cr_assert_eq(bind_it(a, PEER, PORT), -EADDRNOTAVAIL);
	cr_assert_eq(bind_it(u, 0x0a6300ff, PORT), 0);
	cr_assert_eq(bind_it(v6, HOST, PORT), -EINVAL);
	cr_assert_eq(port_bind(&rig.s, v6, &real6), -EADDRNOTAVAIL);
	rig_flag(a, SOCK_F_FREEBIND);
	cr_assert_eq(bind_it(a, PEER, PORT), 0);
	cr_assert_eq(bind_it(a, PEER, PORT + 1), -EINVAL); /* bound already */
	rig_flag(u = stream(0), SOCK_F_TRANSPARENT);
	cr_assert_eq(bind_it(u, PEER, PORT + 1), 0);
}

Test(ports, connections_and_timewaits_keep_their_port)
{
	struct endpoint local = rig_ep(HOST, PORT), remote = rig_ep(PEER, 77);
	struct conn_ref tw = {KIND_TIMEWAIT, 3}, ref;
	struct port_claim claim = {.flags = R, .uid = 1, .dev = NO_INDEX};
	uint32_t child = stream(0), b;

	/* A listener's child, without port_bind() */
	sock_get(&rig.s, child)->local = local;
	sock_get(&rig.s, child)->remote = remote;
	cr_assert_eq(sock_hash_connected(&rig.s, child), 0);
	cr_assert_eq(sock_hash_connected(&rig.s, child), -EADDRINUSE);
	b = stream(0);
	cr_assert_eq(bind_it(b, 0, PORT), -EADDRINUSE);
	cr_assert_eq(bind_it(b, LOOPBACK, PORT), 0);
	sock_free(&rig.s, child);
	sock_free(&rig.s, b);
	/* The same in TIME_WAIT */
	cr_assert_eq(conn_insert_claim(&rig.s, IPPROTO_TCP, &local, &remote, tw, &claim), 0);
	cr_assert_eq(conn_insert(&rig.s, IPPROTO_TCP, &local, &remote, tw), -EADDRINUSE);
	cr_assert(conn_find(&rig.s, IPPROTO_TCP, &local, &remote, &ref));
	cr_assert(ref.kind == KIND_TIMEWAIT && ref.index == 3);
	cr_assert_eq(sock_lookup_connected(&rig.s, IPPROTO_TCP, &local, &remote), NO_INDEX);
	b = stream(0);
	cr_assert_eq(bind_it(b, 0, PORT), -EADDRINUSE);
	rig_flag(b, R);
	cr_assert_eq(bind_it(b, 0, PORT), 0);
	sock_free(&rig.s, b);
	conn_remove(&rig.s, IPPROTO_TCP, &local, &remote, (struct conn_ref){KIND_TIMEWAIT, 4}); /* not this one */
	cr_assert(conn_find(&rig.s, IPPROTO_TCP, &local, &remote, &ref));
	conn_remove(&rig.s, IPPROTO_TCP, &local, &remote, tw);
	cr_assert_not(conn_find(&rig.s, IPPROTO_TCP, &local, &remote, &ref));
}

/* What a connection in TIME_WAIT left behind, who binds, and whether he is kept from it: inet_csk_bind_conflict(). */
static const struct {
	struct port_claim tw;
	struct side b;
	bool conflict;
} timewaits[] = {
	{{0, 1, NO_INDEX}, {T4, HOST, 0, 1, 0}, true},
	{{0, 1, NO_INDEX}, {T4, 0, 0, 1, 0}, true},
	{{0, 1, NO_INDEX}, {T6, 0, 0, 1, 0}, true},
	{{0, 1, NO_INDEX}, {T6, 0, V6, 1, 0}, false},
	{{0, 1, NO_INDEX}, {T4, LOOPBACK, 0, 1, 0}, false},
	{{0, 1, NO_INDEX}, {T4, HOST, R, 1, 0}, true},
	{{R, 1, NO_INDEX}, {T4, HOST, 0, 1, 0}, true},
	{{R, 1, NO_INDEX}, {T4, HOST, R, 1, 0}, false},
	{{R, 1, NO_INDEX}, {T4, 0, R, 2, 0}, false},
	{{P, 1, NO_INDEX}, {T4, 0, P, 1, 0}, false},
	{{P, 1, NO_INDEX}, {T4, 0, P, 2, 0}, true},
	{{0, 1, 1}, {T4, HOST, 0, 1, 2}, false},
	{{0, 1, 1}, {T4, HOST, 0, 1, 1}, true},
};

Test(ports, a_timewait_alone_keeps_the_port)
{
	struct endpoint local = rig_ep(HOST, PORT), remote = rig_ep(PEER, 77);
	struct conn_ref tw = {KIND_TIMEWAIT, 0};

	for (size_t i = 0; i < ARRAY_SIZE(timewaits); i++) {
		uint32_t b = make(&timewaits[i].b);

		cr_assert_eq(conn_insert_claim(&rig.s, IPPROTO_TCP, &local, &remote, tw, &timewaits[i].tw), 0);
		cr_assert_eq(bind_it(b, timewaits[i].b.addr, PORT), timewaits[i].conflict ? -EADDRINUSE : 0, "row %zu", i);
		conn_remove(&rig.s, IPPROTO_TCP, &local, &remote, tw);
		if (timewaits[i].conflict)
			cr_assert_eq(bind_it(b, timewaits[i].b.addr, PORT), 0, "row %zu, afterwards", i);
		sock_free(&rig.s, b);
		rig_cycle();
	}
}

Test(ports, timewaits_of_one_port_go_in_any_order)
{
	struct endpoint local = rig_ep(HOST, PORT);
	struct port_claim claim = {.dev = NO_INDEX};
	uint32_t b = stream(0);

	for (uint32_t i = 0; i < 600; i++) {
		struct endpoint remote = rig_ep(PEER, (uint16_t)(1000 + i));

		cr_assert_eq(conn_insert_claim(&rig.s, IPPROTO_TCP, &local, &remote,
				 (struct conn_ref){KIND_TIMEWAIT, i}, &claim), 0);
	}
	for (uint32_t i = 0; i < 600; i++) {
		uint32_t at = i * 7 % 600;
		struct endpoint remote = rig_ep(PEER, (uint16_t)(1000 + at));

		cr_assert_eq(bind_it(b, HOST, PORT), -EADDRINUSE);
		conn_remove(&rig.s, IPPROTO_TCP, &local, &remote, (struct conn_ref){KIND_TIMEWAIT, at});
	}
	cr_assert_eq(bind_it(b, HOST, PORT), 0);
}

Test(ports, ephemeral_ports_are_in_range_and_single)
{
	static bool seen[65536];

	for (unsigned i = 0; i < 500; i++) {
		uint32_t sk = stream(0);
		uint16_t port;

		cr_assert_eq(bind_it(sk, 0, 0), 0);
		port = sock_peek(&rig.s, sk)->local.port;
		cr_assert(port >= 32768 && port <= 60999 && !seen[port]);
		cr_assert_not(sock_peek(&rig.s, sk)->flags & SOCK_F_PORT_USER);
		seen[port] = true;
	}
}

Test(ports, connects_share_ports_by_their_peer)
{
	struct ipaddr host = ipaddr_v4(HOST);
	struct endpoint remote = rig_ep(PEER, 80), local;
	struct port_claim claim = {.dev = NO_INDEX};
	uint32_t first = stream(0), sk;

	cr_assert_eq(port_autobind(&rig.s, first, &host, &remote), 0);
	sock_get(&rig.s, first)->remote = remote;
	cr_assert_eq(sock_hash_connected(&rig.s, first), 0);
	cr_assert_eq(port_autobind(&rig.s, first, &host, &remote), -EINVAL);
	local = sock_peek(&rig.s, first)->local;
	cr_assert(local.port >= 32768 && local.port <= 60999);
	/* The whole range but one port is taken by sockets without a peer: only another peer can share it. */
	for (uint32_t port = 32768; port <= 60999; port++) {
		struct endpoint l = rig_ep(HOST, (uint16_t)port);

		if (port != local.port)
			cr_assert_eq(conn_insert_claim(&rig.s, IPPROTO_TCP, &l, &remote,
					 (struct conn_ref){KIND_TIMEWAIT, port}, &claim), 0);
	}
	sk = stream(0);
	cr_assert_eq(port_autobind(&rig.s, sk, &host, &remote), -EADDRNOTAVAIL);
	remote.port = 81;
	cr_assert_eq(port_autobind(&rig.s, sk, &host, &remote), 0);
}

static uint32_t find(uint8_t protocol, uint32_t laddr, uint16_t lport, uint32_t raddr, uint16_t rport)
{
	struct endpoint l = rig_ep(laddr, lport), r = rig_ep(raddr, rport);

	return sock_lookup_bound(&rig.s, protocol, &l, &r, rig.dev);
}

Test(ports, the_most_specific_listener_wins)
{
	uint32_t any = stream(0), exact = stream(R), idle = stream(R), bound = stream(R), v6;

	rig_flag(any, R);
	cr_assert_eq(bind_it(any, 0, PORT), 0);
	cr_assert_eq(bind_it(exact, HOST, PORT), 0);
	cr_assert_eq(bind_it(idle, HOST, PORT), 0);
	sock_get(&rig.s, bound)->bound_dev = rig.dev;
	cr_assert_eq(bind_it(bound, 0, PORT), 0);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT, PEER, 9), NO_INDEX); /* nobody listens yet */
	cr_assert_eq(port_listen(&rig.s, any), 0);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT, PEER, 9), any);
	sock_get(&rig.s, any)->flags &= ~(uint32_t)SOCK_F_LISTEN;
	cr_assert_eq(port_listen(&rig.s, exact), 0);
	rig_flag(any, SOCK_F_LISTEN);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT, PEER, 9), exact);
	cr_assert_eq(find(IPPROTO_TCP, LOOPBACK, PORT, PEER, 9), any);
	rig_flag(bound, SOCK_F_LISTEN);
	cr_assert_eq(find(IPPROTO_TCP, LOOPBACK, PORT, PEER, 9), bound);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT + 1, PEER, 9), NO_INDEX);
	cr_assert_eq(find(IPPROTO_UDP, HOST, PORT, PEER, 9), NO_INDEX);
	v6 = make(&(struct side){T6, 0, 0, 1, 0});
	cr_assert_eq(bind_it(v6, 0, PORT + 2), 0);
	cr_assert_eq(port_listen(&rig.s, v6), 0);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT + 2, PEER, 9), v6);
	rig_flag(v6, V6);
	cr_assert_eq(find(IPPROTO_TCP, HOST, PORT + 2, PEER, 9), NO_INDEX);
}

Test(ports, a_group_shares_its_flows_and_keeps_them_over_a_restart)
{
	static uint32_t owner[4000];
	uint32_t sk[4], count[1024] = {0};

	for (unsigned i = 0; i < 4; i++) {
		sk[i] = stream(P);
		cr_assert_eq(bind_it(sk[i], 0, PORT), 0);
		cr_assert_eq(port_listen(&rig.s, sk[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(owner); i++) {
		owner[i] = find(IPPROTO_TCP, HOST, PORT, PEER + i / 100, (uint16_t)(1000 + i));
		count[owner[i]]++;
	}
	for (unsigned i = 0; i < 4; i++)
		cr_assert(count[sk[i]] > 800 && count[sk[i]] < 1200, "%u", count[sk[i]]);
	rig_cycle();
	rig_restart();
	for (unsigned i = 0; i < ARRAY_SIZE(owner); i++)
		cr_assert_eq(find(IPPROTO_TCP, HOST, PORT, PEER + i / 100, (uint16_t)(1000 + i)), owner[i]);
}

Test(ports, tables_grow_and_shrink_and_are_rebuilt)
{
	static uint32_t sk[900];
	struct endpoint local = rig_ep(HOST, PORT), remote = rig_ep(PEER, 0);

	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < ARRAY_SIZE(sk); i++) {
			sk[i] = stream(0);
			local.port = (uint16_t)(PORT + i % 300);
			remote.port = (uint16_t)(i + 1);
			sock_get(&rig.s, sk[i])->local = local;
			sock_get(&rig.s, sk[i])->remote = remote;
			cr_assert_eq(sock_hash_connected(&rig.s, sk[i]), 0);
		}
		rig_cycle();
		if (round)
			rig_restart();
		for (uint32_t i = 0; i < ARRAY_SIZE(sk); i++) {
			local.port = (uint16_t)(PORT + i % 300);
			remote.port = (uint16_t)(i + 1);
			cr_assert_eq(sock_lookup_connected(&rig.s, IPPROTO_TCP, &local, &remote), sk[i]);
			remote.port = (uint16_t)(i + 2);
			cr_assert_eq(sock_lookup_connected(&rig.s, IPPROTO_TCP, &local, &remote), NO_INDEX);
		}
		for (uint32_t i = 0; i < ARRAY_SIZE(sk); i++)
			sock_free(&rig.s, sk[(i * 7) % ARRAY_SIZE(sk)]);
		rig_cycle();
		cr_assert_eq(state_count(rig.s.state, KIND_SOCK), 0);
		cr_assert_eq(bind_it(sk[0] = stream(0), 0, PORT), 0);
		sock_free(&rig.s, sk[0]);
		rig_cycle();
	}
}
