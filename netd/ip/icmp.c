/*
 * ICMP: answers to echo requests, errors that others sent about our packets, errors of ours.
 *
 * No error is sent about (RFC 1122, 3.2.2) another ICMP error, a packet to a group or broadcast
 * address, a later fragment, or a source that is not one single host. Errors are limited as in the
 * kernel: a thousand a second altogether (bursts of fifty), one a second to one destination (bursts
 * of six); packets to ourselves are not counted. The buckets are hints and begin full after a
 * restart.
 *
 * An error from outside is only a claim: it is believed by the transport that finds its own socket
 * in the quoted header, which here is only checked to be well-formed and ours.
 */
#include "ip/icmp.h"
#include "ip/layer.h"
#include "ip/option.h"
#include "base/siphash.h"
#include "base/util.h"
#include "device/device.h"
#include "state/switchboard.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipopt.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <netinet/in.h>

#define QUOTE_MIN   8 /* transport bytes in a quote that is of any use */
#define ALL_PER_NS  (NSEC_PER_SEC / 1000)
#define ALL_BURST   50
#define PEER_PER_NS NSEC_PER_SEC
#define PEER_BURST  6
#define CSUM_AT	    2
#define QUERY_TYPES                                                                                \
	((1u << 0) | (1u << 8) | (1u << 9) | (1u << 10) | (1u << 13) | (1u << 14) | (1u << 15) |   \
	    (1u << 16) | (1u << 17) | (1u << 18))
#define PRECEDENCE_INTERNETCONTROL 0xc0

/* ---- sending */

static void put_checksum(struct packet *p)
{
	uint16_t c = csum_finish(packet_sum(p, 0, p->len, 0));
	uint8_t b[2] = {(uint8_t)(c >> 8), (uint8_t)c};

	packet_write(p, CSUM_AT, b, 2);
}

static bool take_token(struct bucket *b, uint64_t now, uint64_t each, uint32_t burst)
{
	b->tokens_ns = min_of(b->tokens_ns + (now - b->last_ns), each * burst);
	b->last_ns = now;
	if (b->tokens_ns < each)
		return false;
	b->tokens_ns -= each;
	return true;
}

static bool may_send(struct stack *s, const struct ipaddr *dst, const struct route *r)
{
	struct ip_layer *ip = ip_of(s);
	struct bucket *b =
	    &ip->icmp_peer[siphash(&world_peek(s)->hash_key, dst, sizeof(*dst)) % ICMP_PEERS];

	if (r->local)
		return true;
	if (!ipaddr_eq(&b->peer, dst))
		*b = (struct bucket){
		    .peer = *dst, .tokens_ns = PEER_PER_NS * PEER_BURST, .last_ns = s->now};
	if (!ip->icmp_all.last_ns)
		ip->icmp_all.tokens_ns = ALL_PER_NS * ALL_BURST;
	return take_token(b, s->now, PEER_PER_NS, PEER_BURST) &&
	       take_token(&ip->icmp_all, s->now, ALL_PER_NS, ALL_BURST);
}

/* Header and data from private memory to `dst`. */
static int send_message(struct stack *s, const struct route *r, const struct ip_send *how,
    const struct icmp_header *h, const void *data, uint32_t len)
{
	uint8_t head[ICMP_LEN];
	struct packet p;
	int ret = packet_alloc(s, &p, r->dev, ICMP_LEN + len);

	if (ret)
		return ret;
	icmp_emit(h, head, sizeof(head));
	packet_write(&p, 0, head, ICMP_LEN);
	packet_write(&p, ICMP_LEN, data, len);
	put_checksum(&p);
	s->count.icmp_out++;
	return ip_output(s, &p, r, how);
}

/* ---- errors of ours */

/* The header that was checked at input, unless it is not this packet's: then one made of what is
 * known. */
static void quote_header(
    struct stack *s, struct icmp_quote *q, const struct packet *p, const struct ip_meta *m)
{
	const struct ip_layer *ip = ip_of(s);
	struct ipv4_header h = {0};
	int n;

	if (ip->header_len >= IPV4_LEN && !ipv4_parse(&h, ip->header, ip->header_len) &&
	    h.src == ipaddr_to_v4(&m->src) && h.dst == ipaddr_to_v4(&m->dst) &&
	    h.proto == m->proto) {
		memcpy(q->bytes, ip->header, ip->header_len);
		q->header_len = ip->header_len;
		return;
	}
	h = (struct ipv4_header){.tos = m->tos,
	    .ttl = m->ttl,
	    .proto = m->proto,
	    .total_len = (uint16_t)(p->len + IPV4_LEN),
	    .src = ipaddr_to_v4(&m->src),
	    .dst = ipaddr_to_v4(&m->dst)};
	n = ipv4_emit(&h, q->bytes, sizeof(q->bytes));
	q->header_len = n > 0 ? (uint32_t)n : 0;
}

void icmp_quote_packet(
    struct stack *s, struct icmp_quote *q, const struct packet *p, const struct ip_meta *m)
{
	uint32_t n;

	quote_header(s, q, p, m);
	n = min_of(p->len, ICMP_QUOTE_MAX - q->header_len);
	if (!packet_read(p, 0, q->bytes + q->header_len, n))
		n = 0;
	q->len = q->header_len + n;
}

static bool is_error(const struct icmp_quote *q)
{
	uint8_t type;

	if (q->len <= q->header_len)
		return true;
	type = q->bytes[q->header_len];
	return type > 31 || !(QUERY_TYPES >> type & 1);
}

static bool may_answer(
    const struct stack *s, const struct icmp_quote *q, const struct ipv4_header *h)
{
	struct ipaddr src = ipaddr_v4(h->src), dst = ipaddr_v4(h->dst);

	if (h->frag_off || (h->proto == IPPROTO_ICMP && is_error(q)))
		return false;
	if (ip_is_multicast(&dst) || ip_is_broadcast(s, &dst))
		return false;
	return !ipaddr_is_any(&src) && src.b[12] != 0 && !ip_is_multicast(&src) &&
	       !ip_is_broadcast(s, &src) && src.b[12] < 240;
}

void icmp_error(
    struct stack *s, const struct icmp_quote *q, uint8_t type, uint8_t code, uint32_t info)
{
	struct icmp_header h = {
	    .type = type, .code = code, .id = (uint16_t)(info >> 16), .seq = (uint16_t)info};
	struct ip_send how = {.proto = IPPROTO_ICMP};
	struct ipv4_header about;
	struct ipaddr from;
	struct ipopt echoed;
	struct route r;

	if (ipv4_parse(&about, q->bytes, q->header_len) || !may_answer(s, q, &about))
		return;
	if (!ip_options_echo(q->bytes, q->header_len, &echoed))
		how.options = &echoed;
	how.dst = ipaddr_v4(about.src);
	from = ipaddr_v4(about.dst);
	if (!ip_is_local(s, &from))
		from = ipaddr_v4(0);
	if (ip_route(s, &how.dst, &from, NO_INDEX, &r) || !may_send(s, &how.dst, &r))
		return;
	how.src = r.source;
	how.tos = (uint8_t)((about.tos & 0x1e) | PRECEDENCE_INTERNETCONTROL);
	send_message(
	    s, &r, &how, &h, q->bytes, min_of(q->len, (uint32_t)(ICMP_QUOTE_MAX - echoed.len)));
}

static void error_about(struct stack *s, struct packet *p, const struct ip_meta *m, uint8_t type,
    uint8_t code, uint32_t info)
{
	struct icmp_quote q;

	if (m->to_broadcast || m->to_multicast)
		return;
	icmp_quote_packet(s, &q, p, m);
	icmp_error(s, &q, type, code, info);
}

void icmp_unreachable(struct stack *s, struct packet *p, const struct ip_meta *m, uint8_t code)
{
	error_about(s, p, m, ICMP_T_UNREACHABLE, code, 0);
}

void icmp_needfrag(struct stack *s, struct packet *p, const struct ip_meta *m, uint32_t mtu)
{
	error_about(s, p, m, ICMP_T_UNREACHABLE, ICMP_C_FRAG_NEEDED, mtu & 0xffff);
}

void icmp_parameter(struct stack *s, struct packet *p, const struct ip_meta *m, uint8_t at)
{
	error_about(s, p, m, ICMP_T_PARAMETER, 0, (uint32_t)at << 24);
}

/* ---- echo */

static void echo(
    struct stack *s, const struct packet *p, const struct ip_meta *m, struct icmp_header h)
{
	struct ip_send how = {.src = m->dst, .dst = m->src, .proto = IPPROTO_ICMP, .tos = m->tos};
	uint8_t *data = ip_of(s)->scratch;
	uint32_t len = p->len - ICMP_LEN;
	struct ipopt echoed;
	struct route r;

	if (m->to_broadcast || m->to_multicast || ipaddr_is_any(&m->src) ||
	    ip_options_echo(ip_of(s)->header, ip_of(s)->header_len, &echoed))
		return;
	how.options = &echoed;
	if (!packet_read(p, ICMP_LEN, data, len) || ip_route(s, &how.dst, &how.src, NO_INDEX, &r))
		return;
	h.type = ICMP_T_ECHO_REPLY;
	h.checksum = 0;
	send_message(s, &r, &how, &h, data, len);
}

static void answered(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	if (s->board->ping_input && !m->to_broadcast && !m->to_multicast)
		s->board->ping_input(s, p, m);
}

/* ---- errors of others */

struct meaning {
	int err;
	bool hard;
};

/* RFC 1122, 4.2.3.9, and what the kernel makes of each code. */
static const struct meaning unreachable[] = {
    {ENETUNREACH, false},
    {EHOSTUNREACH, false},
    {ENOPROTOOPT, true},
    {ECONNREFUSED, true},
    {EMSGSIZE, false},
    {EOPNOTSUPP, false},
    {ENETUNREACH, true},
    {EHOSTDOWN, true},
    {ENONET, true},
    {ENETUNREACH, true},
    {EHOSTUNREACH, true},
    {ENETUNREACH, false},
    {EHOSTUNREACH, false},
    {EHOSTUNREACH, true},
    {EHOSTUNREACH, true},
    {EHOSTUNREACH, true},
};

static bool meaning_of(const struct icmp_header *h, struct meaning *m)
{
	switch (h->type) {
	case ICMP_T_UNREACHABLE:
		if (h->code >= ARRAY_SIZE(unreachable))
			return false;
		*m = unreachable[h->code];
		return true;
	case ICMP_T_TIME_EXCEEDED:
		*m = (struct meaning){EHOSTUNREACH, false};
		return h->code <= 1;
	case ICMP_T_PARAMETER:
		*m = (struct meaning){EPROTO, true};
		return true;
	default:
		return false;
	}
}

/* RFC 1191, 5: what a router that does not say may have meant. */
static uint32_t plateau(uint32_t len)
{
	static const uint16_t table[] = {32000, 17914, 8166, 4352, 2002, 1492, 576, 296, 68};

	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i] < len)
			return table[i];
	return table[ARRAY_SIZE(table) - 1];
}

/* What the error is about, from the header that it quotes. False if that is none of ours. */
static bool read_quote(struct stack *s, const uint8_t *quote, uint32_t n, struct ipv4_header *q, struct ip_error *e)
{
	if (ipv4_parse(q, quote, n) || (uint32_t)q->hdr_len + QUOTE_MIN > n || q->frag_off)
		return false;
	e->about.dev = e->by.dev;
	e->about.src = ipaddr_v4(q->src);
	e->about.dst = ipaddr_v4(q->dst);
	e->about.proto = q->proto;
	e->about.ttl = q->ttl;
	e->about.tos = q->tos;
	e->quote = quote + q->hdr_len;
	e->quote_len = n - q->hdr_len;
	if (q->total_len > q->hdr_len) /* what a router padded is not the packet's */
		e->quote_len = min_of(e->quote_len, max_of((uint32_t)q->total_len - q->hdr_len, (uint32_t)QUOTE_MIN));
	return ip_is_local(s, &e->about.src) && !ip_is_broadcast(s, &e->about.dst) &&
	       !ip_is_multicast(&e->about.dst);
}

static void tell_transport(struct stack *s, const struct ip_error *e)
{
	for (unsigned i = 0; i < s->board->n_protos; i++)
		if (s->board->protos[i]->number == e->about.proto && s->board->protos[i]->error)
			s->board->protos[i]->error(s, e);
	if (s->board->raw_error)
		s->board->raw_error(s, e);
}

static void error_in(
    struct stack *s, const struct packet *p, const struct ip_meta *m, const struct icmp_header *h)
{
	uint8_t quote[ICMP_QUOTE_MAX];
	uint32_t n = min_of((uint32_t)sizeof(quote), p->len - ICMP_LEN);
	struct ip_error e = {.by = *m, .type = h->type, .code = h->code};
	struct meaning what;
	struct ipv4_header q;

	if (!meaning_of(h, &what) || m->to_broadcast || m->to_multicast ||
	    !packet_read(p, ICMP_LEN, quote, n) || !read_quote(s, quote, n, &q, &e))
		return;
	e.err = what.err;
	e.hard = what.hard;
	if (h->type == ICMP_T_UNREACHABLE && h->code == ICMP_C_FRAG_NEEDED)
		e.info = e.mtu = h->seq ? h->seq : plateau(q.total_len);
	else if (h->type == ICMP_T_PARAMETER)
		e.info = h->id >> 8;
	tell_transport(s, &e);
}

void icmp_unresolved(struct stack *s, const struct packet *p)
{
	uint8_t raw[IPV4_LEN_MAX + ICMP_QUOTE_MAX];
	uint32_t n = min_of((uint32_t)sizeof(raw), p->len);
	struct ip_error e = {.by = {.dev = DEVICE_LO, .proto = IPPROTO_ICMP, .ttl = 64, .tos = PRECEDENCE_INTERNETCONTROL},
	    .type = ICMP_T_UNREACHABLE,
	    .code = ICMP_C_HOST,
	    .err = EHOSTUNREACH};
	struct ipv4_header h;

	if (!packet_read(p, 0, raw, n) || !read_quote(s, raw, n, &h, &e))
		return;
	e.by.src = e.by.dst = e.about.src;
	tell_transport(s, &e);
}

/* ---- input */

static void icmp_input(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	uint8_t head[ICMP_LEN];
	struct icmp_header h;

	s->count.icmp_in++;
	if (!packet_read(p, 0, head, sizeof(head)) || icmp_parse(&h, head, sizeof(head)) ||
	    packet_sum(p, 0, p->len, 0) != 0xffff) {
		s->count.ip_bad++;
		return;
	}
	if (h.type == ICMP_T_ECHO && !h.code)
		echo(s, p, m, h);
	else if (h.type == ICMP_T_ECHO_REPLY)
		answered(s, p, m);
	else
		error_in(s, p, m, &h);
}

const struct inet_proto icmp_proto = {
    .number = IPPROTO_ICMP,
    .input = icmp_input,
};
