/* Packets, chunks, and a driver that is honest, lies, or outlives the daemon. */
#include "device_rig.h"
#include "base/util.h"
#include "proto/endian.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include <criterion/criterion.h>
#include <stdlib.h>

#define CHUNKS 256u

static struct rig g;
static unsigned got;	    /* frames that the handler saw */
static uint8_t last[70000]; /* the last one, without its link header */
static uint32_t last_len;
static struct packet last_packet;

static void take(struct stack *s, struct packet *p, const uint8_t src[6])
{
	(void)s;
	(void)src;
	got++;
	last_len = p->len;
	last_packet = *p;
	cr_assert(packet_read(p, 0, last, p->len));
}

static void setup(void)
{
	got = 0;
	last_len = 0;
	rig_open(&g, CHUNKS, take);
}

static void teardown(void)
{
	rig_close(&g);
}

TestSuite(device, .init = setup, .fini = teardown);

static void census(void)
{
	const char *wrong = rig_census(&g);

	cr_assert_null(wrong, "%s", wrong ? wrong : "");
}

static void fill(uint8_t *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + i / 251);
}

/* ---- packets */

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

/* ---- lies */

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

static void works_again(void)
{
	uint8_t frame[100], payload[40] = {0};
	uint32_t len = rig_frame(frame, 0x0800, payload, sizeof(payload));
	unsigned before = got;

	cr_assert(rig_driver_receive(&g, frame, len, 0));
	rig_cycle(&g);
	cr_assert_eq(got, before + 1);
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

/* ---- segmentation in software */

static uint32_t make_super(
    struct packet *p, uint8_t proto, uint32_t payload, uint16_t mss, const uint8_t *data)
{
	uint32_t thl = proto == 6 ? 32 : 8, sum;
	struct ipv4_header ip = {.ttl = 64,
	    .proto = proto,
	    .src = 0x0a630002,
	    .dst = 0x0a630001,
	    .id = 77,
	    .total_len = (uint16_t)(20 + thl + payload),
	    .dont_fragment = true};
	uint8_t *t, *front;
	be16 pseudo;

	cr_assert_eq(packet_alloc(&g.s, p, g.dev, payload), 0);
	packet_write(p, 0, data, payload);
	t = packet_push(p, thl);
	if (proto == 6) {
		struct tcp_header h = {.src = 1,
		    .dst = 2,
		    .seq = 0xfffffff0,
		    .ack = 5,
		    .window = 9,
		    .flags = TCP_F_ACK | TCP_F_PSH | TCP_F_FIN | TCP_F_CWR,
		    .has_ts = true,
		    .ts_val = 3};
		cr_assert_eq(tcp_emit(&h, t, thl), 32);
	} else {
		struct udp_header h = {.src = 1, .dst = 2, .len = (uint16_t)(8 + payload)};
		udp_emit(&h, t, thl);
	}
	sum =
	    csum_add(csum_add(csum_u32(ip.src), csum_u32(ip.dst)), csum_add(proto, thl + payload));
	pseudo = be16_make((uint16_t)sum);
	memcpy(t + (proto == 6 ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET), &pseudo, 2);
	p->flags = DESC_CSUM_NEEDED;
	p->csum_at = t;
	p->csum_offset = proto == 6 ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET;
	p->gso_type = mss ? proto == 6 ? GSO_TCPV4 : GSO_UDP : GSO_NONE;
	p->gso_size = mss;
	front = packet_push(p, 20);
	cr_assert_eq(ipv4_emit(&ip, front, 20), 20);
	return thl;
}

static void check_segments(uint8_t proto, uint32_t payload, uint16_t mss, const uint8_t *data)
{
	uint8_t f[3000];
	uint32_t at = 0, n, number = 0, len;
	struct dev_desc first;

	for (; at < payload; at += n, number++) {
		struct ipv4_header ip;
		struct tcp_header tcp;
		uint32_t thl = proto == 6 ? 32 : 8, sum;

		len = rig_driver_send(&g, f, sizeof(f), &first);
		cr_assert_gt(len, 34, "frame %u is missing", number);
		cr_assert_eq(first.gso_type, GSO_NONE);
		cr_assert_eq(first.flags & DESC_CSUM_NEEDED, 0);
		cr_assert_eq(ipv4_parse(&ip, f + 14, len - 14), 0);
		cr_assert(ipv4_checksum_ok(f + 14, ip.hdr_len));
		cr_assert_eq(ip.total_len, len - 14);
		cr_assert_eq(ip.id, 77 + number);
		n = len - 34 - thl;
		cr_assert_eq(n, min_of(payload - at, (uint32_t)mss));
		cr_assert_arr_eq(f + 34 + thl, data + at, n);
		sum = csum_add(
		    csum_add(csum_u32(ip.src), csum_u32(ip.dst)), csum_add(proto, thl + n));
		cr_assert_eq(csum(f + 34, thl + n, sum), 0xffff, "checksum of frame %u", number);
		if (proto != 6)
			continue;
		cr_assert_eq(tcp_parse(&tcp, f + 34, len - 34), 0);
		cr_assert_eq(tcp.seq, 0xfffffff0 + at);
		cr_assert_eq(!!(tcp.flags & TCP_F_FIN), at + n == payload);
		cr_assert_eq(!!(tcp.flags & TCP_F_PSH), at + n == payload);
		cr_assert_eq(!!(tcp.flags & TCP_F_CWR), at == 0);
	}
	cr_assert_eq(rig_driver_send(&g, f, sizeof(f), &first), 0);
}

Test(device, a_device_without_offloads_gets_plain_frames)
{
	static uint8_t data[40000];
	static const uint8_t dst[6] = {2, 0, 0, 0, 0, 1};
	static const uint32_t payload[] = {1, 999, 1448, 1449, 14480, 33333};
	struct packet p;

	fill(data, sizeof(data));
	rig_region(&g)->features = 0;
	rig_cycle(&g);
	for (unsigned i = 0; i < ARRAY_SIZE(payload); i++)
		for (int udp = 0; udp < 2; udp++) {
			make_super(&p, udp ? 17 : 6, payload[i], 1448, data);
			cr_assert_eq(ether_output(&g.s, &p, dst, 0x0800), 0);
			rig_cycle(&g);
			check_segments(udp ? 17 : 6, payload[i], 1448, data);
			rig_cycle(&g);
			census();
		}
}

Test(device, a_device_with_offloads_gets_the_super_frame)
{
	static uint8_t data[40000], f[40100];
	static const uint8_t dst[6] = {2, 0, 0, 0, 0, 1};
	struct dev_desc first;
	struct packet p;

	make_super(&p, 6, 30000, 1448, data);
	cr_assert_eq(ether_output(&g.s, &p, dst, 0x0800), 0);
	rig_cycle(&g);
	cr_assert_eq(rig_driver_send(&g, f, sizeof(f), &first), 30066);
	cr_assert_eq(first.gso_type, GSO_TCPV4);
	cr_assert_eq(first.gso_size, 1448);
	cr_assert_eq(first.hdr_len, 66);
	cr_assert_eq(first.csum_start, 34);
	cr_assert_eq(first.csum_offset, 16);
	cr_assert_eq(first.flags & DESC_CSUM_NEEDED, DESC_CSUM_NEEDED);
}

/* ---- death at random moments */

/*
 * Numbered frames come in; each is answered by one with the same number, some after waiting in a
 * neighbour's queue. The driver must see every number once and in order, and no chunk may be lost,
 * wherever the daemon dies. Every byte follows from the number, so that a chunk used too early
 * shows.
 */
static uint32_t heard, heard_committed; /* numbers so far */
static uint32_t said;
static const struct ipaddr hop = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 99, 0, 1}};

static void make_numbered(uint8_t *buf, uint32_t len, uint32_t number)
{
	memcpy(buf, &number, sizeof(number));
	for (uint32_t i = sizeof(number); i < len; i++)
		buf[i] = (uint8_t)(number * 31 + i);
}

static void check_numbered(const uint8_t *buf, uint32_t len, uint32_t want)
{
	uint8_t right[6000];

	make_numbered(right, len, want);
	cr_assert_eq(memcmp(buf, right, len), 0, "frame %u, or all of it", want);
}

static void answer(struct stack *s, struct packet *p, const uint8_t src[6])
{
	uint32_t len = 40 + (uint32_t)rand() % 5000;
	uint8_t buf[6000];
	struct packet out;

	(void)src;
	cr_assert_leq(p->len, sizeof(buf));
	cr_assert(packet_read(p, 0, buf, p->len));
	check_numbered(buf, p->len, heard);
	cr_assert_eq(packet_alloc(s, &out, p->dev, len), 0);
	make_numbered(buf, len, heard++);
	packet_write(&out, 0, buf, len);
	memset(out.head, 0xee, PACKET_HEADROOM); /* whoever needs what was here before, loses */
	cr_assert_eq(neigh_output(s, &out, &hop), 0);
}

static void driver_sends(void)
{
	uint8_t frame[6000];
	uint32_t len;

	while ((len = rig_driver_send(&g, frame, sizeof(frame), NULL)))
		check_numbered(frame + ETHERNET_LEN, len - ETHERNET_LEN, said++);
}

static void driver_receives(uint32_t *number)
{
	uint8_t frame[6000], payload[5100];

	/* At most NEIGH_QUEUE frames may wait, else the oldest is dropped, as it should be. */
	for (int n = rand() % 3; n && *number - said < NEIGH_QUEUE; n--) {
		uint32_t len = 40 + (uint32_t)rand() % 5000;

		make_numbered(payload, len, *number);
		len = rig_frame(frame, 0x0800, payload, len);
		if (!rig_driver_receive(&g, frame, len, 0))
			return;
		(*number)++;
	}
}

enum death { BEFORE_COMMIT, AFTER_COMMIT, AFTER_SPEAKING, NO_DEATH = 10 };

static void random_cycle(bool answer_comes)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	int death = rand() % NO_DEATH;

	if (answer_comes)
		neigh_update(&g.s, g.dev, &hop, mac, true, true, false);
	device_gather(&g.s, g.dev, 1 + (unsigned)rand() % 3);
	driver_sends();
	if (death == BEFORE_COMMIT) {
		heard = heard_committed;
		rig_restart(&g);
		return;
	}
	rig_commit(&g);
	heard_committed = heard;
	driver_sends();
	if (death == AFTER_COMMIT) {
		rig_restart(&g);
		return;
	}
	rig_speak(&g, false);
	if (death == AFTER_SPEAKING)
		rig_restart(&g);
}

Test(device, death_at_any_moment_loses_nothing)
{
	uint32_t number = 0;

	g.types[0].input = answer;
	srand(42);
	for (int round = 0; round < 4000; round++) {
		uint32_t i = neigh_find(&g.s, g.dev, &hop);
		const struct neigh_rec *r =
		    i == NO_INDEX ? NULL : state_peek(g.s.state, KIND_NEIGH, i);

		bool resolved = r && r->state == NEIGH_REACHABLE;
		/* Now and then the neighbour is forgotten, once nothing waits. */
		if (resolved && rand() % 50 == 0)
			neigh_set(&g.s, g.dev, &hop, NULL);
		driver_receives(&number);
		random_cycle(r && !resolved && rand() % 3 == 0);
		census();
		driver_sends();
	}
	cr_assert_gt(said, 1000);
}

Test(device, a_lost_bits_record_is_made_again_from_the_rings)
{
	struct packet p;

	for (int i = 0; i < 5; i++) {
		cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 3000), 0);
		cr_assert_eq(device_output(&g.s, &p), 0);
	}
	rig_cycle(&g);
	state_free(g.s.state, KIND_CHUNKS, 0);
	rig_commit(&g);
	rig_restart(&g);
	census();
	works_again();
}
