/*
 * raw_local_deliver, raw_v4_match: a copy of what came for us, IP header and all, to each raw
 * socket that asked for its protocol; then the packet goes its way. A datagram that came in
 * fragments is seen whole, under the header of the first one, made to say so.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "inet/errq.h"
#include "inet/raw.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include <netinet/in.h>

struct raw_arrival {
	uint8_t header[IPV4_LEN_MAX];
	uint32_t header_len;
	const struct packet *p; /* front behind the IP header */
	uint8_t icmp_type;
};

/* The header of a datagram that came in pieces, as of one that came whole. */
static void take_header(struct raw_arrival *a, const uint8_t *header, uint32_t len)
{
	uint32_t total = len + a->p->len;
	uint16_t sum;

	a->header_len = min_of(len, (uint32_t)sizeof(a->header));
	memcpy(a->header, header, a->header_len);
	if (!(a->header[6] & 0x3f) && !a->header[7])
		return;
	a->header[2] = (uint8_t)(total >> 8);
	a->header[3] = (uint8_t)total;
	a->header[6] = a->header[7] = a->header[10] = a->header[11] = 0;
	sum = csum_finish(csum(a->header, a->header_len, 0));
	a->header[10] = (uint8_t)(sum >> 8);
	a->header[11] = (uint8_t)sum;
}

static bool wants(const struct stack *s, uint32_t sk, const struct sock_rec *k, const struct raw_rec *r,
    const struct ip_meta *m, const struct raw_arrival *a)
{
	if (k->flags & SOCK_F_ORPHAN)
		return false;
	if (sock_connected(k) && !ipaddr_eq(&k->remote.addr, &m->src))
		return false;
	if (!ipaddr_is_any(&k->local.addr) && !ipaddr_eq(&k->local.addr, &m->dst))
		return false;
	if (k->bound_dev != NO_INDEX && k->bound_dev != m->dev)
		return false;
	if (m->to_multicast && !sock_hears(s, sk, m))
		return false;
	return k->protocol != IPPROTO_ICMP || a->icmp_type > 31 ||
	       !(r->icmp_filter >> a->icmp_type & 1);
}

static void give(struct stack *s, uint32_t sk, const struct sock_rec *k, const struct ip_meta *m,
    const struct raw_arrival *a)
{
	uint32_t total = a->header_len + a->p->len, kept;
	struct filter_ip view = {.header = a->header,
	    .header_len = a->header_len,
	    .p = a->p,
	    .len = a->p->len,
	    .gap = a->p->len};
	struct cm_options options;
	struct letter l = {.head = a->header, .p = a->p, .tail = &options};

	kept = min_of(filter_run_ip(s, k, m, &view), CM_DGRAM_MAX);
	kept = min_of(kept, total);
	if (!kept)
		return;
	l.h = mailbox_header(s, m, kept);
	l.head_len = min_of(a->header_len, kept);
	l.tail_len = mailbox_options(s, sk, NULL, &l.h, &options); /* the packet's are in its header */
	mailbox_put(s, sk, &l);
}

bool raw_input(struct stack *s, struct packet *p, const struct ip_meta *m, const uint8_t *header,
    uint32_t header_len)
{
	struct raw_arrival a = {.p = p, .icmp_type = UINT8_MAX};
	bool any = false;

	if (!s->inet->raw[m->proto])
		return false;
	take_header(&a, header, header_len);
	if (m->proto == IPPROTO_ICMP && !packet_read(p, 0, &a.icmp_type, 1))
		return false;
	s->count.raw_in++;
	for (uint32_t i = s->inet->raw[m->proto], next; i; i = next) {
		const struct sock_rec *k = sock_peek(s, i - 1);
		const struct raw_rec *r = k ? raw_peek(s, k) : NULL;

		next = s->inet->rare[i - 1].raw_next;
		if (!r || !wants(s, i - 1, k, r, m, &a))
			continue;
		any = true;
		give(s, i - 1, k, m, &a);
	}
	return any;
}

/* ---- errors */

static bool concerns(const struct sock_rec *k, const struct ip_error *e)
{
	if (k->flags & SOCK_F_ORPHAN)
		return false;
	if (!ipaddr_is_any(&k->local.addr) && !ipaddr_eq(&k->local.addr, &e->about.src))
		return false;
	return !sock_connected(k) || ipaddr_eq(&k->remote.addr, &e->about.dst);
}

void raw_error(struct stack *s, const struct ip_error *e)
{
	struct endpoint to = {.addr = e->about.dst};

	for (uint32_t i = s->inet->raw[e->about.proto], next; i; i = next) {
		const struct sock_rec *k = sock_peek(s, i - 1);

		next = s->inet->rare[i - 1].raw_next;
		if (!k || !concerns(k, e))
			continue;
		if (e->mtu)
			ip_pmtu_update(s, &e->about.dst, e->mtu);
		if (k->flags & SOCK_F_RECVERR)
			errq_icmp(s, i - 1, e, &to, 0);
		if (k->flags & SOCK_F_RECVERR || (sock_connected(k) && (e->hard || e->mtu)))
			sock_set_error(s, i - 1, e->err);
	}
}
