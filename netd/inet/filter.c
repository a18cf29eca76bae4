/*
 * SO_ATTACH_FILTER: a client's program, kept in the daemon's own memory.
 *
 * It comes in pieces (CM_FILTER), because a request is small and a program may have 4096
 * instructions. The pieces gather in a ring that the record names; the last one has the whole
 * checked and attached. Old programs and half ones are freed by the same commit that forgets them.
 */
#include "inet/layer.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include "inet/raw.h"
#include "wire/bpf.h"
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#define INSN ((uint32_t)sizeof(struct bpf_insn))

static const struct bpf_insn *program(
    const struct stack *s, const struct ring_place *at, uint32_t n)
{
	uint32_t run = 0;
	const uint8_t *p = ring_span(s->mem, at, at->base, n * INSN, &run);

	return p && run == n * INSN ? (const struct bpf_insn *)(const void *)p : NULL;
}

static void drop(struct stack *s, struct ring_place *at)
{
	if (at->cap)
		ring_free(s->mem, at);
	*at = (struct ring_place){.cap = 0};
}

static int begin(struct stack *s, struct raw_rec *r, uint32_t total)
{
	uint32_t cap = max_of(round_up_pow2(total * INSN), 4096u);
	int ret;

	drop(s, &r->staged);
	r->staged_n = r->staged_len = 0;
	ret = ring_alloc(s->mem, 0, cap, &r->staged);
	if (ret) {
		r->staged = (struct ring_place){.cap = 0};
		return -ENOMEM;
	}
	r->staged.base = 0;
	r->staged_len = (uint16_t)total;
	return 0;
}

static int detach(struct stack *s, struct raw_rec *r)
{
	if (r->filter_locked)
		return -EPERM;
	if (!r->filter_len)
		return -ENOENT;
	drop(s, &r->filter);
	r->filter_len = 0;
	return 0;
}

static int attach(struct stack *s, struct raw_rec *r)
{
	const struct bpf_insn *prog = program(s, &r->staged, r->staged_len);
	int ret = prog ? bpf_check(prog, r->staged_len) : -ENOMEM;

	if (ret) {
		drop(s, &r->staged);
	} else {
		drop(s, &r->filter);
		r->filter = r->staged;
		r->filter_len = r->staged_len;
		r->staged = (struct ring_place){.cap = 0};
	}
	r->staged_n = r->staged_len = 0;
	return ret;
}

/* UDP and ping sockets have no such record until they need it. */
static struct raw_rec *record(struct stack *s, uint32_t sk)
{
	if (!sock_peek(s, sk)->raw && raw_attach(s, sk))
		return NULL;
	return raw_get(s, sock_peek(s, sk));
}

int filter_piece(
    struct stack *s, uint32_t sk, uint32_t at, uint32_t total, const void *insns, uint32_t n)
{
	struct raw_rec *r;
	int ret;

	if (!total && !sock_peek(s, sk)->raw)
		return -ENOENT;
	r = record(s, sk);
	if (!r)
		return -ENOBUFS;
	if (!total)
		return detach(s, r);
	if (r->filter_locked)
		return -EPERM;
	if (total > BPF_MAX_INSNS || !n || n > CM_FILTER_PIECE || at > total || n > total - at)
		return -EINVAL;
	if (!at && (ret = begin(s, r, total)))
		return ret;
	if (total != r->staged_len || at != r->staged_n)
		return -EINVAL;
	ring_write(s->mem, &r->staged, (uint64_t)at * INSN, insns, n * INSN);
	r->staged_n = (uint16_t)(r->staged_n + n);
	return r->staged_n == r->staged_len ? attach(s, r) : 0;
}

int filter_setsockopt(struct stack *s, uint32_t sk, const void *val, uint32_t len)
{
	struct raw_rec *r = record(s, sk);
	int v;

	if (len < sizeof(v))
		return -EINVAL;
	if (!r)
		return -ENOBUFS;
	memcpy(&v, val, sizeof(v));
	if (r->filter_locked && !v)
		return -EPERM;
	r->filter_locked = v != 0;
	return 0;
}

void filter_free(struct stack *s, struct raw_rec *r)
{
	drop(s, &r->filter);
	drop(s, &r->staged);
	r->filter_len = r->staged_len = r->staged_n = 0;
}

static bool claim(struct stack *s, const struct ring_place *at)
{
	return !at->cap || !ring_claim(s->mem, at);
}

void filter_reindex(struct stack *s, uint32_t sk)
{
	const struct raw_rec *r = raw_peek(s, sock_peek(s, sk));
	bool filter, staged;
	struct raw_rec *w;

	if (!r)
		return;
	filter = claim(s, &r->filter);
	staged = claim(s, &r->staged);
	if ((filter && staged) || !(w = raw_get(s, sock_peek(s, sk))))
		return;
	if (!staged) {
		w->staged = (struct ring_place){.cap = 0};
		w->staged_len = w->staged_n = 0;
	}
	if (!filter) { /* filter_len stays: without its program nothing passes */
		log_error("socket %u: its filter cannot be where its record says", sk);
		w->filter = (struct ring_place){.cap = 0};
	}
}

uint32_t filter_run(const struct stack *s, const struct raw_rec *r, const struct bpf_packet *p)
{
	const struct bpf_insn *prog;

	if (!r || !r->filter_len)
		return UINT32_MAX;
	prog = r->filter.cap ? program(s, &r->filter, r->filter_len) : NULL;
	return prog ? bpf_run(prog, r->filter_len, p) : 0;
}

static bool read_ip(const void *arg, uint32_t off, void *dst, uint32_t n)
{
	const struct filter_ip *v = arg;
	uint8_t *to = dst;

	for (; n; n--, off++, to++) {
		uint32_t at = off - v->header_len;

		if (off < v->header_len)
			*to = v->header[off];
		else if (at >= v->len || !packet_read(v->p, at < v->gap ? at : at + v->skip, to, 1))
			return false;
	}
	return true;
}

uint32_t filter_run_ip(const struct stack *s, const struct sock_rec *k, const struct ip_meta *m,
    const struct filter_ip *v)
{
	struct bpf_packet p = {.read = read_ip,
	    .arg = v,
	    .len = v->header_len + v->len,
	    .data = v->transport ? v->header_len : 0,
	    .facts = {.protocol = 0x0800,
		.pkttype = m->to_broadcast   ? PACKET_BROADCAST
			   : m->to_multicast ? PACKET_MULTICAST
					     : PACKET_HOST,
		.ifindex = IFINDEX(m->dev),
		.hatype = m->dev == DEVICE_LO ? ARPHRD_LOOPBACK : ARPHRD_ETHER}};
	const struct raw_rec *r = raw_peek(s, k);

	if (!k->raw)
		return UINT32_MAX;
	return r ? filter_run(s, r, &p) : 0; /* of one that was lost nothing passes */
}
