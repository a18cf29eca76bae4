/*
 * Multicast: what is heard and by whom, what the routers are told and when, options, restarts.
 *
 *	querier, senders at 10.99.0.1 -- "tap0" 10.99.0.2 [stack] sockets
 */
#include "ip_rig.h"
#include "proto/client.h"
#include "udp_fixture.h"
#include "wire/igmp.h"

#define GROUP	    0xef010203u /* 239.1.2.3 */
#define OTHER	    0xef010204u
#define V3_ROUTERS  0xe0000016u
#define ALL_ROUTERS 0xe0000002u

TestSuite(group, .init = rig_open, .fini = rig_close);

static struct cm_group of(uint32_t group)
{
	return (struct cm_group){.ifindex = rig.dev + 1, .group = htonl(group)};
}

static int option(uint32_t sk, int name, struct cm_group g)
{
	return udp_ops.setsockopt(&rig.s, sk, IPPROTO_IP, name, &g, sizeof(g));
}

static int sourced(uint32_t sk, int name, uint32_t group, uint32_t source)
{
	struct cm_group g = of(group);

	g.sources = 1;
	g.source[0] = htonl(source);
	return option(sk, name, g);
}

static bool hears_from(uint32_t sk, uint32_t group, uint32_t source)
{
	bool heard;

	rig_receive_udp(source, 9, group, PORT, "x", 1);
	rig_cycle();
	heard = got(sk, "x", 1, NULL);
	cr_assert_not(rig_recv(sk, &(struct cm_dgram){.len = 0}, buf, sizeof(buf)), "once only");
	return heard;
}

static bool hears(uint32_t sk, uint32_t group)
{
	return hears_from(sk, group, PEER);
}

/* The next report of version 3 on the wire: its type and how many sources; -1 if there is none. */
static int told(uint32_t group, unsigned *sources)
{
	uint32_t n = rig_sent(buf, sizeof(buf));
	struct ipv4_header h;

	if (!n)
		return -1;
	cr_assert_eq(ipv4_parse(&h, buf, n), 0);
	cr_assert_eq(h.dst, V3_ROUTERS);
	cr_assert_eq(h.src, HOST);
	cr_assert_eq(h.ttl, 1);
	cr_assert_eq(h.proto, IPPROTO_IGMP);
	cr_assert_eq(h.options_len, 4);
	cr_assert_eq(h.options[0], 0x94);
	cr_assert_eq(csum(buf + 24, n - 24, 0), 0xffff);
	cr_assert_eq(buf[24], IGMP_V3_REPORT);
	cr_assert_eq((uint32_t)buf[36] << 24 | buf[37] << 16 | buf[38] << 8 | buf[39], group);
	if (sources)
		*sources = buf[35];
	return buf[32];
}

/* The next message of versions 1 and 2: its type, -1 for none. */
static int said(uint32_t to, uint32_t group)
{
	uint32_t n = rig_sent(buf, sizeof(buf));
	struct igmp_message m;
	struct ipv4_header h;

	if (!n)
		return -1;
	cr_assert_eq(ipv4_parse(&h, buf, n), 0);
	cr_assert_eq(h.dst, to);
	cr_assert_eq(igmp_parse(&m, buf + h.hdr_len, n - h.hdr_len), 0);
	cr_assert_eq(m.group, group);
	return m.type;
}

static void message(uint8_t type, uint8_t code, uint32_t group, uint32_t len)
{
	uint8_t igmp[32] = {type, code, 0, 0, (uint8_t)(group >> 24), (uint8_t)(group >> 16),
	    (uint8_t)(group >> 8), (uint8_t)group};
	uint16_t sum = csum_finish(csum(igmp, len, 0));

	igmp[2] = (uint8_t)(sum >> 8);
	igmp[3] = (uint8_t)sum;
	rig_receive(buf,
	    rig_ip(buf,
		(struct ipv4_header){
		    .src = PEER, .dst = group ? group : ALL_HOSTS, .proto = IPPROTO_IGMP, .ttl = 1},
		igmp, len));
	rig_cycle();
}

/* ---- hearing */

Test(group, is_heard_by_those_who_joined)
{
	uint32_t a = rig_bound(0, PORT);

	cr_assert_not(hears(a, GROUP));
	cr_assert(hears(a, ALL_HOSTS), "nobody has to join that");
	cr_assert_eq(option(a, MCAST_JOIN_GROUP, of(GROUP)), 0);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), -EADDRINUSE);
	cr_assert(hears(a, GROUP));
	cr_assert_not(hears(a, OTHER));
	cr_assert_eq(option(a, MCAST_LEAVE_GROUP, of(GROUP)), 0);
	cr_assert_eq(option(a, IP_DROP_MEMBERSHIP, of(GROUP)), -EADDRNOTAVAIL);
	cr_assert_not(hears(a, GROUP));
}

Test(group, is_heard_by_all_sockets_of_the_port)
{
	uint32_t a = rig_udp_socket(), b = rig_udp_socket();
	struct endpoint any = rig_ep(0, PORT), group = rig_ep(GROUP, PORT);

	rig_flag(a, SOCK_F_REUSEADDR);
	rig_flag(b, SOCK_F_REUSEADDR);
	cr_assert_eq(udp_ops.bind(&rig.s, a, &any), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, b, &group), 0);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert(hears(a, GROUP));
	cr_assert(got(b, "x", 1, NULL), "its host has joined");
	cr_assert_eq(put(b, IPPROTO_IP, IP_MULTICAST_ALL, 0), 0);
	cr_assert(hears(a, GROUP));
	cr_assert_not(got(b, "x", 1, NULL));
}

Test(group, is_heard_from_wanted_sources)
{
	uint32_t a = rig_bound(0, PORT), b = 0;

	cr_assert_eq(sourced(a, IP_BLOCK_SOURCE, GROUP, PEER), -EINVAL, "not joined");
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert_eq(sourced(a, IP_BLOCK_SOURCE, GROUP, PEER), 0);
	cr_assert_not(hears(a, GROUP));
	cr_assert(hears_from(a, GROUP, PEER + 9));
	cr_assert_eq(sourced(a, IP_ADD_SOURCE_MEMBERSHIP, GROUP, PEER), -EINVAL, "the other mode");
	cr_assert_eq(sourced(a, IP_UNBLOCK_SOURCE, GROUP, PEER), 0);
	cr_assert_eq(sourced(a, IP_UNBLOCK_SOURCE, GROUP, PEER), -EADDRNOTAVAIL);
	cr_assert(hears(a, GROUP));
	cr_assert_eq(option(a, IP_DROP_MEMBERSHIP, of(GROUP)), 0);
	for (; b < GROUP_SOURCES; b++)
		cr_assert_eq(sourced(a, IP_ADD_SOURCE_MEMBERSHIP, GROUP, PEER + 9 - b), 0);
	cr_assert_eq(sourced(a, IP_ADD_SOURCE_MEMBERSHIP, GROUP, PEER + 70), -ENOBUFS);
	cr_assert(hears(a, GROUP));
	cr_assert_not(hears_from(a, GROUP, PEER + 70));
	while (b--)
		cr_assert_eq(sourced(a, IP_DROP_SOURCE_MEMBERSHIP, GROUP, PEER + 9 - b), 0);
	cr_assert_eq(state_count(rig.s.state, KIND_MEMBER), 0, "the last one was the membership");
}

Test(group, filters_are_set_and_told_whole)
{
	struct cm_group g = of(GROUP);
	uint32_t a = rig_bound(0, PORT), len = sizeof(g);

	g.mode = GROUP_INCLUDE;
	g.sources = 2;
	g.source[0] = htonl(PEER + 3);
	g.source[1] = htonl(PEER);
	cr_assert_eq(option(a, MCAST_MSFILTER, g), -EINVAL, "not joined");
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert_eq(option(a, MCAST_MSFILTER, g), 0);
	cr_assert(hears(a, GROUP));
	cr_assert_not(hears_from(a, GROUP, PEER + 9));
	g.sources = 0;
	cr_assert_eq(udp_ops.getsockopt(&rig.s, a, IPPROTO_IP, MCAST_MSFILTER, &g, &len), 0);
	cr_assert_eq(g.sources, 2);
	cr_assert_eq(g.mode, GROUP_INCLUDE);
	cr_assert_eq(g.source[0], htonl(PEER));
	g.sources = CM_GROUP_SOURCES + 1; /* what no library sends */
	cr_assert_eq(option(a, MCAST_MSFILTER, g), -ENOBUFS);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, a, IPPROTO_IP, MCAST_MSFILTER, &g, sizeof(g) - 1), -EINVAL);
	g.sources = 0;
	cr_assert_eq(option(a, IP_MSFILTER, g), 0, "nothing wanted: left");
	cr_assert_eq(state_count(rig.s.state, KIND_MEMBER), 0);
}

Test(group, limits)
{
	uint32_t a = rig_bound(0, PORT);
	struct cm_group g = of(GROUP);

	for (uint32_t i = 0; i < GROUPS_MAX; i++)
		cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP + i)), 0);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP + GROUPS_MAX)), -ENOBUFS);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(HOST)), -EINVAL);
	g.ifindex = 99;
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, g), -ENODEV);
	g.ifindex = 0;
	g.interface = htonl(0xc0000201);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, g), -ENODEV);
	g.interface = 0; /* by the default route */
	g.group = htonl(OTHER + 50);
	cr_assert_eq(option(rig_bound(0, PORT + 1), IP_ADD_MEMBERSHIP, g), 0);
	sock_free(&rig.s, a);
	cr_assert_eq(state_count(rig.s.state, KIND_MEMBER), 1);
}

/* ---- sending */

Test(group, is_sent_to_its_mac_and_heard_here)
{
	uint32_t a = rig_bound(0, PORT), b = rig_bound(0, PORT + 1);
	struct endpoint to = rig_ep(GROUP, PORT);
	struct ipv4_header h;
	struct udp_header u;
	struct cm_dgram d;

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	rig_drain();
	cr_assert_eq(rig_send(b, &to, "out", 3), 0);
	rig_cycle();
	cr_assert_gt(sent_udp(&h, &u), 0);
	cr_assert_eq(h.ttl, 1);
	cr_assert_eq(h.src, HOST);
	cr_assert(got(a, "out", 3, &d));
	cr_assert_eq(d.ifindex, rig.dev + 1, "as from the device it left by");
	cr_assert_eq(put(b, IPPROTO_IP, IP_MULTICAST_LOOP, 0), 0);
	cr_assert_eq(rig_send(b, &to, "out", 3), 0);
	rig_cycle();
	cr_assert_not(got(a, "out", 3, NULL));
	cr_assert_gt(sent_udp(&h, &u), 0);
	cr_assert_eq(put(b, IPPROTO_IP, IP_MULTICAST_LOOP, 1), 0);
	cr_assert_eq(put(b, IPPROTO_IP, IP_MULTICAST_TTL, 0), 0);
	cr_assert_eq(rig_send(b, &to, "out", 3), 0);
	rig_cycle();
	cr_assert(got(a, "out", 3, NULL));
	cr_assert_eq(sent_udp(&h, &u), 0, "not beyond this host");
}

/* ---- the routers */

Test(group, joining_and_leaving_is_told_twice)
{
	uint32_t a = rig_bound(0, PORT), b = rig_bound(0, PORT + 1);
	unsigned sources;

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert_eq(option(b, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, &sources), IGMP_TO_EXCLUDE);
	cr_assert_eq(sources, 0);
	cr_assert_eq(told(GROUP, NULL), -1, "the second one changes nothing");
	rig_advance(NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), IGMP_TO_EXCLUDE);
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), -1);
	sock_free(&rig.s, a);
	rig_cycle();
	cr_assert_eq(told(GROUP, NULL), -1, "one is left");
	sock_free(&rig.s, b);
	rig_cycle();
	cr_assert_eq(told(GROUP, NULL), IGMP_TO_INCLUDE);
	rig_advance(NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), IGMP_TO_INCLUDE);
	cr_assert_eq(state_count(rig.s.state, KIND_GROUP), 0);
}

Test(group, sources_are_merged)
{
	uint32_t a = rig_bound(0, PORT), b = rig_bound(0, PORT + 1);
	unsigned sources;

	cr_assert_eq(sourced(a, IP_ADD_SOURCE_MEMBERSHIP, GROUP, PEER), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, &sources), IGMP_TO_INCLUDE);
	cr_assert_eq(sources, 1);
	cr_assert_eq(sourced(b, IP_ADD_SOURCE_MEMBERSHIP, GROUP, PEER + 1), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, &sources), IGMP_TO_INCLUDE);
	cr_assert_eq(sources, 2);
	sock_free(&rig.s, b);
	b = rig_bound(0, PORT + 2);
	rig_cycle();
	rig_drain();
	cr_assert_eq(option(b, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert_eq(sourced(b, IP_BLOCK_SOURCE, GROUP, PEER + 4), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, &sources), IGMP_TO_EXCLUDE);
	cr_assert_eq(told(GROUP, &sources), IGMP_TO_EXCLUDE);
	cr_assert_eq(sources, 1);
	cr_assert_eq(sourced(b, IP_BLOCK_SOURCE, GROUP, PEER), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, NULL), -1, "the other one wants it: the whole is the same");
}

Test(group, queries_are_answered_in_time)
{
	uint32_t a = rig_bound(0, PORT);

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	rig_advance(5 * NSEC_PER_SEC);
	rig_drain();
	message(IGMP_QUERY, 100, 0, 12);
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), IGMP_IS_EXCLUDE);
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), -1, "once");
	message(IGMP_QUERY, 10, GROUP, 12);
	rig_advance(NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), IGMP_IS_EXCLUDE);
	message(IGMP_QUERY, 10, OTHER, 12);
	rig_advance(NSEC_PER_SEC);
	cr_assert_eq(told(GROUP, NULL), -1);
}

Test(group, an_older_router_is_spoken_to_as_it_speaks)
{
	uint32_t a = rig_bound(0, PORT);

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	rig_advance(5 * NSEC_PER_SEC);
	rig_drain();
	message(IGMP_QUERY, 100, 0, IGMP_LEN);
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(said(GROUP, GROUP), IGMP_V2_REPORT);
	message(IGMP_QUERY, 100, 0, IGMP_LEN);
	message(IGMP_V2_REPORT, 0, GROUP, IGMP_LEN);
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(said(GROUP, GROUP), -1, "another host has answered");
	message(IGMP_QUERY, 100, 0, IGMP_LEN);
	rig_restart();
	rig_advance(10 * NSEC_PER_SEC);
	cr_assert_eq(said(GROUP, GROUP), IGMP_V2_REPORT, "the successor answers what was asked");
	cr_assert_eq(option(a, IP_DROP_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	cr_assert_eq(said(ALL_ROUTERS, GROUP), IGMP_LEAVE);
	cr_assert_eq(state_count(rig.s.state, KIND_GROUP), 0);
	message(IGMP_QUERY, 0, 0, IGMP_LEN);
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(OTHER)), 0);
	rig_cycle();
	cr_assert_eq(said(OTHER, OTHER), IGMP_V1_REPORT);
	rig_advance(300 * NSEC_PER_SEC);
	rig_drain();
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, NULL), IGMP_TO_EXCLUDE, "it has not been heard for long");
}

/* ---- restarts */

Test(group, survives_a_restart)
{
	uint32_t a = rig_bound(0, PORT), b = rig_bound(0, PORT + 1);

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	cr_assert_eq(sourced(b, IP_ADD_SOURCE_MEMBERSHIP, OTHER, PEER), 0);
	rig_cycle();
	rig_drain();
	rig_restart();
	cr_assert(hears(a, GROUP));
	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), -EADDRINUSE);
	rig_advance(NSEC_PER_SEC);
	cr_assert_geq(rig_sent(buf, sizeof(buf)), 24, "the second telling is the successor's");
	cr_assert_geq(rig_sent(buf, sizeof(buf)), 24);
	cr_assert_eq(option(a, IP_DROP_MEMBERSHIP, of(GROUP)), 0); /* never committed */
	rig_restart();
	cr_assert(hears(a, GROUP));
	sock_free(&rig.s, a);
	rig_cycle();
	rig_restart();
	cr_assert_eq(state_count(rig.s.state, KIND_MEMBER), 1);
}

/* A membership whose socket was lost goes, and the routers hear of it. */
Test(group, does_not_outlive_its_socket)
{
	uint32_t a = rig_bound(0, PORT);

	cr_assert_eq(option(a, IP_ADD_MEMBERSHIP, of(GROUP)), 0);
	rig_cycle();
	rig_drain();
	state_free(rig.s.state, KIND_SOCK, a);
	rig_cycle();
	rig_restart();
	cr_assert_eq(state_count(rig.s.state, KIND_MEMBER), 0);
	rig_cycle();
	cr_assert_eq(told(GROUP, NULL), IGMP_TO_INCLUDE);
}
