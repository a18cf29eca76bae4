/* Raw, ping and packet sockets: what they see, what they send, filters, restarts. */
#include "ip_rig.h"
#include "inet/layer.h"
#include "proto/link.h"
#include "wire/bpf.h"
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>

TestSuite(raw, .init = rig_open, .fini = rig_close);

static uint8_t buf[70000], ip[2048];

static uint32_t open_socket(int family, int type, int protocol)
{
	uint32_t sk = rig_socket(family, type, family == AF_PACKET ? 0 : protocol);
	struct sock_rec *k = sock_get(&rig.s, sk);

	if (family == AF_PACKET)
		k->local.port = (uint16_t)protocol;
	cr_assert_eq(sock_ops_of(&rig.s, k)->create(&rig.s, sk), 0);
	return sk;
}

static uint32_t icmp_message(
    uint8_t *out, uint8_t type, uint16_t id, uint16_t seq, const void *data, uint32_t len)
{
	uint16_t sum;

	memcpy(out,
	    (uint8_t[8]){
		type, 0, 0, 0, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(seq >> 8), (uint8_t)seq},
	    8);
	memcpy(out + 8, data, len);
	sum = csum_finish(csum(out, 8 + len, 0));
	out[2] = (uint8_t)(sum >> 8);
	out[3] = (uint8_t)sum;
	return 8 + len;
}

static void receive_icmp(uint8_t type, uint16_t id, const char *data)
{
	uint8_t msg[256];
	uint32_t n = icmp_message(msg, type, id, 1, data, (uint32_t)strlen(data));

	rig_receive(ip,
	    rig_ip(ip,
		(struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_ICMP, .ttl = 61},
		msg, n));
	rig_cycle();
}

static bool empty(uint32_t sk)
{
	struct cm_dgram h;

	return !rig_recv(sk, &h, buf, sizeof(buf));
}

static void set(uint32_t sk, int level, int name, int v)
{
	cr_assert_eq(sock_ops_of(&rig.s, sock_peek(&rig.s, sk))
			 ->setsockopt(&rig.s, sk, level, name, &v, sizeof(v)),
	    0);
}

static int attach(uint32_t sk, const struct bpf_insn *prog, uint32_t n)
{
	int ret = 0;

	for (uint32_t at = 0; at < n && !ret; at += CM_FILTER_PIECE)
		ret = sock_ops_of(&rig.s, sock_peek(&rig.s, sk))
			  ->filter(&rig.s, sk, at, n, prog + at, min_of(n - at, CM_FILTER_PIECE));
	return ret;
}

/* ---- raw */

Test(raw, sees_its_protocol_with_the_header)
{
	uint32_t icmp = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP),
		 udp = open_socket(AF_INET, SOCK_RAW, IPPROTO_UDP);
	struct cm_dgram h;

	rig_cycle();
	receive_icmp(0, 77, "reply");
	cr_assert(rig_recv(icmp, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 20 + 8 + 5);
	cr_assert_eq(memcmp(buf, ip, h.len), 0);
	cr_assert_eq(ipaddr_to_v4(&h.peer.addr), PEER);
	cr_assert_eq(h.peer.port, 0);
	cr_assert_eq(h.ttl, 61);
	cr_assert(empty(icmp));
	cr_assert(empty(udp));
	/* The stack answers all the same. */
	rig_drain();
	receive_icmp(8, 5, "request");
	cr_assert(rig_recv(icmp, &h, buf, sizeof(buf)));
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 20 + 8 + 7);
	cr_assert_eq(buf[20], 0);
}

Test(raw, a_protocol_that_only_it_wants)
{
	uint32_t sk;

	rig_cycle();
	rig_drain();
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_cycle();
	cr_assert_gt(rig_sent(buf, sizeof(buf)), 0, "protocol unreachable");
	sk = open_socket(AF_INET, SOCK_RAW, 200);
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
	cr_assert(!empty(sk));
}

Test(raw, names_and_icmp_filter_choose)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct endpoint other = rig_ep(PEER + 7, 0), peer = rig_ep(PEER, 0),
			strange = rig_ep(0x08080808, 0);

	cr_assert_eq(raw_ops.connect(&rig.s, sk, &other), 0);
	receive_icmp(0, 1, "x");
	cr_assert(empty(sk));
	cr_assert_eq(raw_ops.connect(&rig.s, sk, &peer), 0);
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
	cr_assert_eq(raw_ops.bind(&rig.s, sk, &strange), -EADDRNOTAVAIL);
	set(sk, SOL_RAW, ICMP_FILTER, 1 << 0);
	receive_icmp(0, 1, "x");
	cr_assert(empty(sk));
	receive_icmp(8, 1, "x");
	cr_assert(!empty(sk));
}

Test(raw, fragments_are_seen_whole)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 200);
	struct ipv4_header h = {
	    .src = PEER, .dst = HOST, .proto = 200, .id = 9, .more_fragments = true};
	struct cm_dgram d;

	rig_cycle();
	rig_receive(ip, rig_ip(ip, h, "01234567", 8));
	h.more_fragments = false;
	h.frag_off = 8;
	rig_receive(ip, rig_ip(ip, h, "89", 2));
	rig_cycle();
	cr_assert(rig_recv(sk, &d, buf, sizeof(buf)));
	cr_assert_eq(d.len, 30);
	cr_assert_eq(memcmp(buf + 20, "0123456789", 10), 0);
	cr_assert_eq(buf[3], 30);
	cr_assert_eq(buf[6] | buf[7], 0);
	cr_assert_eq(csum(buf, 20, 0), 0xffff);
}

Test(raw, sends)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 200),
		 own = open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	struct endpoint to = rig_ep(PEER, 0);
	uint8_t whole[24] = {0x45, 0, 99, 99, 0, 0, 0, 0, 33, 201, 1, 1, 0, 0, 0, 0, 10, 99, 0, 77,
	    'w', 'x', 'y', 'z'};
	struct ipv4_header h;

	rig_cycle();
	rig_drain();
	set(sk, IPPROTO_IP, IP_TTL, 3);
	cr_assert_eq(rig_send(sk, &to, "hello", 5), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 25);
	cr_assert_eq(ipv4_parse(&h, buf, 25), 0);
	cr_assert_eq(h.ttl, 3);
	cr_assert_eq(h.proto, 200);
	cr_assert_eq(h.src, HOST);
	/* Its own header: destination and the rest as written, four fields ours; sent where the
	 * call says. */
	cr_assert_eq(rig_send(own, &to, whole, sizeof(whole)), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 24);
	cr_assert_eq(ipv4_parse(&h, buf, 24), 0);
	cr_assert_eq(h.total_len, 24);
	cr_assert_eq(h.src, HOST);
	cr_assert_eq(h.dst, 0x0a63004d);
	cr_assert_eq(h.ttl, 33);
	cr_assert_neq(h.id, 0);
	cr_assert(ipv4_checksum_ok(buf, 20));
	cr_assert_eq(sock_peek(&rig.s, own)->err, 0);
	whole[0] = 0x4f; /* a header longer than the packet */
	cr_assert_eq(rig_send(own, &to, whole, sizeof(whole)), 0);
	cr_assert_eq(sock_peek(&rig.s, own)->err, EINVAL);
	cr_assert_eq(rig_send(own, &to, ip, 1501), 0);
	cr_assert_eq(sock_peek(&rig.s, own)->err, EMSGSIZE);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

/* ---- ping */

Test(raw, ping_gets_its_own_replies_only)
{
	uint32_t a = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
		 b = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct endpoint to = rig_ep(PEER, 0), mine = rig_ep(0, 4711);
	uint8_t msg[64];
	uint32_t n = icmp_message(msg, 8, 1, 7, "data", 4);
	struct cm_dgram h;
	uint16_t id;

	cr_assert_eq(ping_ops.bind(&rig.s, b, &mine), 0);
	cr_assert_eq(ping_ops.bind(&rig.s, a, &mine), -EADDRINUSE);
	rig_cycle();
	rig_drain();
	cr_assert_eq(rig_send(a, &to, msg, n), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 20 + n);
	id = (uint16_t)(buf[24] << 8 | buf[25]);
	cr_assert_eq(id, sock_peek(&rig.s, a)->local.port, "the identifier is the socket's");
	cr_assert_eq(csum(buf + 20, n, 0), 0xffff);
	receive_icmp(0, id, "data");
	cr_assert(empty(b));
	cr_assert(rig_recv(a, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 12, "without the IP header");
	cr_assert_eq(memcmp(buf + 8, "data", 4), 0);
	receive_icmp(0, 4711, "data");
	cr_assert(!empty(b));
	receive_icmp(0, 4712, "data");
	cr_assert(empty(a) && empty(b));
	/* Nothing but an echo request goes out. */
	msg[0] = 13;
	cr_assert_eq(rig_send(a, &to, msg, n), 0);
	cr_assert_eq(sock_peek(&rig.s, a)->err, EINVAL);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0);
}

/* ---- packet */

static struct link_name from(const struct cm_dgram *h)
{
	return link_of_endpoint(&h->peer);
}

Test(raw, taps_see_both_ways)
{
	uint32_t all = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL),
		 in = open_socket(AF_PACKET, SOCK_DGRAM, ETH_P_IP);
	uint32_t arp = open_socket(AF_PACKET, SOCK_DGRAM, ETH_P_ARP),
		 none = open_socket(AF_PACKET, SOCK_RAW, 0);
	struct cm_dgram h;

	rig_cycle();
	receive_icmp(8, 5, "hello");
	cr_assert(rig_recv(all, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 14 + 33);
	cr_assert_eq(h.frame.len, 14 + 33);
	cr_assert_eq(memcmp(buf + 14, ip, 33), 0);
	cr_assert_eq(memcmp(buf + 6, PEER_MAC, 6), 0);
	cr_assert_eq(from(&h).pkttype, PACKET_HOST);
	cr_assert_eq(from(&h).ifindex, rig.dev + 1);
	cr_assert_eq(h.peer.port, ETH_P_IP);
	cr_assert(rig_recv(all, &h, buf, sizeof(buf)));
	cr_assert_eq(from(&h).pkttype, PACKET_OUTGOING);
	cr_assert_eq(memcmp(buf, PEER_MAC, 6), 0);
	cr_assert(empty(all));
	cr_assert(rig_recv(in, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 33, "from the network header on");
	cr_assert_eq(memcmp(buf, ip, 33), 0);
	cr_assert(empty(in), "what goes out is seen by taps of all ethertypes only");
	cr_assert(empty(arp));
	cr_assert(empty(none));
}

Test(raw, lo_is_seen_twice)
{
	uint32_t tap = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL), udp = rig_udp_socket();
	struct endpoint to = rig_ep(LOOPBACK, 99);
	struct cm_dgram h;

	rig_cycle();
	cr_assert_eq(rig_send(udp, &to, "abc", 3), 0);
	rig_cycle();
	for (int i = 0; i < 2; i++) {
		cr_assert(rig_recv(tap, &h, buf, sizeof(buf)));
		cr_assert_eq(from(&h).pkttype, i ? PACKET_HOST : PACKET_OUTGOING);
		cr_assert_eq(from(&h).hatype, ARPHRD_LOOPBACK);
		cr_assert_eq(h.len, 14 + 31);
		cr_assert_eq(buf[12] << 8 | buf[13], ETH_P_IP);
		cr_assert_eq(memcmp(buf + 42, "abc", 3), 0);
	}
}

/* A frame for another host, by hand. */
static void receive_for_other(void)
{
	struct region_queue *q = &((struct region *)rig.region)->queue[0];
	uint64_t pos = q->receive_prod.v;

	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	((uint8_t *)region_chunk(rig.region, &rig.geo,
	    region_desc(rig.region, &rig.geo, 0, RING_RECEIVE, pos)->chunk))[5] ^= 0x55;
	rig_cycle();
}

Test(raw, frames_of_others_need_promiscuity)
{
	uint32_t tap = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL),
		 asks = open_socket(AF_PACKET, SOCK_RAW, 0);
	struct packet_mreq m = {.mr_ifindex = (int)rig.dev + 1, .mr_type = PACKET_MR_PROMISC},
			   bad = {.mr_ifindex = 99};
	struct cm_dgram h;

	rig_cycle();
	receive_for_other();
	cr_assert(empty(tap));
	cr_assert_eq(
	    tap_ops.setsockopt(&rig.s, asks, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &bad, sizeof(bad)),
	    -ENODEV);
	cr_assert_eq(
	    tap_ops.setsockopt(&rig.s, asks, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &m, sizeof(m)),
	    -EADDRNOTAVAIL);
	cr_assert_eq(
	    tap_ops.setsockopt(&rig.s, asks, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)), 0);
	rig_commit();
	receive_for_other();
	cr_assert(rig_recv(tap, &h, buf, sizeof(buf)));
	cr_assert_eq(from(&h).pkttype, PACKET_OTHERHOST);
	rig_commit();
	rig_restart();
	receive_for_other();
	cr_assert(rig_recv(tap, &h, buf, sizeof(buf)), "it holds across a restart");
	tap_ops.close(&rig.s, asks, true);
	rig_cycle();
	receive_for_other();
	cr_assert(empty(tap), "and ends with who asked");
}

Test(raw, packet_sockets_send)
{
	uint32_t whole = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL),
		 dgram = open_socket(AF_PACKET, SOCK_DGRAM, ETH_P_ALL);
	struct link_name to = {.halen = 6, .ifindex = rig.dev + 1};
	struct endpoint name,
	    here = link_to_endpoint(&(struct link_name){.ifindex = rig.dev + 1}, 0);
	uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5, 'x', 'y'};
	struct cm_dgram h;

	memcpy(to.addr, PEER_MAC, 6);
	name = link_to_endpoint(&to, 0x88b5);
	rig_cycle();
	rig_drain();
	cr_assert_eq(rig_send(dgram, &name, "payload", 7), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 7);
	cr_assert_eq(memcmp(buf, "payload", 7), 0);
	cr_assert(empty(dgram), "a socket does not see what it sends");
	cr_assert(rig_recv(whole, &h, buf, sizeof(buf)), "others do");
	cr_assert_eq(h.len, 21);
	cr_assert_eq(memcmp(buf, PEER_MAC, 6), 0);
	cr_assert_eq(buf[12] << 8 | buf[13], 0x88b5);
	cr_assert_eq(rig_send(whole, NULL, frame, sizeof(frame)), 0);
	cr_assert_eq(sock_peek(&rig.s, whole)->err, ENXIO, "bound to no device");
	cr_assert_eq(tap_ops.bind(&rig.s, whole, &here), 0);
	cr_assert_eq(rig_send(whole, NULL, frame, sizeof(frame)), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), sizeof(frame) - 14);
	cr_assert_eq(rig_send(whole, NULL, frame, 13), 0);
	cr_assert_eq(sock_peek(&rig.s, whole)->err, EINVAL);
	cr_assert_eq(rig_send(whole, NULL, ip, 1515), 0);
	cr_assert_eq(sock_peek(&rig.s, whole)->err, EMSGSIZE);
}

Test(raw, binding_chooses_device_and_ethertype)
{
	uint32_t sk = open_socket(AF_PACKET, SOCK_RAW, 0);
	struct endpoint lo = link_to_endpoint(&(struct link_name){.ifindex = 1}, ETH_P_ALL);
	struct endpoint tap = link_to_endpoint(&(struct link_name){.ifindex = rig.dev + 1}, 0);
	struct endpoint gone = link_to_endpoint(&(struct link_name){.ifindex = 31}, 0);
	struct link_name n;

	cr_assert_eq(tap_ops.bind(&rig.s, sk, &gone), -ENODEV);
	cr_assert_eq(tap_ops.bind(&rig.s, sk, &lo), 0);
	receive_icmp(0, 1, "x");
	cr_assert(empty(sk));
	cr_assert_eq(tap_ops.bind(&rig.s, sk, &tap), 0);
	n = link_of_endpoint(&sock_peek(&rig.s, sk)->local);
	cr_assert_eq(n.halen, 6);
	cr_assert_eq(n.hatype, ARPHRD_ETHER);
	cr_assert_eq(sock_peek(&rig.s, sk)->local.port, ETH_P_ALL, "0 keeps the ethertype");
	rig_commit();
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
}

/* ---- filters */

#define ONLY_LEN(n)                                                                                \
	{                                                                                          \
		{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (n)},       \
		    {BPF_RET | BPF_K, 0, 0, 20},                                                   \
		{                                                                                  \
			BPF_RET | BPF_K, 0, 0, 0                                                   \
		}                                                                                  \
	}

Test(raw, filters_cut_and_drop)
{
	static const struct bpf_insn ours[] = ONLY_LEN(14 + 33),
				     never_ends[] = {{BPF_LD | BPF_IMM, 0, 0, 1}};
	uint32_t sk = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL);
	struct tpacket_stats st = {0};
	uint32_t len = sizeof(st);
	struct cm_dgram h;

	set(sk, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	rig_cycle();
	cr_assert_eq(attach(sk, never_ends, 1), -EINVAL);
	cr_assert_eq(attach(sk, ours, ARRAY_SIZE(ours)), 0);
	rig_commit();
	receive_icmp(8, 1, "wrong length");
	receive_icmp(8, 1, "hello");
	cr_assert(rig_recv(sk, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 20);
	cr_assert_eq(h.frame.len, 14 + 33);
	cr_assert(empty(sk));
	rig_commit();
	rig_restart();
	receive_icmp(8, 1, "wrong length");
	cr_assert(empty(sk), "the filter survives");
	receive_icmp(8, 1, "hello");
	cr_assert(!empty(sk));
	cr_assert_eq(tap_ops.getsockopt(&rig.s, sk, SOL_PACKET, PACKET_STATISTICS, &st, &len), 0);
	cr_assert_eq(st.tp_packets, 2);
	cr_assert_eq(st.tp_drops, 0);
	cr_assert_eq(tap_ops.filter(&rig.s, sk, 0, 0, NULL, 0), 0);
	cr_assert_eq(tap_ops.filter(&rig.s, sk, 0, 0, NULL, 0), -ENOENT);
	receive_icmp(8, 1, "any length will do");
	cr_assert(!empty(sk));
}

/* Pieces out of order, half programs, long ones: refused or kept, and nothing is left behind. */
Test(raw, filters_in_pieces)
{
	struct bpf_insn prog[BPF_MAX_INSNS];
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	uint64_t before = memory_used(rig.s.mem, 0);

	for (uint32_t i = 0; i < BPF_MAX_INSNS; i++)
		prog[i] = (struct bpf_insn){BPF_ALU | BPF_ADD | BPF_K, 0, 0, 1};
	prog[BPF_MAX_INSNS - 1] = (struct bpf_insn){BPF_RET | BPF_K, 0, 0, 65535};
	cr_assert_eq(
	    filter_piece(&rig.s, sk, 8, 16, prog, 8), -EINVAL, "it begins at the beginning");
	cr_assert_eq(filter_piece(&rig.s, sk, 0, BPF_MAX_INSNS + 1, prog, 8), -EINVAL);
	cr_assert_eq(filter_piece(&rig.s, sk, 0, 16, prog, 9), -EINVAL);
	cr_assert_eq(filter_piece(&rig.s, sk, 0, 16, prog, 8), 0);
	cr_assert_eq(filter_piece(&rig.s, sk, 8, 17, prog, 8), -EINVAL, "another program");
	rig_commit();
	rig_restart(); /* with half a program */
	cr_assert_eq(attach(sk, prog, BPF_MAX_INSNS), 0);
	rig_commit();
	rig_restart();
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
	set(sk, SOL_SOCKET, SO_LOCK_FILTER, 1);
	cr_assert_eq(filter_piece(&rig.s, sk, 0, 0, NULL, 0), -EPERM);
	cr_assert_eq(attach(sk, prog, 8), -EPERM);
	raw_ops.close(&rig.s, sk, false);
	rig_commit();
	cr_assert_eq(memory_used(rig.s.mem, 0), before);
	cr_assert_eq(state_count(rig.s.state, KIND_RAW), 0);
}

/* ---- restarts: exactly once to the reader, at most once to the wire */

Test(raw, a_death_before_the_commit_changes_nothing)
{
	uint32_t tap = open_socket(AF_PACKET, SOCK_DGRAM, ETH_P_IP),
		 raw = open_socket(AF_INET, SOCK_RAW, 200);
	struct endpoint to = rig_ep(PEER, 0);

	cr_assert_eq(rig_send(raw, &to, "first", 5), 0);
	rig_cycle();
	rig_drain();
	rig_receive(
	    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200}, "abc", 3));
	rig_work();
	rig_restart();
	cr_assert(empty(tap) && empty(raw), "not told before it is true");
	rig_cycle();
	cr_assert(!empty(tap) && !empty(raw), "and then once");
	cr_assert(empty(tap) && empty(raw));
	rig_commit();
	cr_assert_eq(rig_send(raw, &to, "hello", 5), 0);
	rig_restart();
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0,
	    "the client's poke was not committed: it will be looked at again");
	cr_assert_eq(raw_ops.poke(&rig.s, raw, sock_peek(&rig.s, raw)->rx_head,
			 sock_peek(&rig.s, raw)->tx_tail + 128),
	    0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 25);
	rig_restart();
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 0, "once");
}

Test(raw, rings_fill_and_count)
{
	uint32_t sk = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL);
	struct tpacket_stats st = {0};
	uint32_t len = sizeof(st), got = 0;
	struct cm_dgram h;
	uint8_t big[1400] = {0};

	set(sk, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
	rig_cycle();
	for (unsigned i = 0; i < 400; i++) {
		rig_receive(
		    ip, rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = 200},
			    big, sizeof(big)));
		rig_cycle();
	}
	cr_assert_eq(tap_ops.getsockopt(&rig.s, sk, SOL_PACKET, PACKET_STATISTICS, &st, &len), 0);
	cr_assert_eq(st.tp_packets, 400);
	cr_assert_gt(st.tp_drops, 0);
	while (rig_recv(sk, &h, buf, sizeof(buf)))
		got++;
	cr_assert_eq(got, st.tp_packets - st.tp_drops);
}

Test(raw, lies_in_the_ring)
{
	uint32_t sk = open_socket(AF_PACKET, SOCK_RAW, ETH_P_ALL);
	struct cm_dgram h = {.len = 70000};
	const struct sock_rec *k;

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	k = sock_peek(&rig.s, sk);
	memcpy((uint8_t *)rig.mem1 + ring_place_at(&k->tx, 0), &h, sizeof(h));
	cr_assert_eq(tap_ops.poke(&rig.s, sk, 0, 128 * 1024), -EPROTO);
	cr_assert_eq(tap_ops.poke(&rig.s, sk, 64, sock_peek(&rig.s, sk)->tx_tail), -EPROTO);
}

/* IP_FREEBIND: a source that is not ours, connected and not. */
Test(raw, speaks_for_an_address_that_is_not_here_yet)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, 99), foreign = 0xc0000209;
	struct endpoint from = rig_ep(foreign, 0), to = rig_ep(PEER, 0);
	struct ipv4_header h;
	int one = 1;

	cr_assert_eq(raw_ops.bind(&rig.s, sk, &from), -EADDRNOTAVAIL);
	cr_assert_eq(raw_ops.setsockopt(&rig.s, sk, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)), 0);
	cr_assert_eq(raw_ops.bind(&rig.s, sk, &from), 0);
	for (int connected = 0; connected < 2; connected++) {
		if (connected)
			cr_assert_eq(raw_ops.connect(&rig.s, sk, &to), 0);
		cr_assert_eq(rig_send(sk, connected ? NULL : &to, "data", 4), 0);
		rig_cycle();
		cr_assert_eq(rig_sent(buf, sizeof(buf)), 24);
		cr_assert_eq(ipv4_parse(&h, buf, 24), 0);
		cr_assert_eq(h.src, foreign);
		cr_assert_eq(h.dst, PEER);
	}
}

Test(raw, filters_of_udp_and_ping_sockets)
{
	static const struct bpf_insn marked[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 8},
	    {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'm'}, {BPF_RET | BPF_K, 0, 0, 8 + 2},
	    {BPF_RET | BPF_K, 0, 0, 0}};
	uint32_t udp = rig_bound(HOST, 5353), ping = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct endpoint name = rig_ep(0, 77);
	uint64_t before;
	struct cm_dgram h;

	cr_assert_eq(ping_ops.bind(&rig.s, ping, &name), 0);
	rig_commit();
	before = memory_used(rig.s.mem, 0);
	cr_assert_eq(udp_ops.filter(&rig.s, udp, 0, 0, NULL, 0), -ENOENT);
	cr_assert_eq(state_count(rig.s.state, KIND_RAW), 0, "asking costs nothing");
	cr_assert_eq(attach(udp, marked, ARRAY_SIZE(marked)), 0);
	cr_assert_eq(attach(ping, marked, ARRAY_SIZE(marked)), 0);
	set(udp, SOL_SOCKET, SO_LOCK_FILTER, 1);
	rig_commit();
	rig_restart();
	rig_receive_udp(PEER, 7, HOST, 5353, "xyz", 3);
	rig_receive_udp(PEER, 7, HOST, 5353, "mno", 3);
	receive_icmp(0, 77, "xyz");
	receive_icmp(0, 77, "mno");
	cr_assert(rig_recv(udp, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 2);
	cr_assert_eq(memcmp(buf, "mn", 2), 0);
	cr_assert(empty(udp));
	cr_assert(rig_recv(ping, &h, buf, sizeof(buf)));
	cr_assert_eq(h.len, 10);
	cr_assert(empty(ping));
	cr_assert_eq(udp_ops.filter(&rig.s, udp, 0, 0, NULL, 0), -EPERM);
	udp_ops.close(&rig.s, udp, false);
	ping_ops.close(&rig.s, ping, false);
	rig_commit();
	cr_assert_eq(memory_used(rig.s.mem, 0), before);
	cr_assert_eq(state_count(rig.s.state, KIND_RAW), 0);
}

Test(raw, shutdown_keeps_nothing_from_a_raw_socket)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct endpoint peer = rig_ep(PEER, 0);

	cr_assert_eq(raw_ops.shutdown(&rig.s, sk, SHUT_RD), -ENOTCONN);
	cr_assert_eq(raw_ops.connect(&rig.s, sk, &peer), 0);
	cr_assert_eq(raw_ops.shutdown(&rig.s, sk, SHUT_RDWR), 0);
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk));
	rig_drain();
	cr_assert_eq(rig_send(sk, &peer, "12345678", 8), 0);
	rig_cycle();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 28);
}

Test(raw, what_is_on_lo_is_for_us)
{
	uint32_t out = open_socket(AF_INET, SOCK_RAW, IPPROTO_RAW),
		 in = open_socket(AF_INET, SOCK_RAW, 200);
	struct endpoint lo = rig_ep(LOOPBACK, 0);

	rig_commit();
	rig_send(out, &lo, ip,
	    rig_ip(ip, (struct ipv4_header){.src = LOOPBACK, .dst = 0x2a000000, .proto = 200},
		"abc", 3));
	rig_cycle();
	cr_assert(!empty(in));
}

Test(raw, ping_sockets_have_an_address_of_their_own)
{
	uint32_t sk = open_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	struct endpoint group = rig_ep(0xe0000001, 0), all = rig_ep(0xffffffff, 0),
			own = rig_ep(HOST, 0);

	cr_assert_eq(ping_ops.bind(&rig.s, sk, &group), -EADDRNOTAVAIL);
	cr_assert_eq(ping_ops.bind(&rig.s, sk, &all), -EADDRNOTAVAIL);
	cr_assert_eq(ping_ops.bind(&rig.s, sk, &own), 0);
}

Test(raw, what_waits_is_limited)
{
	uint32_t sk = open_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

	set(sk, SOL_SOCKET, SO_RCVBUF, 0); /* the least there is */
	rig_commit();
	for (int i = 0; i < 100; i++)
		receive_icmp(0, 1, "x");
	cr_assert_gt(sock_peek(&rig.s, sk)->drops, 0);
	while (!empty(sk))
		;
	receive_icmp(0, 1, "x");
	cr_assert(!empty(sk), "room again");
}
