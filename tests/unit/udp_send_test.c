/* Datagrams that go out: after the commit, once, whole or in fragments. */
#include "ip_rig.h"
#include "udp_fixture.h"

TestSuite(udp, .init = rig_open, .fini = rig_close);

Test(udp, sends_and_binds_itself)
{
	struct endpoint to = rig_ep(PEER, 53);
	struct ipv4_header h;
	struct udp_header u;
	uint32_t sk = rig_udp_socket();

	cr_assert_eq(rig_send(sk, &to, "query", 5), 0);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0); /* not before the commit */
	rig_commit();
	cr_assert_eq(sent_udp(&h, &u), 33);
	cr_assert_eq(h.src, HOST);
	cr_assert_eq(h.dst, PEER);
	cr_assert(h.dont_fragment);
	cr_assert_eq(u.dst, 53);
	cr_assert_eq(u.src, sock_peek(&rig.s, sk)->local.port);
	cr_assert_geq(u.src, 32768);
	cr_assert_eq(memcmp(buf + 28, "query", 5), 0);
	/* And it receives on that port. */
	rig_cycle();
	rig_receive_udp(PEER, 53, HOST, u.src, "answer", 6);
	rig_cycle();
	cr_assert(got(sk, "answer", 6, NULL));
}

Test(udp, nothing_is_sent_before_or_twice_over_a_death)
{
	struct endpoint to = rig_ep(PEER, 53);
	struct ipv4_header h;
	struct udp_header u;
	uint32_t sk = rig_bound(0, PORT), n = 0;
	uint64_t tail;

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	rig_cycle();
	for (uint8_t i = 0; i < 12; i++) {
		cr_assert_eq(rig_send(sk, &to, &i, 1), 0);
		tail = sock_peek(&rig.s, sk)->tx_tail;
		if (i % 3 == 0) { /* died before the commit: the successor pokes again */
			rig_restart();
			cr_assert_eq(sock_peek(&rig.s, sk)->tx_head, tail - 128);
			cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, tail), 0);
		}
		if (i % 3 == 1) { /* after it, before speaking */
			state_commit(rig.s.state);
			rig_restart();
			device_speak(&rig.s, true);
			cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, tail), 0);
		}
		rig_cycle();
		while (sent_udp(&h, &u)) {
			cr_assert_eq(buf[28], i);
			n++;
		}
		rig_cycle();
	}
	cr_assert_eq(n, 12);
}

Test(udp, errors_of_a_send)
{
	struct endpoint to = rig_ep(PEER, 53), bad = rig_ep(0, 0);
	struct route_rec def = {.dev = NO_INDEX};
	uint32_t sk = rig_bound(0, PORT);

	cr_assert_eq(rig_send(sk, NULL, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EDESTADDRREQ);
	cr_assert_eq(sock_peek(&rig.s, sk)->err_seq, 1);
	bad = rig_ep(PEER, 0);
	cr_assert_eq(rig_send(sk, &bad, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EINVAL);
	cr_assert_eq(rig_send(sk, &to, data, 65508), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EMSGSIZE);
	route_delete(&rig.s, &def);
	bad = rig_ep(0x08080808, 53);
	cr_assert_eq(rig_send(sk, &bad, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, ENETUNREACH);
	memset(&bad.addr, 0xfe, sizeof(bad.addr));
	cr_assert_eq(rig_send(sk, &bad, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EAFNOSUPPORT);
	cr_assert_eq(sock_peek(&rig.s, sk)->err_seq, 5);
	cr_assert_eq(sock_peek(&rig.s, sk)->tx_head, sock_peek(&rig.s, sk)->tx_tail);
	rig_commit();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(udp, long_datagrams_are_fragmented_unless_forbidden)
{
	struct endpoint to = rig_ep(PEER, 53);
	uint32_t sk = rig_bound(0, PORT), total = 0, n;
	int v = IP_PMTUDISC_DO;
	uint32_t len = sizeof(v);

	fill_data();
	cr_assert_eq(rig_send(sk, &to, data, 60000), 0);
	rig_commit();
	while ((n = rig_sent(buf, sizeof(buf)))) {
		for (uint32_t i = 0; i < n - 20; i++)
			if (total + i >= 8)
				cr_assert_eq(buf[20 + i], data[total + i - 8]);
		total += n - 20;
	}
	cr_assert_eq(total, 60008);
	rig_cycle();
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, IPPROTO_IP, IP_MTU_DISCOVER, &v, len), 0);
	cr_assert_eq(rig_send(sk, &to, data, 1473), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EMSGSIZE);
	cr_assert_eq(rig_send(sk, &to, data, 1472), 0);
	rig_commit();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 1500);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(udp, lo_carries_the_largest_datagram)
{
	uint32_t a = rig_bound(0, PORT), b = rig_bound(LOOPBACK, PORT + 1);
	struct endpoint to = rig_ep(LOOPBACK, PORT + 1);
	struct cm_dgram h;

	fill_data();
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(rig_send(a, &to, data, UDP_PAYLOAD_MAX), 0);
		rig_cycle();
		cr_assert(got(b, data, UDP_PAYLOAD_MAX, &h));
		cr_assert_eq(ipaddr_to_v4(&h.peer.addr), LOOPBACK);
		cr_assert_eq(h.peer.port, PORT);
	}
	to = rig_ep(HOST, 1); /* a closed port of our own */
	cr_assert_eq(udp_ops.connect(&rig.s, a, &to), 0);
	cr_assert_eq(rig_send(a, NULL, "x", 1), 0);
	rig_cycle();
	cr_assert_eq(sock_peek(&rig.s, a)->err, ECONNREFUSED);
}

Test(udp, a_full_device_stops_the_walk_and_goes_on)
{
	struct endpoint to = rig_ep(PEER, 53);
	uint32_t sk = rig_bound(0, PORT), seen = 0, nr;
	struct ipv4_header h;
	struct udp_header u;

	for (nr = 0; nr < 600; nr++)
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	cr_assert_neq(sock_peek(&rig.s, sk)->tx_head, sock_peek(&rig.s, sk)->tx_tail);
	rig_commit();
	for (unsigned round = 0; round < 20; round++) {
		while (sent_udp(&h, &u)) {
			memcpy(&nr, buf + 28, sizeof(nr));
			cr_assert_eq(nr, seen++);
		}
		if (round == 1)
			rig_restart(); /* what waits is a fact */
		if (round == 3) {
			rig_work();
			sock_resume(&rig.s);
			rig_commit();
		}
		rig_advance(2 * NSEC_PER_MSEC);
		rig_cycle();
	}
	cr_assert_eq(seen, 600);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, 0);
}

Test(udp, a_closed_socket_sends_what_was_written)
{
	struct endpoint to = rig_ep(PEER, 53);
	uint32_t sk = rig_bound(0, PORT), seen = 0;
	struct ipv4_header h;
	struct udp_header u;

	for (uint32_t nr = 0; nr < 400; nr++)
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	sock_get(&rig.s, sk)->flags |= SOCK_F_ORPHAN;
	sock_get(&rig.s, sk)->session = NO_INDEX;
	udp_ops.close(&rig.s, sk, false);
	cr_assert(sock_peek(&rig.s, sk));
	rig_commit();
	rig_restart();
	for (unsigned round = 0; round < 20; round++) {
		while (sent_udp(&h, &u))
			seen++;
		rig_advance(2 * NSEC_PER_MSEC);
		rig_cycle();
	}
	cr_assert_eq(seen, 400);
	cr_assert_not(sock_peek(&rig.s, sk));
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), 0);
}

/* IP_UNICAST_IF: by that device, whatever the routes say, across a restart; not to ourselves. */
Test(udp, goes_by_the_device_that_was_named)
{
	struct endpoint to = rig_ep(0x08080808, 53), own = rig_ep(HOST, PORT);
	struct route_rec def = {.dev = NO_INDEX};
	uint32_t sk = rig_bound(0, PORT), err;

	route_delete(&rig.s, &def);
	cr_assert_eq(rig_send(sk, &to, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, ENETUNREACH);
	err = sock_peek(&rig.s, sk)->err_seq;
	cr_assert_eq(put(sk, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(77)), -EADDRNOTAVAIL);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(rig.dev + 1)), 0);
	rig_cycle();
	rig_restart();
	cr_assert_eq(rig_send(sk, &to, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err_seq, err);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 46, "it asks the link for the address: ARP, padded");
	cr_assert_eq(rig_send(sk, &own, "own", 3), 0);
	rig_cycle();
	cr_assert(got(sk, "own", 3, NULL));
	cr_assert_eq(put(sk, IPPROTO_IP, IP_UNICAST_IF, 0), 0);
	cr_assert_eq(rig_send(sk, &to, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err_seq, err + 1);
}
