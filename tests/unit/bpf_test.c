/* Classic BPF: what the checker takes and refuses, what programs answer, and that no program does
 * harm. */
#include "base/util.h"
#include "wire/bpf.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>

struct bytes {
	const uint8_t *b;
	uint32_t len;
};

static bool read_bytes(const void *arg, uint32_t off, void *dst, uint32_t n)
{
	const struct bytes *v = arg;

	if (off > v->len || n > v->len - off)
		return false;
	memcpy(dst, v->b + off, n);
	return true;
}

/* An Ethernet frame: ARP would be 0x0806; this is IPv4, UDP, from 10.0.0.1 to 10.0.0.2, port 53 to
 * 1234. */
static const uint8_t frame[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x00, 0x45, 0, 0, 32,
    0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 53, 4, 0xd2, 0, 12, 0, 0, 'a', 'b', 'c',
    'd'};

static uint32_t run(const struct bpf_insn *prog, uint32_t n)
{
	struct bytes b = {frame, sizeof(frame)};
	struct bpf_packet p = {.read = read_bytes,
	    .arg = &b,
	    .len = sizeof(frame),
	    .net = 14,
	    .facts = {.protocol = 0x0800, .pkttype = 4, .ifindex = 2, .hatype = 1}};

	cr_assert_eq(bpf_check(prog, n), 0);
	return bpf_run(prog, n, &p);
}

#define RUN(...)                                                                                   \
	run((const struct bpf_insn[]){__VA_ARGS__},                                                \
	    sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn))
#define CHECK(...)                                                                                 \
	bpf_check((const struct bpf_insn[]){__VA_ARGS__},                                          \
	    sizeof((const struct bpf_insn[]){__VA_ARGS__}) / sizeof(struct bpf_insn))
#define LDH(at)                                                                                    \
	{                                                                                          \
		BPF_LD | BPF_H | BPF_ABS, 0, 0, (uint32_t)(at)                                     \
	}
#define LDB(at)                                                                                    \
	{                                                                                          \
		BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)(at)                                     \
	}
#define LDW(at)                                                                                    \
	{                                                                                          \
		BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)(at)                                     \
	}
#define JEQ(v, t, f)                                                                               \
	{                                                                                          \
		BPF_JMP | BPF_JEQ | BPF_K, t, f, v                                                 \
	}
#define RET(v)                                                                                     \
	{                                                                                          \
		BPF_RET | BPF_K, 0, 0, v                                                           \
	}
#define RETA                                                                                       \
	{                                                                                          \
		BPF_RET | BPF_A, 0, 0, 0                                                           \
	}
#define ALU(op, v)                                                                                 \
	{                                                                                          \
		BPF_ALU | (op) | BPF_K, 0, 0, v                                                    \
	}
#define LDI(v)                                                                                     \
	{                                                                                          \
		BPF_LD | BPF_IMM, 0, 0, v                                                          \
	}

Test(bpf, what_tcpdump_writes)
{
	/* tcpdump -d 'udp port 53' of old: ethertype, protocol, no fragment, either port. */
	cr_assert_eq(
	    RUN(LDH(12), JEQ(0x800, 0, 8), LDB(23), JEQ(17, 0, 6), LDH(20),
		{BPF_JMP | BPF_JSET | BPF_K, 4, 0, 0x1fff}, {BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14},
		{BPF_LD | BPF_H | BPF_IND, 0, 0, 14}, JEQ(53, 0, 1), RET(262144), RET(0)),
	    262144);
	cr_assert_eq(RUN(LDH(12), JEQ(0x806, 0, 1), RET(99), RET(0)), 0);
}

Test(bpf, facts_and_negative_offsets)
{
	cr_assert_eq(RUN(LDH(SKF_AD_OFF + SKF_AD_PROTOCOL), RETA), 0x800);
	cr_assert_eq(RUN(LDB(SKF_AD_OFF + SKF_AD_PKTTYPE), RETA), 4);
	cr_assert_eq(RUN(LDW(SKF_AD_OFF + SKF_AD_IFINDEX), RETA), 2);
	cr_assert_eq(RUN(LDB(SKF_NET_OFF + 9), RETA), 17);
	cr_assert_eq(RUN(LDB(SKF_LL_OFF + 6), RETA), 7);
	cr_assert_eq(RUN({BPF_LD | BPF_W | BPF_LEN, 0, 0, 0}, RETA), sizeof(frame));
	cr_assert_eq(CHECK(LDB(SKF_AD_OFF + SKF_AD_NLATTR), RETA), -EINVAL);
}

Test(bpf, arithmetic)
{
	cr_assert_eq(RUN(LDI(7), ALU(BPF_ADD, 5), ALU(BPF_MUL, 3), ALU(BPF_DIV, 5), RETA), 7);
	cr_assert_eq(RUN(LDI(7), ALU(BPF_SUB, 8), ALU(BPF_RSH, 31), RETA), 1);
	cr_assert_eq(RUN(LDI(5), {BPF_ST, 0, 0, 3}, LDI(1), {BPF_LDX | BPF_MEM, 0, 0, 3},
			 {BPF_ALU | BPF_LSH | BPF_X, 0, 0, 0}, RETA),
	    32);
	cr_assert_eq(RUN(LDI(9), {BPF_MISC | BPF_TAX, 0, 0, 0}, ALU(BPF_AND, 8), ALU(BPF_NEG, 0),
			 ALU(BPF_NEG, 0), {BPF_ALU | BPF_XOR | BPF_X, 0, 0, 0}, RETA),
	    1);
	/* By zero, and from beyond the end: nothing is wanted. */
	cr_assert_eq(RUN(LDI(9), {BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0}, RET(5)), 0);
	cr_assert_eq(RUN(LDW(sizeof(frame) - 3), RET(5)), 0);
	cr_assert_eq(RUN({BPF_LDX | BPF_IMM, 0, 0, 0xfffffff0},
			 {BPF_LD | BPF_B | BPF_IND, 0, 0, 0x20}, RETA),
	    0);
}

Test(bpf, refuses)
{
	static const struct bpf_insn many[BPF_MAX_INSNS + 1] = {[BPF_MAX_INSNS] = RET(1)};

	cr_assert_eq(bpf_check(many, 0), -EINVAL);
	cr_assert_eq(bpf_check(many, BPF_MAX_INSNS + 1), -EINVAL);
	cr_assert_eq(CHECK(LDH(12)), -EINVAL, "no end");
	cr_assert_eq(CHECK(JEQ(1, 1, 0), RET(1)), -EINVAL, "a jump beyond the end");
	cr_assert_eq(
	    CHECK({BPF_JMP | BPF_JA, 0, 0, 0xffffffff}, RET(1)), -EINVAL, "a jump backwards");
	cr_assert_eq(CHECK({BPF_ST, 0, 0, 16}, RET(1)), -EINVAL, "no such word");
	cr_assert_eq(CHECK({BPF_LD | BPF_MEM, 0, 0, 2}, RETA), -EINVAL, "a word never written");
	cr_assert_eq(
	    CHECK(LDI(1), JEQ(1, 0, 1), {BPF_ST, 0, 0, 2}, {BPF_LD | BPF_MEM, 0, 0, 2}, RETA),
	    -EINVAL, "a word written on one way only");
	cr_assert_eq(CHECK(ALU(BPF_DIV, 0), RET(1)), -EINVAL);
	cr_assert_eq(CHECK(ALU(BPF_LSH, 32), RET(1)), -EINVAL);
	cr_assert_eq(CHECK({0xffff, 0, 0, 0}, RET(1)), -EINVAL);
}

/* Whatever the checker lets pass ends, and asks for nothing outside (the reader would say). */
Test(bpf, random_programs)
{
	static const uint16_t codes[] = {BPF_LD | BPF_B | BPF_ABS, BPF_LD | BPF_W | BPF_IND,
	    BPF_LDX | BPF_B | BPF_MSH, BPF_ALU | BPF_ADD | BPF_X, BPF_ALU | BPF_MOD | BPF_X,
	    BPF_JMP | BPF_JEQ | BPF_K, BPF_JMP | BPF_JA, BPF_ST, BPF_LD | BPF_MEM,
	    BPF_MISC | BPF_TAX, BPF_RET | BPF_A, BPF_RET | BPF_K};
	uint64_t seed = 7;
	unsigned passed = 0;

	for (unsigned round = 0; round < 200000; round++) {
		struct bpf_insn prog[12];
		uint32_t n = 1 + round % ARRAY_SIZE(prog);

		for (uint32_t i = 0; i < n; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			prog[i] = (struct bpf_insn){codes[(seed >> 33) % ARRAY_SIZE(codes)],
			    (uint8_t)((seed >> 40) % 6), (uint8_t)((seed >> 43) % 6),
			    seed >> 62 ? (uint32_t)(seed >> 50) % 20 : (uint32_t)(seed >> 20)};
		}
		prog[n - 1].code = BPF_RET | BPF_A;
		if (bpf_check(prog, n))
			continue;
		passed++;
		(void)run(prog, n);
	}
	cr_assert_gt(passed, 1000);
}
