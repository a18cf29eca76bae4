/*
 * Parsing and emitting the TCP header.
 *
 * Options are laid out as Linux lays them out, which every middlebox has seen: MSS; SACK-permitted
 * sharing a word pair with timestamps when both are there; window scale behind one NOP; SACK blocks
 * behind two. So each number lies at a multiple of four.
 */
#include "wire/tcp.h"
#include "proto/endian.h"
#include <errno.h>

enum tcp_option {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WS = 3,
	OPT_SACK_PERMITTED = 4,
	OPT_SACK = 5,
	OPT_TS = 8,
};

#define WS_MAX 14 /* RFC 7323, 2.3 */

struct tcp_wire {
	be16 src, dst;
	be32 seq, ack;
	uint8_t offset, flags;
	be16 window, checksum, urgent;
};
_Static_assert(sizeof(struct tcp_wire) == TCP_LEN, "layout");

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	be32_put(p, v);
	return p + sizeof(be32);
}

static uint8_t *put4(uint8_t *p, unsigned a, unsigned b, unsigned c, unsigned d)
{
	p[0] = (uint8_t)a;
	p[1] = (uint8_t)b;
	p[2] = (uint8_t)c;
	p[3] = (uint8_t)d;
	return p + 4;
}

/* One option, its kind at p[0] and its whole length `n` (at least 2, all there). */
static void parse_option(struct tcp_header *h, const uint8_t *p, uint8_t n)
{
	bool syn = h->flags & TCP_F_SYN;

	if (p[0] == OPT_MSS && n == 4 && syn) {
		h->has_mss = true;
		h->mss = be16_at(p + 2);
	} else if (p[0] == OPT_WS && n == 3 && syn) {
		h->has_ws = true;
		h->ws = p[2] > WS_MAX ? WS_MAX : p[2];
	} else if (p[0] == OPT_SACK_PERMITTED && n == 2 && syn) {
		h->sack_permitted = true;
	} else if (p[0] == OPT_TS && n == 10) {
		h->has_ts = true;
		h->ts_val = be32_at(p + 2);
		h->ts_ecr = be32_at(p + 6);
	} else if (p[0] == OPT_SACK && n >= 10 && (n - 2) % 8 == 0 && n <= 2 + 8 * TCP_SACK_MAX) {
		h->n_sack = (uint8_t)((n - 2) / 8);
		for (unsigned i = 0; i < h->n_sack; i++)
			h->sack[i] =
			    (struct tcp_sack_block){be32_at(p + 2 + 8 * i), be32_at(p + 6 + 8 * i)};
	}
}

static void parse_options(struct tcp_header *h, const uint8_t *p, size_t left)
{
	while (left && p[0] != OPT_END) {
		uint8_t n;

		if (p[0] == OPT_NOP) {
			p++;
			left--;
			continue;
		}
		if (left < 2 || p[1] < 2 || p[1] > left)
			return;
		n = p[1];
		parse_option(h, p, n);
		p += n;
		left -= n;
	}
}

int tcp_parse(struct tcp_header *h, const uint8_t *buf, size_t len)
{
	struct tcp_wire w;
	uint8_t hdr_len;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	hdr_len = (uint8_t)((w.offset >> 4) * 4);
	if (hdr_len < TCP_LEN || hdr_len > len)
		return -EBADMSG;
	h->src = be16_get(w.src);
	h->dst = be16_get(w.dst);
	h->seq = be32_get(w.seq);
	h->ack = be32_get(w.ack);
	h->flags = w.flags;
	h->hdr_len = hdr_len;
	h->window = be16_get(w.window);
	h->checksum = be16_get(w.checksum);
	h->urgent = be16_get(w.urgent);
	h->has_mss = h->has_ws = h->sack_permitted = h->has_ts = false;
	h->ws = h->n_sack = 0;
	h->mss = 0;
	h->ts_val = h->ts_ecr = 0;
	parse_options(h, buf + TCP_LEN, hdr_len - TCP_LEN);
	return 0;
}

static uint8_t fixed_options_len(const struct tcp_header *h)
{
	uint8_t n = 0;

	n += h->has_mss ? 4 : 0;
	n += h->has_ts ? 12 : h->sack_permitted ? 4 : 0;
	n += h->has_ws ? 4 : 0;
	return n;
}

/* SACK blocks that find room. */
static uint8_t sack_blocks(const struct tcp_header *h)
{
	int room = TCP_LEN_MAX - TCP_LEN - fixed_options_len(h);
	int fit = room < 12 ? 0 : (room - 4) / 8;

	return (uint8_t)(h->n_sack < fit ? h->n_sack : fit);
}

uint8_t tcp_emit_len(const struct tcp_header *h)
{
	uint8_t blocks = sack_blocks(h);

	return (uint8_t)(TCP_LEN + fixed_options_len(h) + (blocks ? 4 + 8 * blocks : 0));
}

static void emit_options(const struct tcp_header *h, uint8_t *p)
{
	uint8_t blocks = sack_blocks(h);

	if (h->has_mss)
		p = put4(p, OPT_MSS, 4, h->mss >> 8, h->mss & 0xff);
	if (h->has_ts) {
		p = h->sack_permitted ? put4(p, OPT_SACK_PERMITTED, 2, OPT_TS, 10)
				      : put4(p, OPT_NOP, OPT_NOP, OPT_TS, 10);
		p = put32(p, h->ts_val);
		p = put32(p, h->ts_ecr);
	} else if (h->sack_permitted) {
		p = put4(p, OPT_NOP, OPT_NOP, OPT_SACK_PERMITTED, 2);
	}
	if (h->has_ws)
		p = put4(p, OPT_NOP, OPT_WS, 3, h->ws);
	if (!blocks)
		return;
	p = put4(p, OPT_NOP, OPT_NOP, OPT_SACK, 2u + 8u * blocks);
	for (unsigned i = 0; i < blocks; i++) {
		p = put32(p, h->sack[i].start);
		p = put32(p, h->sack[i].end);
	}
}

int tcp_emit(const struct tcp_header *h, uint8_t *buf, size_t len)
{
	uint8_t hdr_len = tcp_emit_len(h);
	struct tcp_wire w = {
	    .src = be16_make(h->src),
	    .dst = be16_make(h->dst),
	    .seq = be32_make(h->seq),
	    .ack = be32_make(h->ack),
	    .offset = (uint8_t)(hdr_len / 4 << 4),
	    .flags = h->flags,
	    .window = be16_make(h->window),
	    .checksum = be16_make(h->checksum),
	    .urgent = be16_make(h->urgent),
	};

	if (len < hdr_len)
		return -ENOSPC;
	memcpy(buf, &w, sizeof(w));
	emit_options(h, buf + TCP_LEN);
	return hdr_len;
}
