/* IP input's checks, output, and ICMP. */
#include "ip_rig.h"
#include "ip/hook.h"

TestSuite(ip, .init = rig_open, .fini = rig_close);

static uint8_t buf[70000];

/* An echo request inside `h`. */
static uint32_t ping(uint8_t *out, struct ipv4_header h, uint32_t len)
{
	uint8_t icmp[2048] = {0};
	struct icmp_header e = {.type = ICMP_T_ECHO, .id = 7, .seq = 9};

	for (uint32_t i = 0; i < len; i++)
		icmp[ICMP_LEN + i] = (uint8_t)i;
	icmp_emit(&e, icmp, ICMP_LEN);
	e.checksum = csum_finish(csum(icmp, ICMP_LEN + len, 0));
	icmp_emit(&e, icmp, ICMP_LEN);
	h.proto = IPPROTO_ICMP;
	return rig_ip(out, h, icmp, ICMP_LEN + len);
}

static bool answered(uint8_t *ip, uint32_t len)
{
	rig_receive(ip, len);
	rig_cycle();
	return rig_sent(buf, sizeof(buf)) > 0;
}

static const struct ipv4_header to_us = {.src = PEER, .dst = HOST};

Test(ip, answers_echo)
{
	uint8_t ip[2048];
	struct ipv4_header h;
	struct icmp_header e;
	uint32_t n = ping(ip, to_us, 100);

	cr_assert(answered(ip, n));
	cr_assert_eq(ipv4_parse(&h, buf, IPV4_LEN), 0);
	cr_assert(ipv4_checksum_ok(buf, IPV4_LEN));
	cr_assert_eq(h.src, HOST);
	cr_assert_eq(h.dst, PEER);
	cr_assert_eq(h.total_len, n);
	icmp_parse(&e, buf + IPV4_LEN, ICMP_LEN);
	cr_assert_eq(e.type, ICMP_T_ECHO_REPLY);
	cr_assert_eq(e.id, 7);
	cr_assert_eq(csum(buf + IPV4_LEN, n - IPV4_LEN, 0), 0xffff);
	cr_assert_eq(memcmp(buf + 28, ip + 28, 100), 0);
}

Test(ip, cuts_padding)
{
	uint8_t ip[2048] = {0};
	uint32_t n = ping(ip, to_us, 1);

	rig_receive(ip, 46);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), n);
}

Test(ip, checks_the_header)
{
	uint8_t ip[2048], bad[2048];
	uint32_t n = ping(ip, to_us, 8);
	uint64_t count = rig.s.count.ip_bad;

	for (unsigned i = 0; i < IPV4_LEN; i++) { /* any one byte wrong: the checksum tells */
		memcpy(bad, ip, n);
		bad[i] ^= 0x40;
		cr_assert_not(answered(bad, n), "byte %u", i);
	}
	cr_assert_eq(rig.s.count.ip_bad, count + IPV4_LEN);
	cr_assert_not(answered(ip, n - 1)); /* shorter than it says */
	cr_assert_not(answered(ip, 19));
	cr_assert_not(answered(ip, 1));
	memcpy(bad, ip, n);
	bad[0] = 0x4f; /* a header longer than the packet */
	cr_assert_not(answered(bad, n));
	cr_assert(answered(ip, n));
}

/* Answered with a parameter problem. */
static bool complained(uint8_t *ip, uint32_t len)
{
	return answered(ip, len) && buf[IPV4_LEN] == ICMP_T_PARAMETER;
}

Test(ip, options_must_make_sense)
{
	uint8_t ip[2048];
	struct ipv4_header h = to_us;

	h.options_len = 8;
	memcpy(h.options, "\x07\x07\x04\x00\x00\x00\x00\x00", 8); /* record route, then end */
	cr_assert(answered(ip, ping(ip, h, 4)));
	h.options[1] = 9; /* beyond the header */
	cr_assert(complained(ip, ping(ip, h, 4)));
	h.options[1] = 1;
	cr_assert(complained(ip, ping(ip, h, 4)));
	memcpy(h.options, "\x01\x01\x01\x01\x01\x01\x01\x07", 8); /* no room for a length */
	cr_assert(complained(ip, ping(ip, h, 4)));
	memcpy(h.options, "\x83\x07\x04\x0a\x63\x00\x09\x00", 8); /* source route */
	cr_assert_not(answered(ip, ping(ip, h, 4)));
}

Test(ip, drops_martians)
{
	static const uint32_t src[] = {
	    LOOPBACK, HOST, 0, 0x00000001, 0xe0000001, 0xffffffff, 0x0a6300ff};
	uint8_t ip[2048];

	for (unsigned i = 0; i < ARRAY_SIZE(src); i++)
		cr_assert_not(
		    answered(ip, ping(ip, (struct ipv4_header){.src = src[i], .dst = HOST}, 4)),
		    "%u", i);
	cr_assert_not(
	    answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = LOOPBACK}, 4)));
	cr_assert_not(
	    answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = 0x7f010203}, 4)));
	cr_assert_not(answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = 0}, 4)));
}

Test(ip, does_not_forward)
{
	uint8_t ip[2048];

	cr_assert_not(
	    answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = 0x08080808}, 4)));
	cr_assert_eq(rig.s.count.ip_forward_refused, 1);
}

Test(ip, no_answer_to_a_broadcast_ping)
{
	uint8_t ip[2048];

	cr_assert_not(
	    answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = 0x0a6300ff}, 4)));
	cr_assert_not(
	    answered(ip, ping(ip, (struct ipv4_header){.src = PEER, .dst = 0xffffffff}, 4)));
}

Test(ip, a_bad_icmp_checksum_is_no_echo)
{
	uint8_t ip[2048];
	uint32_t n = ping(ip, to_us, 10);

	ip[n - 1] ^= 1;
	cr_assert_not(answered(ip, n));
}

/* ---- errors of ours */

static bool is_error(uint8_t type, uint8_t code, const uint8_t *about)
{
	struct ipv4_header h;

	return !ipv4_parse(&h, buf, IPV4_LEN) && h.proto == IPPROTO_ICMP && buf[IPV4_LEN] == type &&
	       buf[IPV4_LEN + 1] == code &&
	       csum(buf + IPV4_LEN, h.total_len - IPV4_LEN, 0) == 0xffff &&
	       !memcmp(buf + IPV4_LEN + ICMP_LEN, about, 28) && h.total_len <= 576;
}

Test(ip, unknown_protocols_and_ports_are_unreachable)
{
	uint8_t ip[2048], udp[1400] = {0};
	struct ipv4_header h = to_us;

	h.proto = 99;
	cr_assert(answered(ip, rig_ip(ip, h, udp, 1000)));
	cr_assert(is_error(ICMP_T_UNREACHABLE, ICMP_C_PROTO, ip));
	h.proto = IPPROTO_UDP;
	h.id = 0x1234;
	cr_assert(answered(ip, rig_ip(ip, h, udp, rig_udp(udp, PEER, 1, HOST, 2, "x", 1))));
	cr_assert(is_error(ICMP_T_UNREACHABLE, ICMP_C_PORT, ip));
}

Test(ip, no_error_about_errors_broadcasts_and_later_fragments)
{
	uint8_t ip[2048], data[64] = {ICMP_T_UNREACHABLE, 1};
	struct ipv4_header h = to_us;
	struct icmp_quote q = {0};

	/* A fragment that is not the first one. */
	h.proto = 99;
	h.frag_off = 64;
	q.header_len = IPV4_LEN;
	q.len = rig_ip(q.bytes, h, data, 32);
	icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	/* An ICMP error, and an ICMP type that nobody knows. */
	h.frag_off = 0;
	h.proto = IPPROTO_ICMP;
	q.len = rig_ip(q.bytes, h, data, 32);
	icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	data[0] = 200;
	q.len = rig_ip(q.bytes, h, data, 32);
	icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	/* To and from no single host. */
	h.proto = 99;
	h.dst = 0x0a6300ff;
	q.len = rig_ip(q.bytes, h, data, 32);
	icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	h.dst = HOST;
	for (unsigned i = 0; i < 4; i++) {
		h.src = (const uint32_t[]){0, 0xffffffff, 0xe0000001, 0x0a6300ff}[i];
		q.len = rig_ip(q.bytes, h, data, 32);
		icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	}
	rig_commit();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
	/* An echo request may be answered with an error. */
	h.src = PEER;
	h.proto = IPPROTO_ICMP;
	data[0] = ICMP_T_ECHO;
	q.len = rig_ip(q.bytes, h, data, 32);
	icmp_error(&rig.s, &q, ICMP_T_UNREACHABLE, 1, 0);
	rig_commit();
	cr_assert_gt(rig_sent(buf, sizeof(buf)), 0);
	/* A broadcast to a port that nobody has stays unanswered. */
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = 0x0a6300ff, .proto = 99}, data,
		    30));
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(ip, errors_are_limited)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 100; i++)
		rig_receive_udp(PEER, 1, HOST, 2, "x", 1);
	rig_cycle();
	while (rig_sent(buf, sizeof(buf)))
		n++;
	cr_assert_eq(n, 6);
	rig_advance(2 * NSEC_PER_SEC);
	for (unsigned i = 0; i < 10; i++)
		rig_receive_udp(PEER, 1, HOST, 2, "x", 1);
	rig_cycle();
	for (n = 0; rig_sent(buf, sizeof(buf));)
		n++;
	cr_assert_eq(n, 2);
}

/* ---- output */

static int send_raw(uint32_t dst, uint32_t len, bool df)
{
	struct ip_send how = {.dst = ipaddr_v4(dst), .proto = 99, .dont_fragment = df};
	struct route r;
	struct packet p;
	uint8_t data[5000];
	int ret = ip_route(&rig.s, &how.dst, NULL, NO_INDEX, &r);

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	if (ret)
		return ret;
	how.src = r.source;
	cr_assert_eq(packet_alloc(&rig.s, &p, r.dev, len), 0);
	packet_write(&p, 0, data, len);
	ret = ip_output(&rig.s, &p, &r, &how);
	rig_cycle();
	return ret;
}

Test(ip, fragments_what_is_too_long)
{
	uint32_t at = 0, n;
	uint16_t id = 0;

	cr_assert_eq(send_raw(PEER, 4000, false), 0);
	while ((n = rig_sent(buf, sizeof(buf)))) {
		struct ipv4_header h;

		cr_assert_eq(ipv4_parse(&h, buf, n), 0);
		cr_assert(ipv4_checksum_ok(buf, IPV4_LEN));
		cr_assert_leq(n, 1500);
		cr_assert_eq(h.frag_off, at);
		cr_assert(!at || h.id == id);
		cr_assert_not(h.dont_fragment);
		id = h.id;
		for (uint32_t i = 0; i < n - IPV4_LEN; i++)
			cr_assert_eq(buf[IPV4_LEN + i], (uint8_t)((at + i) * 7));
		at += n - IPV4_LEN;
		cr_assert_eq(h.more_fragments, at < 4000);
	}
	cr_assert_eq(at, 4000);
	cr_assert_eq(send_raw(PEER, 4000, true), -EMSGSIZE);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(ip, ids_are_not_used_again_after_a_restart)
{
	static bool used[65536];

	for (unsigned i = 0; i < 300; i++) {
		struct ipv4_header h;

		cr_assert_eq(send_raw(PEER, 100, false), 0);
		cr_assert_gt(rig_sent(buf, sizeof(buf)), 0);
		ipv4_parse(&h, buf, IPV4_LEN);
		cr_assert_not(used[h.id]);
		used[h.id] = true;
		if (i % 50 == 49)
			rig_restart();
		rig_cycle();
	}
}

Test(ip, pmtu_is_believed_down_to_a_floor)
{
	struct ipaddr far = ipaddr_v4(0x08080808);
	struct route r;

	cr_assert_eq(ip_route(&rig.s, &far, NULL, NO_INDEX, &r), 0);
	cr_assert_eq(r.mtu, 1500);
	ip_pmtu_update(&rig.s, &far, 1300);
	ip_route(&rig.s, &far, NULL, NO_INDEX, &r);
	cr_assert_eq(r.mtu, 1300);
	ip_pmtu_update(&rig.s, &far, 68);
	ip_route(&rig.s, &far, NULL, NO_INDEX, &r);
	cr_assert_eq(r.mtu, 552);
	rig.s.now += 601 * NSEC_PER_SEC;
	ip_route(&rig.s, &far, NULL, NO_INDEX, &r);
	cr_assert_eq(r.mtu, 1500);
}

Test(ip, hooks_are_there_and_empty)
{
	struct packet p;

	cr_assert_eq(packet_alloc(&rig.s, &p, rig.dev, 10), 0);
	for (int at = 0; at < IP_HOOKS; at++)
		cr_assert_eq(ip_hook_run((enum ip_hook)at, &rig.s, &p, rig.dev), IP_ACCEPT);
	packet_free(&rig.s, &p);
}

Test(ip, our_own_addresses_are_reached_on_lo)
{
	cr_assert_eq(send_raw(HOST, 50, false), 0);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
	cr_assert_geq(rig.s.count.ip_in, 2); /* the packet, and the error about its protocol */
	cr_assert_eq(rig.s.count.icmp_in, 1);
}
