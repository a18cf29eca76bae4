/* Packets: their verbs, their memory, and what becomes of them when the daemon dies. */
#include "device_rig.h"
#include "device_fixture.h"
#include "wire/checksum.h"

TestSuite(device, .init = setup, .fini = teardown);

Test(device, the_verbs_move_the_front_and_the_end_within_the_memory)
{
	struct packet p;
	uint8_t buf[8000], back[8000];

	fill(buf, sizeof(buf));
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 5000), 0);
	cr_assert_eq(p.len, 5000);
	cr_assert_eq(p.segs, 3);
	cr_assert(packet_write(&p, 0, buf, 5000));
	cr_assert_not(packet_write(&p, 1, buf, 5000));
	cr_assert_not(packet_write(&p, 5001, buf, 0));
	cr_assert(packet_read(&p, 0, back, 5000));
	cr_assert_arr_eq(back, buf, 5000);
	cr_assert(packet_read(&p, 1900, back, 300));
	cr_assert_arr_eq(back, buf + 1900, 300);
	cr_assert_not(packet_read(&p, 4990, back, 11));
	cr_assert_not(packet_read(&p, UINT32_MAX, back, 2));
	cr_assert_not_null(packet_push(&p, PACKET_HEADROOM));
	cr_assert_null(packet_push(&p, 1));
	cr_assert_eq(p.len, 5000 + PACKET_HEADROOM);
	cr_assert_not_null(packet_pull(&p, PACKET_HEADROOM + 10));
	cr_assert(packet_header(&p, back, 100));
	cr_assert_arr_eq(back, buf + 10, 100);
	cr_assert_null(packet_pull(&p, RIG_CHUNK), "not all in the first segment");
	cr_assert_not(packet_header(&p, back, RIG_CHUNK));
	packet_trim(&p, 6000);
	cr_assert_eq(p.len, 4990);
	packet_trim(&p, 100);
	cr_assert_eq(p.len, 100);
	cr_assert_not(packet_read(&p, 0, back, 101));
	packet_free(&g.s, &p);
	packet_free(&g.s, &p);
	rig_cycle(&g);
	census();
}

Test(device, a_packet_sums_like_its_bytes_wherever_its_segments_end)
{
	uint8_t buf[6000];
	struct packet p;

	fill(buf, sizeof(buf));
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, sizeof(buf)), 0);
	/* Odd segments, as a driver may hand them over. */
	packet_pull(&p, 1);
	p.seg[1].len -= 1;
	p.len -= 1;
	cr_assert(packet_write(&p, 0, buf, p.len));
	for (uint32_t off = 0; off < 4000; off += 333)
		for (uint32_t n = 0; n < p.len - off; n += 711)
			cr_assert_eq(packet_sum(&p, off, n, 0x1234), csum(buf + off, n, 0x1234),
			    "off %u n %u", off, n);
	packet_free(&g.s, &p);
}

Test(device, what_cannot_be_allocated_is_refused)
{
	struct packet p, all[CHUNKS];
	unsigned n = 0;

	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, PACKET_SEGS * RIG_CHUNK), -EMSGSIZE);
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, UINT32_MAX), -EMSGSIZE);
	cr_assert_eq(packet_alloc(&g.s, &p, 7, 10), -ENOBUFS);
	while (n < CHUNKS && !packet_alloc(&g.s, &all[n], g.dev, 1000))
		n++;
	cr_assert_eq(n, CHUNKS / 2, "the fill ring's half stays");
	cr_assert_eq(device_room(&g.s, g.dev), 0);
	while (n)
		packet_free(&g.s, &all[--n]);
	cr_assert_gt(device_room(&g.s, g.dev), 0);
	rig_cycle(&g);
	census();
}

Test(device, a_forgotten_packet_is_found_after_its_cycle)
{
	struct packet p;

	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 5000), 0);
	rig_cycle(&g);
	census();
}

Test(device, a_kept_packet_survives_the_daemon)
{
	struct packet_ref ref;
	struct packet p;
	uint8_t buf[5000];

	fill(buf, sizeof(buf));
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 5100), 0);
	cr_assert(packet_write(&p, 0, buf, 5000));
	packet_trim(&p, 5000);
	p.flags = DESC_CSUM_NEEDED;
	p.csum_at = p.seg[0].data + 20;
	p.csum_offset = 16;
	cr_assert_eq(packet_keep(&g.s, &p, &ref), 0);
	cr_assert(p.kept);
	packet_free(&g.s, &p);
	rig_cycle(&g);
	census();
	rig_restart(&g);
	cr_assert_eq(packet_claim(&g.s, &ref), 0);
	cr_assert_eq(packet_claim(&g.s, &ref), -EINVAL, "claimed twice");
	cr_assert_eq(packet_restore(&g.s, &p, &ref), 0);
	cr_assert_eq(packet_restore(&g.s, &p, &ref), -EPROTO, "void afterwards");
	rig_cycle(&g);
	census();
	ref = (struct packet_ref){.dev = g.dev, .segs = 1, .len = 10, .chunk = {CHUNKS}};
	cr_assert_eq(packet_claim(&g.s, &ref), -EINVAL);
	ref = (struct packet_ref){
	    .dev = g.dev, .segs = 2, .len = 10, .chunk = {CHUNKS - 1, CHUNKS - 1}};
	cr_assert_eq(packet_claim(&g.s, &ref), -EINVAL);
	ref = (struct packet_ref){.dev = 5, .segs = 1, .len = 10};
	cr_assert_eq(packet_restore(&g.s, &p, &ref), -EPROTO);
}

Test(device, a_restored_packet_is_what_was_kept)
{
	struct packet_ref ref;
	struct packet p;
	uint8_t buf[5000], back[5000];

	fill(buf, sizeof(buf));
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 5000), 0);
	cr_assert(packet_write(&p, 0, buf, 5000));
	packet_pull(&p, 20);
	p.gso_type = GSO_TCPV4;
	p.gso_size = 1448;
	cr_assert_eq(packet_keep(&g.s, &p, &ref), 0);
	rig_cycle(&g);
	cr_assert_eq(packet_restore(&g.s, &p, &ref), 0);
	cr_assert_eq(p.len, 4980);
	cr_assert_eq(p.gso_size, 1448);
	cr_assert(packet_read(&p, 0, back, 4980));
	cr_assert_arr_eq(back, buf + 20, 4980);
	cr_assert_not_null(packet_push(&p, 20), "headroom is still there");
	packet_free(&g.s, &p);
	rig_cycle(&g);
	census();
	cr_assert_eq(packet_alloc(&g.s, &p, DEVICE_LO, 10), 0);
	cr_assert_eq(packet_keep(&g.s, &p, &ref), -EOPNOTSUPP);
	packet_free(&g.s, &p);
}
