/*
 * A segment's way in: parsed once from a private copy of its header, looked up in the connected
 * table, then handed to its connection, half-open connection, TIME_WAIT, or listener; or refused.
 *
 * The checksum of a segment without payload is checked here; with payload it is checked while the
 * payload is copied to its ring (receive.c). Until then nothing but the lookup has believed the
 * header.
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include "inet/sockx.h"
#include "wire/checksum.h"
#include <netinet/in.h>

bool segment_verify(struct tcp_seg *g)
{
	if (!g->verified)
		g->verified = csum_add(g->sum, packet_sum(g->p, g->h.hdr_len, g->len, 0)) == 0xffff;
	return g->verified;
}

static bool parse(struct tcp_seg *g)
{
	uint8_t raw[TCP_LEN_MAX];
	uint32_t n = min_of((uint32_t)sizeof(raw), g->p->segs ? g->p->seg[0].len : 0);

	n = min_of(n, g->p->len);
	if (!packet_header(g->p, raw, n) || tcp_parse(&g->h, raw, n) || g->h.hdr_len > n)
		return false;
	g->len = g->p->len - g->h.hdr_len;
	g->local = (struct endpoint){.addr = g->m->dst, .port = g->h.dst};
	g->remote = (struct endpoint){.addr = g->m->src, .port = g->h.src};
	g->verified = g->p->flags & (DESC_CSUM_VALID | DESC_CSUM_NEEDED);
	if (g->verified)
		return true;
	g->sum =
	    csum(raw, g->h.hdr_len, ip_pseudo_sum(&g->m->src, &g->m->dst, IPPROTO_TCP, g->p->len));
	return g->len || segment_verify(g);
}

bool segment_too_far(const struct stack *s, uint32_t sk, const struct tcp_seg *g)
{
	const struct sock_rec *k = sock_peek(s, sk);

	return k && (k->flags & SOCK_F_MINTTL) && g->m->ttl < sockx_peek(s, sk)->min_ttl;
}

/* No connection has this pair of names. */
static void to_listener(struct stack *s, struct tcp_seg *g, uint32_t iss)
{
	uint32_t listener = NO_INDEX;

	if (g->h.flags & TCP_F_SYN || !(g->h.flags & TCP_F_RST))
		listener = sock_lookup_bound(s, IPPROTO_TCP, &g->local, &g->remote, g->m->dev);
	if (listener == NO_INDEX)
		tcp_refuse(s, g);
	else if (!segment_too_far(s, listener, g))
		tcp_listen_segment(s, listener, g, iss);
}

static void tcp_input(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	struct tcp_seg g = {.p = p, .m = m};
	struct conn_ref ref;
	uint32_t iss = 0;
	bool known;

	s->count.tcp_in++;
	if (m->to_broadcast || m->to_multicast)
		return;
	if (!parse(&g) || !g.h.src) {
		s->count.tcp_bad++;
		return;
	}
	if (g.h.flags & TCP_F_RST)
		s->count.tcp_rst_in++;
	known = conn_find(s, IPPROTO_TCP, &g.local, &g.remote, &ref);
	if (known && ref.kind == KIND_SOCK) {
		if (!segment_too_far(s, ref.index, &g))
			tcp_segment(s, ref.index, &g);
		return;
	}
	if (!segment_verify(&g)) {
		s->count.tcp_bad++;
		return;
	}
	if (known && ref.kind == KIND_SYNRCV)
		tcp_synrcv_segment(s, ref.index, &g);
	else if (!known || (ref.kind == KIND_TIMEWAIT && timewait_segment(s, ref.index, &g, &iss)))
		to_listener(s, &g, iss);
}

const struct inet_proto tcp_proto = {
    .number = IPPROTO_TCP,
    .input = tcp_input,
    .error = tcp_icmp_error,
};
