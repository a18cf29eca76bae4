/*
 * udp_rcv: from the wire into receive rings.
 *
 * The payload is copied once, beyond the published end of the ring, and the checksum is of the
 * copy: neither a driver nor anybody else can change it between check and use. Only then the end
 * moves, in the record, published after the commit; a datagram whose cycle was lost is still in the
 * device's ring. A client that meddles with its own ring while it is filled damages what it will
 * read itself.
 */
#include "inet/udp.h"
#include "inet/layer.h"
#include "inet/sockx.h"
#include "base/util.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/udp.h"
#include <netinet/in.h>

struct arrival {
	const struct packet *p;
	const struct ip_meta *m;
	struct endpoint from, to;
	uint32_t off, len; /* payload, behind the front */
	uint16_t gso;	   /* it is datagrams of this size */
	bool verify;	   /* the checksum covers UDP_LEN + len bytes of `head` and payload */
	uint32_t seed;	   /* pseudo header and UDP header */
};

/* ---- one socket's ring */

/* How much of it the socket's filter leaves, UINT32_MAX: nothing, not even the datagram. */
static uint32_t filtered(const struct stack *s, const struct sock_rec *k, const struct arrival *a)
{
	struct filter_ip v = {.header = a->m->header,
	    .header_len = a->m->header_len,
	    .p = a->p,
	    .len = UDP_LEN + a->len,
	    .gap = UDP_LEN,
	    .skip = a->off - UDP_LEN,
	    .transport = true};
	uint32_t passes = filter_run_ip(s, k, a->m, &v);

	return passes ? min_of(max_of(passes, (uint32_t)UDP_LEN), v.len) - UDP_LEN : UINT32_MAX;
}

/* Of the copy, unless that was cut short. */
static uint32_t payload_sum(const struct arrival *a, const uint8_t *copy, uint32_t len)
{
	return len == a->len ? csum(copy, len, a->seed) : packet_sum(a->p, a->off, a->len, a->seed);
}

static void enqueue(struct stack *s, uint32_t sk, const struct arrival *a)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t len = filtered(s, k, a), tail;
	struct cm_options options;
	struct mailbox_place at;
	struct cm_dgram h;
	uint8_t *dst;

	if (k->flags & SOCK_F_ORPHAN)
		return;
	if (len == UINT32_MAX) {
		sock_get(s, sk)->drops++;
		return;
	}
	h = mailbox_header(s, a->m, len);
	tail = mailbox_options(s, sk, a->m, &h, &options);
	h.peer.port = a->from.port;
	h.local.port = a->to.port;
	h.gso = a->gso;
	dst = mailbox_reserve(s, sk, k, h.len, &at);
	if (!dst || !packet_read(a->p, a->off, dst, len)) {
		sock_get(s, sk)->drops++;
		s->count.udp_full++;
		return;
	}
	if (a->verify && payload_sum(a, dst, len) != 0xffff) {
		s->count.udp_bad++;
		return;
	}
	if (tail)
		memcpy(dst + len, &options, tail);
	POISON(dst, len);
	mailbox_append(s, sk, &at, &h);
}

/* ---- whose is it? */

static bool deliver_list(struct stack *s, uint32_t first, const struct arrival *a)
{
	bool any = false;

	for (uint32_t i = first, next; i; i = next) {
		const struct sock_rec *k = sock_peek(s, i - 1);

		next = s->inet->node[i - 1].next;
		if (!k || !sock_score(k, &a->to, &a->from, a->m->dev) ||
		    (a->m->to_multicast && !sock_hears(s, i - 1, a->m)))
			continue;
		enqueue(s, i - 1, a);
		any = true;
	}
	return any;
}

/* What comes to all or to a group goes to every socket that could have got it. */
static void deliver_all(struct stack *s, const struct arrival *a)
{
	uint32_t b = bucket_find(s, IPPROTO_UDP, a->to.port);

	if (b)
		deliver_list(s, bucket_at(s, b)->idle, a);
	b = bucket_find(s, IPPROTO_UDP, a->to.port);
	if (b)
		deliver_list(s, bucket_at(s, b)->busy, a);
}

static uint32_t owner(const struct stack *s, const struct arrival *a)
{
	uint32_t sk = sock_lookup_connected(s, IPPROTO_UDP, &a->to, &a->from);

	if (sk != NO_INDEX && sock_score(sock_peek(s, sk), &a->to, &a->from, a->m->dev))
		return sk;
	return sock_lookup_bound(s, IPPROTO_UDP, &a->to, &a->from, a->m->dev);
}

static void nobody(struct stack *s, struct packet *p, const struct arrival *a)
{
	if (a->verify && packet_sum(p, a->off, a->len, a->seed) != 0xffff) {
		s->count.udp_bad++;
		return;
	}
	s->count.udp_no_port++;
	icmp_unreachable(s, p, a->m, ICMP_C_PORT);
}

static void deliver(struct stack *s, struct packet *p, const struct arrival *a)
{
	uint32_t sk;

	if (a->m->to_broadcast || a->m->to_multicast) {
		deliver_all(s, a);
		return;
	}
	sk = owner(s, a);
	if (sk == NO_INDEX)
		nobody(s, p, a);
	else
		enqueue(s, sk, a);
}

/* ---- input */

/* Does one socket get them all, and would it take them in one piece (UDP_GRO)? */
static bool takes_whole(const struct stack *s, const struct arrival *a)
{
	uint32_t sk = a->m->to_broadcast || a->m->to_multicast ? NO_INDEX : owner(s, a);

	return sk != NO_INDEX && (sockx_peek(s, sk)->flags & SOCKX_GRO);
}

/* A super-frame (USO) is as many datagrams, each with gso_size bytes of payload but the last. */
static void deliver_segments(struct stack *s, struct packet *p, struct arrival *a)
{
	uint32_t end = a->off + a->len;

	a->verify = false; /* the device has checked each of them */
	if (a->len > p->gso_size && takes_whole(s, a)) {
		a->gso = p->gso_size;
		deliver(s, p, a);
		return;
	}
	for (; a->off < end; a->off += a->len) {
		a->len = min_of((uint32_t)p->gso_size, end - a->off);
		deliver(s, p, a);
	}
}

void udp_input(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	uint8_t head[UDP_LEN];
	struct udp_header h;
	struct arrival a = {.p = p, .m = m, .off = UDP_LEN};

	s->count.udp_in++;
	if (!packet_read(p, 0, head, sizeof(head)) || udp_parse(&h, head, sizeof(head)) ||
	    h.len > p->len) {
		s->count.udp_bad++;
		return;
	}
	if (!(p->gso_type == GSO_UDP && p->gso_size))
		packet_trim(p, h.len);
	a.from = (struct endpoint){.addr = m->src, .port = h.src};
	a.to = (struct endpoint){.addr = m->dst, .port = h.dst};
	a.len = p->len - UDP_LEN;
	a.verify = h.checksum && !(p->flags & (DESC_CSUM_VALID | DESC_CSUM_NEEDED));
	a.seed = csum(head, sizeof(head), ip_pseudo_sum(&m->src, &m->dst, IPPROTO_UDP, p->len));
	if (p->gso_type == GSO_UDP && p->gso_size)
		deliver_segments(s, p, &a);
	else
		deliver(s, p, &a);
}
