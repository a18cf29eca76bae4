/* netd-tap by itself: facts, both directions, offloads, lies from netd-inet, death under traffic. */
#include "driver_rig.h"
#include "drivers/runtime/queue.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rig rig;
static uint8_t frame[REGION_FRAME_MAX + 1], back[REGION_FRAME_MAX + 1];

static void setup(void)
{
	rig_init(&rig);
	rig_start(&rig);
}

static void teardown(void)
{
	if (!rig.region)
		return;
	if (rig.pid > 0 && rig_alive(&rig))
		cr_assert(rig_stop(&rig) == 0, "exit status");
	rig_free(&rig);
}

TestSuite(driver, .init = setup, .fini = teardown, .timeout = 60);

static void await_beat(uint64_t number)
{
	uint64_t deadline = rig_now_ms() + 1000;

	rig_ping(&rig, number);
	while (load_acquire(&rig.clock->beat[7].beat) != number && rig_now_ms() < deadline)
		usleep(100);
	cr_assert(rig.clock->beat[7].beat == number, "no beat");
}

Test(driver, announces_its_device)
{
	struct ifreq ifr = {0};
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint8_t mac[6] = {2, 0, 0, 0, 0, 2};

	cr_assert(rig.escrow >= 0, "the TAP is in escrow");
	cr_assert(rig.region->driver_incarnation == 1 && rig.region->link_up == 1);
	cr_assert(rig.region->mtu == 1500 && !memcmp(rig.region->mac, mac, 6));
	cr_assert(rig.region->features & REGION_F_TSO4);
	cr_assert(rig.clock->beat[7].started_ns != 0);
	strcpy(ifr.ifr_name, "netd0");
	cr_assert(ioctl(sock, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_UP));
	cr_assert(ioctl(sock, SIOCGIFADDR, &ifr) == 0);
	cr_assert(((struct sockaddr_in *)&ifr.ifr_addr)->sin_addr.s_addr == htonl(0x0a630001));
	cr_assert(ioctl(sock, SIOCGIFTXQLEN, &ifr) == 0 && ifr.ifr_qlen == 1000);
	cr_assert(ioctl(sock, SIOCGIFHWADDR, &ifr) == 0 && memcmp(ifr.ifr_hwaddr.sa_data, mac, 6) != 0);
	close(sock);
	await_beat(41);
}

/* No capability, no way back, a filter: whatever the frames do to it. */
Test(driver, has_no_privileges)
{
	char path[64], line[256];
	FILE *f;
	int found = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)rig.pid);
	f = fopen(path, "re");
	cr_assert_not_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long caps;

		if (sscanf(line, "CapEff: %llx", &caps) == 1 || sscanf(line, "CapPrm: %llx", &caps) == 1 ||
		    sscanf(line, "CapBnd: %llx", &caps) == 1) {
			cr_expect(caps == 0, "%s", line);
			found++;
		}
		if (!strncmp(line, "NoNewPrivs:", 11))
			cr_expect(strchr(line, '1') != NULL && ++found);
	}
	fclose(f);
	cr_assert(found == 4);
}

Test(driver, receives_frames_in_order)
{
	struct dev_desc d;
	unsigned chunks;

	rig_fill(&rig, 100);
	for (uint32_t i = 0; i < 500; i++) {
		uint32_t len = 60 + i % 1400;

		rig_numbered(frame, i, len);
		rig_inject(&rig, NULL, frame, len);
		cr_assert(rig_receive(&rig, back, &d, &chunks) == len && chunks == 1);
		cr_assert(!memcmp(frame, back, len));
		if (i % 50 == 0)
			rig_fill(&rig, 50);
	}
	rig_census(&rig);
}

/* An IPv4 TCP segment of `payload` bytes, with the pseudo header's sum as the kernel wants it. */
static uint32_t super_frame(uint8_t *f, uint32_t payload, struct virtio_net_hdr *h)
{
	uint32_t len = 54 + payload;

	rig_numbered(f, 7, len);
	for (uint32_t i = 54; i < len; i++)
		f[i] = (uint8_t)(i * 7);
	memset(f + 14, 0, 40);
	f[14] = 0x45;
	f[16] = (uint8_t)((len - 14) >> 8);
	f[17] = (uint8_t)(len - 14);
	f[22] = 64;
	f[23] = IPPROTO_TCP;
	memcpy(f + 26, "\x0a\x63\x00\x01\x0a\x63\x00\x02", 8);
	f[46] = 0x50;
	f[47] = 0x10;
	*h = (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	    .hdr_len = 54,
	    .gso_size = 1448,
	    .csum_start = 34,
	    .csum_offset = 16};
	return len;
}

Test(driver, receives_super_frames_as_chains)
{
	struct virtio_net_hdr h;
	struct dev_desc d;
	unsigned chunks;
	uint32_t len = super_frame(frame, 60000, &h);

	frame[12] = 0x08; /* GSO wants a protocol it knows */
	frame[13] = 0x00;
	rig_fill(&rig, 40);
	rig_inject(&rig, &h, frame, len);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == len);
	cr_assert(chunks == (len + RIG_CHUNK - 1) / RIG_CHUNK && !memcmp(frame, back, len));
	cr_assert(d.gso_type == GSO_TCPV4 && d.gso_size == 1448 && d.hdr_len == 54);
	cr_assert((d.flags & DESC_CSUM_NEEDED) && d.csum_start == 34 && d.csum_offset == 16);
	/* Too few chunks for the next one: dropped and counted, the one after it is there. */
	cr_assert(rig.fill_prod - rig.receive_cons > 8);
	rig_fill(&rig, 0);
	while (rig.fill_prod - rig.receive_cons > 8) {
		rig_inject(&rig, NULL, frame, 60);
		cr_assert(rig_receive(&rig, back, &d, &chunks) == 60);
	}
	rig_inject(&rig, &h, frame, len);
	rig_numbered(frame, 9, 100);
	rig_inject(&rig, NULL, frame, 100);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 100 && rig_number(back) == 9);
	usleep(20000);
	cr_assert(rig.region->drv_rx_dropped == 1);
	rig_census(&rig);
}

/* The kernel segments for an inet that may not have super-frames. */
Test(driver, respects_the_configuration, .init = NULL)
{
	struct virtio_net_hdr h;
	struct dev_desc d;
	unsigned chunks;
	uint32_t len = super_frame(frame, 14480, &h);

	rig_init(&rig);
	rig.offloads = 0;
	rig_start(&rig);
	cr_assert(rig.region->features == 0);
	frame[12] = 0x08;
	frame[13] = 0x00;
	rig_fill(&rig, 40);
	rig_inject(&rig, &h, frame, len);
	for (int i = 0; i < 10; i++) {
		cr_assert(rig_receive(&rig, back, &d, &chunks) == 1448 + 54 && chunks == 1);
		cr_assert(d.gso_type == GSO_NONE && !(d.flags & DESC_CSUM_NEEDED));
	}
}

Test(driver, transmits_chains_with_offloads)
{
	struct virtio_net_hdr h, got;
	uint32_t len = super_frame(frame, 20000, &h), done = 0;
	struct dev_desc d[8] = {{0}};
	unsigned n = 0;

	/* An experimental ethertype would not be segmented: the socket must see it whole. */
	while (done < len) {
		int c = rig_free_chunk(&rig);
		uint32_t off = n ? 0 : 128, here = RIG_CHUNK - off;

		here = here < len - done ? here : len - done;
		rig.owner[c] = OWNER_TRANSMIT;
		d[n] = (struct dev_desc){.chunk = (uint64_t)c * RIG_CHUNK, .off = off, .len = here};
		memcpy(region_chunk(rig.region, &rig.geo, d[n].chunk) + off, frame + done, here);
		done += here;
		d[n++].flags = done < len ? DESC_MORE : 0;
	}
	d[0].flags |= DESC_CSUM_NEEDED;
	d[0].csum_start = 34;
	d[0].csum_offset = 16;
	d[0].gso_type = GSO_TCPV4;
	d[0].gso_size = 1448;
	d[0].hdr_len = 54;
	rig_transmit(&rig, d, n);
	rig_drained(&rig);
	cr_assert(rig_collect(&rig, &got, back, sizeof(back), 1000) == len && !memcmp(frame, back, len));
	cr_assert(got.gso_type == VIRTIO_NET_HDR_GSO_TCPV4 && got.gso_size == 1448);
	cr_assert(got.csum_start == 34 && got.csum_offset == 16);
	cr_assert(rig.region->drv_tx_frames == 1);
	rig_census(&rig);
}

static void hostile_transmit(struct dev_desc d)
{
	rig_transmit(&rig, &d, 1);
	rig_drained(&rig);
}

Test(driver, survives_bad_transmit_descriptors)
{
	struct virtio_net_hdr h;
	uint64_t far = (uint64_t)RIG_CHUNK * RIG_CHUNKS; /* outside, so that the rig's census ignores it */
	struct dev_desc chain[60];

	hostile_transmit((struct dev_desc){.chunk = far, .len = 100});
	hostile_transmit((struct dev_desc){.chunk = UINT64_MAX - 4095, .len = 4096});
	hostile_transmit((struct dev_desc){.chunk = far + 1, .len = 100});
	hostile_transmit((struct dev_desc){.chunk = far, .off = UINT32_MAX, .len = 2});
	hostile_transmit((struct dev_desc){.chunk = far, .off = 2, .len = UINT32_MAX});
	/* A chain without end, and one that is longer than any frame. */
	for (int i = 0; i < 60; i++)
		chain[i] = (struct dev_desc){.chunk = far, .len = 4096, .flags = DESC_MORE};
	chain[59].flags = 0;
	rig_transmit(&rig, chain, 60);
	rig_drained(&rig);
	cr_assert(rig_alive(&rig));
	cr_assert(rig_transmit_numbered(&rig, 5, 100));
	rig_drained(&rig);
	cr_assert(rig_collect(&rig, &h, back, sizeof(back), 1000) == 100 && rig_number(back) == 5);
	cr_assert(rig.region->drv_tx_dropped == 7 && rig.region->drv_tx_frames == 1);
}

Test(driver, refuses_bad_offload_facts)
{
	static const struct dev_desc bad[] = {
	    {.len = 13},
	    {.len = 0},
	    {.len = 100, .flags = DESC_CSUM_NEEDED, .csum_start = 90, .csum_offset = 9},
	    {.len = 100, .flags = DESC_CSUM_NEEDED, .csum_start = 65535, .csum_offset = 65535},
	    {.len = 100, .flags = DESC_CSUM_NEEDED, .csum_start = 2, .csum_offset = 2},
	    {.len = 100, .gso_type = GSO_TCPV4, .gso_size = 10, .hdr_len = 54},
	    {.len = 100, .gso_type = GSO_TCPV4, .flags = DESC_CSUM_NEEDED, .csum_start = 34, .csum_offset = 16, .hdr_len = 54},
	    {.len = 100, .gso_type = GSO_TCPV4, .flags = DESC_CSUM_NEEDED, .csum_start = 34, .csum_offset = 16, .hdr_len = 101, .gso_size = 10},
	    {.len = 100, .gso_type = 77, .flags = DESC_CSUM_NEEDED, .csum_start = 34, .csum_offset = 16, .hdr_len = 54, .gso_size = 10},
	};
	struct virtio_net_hdr h;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct dev_desc d = bad[i];

		d.chunk = 0;
		rig.owner[0] = OWNER_TRANSMIT;
		rig_numbered(region_chunk(rig.region, &rig.geo, 0), 1, 200);
		hostile_transmit(d);
		usleep(2000);
		cr_expect(rig.region->drv_tx_dropped == i + 1, "%d was sent", (int)i);
	}
	cr_assert(rig_collect(&rig, &h, back, sizeof(back), 50) == 0, "nothing got out");
}

Test(driver, survives_bad_fill_entries)
{
	struct dev_desc d;
	unsigned chunks;

	*rig_desc(&rig, RING_FILL, rig.fill_prod++) = (struct dev_desc){.chunk = UINT64_MAX - 4095};
	*rig_desc(&rig, RING_FILL, rig.fill_prod++) = (struct dev_desc){.chunk = (uint64_t)RIG_CHUNK * RIG_CHUNKS};
	rig_fill(&rig, 2);
	rig_numbered(frame, 3, 100);
	rig_inject(&rig, NULL, frame, 100);
	/* The bad ones come straight back, empty; what is good is used. */
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 0 && chunks == 1 && d.len == 0);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 0 && chunks == 1 && d.len == 0);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 100 && rig_number(back) == 3);
	rig_census(&rig);
}

Test(driver, survives_absurd_positions)
{
	static const uint64_t absurd[] = {UINT64_MAX, 1ull << 63, 100000, RIG_CHUNKS + 1};
	struct region_queue *q = &rig.region->queue[0];
	struct virtio_net_hdr h;
	struct dev_desc d;
	unsigned chunks;

	for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
		store_release(&q->fill_prod.v, absurd[i]);
		store_release(&q->transmit_prod.v, absurd[i]);
		/* The driver's own words are its private affair. */
		store_release(&q->receive_prod.v, absurd[i]);
		store_release(&q->completion_prod.v, absurd[i]);
		bell_ring(rig.bell[1]);
		await_beat(100 + i);
	}
	store_release(&q->fill_prod.v, 0);
	store_release(&q->transmit_prod.v, 0);
	store_release(&q->receive_prod.v, 0);
	store_release(&q->completion_prod.v, 0);
	rig_fill(&rig, 4);
	rig_numbered(frame, 8, 64);
	rig_inject(&rig, NULL, frame, 64);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 64);
	cr_assert(rig_transmit_numbered(&rig, 6, 80));
	rig_drained(&rig);
	cr_assert(rig_collect(&rig, &h, back, sizeof(back), 1000) == 80);
}

/* Frames that came while there was no driver are in the kernel's queue; the successor finds them. */
Test(driver, successor_takes_over_from_escrow)
{
	struct dev_desc d;
	unsigned chunks, index = if_nametoindex("netd0");

	rig_fill(&rig, 200);
	rig_kill(&rig);
	for (uint32_t i = 0; i < 150; i++) {
		rig_numbered(frame, i, 200);
		rig_inject(&rig, NULL, frame, 200);
	}
	rig_start(&rig);
	cr_assert(rig.region->driver_incarnation == 2 && if_nametoindex("netd0") == index);
	for (uint32_t i = 0; i < 150; i++)
		cr_assert(rig_receive(&rig, back, &d, &chunks) == 200 && rig_number(back) == i);
	rig_census(&rig);
}

/* The descriptor in escrow keeps the interface, its carrier and a queue of the length that was asked for. */
Test(driver, queue_and_carrier_outlive_the_driver, .init = NULL)
{
	struct ifreq ifr = {0};
	struct dev_desc d;
	unsigned chunks;
	int sock;

	rig_init(&rig);
	rig.txqueuelen = 10000;
	rig_start(&rig);
	rig_fill(&rig, 200);
	rig_kill(&rig);
	for (uint32_t i = 0; i < 9500; i++) {
		rig_numbered(frame, i, 200);
		rig_inject(&rig, NULL, frame, 200);
	}
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strcpy(ifr.ifr_name, "netd0");
	cr_assert(ioctl(sock, SIOCGIFFLAGS, &ifr) == 0);
	cr_assert((ifr.ifr_flags & IFF_UP) && (ifr.ifr_flags & IFF_RUNNING), "no carrier");
	close(sock);
	rig_start(&rig);
	for (uint32_t i = 0; i < 9500; i++) {
		cr_assert(rig_receive(&rig, back, &d, &chunks) == 200 && rig_number(back) == i);
		rig_fill(&rig, 1);
	}
	rig_census(&rig);
}

struct flood {
	uint32_t sent, sent_tx, got_rx, got_tx;
};

static void flood_step(struct flood *f)
{
	struct virtio_net_hdr h;
	struct dev_desc d;
	unsigned chunks;

	for (int i = 0; i < 8; i++) {
		rig_numbered(frame, ++f->sent, 1000);
		rig_inject(&rig, NULL, frame, 1000);
		if (rig_transmit_numbered(&rig, f->sent_tx + 1, 1000))
			f->sent_tx++;
	}
	rig_complete(&rig);
	while (load_acquire(&rig.region->queue[0].receive_prod.v) != rig.receive_cons) {
		uint32_t len = rig_receive(&rig, back, &d, &chunks);

		cr_assert(len == 1000, "%u bytes, ethertype %02x%02x", len, back[12], back[13]);
		cr_assert(rig_number(back) > f->got_rx, "order, no doubles");
		f->got_rx = rig_number(back);
	}
	rig_fill(&rig, 8);
	while (rig_collect(&rig, &h, back, sizeof(back), 0)) {
		cr_assert(rig_number(back) == f->got_tx || rig_number(back) == f->got_tx + 1,
		    "%u after %u", rig_number(back), f->got_tx);
		f->got_tx = rig_number(back);
	}
}

/* Killed at any instant: no chunk is lost or doubled, nothing that was to be sent is missing. */
Test(driver, dies_under_traffic)
{
	struct flood f = {0};

	rig_fill(&rig, 150);
	for (int round = 0; round < 40; round++) {
		uint64_t until = rig_now_ms() + 5 + (uint64_t)(round * 7) % 13;

		while (rig_now_ms() < until)
			flood_step(&f);
		rig_kill(&rig);
		rig_census(&rig);
		flood_step(&f);
		rig_start(&rig);
	}
	for (int i = 0; i < 200 && f.got_tx != f.sent_tx; i++) {
		usleep(1000);
		flood_step(&f);
	}
	rig_drained(&rig);
	cr_assert(f.sent_tx > 1000 && rig.region->driver_incarnation == 41);
	await_beat(9);
}

/*
 * A frame with an honest account of its length, of a kind and a length that follow from its number, and
 * the number in it. Returns the length.
 */
static uint32_t honest_frame(uint8_t *f, uint32_t number, struct virtio_net_hdr *h)
{
	static const uint8_t type[][2] = {{0x08, 0x00}, {0x86, 0xdd}, {0x08, 0x06}, {0x08, 0x00}};
	uint32_t kind = number % 4, off = 14 + (number % 7 ? 0 : 4), len;

	*h = (struct virtio_net_hdr){0};
	if (number % 16 == 0) {
		len = super_frame(f, 5000 + number % 9 * 1000, h);
		memcpy(f + 38, &number, 4); /* the sequence number */
		memcpy(f + 12, type[0], 2);
		return len;
	}
	len = kind == 2 ? off + 28 : off + 60 + number % 1400;
	rig_numbered(f, number, len);
	memcpy(f + 12, "\x81\x00\x00\x05", 4);
	memcpy(f + off - 2, type[kind], 2);
	memset(f + off, 0, 28);
	if (kind == 1) {
		f[off] = 0x60;
		f[off + 4] = (uint8_t)((len - off - 40) >> 8);
		f[off + 5] = (uint8_t)(len - off - 40);
	} else if (kind != 2) {
		f[off] = 0x45;
		f[off + 2] = (uint8_t)((len - off) >> 8);
		f[off + 3] = (uint8_t)(len - off);
	}
	memcpy(f + off + 24, &number, 4);
	return len;
}

static void expect_honest(uint32_t number)
{
	struct virtio_net_hdr h;
	struct dev_desc d;
	unsigned chunks;
	uint32_t len = honest_frame(frame, number, &h), got = rig_receive(&rig, back, &d, &chunks);

	cr_assert(got, "%u is lost", number);
	cr_assert(got == len && !memcmp(frame, back, len), "not frame %u, or not intact", number);
	cr_assert(d.gso_size == h.gso_size && chunks == (len + RIG_CHUNK - 1) / RIG_CHUNK);
}

/* Wherever the kill falls, in the middle of a read above all: every frame arrives, once, in order. */
Test(driver, loses_no_received_frame, .timeout = 110)
{
	uint32_t sent = 0, got = 0;
	struct virtio_net_hdr h;

	srand(1);
	for (int round = 0; round < 300; round++) {
		uint32_t until = sent + 30 + (uint32_t)rand() % 60, die = sent + 1 + (uint32_t)rand() % 30;

		rig_fill(&rig, RIG_CHUNKS);
		while (sent < until) {
			uint32_t len = honest_frame(frame, ++sent, &h);

			rig_inject(&rig, &h, frame, len);
			if (sent == die)
				rig_kill(&rig);
		}
		rig_census(&rig);
		rig_start(&rig);
		while (got < sent) {
			expect_honest(++got);
			rig_fill(&rig, RIG_CHUNKS);
		}
	}
	usleep(20000);
	cr_assert(load_acquire(&rig.region->queue[0].receive_prod.v) == rig.receive_cons, "one too many");
	cr_assert(rig.region->drv_rx_dropped == 0 && rig.region->driver_incarnation == 301);
	rig_census(&rig);
}

/* What a predecessor left, true or not, is checked like everything else. */
static void rig_leave(uint32_t offered, uint8_t flags, uint64_t position)
{
	rig_kill(&rig);
	memset(rig.region->rx_header, 0, sizeof(rig.region->rx_header));
	rig.region->rx_header[0] = flags;
	rig.region->rx_offered = offered;
	rig.region->rx_position = position;
	rig_start(&rig);
	await_beat(rig.region->driver_incarnation);
}

static uint8_t *next_fill(void)
{
	uint64_t at = rig.region->queue[0].receive_prod.v;

	return region_chunk(rig.region, &rig.geo, rig_desc(&rig, RING_FILL, at)->chunk);
}

Test(driver, checks_what_its_predecessor_left)
{
	struct virtio_net_hdr h;
	uint64_t at;

	rig_fill(&rig, 8);
	honest_frame(frame, 3, &h);
	honest_frame(next_fill(), 3, &h);
	rig_leave(1, REGION_NO_HEADER, 0);
	rig_leave(1, 0, 1);
	rig_leave(0, 0, 0);
	rig_leave(9, 0, 0);
	rig_leave(UINT32_MAX, 0, 0);
	at = load_acquire(&rig.region->queue[0].receive_prod.v);
	cr_assert(at == 0, "published what was not there");
	/* Longer than what was offered; no length at all; a header that contradicts the frame. */
	next_fill()[16] = 0xff;
	rig_leave(4, 0, 0);
	memset(next_fill() + 12, 0x77, 40);
	rig_leave(1, 0, 0);
	honest_frame(next_fill(), 3, &h);
	rig_leave(1, VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
	at = load_acquire(&rig.region->queue[0].receive_prod.v);
	cr_assert(at == 0 && rig.region->drv_rx_dropped >= 3);
	rig_leave(1, 0, 0);
	expect_honest(3);
	rig_census(&rig);
}

/* Pings are answered while both directions are busy. */
Test(driver, beats_under_load)
{
	struct flood f = {0};
	uint64_t number = 1;

	rig_fill(&rig, 150);
	for (int i = 0; i < 50; i++) {
		uint64_t asked = rig_now_ms();

		rig_ping(&rig, ++number);
		while (load_acquire(&rig.clock->beat[7].beat) != number) {
			flood_step(&f);
			cr_assert(rig_now_ms() - asked < 500, "no beat");
		}
	}
}

/* The supervisor's death is no reason to stop. */
Test(driver, outlives_its_supervisor)
{
	struct dev_desc d;
	unsigned chunks;

	rig_fill(&rig, 10);
	close(rig.channel);
	usleep(20000);
	cr_assert(rig_alive(&rig));
	rig_numbered(frame, 8, 64);
	rig_inject(&rig, NULL, frame, 64);
	cr_assert(rig_receive(&rig, back, &d, &chunks) == 64);
	kill(rig.pid, SIGKILL);
	waitpid(rig.pid, NULL, 0);
	rig.pid = 0;
	rig.channel = -1;
}
