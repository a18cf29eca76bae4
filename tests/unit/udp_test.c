/* Datagram sockets: rings, lies, restarts, options, moves of rings. */
#include "ip_rig.h"
#include <sys/mman.h>

TestSuite(udp, .init = rig_open, .fini = rig_close);

#define PORT 5353

static uint8_t buf[70000], data[70000];

static uint8_t *tx_at(uint32_t sk, uint64_t pos)
{
	return (uint8_t *)rig.mem1 + ring_place_at(&sock_peek(&rig.s, sk)->tx, pos);
}

static void fill_data(void)
{
	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
}

static bool got(uint32_t sk, const void *want, uint32_t len, struct cm_dgram *h)
{
	struct cm_dgram d;

	if (!rig_recv(sk, &d, buf, sizeof(buf)))
		return false;
	if (h)
		*h = d;
	cr_assert_eq(d.len, len);
	return !memcmp(buf, want, len);
}

/* ---- receive */

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

/* ---- send */

static uint32_t sent_udp(struct ipv4_header *h, struct udp_header *u)
{
	uint32_t n = rig_sent(buf, sizeof(buf));
	struct ipaddr a, b;

	if (!n)
		return 0;
	cr_assert_eq(ipv4_parse(h, buf, n), 0);
	cr_assert_eq(udp_parse(u, buf + IPV4_LEN, n - IPV4_LEN), 0);
	a = ipaddr_v4(h->src);
	b = ipaddr_v4(h->dst);
	if (!h->more_fragments && !h->frag_off)
		cr_assert_eq(csum(buf + IPV4_LEN, n - IPV4_LEN,
				 ip_pseudo_sum(&a, &b, IPPROTO_UDP, n - IPV4_LEN)),
		    0xffff);
	return n;
}

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

/* ---- lies */

static void lie(uint32_t len, uint16_t flags, uint64_t written, int expect)
{
	uint32_t sk = rig_bound(0, 0);
	struct cm_dgram h = {.len = len, .flags = flags, .peer = rig_ep(PEER, 9)};
	int ret;

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, 0), &h, sizeof(h));
	ret = udp_ops.poke(&rig.s, sk, 0, written);
	cr_assert_eq(ret, expect, "len %u flags %u written %lu: %d", len, flags,
	    (unsigned long)written, ret);
	sock_free(&rig.s, sk);
	rig_cycle();
	rig_drain();
}

Test(udp, lies_cost_the_session)
{
	lie(64, 0, 128, 0);
	lie(65, 0, 128, -EPROTO);	  /* more than was written */
	lie(CM_DGRAM_MAX + 1, 0, 131072, -EPROTO);	  /* longer than a datagram can be */
	lie(UINT32_MAX, 0, 128, -EPROTO); /* would wrap */
	lie(UINT32_MAX - 63, 0, 128, -EPROTO);
	lie(0x01000000, 0, 128, -EPROTO);
	lie(0x7fffffff, CM_DGRAM_SKIP, 128, -EPROTO);
	lie(64, CM_DGRAM_CONFIRM << 1, 128, -EPROTO); /* unknown flag */
	lie(64, CM_DGRAM_MORE, 128, 0); /* its end is still to come */
	lie(262144, CM_DGRAM_SKIP, 262144, -EPROTO);
	lie(262144 - 64, CM_DGRAM_SKIP, 262144, 0);
	lie(0, 0, 63, -EPROTO);		   /* no multiple of the alignment */
	lie(0, 0, 262144 + 64, -EPROTO);   /* more than the ring holds */
	lie(0, 0, (uint64_t)-64, -EPROTO); /* backwards */
	lie(0, 0, UINT64_MAX / 2 + 1, -EPROTO);
}

Test(udp, receive_positions_that_cannot_be)
{
	uint32_t sk = rig_bound(0, PORT);

	rig_cycle();
	rig_receive_udp(PEER, 9, HOST, PORT, "x", 1);
	rig_cycle();
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 192, 0), -EPROTO); /* not there yet */
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 1, 0), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, (uint64_t)-64, 0), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 64), -EPROTO); /* no transmit ring at all */
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 128, 0), 0);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 64, 0), -EPROTO); /* backwards */
}

/* A datagram across the ring's end, and tails that go back. */
Test(udp, datagrams_lie_contiguous)
{
	uint32_t sk = rig_bound(0, 0);
	struct cm_dgram skip = {.len = 262144 - 128 - 64, .flags = CM_DGRAM_SKIP};
	struct cm_dgram h = {.len = 128, .peer = rig_ep(PEER, 9)};

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, 0), &skip, sizeof(skip));
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 - 128), 0);
	memcpy(tx_at(sk, 262144 - 128), &h, sizeof(h));
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 - 192), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 + 64), -EPROTO);
}

/* Random headers over and over: never a crash, never a position beyond the tail. */
Test(udp, random_rings)
{
	for (unsigned round = 0; round < 300; round++) {
		uint32_t sk = rig_bound(0, 0), r[4];
		const struct sock_rec *k;
		uint64_t tail;

		cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
		for (uint32_t off = 0; off < 8192; off += 64) {
			struct cm_dgram h;

			rig.s.random(NULL, &h, sizeof(h));
			rig.s.random(NULL, r, sizeof(r));
			if (r[0] % 8)
				h.len = r[1] % 300;
			if (r[0] % 16)
				h.flags = (uint16_t)(r[2] % 32 == 0);
			if (r[3] % 2)
				h.peer = rig_ep(PEER, 9);
			memcpy(tx_at(sk, off), &h, sizeof(h));
		}
		rig.s.random(NULL, r, sizeof(r));
		tail = r[0] % 8192 & ~63u;
		(void)udp_ops.poke(&rig.s, sk, 0, tail);
		k = sock_peek(&rig.s, sk);
		cr_assert_leq(k->tx_head, tail);
		sock_free(&rig.s, sk);
		rig_cycle();
		rig_drain();
	}
}

/* ---- connect */

Test(udp, connected_sockets_hear_their_peer_only)
{
	uint32_t any = rig_udp_socket(), conn = rig_udp_socket();
	struct endpoint ep = rig_ep(0, PORT), peer = rig_ep(PEER, 7);

	rig_flag(any, SOCK_F_REUSEADDR);
	rig_flag(conn, SOCK_F_REUSEADDR);
	cr_assert_eq(udp_ops.bind(&rig.s, any, &ep), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, conn, &ep), 0);
	cr_assert_eq(udp_ops.connect(&rig.s, conn, &peer), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, conn)->local.addr), HOST);
	rig_cycle();
	rig_restart();
	rig_receive_udp(PEER, 7, HOST, PORT, "7", 1);
	rig_receive_udp(PEER, 8, HOST, PORT, "8", 1);
	rig_cycle();
	cr_assert(got(conn, "7", 1, NULL));
	cr_assert_not(got(conn, "", 0, NULL));
	cr_assert(got(any, "8", 1, NULL));
	cr_assert_eq(udp_ops.disconnect(&rig.s, conn), 0);
	cr_assert(ipaddr_is_any(&sock_peek(&rig.s, conn)->local.addr));
	cr_assert_eq(sock_peek(&rig.s, conn)->local.port, PORT); /* the user chose it */
	rig_cycle();
	rig_receive_udp(PEER, 7, HOST, PORT, "7", 1);
	rig_cycle();
	cr_assert(got(conn, "7", 1, NULL)); /* the newest of equals */
}

Test(udp, connect_to_port_0_tells_the_source)
{
	uint32_t sk = rig_udp_socket();
	struct endpoint far = rig_ep(0x08080808, 0);
	struct sock_view v = {0};

	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->local.addr), HOST);
	udp_ops.publish(&rig.s, sk, &v);
	cr_assert(v.state & CM_ST_CONNECTED);
	far = rig_ep(0, 9); /* this host */
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->remote.addr), LOOPBACK);
	far = rig_ep(UINT32_MAX, 9);
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), -EACCES);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->remote.addr), LOOPBACK); /* as before */
	cr_assert_eq(udp_ops.disconnect(&rig.s, sk), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->local.port, 0);
}

Test(udp, mapped_addresses)
{
	uint32_t sk = rig_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
		 only = rig_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
	struct endpoint any = rig_ep(0, PORT), peer = rig_ep(PEER, 7);
	int on = 1;

	cr_assert_eq(udp_ops.bind(&rig.s, sk, &any), 0);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, sk, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), -EINVAL);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	cr_assert_eq(udp_ops.connect(&rig.s, only, &peer), -ENETUNREACH);
	rig_cycle();
	rig_receive_udp(PEER, 7, HOST, PORT, "m", 1);
	rig_cycle();
	cr_assert(got(sk, "m", 1, NULL));
	cr_assert_eq(rig_send(only, &peer, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, only)->err, ENETUNREACH);
	cr_assert_eq(rig_send(sk, &peer, "x", 1), 0);
	rig_commit();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 29);
}

/* ---- errors from outside */

static void icmp_in(uint8_t type, uint8_t code, uint16_t mtu, uint16_t sport, uint16_t dport)
{
	uint8_t inner[64], icmp[128] = {0}, ip[256], udp[64];
	struct icmp_header e = {.type = type, .code = code, .seq = mtu};
	uint32_t n = rig_udp(udp, HOST, sport, PEER, dport, "x", 1);

	n = rig_ip(
	    inner, (struct ipv4_header){.src = HOST, .dst = PEER, .proto = IPPROTO_UDP}, udp, n);
	memcpy(icmp + ICMP_LEN, inner, n);
	icmp_emit(&e, icmp, ICMP_LEN);
	e.checksum = csum_finish(csum(icmp, ICMP_LEN + n, 0));
	icmp_emit(&e, icmp, ICMP_LEN);
	n = rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_ICMP}, icmp,
	    ICMP_LEN + n);
	rig_receive(ip, n);
	rig_cycle();
}

Test(udp, icmp_errors)
{
	uint32_t conn = rig_bound(0, PORT), loose = rig_bound(0, PORT + 1);
	struct endpoint peer = rig_ep(PEER, 7);
	struct ipaddr to = ipaddr_v4(PEER);
	struct route r;

	cr_assert_eq(udp_ops.connect(&rig.s, conn, &peer), 0);
	rig_cycle();
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT, 8); /* not what we sent */
	cr_assert_eq(sock_peek(&rig.s, conn)->err, 0);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_HOST, 0, PORT, 7); /* soft */
	cr_assert_eq(sock_peek(&rig.s, conn)->err, 0);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT, 7);
	cr_assert_eq(sock_peek(&rig.s, conn)->err, ECONNREFUSED);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT + 1, 7);
	cr_assert_eq(sock_peek(&rig.s, loose)->err, 0); /* not connected */
	rig_flag(loose, SOCK_F_RECVERR);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_HOST, 0, PORT + 1, 7);
	cr_assert_eq(sock_peek(&rig.s, loose)->err, EHOSTUNREACH);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_FRAG_NEEDED, 1000, PORT, 7);
	cr_assert_eq(sock_peek(&rig.s, conn)->err, EMSGSIZE);
	cr_assert_eq(ip_route(&rig.s, &to, NULL, NO_INDEX, &r), 0);
	cr_assert_eq(r.mtu, 1000);
}

/* ---- options */

static int opt(uint32_t sk, int level, int name)
{
	int v = -1;
	uint32_t len = sizeof(v);
	int ret = udp_ops.getsockopt(&rig.s, sk, level, name, &v, &len);

	return ret ? ret : v;
}

static int put(uint32_t sk, int level, int name, int v)
{
	return udp_ops.setsockopt(&rig.s, sk, level, name, &v, sizeof(v));
}

Test(udp, options)
{
	uint32_t sk = rig_udp_socket(), len;
	struct linger l = {1, 5}, m;
	uint8_t byte = 7;
	char name[16];

	cr_assert_eq(opt(sk, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_DOMAIN), AF_INET);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 212992);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 100000), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 200000);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 1), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 2304);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_SNDBUF, INT32_MAX), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_SNDBUF), 2 * 4096 * 1024);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_REUSEADDR, 7), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_REUSEADDR), 1);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_TYPE, 7), -ENOPROTOOPT);
	cr_assert_eq(put(sk, SOL_SOCKET, 12345, 7), -ENOPROTOOPT);
	cr_assert_eq(opt(sk, SOL_SOCKET, 12345), -ENOPROTOOPT);
	cr_assert_eq(put(sk, IPPROTO_IPV6, IPV6_V6ONLY, 1), -ENOPROTOOPT);
	cr_assert_eq(put(sk, IPPROTO_UDP, 1, 1), -ENOPROTOOPT);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_REUSEADDR, &byte, 1), -EINVAL);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, IPPROTO_IP, IP_TTL, &byte, 1), 0);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_TTL), 7);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, 256), -EINVAL);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, 0), -EINVAL);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, -1), 0);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_TTL), 64);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_MTU_DISCOVER, 9), -EINVAL);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_MTU), -ENOTCONN);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	len = sizeof(m);
	cr_assert_eq(udp_ops.getsockopt(&rig.s, sk, SOL_SOCKET, SO_LINGER, &m, &len), 0);
	cr_assert(m.l_onoff == 1 && m.l_linger == 5);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, "nope", 5), -ENODEV);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, "tap0", 5), 0);
	len = sizeof(name);
	cr_assert_eq(udp_ops.getsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
	cr_assert_str_eq(name, "tap0");
}

/* ---- moves of rings */

Test(udp, the_receive_ring_moves_under_its_reader)
{
	uint32_t sk = rig_bound(0, PORT);
	struct ring_place old;
	uint64_t used;

	fill_data();
	rig_cycle();
	for (int i = 0; i < 20; i++)
		rig_receive_udp(PEER, 9, HOST, PORT, data + i, 1000);
	rig_cycle();
	old = sock_peek(&rig.s, sk)->rx;
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 1 << 20), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx.cap, 1 << 20);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx.epoch, old.epoch + 1);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx_old.off, old.off);
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 2 << 20, 0), -EBUSY);
	rig_cycle();
	rig_restart(); /* both places are claimed again */
	rig_receive_udp(PEER, 9, HOST, PORT, data + 20, 1000);
	rig_cycle();
	for (int i = 0; i < 21; i++)
		cr_assert(got(sk, data + i, 1000, NULL));
	used = memory_used(rig.s.mem, RIG_SESSION + 1);
	sock_epoch_ack(&rig.s, sk, old.epoch);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), used);
	sock_epoch_ack(&rig.s, sk, old.epoch + 1);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), used - old.cap);
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 2 << 20, 0), 0);
	sock_free(&rig.s, sk);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), 0);
}

Test(udp, adoption_moves_both_rings)
{
	uint32_t sk = rig_bound(0, PORT);
	struct sock_rec *k = sock_get(&rig.s, sk);

	sock_free(&rig.s, sk);
	rig_cycle();
	sk = rig_udp_socket();
	k = sock_get(&rig.s, sk);
	k->session = NO_INDEX; /* a child that nobody accepted yet */
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 4096, 64), 0);
	cr_assert_eq(sock_tx_ring(&rig.s, sk, 8192, 0), 0);
	cr_assert_eq(k->rx.mem, 0);
	k->rx_head = 64;
	k->rx_tail = 64 + 4096;
	fill_data();
	ring_write(rig.s.mem, &k->rx, 64, data, 4096);
	rig_cycle();
	cr_assert_eq(sock_adopt(&rig.s, sk, RIG_SESSION, 5, 17), 0);
	k = sock_get(&rig.s, sk);
	cr_assert(k->session == RIG_SESSION && k->session_gen == 5 && k->slot == 17);
	cr_assert(k->rx.mem == 1 && k->tx.mem == 1 && !k->rx_old.cap);
	ring_read(rig.s.mem, &k->rx, 64, buf, 4096);
	cr_assert_eq(memcmp(buf, data, 4096), 0);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, 0), 0);
	rig_restart();
	cr_assert_eq(memory_used(rig.s.mem, 1), 4096 + 8192);
}

Test(udp, the_transmit_ring_grows_with_what_waits_in_it)
{
	struct endpoint to = rig_ep(PEER, 53);
	uint32_t sk = rig_bound(0, PORT), seen = 0, nr;
	struct ipv4_header h;
	struct udp_header u;

	for (nr = 0; nr < 500; nr++) /* more than the device takes */
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	cr_assert_eq(sock_tx_ring(&rig.s, sk, 1 << 20, 0), 0);
	for (; nr < 600; nr++)
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	rig_commit();
	for (unsigned round = 0; round < 20; round++) {
		while (sent_udp(&h, &u)) {
			memcpy(&nr, buf + 28, sizeof(nr));
			cr_assert_eq(nr, seen++);
		}
		rig_advance(2 * NSEC_PER_MSEC);
		rig_cycle();
	}
	cr_assert_eq(seen, 600);
}

/* ---- the list for the socket layer */

Test(udp, changes_are_told_once)
{
	uint32_t sk = rig_bound(0, PORT), other = rig_bound(0, PORT + 1), n = 0, c;

	while (sock_next_changed(&rig.s) != NO_INDEX)
		;
	rig_cycle();
	rig_receive_udp(PEER, 9, HOST, PORT, "x", 1);
	rig_receive_udp(PEER, 9, HOST, PORT, "y", 1);
	rig_cycle();
	while ((c = sock_next_changed(&rig.s)) != NO_INDEX) {
		cr_assert_eq(c, sk);
		n++;
	}
	cr_assert_eq(n, 1);
	sock_free(&rig.s, other);
	cr_assert_eq(sock_next_changed(&rig.s), other);
}

Test(udp, publishes_its_state)
{
	uint32_t sk = rig_bound(0, PORT);
	struct endpoint peer = rig_ep(PEER, 7);
	struct sock_view v = {0};

	cr_assert_eq(udp_ops.shutdown(&rig.s, sk, SHUT_RD), -ENOTCONN);
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &peer), 0);
	cr_assert_eq(udp_ops.shutdown(&rig.s, sk, SHUT_RDWR), 0);
	udp_ops.publish(&rig.s, sk, &v);
	cr_assert_eq(
	    v.state, CM_ST_OPEN | CM_ST_CONNECTED | CM_ST_RX_EOF | CM_ST_TX_SHUT | CM_ST_HUP);
}
