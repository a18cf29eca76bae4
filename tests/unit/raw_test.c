/* Raw and ping sockets: what they see, what they send, restarts. */
#include "ip_rig.h"
#include "raw_rig.h"
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

TestSuite(raw, .init = rig_open, .fini = rig_close);

Test(raw, sees_its_protocol_with_the_header)
{
	uint32_t icmp = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP),
		 udp = open_socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	struct cm_dgram h;

	rig_cycle();
	receive_icmp(0, 77, "reply");
	cr_assert(rig_recv(icmp, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 20 + 8 + 5);
	cr_assert_eq(memcmp(buf, ip, h.len), 0);
	cr_assert_eq(ipaddr_to_v4(&h.peer.addr), PEER);
	cr_assert_eq(h.peer.port, 0);
	cr_assert_eq(h.ttl, 61);
	cr_assert(empty(icmp));
	cr_assert(empty(udp));
	/* The stack answers all the same. */
	rig_drain();
	receive_icmp(8, 5, "request");
	cr_assert(rig_recv(icmp, &h, buf, sizeof(buf)));
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 20 + 8 + 7);
	cr_assert_eq(buf[20], 0);
}

Test(raw, a_protocol_that_only_it_wants)
{
	uint32_t sk;

	rig_cycle();
	rig_drain();
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_cycle();
	cr_assert_gt(rig_sent(buf, sizeof(buf)), 0, "protocol unreachable");
	sk = open_socket(AF_INET, SOCK_RAW, 200);
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
	cr_assert(!empty(sk));
}

Test(raw, names_and_icmp_filter_choose)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct endpoint other = rig_ep(PEER + 7, 0), peer = rig_ep(PEER, 0),
			strange = rig_ep(0x08080808, 0);

	cr_assert_eq(raw_ops.connect(&rig.s, sk, &other), 0);
	receive_icmp(0, 1, "x");
	cr_assert(empty(sk));
	cr_assert_eq(raw_ops.connect(&rig.s, sk, &peer), 0);
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
	cr_assert_eq(raw_ops.bind(&rig.s, sk, &strange), -EADDRNOTAVAIL);
	set(sk, SOL_RAW, ICMP_FILTER, 1 << 0);
	receive_icmp(0, 1, "x");
	cr_assert(empty(sk));
	receive_icmp(8, 1, "x");
	cr_assert(!empty(sk));
}

Test(raw, fragments_are_seen_whole)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 200);
	struct ipv4_header h = {
	    .src = PEER, .dst = HOST, .proto = 200, .id = 9, .more_fragments = true};
	struct cm_dgram d;

	rig_cycle();
	rig_receive(ip, rig_ip(ip, h, "01234567", 8));
	h.more_fragments = false;
	h.frag_off = 8;
	rig_receive(ip, rig_ip(ip, h, "89", 2));
	rig_cycle();
	cr_assert(rig_recv(sk, &d, buf, sizeof(buf)));
	cr_assert_eq(d.len, 30);
	cr_assert_eq(memcmp(buf + 20, "0123456789", 10), 0);
	cr_assert_eq(buf[3], 30);
	cr_assert_eq(buf[6] | buf[7], 0);
	cr_assert_eq(csum(buf, 20, 0), 0xffff);
}

Test(raw, sends)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 200),
		 own = open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	struct endpoint to = rig_ep(PEER, 0);
	uint8_t whole[24] = {0x45, 0, 99, 99, 0, 0, 0, 0, 33, 201, 1, 1, 0, 0, 0, 0, 10, 99, 0, 77,
	    'w', 'x', 'y', 'z'};
	struct ipv4_header h;

	rig_cycle();
	rig_drain();
	set(sk, IPPROTO_IP, IP_TTL, 3);
	cr_assert_eq(rig_send(sk, &to, "hello", 5), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 25);
	cr_assert_eq(ipv4_parse(&h, buf, 25), 0);
	cr_assert_eq(h.ttl, 3);
	cr_assert_eq(h.proto, 200);
	cr_assert_eq(h.src, HOST);
	/* Its own header: destination and the rest as written, four fields ours; sent where the
	 * call says. */
	cr_assert_eq(rig_send(own, &to, whole, sizeof(whole)), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 24);
	cr_assert_eq(ipv4_parse(&h, buf, 24), 0);
	cr_assert_eq(h.total_len, 24);
	cr_assert_eq(h.src, HOST);
	cr_assert_eq(h.dst, 0x0a63004d);
	cr_assert_eq(h.ttl, 33);
	cr_assert_neq(h.id, 0);
	cr_assert(ipv4_checksum_ok(buf, 20));
	cr_assert_eq(sock_peek(&rig.s, own)->err, 0);
	whole[0] = 0x4f; /* a header longer than the packet */
	cr_assert_eq(rig_send(own, &to, whole, sizeof(whole)), 0);
	cr_assert_eq(sock_peek(&rig.s, own)->err, EINVAL);
	cr_assert_eq(rig_send(own, &to, ip, 1501), 0);
	cr_assert_eq(sock_peek(&rig.s, own)->err, EMSGSIZE);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

/* ---- ping */

Test(raw, ping_gets_its_own_replies_only)
{
	uint32_t a = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
		 b = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct endpoint to = rig_ep(PEER, 0), mine = rig_ep(0, 4711);
	uint8_t msg[64];
	uint32_t n = icmp_message(msg, 8, 1, 7, "data", 4);
	struct cm_dgram h;
	uint16_t id;

	cr_assert_eq(ping_ops.bind(&rig.s, b, &mine), 0);
	cr_assert_eq(ping_ops.bind(&rig.s, a, &mine), -EADDRINUSE);
	rig_cycle();
	rig_drain();
	cr_assert_eq(rig_send(a, &to, msg, n), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 20 + n);
	id = (uint16_t)(buf[24] << 8 | buf[25]);
	cr_assert_eq(id, sock_peek(&rig.s, a)->local.port, "the identifier is the socket's");
	cr_assert_eq(csum(buf + 20, n, 0), 0xffff);
	receive_icmp(0, id, "data");
	cr_assert(empty(b));
	cr_assert(rig_recv(a, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 12, "without the IP header");
	cr_assert_eq(memcmp(buf + 8, "data", 4), 0);
	receive_icmp(0, 4711, "data");
	cr_assert(!empty(b));
	receive_icmp(0, 4712, "data");
	cr_assert(empty(a) && empty(b));
	/* Nothing but an echo request goes out. */
	msg[0] = 13;
	cr_assert_eq(rig_send(a, &to, msg, n), 0);
	cr_assert_eq(sock_peek(&rig.s, a)->err, EINVAL);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

/* ---- restarts: exactly once to the reader, at most once to the wire */

Test(raw, a_death_before_the_commit_changes_nothing)
{
	uint32_t tap = open_socket(AF_PACKET, SOCK_DGRAM, ETH_P_IP),
		 raw = open_socket(AF_INET, SOCK_RAW, 200);
	struct endpoint to = rig_ep(PEER, 0);

	cr_assert_eq(rig_send(raw, &to, "first", 5), 0);
	rig_cycle();
	rig_drain();
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_work();
	rig_restart();
	cr_assert(empty(tap) && empty(raw), "not told before it is true");
	rig_cycle();
	cr_assert(!empty(tap) && !empty(raw), "and then once");
	cr_assert(empty(tap) && empty(raw));
	rig_commit();
	cr_assert_eq(rig_send(raw, &to, "hello", 5), 0);
	rig_restart();
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0,
	    "the client's poke was not committed: it will be looked at again");
	cr_assert_eq(raw_ops.poke(&rig.s, raw, sock_peek(&rig.s, raw)->rx_head,
			 sock_peek(&rig.s, raw)->tx_tail + 128),
	    0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 25);
	rig_restart();
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0, "once");
}

/* A source that is not ours, connected and not. */
static void speak_for_a_stranger(int option)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 99), foreign = 0xc0000209;
	struct endpoint from = rig_ep(foreign, 0), to = rig_ep(PEER, 0);
	struct ipv4_header h;
	int one = 1;

	cr_assert_eq(raw_ops.bind(&rig.s, sk, &from), -EADDRNOTAVAIL);
	cr_assert_eq(raw_ops.setsockopt(&rig.s, sk, IPPROTO_IP, option, &one, sizeof(one)), 0);
	cr_assert_eq(raw_ops.bind(&rig.s, sk, &from), 0);
	for (int connected = 0; connected < 2; connected++) {
		if (connected)
			cr_assert_eq(raw_ops.connect(&rig.s, sk, &to), 0);
		cr_assert_eq(rig_send(sk, connected ? NULL : &to, "data", 4), 0);
		rig_cycle();
		cr_assert_eq(rig_sent(buf, sizeof(buf)), 24);
		cr_assert_eq(ipv4_parse(&h, buf, 24), 0);
		cr_assert_eq(h.src, foreign);
		cr_assert_eq(h.dst, PEER);
	}
}

Test(raw, speaks_for_an_address_that_is_not_here_yet)
{
	speak_for_a_stranger(IP_FREEBIND);
}

Test(raw, speaks_for_others)
{
	speak_for_a_stranger(IP_TRANSPARENT);
}

Test(raw, shutdown_keeps_nothing_from_a_raw_socket)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct endpoint peer = rig_ep(PEER, 0);

	cr_assert_eq(raw_ops.shutdown(&rig.s, sk, SHUT_RD), -ENOTCONN);
	cr_assert_eq(raw_ops.connect(&rig.s, sk, &peer), 0);
	cr_assert_eq(raw_ops.shutdown(&rig.s, sk, SHUT_RDWR), 0);
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
	rig_drain();
	cr_assert_eq(rig_send(sk, &peer, "12345678", 8), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 28);
}

Test(raw, what_is_on_lo_is_for_us)
{
	uint32_t out = open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW),
		 in = open_socket(AF_INET, SOCK_RAW, 200);
	struct endpoint lo = rig_ep(LOOPBACK, 0);

	rig_commit();
	rig_send(out, &lo, ip,
	    rig_ip(ip, (struct ipv4_header){.src = LOOPBACK, .dst = 0x2a000000, .proto = 200},
		"abc", 3));
	rig_cycle();
	cr_assert(!empty(in));
}

Test(raw, ping_sockets_have_an_address_of_their_own)
{
	uint32_t sk = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct endpoint group = rig_ep(0xe0000001, 0), all = rig_ep(0xffffffff, 0),
			own = rig_ep(HOST, 0);

	cr_assert_eq(ping_ops.bind(&rig.s, sk, &group), -EADDRNOTAVAIL);
	cr_assert_eq(ping_ops.bind(&rig.s, sk, &all), -EADDRNOTAVAIL);
	cr_assert_eq(ping_ops.bind(&rig.s, sk, &own), 0);
}

Test(raw, what_waits_is_limited)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	set(sk, SOL_SOCKET, SO_RCVBUF, 0); /* the least there is */
	rig_commit();
	for (int i = 0; i < 100; i++)
		receive_icmp(0, 1, "x");
	cr_assert_gt(sock_peek(&rig.s, sk)->drops, 0);
	while (!empty(sk))
		;
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk), "room again");
}
