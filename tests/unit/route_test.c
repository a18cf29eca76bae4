/* Addresses and routes. */
#include "ip_rig.h"

TestSuite(route, .init = rig_open, .fini = rig_close);

#define NET(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static struct route_rec rec(uint32_t dst, uint8_t prefix, uint32_t gateway, uint32_t metric)
{
	return (struct route_rec){.dst = ipaddr_v4(dst),
	    .prefix = prefix,
	    .gateway = ipaddr_v4(gateway),
	    .dev = rig.dev,
	    .metric = metric};
}

static int add(uint32_t dst, uint8_t prefix, uint32_t gateway, uint32_t metric)
{
	struct route_rec r = rec(dst, prefix, gateway, metric);

	return route_add(&rig.s, &r);
}

static uint32_t hop(uint32_t dst)
{
	struct ipaddr to = ipaddr_v4(dst);
	struct route r;

	return ip_route(&rig.s, &to, NULL, NO_INDEX, &r) ? 0 : ipaddr_to_v4(&r.next_hop);
}

static int ask(uint32_t dst, uint32_t src, uint32_t oif, struct route *r)
{
	struct ipaddr to = ipaddr_v4(dst), from = ipaddr_v4(src);

	return ip_route(&rig.s, &to, &from, oif, r);
}

Test(route, longest_prefix_then_metric)
{
	cr_assert_eq(add(NET(10, 1, 0, 0), 16, NET(10, 99, 0, 11), 0), 0);
	cr_assert_eq(add(NET(10, 1, 2, 0), 24, NET(10, 99, 0, 12), 50), 0);
	cr_assert_eq(add(NET(10, 1, 2, 0), 24, NET(10, 99, 0, 13), 10), 0);
	cr_assert_eq(add(NET(10, 1, 2, 3), 32, NET(10, 99, 0, 14), 999), 0);
	cr_assert_eq(hop(NET(10, 1, 9, 9)), NET(10, 99, 0, 11));
	cr_assert_eq(hop(NET(10, 1, 2, 9)), NET(10, 99, 0, 13));
	cr_assert_eq(hop(NET(10, 1, 2, 3)), NET(10, 99, 0, 14));
	cr_assert_eq(hop(NET(8, 8, 8, 8)), PEER);
	cr_assert_eq(hop(NET(10, 99, 0, 77)), NET(10, 99, 0, 77)); /* connected: on link */
}

/* The cache must not outlive a change: each lookup is made twice. */
Test(route, changes_are_seen_at_once)
{
	struct route_rec r = rec(NET(10, 1, 0, 0), 16, NET(10, 99, 0, 11), 0);

	cr_assert_eq(hop(NET(10, 1, 2, 3)), PEER);
	cr_assert_eq(hop(NET(10, 1, 2, 3)), PEER);
	cr_assert_eq(route_add(&rig.s, &r), 0);
	cr_assert_eq(hop(NET(10, 1, 2, 3)), NET(10, 99, 0, 11));
	cr_assert_eq(route_delete(&rig.s, &r), 0);
	cr_assert_eq(route_delete(&rig.s, &r), -ESRCH);
	cr_assert_eq(hop(NET(10, 1, 2, 3)), PEER);
}

Test(route, refuses_nonsense)
{
	struct route_rec r = rec(NET(10, 1, 0, 0), 16, 0, 0);

	cr_assert_eq(add(NET(10, 1, 2, 3), 16, 0, 0), -EINVAL);
	cr_assert_eq(add(NET(10, 1, 2, 3), 33, 0, 0), -EINVAL);
	cr_assert_eq(add(NET(10, 1, 0, 0), 16, NET(11, 0, 0, 1), 0),
	    -ENETUNREACH); /* gateway behind a gateway */
	cr_assert_eq(add(NET(10, 1, 0, 0), 16, HOST, 0), -ENETUNREACH); /* ourselves */
	r.dev = 99;
	cr_assert_eq(route_add(&rig.s, &r), -ENODEV);
	r.dev = rig.dev;
	r.source = ipaddr_v4(NET(1, 2, 3, 4));
	cr_assert_eq(route_add(&rig.s, &r), -EADDRNOTAVAIL);
	r.source = ipaddr_v4(0);
	cr_assert_eq(route_add(&rig.s, &r), 0);
	cr_assert_eq(route_add(&rig.s, &r), -EEXIST);
}

Test(route, the_local_table)
{
	struct ipaddr a = ipaddr_v4(HOST), lo = ipaddr_v4(NET(127, 200, 3, 4)),
		      b = ipaddr_v4(NET(10, 99, 0, 255)), all = ipaddr_v4(UINT32_MAX),
		      peer = ipaddr_v4(PEER), any = ipaddr_v4(0);
	struct route r;

	cr_assert(ip_is_local(&rig.s, &a));
	cr_assert(ip_is_local(&rig.s, &lo));
	cr_assert_not(ip_is_local(&rig.s, &peer));
	cr_assert_not(ip_is_local(&rig.s, &any));
	cr_assert_not(ip_is_local(&rig.s, &b));
	cr_assert(ip_is_broadcast(&rig.s, &b));
	cr_assert(ip_is_broadcast(&rig.s, &all));
	cr_assert_not(ip_is_broadcast(&rig.s, &a));
	cr_assert_eq(ask(HOST, 0, NO_INDEX, &r), 0);
	cr_assert(r.local);
	cr_assert_eq(r.dev, DEVICE_LO);
	cr_assert_eq(ipaddr_to_v4(&r.source), HOST);
	cr_assert_eq(ask(NET(127, 0, 0, 9), 0, NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.source), LOOPBACK);
	cr_assert_eq(ask(0, 0, NO_INDEX, &r), 0); /* "this host" */
	cr_assert_eq(ipaddr_to_v4(&r.next_hop), LOOPBACK);
	cr_assert_eq(ask(0, HOST, NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.next_hop), HOST);
}

Test(route, source_choice)
{
	struct ipaddr second = ipaddr_v4(NET(192, 168, 5, 2));
	struct route_rec preferred = rec(NET(10, 7, 0, 0), 16, PEER, 0);
	struct route r;

	cr_assert_eq(addr_add(&rig.s, rig.dev, &second, 24), 0);
	cr_assert_eq(ask(NET(192, 168, 5, 77), 0, NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.source), NET(192, 168, 5, 2));
	cr_assert_eq(ask(NET(8, 8, 8, 8), 0, NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.source), HOST); /* the gateway's subnet */
	preferred.source = second;
	cr_assert_eq(route_add(&rig.s, &preferred), 0);
	cr_assert_eq(ask(NET(10, 7, 1, 1), 0, NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.source), NET(192, 168, 5, 2));
	cr_assert_eq(ask(NET(8, 8, 8, 8), NET(192, 168, 5, 2), NO_INDEX, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.source), NET(192, 168, 5, 2));
	cr_assert_eq(ask(NET(8, 8, 8, 8), NET(1, 1, 1, 1), NO_INDEX, &r), -EADDRNOTAVAIL);
	cr_assert_eq(ask(NET(8, 8, 8, 8), LOOPBACK, NO_INDEX, &r), -EINVAL);
}

Test(route, a_chosen_device)
{
	struct route r;

	cr_assert_eq(ask(NET(8, 8, 8, 8), 0, rig.dev, &r), 0);
	cr_assert_eq(ipaddr_to_v4(&r.next_hop), PEER);
	cr_assert_eq(ask(NET(8, 8, 8, 8), 0, 77, &r), -ENETUNREACH);
	cr_assert_eq(ask(UINT32_MAX, 0, rig.dev, &r), 0);
	cr_assert(r.broadcast);
	cr_assert_eq(ask(UINT32_MAX, HOST, NO_INDEX, &r), 0);
	cr_assert_eq(r.dev, rig.dev);
	cr_assert_eq(ask(NET(10, 99, 0, 255), 0, NO_INDEX, &r), 0);
	cr_assert(r.broadcast);
}

/* As on a kernel that has no route for it: a program then tries the next address that it has. */
Test(route, nowhere_by_ipv6)
{
	struct ipaddr loopback6 = {.b[15] = 1};
	struct route r;

	cr_assert_eq(ip_route(&rig.s, &loopback6, NULL, NO_INDEX, &r), -ENETUNREACH);
}

Test(route, addresses_bring_and_take_their_route)
{
	struct ipaddr a = ipaddr_v4(NET(172, 16, 0, 5)), b = ipaddr_v4(NET(172, 16, 0, 6)),
		      bad = ipaddr_v4(LOOPBACK);
	struct route_rec gone = {.dev = NO_INDEX};

	route_delete(&rig.s, &gone); /* the default route */
	cr_assert_eq(hop(NET(172, 16, 0, 9)), 0);
	cr_assert_eq(addr_add(&rig.s, rig.dev, &a, 24), 0);
	cr_assert_eq(addr_add(&rig.s, rig.dev, &a, 24), -EEXIST);
	cr_assert_eq(addr_add(&rig.s, rig.dev, &b, 24), 0);
	cr_assert_eq(hop(NET(172, 16, 0, 9)), NET(172, 16, 0, 9));
	cr_assert_eq(addr_delete(&rig.s, rig.dev, &a, 24), 0);
	cr_assert_eq(hop(NET(172, 16, 0, 9)), NET(172, 16, 0, 9)); /* the other one keeps it */
	cr_assert_eq(addr_delete(&rig.s, rig.dev, &b, 24), 0);
	cr_assert_eq(addr_delete(&rig.s, rig.dev, &b, 24), -EADDRNOTAVAIL);
	cr_assert_eq(hop(NET(172, 16, 0, 9)), 0);
	cr_assert_eq(addr_add(&rig.s, rig.dev, &bad, 8), -EINVAL);
	cr_assert_eq(addr_add(&rig.s, 9, &a, 8), -ENODEV);
}

Test(route, survive_a_restart)
{
	cr_assert_eq(add(NET(10, 1, 0, 0), 16, NET(10, 99, 0, 11), 0), 0);
	rig_cycle();
	cr_assert_eq(add(NET(10, 2, 0, 0), 16, NET(10, 99, 0, 12), 0), 0); /* never committed */
	rig_restart();
	cr_assert_eq(hop(NET(10, 1, 2, 3)), NET(10, 99, 0, 11));
	cr_assert_eq(hop(NET(10, 2, 2, 3)), PEER);
	cr_assert_eq(hop(NET(10, 99, 0, 3)), NET(10, 99, 0, 3));
}

/* The address is there still, and brings it back. */
Test(route, a_connected_route_that_was_lost_is_made_again)
{
	const struct route_rec *r;
	uint32_t i = route_next(&rig.s, 0, &r);

	while (r && r->origin != ROUTE_CONNECTED)
		i = route_next(&rig.s, i + 1, &r);
	cr_assert(r);
	rig_cycle();
	rig_lose(KIND_ROUTE, i);
	cr_assert_eq(hop(NET(10, 99, 0, 3)), NET(10, 99, 0, 3));
}

/* Against a table that is searched the slow way. */
Test(route, agrees_with_a_linear_search)
{
	static struct route_rec all[120];
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		uint32_t r[2];
		uint8_t prefix;

		rig.s.random(NULL, r, sizeof(r));
		prefix = (uint8_t)(1 + r[1] % 32);
		all[n] = rec((NET(20, 0, 0, 0) | (r[0] & 0xffff)) & (UINT32_MAX << (32 - prefix)),
		    prefix, NET(10, 99, 0, 10 + i), r[1] >> 8 & 3);
		if (!route_add(&rig.s, &all[n]))
			n++;
	}
	for (unsigned i = 0; i < 5000; i++) {
		const struct route_rec *best = NULL;
		uint32_t dst;

		rig.s.random(NULL, &dst, sizeof(dst));
		dst = NET(20, 0, 0, 0) | (dst & 0xffff);
		for (unsigned j = 0; j < n; j++) {
			if ((dst ^ ipaddr_to_v4(&all[j].dst)) &
			    (UINT32_MAX << (32 - all[j].prefix)))
				continue;
			if (!best || all[j].prefix > best->prefix ||
			    (all[j].prefix == best->prefix && all[j].metric < best->metric))
				best = &all[j];
		}
		cr_assert_eq(hop(dst), best ? ipaddr_to_v4(&best->gateway) : PEER);
	}
}
