/* Reassembly: orders, overlaps, limits, restarts. */
#include "ip_rig.h"

TestSuite(reassemble, .init = rig_open, .fini = rig_close);

#define PORT 5000

static uint8_t whole[60000], got[70000], buf[70000];
static uint32_t whole_len, sk;

/* A UDP datagram with `len` bytes of payload, to be cut. */
static void prepare(uint32_t len)
{
	static uint8_t data[60000];

	for (uint32_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 13 + i / 256);
	whole_len = rig_udp(whole, PEER, 1000, HOST, PORT, data, len);
	if (sk == 0)
		sk = rig_bound(0, PORT) + 1;
}

static void fragment(uint32_t start, uint32_t end, uint16_t id)
{
	struct ipv4_header h = {.src = PEER,
	    .dst = HOST,
	    .proto = IPPROTO_UDP,
	    .id = id,
	    .frag_off = start,
	    .more_fragments = end < whole_len};
	uint8_t ip[4096];

	rig_receive(ip, rig_ip(ip, h, whole + start, end - start));
}

static bool arrived(void)
{
	struct cm_dgram h;

	if (!rig_recv(sk - 1, &h, got, sizeof(got)))
		return false;
	cr_assert_eq(h.len, whole_len - UDP_LEN);
	cr_assert_eq(memcmp(got, whole + UDP_LEN, h.len), 0);
	return true;
}

static uint32_t waiting(void)
{
	return state_count(rig.s.state, KIND_FRAG);
}

/* All 120 orders of five pieces. */
Test(reassemble, every_order)
{
	static const uint32_t cut[] = {0, 504, 1008, 1016, 2000, 2408};
	unsigned order[5] = {0, 1, 2, 3, 4}, count[5] = {0}, i = 0;
	uint16_t id = 1;

	prepare(2400);
	for (;;) {
		for (unsigned j = 0; j < 5; j++)
			fragment(cut[order[j]], cut[order[j] + 1], id);
		rig_cycle();
		cr_assert(arrived(), "order %u", id);
		cr_assert_eq(waiting(), 0);
		id++;
		/* Heap's algorithm, iterative */
		while (i < 5 && count[i] >= i)
			count[i++] = 0;
		if (i == 5)
			break;
		unsigned with = i % 2 ? count[i] : 0, t = order[with];
		order[with] = order[i];
		order[i] = t;
		count[i]++;
		i = 0;
	}
	cr_assert_eq(id, 121);
	cr_assert_eq(rig.s.count.ip_reassembled, 120);
}

Test(reassemble, interleaved_and_restarted_after_every_piece)
{
	prepare(40000);
	rig_cycle();
	for (uint32_t at = 0; at < whole_len; at += 1480) {
		for (uint16_t id = 1; id <= 3; id++)
			fragment(at, min_of(at + 1480, whole_len), id);
		rig_cycle();
		rig_restart();
	}
	for (int i = 0; i < 3; i++)
		cr_assert(arrived());
	cr_assert_not(arrived());
	cr_assert_eq(waiting(), 0);
}

Test(reassemble, a_death_before_the_commit_repeats_the_cycle)
{
	prepare(2000);
	rig_cycle();
	fragment(0, 1000, 1);
	rig_cycle();
	fragment(1000, whole_len, 1);
	rig_work(); /* died here */
	rig_restart();
	cr_assert_not(arrived());
	rig_cycle();
	cr_assert(arrived());
	cr_assert_not(arrived());
}

Test(reassemble, repetitions_are_harmless)
{
	prepare(2000);
	fragment(0, 800, 1);
	fragment(0, 800, 1);
	fragment(800, 1600, 1);
	fragment(0, 800, 1);
	fragment(1600, whole_len, 1);
	rig_cycle();
	cr_assert(arrived());
	cr_assert_not(arrived());
}

/* Every pair of ranges that overlap without being the same: nothing comes out, now or later. */
Test(reassemble, overlaps_are_fatal)
{
	static const uint32_t second[][2] = {
	    {0, 808}, {8, 800}, {792, 1600}, {8, 16}, {0, 792}, {400, 1200}};

	prepare(2000);
	for (uint16_t i = 0; i < ARRAY_SIZE(second); i++) {
		fragment(0, 800, i);
		fragment(second[i][0], second[i][1], i);
		fragment(0, 800, i);
		fragment(800, 1600, i);
		fragment(1600, whole_len, i);
		rig_cycle();
		cr_assert_not(arrived());
	}
	cr_assert_eq(waiting(), ARRAY_SIZE(second));
	rig_advance(31 * NSEC_PER_SEC);
	cr_assert_eq(waiting(), 0);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(reassemble, contradictions_are_fatal)
{
	uint32_t full;

	prepare(2000);
	full = whole_len;
	fragment(0, 800, 1);
	fragment(1600, full, 1); /* the end is known */
	whole_len = 1600;
	fragment(800, 1600, 1); /* another end */
	rig_cycle();
	whole_len = full;
	cr_assert_not(arrived());
	fragment(1600, full, 2);
	whole_len = 800;
	fragment(0, 800, 2); /* an end before what is there */
	rig_cycle();
	whole_len = full;
	cr_assert_not(arrived());
}

Test(reassemble, malformed_fragments_are_dropped_alone)
{
	struct ipv4_header h = {
	    .src = PEER, .dst = HOST, .proto = IPPROTO_UDP, .id = 1, .more_fragments = true};
	uint8_t ip[4096];

	prepare(2000);
	rig_receive(ip, rig_ip(ip, h, whole, 801)); /* not a multiple of eight */
	h.frag_off = 65528;
	rig_receive(ip, rig_ip(ip, h, whole, 800)); /* beyond 64 KiB */
	h.frag_off = 0;
	rig_receive(ip, rig_ip(ip, h, whole, 0));
	fragment(0, 800, 1);
	fragment(800, whole_len, 1);
	rig_cycle();
	cr_assert(arrived());
}

Test(reassemble, the_largest_datagram)
{
	prepare(59000);
	for (uint32_t at = 0; at < whole_len; at += 1480)
		fragment(at, min_of(at + 1480, whole_len), 9);
	rig_cycle();
	cr_assert(arrived());
}

Test(reassemble, time_exceeded_if_the_first_piece_came)
{
	struct ipv4_header h;

	prepare(2000);
	fragment(0, 800, 1);
	fragment(800, 1600, 2);
	rig_cycle();
	rig_advance(29 * NSEC_PER_SEC);
	cr_assert_eq(waiting(), 2);
	rig_restart(); /* the deadline is a fact */
	rig_advance(2 * NSEC_PER_SEC);
	cr_assert_eq(waiting(), 0);
	cr_assert_gt(rig_sent(buf, sizeof(buf)), 0);
	cr_assert_eq(buf[IPV4_LEN], ICMP_T_TIME_EXCEEDED);
	cr_assert_eq(buf[IPV4_LEN + 1], 1);
	cr_assert_eq(ipv4_parse(&h, buf + IPV4_LEN + ICMP_LEN, IPV4_LEN), 0);
	cr_assert_eq(h.id, 1);
	cr_assert_eq(memcmp(buf + 2 * IPV4_LEN + ICMP_LEN, whole, 8), 0);
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

Test(reassemble, limits)
{
	struct ipv4_header h = {.dst = HOST, .proto = IPPROTO_UDP, .more_fragments = true};
	uint8_t ip[256];

	prepare(2000);
	rig_cycle();
	for (uint16_t id = 0; id < 30; id++) { /* one source gets half of the records */
		h.src = PEER;
		h.id = id;
		rig_receive(ip, rig_ip(ip, h, whole, 80));
	}
	rig_cycle();
	cr_assert_eq(waiting(), 8);
	for (uint32_t i = 0; i < 30; i++) {
		h.src = PEER + 10 + i;
		rig_receive(ip, rig_ip(ip, h, whole, 80));
	}
	rig_cycle();
	cr_assert_eq(waiting(), 16);
	rig_advance(31 * NSEC_PER_SEC);
	cr_assert_eq(waiting(), 0);
	rig_drain();
	rig_cycle();
	fragment(0, 1000, 77); /* and it goes on */
	fragment(1000, whole_len, 77);
	rig_cycle();
	cr_assert(arrived());
}

/* No chunk is lost, whatever happens to fragments. */
Test(reassemble, chunks_come_back)
{
	prepare(30000);
	rig_cycle();
	for (uint16_t id = 0; id < 300; id++) {
		for (uint32_t at = 0; at < whole_len; at += 1480) {
			if (id % 3 == 1 && at == 2960)
				fragment(at - 8, at + 8, id);
			if (id % 3 == 2 && at == 1480)
				continue;
			fragment(at, min_of(at + 1480, whole_len), id);
		}
		rig_advance(31 * NSEC_PER_SEC);
		rig_drain();
		rig_advance(31 * NSEC_PER_SEC);
		rig_drain();
		cr_assert_eq(arrived(), id % 3 == 0);
	}
	cr_assert_eq(waiting(), 0);
}
