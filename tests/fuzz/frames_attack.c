/* Attackers' frames: the right 4-tuples, and lies in everything else. See fuzz_frames.c. */
#include "frames.h"

uint32_t stranger(void)
{
	return one_in(3) ? rnd(UINT32_MAX) : (HOST & 0xffffff00) + 10 + rnd(20);
}

uint16_t some_port(void)
{
	static const uint16_t known[] = {80, 81, 53, 9000, ECHO_PORT};

	return one_in(8) ? (uint16_t)rnd(65536) : known[rnd(ARRAY_SIZE(known))];
}

static uint32_t near_number(uint32_t n)
{
	switch (rnd(8)) {
	case 0:
		return n + rnd(3000) - 1500;
	case 1:
		return n + rnd(200000) - 100000;
	case 2:
		return n + (uint32_t)rnd_odd();
	default:
		return n;
	}
}

static void odd_options(struct tcp_header *h, const struct peer *p)
{
	h->has_ts = p->ts_ecr ? !one_in(6) : one_in(6);
	h->ts_val = p->ts_val + (one_in(4) ? (uint32_t)rnd_odd() : rnd(3));
	h->ts_ecr = one_in(4) ? (uint32_t)rnd_odd() : p->ts_ecr;
	h->has_mss = one_in(2);
	h->mss = (uint16_t)(one_in(2) ? rnd_odd() : 1460);
	h->has_ws = one_in(2);
	h->ws = (uint8_t)rnd(15);
	h->sack_permitted = one_in(2);
	h->n_sack = (uint8_t)(one_in(2) ? rnd(TCP_SACK_MAX + 1) : 0);
	for (int i = 0; i < h->n_sack; i++) {
		h->sack[i].start = near_number(p->ack - rnd(5000));
		h->sack[i].end = one_in(3) ? near_number(p->ack) : h->sack[i].start + rnd(3000);
	}
}

static uint8_t odd_flags(void)
{
	static const uint8_t usual[] = {TCP_F_SYN, TCP_F_ACK, TCP_F_ACK, TCP_F_ACK | TCP_F_PSH,
	    TCP_F_ACK, TCP_F_FIN | TCP_F_ACK, TCP_F_SYN | TCP_F_ACK, TCP_F_RST, TCP_F_RST | TCP_F_ACK};

	if (one_in(4))
		return (uint8_t)rnd(256);
	return one_in(3) ? TCP_F_SYN : usual[rnd(ARRAY_SIZE(usual))];
}

static uint32_t odd_length(void)
{
	return one_in(2) ? 0 : one_in(12) ? rnd(60000) : rnd(1461);
}

static void tcp_options_lie(uint8_t *tcp, uint32_t len)
{
	uint32_t hdr = min_of(tcp[12] >> 4 << 2, (int)len);

	if (hdr > TCP_LEN)
		mutate(tcp + TCP_LEN, hdr - TCP_LEN);
	if (one_in(3))
		tcp[12] = (uint8_t)rnd(256);
}

static uint32_t odd_segment(uint8_t *out, uint32_t *src)
{
	struct peer p = peers[rnd(PEERS)];
	struct tcp_header h = {.window = (uint16_t)(one_in(4) ? rnd_odd() : 65535)};
	static uint8_t data[60000];
	uint32_t len;

	if (!p.addr || one_in(5)) {
		p = (struct peer){.addr = stranger(), .lport = some_port(), .seq = rnd(UINT32_MAX)};
		p.rport = (uint16_t)(1024 + rnd(4000));
	}
	h.src = p.rport;
	h.dst = p.lport;
	h.flags = p.ack ? odd_flags() : TCP_F_SYN;
	if (p.ack && h.flags == TCP_F_SYN && !one_in(8))
		h.flags = TCP_F_ACK;
	h.seq = near_number(p.seq);
	h.ack = near_number(p.ack);
	h.urgent = (uint16_t)rnd_odd();
	odd_options(&h, &p);
	*src = p.addr;
	len = segment(out, p.addr, &h, data, odd_length());
	if (one_in(10))
		tcp_options_lie(out, len);
	return len;
}

static uint32_t odd_udp(uint8_t *out, uint32_t *src)
{
	struct udp_header h = {.src = (uint16_t)rnd(65536), .dst = some_port()};
	uint32_t len = UDP_LEN + (one_in(8) ? rnd(60000) : rnd(1400));
	struct ipaddr a, b = ipaddr_v4(HOST);

	*src = stranger();
	a = ipaddr_v4(*src);
	memset(out, (int)rnd(256), len);
	h.len = (uint16_t)(one_in(8) ? rnd_odd() : len);
	udp_emit(&h, out, UDP_LEN);
	if (one_in(3))
		return len;
	h.checksum = csum_finish_udp(csum(out, len, ip_pseudo_sum(&a, &b, IPPROTO_UDP, len)));
	udp_emit(&h, out, UDP_LEN);
	return len;
}

/* Errors quote packets that netd sent, or pretend to. */
static uint32_t odd_icmp(uint8_t *out, uint32_t *src)
{
	static const uint8_t types[] = {0, 3, 3, 3, 3, 4, 5, 8, 11, 12, 13, 17};
	const struct peer *p = &peers[rnd(PEERS)];
	struct icmp_header h = {.type = types[rnd(ARRAY_SIZE(types))], .code = (uint8_t)rnd(16)};
	struct ipv4_header q = {.src = HOST, .dst = p->addr, .ttl = 60, .proto = IPPROTO_TCP};
	uint32_t len = ICMP_LEN;

	*src = one_in(2) ? p->addr : stranger();
	h.seq = (uint16_t)rnd_odd();
	if (h.type == ICMP_T_ECHO) {
		len += one_in(6) ? rnd(60000) : rnd(1400);
		memset(out + ICMP_LEN, 'e', len - ICMP_LEN);
	} else {
		struct tcp_header t = {.src = p->lport, .dst = p->rport, .seq = near_number(p->ack)};

		q.options_len = (uint8_t)(one_in(4) ? 4 * rnd(11) : 0);
		q.total_len = (uint16_t)(one_in(4) ? rnd_odd() : 576);
		if (q.total_len < IPV4_LEN + q.options_len)
			q.total_len = 60;
		len += (uint32_t)ipv4_emit(&q, out + len, 60);
		len += (uint32_t)tcp_emit(&t, out + len, 60);
		len -= one_in(3) ? rnd(len) : 0;
		if (one_in(3) && len > ICMP_LEN)
			mutate(out + ICMP_LEN, len - ICMP_LEN);
	}
	len = max_of(len, (uint32_t)ICMP_LEN);
	icmp_emit(&h, out, ICMP_LEN);
	h.checksum = csum_finish(csum(out, len, 0));
	icmp_emit(&h, out, ICMP_LEN);
	return len;
}

/* Queries and reports of all versions, also about groups that the application is in. */
static uint32_t odd_igmp(uint8_t *out, uint32_t *src)
{
	static const uint8_t types[] = {0x11, 0x11, 0x11, 0x12, 0x16, 0x17, 0x22};
	uint32_t len = one_in(3) ? 8 : 12 + 4 * rnd(8), group = one_in(2) ? 0 : FUZZ_GROUP + rnd(3);
	uint16_t sum;

	*src = stranger();
	rnd_bytes(out, len);
	out[0] = types[rnd(ARRAY_SIZE(types))];
	for (unsigned i = 0; i < 4; i++)
		out[4 + i] = (uint8_t)(group >> (24 - 8 * i));
	if (len > 8 && !one_in(5)) {
		out[10] = 0;
		out[11] = (uint8_t)rnd(10);
	}
	out[2] = out[3] = 0;
	sum = csum_finish(csum(out, len, 0));
	out[2] = (uint8_t)(sum >> 8);
	out[3] = (uint8_t)(sum ^ one_in(20));
	return len;
}

/* Facts of the first descriptor, as a driver with offloads may tell them: or lies within its rights. */
static const struct dev_desc *odd_facts(struct dev_desc *d)
{
	if (one_in(2))
		return NULL;
	*d = (struct dev_desc){.flags = (uint16_t)(rnd(8) & ~(uint32_t)DESC_MORE)};
	if (one_in(3)) {
		d->gso_type = (uint8_t)rnd(5);
		d->gso_size = (uint16_t)(one_in(2) ? 1448 : rnd_odd());
		d->hdr_len = (uint16_t)(one_in(2) ? 54 : rnd_odd());
	}
	d->csum_start = (uint16_t)rnd_odd();
	d->csum_offset = (uint16_t)rnd_odd();
	return d;
}

static void inject(uint8_t *frame, uint32_t len)
{
	struct dev_desc facts;

	if (one_in(12) && len)
		mutate(frame, min_of(len, 80u));
	if (one_in(20))
		len -= rnd(len);
	if (one_in(20)) {
		memset(frame + len, 0, 60);
		len += rnd(60); /* padding */
	}
	world_receive(&world, frame, len, odd_facts(&facts));
}

/* Cut into fragments that overlap, leave holes, come twice, or promise too much. */
static void inject_fragments(struct ipv4_header h, const uint8_t *payload, uint32_t len)
{
	static uint8_t frame[FRAME_MAX];
	uint32_t step = 8 * (1 + rnd(180)), n = 0;

	h.id = (uint16_t)(one_in(3) ? rnd(4) : rnd(65536));
	for (uint32_t off = 0; off < len && n < 40; off += step, n++) {
		uint32_t piece = min_of(step, len - off);

		h.total_len = 0;
		h.frag_off = off;
		h.more_fragments = off + piece < len;
		if (one_in(15))
			h.frag_off = 8 * rnd(8192);
		if (one_in(15))
			h.more_fragments = one_in(2);
		if (one_in(20))
			piece = rnd(min_of(len - off, 1480u)) + 1;
		if (one_in(30))
			continue;
		inject(frame, ip_packet(frame, h, payload + off, piece));
		if (one_in(30))
			off -= min_of(off, step);
	}
}

static void attack_ip(void)
{
	static uint8_t payload[FRAME_MAX], frame[FRAME_MAX + 100];
	struct ipv4_header h = {.dst = HOST, .ttl = (uint8_t)(one_in(9) ? rnd(3) : 64)};
	uint32_t len, kind = rnd(9);

	h.proto = kind < 5 ? IPPROTO_TCP : kind < 7 ? IPPROTO_UDP : kind < 8 ? IPPROTO_ICMP : IPPROTO_IGMP;
	len = kind < 5 ? odd_segment(payload, &h.src) : kind < 7 ? odd_udp(payload, &h.src)
	      : kind < 8 ? odd_icmp(payload, &h.src) : odd_igmp(payload, &h.src);
	if (one_in(10)) {
		h.options_len = (uint8_t)(4 * rnd(11));
		rnd_bytes(h.options, sizeof(h.options));
	}
	len = min_of(len, 65535u - IPV4_LEN - h.options_len);
	if (one_in(20))
		h.proto = (uint8_t)rnd(256);
	if (one_in(kind == 8 ? 2 : 20))
		h.dst = one_in(3) ? 0xe0000001 : FUZZ_GROUP + rnd(3);
	if (one_in(20))
		h.dst = one_in(2) ? 0xffffffff : (HOST | 0xff);
	if (one_in(20))
		h.src = one_in(2) ? HOST : 0x7f000001;
	h.tos = (uint8_t)rnd(256);
	if (one_in(6)) {
		inject_fragments(h, payload, len);
		return;
	}
	len = ip_packet(frame, h, payload, len);
	if (one_in(20)) { /* a length that is not the frame's, with a right checksum */
		h.total_len = (uint16_t)(IPV4_LEN + h.options_len + rnd(1600));
		ipv4_emit(&h, frame + ETHERNET_LEN, IPV4_LEN_MAX);
	}
	inject(frame, len);
}

static void attack_arp(void)
{
	struct arp_header a = {.op = (uint16_t)(one_in(8) ? rnd_odd() : 1 + rnd(2)),
	    .sender = one_in(6) ? HOST : stranger(),
	    .target = one_in(3) ? stranger() : HOST};
	uint8_t arp[ARP_LEN], frame[200];

	rnd_bytes(a.sender_mac, 6);
	if (one_in(2))
		a.sender_mac[0] &= 0xfe;
	arp_emit(&a, arp, ARP_LEN);
	inject(frame, make_frame(frame, ETHER_ARP, arp, ARP_LEN));
}

void attack(void)
{
	static uint8_t frame[FRAME_MAX];

	switch (rnd(10)) {
	case 0:
		rnd_bytes(frame, 200);
		inject(frame, 1 + rnd(200));
		break;
	case 1:
		attack_arp();
		break;
	default:
		attack_ip();
	}
}
