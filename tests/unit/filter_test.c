/* Filters of packet, raw, UDP and ping sockets: they cut and drop, come in pieces, survive, and leave nothing behind. */
#include "ip_rig.h"
#include "raw_rig.h"
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

TestSuite(filter, .init = rig_open, .fini = rig_close);

#define ONLY_LEN(n)                                                                                \
	{                                                                                          \
		{BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (n)},       \
		    {BPF_RET | BPF_K, 0, 0, 20},                                                   \
		{                                                                                  \
			BPF_RET | BPF_K, 0, 0, 0                                                   \
		}                                                                                  \
	}

Test(filter, filters_cut_and_drop)
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
Test(filter, filters_in_pieces)
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

Test(filter, filters_of_udp_and_ping_sockets)
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
