/* Error queues, pieces and segments of datagrams, receive times: what is in records survives. */
#include "ip_rig.h"
#include <linux/errqueue.h>
#include <netinet/udp.h>

TestSuite(errq, .init = rig_open, .fini = rig_close);

#define PORT 5353

static uint8_t buf[70000];

static void set(uint32_t sk, int level, int name, int v)
{
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, level, name, &v, sizeof(v)), 0);
}

/* An ICMP error of the peer's about a datagram from PORT to the peer's `port` with this payload. */
static void icmp_about(
    uint8_t type, uint8_t code, uint32_t info, uint16_t port, const char *payload)
{
	struct icmp_header h = {
	    .type = type, .code = code, .id = (uint16_t)(info >> 16), .seq = (uint16_t)info};
	struct ipv4_header inner = {.src = HOST, .dst = PEER, .proto = IPPROTO_UDP, .ttl = 1},
			   outer = {.src = PEER,
			       .dst = HOST,
			       .proto = IPPROTO_ICMP,
			       .ttl = 63,
			       .tos = 0xc0};
	uint8_t icmp[512], udp[256], ip[600];
	uint32_t n = rig_udp(udp, HOST, PORT, PEER, port, payload, (uint32_t)strlen(payload));
	uint16_t c;

	n = rig_ip(icmp + ICMP_LEN, inner, udp, n) + ICMP_LEN;
	icmp_emit(&h, icmp, ICMP_LEN);
	c = csum_finish(csum(icmp, n, 0));
	icmp[2] = (uint8_t)(c >> 8);
	icmp[3] = (uint8_t)c;
	rig_receive(ip, rig_ip(ip, outer, icmp, n));
}

static uint32_t listening(void)
{
	uint32_t sk = rig_bound(0, PORT);

	set(sk, IPPROTO_IP, IP_RECVERR, 1);
	rig_cycle();
	return sk;
}

Test(errq, an_entry_has_everything)
{
	uint32_t sk = listening();
	const struct errq_rec *r;

	icmp_about(ICMP_T_TIME_EXCEEDED, 0, 0, 33434, "hop one");
	rig_cycle();
	r = errq_first(&rig.s, sk);
	cr_assert_not_null(r);
	cr_assert_eq(r->e.err, EHOSTUNREACH);
	cr_assert_eq(r->e.origin, SO_EE_ORIGIN_ICMP);
	cr_assert_eq(r->e.type, ICMP_T_TIME_EXCEEDED);
	cr_assert_eq(r->e.code, 0);
	cr_assert_eq(r->e.ttl, 63);
	cr_assert_eq(ipaddr_to_v4(&r->e.offender.addr), PEER);
	cr_assert_eq(ipaddr_to_v4(&r->e.local.addr), HOST);
	cr_assert_eq(r->name.port, 33434);
	cr_assert_eq(ipaddr_to_v4(&r->name.addr), PEER);
	cr_assert_eq(r->e.len, 7);
	cr_assert_eq(memcmp(r->data, "hop one", 7), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->err, EHOSTUNREACH);
}

Test(errq, nobody_who_did_not_ask_gets_one)
{
	uint32_t sk = rig_bound(0, PORT);

	rig_cycle();
	icmp_about(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, 9, "x");
	rig_cycle();
	cr_assert_null(errq_first(&rig.s, sk));
	cr_assert_eq(sock_peek(&rig.s, sk)->err, 0);
	cr_assert_eq(state_count(rig.s.state, KIND_ERRQ), 0);
}

/* Taken in order, each once, also over deaths between any two steps; the pending error follows the
 * queue. */
Test(errq, survives_and_is_taken_once)
{
	uint32_t sk = listening(), number;
	const struct errq_rec *r;

	for (uint16_t i = 0; i < 5; i++)
		icmp_about(i & 1 ? ICMP_T_UNREACHABLE : ICMP_T_TIME_EXCEEDED,
		    i & 1 ? ICMP_C_PORT : 0, 0, (uint16_t)(100 + i), "probe");
	rig_work();
	rig_restart(); /* died before the commit: the frames are still there */
	cr_assert_eq(errq_count(&rig.s, sk), 0);
	rig_cycle();
	for (uint16_t i = 0; i < 5; i++) {
		rig_restart();
		r = errq_first(&rig.s, sk);
		cr_assert_eq(errq_count(&rig.s, sk), 5u - i);
		cr_assert_eq(r->name.port, 100 + i);
		number = r->e.number;
		cr_assert_eq(errq_take(&rig.s, sk, number + 1), -EAGAIN);
		cr_assert_eq(errq_take(&rig.s, sk, number), 0);
		if (i == 2) { /* the taking dies, too */
			rig_restart();
			cr_assert_eq(errq_take(&rig.s, sk, number), 0);
		}
		rig_commit();
		cr_assert_eq(errq_take(&rig.s, sk, number), -EAGAIN);
		cr_assert_eq(sock_peek(&rig.s, sk)->err, i == 4	 ? 0
							 : i & 1 ? EHOSTUNREACH
								 : ECONNREFUSED);
	}
	cr_assert_eq(state_count(rig.s.state, KIND_ERRQ), 0);
}

/* Numbers of sends with MSG_ZEROCOPY: each is told once, in runs, whatever dies meanwhile. */
Test(errq, copies_are_told_once)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_error e;

	errq_copied(&rig.s, sk);
	cr_assert_not(errq_copies(&rig.s, sk, &e), "without SO_ZEROCOPY");
	set(sk, SOL_SOCKET, SO_ZEROCOPY, 1);
	for (int i = 0; i < 3; i++)
		errq_copied(&rig.s, sk);
	rig_commit();
	errq_copied(&rig.s, sk);
	rig_restart(); /* died before the commit */
	cr_assert_eq(errq_count(&rig.s, sk), 1);
	cr_assert(errq_copies(&rig.s, sk, &e));
	cr_assert_eq(e.origin, SO_EE_ORIGIN_ZEROCOPY);
	cr_assert_eq(e.info, 0);
	cr_assert_eq(e.data, 2);
	errq_copied(&rig.s, sk); /* since it was read */
	cr_assert_eq(errq_take_copies(&rig.s, sk, e.number), 0);
	cr_assert_eq(errq_take_copies(&rig.s, sk, e.number), -EAGAIN);
	cr_assert_eq(errq_take_copies(&rig.s, sk, e.number + 2), -EAGAIN);
	cr_assert(errq_copies(&rig.s, sk, &e));
	cr_assert_eq(e.info, 3);
	cr_assert_eq(e.data, 3);
	cr_assert_eq(errq_take_copies(&rig.s, sk, e.number), 0);
	cr_assert_eq(errq_count(&rig.s, sk), 0);
}

Test(errq, is_bounded_and_goes_with_its_socket)
{
	uint32_t sk = listening();

	for (unsigned i = 0; i < ERRQ_PER_SOCKET + 20; i++) {
		icmp_about(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, 9, "x");
		rig_cycle();
	}
	cr_assert_eq(errq_count(&rig.s, sk), ERRQ_PER_SOCKET);
	set(sk, IPPROTO_IP, IP_RECVERR, 0);
	rig_commit();
	cr_assert_eq(state_count(rig.s.state, KIND_ERRQ), 0);
	set(sk, IPPROTO_IP, IP_RECVERR, 1);
	icmp_about(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, 9, "x");
	rig_cycle();
	cr_assert_eq(errq_count(&rig.s, sk), 1);
	sock_free(&rig.s, sk);
	rig_commit();
	rig_restart();
	cr_assert_eq(state_count(rig.s.state, KIND_ERRQ), 0);
}

Test(errq, too_long_is_a_local_entry_with_the_mtu)
{
	uint32_t sk = listening();
	struct endpoint to = rig_ep(PEER, 9);
	const struct errq_rec *r;

	set(sk, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
	cr_assert_eq(rig_send(sk, &to, buf, 3000), 0);
	r = errq_first(&rig.s, sk);
	cr_assert_not_null(r);
	cr_assert_eq(r->e.origin, SO_EE_ORIGIN_LOCAL);
	cr_assert_eq(r->e.err, EMSGSIZE);
	cr_assert_eq(r->e.info, 1500);
	icmp_about(ICMP_T_UNREACHABLE, ICMP_C_FRAG_NEEDED, 1280, 9, "x");
	rig_cycle();
	cr_assert_eq(errq_take(&rig.s, sk, r->e.number), 0);
	r = errq_first(&rig.s, sk);
	cr_assert_eq(r->e.err, EMSGSIZE);
	cr_assert_eq(r->e.info, 1280);
}

/* ---- what a sender may ask for */

static uint8_t *tx_at(uint32_t sk, uint64_t pos)
{
	return (uint8_t *)rig.mem1 + ring_place_at(&sock_peek(&rig.s, sk)->tx, pos);
}

/* Writes an entry with header `h`, and lets the daemon look. */
static void put(uint32_t sk, struct cm_dgram h, const void *data)
{
	uint64_t at = sock_peek(&rig.s, sk)->tx_tail;

	if (!sock_peek(&rig.s, sk)->tx.cap)
		cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, at), &h, sizeof(h));
	memcpy(tx_at(sk, at) + sizeof(h), data, h.len);
	cr_assert_eq(
	    udp_ops.poke(&rig.s, sk, sock_peek(&rig.s, sk)->rx_head, at + cm_dgram_room(h.len)), 0);
}

/* The payload of the next datagram that was sent. */
static uint32_t sent(uint8_t *out)
{
	uint8_t ip[70000];
	uint32_t n = rig_sent(ip, sizeof(ip));

	if (!n)
		return 0;
	memcpy(out, ip + 28, n - 28);
	return n - 28;
}

Test(errq, a_datagram_in_pieces_waits_for_its_end_over_a_restart)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h = {.peer = rig_ep(PEER, 9)};

	h.len = 3;
	h.flags = CM_DGRAM_MORE;
	put(sk, h, "abc");
	rig_cycle();
	cr_assert_eq(sent(buf), 0);
	rig_restart();
	rig_cycle();
	h.len = 4;
	put(sk, h, "defg");
	rig_cycle();
	cr_assert_eq(sent(buf), 0);
	h.flags = 0;
	h.len = 0;
	put(sk, h, "");
	rig_cycle();
	cr_assert_eq(sent(buf), 7);
	cr_assert_eq(memcmp(buf, "abcdefg", 7), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->tx_head, sock_peek(&rig.s, sk)->tx_tail);
	/* One without an end goes with its socket. */
	h.flags = CM_DGRAM_MORE;
	h.len = 3;
	put(sk, h, "abc");
	sock_get(&rig.s, sk)->flags |= SOCK_F_ORPHAN;
	udp_ops.close(&rig.s, sk, false);
	rig_cycle();
	cr_assert_null(sock_peek(&rig.s, sk));
	cr_assert_eq(sent(buf), 0);
}

/* The time of what was sent, with its frame and its number, is told once, over deaths before and after the commit. */
Test(errq, send_times_survive)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h = {.peer = rig_ep(PEER, 9), .flags = CM_DGRAM_STAMP | CM_DGRAM_QUEUED, .len = 5, .time_ns = 4711};
	const struct errq_rec *r;

	rig_commit();
	put(sk, h, "hello");
	rig_cycle();
	rig_restart();
	cr_assert_eq(errq_count(&rig.s, sk), 2);
	for (uint32_t kind = 2; kind--;) { /* SCM_TSTAMP_SCHED, SCM_TSTAMP_SND */
		r = errq_first(&rig.s, sk);
		cr_assert_eq(r->e.origin, SO_EE_ORIGIN_TIMESTAMPING);
		cr_assert_eq(r->e.err, ENOMSG);
		cr_assert_eq(r->e.info, kind);
		cr_assert_eq(r->e.data, 4711);
		cr_assert_eq(r->e.len, 14 + 20 + 8 + 5);
		cr_assert_eq(memcmp(r->data + 42, "hello", 5), 0);
		cr_assert_eq(errq_take(&rig.s, sk, r->e.number), 0);
		rig_commit();
	}
	cr_assert_eq(sock_peek(&rig.s, sk)->err, 0);
	h.flags = CM_DGRAM_STAMP | CM_DGRAM_BARE;
	put(sk, h, "world");
	rig_commit();
	cr_assert_eq(errq_first(&rig.s, sk)->e.len, 0);
}

Test(errq, the_asker_is_told_the_error_and_nobody_else)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h = {.peer = rig_ep(0x0a6300ff, 9), .flags = CM_DGRAM_ASK, .len = 1};

	put(sk, h, "x");
	cr_assert_eq(sock_peek(&rig.s, sk)->sent_err, EACCES);
	cr_assert_eq(sock_peek(&rig.s, sk)->err_seq, 0);
	rig_commit();
	rig_restart();
	cr_assert_eq(sock_peek(&rig.s, sk)->sent_err, EACCES);
	h.peer = rig_ep(PEER, 9);
	put(sk, h, "x");
	cr_assert_eq(sock_peek(&rig.s, sk)->sent_err, 0);
}

Test(errq, segments_are_datagrams_of_their_own)
{
	uint32_t sk = rig_bound(0, PORT), n = 0, len;
	struct cm_dgram h = {.peer = rig_ep(PEER, 9), .len = 2500, .gso = 1000};
	uint8_t data[2500];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	put(sk, h, data);
	rig_cycle();
	while ((len = sent(buf))) {
		cr_assert_eq(len, n < 2000 ? 1000 : 500);
		cr_assert_eq(memcmp(buf, data + n, len), 0);
		n += len;
	}
	cr_assert_eq(n, 2500);
	h.gso = 1473; /* longer than the way allows */
	h.flags = CM_DGRAM_ASK;
	put(sk, h, data);
	cr_assert_eq(sock_peek(&rig.s, sk)->sent_err, EINVAL);
	h.gso = 10; /* too many */
	put(sk, h, data);
	cr_assert_eq(sock_peek(&rig.s, sk)->sent_err, EINVAL);
	h.gso = 0;
	set(sk, IPPROTO_UDP, UDP_SEGMENT, 1250);
	put(sk, h, data);
	rig_cycle();
	cr_assert_eq(sent(buf), 1250);
	cr_assert_eq(sent(buf), 1250);
	cr_assert_eq(sent(buf), 0);
}

Test(errq, who_wants_it_gets_segments_in_one_piece)
{
	uint32_t whole = rig_bound(0, PORT), apart = rig_bound(0, PORT + 1),
		 from = rig_bound(0, 77);
	struct cm_dgram h = {.peer = rig_ep(HOST, PORT), .len = 25, .gso = 10}, got;

	set(whole, IPPROTO_UDP, UDP_GRO, 1);
	put(from, h, "0123456789abcdefghij01234");
	h.peer.port = PORT + 1;
	put(from, h, "0123456789abcdefghij01234");
	rig_advance(12345);
	rig_cycle();
	cr_assert(rig_recv(whole, &got, buf, sizeof(buf)));
	cr_assert_eq(got.len, 25);
	cr_assert_eq(got.gso, 10);
	cr_assert_eq(got.time_ns, rig.s.now);
	cr_assert_eq(got.spec_dst, HOST);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(rig_recv(apart, &got, buf, sizeof(buf)));
		cr_assert_eq(got.len, i < 2 ? 10 : 5);
		cr_assert_eq(got.gso, 0);
	}
}

Test(errq, the_smaller_receive_buffer_is_obeyed)
{
	uint32_t sk = rig_bound(0, PORT), n = 0;
	struct cm_dgram h;

	set(sk, SOL_SOCKET, SO_RCVBUF, 4096);
	rig_cycle();
	for (unsigned i = 0; i < 30; i++)
		rig_receive_udp(PEER, 9, HOST, PORT, buf, 1000);
	rig_cycle();
	while (rig_recv(sk, &h, buf, sizeof(buf)))
		n++;
	cr_assert_eq(n, 8192 / 1088 + 1);
	cr_assert_eq(sock_peek(&rig.s, sk)->drops, 30 - n);
}

/* Groups cannot be joined, so only the one that everybody is in reaches a socket. */
Test(errq, of_groups_only_all_hosts)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h;

	rig_cycle();
	rig_receive_udp(PEER, 9, 0xe00000fb, PORT, "mdns", 4);
	rig_receive_udp(PEER, 9, 0xe0000001, PORT, "all", 3);
	rig_cycle();
	cr_assert(rig_recv(sk, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 3);
	cr_assert_eq(h.spec_dst, HOST);
	cr_assert_not(rig_recv(sk, &h, buf, sizeof(buf)));
}

/* Nobody has the neighbour's address: the sender is told by this host itself, also by a successor.
 */
Test(errq, a_neighbour_that_does_not_answer)
{
	uint32_t sk = listening();
	struct endpoint to = rig_ep(0x0a630063, 9);
	const struct errq_rec *r;

	cr_assert_eq(rig_send(sk, &to, "anybody?", 8), 0);
	rig_commit();
	rig_restart();
	for (unsigned i = 0; i < 10 && !errq_count(&rig.s, sk); i++) {
		rig_advance(NSEC_PER_SEC);
		rig_cycle();
	}
	r = errq_first(&rig.s, sk);
	cr_assert_not_null(r);
	cr_assert_eq(r->e.err, EHOSTUNREACH);
	cr_assert_eq(r->e.origin, SO_EE_ORIGIN_ICMP);
	cr_assert_eq(r->e.code, ICMP_C_HOST);
	cr_assert_eq(ipaddr_to_v4(&r->e.offender.addr), HOST);
	cr_assert_eq(r->name.port, 9);
	cr_assert_eq(r->e.len, 8);
	cr_assert_eq(memcmp(r->data, "anybody?", 8), 0);
}
