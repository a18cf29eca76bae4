/* Parsing and emitting the IPv4 header. */
#include "wire/ipv4.h"
#include "wire/checksum.h"
#include "proto/endian.h"
#include <errno.h>

#define FRAG_DF	  0x4000
#define FRAG_MF	  0x2000
#define FRAG_MASK 0x1fff

struct ipv4_wire {
	uint8_t version_ihl, tos;
	be16 total_len, id, frag;
	uint8_t ttl, proto;
	be16 checksum;
	be32 src, dst;
};
_Static_assert(sizeof(struct ipv4_wire) == IPV4_LEN, "layout");

int ipv4_parse(struct ipv4_header *h, const uint8_t *buf, size_t len)
{
	struct ipv4_wire w;
	uint16_t frag;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	h->hdr_len = (uint8_t)((w.version_ihl & 15) * 4);
	h->total_len = be16_get(w.total_len);
	if (w.version_ihl >> 4 != 4 || h->hdr_len < IPV4_LEN || h->hdr_len > len ||
	    h->total_len < h->hdr_len)
		return -EBADMSG;
	frag = be16_get(w.frag);
	h->tos = w.tos;
	h->ttl = w.ttl;
	h->proto = w.proto;
	h->id = be16_get(w.id);
	h->checksum = be16_get(w.checksum);
	h->dont_fragment = frag & FRAG_DF;
	h->more_fragments = frag & FRAG_MF;
	h->frag_off = (frag & FRAG_MASK) * 8u;
	h->src = be32_get(w.src);
	h->dst = be32_get(w.dst);
	h->options_len = (uint8_t)(h->hdr_len - IPV4_LEN);
	memcpy(h->options, buf + IPV4_LEN, h->options_len);
	return 0;
}

bool ipv4_checksum_ok(const uint8_t *buf, uint8_t hdr_len)
{
	return csum(buf, hdr_len, 0) == 0xffff;
}

int ipv4_emit(const struct ipv4_header *h, uint8_t *buf, size_t len)
{
	uint8_t options = h->options_len & 0x3c;
	size_t hdr_len = IPV4_LEN + (size_t)options;
	struct ipv4_wire w = {
	    .version_ihl = (uint8_t)(0x40 | hdr_len / 4),
	    .tos = h->tos,
	    .total_len = be16_make(h->total_len),
	    .id = be16_make(h->id),
	    .frag = be16_make(
		(uint16_t)((h->dont_fragment ? FRAG_DF : 0) | (h->more_fragments ? FRAG_MF : 0) |
			   ((h->frag_off / 8) & FRAG_MASK))),
	    .ttl = h->ttl,
	    .proto = h->proto,
	    .src = be32_make(h->src),
	    .dst = be32_make(h->dst),
	};
	uint32_t sum;

	if (options > IPV4_OPTIONS_MAX || len < hdr_len)
		return -ENOSPC;
	sum = csum(&w, sizeof(w), 0);
	sum = csum(h->options, options, sum);
	w.checksum = be16_make(csum_finish(sum));
	memcpy(buf, &w, sizeof(w));
	memcpy(buf + sizeof(w), h->options, options);
	return (int)hdr_len;
}
