/* A driver that lies: it is accused, and its successor works with the same rings. */
#include "device_rig.h"
#include "device_fixture.h"

TestSuite(device, .init = setup, .fini = teardown);

static void expect_accusation(const char *what)
{
	const char *why = NULL, *name;

	rig_cycle(&g);
	name = device_accused(&g.s, &why);
	cr_assert_not_null(name, "%s", what);
	cr_assert_str_eq(name, "tap0");
	cr_assert_str_eq(why, what);
	cr_assert_null(device_accused(&g.s, &why), "once");
	/* The successor starts and works with the same rings; nothing is lost for good. */
	rig_cycle(&g);
	rig_region(&g)->driver_incarnation++;
	g.rx = rig_queue(&g)->receive_prod.v;
	g.tx = rig_queue(&g)->completion_prod.v;
	rig_cycle(&g);
	rig_cycle(&g);
	cr_assert_null(device_accused(&g.s, &why));
	cr_assert(device_restarted(&g.s, g.dev));
	census();
}

static struct dev_desc *next_receive(unsigned n)
{
	struct dev_desc *d = region_desc(g.mem, &g.geo, 0, RING_RECEIVE, g.rx + n);

	*d = (struct dev_desc){
	    .chunk = region_desc(g.mem, &g.geo, 0, RING_FILL, g.rx + n)->chunk, .len = 60};
	return d;
}

static void publish(unsigned n)
{
	g.rx += n;
	rig_queue(&g)->receive_prod.v = g.rx;
}

Test(device, lie_chunk_outside_the_region)
{
	next_receive(0)->chunk = (uint64_t)CHUNKS * RIG_CHUNK;
	publish(1);
	expect_accusation("a descriptor outside its region");
	works_again();
}

Test(device, lie_chunk_not_aligned)
{
	next_receive(0)->chunk += 1;
	publish(1);
	expect_accusation("a descriptor outside its region");
	works_again();
}

Test(device, lie_length_and_offset)
{
	struct dev_desc *d = next_receive(0);

	d->off = RIG_CHUNK - 10;
	d->len = 11;
	publish(1);
	expect_accusation("a descriptor outside its region");
	d = next_receive(0);
	d->off = UINT32_MAX;
	d->len = 20;
	publish(1);
	expect_accusation("a descriptor outside its region");
	works_again();
}

Test(device, lie_chunk_that_was_not_given)
{
	const struct device *d = &g.s.device->dev[g.dev];

	next_receive(0)->chunk = (uint64_t)d->free[0] * RIG_CHUNK;
	publish(1);
	expect_accusation("a chunk that it was not given");
	works_again();
}

Test(device, lie_the_same_chunk_twice)
{
	uint64_t chunk = next_receive(0)->chunk;

	next_receive(1)->chunk = chunk;
	publish(2);
	expect_accusation("a chunk that it was not given");
	works_again();
}

Test(device, lie_in_the_middle_of_a_chain)
{
	next_receive(0)->flags = DESC_MORE;
	next_receive(1)->flags = DESC_MORE;
	next_receive(1)->chunk = 7;
	next_receive(2)->len = 10;
	region_desc(g.mem, &g.geo, 0, RING_RECEIVE, g.rx + 1)->flags = DESC_MORE;
	region_desc(g.mem, &g.geo, 0, RING_RECEIVE, g.rx + 1)->chunk = 7;
	publish(3);
	expect_accusation("a descriptor outside its region");
	cr_assert_eq(got, 0);
	works_again();
}

Test(device, lie_chain_without_an_end)
{
	next_receive(0)->flags = DESC_MORE;
	publish(1);
	expect_accusation("a chain without an end");
	works_again();
}

Test(device, lie_empty_descriptors_are_dropped_only)
{
	const char *why;

	next_receive(0)->len = 0;
	publish(1);
	rig_cycle(&g);
	cr_assert_eq(got, 0);
	cr_assert_null(device_accused(&g.s, &why));
	works_again();
}

Test(device, lie_receive_position)
{
	rig_queue(&g)->receive_prod.v = g.rx + CHUNKS;
	expect_accusation("its receive position");
	works_again();
	rig_queue(&g)->receive_prod.v = g.rx - 1;
	expect_accusation("its receive position");
	works_again();
	rig_queue(&g)->receive_prod.v = UINT64_MAX;
	expect_accusation("its receive position");
	works_again();
}

Test(device, lie_completion_position_and_chunk)
{
	struct packet p;

	rig_queue(&g)->completion_prod.v = 1;
	expect_accusation("its completion position");
	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 100), 0);
	cr_assert_eq(device_output(&g.s, &p), 0);
	rig_cycle(&g);
	*region_desc(g.mem, &g.geo, 0, RING_COMPLETION, g.tx) =
	    (struct dev_desc){.chunk = RIG_CHUNK / 2};
	rig_queue(&g)->completion_prod.v = g.tx + 1;
	expect_accusation("a descriptor outside its region");
	works_again();
}

Test(device, a_region_that_is_none_is_refused)
{
	struct region *r = rig_region(&g);

	cr_assert_eq(device_attach(&g.s, "tap0", "tap", g.mem, g.size, -1), -EEXIST);
	cr_assert_eq(device_attach(&g.s, "tap1", "tap", g.mem, g.size - 1, -1), -EPROTO);
	cr_assert_eq(device_attach(&g.s, "tap1", "tap", g.mem, 100, -1), -EPROTO);
	cr_assert_eq(
	    device_attach(&g.s, "a-name-that-is-too-long", "tap", g.mem, g.size, -1), -EINVAL);
	r->geo.chunks = 1u << 30;
	cr_assert_eq(device_attach(&g.s, "tap1", "tap", g.mem, g.size, -1), -EPROTO);
	r->geo.chunks = CHUNKS;
	r->geo.entries = 3;
	cr_assert_eq(device_attach(&g.s, "tap1", "tap", g.mem, g.size, -1), -EPROTO);
	r->geo = g.geo;
}

Test(device, the_geometry_is_not_read_again)
{
	rig_region(&g)->geo.chunk_off = 1ull << 60;
	rig_region(&g)->geo.chunks = UINT32_MAX;
	works_again();
	rig_region(&g)->geo = g.geo;
}
