/* Packet sockets: both ways of a device, the frames of others, rings that fill, lies in them. */
#include "ip_rig.h"
#include "raw_rig.h"
#include "proto/link.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>

TestSuite(packet_socket, .init = rig_open, .fini = rig_close);

static struct link_name from(const struct cm_dgram *h)
{
	return link_of_endpoint(&h->peer);
}

Test(packet_socket, taps_see_both_ways)
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

Test(packet_socket, lo_is_seen_twice)
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

Test(packet_socket, frames_of_others_need_promiscuity)
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

Test(packet_socket, packet_sockets_send)
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

Test(packet_socket, binding_chooses_device_and_ethertype)
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

Test(packet_socket, rings_fill_and_count)
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

Test(packet_socket, lies_in_the_ring)
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
