/* An honest driver, and lo. */
#include "device_rig.h"
#include "device_fixture.h"
#include "wire/ether.h"

TestSuite(device, .init = setup, .fini = teardown);

/* ---- an honest driver */

Test(device, frames_arrive_and_leave_whole)
{
	static uint8_t payload[20000], frame[20100], sent[20100];
	struct dev_desc first;
	struct packet p;
	uint32_t len;

	fill(payload, sizeof(payload));
	len = rig_frame(frame, 0x0800, payload, sizeof(payload));
	cr_assert(rig_driver_receive(&g, frame, len, DESC_CSUM_NEEDED));
	cr_assert(device_pending(&g.s, g.dev));
	cr_assert_eq(rig_cycle(&g), 1);
	cr_assert_not(device_pending(&g.s, g.dev));
	cr_assert_eq(got, 1);
	cr_assert_eq(last_len, sizeof(payload));
	cr_assert_arr_eq(last, payload, sizeof(payload));
	cr_assert_eq(last_packet.flags, DESC_CSUM_VALID);
	census();

	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, sizeof(payload)), 0);
	packet_write(&p, 0, payload, sizeof(payload));
	cr_assert_eq(ether_output(&g.s, &p, frame + 6, 0x0800), 0);
	packet_free(&g.s, &p);
	cr_assert_eq(rig_driver_send(&g, sent, sizeof(sent), &first), 0, "not before the commit");
	rig_cycle(&g);
	cr_assert_eq(rig_driver_send(&g, sent, sizeof(sent), &first), len);
	cr_assert_arr_eq(sent + 14, payload, sizeof(payload));
	cr_assert_arr_eq(sent, frame + 6, 6);
	cr_assert_arr_eq(sent + 6, frame, 6);
	rig_cycle(&g);
	rig_cycle(&g);
	census();
	cr_assert_eq(device_peek(&g.s, g.dev)->tx_frames, 1);
	cr_assert_eq(
	    device_peek(&g.s, g.dev)->completion_cons, device_peek(&g.s, g.dev)->transmit_prod);
}

Test(device, frames_for_others_and_unknown_types_are_left)
{
	uint8_t frame[100], payload[40] = {0};
	uint32_t len = rig_frame(frame, 0x0800, payload, sizeof(payload));

	frame[5] ^= 1;
	cr_assert(rig_driver_receive(&g, frame, len, 0));
	memset(frame, 0xff, 6);
	cr_assert(rig_driver_receive(&g, frame, len, 0));
	frame[6] |= 1;
	cr_assert(rig_driver_receive(&g, frame, len, 0));
	len = rig_frame(frame, 0x88cc, payload, sizeof(payload));
	cr_assert(rig_driver_receive(&g, frame, len, 0));
	len = rig_frame(frame, 46, payload, sizeof(payload));
	cr_assert(rig_driver_receive(&g, frame, len, 0));
	cr_assert(rig_driver_receive(&g, frame, 13, 0));
	rig_cycle(&g);
	cr_assert_eq(got, 1, "only the broadcast");
	rig_cycle(&g);
	census();
}

Test(device, the_budget_holds)
{
	uint8_t frame[100], payload[40] = {0};
	uint32_t len = rig_frame(frame, 0x0800, payload, sizeof(payload));

	for (int i = 0; i < 20; i++)
		cr_assert(rig_driver_receive(&g, frame, len, 0));
	cr_assert_eq(device_gather(&g.s, g.dev, 8), 8);
	cr_assert_eq(got, 8);
	rig_commit(&g);
	rig_speak(&g, false);
	cr_assert_eq(rig_cycle(&g), 12);
	census();
}

Test(device, a_frame_too_long_is_dropped_and_its_chunks_come_back)
{
	static uint8_t frame[80000];
	const char *why;

	rig_frame(frame, 0x0800, frame, 0);
	cr_assert(rig_driver_receive(&g, frame, (PACKET_SEGS + 1) * RIG_CHUNK, 0));
	cr_assert(rig_driver_receive(&g, frame, REGION_FRAME_MAX + 1, 0));
	rig_cycle(&g);
	cr_assert_eq(got, 0);
	cr_assert_eq(device_peek(&g.s, g.dev)->rx_dropped, 2);
	rig_cycle(&g);
	census();
	cr_assert_null(device_accused(&g.s, &why), "long is not a lie");
}

Test(device, link_and_facts_follow_the_driver)
{
	struct packet p;

	rig_region(&g)->link_up = 0;
	cr_assert(device_pending(&g.s, g.dev));
	rig_cycle(&g);
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 100), 0);
	cr_assert_eq(device_output(&g.s, &p), -ENETDOWN);
	rig_region(&g)->link_up = 1;
	rig_region(&g)->mtu = 9;
	rig_region(&g)->features = ~0u;
	rig_cycle(&g);
	cr_assert_eq(device_peek(&g.s, g.dev)->mtu, 68);
	cr_assert_eq(device_peek(&g.s, g.dev)->features, 15);
	cr_assert_not(device_restarted(&g.s, g.dev));
	rig_region(&g)->driver_incarnation++;
	rig_cycle(&g);
	cr_assert(device_restarted(&g.s, g.dev));
	cr_assert_not(device_restarted(&g.s, g.dev));
	census();
}

Test(device, the_bell_is_armed)
{
	device_arm(&g.s, true);
	cr_assert_eq(rig_region(&g)->inet_sleeps, 1);
	device_arm(&g.s, false);
	cr_assert_eq(rig_region(&g)->inet_sleeps, 0);
	cr_assert_eq(rig_region(&g)->inet_ready, 1);
}

/* ---- lo */

Test(device, lo_delivers_within_the_cycle)
{
	static uint8_t payload[65000];
	struct packet p;

	fill(payload, sizeof(payload));
	payload[0] = 0x45;
	cr_assert_eq(packet_alloc(&g.s, &p, DEVICE_LO, sizeof(payload)), 0);
	packet_write(&p, 0, payload, sizeof(payload));
	p.flags = DESC_CSUM_NEEDED;
	p.csum_at = p.seg[0].data + 20;
	p.gso_type = GSO_TCPV4;
	p.gso_size = 1000;
	cr_assert_eq(device_output(&g.s, &p), 0);
	packet_free(&g.s, &p);
	cr_assert_eq(got, 0);
	lo_run(&g.s);
	cr_assert_eq(got, 1);
	cr_assert_eq(last_len, sizeof(payload));
	cr_assert_arr_eq(last, payload, sizeof(payload));
	cr_assert_eq(last_packet.flags, DESC_CSUM_VALID);
	cr_assert_eq(last_packet.gso_size, 1000);
	cr_assert_eq(chunks_free(&g.s.device->dev[DEVICE_LO]), LO_CHUNKS);
	payload[0] = 0x15;
	cr_assert_eq(packet_alloc(&g.s, &p, DEVICE_LO, 20), 0);
	packet_write(&p, 0, payload, 20);
	cr_assert_eq(device_output(&g.s, &p), 0);
	lo_run(&g.s);
	cr_assert_eq(got, 1, "no IP version of ours");
	cr_assert_eq(device_find(&g.s, "lo"), 0);
	cr_assert_eq(device_peek(&g.s, DEVICE_LO)->mtu, 65536);
	cr_assert_eq(device_count(&g.s), 2);
}

/* However much could go, a cycle carries a bounded part of it: the supervisor must get its answers in between. */
Test(device, lo_is_full_for_the_cycle_after_its_share)
{
	static const uint8_t head[20] = {0x45};
	uint64_t carried = 0;
	struct packet p;

	for (unsigned round = 0; round < 64; round++) {
		while (device_room(&g.s, DEVICE_LO)) {
			cr_assert_eq(packet_alloc(&g.s, &p, DEVICE_LO, 65000), 0);
			packet_write(&p, 0, head, sizeof(head));
			carried += p.len;
			cr_assert_eq(device_output(&g.s, &p), 0);
		}
		lo_run(&g.s);
	}
	cr_assert_geq(carried, LO_CYCLE_BYTES);
	cr_assert_lt(carried, LO_CYCLE_BYTES + 65536);
	/* What must go out all the same is not held back. */
	cr_assert_eq(packet_alloc(&g.s, &p, DEVICE_LO, 40), 0);
	packet_write(&p, 0, head, sizeof(head));
	got = 0;
	cr_assert_eq(device_output(&g.s, &p), 0);
	rig_cycle(&g);
	cr_assert_eq(got, 1);
	cr_assert_gt(device_room(&g.s, DEVICE_LO), 0, "the next cycle has a share of its own");
}

/* Its driver goes on where it stands, and its number, which addresses and routes name, stays. */
Test(device, a_record_that_was_lost_begins_where_its_driver_stands)
{
	uint8_t frame[100];
	struct packet p;
	const char *why;

	works_again();
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 60), 0);
	cr_assert_eq(device_output(&g.s, &p), 0);
	rig_cycle(&g);
	cr_assert_eq(rig_driver_send(&g, frame, sizeof(frame), NULL), 60);
	rig_cycle(&g);
	rig_damage(&g, KIND_DEVICE, g.dev);
	rig_restart(&g);
	rig_cycle(&g);
	census();
	works_again();
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 60), 0);
	cr_assert_eq(device_output(&g.s, &p), 0);
	rig_cycle(&g);
	cr_assert_eq(rig_driver_send(&g, frame, sizeof(frame), NULL), 60);
	cr_assert_null(device_accused(&g.s, &why));
}
