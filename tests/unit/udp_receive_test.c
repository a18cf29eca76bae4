/* Datagrams that come in: checked, to the right socket, in order, once. */
#include "ip_rig.h"
#include "udp_fixture.h"

TestSuite(udp, .init = rig_open, .fini = rig_close);

Test(udp, receives)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h;

	rig_cycle();
	rig_receive_udp(PEER, 99, HOST, PORT, "hello", 5);
	rig_receive_udp(PEER, 98, HOST, PORT, "", 0);
	rig_cycle();
	cr_assert(got(sk, "hello", 5, &h));
	cr_assert_eq(h.peer.port, 99);
	cr_assert_eq(ipaddr_to_v4(&h.peer.addr), PEER);
	cr_assert_eq(ipaddr_to_v4(&h.local.addr), HOST);
	cr_assert_eq(h.local.port, PORT);
	cr_assert_eq(h.ifindex, rig.dev + 1);
	cr_assert_eq(h.ttl, 64);
	cr_assert(got(sk, "", 0, &h));
	cr_assert_not(got(sk, "", 0, &h));
}

Test(udp, checks_header_and_checksum)
{
	uint32_t sk = rig_bound(0, PORT), n;
	struct ipv4_header h = {.src = PEER, .dst = HOST, .proto = IPPROTO_UDP};
	uint8_t udp[256], bad[256], ip[512];

	rig_cycle();
	n = rig_udp(udp, PEER, 1, HOST, PORT, "0123456789", 10);
	for (uint32_t i = 0; i < n; i++) {
		if (i == 2 || i == 3)
			continue; /* another port */
		memcpy(bad, udp, n);
		bad[i] ^= 0x11;
		rig_receive(ip, rig_ip(ip, h, bad, n));
	}
	for (uint32_t cut = 0; cut < n; cut++)
		rig_receive(ip, rig_ip(ip, h, udp, cut));
	rig_cycle();
	cr_assert_not(got(sk, "", 0, NULL));
	cr_assert_eq(rig.s.count.udp_bad, n - 2 + n);
	cr_assert_eq(sock_peek(&rig.s, sk)->drops, 0);
	udp[6] = udp[7] = 0; /* no checksum at all */
	rig_receive(ip, rig_ip(ip, h, udp, n));
	rig_cycle();
	cr_assert(got(sk, "0123456789", 10, NULL));
	/* A bad checksum to a port that nobody has is not answered. */
	n = rig_udp(udp, PEER, 1, HOST, PORT + 1, "x", 1);
	udp[8] ^= 1;
	rig_receive(ip, rig_ip(ip, h, udp, n));
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

/* The ring fills, drops, and wraps many times with fillers; order and content hold. */
Test(udp, the_ring_wraps_and_fills)
{
	uint32_t sk = rig_bound(0, PORT), sent = 0, taken = 0;
	struct cm_dgram h;

	fill_data();
	rig_cycle();
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 100; i++, sent++) {
			uint32_t len = 4 + (sent * 37) % 1400;

			memcpy(data, &sent, 4);
			rig_receive_udp(PEER, 9, HOST, PORT, data, len);
		}
		rig_cycle();
		for (unsigned i = 0; i < 100; i++, taken++) {
			uint32_t nr;

			cr_assert(rig_recv(sk, &h, buf, sizeof(buf)));
			memcpy(&nr, buf, 4);
			cr_assert_eq(nr, taken);
			cr_assert_eq(h.len, 4 + (taken * 37) % 1400);
			cr_assert_eq(memcmp(buf + 4, data + 4, h.len - 4), 0);
		}
		rig_commit(); /* or the successor would have to be told again what was taken */
		if (round % 20 == 7)
			rig_restart();
	}
	cr_assert_eq(sock_peek(&rig.s, sk)->drops, 0);
	cr_assert_gt(sock_peek(&rig.s, sk)->rx_tail, 10u * 262144);
	for (unsigned i = 0; i < 250; i++) { /* more than there is room for */
		if (i % 100 == 0)
			rig_cycle();
		rig_receive_udp(PEER, 9, HOST, PORT, data, 1400);
	}
	rig_cycle();
	for (taken = 0; rig_recv(sk, &h, buf, sizeof(buf));)
		taken++;
	cr_assert_eq(taken + sock_peek(&rig.s, sk)->drops, 250);
	cr_assert_gt(sock_peek(&rig.s, sk)->drops, 50);
	cr_assert_eq(rig.s.count.udp_full, sock_peek(&rig.s, sk)->drops);
}

Test(udp, exactly_once_over_a_death_at_any_step)
{
	uint32_t sk = rig_bound(0, PORT);
	uint8_t nr = 0, want = 0;
	struct cm_dgram h;

	rig_cycle();
	for (unsigned i = 0; i < 40; i++) {
		rig_receive_udp(PEER, 1, HOST, PORT, &nr, 1);
		nr++;
		if (i % 4 != 3)
			rig_work();
		if (i % 4 == 2)
			rig_commit();
		if (i % 4 == 1) { /* died after the commit, before speaking */
			state_commit(rig.s.state);
			memories_commit(rig.s.mem);
		}
		rig_restart();
		device_speak(&rig.s, true);
		rig_cycle();
		while (rig_recv(sk, &h, buf, sizeof(buf)))
			cr_assert_eq(buf[0], want++);
		rig_cycle();
	}
	cr_assert_eq(want, 40);
}

Test(udp, broadcast_reaches_everybody)
{
	uint32_t a = rig_udp_socket(), b = rig_udp_socket(), c = rig_udp_socket(),
		 d = rig_bound(0, PORT + 1);
	struct endpoint any = rig_ep(0, PORT), host = rig_ep(HOST, PORT),
			all = rig_ep(0x0a6300ff, PORT);

	rig_flag(a, SOCK_F_REUSEADDR);
	rig_flag(b, SOCK_F_REUSEADDR);
	rig_flag(c, SOCK_F_REUSEADDR);
	cr_assert_eq(udp_ops.bind(&rig.s, a, &any), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, b, &host), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, c, &all), 0);
	rig_cycle();
	rig_receive_udp(PEER, 1, 0x0a6300ff, PORT, "b", 1);
	rig_cycle();
	cr_assert(got(a, "b", 1, NULL));
	cr_assert_not(got(b, "b", 1, NULL)); /* bound to the host's own address */
	cr_assert(got(c, "b", 1, NULL));
	cr_assert_not(got(d, "b", 1, NULL));
	/* Our own broadcast is heard here, too. */
	all.port = PORT;
	cr_assert_eq(rig_send(d, &all, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, d)->err, EACCES);
	rig_flag(d, SOCK_F_BROADCAST);
	cr_assert_eq(rig_send(d, &all, "x", 1), 0);
	rig_cycle();
	cr_assert(got(a, "x", 1, NULL));
	cr_assert(got(c, "x", 1, NULL));
	cr_assert_gt(rig_sent(buf, sizeof(buf)), 0);
}

Test(udp, of_equals_the_newest_gets_it)
{
	uint32_t a = rig_udp_socket(), b = rig_udp_socket();
	struct endpoint any = rig_ep(0, PORT);

	rig_flag(a, SOCK_F_REUSEADDR);
	rig_flag(b, SOCK_F_REUSEADDR);
	cr_assert_eq(udp_ops.bind(&rig.s, b, &any), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, a, &any), 0);
	rig_cycle();
	for (int i = 0; i < 2; i++) {
		rig_receive_udp(PEER, 1, HOST, PORT, "x", 1);
		rig_cycle();
		cr_assert(got(a, "x", 1, NULL));
		cr_assert_not(got(b, "x", 1, NULL));
		rig_restart();
	}
}
