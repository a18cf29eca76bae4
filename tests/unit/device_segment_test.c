/* Segmentation in software, for a device that cannot do it. */
#include "device_rig.h"
#include "device_fixture.h"
#include "base/util.h"
#include "proto/endian.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

TestSuite(device, .init = setup, .fini = teardown);

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
