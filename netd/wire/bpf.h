/*
 * Classic BPF, the language of SO_ATTACH_FILTER: checked once, then run over a packet.
 *
 * A checked program cannot do harm: it only jumps forward, so it ends after as many steps as it has
 * instructions; it reads the packet through `read`, which says no beyond its end, and writes
 * nothing but its sixteen words. A read that fails, or a division by zero, ends it with 0: not
 * wanted.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define BPF_MAX_INSNS 4096u
#define BPF_WORDS     16u

struct bpf_insn { /* the kernel's struct sock_filter */
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};
_Static_assert(sizeof(struct bpf_insn) == 8, "as a client sends it");

/* What a program may ask beyond the packet's bytes (SKF_AD_OFF + ...). */
struct bpf_facts {
	uint16_t protocol; /* ethertype, host order */
	uint8_t pkttype;   /* PACKET_HOST ... */
	uint32_t ifindex;
	uint16_t hatype;
	uint32_t random;
};

struct bpf_packet {
	/* Copies n (1, 2 or 4) bytes from `off`; false if the packet has them not. */
	bool (*read)(const void *arg, uint32_t off, void *dst, uint32_t n);
	const void *arg;
	uint32_t len;
	uint32_t data; /* where the program's offset 0 lies in it ... */
	uint32_t net;  /* ... and the network header, for SKF_NET_OFF; the link header is at 0 */
	struct bpf_facts facts;
};

/* Would the kernel take this program? 0 or -EINVAL. */
int bpf_check(const struct bpf_insn *prog, uint32_t n);
/* How many bytes of the packet are wanted; 0: none. The program has been checked. */
uint32_t bpf_run(const struct bpf_insn *prog, uint32_t n, const struct bpf_packet *p);
