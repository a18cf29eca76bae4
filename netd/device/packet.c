/* The verbs on a packet, and its way into memory, into a record and back. See packet.h. */
#include "device/packet.h"
#include "device/layer.h"
#include "base/util.h"
#include "wire/checksum.h"

uint8_t *packet_push(struct packet *p, uint32_t n)
{
	if (!p->segs || n > (size_t)(p->seg[0].data - p->head))
		return NULL;
	p->seg[0].data -= n;
	p->seg[0].len += n;
	p->len += n;
	return p->seg[0].data;
}

uint8_t *packet_pull(struct packet *p, uint32_t n)
{
	if (!p->segs || n > p->seg[0].len)
		return NULL;
	p->seg[0].data += n;
	p->seg[0].len -= n;
	p->len -= n;
	return p->seg[0].data;
}

void packet_trim(struct packet *p, uint32_t len)
{
	if (len >= p->len)
		return;
	p->len = len;
	for (unsigned i = 0; i < p->segs; i++) {
		p->seg[i].len = min_of(p->seg[i].len, len);
		len -= p->seg[i].len;
	}
}

bool packet_read(const struct packet *p, uint32_t off, void *dst, uint32_t n)
{
	uint8_t *to = dst;

	if (off > p->len || n > p->len - off)
		return false;
	for (unsigned i = 0; n && i < p->segs; i++) {
		const struct packet_seg *seg = &p->seg[i];
		uint32_t run;

		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		run = min_of(n, seg->len - off);
		memcpy(to, seg->data + off, run);
		to += run;
		n -= run;
		off = 0;
	}
	return true;
}

bool packet_write(struct packet *p, uint32_t off, const void *src, uint32_t n)
{
	const uint8_t *from = src;

	if (off > p->len || n > p->len - off)
		return false;
	for (unsigned i = 0; n && i < p->segs; i++) {
		struct packet_seg *seg = &p->seg[i];
		uint32_t run;

		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		run = min_of(n, seg->len - off);
		memcpy(seg->data + off, from, run);
		from += run;
		n -= run;
		off = 0;
	}
	return true;
}

bool packet_header(const struct packet *p, void *dst, uint32_t n)
{
	if (!p->segs || n > p->seg[0].len)
		return false;
	memcpy(dst, p->seg[0].data, n);
	return true;
}

uint32_t packet_sum(const struct packet *p, uint32_t off, uint32_t n, uint32_t seed)
{
	uint32_t done = 0;

	for (unsigned i = 0; done < n && i < p->segs; i++) {
		const struct packet_seg *seg = &p->seg[i];
		uint32_t run;

		if (off >= seg->len) {
			off -= seg->len;
			continue;
		}
		run = min_of(n - done, seg->len - off);
		seed = csum_add_at(seed, csum(seg->data + off, run, 0), done);
		done += run;
		off = 0;
	}
	return csum_fold(seed);
}

/* ---- memory */

static void packet_clear(struct packet *p, uint32_t dev)
{
	p->dev = dev;
	p->len = 0;
	p->segs = 0;
	p->kept = false;
	p->via = 0;
	p->flags = 0;
	p->gso_type = GSO_NONE;
	p->gso_size = 0;
	p->csum_at = NULL;
	p->csum_offset = 0;
	p->head = NULL;
}

static void add_chunk(
    struct packet *p, const struct device *d, uint32_t chunk, uint32_t off, uint32_t len)
{
	struct packet_seg *seg = &p->seg[p->segs++];

	seg->chunk = (uint64_t)chunk << d->shift;
	seg->data = chunk_data(d, chunk) + off;
	seg->len = len;
	p->len += len;
}

int packet_alloc(struct stack *s, struct packet *p, uint32_t dev, uint32_t len)
{
	struct device *d = device_of(s, dev);
	uint64_t want = PACKET_HEADROOM + (uint64_t)len, n;
	uint32_t off = PACKET_HEADROOM;

	packet_clear(p, dev);
	if (!d)
		return -ENOBUFS;
	n = (want + d->geo.chunk_size - 1) >> d->shift;
	if (n > PACKET_SEGS)
		return -EMSGSIZE;
	if (n > chunks_for_output(s, dev)) {
		s->count.no_chunk++;
		return -ENOBUFS;
	}
	for (; n; n--, off = 0) {
		uint32_t run = min_of(len, d->geo.chunk_size - off);

		add_chunk(p, d, chunk_take(d), off, run);
		len -= run;
	}
	p->head = p->seg[0].data - PACKET_HEADROOM;
	return 0;
}

void packet_free(struct stack *s, struct packet *p)
{
	struct device *d = device_of(s, p->dev);

	if (d && !p->kept)
		for (unsigned i = 0; i < p->segs; i++)
			chunk_put(d, (uint32_t)(p->seg[i].chunk >> d->shift));
	p->segs = 0;
	p->len = 0;
}

/* ---- records */

/* A reference can say only: from `off` in the first chunk on, every later one from its start. */
static bool is_dense(const struct packet *p, const struct device *d, unsigned segs)
{
	for (unsigned i = 0; i < segs; i++) {
		const uint8_t *base = d->mem + p->seg[i].chunk;

		if (i && p->seg[i].data != base)
			return false;
		if (i + 1 < segs && p->seg[i].data + p->seg[i].len != base + d->geo.chunk_size)
			return false;
	}
	return true;
}

int packet_keep(struct stack *s, struct packet *p, struct packet_ref *ref)
{
	struct device *d = device_of(s, p->dev);
	unsigned segs = p->segs;

	if (p->dev == DEVICE_LO || !d)
		return -EOPNOTSUPP;
	while (segs > 1 && !p->seg[segs - 1].len)
		segs--;
	if (!segs || segs > ARRAY_SIZE(ref->chunk) || !is_dense(p, d, segs))
		return -EMSGSIZE;
	*ref = (struct packet_ref){.dev = p->dev,
	    .len = p->len,
	    .segs = (uint16_t)segs,
	    .flags = p->flags,
	    .gso_size = p->gso_size,
	    .gso_type = p->gso_type,
	    .csum_offset = p->csum_offset,
	    .csum_start = p->csum_at ? (uint16_t)(p->csum_at - p->seg[0].data) : 0,
	    .off = (uint32_t)(p->seg[0].data - (d->mem + p->seg[0].chunk))};
	for (unsigned i = 0; i < segs; i++) {
		ref->chunk[i] = (uint32_t)(p->seg[i].chunk >> d->shift);
		chunk_hold(d, ref->chunk[i]);
	}
	for (unsigned i = segs; i < p->segs; i++)
		chunk_put(d, (uint32_t)(p->seg[i].chunk >> d->shift));
	p->kept = true;
	return 0;
}

/* Does the reference describe memory of the device, every chunk of it at `place`? */
static bool ref_ok(const struct device *d, const struct packet_ref *ref, enum chunk_place place)
{
	uint64_t room;

	if (!ref->segs || ref->segs > ARRAY_SIZE(ref->chunk) || ref->off > d->geo.chunk_size)
		return false;
	room = ((uint64_t)ref->segs << d->shift) - ref->off;
	if (ref->len > room || ref->csum_start > ref->len)
		return false;
	for (unsigned i = 0; i < ref->segs; i++)
		if (ref->chunk[i] >= d->geo.chunks || d->place[ref->chunk[i]] != place)
			return false;
	return true;
}

int packet_restore(struct stack *s, struct packet *p, struct packet_ref *ref)
{
	struct device *d = device_of(s, ref->dev);
	uint32_t off = ref->off, len = ref->len;

	packet_clear(p, ref->dev);
	if (!d || !ref_ok(d, ref, CHUNK_HELD))
		return -EPROTO;
	p->flags = ref->flags;
	p->gso_type = ref->gso_type;
	p->gso_size = ref->gso_size;
	p->csum_offset = ref->csum_offset;
	for (unsigned i = 0; i < ref->segs; i++, off = 0) {
		uint32_t run = min_of(len, d->geo.chunk_size - off);

		chunk_unhold(d, ref->chunk[i]);
		add_chunk(p, d, ref->chunk[i], off, run);
		len -= run;
	}
	p->head = d->mem + p->seg[0].chunk;
	if (p->flags & DESC_CSUM_NEEDED)
		p->csum_at = p->seg[0].data + ref->csum_start;
	ref->segs = 0;
	return 0;
}

int packet_claim(struct stack *s, const struct packet_ref *ref)
{
	struct device *d = device_of(s, ref->dev);

	if (!d || ref->dev == DEVICE_LO || !ref_ok(d, ref, CHUNK_FREE))
		return -EINVAL;
	for (unsigned i = 0; i < ref->segs; i++) {
		if (d->place[ref->chunk[i]] != CHUNK_FREE) { /* twice in one reference */
			while (i--)
				d->place[ref->chunk[i]] = CHUNK_FREE;
			return -EINVAL;
		}
		d->place[ref->chunk[i]] = CHUNK_HELD;
	}
	d->census = true;
	return 0;
}
