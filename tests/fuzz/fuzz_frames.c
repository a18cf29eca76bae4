/*
 * Frames against a whole stack: the fuzzer is driver, every peer, and the application.
 *
 * Attackers know the right 4-tuples and about the right numbers (they read what netd sends), and lie
 * about everything else; the driver lies now and then; the daemon dies now and then, at each kind of
 * moment. Beside them one honest peer and one honest application exchange bytes over a connection of
 * their own. After every step each chunk is at one place and every control block makes sense; at the
 * end ARP, ICMP echo, UDP, the old honest connection and a new one work.
 */
#include "world_rig.h"
#include "inet/udp.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define PEERS	   24
#define STEPS	   250
#define ECHO_PORT  7 /* the honest server */
#define GOOD_PORT  50000 /* and up: the honest clients */

static struct world w;

/* What an attacker knows of a connection. */
static struct peer {
	uint32_t addr;
	uint16_t lport, rport; /* lport is netd's */
	uint32_t seq, ack;     /* ours next, netd's next */
	uint32_t ts_val, ts_ecr;
} peers[PEERS];

/* The honest pair. */
static struct good {
	uint16_t port;
	uint32_t iss, irs;
	uint32_t sent, acked, echoed; /* bytes of the stream */
	uint32_t got;		      /* bytes that the server read */
	bool syn_acked, reset, arp, echo, udp;
	uint32_t sk, listener, udp_sk;
} good;

static uint8_t pattern(uint32_t off)
{
	return (uint8_t)(off * 31 + (off >> 8) * 7 + good.port);
}

/* ---- building packets */

static uint32_t ip_packet(uint8_t *frame, struct ipv4_header h, const void *payload, uint32_t len)
{
	static uint8_t ip[FRAME_MAX];
	int n;

	h.ttl = h.ttl ? h.ttl : 64;
	if (!h.total_len)
		h.total_len = (uint16_t)(IPV4_LEN + h.options_len + len);
	n = ipv4_emit(&h, ip, sizeof(ip));
	check(n > 0, "ip");
	memcpy(ip + n, payload, len);
	return make_frame(frame, ETHER_IPV4, ip, (uint32_t)n + len);
}

static uint32_t segment(uint8_t *out, uint32_t src, struct tcp_header *h, const void *data, uint32_t len)
{
	struct ipaddr a = ipaddr_v4(src), b = ipaddr_v4(HOST);
	int n;

	h->checksum = 0;
	n = tcp_emit(h, out, TCP_LEN_MAX);
	check(n > 0, "tcp");
	if (len)
		memcpy(out + n, data, len);
	h->checksum = csum_finish(
	    csum(out, (uint32_t)n + len, ip_pseudo_sum(&a, &b, IPPROTO_TCP, (uint32_t)n + len)));
	out[TCP_CSUM_OFFSET] = (uint8_t)(h->checksum >> 8);
	out[TCP_CSUM_OFFSET + 1] = (uint8_t)h->checksum;
	return (uint32_t)n + len;
}

static void good_segment(uint8_t flags, uint32_t off, uint32_t len)
{
	struct tcp_header h = {.src = good.port, .dst = ECHO_PORT, .window = 65535, .flags = flags};
	uint8_t data[1400], tcp[1500], frame[1600];

	h.seq = flags & TCP_F_SYN ? good.iss : good.iss + 1 + off;
	h.ack = flags & TCP_F_ACK ? good.irs + 1 + good.echoed : 0;
	for (uint32_t i = 0; i < len; i++)
		data[i] = pattern(off + i);
	len = segment(tcp, PEER, &h, data, len);
	len = ip_packet(frame,
	    (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_TCP}, tcp, len);
	world_receive(&w, frame, len, NULL);
}

/* ---- what netd sent */

static void good_answer(const struct tcp_header *h, const uint8_t *data, uint32_t len)
{
	uint32_t off, acked = h->ack - good.iss - 1;

	if (h->flags & TCP_F_RST) {
		good.reset = true;
		return;
	}
	if (h->flags & TCP_F_SYN) {
		good.irs = h->seq;
		good.syn_acked = true;
		return;
	}
	check(acked <= good.sent, "acknowledges %u of %u bytes", acked, good.sent);
	good.acked = max_of(good.acked, acked);
	off = h->seq - good.irs - 1;
	if ((int32_t)(off - good.echoed) > 0 || off + len < good.echoed)
		return; /* a hole before it, or old */
	for (uint32_t i = good.echoed - off; i < len; i++, good.echoed++)
		check(data[i] == pattern(good.echoed), "byte %u of the echo is wrong", good.echoed);
	if (len)
		good_segment(TCP_F_ACK, good.sent, 0);
}

static void note_peer(const struct ipv4_header *ip, const struct tcp_header *h, uint32_t len)
{
	struct peer *p = NULL;

	for (int i = 0; i < PEERS && !p; i++)
		if (peers[i].addr == ip->dst && peers[i].lport == h->src && peers[i].rport == h->dst)
			p = &peers[i];
	if (h->flags & TCP_F_RST && !p)
		return;
	if (!p)
		p = &peers[rnd(PEERS)];
	p->addr = ip->dst;
	p->lport = h->src;
	p->rport = h->dst;
	p->ack = h->seq + len + !!(h->flags & TCP_F_SYN) + !!(h->flags & TCP_F_FIN);
	if (h->flags & TCP_F_ACK)
		p->seq = h->ack;
	if (h->has_ts) {
		p->ts_ecr = h->ts_val;
		p->ts_val = max_of(p->ts_val, h->ts_ecr);
	}
}

static void on_ip(const uint8_t *buf, uint32_t room)
{
	struct ipv4_header ip;
	struct tcp_header tcp;
	struct udp_header udp;
	const uint8_t *data;
	uint32_t len;

	if (ipv4_parse(&ip, buf, room) < 0 || ip.frag_off || ip.more_fragments)
		return;
	data = buf + ip.hdr_len;
	len = ip.total_len - ip.hdr_len;
	if (ip.proto == IPPROTO_ICMP && ip.dst == PEER && len >= 12 && data[0] == ICMP_T_ECHO_REPLY &&
	    !memcmp(data + 4, "good1234", 8))
		good.echo = true;
	if (ip.proto == IPPROTO_UDP && !udp_parse(&udp, data, len) && ip.dst == PEER &&
	    udp.dst == good.port && len == UDP_LEN + 4 && !memcmp(data + UDP_LEN, "gram", 4))
		good.udp = true;
	if (ip.proto != IPPROTO_TCP)
		return;
	check(!tcp_parse(&tcp, data, len), "a TCP header that is none");
	check(tcp.hdr_len == tcp_emit_len(&tcp), "odd options");
	if (ip.dst == PEER && tcp.dst == good.port && tcp.src == ECHO_PORT)
		good_answer(&tcp, data + tcp.hdr_len, len - tcp.hdr_len);
	else
		note_peer(&ip, &tcp, len - tcp.hdr_len);
}

static void arp_answer(const struct arp_header *q)
{
	struct arp_header a = {.op = ARP_REPLY, .sender = q->target, .target = q->sender};
	uint8_t arp[ARP_LEN], frame[64];

	memcpy(a.sender_mac, PEER_MAC, 6);
	memcpy(a.target_mac, q->sender_mac, 6);
	arp_emit(&a, arp, ARP_LEN);
	world_receive(&w, frame, make_frame(frame, ETHER_ARP, arp, ARP_LEN), NULL);
}

static void on_arp(const uint8_t *buf, uint32_t len)
{
	struct arp_header h;

	check(!arp_parse(&h, buf, len), "ARP that is none");
	if (h.op == ARP_REPLY && h.target == PEER && h.sender == HOST)
		good.arp = true;
	if (h.op == ARP_REQUEST && (h.target == PEER || one_in(2)))
		arp_answer(&h);
}

static void take_sent(void)
{
	static uint8_t frame[FRAME_MAX];
	uint32_t len;

	while ((len = world_sent(&w, frame))) {
		if (frame[12] == 8 && frame[13] == 0)
			on_ip(frame + ETHERNET_LEN, len - ETHERNET_LEN);
		else
			on_arp(frame + ETHERNET_LEN, len - ETHERNET_LEN);
	}
}

/* ---- attackers' frames */

static uint32_t stranger(void)
{
	return one_in(3) ? rnd(UINT32_MAX) : (HOST & 0xffffff00) + 10 + rnd(20);
}

static uint16_t some_port(void)
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
	world_receive(&w, frame, len, odd_facts(&facts));
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
	uint32_t len, kind = rnd(8);

	h.proto = kind < 5 ? IPPROTO_TCP : kind < 7 ? IPPROTO_UDP : IPPROTO_ICMP;
	len = kind < 5 ? odd_segment(payload, &h.src) : kind < 7 ? odd_udp(payload, &h.src)
								  : odd_icmp(payload, &h.src);
	if (one_in(10)) {
		h.options_len = (uint8_t)(4 * rnd(11));
		rnd_bytes(h.options, sizeof(h.options));
	}
	len = min_of(len, 65535u - IPV4_LEN - h.options_len);
	if (one_in(20))
		h.proto = (uint8_t)rnd(256);
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

static void attack(void)
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

/* ---- the application: what the socket layer would call */

static bool is_good(uint32_t sk)
{
	return sk == good.sk || sk == good.listener || sk == good.udp_sk;
}

static uint32_t new_socket(int type)
{
	uint32_t sk;
	struct sock_rec *k = sock_alloc(&w.s, &sk);
	const struct sock_ops *ops;
	int ret;

	check(k, "no socket");
	k->family = AF_INET;
	k->type = (uint8_t)type;
	k->protocol = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	k->session = 0;
	k->slot = 0;
	k->uid = 1000;
	ops = sock_ops_of(&w.s, k);
	ret = ops->create(&w.s, sk);
	check(!ret, "create: %d", ret);
	return sk;
}

static uint32_t bound_socket(int type, uint16_t port)
{
	struct endpoint ep = {.port = port};
	uint32_t sk = new_socket(type);
	const struct sock_ops *ops = sock_ops_of(&w.s, sock_peek(&w.s, sk));
	int ret = ops->bind(&w.s, sk, &ep);

	check(!ret, "bind %u: %d", port, ret);
	if (type == SOCK_STREAM) {
		ret = ops->listen(&w.s, sk, 8);
		check(!ret, "listen: %d", ret);
	}
	return sk;
}

static void app_close(uint32_t sk, bool killed)
{
	struct sock_rec *k = sock_get(&w.s, sk);
	const struct sock_ops *ops = sock_ops_of(&w.s, k);

	if (k->rx_old.cap)
		sock_epoch_ack(&w.s, sk, k->rx.epoch);
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	ops->close(&w.s, sk, killed);
}

/* The client's honest positions of a socket. */
struct ends {
	uint64_t rx_head, rx_tail, tx_head, tx_tail;
	uint32_t room;
};

static bool ends_of(uint32_t sk, struct ends *e)
{
	const struct sock_rec *k = sock_peek(&w.s, sk);
	const struct tcp_rec *t = state_peek(w.s.state, KIND_TCP, sk);

	if (!k || (k->type == SOCK_STREAM && !t))
		return false;
	if (t && k->type == SOCK_STREAM)
		*e = (struct ends){t->rx_head, rx_tail_of(t), tx_head_of(t), t->tx_tail, 0};
	else
		*e = (struct ends){k->rx_head, k->rx_tail, k->tx_head, k->tx_tail, 0};
	if (k->tx.cap && e->tx_tail - e->tx_head <= k->tx.cap)
		e->room = (uint32_t)(k->tx.cap - (e->tx_tail - e->tx_head));
	return true;
}

static void app_move(uint32_t sk)
{
	const struct sock_rec *k = sock_peek(&w.s, sk);
	struct ends e;
	int ret;

	if (!ends_of(sk, &e))
		return;
	if (k->rx_old.cap && one_in(2))
		sock_epoch_ack(&w.s, sk, k->rx.epoch);
	if (one_in(2))
		e.rx_head += k->type == SOCK_STREAM ? rnd((uint32_t)(e.rx_tail - e.rx_head) + 1)
						    : e.rx_tail - e.rx_head;
	if (k->type == SOCK_STREAM && one_in(2))
		e.tx_tail += rnd(e.room + 1);
	if (one_in(60)) /* a lie */
		*(one_in(2) ? &e.rx_head : &e.tx_tail) += rnd_odd();
	ret = sock_ops_of(&w.s, k)->poke(&w.s, sk, e.rx_head, e.tx_tail);
	if (ret == -EPROTO && sock_peek(&w.s, sk))
		app_close(sk, true);
}

static void app_connect(void)
{
	struct endpoint ep = {.addr = ipaddr_v4(stranger()), .port = some_port()};
	uint32_t sk = new_socket(one_in(4) ? SOCK_DGRAM : SOCK_STREAM);
	const struct sock_ops *ops = sock_ops_of(&w.s, sock_peek(&w.s, sk));
	int ret;

	if (one_in(6))
		ep.addr = ipaddr_v4(one_in(2) ? HOST : 0x7f000001);
	ret = ops->connect(&w.s, sk, &ep);
	if (ret && ret != -EINPROGRESS && sock_peek(&w.s, sk))
		app_close(sk, false);
}

static void app_accept(uint32_t sk)
{
	uint32_t child;

	if (sock_ops_of(&w.s, sock_peek(&w.s, sk))->accept(&w.s, sk, &child))
		return;
	if (sock_adopt(&w.s, child, 0, 0, 0))
		app_close(child, true);
}

static void app_option(uint32_t sk)
{
	static const int options[][2] = {{SOL_SOCKET, SO_LINGER}, {SOL_SOCKET, SO_KEEPALIVE},
	    {SOL_SOCKET, SO_RCVBUF}, {SOL_SOCKET, SO_SNDBUF}, {IPPROTO_TCP, TCP_NODELAY},
	    {IPPROTO_TCP, TCP_CORK}, {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_USER_TIMEOUT},
	    {IPPROTO_TCP, TCP_MAXSEG}, {IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_DEFER_ACCEPT},
	    {IPPROTO_TCP, TCP_INFO}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT}, {IPPROTO_IP, IP_TTL}};
	const struct sock_ops *ops = sock_ops_of(&w.s, sock_peek(&w.s, sk));
	unsigned i = rnd(ARRAY_SIZE(options));
	uint32_t len = rnd(17);
	uint8_t val[80];

	rnd_bytes(val, sizeof(val));
	if (one_in(2))
		memcpy(val, (uint32_t[2]){rnd(2), rnd(4000)}, 8);
	if (one_in(3))
		ops->getsockopt(&w.s, sk, options[i][0], options[i][1], val, &len);
	else
		ops->setsockopt(&w.s, sk, options[i][0], options[i][1], val, len);
}

/* A socket that the random application owns; NO_INDEX if it met none. */
static uint32_t some_socket(void)
{
	uint32_t from = rnd(60), sk = state_next(w.s.state, KIND_SOCK, from);

	if (sk == NO_INDEX)
		sk = state_next(w.s.state, KIND_SOCK, 0);
	if (sk == NO_INDEX || is_good(sk) || sock_peek(&w.s, sk)->session != 0)
		return NO_INDEX;
	return sk;
}

static void application(void)
{
	uint32_t sk = some_socket();

	if (one_in(30) && state_count(w.s.state, KIND_SOCK) < 200)
		app_connect();
	if (sk == NO_INDEX)
		return;
	if (sock_peek(&w.s, sk)->flags & SOCK_F_LISTEN) {
		app_accept(sk);
		return;
	}
	switch (rnd(12)) {
	case 0:
		app_option(sk);
		break;
	case 1:
		sock_ops_of(&w.s, sock_peek(&w.s, sk))->shutdown(&w.s, sk, (int)rnd(3));
		break;
	case 2:
		app_close(sk, one_in(4));
		break;
	default:
		app_move(sk);
	}
}

/* ---- invariants */

static void check_tcb(uint32_t sk)
{
	const struct sock_rec *k = sock_peek(&w.s, sk);
	const struct tcp_rec *t = state_peek(w.s.state, KIND_TCP, sk);
	const struct tcpx_rec *x = state_peek(w.s.state, KIND_TCPX, sk);

	check(k, "control block %u without a socket", sk);
	check(t->snd_una <= t->snd_nxt, "socket %u: snd_una beyond snd_nxt", sk);
	check(t->rx_head <= rx_tail_of(t), "socket %u: read beyond rcv_nxt", sk);
	check(!k->rx.cap || rx_tail_of(t) - t->rx_head <= k->rx.cap, "socket %u: rx overrun", sk);
	check(!k->tx.cap || t->tx_tail - tx_head_of(t) <= k->tx.cap, "socket %u: tx overrun", sk);
	check(t->snd_nxt <= t->tx_tail + 1, "socket %u: sent what was never written", sk);
	for (unsigned i = 0; x && i < x->n_ooo; i++) {
		check(x->n_ooo <= TCP_OOO_MAX && x->ooo[i].start < x->ooo[i].end &&
			  x->ooo[i].start > t->rcv_nxt && x->ooo[i].end - t->rx_head <= k->rx.cap,
		    "socket %u: interval %u", sk, i);
		check(!i || x->ooo[i].start > x->ooo[i - 1].end, "socket %u: disorder at %u", sk, i);
	}
	for (unsigned i = 0; x && i < x->n_run; i++) {
		check(x->n_run <= TCP_RUN_MAX && x->run[i].start < x->run[i].end &&
			  x->run[i].start > t->snd_una && x->run[i].end <= t->snd_nxt,
		    "socket %u: run %u", sk, i);
		check(!i || x->run[i].start > x->run[i - 1].end, "socket %u: runs touch at %u", sk, i);
	}
}

static void invariants(void)
{
	const char *wrong = world_census(&w);

	check(!wrong, "%s", wrong);
	for (uint32_t sk = state_next(w.s.state, KIND_TCP, 0); sk != NO_INDEX;
	     sk = state_next(w.s.state, KIND_TCP, sk + 1))
		check_tcb(sk);
}

static void pass(uint64_t ns, uint32_t death_once_in)
{
	w.s.now += ns;
	world_risky_cycle(&w, death_once_in);
	take_sent();
}

/* ---- the honest pair */

static bool good_accept(void)
{
	uint32_t child;

	while (!tcp_ops.accept(&w.s, good.listener, &child)) {
		const struct sock_rec *k = sock_peek(&w.s, child);

		check(!sock_adopt(&w.s, child, 0, 0, 0), "no memory to adopt");
		if (k->remote.port == good.port && ipaddr_to_v4(&k->remote.addr) == PEER)
			good.sk = child;
		else
			app_close(child, true);
	}
	return good.sk != NO_INDEX;
}

static void good_open(uint16_t port)
{
	uint32_t listener = good.listener, udp = good.udp_sk;

	good = (struct good){.port = port, .iss = rnd(UINT32_MAX), .sk = NO_INDEX};
	good.listener = listener;
	good.udp_sk = udp;
	for (unsigned i = 0; !good_accept(); i++) {
		check(i < 200, "no connection; SYN-ACK: %d, reset: %d", good.syn_acked, good.reset);
		if (good.syn_acked)
			good_segment(TCP_F_ACK, 0, 0);
		else if (i % 10 == 0)
			good_segment(TCP_F_SYN, 0, 0);
		pass(100 * NSEC_PER_MSEC, 10);
	}
	world_cycle(&w, LIVE); /* what is done between two cycles belongs to the next */
}

/* The server: reads what has come, writes it back. */
static void good_serve(void)
{
	const struct sock_rec *k = sock_peek(&w.s, good.sk);
	uint8_t buf[4096];
	struct ends e;
	uint32_t n;

	check(ends_of(good.sk, &e) && !k->err, "the connection is gone: %d", k ? k->err : 0);
	n = min_of(e.room, (uint32_t)sizeof(buf));
	n = (uint32_t)min_of(e.rx_tail - e.rx_head, (uint64_t)n);
	if (k->rx_old.cap)
		sock_epoch_ack(&w.s, good.sk, k->rx.epoch);
	if (!n)
		return;
	ring_read(w.s.mem, &k->rx, e.rx_head, buf, n);
	for (uint32_t i = 0; i < n; i++)
		check(buf[i] == pattern(good.got + i), "byte %u arrived wrong", good.got + i);
	ring_write(w.s.mem, &k->tx, e.tx_tail, buf, n);
	good.got += n;
	check(!tcp_ops.poke(&w.s, good.sk, e.rx_head + n, e.tx_tail + n), "honest positions");
}

static void good_exchange(uint32_t n, uint32_t death_once_in)
{
	uint32_t first = good.sent;

	good.sent += n;
	for (unsigned i = 0; good.echoed != good.sent || good.acked != good.sent; i++) {
		check(i < 400, "stuck: %u sent, %u acknowledged, %u read, %u echoed", good.sent,
		    good.acked, good.got, good.echoed);
		check(!good.reset, "reset");
		for (uint32_t off = max_of(good.acked, first); i % 4 == 0 && off < good.sent; off += 1400)
			good_segment(TCP_F_ACK | TCP_F_PSH, off, min_of(good.sent - off, 1400u));
		pass(50 * NSEC_PER_MSEC, death_once_in);
		/* Dying after this, before the commit, undoes what the server did: it is part of the cycle. */
		good_serve();
		world_cycle(&w, LIVE);
		take_sent();
	}
}

static void ask_arp(void)
{
	struct arp_header a = {.op = ARP_REQUEST, .sender = PEER, .target = HOST};
	uint8_t arp[ARP_LEN], frame[64];

	memcpy(a.sender_mac, PEER_MAC, 6);
	arp_emit(&a, arp, ARP_LEN);
	world_receive(&w, frame, make_frame(frame, ETHER_ARP, arp, ARP_LEN), NULL);
}

static void ask_echo(void)
{
	uint8_t icmp[16] = {ICMP_T_ECHO, 0, 0, 0, 'g', 'o', 'o', 'd', '1', '2', '3', '4'}, frame[100];
	uint16_t sum = csum_finish(csum(icmp, sizeof(icmp), 0));

	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
	world_receive(&w, frame,
	    ip_packet(frame, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_ICMP}, icmp,
		sizeof(icmp)),
	    NULL);
}

static void ask_udp(void)
{
	struct udp_header h = {.src = good.port, .dst = 5353, .len = UDP_LEN + 4};
	uint8_t udp[UDP_LEN + 4], frame[100];

	udp_emit(&h, udp, UDP_LEN);
	memcpy(udp + UDP_LEN, "gram", 4);
	world_receive(&w, frame,
	    ip_packet(frame, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_UDP}, udp,
		sizeof(udp)),
	    NULL);
}

/* Sends the datagrams that wait back to where they came from. */
static void serve_udp(void)
{
	const struct sock_rec *k = sock_peek(&w.s, good.udp_sk);
	uint64_t head = k->rx_head, tail = k->tx_tail;
	uint8_t data[CM_DGRAM_ALIGN];
	struct cm_dgram h;

	while (head != k->rx_tail) {
		ring_read(w.s.mem, &k->rx, head, &h, sizeof(h));
		ring_read(w.s.mem, &k->rx, head + sizeof(h), data, min_of(h.len, (uint32_t)sizeof(data)));
		head += cm_dgram_room(h.len);
		if (h.flags & CM_DGRAM_SKIP || h.len > sizeof(data) || tail != k->tx_tail)
			continue;
		if (!k->tx.cap && sock_tx_ring(&w.s, good.udp_sk, 4096, k->tx_tail))
			continue;
		k = sock_peek(&w.s, good.udp_sk);
		if (k->tx.cap - ((tail - k->tx.base) & (k->tx.cap - 1)) < cm_dgram_room(h.len))
			continue;
		ring_write(w.s.mem, &k->tx, tail, &h, sizeof(h));
		ring_write(w.s.mem, &k->tx, tail + sizeof(h), data, h.len);
		tail += cm_dgram_room(h.len);
	}
	check(!udp_ops.poke(&w.s, good.udp_sk, head, tail), "honest datagrams");
}

/* Everything that a network server is for still works. */
static void still_works(void)
{
	w.complete = true;
	for (int i = 0; i < 30; i++)
		pass(10 * NSEC_PER_SEC, 1000);
	good.arp = good.echo = good.udp = false;
	for (unsigned i = 0; !good.arp || !good.echo || !good.udp; i++) {
		check(i < 50, "no answer: arp %d, echo %d, udp %d", good.arp, good.echo, good.udp);
		ask_arp();
		ask_echo();
		ask_udp();
		pass(NSEC_PER_SEC, 20);
		serve_udp();
	}
	good_exchange(3000, 20);
	app_close(good.sk, true);
	world_cycle(&w, LIVE);
	good_open((uint16_t)(good.port + 1));
	good_exchange(5000, 20);
	invariants();
}

static void step(void)
{
	for (uint32_t n = rnd(8); n; n--)
		attack();
	for (uint32_t n = rnd(4); n; n--)
		application();
	w.complete = !one_in(10);
	pass(one_in(12) ? rnd(4000) * NSEC_PER_MSEC : rnd(2000000), 25);
	if (one_in(60))
		world_lie(&w);
	w.complete = true;
	take_sent();
	if (one_in(8))
		good_exchange(1 + rnd(4000), 10);
	invariants();
}

/* Is there fuzz where there should be? */
static void stats(void)
{
	const struct counters *c = &w.s.count;

	fprintf(stderr, "seed %llu: %u restarts, %u drivers accused, %u sockets, %u half-open, %u time-wait, %u fragments; "
	       "since the last restart: %llu frames in, %llu out, tcp %llu in %llu out %llu bad %llu accepted\n",
	    (unsigned long long)fuzz_now.seed, w.restarts, w.accusations, state_count(w.s.state, KIND_SOCK),
	    state_count(w.s.state, KIND_SYNRCV), state_count(w.s.state, KIND_TIMEWAIT),
	    state_count(w.s.state, KIND_FRAG), (unsigned long long)c->frames_in,
	    (unsigned long long)c->frames_out, (unsigned long long)c->tcp_in, (unsigned long long)c->tcp_out,
	    (unsigned long long)c->tcp_bad, (unsigned long long)c->tcp_accepted);
}

static void round_frames(void)
{
	memset(peers, 0, sizeof(peers));
	memset(&good, 0, sizeof(good));
	world_new(&w, false);
	good.listener = bound_socket(SOCK_STREAM, ECHO_PORT);
	good.udp_sk = bound_socket(SOCK_DGRAM, 5353);
	bound_socket(SOCK_STREAM, 80);
	bound_socket(SOCK_STREAM, 81);
	bound_socket(SOCK_DGRAM, 53);
	bound_socket(SOCK_DGRAM, 9000);
	world_cycle(&w, LIVE);
	good_open(GOOD_PORT);
	good_exchange(1000, 10);
	for (int i = 0; i < STEPS; i++)
		step();
	still_works();
	if (getenv("NETD_FUZZ_STATS"))
		stats();
	world_delete(&w);
}

int main(void)
{
	return fuzz_main("fuzz_frames", 100, round_frames);
}
