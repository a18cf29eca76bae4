/* Classic BPF: the checker and the interpreter. See bpf.h. */
#include "wire/bpf.h"
#include "proto/endian.h"
#include <errno.h>
#include <linux/filter.h>
#include <string.h>

/* ---- checking */

/* Every code that there is, as the kernel's chk_code_allowed(). */
static bool known(uint16_t code)
{
	switch (code) {
	case BPF_ALU | BPF_ADD: /* of a constant: BPF_K is 0 */
	case BPF_ALU | BPF_ADD | BPF_X:
	case BPF_ALU | BPF_SUB | BPF_K:
	case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K:
	case BPF_ALU | BPF_MUL | BPF_X:
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_MOD | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K:
	case BPF_ALU | BPF_AND | BPF_X:
	case BPF_ALU | BPF_OR | BPF_K:
	case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K:
	case BPF_ALU | BPF_XOR | BPF_X:
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_LSH | BPF_X:
	case BPF_ALU | BPF_RSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_B | BPF_ABS:
	case BPF_LD | BPF_W | BPF_LEN:
	case BPF_LD | BPF_W | BPF_IND:
	case BPF_LD | BPF_H | BPF_IND:
	case BPF_LD | BPF_B | BPF_IND:
	case BPF_LD | BPF_IMM:
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LDX | BPF_B | BPF_MSH:
	case BPF_LDX | BPF_IMM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
	case BPF_MISC | BPF_TAX:
	case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K:
	case BPF_RET | BPF_A:
	case BPF_JMP | BPF_JA:
	case BPF_JMP | BPF_JEQ | BPF_K:
	case BPF_JMP | BPF_JEQ | BPF_X:
	case BPF_JMP | BPF_JGE | BPF_K:
	case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K:
	case BPF_JMP | BPF_JSET | BPF_X:
		return true;
	default:
		return false;
	}
}

/* What can be asked for beyond the packet; the kernel knows more, and so do programs that ask
 * whether they may. */
static bool known_fact(uint32_t k)
{
	switch (k - (uint32_t)SKF_AD_OFF) {
	case SKF_AD_PROTOCOL:
	case SKF_AD_PKTTYPE:
	case SKF_AD_IFINDEX:
	case SKF_AD_MARK:
	case SKF_AD_QUEUE:
	case SKF_AD_HATYPE:
	case SKF_AD_RXHASH:
	case SKF_AD_CPU:
	case SKF_AD_ALU_XOR_X:
	case SKF_AD_VLAN_TAG:
	case SKF_AD_VLAN_TAG_PRESENT:
	case SKF_AD_VLAN_TPID:
	case SKF_AD_RANDOM:
		return true;
	default:
		return false;
	}
}

static bool insn_ok(const struct bpf_insn *i, uint32_t left)
{
	if (!known(i->code))
		return false;
	switch (i->code) {
	case BPF_ALU | BPF_DIV | BPF_K:
	case BPF_ALU | BPF_MOD | BPF_K:
		return i->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K:
	case BPF_ALU | BPF_RSH | BPF_K:
		return i->k < 32;
	case BPF_LD | BPF_MEM:
	case BPF_LDX | BPF_MEM:
	case BPF_ST:
	case BPF_STX:
		return i->k < BPF_WORDS;
	case BPF_JMP | BPF_JA:
		return i->k < left;
	case BPF_LD | BPF_W | BPF_ABS:
	case BPF_LD | BPF_H | BPF_ABS:
	case BPF_LD | BPF_B | BPF_ABS:
		return i->k < (uint32_t)SKF_AD_OFF || known_fact(i->k);
	default:
		return BPF_CLASS(i->code) != BPF_JMP || (i->jt < left && i->jf < left);
	}
}

/* A word is read only after it was written on every way there, as the kernel asks since it does not
 * clear them. */
static bool words_ok(const struct bpf_insn *prog, uint32_t n)
{
	uint16_t mask[BPF_MAX_INSNS], have = 0;

	memset(mask, 0xff, n * sizeof(mask[0]));
	for (uint32_t pc = 0; pc < n; pc++) {
		const struct bpf_insn *i = &prog[pc];

		have &= mask[pc];
		switch (i->code) {
		case BPF_ST:
		case BPF_STX:
			have |= (uint16_t)(1u << i->k);
			break;
		case BPF_LD | BPF_MEM:
		case BPF_LDX | BPF_MEM:
			if (!(have >> i->k & 1))
				return false;
			break;
		case BPF_JMP | BPF_JA:
			mask[pc + 1 + i->k] &= have;
			have = 0xffff;
			break;
		default:
			if (BPF_CLASS(i->code) != BPF_JMP)
				break;
			mask[pc + 1 + i->jt] &= have;
			mask[pc + 1 + i->jf] &= have;
			have = 0xffff;
		}
	}
	return true;
}

int bpf_check(const struct bpf_insn *prog, uint32_t n)
{
	if (!n || n > BPF_MAX_INSNS)
		return -EINVAL;
	for (uint32_t pc = 0; pc < n; pc++)
		if (!insn_ok(&prog[pc], n - pc - 1))
			return -EINVAL;
	if (BPF_CLASS(prog[n - 1].code) != BPF_RET)
		return -EINVAL;
	return words_ok(prog, n) ? 0 : -EINVAL;
}

/* ---- running */

struct machine {
	uint32_t a, x, mem[BPF_WORDS];
	bool failed; /* a read beyond the packet, a division by zero: the program ends */
};

static uint32_t load(struct machine *m, const struct bpf_packet *p, uint32_t k, uint32_t size)
{
	uint32_t at = p->data + k;
	uint8_t b[4];

	if (k >= (uint32_t)SKF_NET_OFF)
		at = p->net + (k - (uint32_t)SKF_NET_OFF);
	else if (k >= (uint32_t)SKF_LL_OFF)
		at = k - (uint32_t)SKF_LL_OFF;
	else if ((int32_t)k < 0)
		m->failed = true;
	if (m->failed || !p->read(p->arg, at, b, size)) {
		m->failed = true;
		return 0;
	}
	return size == 4 ? be32_at(b) : size == 2 ? be16_at(b) : b[0];
}

static bool fact(struct machine *m, const struct bpf_packet *p, uint32_t k)
{
	if (k < (uint32_t)SKF_AD_OFF)
		return false;
	switch (k - (uint32_t)SKF_AD_OFF) {
	case SKF_AD_PROTOCOL:
		m->a = p->facts.protocol;
		break;
	case SKF_AD_PKTTYPE:
		m->a = p->facts.pkttype;
		break;
	case SKF_AD_IFINDEX:
		m->a = p->facts.ifindex;
		break;
	case SKF_AD_HATYPE:
		m->a = p->facts.hatype;
		break;
	case SKF_AD_ALU_XOR_X:
		m->a ^= m->x;
		break;
	case SKF_AD_RANDOM:
		m->a = p->facts.random;
		break;
	default: /* mark, queue, hash, processor, VLAN tag: none */
		m->a = 0;
	}
	return true;
}

static void alu(struct machine *m, uint16_t code, uint32_t v)
{
	switch (BPF_OP(code)) {
	case BPF_ADD:
		m->a += v;
		break;
	case BPF_SUB:
		m->a -= v;
		break;
	case BPF_MUL:
		m->a *= v;
		break;
	case BPF_DIV:
	case BPF_MOD:
		m->failed = !v;
		if (v)
			m->a = BPF_OP(code) == BPF_DIV ? m->a / v : m->a % v;
		break;
	case BPF_AND:
		m->a &= v;
		break;
	case BPF_OR:
		m->a |= v;
		break;
	case BPF_XOR:
		m->a ^= v;
		break;
	case BPF_LSH:
		m->a = v < 32 ? m->a << v : 0;
		break;
	case BPF_RSH:
		m->a = v < 32 ? m->a >> v : 0;
		break;
	default:
		m->a = -m->a;
	}
}

static uint32_t size_of(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

static uint32_t ld(struct machine *m, const struct bpf_packet *p, const struct bpf_insn *i)
{
	switch (BPF_MODE(i->code)) {
	case BPF_IMM:
		return i->k;
	case BPF_MEM:
		return m->mem[i->k];
	case BPF_LEN:
		return p->len - p->data;
	case BPF_IND:
		return load(m, p, i->k + m->x, size_of(i->code));
	default:
		return fact(m, p, i->k) ? m->a : load(m, p, i->k, size_of(i->code));
	}
}

static uint32_t ldx(struct machine *m, const struct bpf_packet *p, const struct bpf_insn *i)
{
	if (BPF_MODE(i->code) == BPF_MSH)
		return (load(m, p, i->k, 1) & 0xf) << 2;
	return ld(m, p, i);
}

static bool jump(const struct machine *m, const struct bpf_insn *i)
{
	uint32_t v = BPF_SRC(i->code) == BPF_X ? m->x : i->k;

	switch (BPF_OP(i->code)) {
	case BPF_JEQ:
		return m->a == v;
	case BPF_JGT:
		return m->a > v;
	case BPF_JGE:
		return m->a >= v;
	default:
		return m->a & v;
	}
}

uint32_t bpf_run(const struct bpf_insn *prog, uint32_t n, const struct bpf_packet *p)
{
	struct machine m = {.a = 0};

	for (uint32_t pc = 0; pc < n && !m.failed; pc++) {
		const struct bpf_insn *i = &prog[pc];

		switch (BPF_CLASS(i->code)) {
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
		case BPF_LD:
			m.a = ld(&m, p, i);
			break;
		case BPF_LDX:
			m.x = ldx(&m, p, i);
			break;
		case BPF_ST:
			m.mem[i->k] = m.a;
			break;
		case BPF_STX:
			m.mem[i->k] = m.x;
			break;
		case BPF_ALU:
			alu(&m, i->code, BPF_SRC(i->code) == BPF_X ? m.x : i->k);
			break;
		case BPF_JMP:
			pc += BPF_OP(i->code) == BPF_JA ? i->k : jump(&m, i) ? i->jt : i->jf;
			break;
		default:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
		}
	}
	return 0;
}
