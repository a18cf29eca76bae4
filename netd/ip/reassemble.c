/*
 * Reassembly, RFC 791, 3.2, and RFC 815.
 *
 * Theory of operation. A datagram in reassembly is a KIND_FRAG record; its fragments stay in the
 * device's chunks, named by packet_refs, so a restart goes on where it was. RFC 815 keeps a list of
 * holes; as no two pieces may overlap here, the holes are simply what lies between the pieces of
 * the ascending list, and the datagram is whole when the bytes held are as many as the last
 * fragment said there are.
 *
 * A fragment that overlaps another is a trick (RFC 1858, RFC 3128): as RFC 5722 demands for IPv6,
 * the whole datagram is given up, and what still comes of it until its deadline is dropped. An
 * exact repetition is harmless and ignored (RFC 8200, 4.5).
 *
 * Limits. Records by the arena's capacity; half of them at most for one source; pieces altogether
 * by a share of the device's chunks, because each holds one. Beyond a limit the new fragment is
 * dropped.
 */
#include "ip/reassemble.h"
#include "ip/layer.h"
#include "base/siphash.h"
#include "base/util.h"
#include "device/device.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <stdlib.h>

#define FRAG_TIMEOUT_NS		 (30 * NSEC_PER_SEC)
#define FRAG_CHUNK_SHARE	 4 /* at most this part of a device's chunks */
#define FRAG_SOURCE_SHARE	 2
#define TIME_EXCEEDED_REASSEMBLY 1

/* ---- the index (derived) */

static uint32_t bucket_of(const struct stack *s, const struct ipaddr *src, const struct ipaddr *dst,
    uint16_t id, uint8_t proto)
{
	struct {
		struct ipaddr src, dst;
		uint16_t id;
		uint16_t proto;
	} key = {*src, *dst, id, proto};

	return (uint32_t)(siphash(&world_peek(s)->hash_key, &key, sizeof(key)) % FRAG_BUCKETS);
}

static uint32_t bucket_of_record(const struct stack *s, const struct frag_rec *f)
{
	return bucket_of(s, &f->src, &f->dst, f->id, f->proto);
}

static uint32_t find(const struct stack *s, uint32_t dev, const struct ipv4_header *h)
{
	const struct ip_layer *ip = ip_of(s);
	struct ipaddr src = ipaddr_v4(h->src), dst = ipaddr_v4(h->dst);
	uint32_t i = ip->frag_head[bucket_of(s, &src, &dst, h->id, h->proto)];

	for (; i != NO_INDEX; i = ip->frag_next[i]) {
		const struct frag_rec *f = state_peek(s->state, KIND_FRAG, i);

		if (f && f->id == h->id && f->proto == h->proto && f->dev == dev &&
		    ipaddr_eq(&f->src, &src) && ipaddr_eq(&f->dst, &dst))
			return i;
	}
	return NO_INDEX;
}

static void enter(struct stack *s, uint32_t index, const struct frag_rec *f)
{
	struct ip_layer *ip = ip_of(s);
	uint32_t b = bucket_of_record(s, f);

	ip->frag_next[index] = ip->frag_head[b];
	ip->frag_head[b] = index;
}

static void take_out(struct stack *s, uint32_t index, const struct frag_rec *f)
{
	struct ip_layer *ip = ip_of(s);
	uint32_t *at = &ip->frag_head[bucket_of_record(s, f)];

	while (*at != NO_INDEX && *at != index)
		at = &ip->frag_next[*at];
	if (*at == index)
		*at = ip->frag_next[index];
}

int frag_reindex(struct stack *s)
{
	struct ip_layer *ip = ip_of(s);
	int ret;

	for (uint32_t b = 0; b < FRAG_BUCKETS; b++)
		ip->frag_head[b] = NO_INDEX;
	ip->frag_pieces = 0;
	for (uint32_t i = state_next(s->state, KIND_FRAG, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_FRAG, i + 1)) {
		const struct frag_rec *f = state_peek(s->state, KIND_FRAG, i);
		uint32_t claimed = 0;

		while (claimed < f->pieces && !packet_claim(s, &f->piece[claimed].ref))
			claimed++;
		if (claimed < f->pieces) { /* its device is gone: only what was claimed is freed */
			((struct frag_rec *)state_get(s->state, KIND_FRAG, i))->pieces = claimed;
			((struct frag_rec *)state_get(s->state, KIND_FRAG, i))->dead = 1;
			f = state_peek(s->state, KIND_FRAG, i);
		}
		ip->frag_pieces += f->pieces;
		enter(s, i, f);
		ret = timer_set(s->timers, KIND_FRAG, i, f->deadline_ns);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- records */

/* Gives the fragments' chunks back; the record stays. */
static void drop_pieces(struct stack *s, struct frag_rec *f)
{
	for (uint32_t i = 0; i < f->pieces; i++) {
		struct packet p;

		if (!packet_restore(s, &p, &f->piece[i].ref))
			packet_free(s, &p);
	}
	ip_of(s)->frag_pieces -= f->pieces;
	f->pieces = 0;
	f->have = 0;
}

static void forget(struct stack *s, uint32_t index, struct frag_rec *f)
{
	drop_pieces(s, f);
	take_out(s, index, f);
	timer_cancel(s->timers, KIND_FRAG, index);
	state_free(s->state, KIND_FRAG, index);
}

static uint32_t of_source(const struct stack *s, const struct ipaddr *src)
{
	uint32_t n = 0;

	for (uint32_t i = state_next(s->state, KIND_FRAG, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_FRAG, i + 1))
		n += ipaddr_eq(
		    &((const struct frag_rec *)state_peek(s->state, KIND_FRAG, i))->src, src);
	return n;
}

static struct frag_rec *begin(
    struct stack *s, uint32_t dev, const struct ipv4_header *h, uint32_t *index)
{
	struct ipaddr src = ipaddr_v4(h->src);
	struct frag_rec *f;

	if (of_source(s, &src) >= state_capacity(s->state, KIND_FRAG) / FRAG_SOURCE_SHARE)
		return NULL;
	f = state_alloc(s->state, KIND_FRAG, index);
	if (!f || *index >= ip_of(s)->frag_room)
		return NULL;
	f->src = src;
	f->dst = ipaddr_v4(h->dst);
	f->dev = dev;
	f->id = h->id;
	f->proto = h->proto;
	f->deadline_ns = s->now + FRAG_TIMEOUT_NS;
	enter(s, *index, f);
	if (timer_set(s->timers, KIND_FRAG, *index, f->deadline_ns)) {
		forget(s, *index, f);
		return NULL;
	}
	return f;
}

void frag_expired(struct stack *s, uint32_t index)
{
	struct frag_rec *f = state_get(s->state, KIND_FRAG, index);
	struct icmp_quote q;
	struct packet p;

	if (!f)
		return;
	if (s->now < f->deadline_ns) {
		timer_set(s->timers, KIND_FRAG, index, f->deadline_ns);
		return;
	}
	/* RFC 1122, 3.3.2: only if the first fragment came. */
	if (f->pieces && f->piece[0].start == 0 && !packet_restore(s, &p, &f->piece[0].ref)) {
		struct ip_meta m = {.src = f->src, .dst = f->dst, .dev = f->dev, .proto = f->proto};

		memcpy(ip_of(s)->header, f->header, sizeof(f->header));
		ip_of(s)->header_len = f->header_len;
		icmp_quote_packet(s, &q, &p, &m);
		icmp_error(s, &q, ICMP_T_TIME_EXCEEDED, TIME_EXCEEDED_REASSEMBLY, 0);
		packet_free(s, &p);
		f->pieces--;
		ip_of(s)->frag_pieces--;
		memmove(&f->piece[0], &f->piece[1], f->pieces * sizeof(f->piece[0]));
	}
	forget(s, index, f);
}

/* ---- a fragment */

enum fit { FIT_OK, FIT_REPEATED, FIT_OVERLAP, FIT_FULL };

/* Where the piece [start, end) goes in the list. */
static enum fit find_place(const struct frag_rec *f, uint32_t start, uint32_t end, uint32_t *place)
{
	uint32_t i = 0;

	while (i < f->pieces && f->piece[i].start < start)
		i++;
	*place = i;
	if (i < f->pieces && f->piece[i].start == start && f->piece[i].end == end)
		return FIT_REPEATED;
	if ((i < f->pieces && f->piece[i].start < end) || (i && f->piece[i - 1].end > start))
		return FIT_OVERLAP;
	return f->pieces == FRAG_PIECES ? FIT_FULL : FIT_OK;
}

/* Does the piece contradict what is known of the datagram's length? */
static bool contradicts(const struct frag_rec *f, uint32_t end, bool last)
{
	if (f->total && (end > f->total || (last && end != f->total)))
		return true;
	return last && f->pieces && f->piece[f->pieces - 1].end > end;
}

static bool keep(struct stack *s, struct frag_rec *f, struct packet *p, uint32_t place,
    uint32_t start, uint32_t end)
{
	struct packet_ref ref;

	/* Checksum and offload facts are the whole datagram's: of no use in a piece. */
	p->flags = 0;
	p->gso_type = GSO_NONE;
	if (packet_keep(s, p, &ref))
		return false;
	memmove(&f->piece[place + 1], &f->piece[place], (f->pieces - place) * sizeof(f->piece[0]));
	f->piece[place] =
	    (struct frag_piece){.start = (uint16_t)start, .end = (uint16_t)end, .ref = ref};
	f->pieces++;
	f->have += end - start;
	ip_of(s)->frag_pieces++;
	return true;
}

static bool copy_piece(
    struct stack *s, struct packet *whole, const struct packet *p, uint32_t start, uint32_t len)
{
	uint8_t *buf = ip_of(s)->scratch;

	return p->len >= len && packet_read(p, 0, buf, len) && packet_write(whole, start, buf, len);
}

/* All is there: one packet of it. */
static bool join(struct stack *s, struct frag_rec *f, struct packet *whole)
{
	bool ok = !packet_alloc(s, whole, f->dev, f->total);

	if (!ok)
		return false;
	for (uint32_t i = 0; i < f->pieces; i++) {
		uint32_t start = f->piece[i].start, len = f->piece[i].end - start;
		struct packet p;

		if (packet_restore(s, &p, &f->piece[i].ref)) {
			ok = false;
			continue;
		}
		ok = ok && copy_piece(s, whole, &p, start, len);
		packet_free(s, &p);
	}
	ip_of(s)->frag_pieces -= f->pieces;
	f->pieces = 0;
	if (!ok)
		packet_free(s, whole);
	return ok;
}

/* The chunks of the device are not for a stranger to fill. */
static bool too_many(const struct stack *s, uint32_t dev)
{
	const struct device_rec *d = device_peek(s, dev);

	return !d || ip_of(s)->frag_pieces >= d->chunks / FRAG_CHUNK_SHARE;
}

static void note_first(struct frag_rec *f, const struct ipv4_header *h, const uint8_t *raw)
{
	memcpy(f->header, raw, h->hdr_len);
	f->header_len = h->hdr_len;
}

static bool finish(struct stack *s, uint32_t index, struct frag_rec *f, struct packet *whole)
{
	struct ip_layer *ip = ip_of(s);
	bool ok;

	if (!f->total || f->have != f->total)
		return false;
	memcpy(ip->header, f->header, sizeof(f->header));
	ip->header_len = f->header_len;
	ok = f->total + f->header_len <= UINT16_MAX && join(s, f, whole);
	forget(s, index, f);
	return ok;
}

bool frag_input(struct stack *s, struct packet *p, const struct ipv4_header *h, const uint8_t *raw,
    struct packet *whole)
{
	uint32_t start = h->frag_off, end = start + p->len, index = find(s, p->dev, h), place;
	bool last = !h->more_fragments;
	struct frag_rec *f;
	enum fit fit;

	if (!p->len || end > UINT16_MAX || (!last && p->len % 8)) {
		s->count.ip_bad++;
		return false;
	}
	f = index != NO_INDEX ? state_get(s->state, KIND_FRAG, index) : NULL;
	if ((f && f->dead) || too_many(s, p->dev))
		return false;
	if (!f && !(f = begin(s, p->dev, h, &index)))
		return false;
	fit = find_place(f, start, end, &place);
	if (fit == FIT_REPEATED)
		return false;
	if (fit != FIT_OK || contradicts(f, end, last)) {
		s->count.ip_bad++;
		drop_pieces(s, f);
		f->dead = 1;
		return false;
	}
	if (!keep(s, f, p, place, start, end)) {
		if (!f->pieces)
			forget(s, index, f);
		return false;
	}
	if (last)
		f->total = end;
	if (!start)
		note_first(f, h, raw);
	return finish(s, index, f, whole);
}
