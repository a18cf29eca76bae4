#include "wire/flow.h"
#include "base/crc32c.h"
#include "proto/endian.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct flow { /* no padding: it is hashed */
	uint32_t src, dst;
	uint16_t type, sport, dport;
	uint16_t proto;
};

static void look_ipv4(struct flow *f, const uint8_t *p, size_t len)
{
	struct ipv4_header h;

	f->type = ETHER_IPV4;
	if (ipv4_parse(&h, p, len) < 0)
		return;
	f->src = h.src;
	f->dst = h.dst;
	f->proto = h.proto;
	if ((h.proto != IPPROTO_TCP && h.proto != IPPROTO_UDP) || h.frag_off || len < h.hdr_len + 4u)
		return;
	p += h.hdr_len;
	f->sport = be16_at(p);
	f->dport = be16_at(p + 2);
}

static void look_ethernet(struct flow *f, const uint8_t *frame, size_t len)
{
	struct ethernet_header h;

	if (ethernet_parse(&h, frame, len) < 0)
		return;
	f->type = h.type;
	if (h.type == ETHER_IPV4)
		look_ipv4(f, frame + ETHERNET_LEN, len - ETHERNET_LEN);
	else
		f->src = crc32c(0, h.src, sizeof(h.src));
}

static uint64_t number(const struct flow *f)
{
	return (uint64_t)crc32c(0, f, sizeof(*f)) << 32 | (uint32_t)f->sport << 16 | f->dport;
}

uint64_t flow_of_ethernet(const uint8_t *frame, size_t len)
{
	struct flow f = {0};

	look_ethernet(&f, frame, len);
	return number(&f);
}

uint64_t flow_of_local(const uint8_t *datagram, size_t len)
{
	struct flow f = {0};

	look_ipv4(&f, datagram, len);
	return (uint64_t)f.dst << 32 | (uint32_t)f.proto << 16 | f.dport;
}

static const char *proto_text(unsigned proto, char *buf, size_t size)
{
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
		return proto == IPPROTO_TCP ? "tcp" : "udp";
	snprintf(buf, size, "protocol %u", proto);
	return buf;
}

const char *flow_local_text(uint64_t flow, char *buf, size_t size)
{
	uint32_t dst = (uint32_t)(flow >> 32);
	char proto[16];

	snprintf(buf, size, "%s to %u.%u.%u.%u:%u", proto_text(flow >> 16 & 0xffff, proto, sizeof(proto)), dst >> 24,
	    dst >> 16 & 255, dst >> 8 & 255, dst & 255, (unsigned)(flow & 0xffff));
	return buf;
}

const char *flow_text(const uint8_t *frame, size_t len, char *buf, size_t size)
{
	struct flow f = {0};
	char proto[16];

	look_ethernet(&f, frame, len);
	if (f.type != ETHER_IPV4)
		snprintf(buf, size, "ethertype 0x%04x", f.type);
	else
		snprintf(buf, size, "%s %u.%u.%u.%u:%u > %u.%u.%u.%u:%u", proto_text(f.proto, proto, sizeof(proto)), f.src >> 24, f.src >> 16 & 255,
		    f.src >> 8 & 255, f.src & 255, f.sport, f.dst >> 24, f.dst >> 16 & 255, f.dst >> 8 & 255,
		    f.dst & 255, f.dport);
	return buf;
}
