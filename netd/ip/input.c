/*
 * ip_rcv, ip_rcv_finish, ip_local_deliver: an arriving packet's way to its transport.
 *
 * The header is copied once and everything below believes the copy only. What is dropped here is
 * counted in ip_bad; what is well-formed but not for us in ip_forward_refused (netd does not
 * forward yet).
 */
#include "ip/input.h"
#include "ip/group.h"
#include "ip/hook.h"
#include "ip/layer.h"
#include "ip/option.h"
#include "ip/reassemble.h"
#include "base/util.h"
#include "device/device.h"
#include "state/switchboard.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

/* Can a packet with these addresses come from this device at all? RFC 1122, 3.2.1.3; RFC
 * 1812, 5.3.7. */
static bool martian(
    const struct stack *s, uint32_t dev, const struct ipaddr *src, const struct ipaddr *dst)
{
	bool outside = dev != DEVICE_LO;

	if (ipaddr_is_any(dst))
		return true;
	if (ipaddr_is_any(src))
		return !ip_is_broadcast(s, dst);
	if (ip_is_multicast(src) || ip_is_broadcast(s, src) || src->b[12] == 0)
		return true;
	return outside && (ip_is_loopback(src) || ip_is_loopback(dst) || ip_is_local(s, src));
}

/* Raw sockets see it first; where they alone want the protocol, nobody has to be told. */
static void deliver(struct stack *s, struct packet *p, struct ip_meta *m)
{
	const struct ip_layer *ip = ip_of(s);
	bool raw;

	m->header = ip->header;
	m->header_len = (uint8_t)ip->header_len;
	raw = s->board->raw_input && s->board->raw_input(s, p, m, ip->header, ip->header_len);

	for (unsigned i = 0; i < s->board->n_protos; i++) {
		if (s->board->protos[i]->number != m->proto)
			continue;
		s->board->protos[i]->input(s, p, m);
		return;
	}
	if (!raw)
		icmp_unreachable(s, p, m, ICMP_C_PROTO);
}

static void keep_header(struct stack *s, const struct ipv4_header *h, const uint8_t *raw)
{
	struct ip_layer *ip = ip_of(s);

	memcpy(ip->header, raw, h->hdr_len);
	ip->header_len = h->hdr_len;
}

/* False: the packet is done with. */
static bool options(struct stack *s, struct packet *p, const struct ipv4_header *h, uint8_t *raw,
    const struct ip_meta *m)
{
	uint8_t bad;

	if (!h->options_len || !ip_options_input(s, h, raw, m, &bad))
		return true;
	s->count.ip_bad++;
	keep_header(s, h, raw);
	if (bad && packet_pull(p, h->hdr_len))
		icmp_parameter(s, p, m, bad);
	return false;
}

static void local_in(struct stack *s, struct packet *p, const struct ipv4_header *h,
    const uint8_t *raw, struct ip_meta *m)
{
	struct packet whole;

	if (ip_hook_run(IP_HOOK_LOCAL_IN, s, p, p->dev) != IP_ACCEPT)
		return;
	if (!packet_pull(p, h->hdr_len))
		return;
	if (h->more_fragments || h->frag_off) {
		s->count.ip_frag_in++;
		if (!frag_input(s, p, h, raw, &whole))
			return;
		s->count.ip_reassembled++;
		deliver(s, &whole, m); /* frag_input() noted the first fragment's header */
		packet_free(s, &whole);
		return;
	}
	keep_header(s, h, raw);
	deliver(s, p, m);
}

/* What is on lo was routed here when it was sent, whatever a raw socket wrote into its header. */
static bool for_us(const struct stack *s, const struct packet *p, const struct ip_meta *m)
{
	return m->to_broadcast || p->dev == DEVICE_LO || ip_is_local(s, &m->dst);
}

void ip_input(struct stack *s, struct packet *p, const uint8_t src[6])
{
	uint8_t raw[IPV4_LEN_MAX] = {0};
	struct ipv4_header h;
	struct ip_meta m = {0};
	uint32_t n = min_of((uint32_t)sizeof(raw), p->segs ? p->seg[0].len : 0);

	(void)src;
	s->count.ip_in++;
	n = min_of(n, p->len);
	if (!packet_header(p, raw, n) || ipv4_parse(&h, raw, n) < 0 || h.hdr_len > n ||
	    h.total_len < h.hdr_len || h.total_len > p->len || !ipv4_checksum_ok(raw, h.hdr_len)) {
		s->count.ip_bad++;
		return;
	}
	packet_trim(p, h.total_len);
	m.src = ipaddr_v4(h.src);
	m.dst = ipaddr_v4(h.dst);
	m.dev = p->via ? p->via : p->dev;
	m.proto = h.proto;
	m.ttl = h.ttl;
	m.tos = h.tos;
	if (martian(s, p->dev, &m.src, &m.dst)) {
		s->count.ip_bad++;
		return;
	}
	if (ip_hook_run(IP_HOOK_PRE_ROUTING, s, p, p->dev) != IP_ACCEPT)
		return;
	m.to_multicast = ip_is_multicast(&m.dst);
	m.to_broadcast = ip_is_broadcast(s, &m.dst);
	if (m.to_multicast ? !group_heard(s, m.dev, &m.dst) : !for_us(s, p, &m)) {
		s->count.ip_forward_refused++;
		return;
	}
	if (options(s, p, &h, raw, &m))
		local_in(s, p, &h, raw, &m);
}
