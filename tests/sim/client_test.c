/* What a client asks for, and what it has no business asking for. */
#include "script_fixture.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

TestSuite(client, .init = setup_new, .fini = teardown);

Test(client, lies)
{
	script_passive(&c);
	say(&c, PSH_ACK, 0, 0, "hello");
	cr_assert_eq(sim_lie(c.k, 6, 0), -EPROTO);
	cr_assert_eq(sim_lie(c.k, 5, 70000), -EPROTO);
	cr_assert_eq(sim_lie(c.k, 5, 0), 0);
	cr_assert_eq(sim_lie(c.k, 4, 0), -EPROTO);
}

Test(client, options)
{
	script_active(&c);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_TCP, TCP_NODELAY), 1);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_KEEPCNT, 0), -EINVAL);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_TCP, TCP_MD5SIG, 1), -ENOPROTOOPT);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_TCP, TCP_MAXSEG), 1460);
}

Test(client, connected_twice)
{
	script_active(&c);
	cr_assert_eq(sim_connect(c.k, 80), -EISCONN);
	cr_assert_eq(sim_listen(c.k, 0, 1), -EINVAL);
}

Test(client, defer_accept)
{
	struct sim_sock *l = sim_socket(c.h);

	cr_assert_eq(sim_setsockopt(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 5), 0);
	script_half_open(&c, l, 4);
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 0);
	say(&c, PSH_ACK, 0, 0, "GET");
	cr_assert_eq(l->v.accept_ready, 1);
}

/* RFC 5082: the script's segments arrive with a TTL of 64. */
Test(client, from_too_far_away)
{
	struct sim_sock *l = sim_socket(c.h);

	cr_assert_eq(sim_setsockopt(l, IPPROTO_IP, IP_MINTTL, 256), -EINVAL);
	cr_assert_eq(sim_setsockopt(l, IPPROTO_IP, IP_MINTTL, 64), 0);
	script_half_open(&c, l, 4);
	cr_assert_eq(sim_setsockopt(l, IPPROTO_IP, IP_MINTTL, 65), 0);
	say(&c, ACK, 0, 0, NULL);
	cr_assert_eq(l->v.accept_ready, 0, "nor is its handshake believed");
	cr_assert_eq(sim_setsockopt(l, IPPROTO_IP, IP_MINTTL, 64), 0);
	say(&c, ACK, 0, 0, NULL);
	c.k = sim_accept(l);
	cr_assert(c.k);
	cr_assert_eq(sim_getsockopt(c.k, IPPROTO_IP, IP_MINTTL), 64);
	say(&c, PSH_ACK, 0, 0, "near");
	expect(&c, ACK, 0, 4, 0);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_IP, IP_MINTTL, 65), 0);
	say(&c, PSH_ACK, 4, 0, "far");
	say(&c, TCP_F_RST, 4, 0, NULL);
	expect_nothing(&c);
	state_is(TCPS_ESTABLISHED);
	cr_assert_eq(sim_setsockopt(c.k, IPPROTO_IP, IP_MINTTL, 0), 0);
	say(&c, PSH_ACK, 4, 0, "now");
	cr_assert_eq(c.k->v.rx_tail, 7);
}
