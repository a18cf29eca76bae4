/* The honest peer and the honest server: a TCP of the simplest kind, with retransmission. See fuzz_frames.c. */
#include "frames.h"

static uint8_t pattern(uint32_t off)
{
	return (uint8_t)(off * 31 + (off >> 8) * 7 + good.port);
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
	world_receive(&world, frame, len, NULL);
}

void good_answer(const struct tcp_header *h, const uint8_t *data, uint32_t len)
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

static bool good_accept(void)
{
	uint32_t child;

	while (!tcp_ops.accept(&world.s, good.listener, &child)) {
		const struct sock_rec *k = sock_peek(&world.s, child);

		check(!sock_adopt(&world.s, child, 0, 0, 0), "no memory to adopt");
		if (k->remote.port == good.port && ipaddr_to_v4(&k->remote.addr) == PEER)
			good.sk = child;
		else
			app_close(child, true);
	}
	return good.sk != NO_INDEX;
}

void good_open(uint16_t port)
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
	world_cycle(&world, LIVE); /* what is done between two cycles belongs to the next */
}

/* The server: reads what has come, writes it back. */
static void good_serve(void)
{
	const struct sock_rec *k = sock_peek(&world.s, good.sk);
	uint8_t buf[4096];
	struct ends e;
	uint32_t n;

	check(ends_of(good.sk, &e) && !k->err, "the connection is gone: %d", k ? k->err : 0);
	n = min_of(e.room, (uint32_t)sizeof(buf));
	n = (uint32_t)min_of(e.rx_tail - e.rx_head, (uint64_t)n);
	if (k->rx_old.cap)
		sock_epoch_ack(&world.s, good.sk, k->rx.epoch);
	if (!n)
		return;
	ring_read(world.s.mem, &k->rx, e.rx_head, buf, n);
	for (uint32_t i = 0; i < n; i++)
		check(buf[i] == pattern(good.got + i), "byte %u arrived wrong", good.got + i);
	ring_write(world.s.mem, &k->tx, e.tx_tail, buf, n);
	good.got += n;
	check(!tcp_ops.poke(&world.s, good.sk, e.rx_head + n, e.tx_tail + n), "honest positions");
}

void good_exchange(uint32_t n, uint32_t death_once_in)
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
		pass(0, UINT32_MAX);
	}
}

static void ask_arp(void)
{
	struct arp_header a = {.op = ARP_REQUEST, .sender = PEER, .target = HOST};
	uint8_t arp[ARP_LEN], frame[64];

	memcpy(a.sender_mac, PEER_MAC, 6);
	arp_emit(&a, arp, ARP_LEN);
	world_receive(&world, frame, make_frame(frame, ETHER_ARP, arp, ARP_LEN), NULL);
}

static void ask_echo(void)
{
	uint8_t icmp[16] = {ICMP_T_ECHO, 0, 0, 0, 'g', 'o', 'o', 'd', '1', '2', '3', '4'}, frame[100];
	uint16_t sum = csum_finish(csum(icmp, sizeof(icmp), 0));

	icmp[2] = (uint8_t)(sum >> 8);
	icmp[3] = (uint8_t)sum;
	world_receive(&world, frame,
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
	world_receive(&world, frame,
	    ip_packet(frame, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_UDP}, udp,
		sizeof(udp)),
	    NULL);
}

void good_ask(void)
{
	ask_arp();
	ask_echo();
	ask_udp();
}

/* Sends the datagrams that wait back to where they came from. */
void serve_udp(void)
{
	const struct sock_rec *k = sock_peek(&world.s, good.udp_sk);
	uint64_t head = k->rx_head, tail = k->tx_tail;
	uint8_t data[CM_DGRAM_ALIGN];
	struct cm_dgram h;

	while (head != k->rx_tail) {
		ring_read(world.s.mem, &k->rx, head, &h, sizeof(h));
		ring_read(world.s.mem, &k->rx, head + sizeof(h), data, min_of(h.len, (uint32_t)sizeof(data)));
		head += cm_dgram_room(h.len);
		if (h.flags & CM_DGRAM_SKIP || h.len > sizeof(data) || tail != k->tx_tail)
			continue;
		if (!k->tx.cap && sock_tx_ring(&world.s, good.udp_sk, 4096, k->tx_tail))
			continue;
		k = sock_peek(&world.s, good.udp_sk);
		if (k->tx.cap - ((tail - k->tx.base) & (k->tx.cap - 1)) < cm_dgram_room(h.len))
			continue;
		ring_write(world.s.mem, &k->tx, tail, &h, sizeof(h));
		ring_write(world.s.mem, &k->tx, tail + sizeof(h), data, h.len);
		tail += cm_dgram_room(h.len);
	}
	check(!udp_ops.poke(&world.s, good.udp_sk, head, tail), "honest datagrams");
}
