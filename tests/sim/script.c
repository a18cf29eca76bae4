/* See script.h. */
#include "script.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

#define HOST_V4 0x0a000001u
#define PEER_V4 0x0a000002u

struct script script_new(uint64_t seed)
{
	return script_new_with(seed, 0);
}

struct script script_new_with(uint64_t seed, uint32_t features)
{
	struct script c = {.m = sim_new_with(seed, features, 1500, true),
	    .port = 80,
	    .peer_port = 5000,
	    .iss = 0xfffffff0u,
	    .mss = 1460,
	    .window = 65535,
	    .sack = true};

	c.h = &c.m->host[0];
	sim_cycle(c.h, NULL, NULL); /* the driver gets its empty chunks */
	return c;
}

void script_free(struct script *c)
{
	sim_free(c->m);
}

void after(struct script *c, uint64_t ns)
{
	sim_run(c->m, ns);
}

struct tcp_header script_header(struct script *c, uint8_t flags, int64_t seq, int64_t ack)
{
	struct tcp_header h = {.src = c->peer_port,
	    .dst = c->port,
	    .seq = c->iss + 1 + (uint32_t)seq,
	    .flags = flags,
	    .window = c->window};

	if (flags & TCP_F_ACK)
		h.ack = c->irs + 1 + (uint32_t)ack;
	if (flags & TCP_F_SYN) {
		h.has_mss = c->mss;
		h.mss = c->mss;
		h.has_ws = c->ws;
		h.ws = c->scale;
		h.sack_permitted = c->sack;
	}
	h.has_ts = c->ts;
	h.ts_val = c->ts_val;
	h.ts_ecr = c->ts_recent;
	return h;
}

static uint32_t build(struct script *c, uint8_t *frame, uint8_t proto, uint32_t len)
{
	struct ethernet_header e = {.type = ETHER_IPV4};
	struct ipv4_header ip = {.ttl = 64,
	    .proto = proto,
	    .total_len = (uint16_t)(IPV4_LEN + len),
	    .src = PEER_V4,
	    .dst = HOST_V4,
	    .dont_fragment = true,
	    .tos = c->tos};

	memcpy(e.dst, sim_mac[0], 6);
	memcpy(e.src, sim_mac[1], 6);
	ethernet_emit(&e, frame, ETHERNET_LEN);
	ipv4_emit(&ip, frame + ETHERNET_LEN, IPV4_LEN);
	return ETHERNET_LEN + IPV4_LEN + len;
}

static void push(
    struct script *c, struct tcp_header h, const void *data, uint32_t len, bool corrupt)
{
	static uint8_t frame[SIM_FRAME];
	uint8_t *tcp = frame + ETHERNET_LEN + IPV4_LEN, hl = tcp_emit_len(&h);
	struct ipaddr src = ipaddr_v4(PEER_V4), dst = ipaddr_v4(HOST_V4);

	tcp_emit(&h, tcp, hl);
	if (len)
		memcpy(tcp + hl, data, len);
	h.checksum =
	    csum_finish(csum(tcp, hl + len, ip_pseudo_sum(&src, &dst, IPPROTO_TCP, hl + len)));
	tcp_emit(&h, tcp, hl);
	if (corrupt)
		tcp[hl] ^= 0x20;
	cr_assert(wire_push(c->h, frame, build(c, frame, IPPROTO_TCP, hl + len), 0, false));
	sim_cycle(c->h, NULL, NULL);
	sim_cycle(c->h, NULL, NULL);
}

void say_header(struct script *c, struct tcp_header h, const void *data, uint32_t len)
{
	push(c, h, data, len, false);
}

void say_corrupt(struct script *c, uint8_t flags, int64_t seq, int64_t ack, const char *data)
{
	push(c, script_header(c, flags, seq, ack), data, (uint32_t)strlen(data), true);
}

void say(struct script *c, uint8_t flags, int64_t seq, int64_t ack, const char *data)
{
	say_header(c, script_header(c, flags, seq, ack), data, data ? (uint32_t)strlen(data) : 0);
}

bool hear(struct script *c, struct heard *s)
{
	static uint8_t frame[SIM_FRAME];
	struct ethernet_header e;
	struct ipv4_header ip;
	uint32_t len, at, total;
	struct ipaddr src, dst;
	uint16_t gso;
	bool open;

	do {
		len = wire_take(c->h, frame, &gso, &open);
		if (!len)
			return false;
		cr_assert_eq(ethernet_parse(&e, frame, len), 0);
	} while (e.type != ETHER_IPV4);
	cr_assert_eq(ipv4_parse(&ip, frame + ETHERNET_LEN, len - ETHERNET_LEN), 0);
	cr_assert_eq(ip.proto, IPPROTO_TCP);
	at = ETHERNET_LEN + ip.hdr_len;
	total = ip.total_len - ip.hdr_len;
	src = ipaddr_v4(ip.src);
	dst = ipaddr_v4(ip.dst);
	cr_assert(
	    open || csum(frame + at, total, ip_pseudo_sum(&src, &dst, IPPROTO_TCP, total)) == 0xffff,
	    "checksum");
	cr_assert_eq(tcp_parse(&s->h, frame + at, total), 0);
	s->len = total - s->h.hdr_len;
	s->dst = dst;
	s->tos = ip.tos;
	memcpy(s->data, frame + at + s->h.hdr_len, s->len);
	if (s->h.has_ts)
		c->ts_recent = s->h.ts_val;
	return true;
}

void expect(struct script *c, uint8_t flags, int64_t seq, int64_t ack, uint32_t len)
{
	static struct heard s;

	cr_assert(hear(c, &s), "nothing was sent");
	cr_assert_eq(s.h.flags, flags, "flags %x, not %x", s.h.flags, flags);
	cr_assert_eq(s.h.seq - c->irs - 1, (uint32_t)seq, "seq %d, not %d",
	    (int)(s.h.seq - c->irs - 1), (int)seq);
	if (flags & TCP_F_ACK)
		cr_assert_eq(s.h.ack - c->iss - 1, (uint32_t)ack, "ack %d, not %d",
		    (int)(s.h.ack - c->iss - 1), (int)ack);
	cr_assert_eq(s.len, len, "length %u, not %u", s.len, len);
}

void expect_nothing(struct script *c)
{
	static struct heard s;

	if (hear(c, &s))
		cr_assert_fail(
		    "sent: flags %x seq %d len %u", s.h.flags, (int)(s.h.seq - c->irs - 1), s.len);
}

void script_syn_sent(struct script *c)
{
	static struct heard s;

	c->peer_port = 80;
	c->k = sim_socket(c->h);
	cr_assert_eq(sim_connect(c->k, 80), -EINPROGRESS);
	after(c, 0);
	cr_assert(hear(c, &s));
	cr_assert_eq(s.h.flags, TCP_F_SYN);
	c->irs = s.h.seq;
	c->port = s.h.src;
}

void script_active(struct script *c)
{
	script_syn_sent(c);
	say(c, TCP_F_SYN | TCP_F_ACK, -1, 0, NULL);
	expect(c, TCP_F_ACK, 0, 0, 0);
	cr_assert_eq(sim_state(c->k), TCPS_ESTABLISHED);
}

void script_half_open(struct script *c, struct sim_sock *l, int backlog)
{
	static struct heard s;

	cr_assert_eq(sim_listen(l, 80, backlog), 0);
	say(c, TCP_F_SYN, -1, 0, NULL);
	cr_assert(hear(c, &s));
	cr_assert_eq(s.h.flags, TCP_F_SYN | TCP_F_ACK);
	cr_assert_eq(s.h.ack, c->iss + 1);
	c->irs = s.h.seq;
}

void script_passive(struct script *c)
{
	struct sim_sock *l = sim_socket(c->h);

	script_half_open(c, l, 8);
	say(c, TCP_F_ACK, 0, 0, NULL);
	c->k = sim_accept(l);
	cr_assert(c->k);
	expect_nothing(c);
}

void say_icmp(struct script *c, uint8_t code, uint16_t mtu, int64_t seq)
{
	uint8_t frame[256], *icmp = frame + ETHERNET_LEN + IPV4_LEN, *quote = icmp + ICMP_LEN;
	struct icmp_header h = {.type = ICMP_T_UNREACHABLE, .code = code, .seq = mtu};
	struct ipv4_header ip = {
	    .ttl = 64, .proto = IPPROTO_TCP, .total_len = 1500, .src = HOST_V4, .dst = PEER_V4};
	struct tcp_header t = {
	    .src = c->port, .dst = c->peer_port, .seq = c->irs + 1 + (uint32_t)seq};
	uint8_t tcp[TCP_LEN_MAX];
	uint32_t len = ICMP_LEN + IPV4_LEN + 8;

	memset(frame, 0, sizeof(frame));
	ipv4_emit(&ip, quote, IPV4_LEN);
	tcp_emit(&t, tcp, sizeof(tcp));
	memcpy(quote + IPV4_LEN, tcp, 8);
	icmp_emit(&h, icmp, ICMP_LEN);
	h.checksum = csum_finish(csum(icmp, len, 0));
	icmp_emit(&h, icmp, ICMP_LEN);
	cr_assert(wire_push(c->h, frame, build(c, frame, IPPROTO_ICMP, len), 0, false));
	sim_cycle(c->h, NULL, NULL);
	sim_cycle(c->h, NULL, NULL);
}
