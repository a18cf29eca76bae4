/*
 * Frames against a whole stack: the fuzzer is driver, every peer, and the application.
 *
 * Attackers know the right 4-tuples and about the right numbers (they read what netd sends), and lie
 * about everything else; the driver lies now and then; the daemon dies now and then, at each kind of
 * moment. Beside them one honest peer and one honest application exchange bytes over a connection of
 * their own. After every step each chunk is at one place and every control block makes sense; at the
 * end ARP, ICMP echo, UDP, the old honest connection and a new one work.
 */
#include "frames.h"

#define STEPS	  250
#define GOOD_PORT 50000 /* and up: the honest clients */

struct world world;
struct peer peers[PEERS];
struct good good;

/* ---- building packets */

uint32_t ip_packet(uint8_t *frame, struct ipv4_header h, const void *payload, uint32_t len)
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

uint32_t segment(uint8_t *out, uint32_t src, struct tcp_header *h, const void *data, uint32_t len)
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

/* ---- what netd sent */

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
	world_receive(&world, frame, make_frame(frame, ETHER_ARP, arp, ARP_LEN), NULL);
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

	while ((len = world_sent(&world, frame))) {
		if (frame[12] == 8 && frame[13] == 0)
			on_ip(frame + ETHERNET_LEN, len - ETHERNET_LEN);
		else
			on_arp(frame + ETHERNET_LEN, len - ETHERNET_LEN);
	}
}

/* ---- invariants */

static void check_tcb(uint32_t sk)
{
	const struct sock_rec *k = sock_peek(&world.s, sk);
	const struct tcp_rec *t = state_peek(world.s.state, KIND_TCP, sk);
	const struct tcpx_rec *x = state_peek(world.s.state, KIND_TCPX, sk);

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
			  x->run[i].start >= t->snd_una && x->run[i].end <= t->snd_nxt,
		    "socket %u: run %u of %u [%llu, %llu), una %llu, nxt %llu, state %u, recovery %u", sk, i,
		    x->n_run, (unsigned long long)x->run[i].start, (unsigned long long)x->run[i].end,
		    (unsigned long long)t->snd_una, (unsigned long long)t->snd_nxt, t->state, t->ca_state);
		check(!i || x->run[i].start > x->run[i - 1].end, "socket %u: runs touch at %u", sk, i);
	}
}

static void invariants(void)
{
	const char *wrong = world_census(&world);

	check(!wrong, "%s", wrong);
	for (uint32_t sk = state_next(world.s.state, KIND_TCP, 0); sk != NO_INDEX;
	     sk = state_next(world.s.state, KIND_TCP, sk + 1))
		check_tcb(sk);
}

void pass(uint64_t ns, uint32_t death_once_in)
{
	world.s.now += ns;
	world_risky_cycle(&world, death_once_in);
	take_sent();
}

/* ---- */

/* Everything that a network server is for still works. */
static void still_works(void)
{
	world.complete = true;
	for (int i = 0; i < 30; i++)
		pass(10 * NSEC_PER_SEC, 1000);
	good.arp = good.echo = good.udp = false;
	for (unsigned i = 0; !good.arp || !good.echo || !good.udp; i++) {
		check(i < 50, "no answer: arp %d, echo %d, udp %d", good.arp, good.echo, good.udp);
		good_ask();
		pass(NSEC_PER_SEC, 20);
		serve_udp();
	}
	good_exchange(3000, 20);
	app_close(good.sk, true);
	world_cycle(&world, LIVE);
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
	world.complete = !one_in(10);
	pass(one_in(12) ? rnd(4000) * NSEC_PER_MSEC : rnd(2000000), 25);
	if (one_in(60))
		world_lie(&world);
	world.complete = true;
	take_sent();
	if (one_in(8))
		good_exchange(1 + rnd(4000), 10);
	invariants();
}

/* Is there fuzz where there should be? */
static void stats(void)
{
	const struct counters *c = &world.s.count;

	fprintf(stderr, "seed %llu: %u restarts, %u drivers accused, %u sockets, %u half-open, %u time-wait, %u fragments; "
	       "since the last restart: %llu frames in, %llu out, tcp %llu in %llu out %llu bad %llu accepted\n",
	    (unsigned long long)fuzz_now.seed, world.restarts, world.accusations, state_count(world.s.state, KIND_SOCK),
	    state_count(world.s.state, KIND_SYNRCV), state_count(world.s.state, KIND_TIMEWAIT),
	    state_count(world.s.state, KIND_FRAG), (unsigned long long)c->frames_in,
	    (unsigned long long)c->frames_out, (unsigned long long)c->tcp_in, (unsigned long long)c->tcp_out,
	    (unsigned long long)c->tcp_bad, (unsigned long long)c->tcp_accepted);
}

static void round_frames(void)
{
	memset(peers, 0, sizeof(peers));
	memset(&good, 0, sizeof(good));
	world_new(&world, false);
	good.listener = bound_socket(SOCK_STREAM, ECHO_PORT);
	good.udp_sk = bound_socket(SOCK_DGRAM, 5353);
	bound_socket(SOCK_STREAM, 80);
	bound_socket(SOCK_STREAM, 81);
	bound_socket(SOCK_DGRAM, 53);
	bound_socket(SOCK_DGRAM, 9000);
	world_cycle(&world, LIVE);
	good_open(GOOD_PORT);
	good_exchange(1000, 10);
	for (int i = 0; i < STEPS; i++)
		step();
	still_works();
	if (getenv("NETD_FUZZ_STATS"))
		stats();
	world_delete(&world);
}

int main(void)
{
	return fuzz_main("fuzz_frames", 100, round_frames);
}
