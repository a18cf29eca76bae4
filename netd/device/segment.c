/*
 * What a device without offloads needs done: a super-frame cut into frames of gso_size bytes
 * payload (TCP and UDP over IPv4), and transport checksums put in.
 *
 * The payload is copied, frame by frame, into chunks of its own. Each frame carries the
 * super-frame's headers with its own lengths, identification, sequence number and flags: FIN and
 * PSH only in the last, CWR only in the first, as a network card does it.
 */
#include "device/layer.h"
#include "base/util.h"
#include "proto/endian.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

#define HEADERS_MAX  (ETHERNET_LEN + IPV4_LEN_MAX + TCP_LEN_MAX)
#define PROTO_TCP    6
#define PROTO_UDP    17
#define TCP_SEQ_AT   4
#define TCP_FLAGS_AT 13
#define UDP_LEN_AT   4

struct cut {
	uint8_t head[HEADERS_MAX];
	struct ipv4_header ip;
	uint32_t hdr_len, transport; /* of all headers; where the transport header starts */
	uint32_t seq;
	uint8_t flags;
	bool tcp;
};

void segment_complete(struct packet *p)
{
	uint32_t start = (uint32_t)(p->csum_at - p->seg[0].data);
	uint32_t at = start + p->csum_offset;
	uint32_t sum;
	be16 field;

	if (start > p->len || at + 2 > p->len)
		return;
	sum = packet_sum(p, start, p->len - start, 0);
	field =
	    be16_make(p->csum_offset == UDP_CSUM_OFFSET ? csum_finish_udp(sum) : csum_finish(sum));
	packet_write(p, at, &field, sizeof(field));
	p->flags &= (uint16_t)~DESC_CSUM_NEEDED;
	p->csum_at = NULL;
}

/* Reads the headers. 0, or -EPROTONOSUPPORT for what is not TCP or UDP over IPv4. */
static int read_headers(struct cut *c, const struct packet *p)
{
	c->transport = (uint32_t)(p->csum_at - p->seg[0].data);
	c->tcp = p->gso_type == GSO_TCPV4;
	if (c->transport + TCP_LEN > HEADERS_MAX || c->transport < ETHERNET_LEN + IPV4_LEN ||
	    !packet_header(p, c->head, c->transport + (c->tcp ? TCP_LEN : UDP_LEN)))
		return -EPROTONOSUPPORT;
	c->hdr_len = c->transport + (c->tcp ? (c->head[c->transport + 12] >> 4) * 4u : UDP_LEN);
	if (c->hdr_len > HEADERS_MAX || !packet_header(p, c->head, c->hdr_len) ||
	    ipv4_parse(&c->ip, c->head + ETHERNET_LEN, c->transport - ETHERNET_LEN) < 0 ||
	    c->ip.hdr_len != c->transport - ETHERNET_LEN ||
	    c->ip.proto != (c->tcp ? PROTO_TCP : PROTO_UDP))
		return -EPROTONOSUPPORT;
	c->seq = c->tcp ? be32_at(c->head + c->transport + TCP_SEQ_AT) : 0;
	c->flags = c->tcp ? c->head[c->transport + TCP_FLAGS_AT] : 0;
	return 0;
}

/* The headers of the frame with payload bytes [off, off + n). */
static void make_headers(struct cut *c, uint32_t off, uint32_t n, uint32_t number, bool last)
{
	uint8_t *t = c->head + c->transport;
	uint16_t len = (uint16_t)(c->hdr_len - c->transport + n);
	struct ipv4_header ip = c->ip;
	uint32_t sum;

	ip.total_len = (uint16_t)(c->ip.hdr_len + len);
	ip.id = (uint16_t)(c->ip.id + number);
	ipv4_emit(&ip, c->head + ETHERNET_LEN, c->ip.hdr_len);
	sum = csum_add(csum_u32(ip.src), csum_u32(ip.dst));
	sum = csum_add(csum_add(sum, ip.proto), len);
	if (c->tcp) {
		uint8_t flags = c->flags;

		if (!last)
			flags &= (uint8_t) ~(TCP_F_FIN | TCP_F_PSH);
		if (off)
			flags &= (uint8_t)~TCP_F_CWR;
		be32_put(t + TCP_SEQ_AT, c->seq + off);
		t[TCP_FLAGS_AT] = flags;
		be16_put(t + TCP_CSUM_OFFSET, (uint16_t)sum);
	} else {
		be16_put(t + UDP_LEN_AT, len);
		be16_put(t + UDP_CSUM_OFFSET, (uint16_t)sum);
	}
}

static int send_piece(
    struct stack *s, const struct packet *whole, struct cut *c, uint32_t off, uint32_t n)
{
	const struct device_rec *r = device_peek(s, whole->dev);
	struct packet p;
	uint8_t *front;
	int ret = packet_alloc(s, &p, whole->dev, n);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < p.segs; i++) {
		packet_read(whole, c->hdr_len + off, p.seg[i].data, p.seg[i].len);
		off += p.seg[i].len;
	}
	front = packet_push(&p, c->hdr_len);
	if (!front || !r) {
		packet_free(s, &p);
		return -ENOBUFS;
	}
	memcpy(front, c->head, c->hdr_len);
	p.flags = DESC_CSUM_NEEDED;
	p.csum_at = front + c->transport;
	p.csum_offset = c->tcp ? TCP_CSUM_OFFSET : UDP_CSUM_OFFSET;
	if (!(r->features & REGION_F_CSUM))
		segment_complete(&p);
	return device_transmit(s, &p);
}

int segment_output(struct stack *s, struct packet *p)
{
	struct cut c;
	uint32_t payload, number = 0;
	int ret = read_headers(&c, p);

	payload = ret < 0 ? 0 : p->len - c.hdr_len;
	for (uint32_t off = 0; off < payload && !ret; number++) {
		uint32_t n = min_of(payload - off, (uint32_t)p->gso_size);

		make_headers(&c, off, n, number, off + n == payload);
		ret = send_piece(s, p, &c, off, n);
		off += n;
	}
	packet_free(s, p);
	return ret;
}
