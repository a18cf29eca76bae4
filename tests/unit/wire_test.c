/* Headers: every length check, every field there and back; the checksum against a plain one. */
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/icmp.h"
#include "wire/igmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A private copy of exactly n bytes, so that the sanitizer sees a read beyond. */
static uint8_t *exactly(const uint8_t *buf, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);

	memcpy(p, buf, n);
	return p;
}

static void randomize(uint8_t *buf, size_t n)
{
	while (n--)
		*buf++ = (uint8_t)rand();
}

/* ---- checksum */

static uint32_t plain_sum(const uint8_t *p, size_t len, uint32_t seed)
{
	uint64_t sum = seed;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint32_t)sum;
}

/* 0 and 0xffff are the same number in ones' complement. */
static bool same_sum(uint32_t a, uint32_t b)
{
	return a == b || (a % 0xffff == 0 && b % 0xffff == 0);
}

Test(wire, the_checksum_is_that_of_rfc_1071)
{
	static uint8_t buf[70000], copy[70000];
	uint32_t seed, want;

	srand(1);
	randomize(buf, sizeof(buf));
	for (size_t len = 0; len < 300; len++)
		for (size_t off = 0; off < 9; off++) {
			seed = (uint32_t)rand() & 0xffff;
			want = plain_sum(buf + off, len, seed);
			cr_assert(same_sum(csum(buf + off, len, seed), want), "len %zu off %zu",
			    len, off);
			cr_assert(same_sum(csum_copy(copy + 9 - off, buf + off, len, seed), want));
			cr_assert_eq(memcmp(copy + 9 - off, buf + off, len), 0);
		}
	for (size_t len = 2047; len < sizeof(buf); len += 4095)
		cr_assert(same_sum(csum_copy(copy, buf, len, 7), plain_sum(buf, len, 7)));
	memset(buf, 0xff, sizeof(buf));
	cr_assert_eq(csum(buf, 65536, 0xffff), 0xffff);
	cr_assert_eq(csum(buf, 0, 0x1ffff), 1, "a large seed is folded");
}

Test(wire, large_memory_does_not_overflow_the_sum)
{
	size_t len = (3u << 20) + 5;
	uint8_t *buf = malloc(len);

	memset(buf, 0xff, len - 1);
	buf[len - 1] = 1;
	cr_assert(same_sum(csum(buf, len, 0), plain_sum(buf, len, 0)));
	free(buf);
}

Test(wire, sums_of_pieces_add_up)
{
	uint8_t buf[64];

	srand(2);
	randomize(buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut++) {
		uint32_t sum =
		    csum_add_at(csum(buf, cut, 0), csum(buf + cut, sizeof(buf) - cut, 0), cut);

		cr_assert(same_sum(sum, plain_sum(buf, sizeof(buf), 0)), "cut at %zu", cut);
	}
	cr_assert_eq(csum_u32(0xffff0001), 1);
	cr_assert_eq(csum_finish_udp(0xffff), 0xffff);
	cr_assert_eq(csum_finish(0xffff), 0);
}

Test(wire, a_changed_word_updates_its_checksum)
{
	uint8_t buf[20];

	srand(3);
	for (int i = 0; i < 1000; i++) {
		uint16_t field, old, now = (uint16_t)rand();

		randomize(buf, sizeof(buf));
		buf[0] = buf[1] = 0;
		field = csum_finish(csum(buf, sizeof(buf), 0));
		old = (uint16_t)(buf[4] << 8 | buf[5]);
		buf[4] = (uint8_t)(now >> 8);
		buf[5] = (uint8_t)now;
		field = csum_update16(field, old, now);
		cr_assert_eq(csum(buf, sizeof(buf), field), 0xffff);
		field =
		    csum_update32(field, (uint32_t)now << 16 | buf[6] << 8 | buf[7], 0x12345678);
		memcpy(buf + 4, "\x12\x34\x56\x78", 4);
		cr_assert_eq(csum(buf, sizeof(buf), field), 0xffff);
	}
}

/* ---- fixed headers */

Test(wire, ethernet)
{
	struct ethernet_header h = {{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}, 0x86dd}, back;
	uint8_t buf[ETHERNET_LEN];

	for (size_t n = 0; n < ETHERNET_LEN; n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(ethernet_parse(&back, p, n), -EBADMSG);
		cr_assert_eq(ethernet_emit(&h, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(ethernet_emit(&h, buf, sizeof(buf)), ETHERNET_LEN);
	cr_assert_eq(ethernet_parse(&back, buf, sizeof(buf)), 0);
	cr_assert_eq(memcmp(&h, &back, sizeof(h)), 0);
	cr_assert_eq(buf[12], 0x86);
	cr_assert(ethernet_is_multicast((const uint8_t[]){0x01, 0, 0x5e, 0, 0, 1}));
	cr_assert_not(ethernet_is_broadcast((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}));
}

Test(wire, arp)
{
	struct arp_header h = {
	    ARP_REPLY, {1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}, 0x0a630001, 0x0a630002};
	struct arp_header back = {0};
	uint8_t buf[ARP_LEN];

	for (size_t n = 0; n < ARP_LEN; n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(arp_parse(&back, p, n), -EBADMSG);
		cr_assert_eq(arp_emit(&h, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(arp_emit(&h, buf, sizeof(buf)), ARP_LEN);
	cr_assert_eq(arp_parse(&back, buf, sizeof(buf)), 0);
	cr_assert_eq(back.op, h.op);
	cr_assert_eq(back.sender, h.sender);
	cr_assert_eq(back.target, h.target);
	cr_assert_arr_eq(back.sender_mac, h.sender_mac, 6);
	cr_assert_arr_eq(back.target_mac, h.target_mac, 6);
	for (int at = 0; at < 6; at++) {
		buf[at] ^= 1;
		cr_assert_eq(arp_parse(&back, buf, sizeof(buf)), -EBADMSG, "byte %d", at);
		buf[at] ^= 1;
	}
}

Test(wire, ipv4)
{
	struct ipv4_header h = {.tos = 0x10,
	    .ttl = 63,
	    .proto = 17,
	    .total_len = 1500,
	    .id = 0xbeef,
	    .more_fragments = true,
	    .frag_off = 65528,
	    .src = 0x0a630001,
	    .dst = 0xe0000001};
	struct ipv4_header back;
	uint8_t buf[IPV4_LEN_MAX];

	for (unsigned options = 0; options <= IPV4_OPTIONS_MAX; options += 4) {
		h.options_len = (uint8_t)options;
		h.dont_fragment = options & 4;
		memset(h.options, (int)options, sizeof(h.options));
		cr_assert_eq(ipv4_emit(&h, buf, sizeof(buf)), 20 + (int)options);
		cr_assert(ipv4_checksum_ok(buf, (uint8_t)(20 + options)));
		for (size_t n = 0; n < 20 + options; n++) {
			uint8_t *p = exactly(buf, n);

			cr_assert_eq(ipv4_parse(&back, p, n), -EBADMSG);
			cr_assert_eq(ipv4_emit(&h, p, n), -ENOSPC);
			free(p);
		}
		cr_assert_eq(ipv4_parse(&back, buf, 20 + options), 0);
		cr_assert_eq(back.hdr_len, 20 + options);
		cr_assert_eq(back.options_len, options);
		cr_assert_arr_eq(back.options, h.options, options);
		cr_assert_eq(back.dont_fragment, h.dont_fragment);
		cr_assert(back.more_fragments);
		cr_assert_eq(back.frag_off, h.frag_off);
		cr_assert_eq(back.src, h.src);
		cr_assert_eq(back.dst, h.dst);
		cr_assert_eq(back.id, h.id);
		cr_assert_eq(back.tos, h.tos);
		cr_assert_eq(back.ttl, h.ttl);
		cr_assert_eq(back.proto, h.proto);
		cr_assert_eq(back.total_len, h.total_len);
	}
	buf[1] ^= 4;
	cr_assert_not(ipv4_checksum_ok(buf, 60));
	h.options_len = 44;
	cr_assert_eq(ipv4_emit(&h, buf, sizeof(buf)), -ENOSPC);
}

Test(wire, ipv4_lengths_that_contradict)
{
	struct ipv4_header h = {.ttl = 1, .total_len = 24, .options_len = 4}, back;
	uint8_t buf[IPV4_LEN_MAX];

	ipv4_emit(&h, buf, sizeof(buf));
	cr_assert_eq(ipv4_parse(&back, buf, 24), 0);
	buf[0] = 0x66;
	cr_assert_eq(ipv4_parse(&back, buf, 24), -EBADMSG, "version");
	buf[0] = 0x44;
	cr_assert_eq(ipv4_parse(&back, buf, 24), -EBADMSG, "header too short");
	buf[0] = 0x47;
	cr_assert_eq(ipv4_parse(&back, buf, 24), -EBADMSG, "header beyond the buffer");
	buf[0] = 0x46;
	buf[3] = 23;
	cr_assert_eq(ipv4_parse(&back, buf, 24), -EBADMSG, "total length below the header's");
}

Test(wire, icmp)
{
	struct icmp_header h = {ICMP_T_ECHO, 1, 0x1234, 0x5678, 0x9abc}, back;
	uint8_t buf[ICMP_LEN];

	for (size_t n = 0; n < ICMP_LEN; n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(icmp_parse(&back, p, n), -EBADMSG);
		cr_assert_eq(icmp_emit(&h, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(icmp_emit(&h, buf, sizeof(buf)), ICMP_LEN);
	cr_assert_eq(icmp_parse(&back, buf, sizeof(buf)), 0);
	cr_assert_eq(memcmp(&h, &back, sizeof(h)), 0);
}

static void igmp_sum(uint8_t *p, size_t n)
{
	uint16_t sum;

	p[2] = p[3] = 0;
	sum = csum_finish(csum(p, n, 0));
	p[2] = (uint8_t)(sum >> 8);
	p[3] = (uint8_t)sum;
}

Test(wire, igmp_queries)
{
	uint8_t q[20] = {IGMP_QUERY, 0, 0, 0, 239, 1, 2, 3, 0, 0, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2};
	struct igmp_message m;

	for (size_t n = 0; n < sizeof(q); n++) { /* a source is missing, or the head is not whole */
		uint8_t *p = exactly(q, n);

		if (n >= IGMP_LEN)
			igmp_sum(p, n);
		cr_assert_eq(igmp_parse(&m, p, n), n == IGMP_LEN ? 0 : -EBADMSG, "%zu bytes", n);
		free(p);
	}
	igmp_sum(q, sizeof(q));
	cr_assert_eq(igmp_parse(&m, q, sizeof(q)), 0);
	cr_assert_eq(m.version, 3);
	cr_assert_eq(m.group, 0xef010203);
	cr_assert_eq(m.sources, 2);
	cr_assert_eq(igmp_source(q, 1), 0x0a000002);
	q[3] ^= 1;
	cr_assert_eq(igmp_parse(&m, q, sizeof(q)), -EBADMSG);
	q[1] = 0x8b; /* (11 | 16) << 3 */
	igmp_sum(q, sizeof(q));
	cr_assert_eq(igmp_parse(&m, q, sizeof(q)), 0);
	cr_assert_eq(m.max_resp_ds, 27u << 3);
	q[1] = 0;
	igmp_sum(q, 8);
	cr_assert_eq(igmp_parse(&m, q, 8), 0);
	cr_assert_eq(m.version, 1);
	cr_assert_eq(m.max_resp_ds, 100);
	q[1] = 50;
	igmp_sum(q, 8);
	cr_assert_eq(igmp_parse(&m, q, 8), 0);
	cr_assert_eq(m.version, 2);
	cr_assert_eq(m.max_resp_ds, 50);
}

Test(wire, igmp_reports)
{
	uint32_t source[2] = {0x0a000001, 0x0a000002};
	uint8_t buf[24];

	for (size_t n = 0; n < sizeof(buf); n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(igmp_emit_report(IGMP_TO_EXCLUDE, 0xef010203, source, 2, p, n), -ENOSPC);
		if (n < IGMP_LEN)
			cr_assert_eq(igmp_emit(IGMP_LEAVE, 1, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(igmp_emit_report(IGMP_TO_EXCLUDE, 0xef010203, source, 2, buf, sizeof(buf)), 24);
	cr_assert_eq(csum(buf, 24, 0), 0xffff);
	cr_assert_eq(buf[0], IGMP_V3_REPORT);
	cr_assert_eq(buf[7], 1);
	cr_assert_eq(buf[8], IGMP_TO_EXCLUDE);
	cr_assert_eq(buf[11], 2);
	cr_assert_arr_eq(buf + 12, ((uint8_t[]){239, 1, 2, 3, 10, 0, 0, 1, 10, 0, 0, 2}), 12);
}

Test(wire, udp)
{
	struct udp_header h = {53, 40000, 8, 0xffff}, back;
	uint8_t buf[UDP_LEN];

	for (size_t n = 0; n < UDP_LEN; n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(udp_parse(&back, p, n), -EBADMSG);
		cr_assert_eq(udp_emit(&h, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(udp_emit(&h, buf, sizeof(buf)), UDP_LEN);
	cr_assert_eq(udp_parse(&back, buf, sizeof(buf)), 0);
	cr_assert_eq(memcmp(&h, &back, sizeof(h)), 0);
	buf[5] = 7;
	cr_assert_eq(udp_parse(&back, buf, sizeof(buf)), -EBADMSG);
}

/* ---- TCP */

static void check_tcp(const struct tcp_header *h, unsigned sacks)
{
	struct tcp_header back;
	uint8_t buf[TCP_LEN_MAX];
	int len = tcp_emit(h, buf, sizeof(buf));
	bool syn = h->flags & TCP_F_SYN;

	cr_assert_eq(len, tcp_emit_len(h));
	cr_assert_eq(len % 4, 0);
	cr_assert_leq(len, TCP_LEN_MAX);
	for (size_t n = 0; n < (size_t)len; n++) {
		uint8_t *p = exactly(buf, n);

		cr_assert_eq(tcp_parse(&back, p, n), -EBADMSG);
		cr_assert_eq(tcp_emit(h, p, n), -ENOSPC);
		free(p);
	}
	cr_assert_eq(tcp_parse(&back, buf, (size_t)len), 0);
	cr_assert_eq(back.hdr_len, len);
	cr_assert_eq(back.src, h->src);
	cr_assert_eq(back.dst, h->dst);
	cr_assert_eq(back.seq, h->seq);
	cr_assert_eq(back.ack, h->ack);
	cr_assert_eq(back.flags, h->flags);
	cr_assert_eq(back.window, h->window);
	cr_assert_eq(back.checksum, h->checksum);
	cr_assert_eq(back.urgent, h->urgent);
	cr_assert_eq(back.has_mss, h->has_mss && syn);
	cr_assert_eq(back.mss, h->has_mss && syn ? h->mss : 0);
	cr_assert_eq(back.has_ws, h->has_ws && syn);
	cr_assert_eq(back.ws, h->has_ws && syn ? h->ws : 0);
	cr_assert_eq(back.sack_permitted, h->sack_permitted && syn);
	cr_assert_eq(back.has_ts, h->has_ts);
	cr_assert_eq(back.ts_val, h->has_ts ? h->ts_val : 0);
	cr_assert_eq(back.ts_ecr, h->has_ts ? h->ts_ecr : 0);
	cr_assert_eq(back.n_sack, sacks);
	cr_assert_eq(memcmp(back.sack, h->sack, sacks * sizeof(h->sack[0])), 0);
}

Test(wire, tcp_with_every_set_of_options)
{
	for (unsigned set = 0; set < 32; set++)
		for (unsigned sacks = 0; sacks <= TCP_SACK_MAX; sacks++) {
			struct tcp_header h = {.src = 80,
			    .dst = 40000,
			    .seq = 0xdeadbeef,
			    .ack = 0x01020304,
			    .flags = set & 16 ? TCP_F_SYN | TCP_F_ECE : TCP_F_ACK | TCP_F_CWR,
			    .window = 0xfffe,
			    .checksum = 0x1234,
			    .urgent = 9,
			    .has_mss = set & 1,
			    .mss = 1460,
			    .has_ws = set & 2,
			    .ws = 14,
			    .sack_permitted = set & 4,
			    .has_ts = set & 8,
			    .ts_val = 77,
			    .ts_ecr = 0xffffffff,
			    .n_sack = (uint8_t)sacks};
			unsigned used = (h.has_mss ? 4u : 0) + (h.has_ws ? 4u : 0) +
					(h.has_ts	       ? 12u
					    : h.sack_permitted ? 4u
							       : 0);
			unsigned fit = (36 - used) / 8;

			for (unsigned i = 0; i < sacks; i++)
				h.sack[i] = (struct tcp_sack_block){i * 1000, i * 1000 + 500};
			check_tcp(&h, sacks < fit ? sacks : fit);
		}
}

static int parse_with(struct tcp_header *h, const uint8_t *options, size_t n, uint8_t flags)
{
	size_t len = TCP_LEN + (n + 3) / 4 * 4;
	uint8_t buf[TCP_LEN_MAX] = {0}, *p;
	int ret;

	buf[12] = (uint8_t)(len / 4 << 4);
	buf[13] = flags;
	memcpy(buf + TCP_LEN, options, n);
	p = exactly(buf, len);
	ret = tcp_parse(h, p, len);
	free(p);
	return ret;
}

#define OPTIONS(h, flags, ...)                                                                     \
	parse_with(h, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), flags)

Test(wire, tcp_data_offset)
{
	struct tcp_header h;
	uint8_t buf[TCP_LEN_MAX] = {0};

	for (unsigned words = 0; words < 16; words++) {
		buf[12] = (uint8_t)(words << 4);
		cr_assert_eq(
		    tcp_parse(&h, buf, sizeof(buf)), words < 5 ? -EBADMSG : 0, "%u words", words);
		if (words > 5)
			cr_assert_eq(tcp_parse(&h, buf, words * 4 - 1), -EBADMSG);
	}
}

Test(wire, tcp_malformed_options_end_the_options)
{
	struct tcp_header h;

	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 2, 4, 5, 0xb4, 3), 0);
	cr_assert(h.has_mss, "those before count");
	cr_assert_eq(h.mss, 1460);
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 2, 5, 5, 0xb4, 0, 3, 3, 7), 0);
	cr_assert(!h.has_mss && h.ws == 7, "a wrong length is an unknown option");
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 2, 1, 5, 0xb4, 3, 3, 7, 0), 0);
	cr_assert(!h.has_mss && !h.has_ws, "length below 2");
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 2, 0, 5, 0xb4), 0);
	cr_assert_not(h.has_mss);
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 1, 1, 2, 4), 0);
	cr_assert_not(h.has_mss, "beyond the header");
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 1, 1, 1, 2), 0);
	cr_assert_not(h.has_mss, "not even a length");
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 0, 2, 4, 5, 0xb4, 0, 0, 0), 0);
	cr_assert_not(h.has_mss, "after the end");
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 253, 4, 1, 2, 3, 3, 200, 1), 0);
	cr_assert_eq(h.ws, 14, "unknown is skipped; the scale is limited");
	cr_assert_eq(OPTIONS(&h, TCP_F_ACK, 5, 2, 1, 1), 0);
	cr_assert_eq(h.n_sack, 0, "a SACK without blocks");
	cr_assert_eq(OPTIONS(&h, TCP_F_ACK, 5, 9, 1, 1, 1, 1, 1, 1, 1), 0);
	cr_assert_eq(h.n_sack, 0, "half a block");
	cr_assert_eq(OPTIONS(&h, TCP_F_ACK, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2), 0);
	cr_assert_eq(h.n_sack, 1);
	cr_assert_eq(h.sack[0].end, 2);
	cr_assert_eq(OPTIONS(&h, TCP_F_ACK, 8, 9, 0, 0, 0, 1, 0, 0, 0), 0);
	cr_assert_not(h.has_ts);
	cr_assert_eq(OPTIONS(&h, TCP_F_SYN, 2, 4, 1, 1, 2, 4, 2, 2), 0);
	cr_assert_eq(h.mss, 0x202, "the last of two");
}

Test(wire, tcp_options_of_noise_are_survived)
{
	struct tcp_header h;
	uint8_t noise[40];

	srand(4);
	for (int i = 0; i < 100000; i++) {
		size_t n = (size_t)rand() % 41;

		randomize(noise, n);
		for (size_t k = 0; k < n; k++)
			noise[k] %= 12;
		cr_assert_eq(parse_with(&h, noise, n, (uint8_t)i), 0);
		cr_assert_leq(h.n_sack, TCP_SACK_MAX);
		cr_assert_leq(h.ws, 14);
	}
}
