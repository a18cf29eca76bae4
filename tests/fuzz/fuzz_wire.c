/*
 * Every parser of netd/wire on valid, mutated and random bytes, at every truncation, in heap buffers
 * of exactly that size: one byte too far is the sanitizer's to see. What a parser accepts must be
 * consistent in itself, and must come out of emit and parse again unchanged.
 */
#include "fuzz.h"
#include "base/util.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/icmp.h"
#include "wire/igmp.h"
#include "wire/ipopt.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include <errno.h>

#define HEADER_MAX 80

/* A buffer that ends where the heap block ends. */
static uint8_t *exact(const uint8_t *from, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	check(p, "no memory");
	if (len)
		memcpy(p, from, len);
	return p;
}

/* `emit` into every room from 0 to what it needs; the last, complete one stays in `out`. */
#define emit_everywhere(emit, h, out, most)                                                        \
	({                                                                                         \
		int done_ = -ENOSPC;                                                               \
		for (size_t room_ = 0; room_ <= (most) && done_ < 0; room_++) {                    \
			uint8_t *b_ = malloc(room_ ? room_ : 1);                                   \
			done_ = emit((h), b_, room_);                                              \
			check(done_ == -ENOSPC || done_ == (int)room_, "returned %d of %zu",       \
			    done_, room_);                                                         \
			if (done_ > 0)                                                             \
				memcpy((out), b_, room_);                                          \
			free(b_);                                                                  \
		}                                                                                  \
		check(done_ > 0, "never fits");                                                    \
		(size_t)done_;                                                                     \
	})

/* ---- one protocol each: what must hold for bytes that were accepted */

static void feed_ethernet(const uint8_t *buf, size_t len)
{
	struct ethernet_header h, again;
	uint8_t out[HEADER_MAX];

	memset(&h, 0, sizeof(h));
	memset(&again, 0, sizeof(again));
	if (ethernet_parse(&h, buf, len) < 0)
		return;
	check(len >= ETHERNET_LEN, "%zu bytes are no header", len);
	emit_everywhere(ethernet_emit, &h, out, HEADER_MAX);
	check(!memcmp(out, buf, ETHERNET_LEN), "another header");
	(void)ethernet_is_broadcast(h.dst);
	ethernet_parse(&again, out, ETHERNET_LEN);
	check(!memcmp(&h, &again, sizeof(h)), "parsed differently");
}

static void feed_arp(const uint8_t *buf, size_t len)
{
	struct arp_header h;
	uint8_t out[HEADER_MAX];

	if (arp_parse(&h, buf, len) < 0)
		return;
	check(len >= ARP_LEN, "%zu bytes are no ARP", len);
	emit_everywhere(arp_emit, &h, out, HEADER_MAX);
	check(!memcmp(out, buf, ARP_LEN), "another packet");
}

static void feed_ipv4(const uint8_t *buf, size_t len)
{
	struct ipv4_header h, again;
	uint8_t out[HEADER_MAX];
	size_t n;

	memset(&h, 0, sizeof(h));
	memset(&again, 0, sizeof(again));
	if (ipv4_parse(&h, buf, len) < 0)
		return;
	check(h.hdr_len >= IPV4_LEN && h.hdr_len <= IPV4_LEN_MAX && h.hdr_len <= len, "header %u",
	    h.hdr_len);
	check(h.total_len >= h.hdr_len, "total %u", h.total_len);
	check(h.options_len == h.hdr_len - IPV4_LEN, "options %u", h.options_len);
	check(h.frag_off <= 8 * 8191, "offset %u", h.frag_off);
	(void)ipv4_checksum_ok(buf, h.hdr_len);
	n = emit_everywhere(ipv4_emit, &h, out, HEADER_MAX);
	check(n == h.hdr_len && ipv4_checksum_ok(out, h.hdr_len), "emitted %zu", n);
	check(!ipv4_parse(&again, out, n), "not parsed again");
	again.checksum = h.checksum;
	check(!memcmp(&h, &again, sizeof(h)), "parsed differently");
}

static bool some_are_ours(const void *arg, uint32_t addr)
{
	(void)arg;
	return addr & 1;
}

static void feed_ipopt(const uint8_t *buf, size_t len)
{
	const struct ipopt_host host = {.addr = rnd(UINT32_MAX), .ours = some_are_ours};
	struct ipopt o, again, back;
	uint8_t bad;

	for (enum ipopt_from from = IPOPT_FROM_WIRE; from <= IPOPT_FROM_ROOT; from++) {
		if (ipopt_parse(&o, buf, len, from, &bad)) {
			check(bad < IPOPT_BYTES_MAX, "error at %u", bad);
			continue;
		}
		check(
		    len <= IPOPT_BYTES_MAX && o.len >= len && o.len < len + 4, "length %u", o.len);
		check(!ipopt_parse(&again, o.bytes, o.len, from, &bad) &&
			  !memcmp(&o, &again, sizeof(o)),
		    "parsed differently");
		(void)ipopt_first_hop(&o, 1);
		(void)ipopt_echo(&back, &o);
		if (from != IPOPT_FROM_WIRE) /* the wire's source routes are never sent on */
			ipopt_send(&o, 1, &host);
		for (int hops = 0; hops < 12; hops++)
			ipopt_record(&o, &host, true);
		check(!ipopt_echo(&back, &o) || o.record || o.stamp, "an echo of nothing");
		ipopt_later_fragment(&again);
		check(!ipopt_parse(&back, again.bytes, again.len, IPOPT_FROM_WIRE, &bad),
		    "a fragment's are wrong");
	}
}

static void feed_icmp(const uint8_t *buf, size_t len)
{
	struct icmp_header h;
	uint8_t out[HEADER_MAX];

	if (icmp_parse(&h, buf, len) < 0)
		return;
	check(len >= ICMP_LEN, "%zu bytes are no header", len);
	emit_everywhere(icmp_emit, &h, out, HEADER_MAX);
	check(!memcmp(out, buf, ICMP_LEN), "another header");
}

/* What a query says of itself must lie within it; the sum is made right, or nothing would get further. */
static void feed_igmp(const uint8_t *buf, size_t len)
{
	uint8_t *p, out[HEADER_MAX];
	struct igmp_message m, again;
	uint16_t sum;

	if (len < IGMP_LEN) {
		check(igmp_parse(&m, buf, len) < 0, "%zu bytes are no message", len);
		return;
	}
	p = exact(buf, len);
	if (one_in(2)) {
		p[2] = p[3] = 0;
		sum = csum_finish(csum(p, len, 0));
		p[2] = (uint8_t)(sum >> 8);
		p[3] = (uint8_t)sum;
	}
	if (igmp_parse(&m, p, len) < 0) {
		free(p);
		return;
	}
	check(m.type != IGMP_QUERY || (m.version >= 1 && m.version <= 3), "version %u", m.version);
	check(m.max_resp_ds <= 31744, "%u tenths", m.max_resp_ds);
	for (uint16_t i = 0; i < m.sources; i++)
		(void)igmp_source(p, i);
	free(p);
	check(igmp_emit(m.type, m.group, out, IGMP_LEN) == IGMP_LEN, "not emitted");
	if (m.type != IGMP_QUERY)
		check(!igmp_parse(&again, out, IGMP_LEN) && again.group == m.group, "not parsed again");
}

static void feed_udp(const uint8_t *buf, size_t len)
{
	struct udp_header h;
	uint8_t out[HEADER_MAX];

	if (udp_parse(&h, buf, len) < 0)
		return;
	check(len >= UDP_LEN && h.len >= UDP_LEN, "length %u of %zu", h.len, len);
	emit_everywhere(udp_emit, &h, out, HEADER_MAX);
	check(!memcmp(out, buf, UDP_LEN), "another header");
}

static void feed_tcp(const uint8_t *buf, size_t len)
{
	struct tcp_header h, again;
	uint8_t out[HEADER_MAX];
	size_t n;

	memset(&h, 0, sizeof(h));
	memset(&again, 0, sizeof(again));
	if (tcp_parse(&h, buf, len) < 0)
		return;
	check(h.hdr_len >= TCP_LEN && h.hdr_len <= TCP_LEN_MAX && h.hdr_len <= len, "header %u",
	    h.hdr_len);
	check(h.n_sack <= TCP_SACK_MAX && h.ws <= 14, "sack %u, scale %u", h.n_sack, h.ws);
	check(h.flags & TCP_F_SYN || (!h.has_mss && !h.has_ws && !h.sack_permitted),
	    "an option of SYNs in flags %x", h.flags);
	check(tcp_emit_len(&h) <= TCP_LEN_MAX, "%u", tcp_emit_len(&h));
	n = emit_everywhere(tcp_emit, &h, out, HEADER_MAX);
	check(n == tcp_emit_len(&h) && n % 4 == 0, "emitted %zu", n);
	check(!tcp_parse(&again, out, n), "not parsed again");
	check(again.src == h.src && again.seq == h.seq && again.ack == h.ack &&
		  again.flags == h.flags && again.window == h.window,
	    "fields differ");
	check(again.has_mss == h.has_mss && (!h.has_mss || again.mss == h.mss), "mss");
	check(again.has_ws == h.has_ws && again.ws == h.ws, "window scale");
	check(again.has_ts == h.has_ts && again.ts_val == h.ts_val && again.ts_ecr == h.ts_ecr,
	    "timestamps");
	check(again.n_sack <= h.n_sack, "more blocks than before");
	for (unsigned i = 0; i < again.n_sack; i++)
		check(!memcmp(&again.sack[i], &h.sack[i], sizeof(h.sack[i])), "block %u", i);
}

/* ---- valid ones to begin with */

static size_t make_ethernet(uint8_t *out)
{
	rnd_bytes(out, ETHERNET_LEN);
	return ETHERNET_LEN;
}

static size_t make_arp(uint8_t *out)
{
	struct arp_header h = {.op = (uint16_t)(1 + rnd(2)), .sender = rnd(UINT32_MAX)};

	return (size_t)arp_emit(&h, out, HEADER_MAX);
}

static size_t make_ipv4(uint8_t *out)
{
	struct ipv4_header h = {.ttl = 64, .proto = (uint8_t)rnd(256), .src = rnd(UINT32_MAX)};

	h.options_len = (uint8_t)(4 * rnd(11));
	rnd_bytes(h.options, sizeof(h.options));
	h.frag_off = 8 * rnd(8192);
	h.dont_fragment = one_in(2);
	h.total_len = (uint16_t)(IPV4_LEN + h.options_len + rnd(1000));
	return (size_t)ipv4_emit(&h, out, HEADER_MAX);
}

static size_t make_ipopt(uint8_t *out)
{
	static const uint8_t types[] = {IPOPT_T_NOP, IPOPT_T_RECORD, IPOPT_T_STAMP, IPOPT_T_LSRR,
	    IPOPT_T_SSRR, IPOPT_T_ALERT, 30};
	size_t at = 0, n = 1 + rnd(IPOPT_BYTES_MAX);

	while (at < n) {
		uint8_t *p = out + at, len = (uint8_t)min_of(3 + rnd(24), (uint32_t)(n - at));

		rnd_bytes(p, len);
		p[0] = types[rnd(sizeof(types))];
		if (len < 4 || p[0] == IPOPT_T_NOP) {
			p[0] = IPOPT_T_NOP;
			at++;
			continue;
		}
		p[1] = len;
		p[2] = (uint8_t)(4 + rnd(len));
		p[3] = (uint8_t)(rnd(4) | (one_in(4) ? 0xf0 : 0));
		at += len;
	}
	return n;
}

static size_t make_icmp(uint8_t *out)
{
	rnd_bytes(out, ICMP_LEN);
	return ICMP_LEN;
}

static size_t make_igmp(uint8_t *out)
{
	size_t n = one_in(2) ? IGMP_LEN : 12 + 4 * rnd(10);
	uint16_t sum;

	rnd_bytes(out, n);
	out[0] = one_in(4) ? (uint8_t)rnd(256) : IGMP_QUERY;
	if (n > IGMP_LEN) {
		out[10] = 0;
		out[11] = (uint8_t)((n - 12) / 4);
	}
	out[2] = out[3] = 0;
	sum = csum_finish(csum(out, n, 0));
	out[2] = (uint8_t)(sum >> 8);
	out[3] = (uint8_t)sum;
	return n;
}

static size_t make_udp(uint8_t *out)
{
	rnd_bytes(out, UDP_LEN);
	return UDP_LEN;
}

static size_t make_options(uint8_t *out)
{
	size_t n = 4 * rnd(11), at = 0;

	while (at < n) {
		uint8_t kind = (uint8_t)(one_in(4) ? rnd(256) : rnd(9));

		out[at++] = kind;
		if (kind <= 1 || at == n)
			continue;
		out[at] = (uint8_t)(one_in(3) ? rnd_odd() : 2 + 2 * rnd(18));
		at++;
		for (uint32_t body = rnd(10); body && at < n; body--)
			out[at++] = (uint8_t)rnd(256);
	}
	return n;
}

static size_t make_tcp(uint8_t *out)
{
	struct tcp_header h = {.src = 80, .dst = (uint16_t)rnd(65536), .flags = (uint8_t)rnd(256)};
	size_t n;

	if (one_in(2)) {
		h.has_mss = h.flags & TCP_F_SYN;
		h.has_ws = h.flags & TCP_F_SYN && one_in(2);
		h.ws = (uint8_t)(h.has_ws ? rnd(15) : 0);
		h.sack_permitted = h.flags & TCP_F_SYN;
		h.has_ts = one_in(2);
		h.n_sack = (uint8_t)rnd(TCP_SACK_MAX + 1);
		rnd_bytes(h.sack, sizeof(h.sack));
		return (size_t)tcp_emit(&h, out, HEADER_MAX);
	}
	tcp_emit(&h, out, HEADER_MAX);
	n = TCP_LEN + make_options(out + TCP_LEN);
	out[12] = (uint8_t)(n / 4 << 4);
	return n;
}

static const struct {
	size_t (*make)(uint8_t *out);
	void (*feed)(const uint8_t *buf, size_t len);
} protocols[] = {
    {make_ethernet, feed_ethernet},
    {make_arp, feed_arp},
    {make_ipv4, feed_ipv4},
    {make_ipopt, feed_ipopt},
    {make_icmp, feed_icmp},
    {make_igmp, feed_igmp},
    {make_udp, feed_udp},
    {make_tcp, feed_tcp},
};

static void feed_truncated(unsigned i, const uint8_t *buf, size_t len)
{
	for (size_t n = 0; n <= len; n++) {
		uint8_t *p = exact(buf, n);

		protocols[i].feed(p, n);
		free(p);
	}
}

/* ---- checksums, against the sum as RFC 1071 words it */

static uint32_t plain_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Both zeros of ones' complement are one number. */
static bool same_sum(uint32_t a, uint32_t b)
{
	return a % 0xffff == b % 0xffff;
}

static void feed_checksum(void)
{
	size_t len = rnd(300), cut = rnd((uint32_t)len + 1);
	uint8_t *p = malloc(len ? len : 1), *q = malloc(len ? len : 1);
	uint32_t seed = rnd(65536), want;

	rnd_bytes(p, len);
	if (one_in(4))
		memset(p, 0xff, len);
	want = plain_sum(p, len, seed);
	check(same_sum(csum(p, len, seed), want), "%zu bytes", len);
	check(same_sum(csum(p + cut, len - cut, 0), plain_sum(p + cut, len - cut, 0)), "odd start");
	check(same_sum(csum_add_at(csum(p, cut, seed), csum(p + cut, len - cut, 0), cut), want),
	    "cut at %zu of %zu", cut, len);
	check(same_sum(csum_copy(q, p, len, seed), want) && !memcmp(p, q, len), "copy");
	free(p);
	free(q);
}

static void round_wire(void)
{
	uint8_t buf[HEADER_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++) {
		size_t len = protocols[i].make(buf);

		check(len <= sizeof(buf), "made %zu", len);
		feed_truncated(i, buf, len);
		for (int n = 0; n < 4; n++) {
			mutate(buf, len);
			feed_truncated(i, buf, len);
		}
		rnd_bytes(buf, sizeof(buf));
		feed_truncated(i, buf, sizeof(buf));
	}
	for (int n = 0; n < 20; n++)
		feed_checksum();
}

int main(void)
{
	return fuzz_main("fuzz_wire", 2000, round_wire);
}
