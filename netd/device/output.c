/*
 * dev_queue_xmit: descriptors into the transmit ring, beyond the position that the driver sees.
 * What the device cannot do (segmentation, checksums) is done here in software first.
 */
#include "device/layer.h"
#include "base/util.h"
#include "proto/endian.h"

#define FRAME_64K (65535u + PACKET_HEADROOM)

static const uint32_t gso_feature[] = {
    [GSO_NONE] = 0,
    [GSO_TCPV4] = REGION_F_TSO4,
    [GSO_TCPV6] = REGION_F_TSO6,
    [GSO_UDP] = REGION_F_USO,
};

/* Headers of a GSO frame: up to the transport header's end. 0 if they are not there as they must
 * be. */
static uint32_t gso_hdr_len(const struct packet *p)
{
	uint32_t at;

	if (!p->csum_at || p->csum_at < p->seg[0].data)
		return 0;
	at = (uint32_t)(p->csum_at - p->seg[0].data);
	if (p->gso_type == GSO_UDP)
		return at + 8;
	return at + 20 <= p->seg[0].len ? at + (p->csum_at[12] >> 4) * 4u : 0;
}

static void fill_first(struct dev_desc *desc, const struct packet *p)
{
	if (p->gso_type != GSO_NONE) {
		desc->gso_type = p->gso_type;
		desc->gso_size = p->gso_size;
		desc->hdr_len = (uint16_t)gso_hdr_len(p);
	}
	if (p->flags & DESC_CSUM_NEEDED) {
		desc->flags |= DESC_CSUM_NEEDED;
		desc->csum_start = (uint16_t)(p->csum_at - p->seg[0].data);
		desc->csum_offset = p->csum_offset;
	}
}

/* Working copies of the records that the gift will be noted in: all or none, so that no chain is
 * cut. */
static bool can_give(struct stack *s, const struct device *d, const struct packet *p)
{
	for (unsigned i = 0; i < p->segs; i++)
		if (!chunk_bits(s, d, (uint32_t)(p->seg[i].chunk >> d->shift)))
			return false;
	return true;
}

int device_transmit(struct stack *s, struct packet *p)
{
	struct device *d = device_of(s, p->dev);
	struct device_rec *r = device_get(s, p->dev);
	unsigned last = p->segs;

	while (last && !p->seg[last - 1].len)
		last--;
	if (!d || !d->region || !r || !last || p->len > REGION_FRAME_MAX || !can_give(s, d, p)) {
		packet_free(s, p);
		return -ENOBUFS;
	}
	d->touched = true;
	for (unsigned i = 0; i < p->segs; i++) {
		const struct packet_seg *seg = &p->seg[i];
		uint32_t chunk = (uint32_t)(seg->chunk >> d->shift);
		struct dev_desc desc = {.chunk = seg->chunk,
		    .off = (uint32_t)(seg->data - (d->mem + seg->chunk)),
		    .len = seg->len};

		if (i >= last) {
			chunk_put(d, chunk);
			continue;
		}
		chunk_give(s, d, chunk); /* can_give() said that it can */
		if (i == 0)
			fill_first(&desc, p);
		if (i + 1 < last)
			desc.flags |= DESC_MORE;
		*region_desc(d->region, &d->geo, 0, RING_TRANSMIT, r->transmit_prod++) = desc;
	}
	r->tx_frames++;
	r->tx_bytes += p->len;
	s->count.frames_out++;
	p->segs = 0;
	return 0;
}

static int drop(struct stack *s, struct packet *p, int err)
{
	struct device_rec *r = device_get(s, p->dev);

	if (r)
		r->tx_dropped++;
	packet_free(s, p);
	return err;
}

int device_output(struct stack *s, struct packet *p)
{
	const struct device_rec *r = device_peek(s, p->dev);
	uint32_t hdr_len;

	if (!device_of(s, p->dev) || !r || !r->up || !p->segs)
		return drop(s, p, -ENETDOWN);
	tap(s, p, true);
	if (p->dev == DEVICE_LO)
		return lo_output(s, p);
	if (p->flags & DESC_CSUM_NEEDED && (!p->csum_at || p->csum_at < p->seg[0].data))
		return drop(s, p, -EINVAL);
	if (p->gso_type != GSO_NONE) {
		hdr_len = gso_hdr_len(p);
		if (p->gso_type > GSO_UDP || !p->gso_size || !hdr_len || hdr_len > p->seg[0].len)
			return drop(s, p, -EINVAL);
		if (p->len - hdr_len <= p->gso_size)
			p->gso_type = GSO_NONE; /* one segment is no super-frame */
		else if (!(r->features & gso_feature[p->gso_type]) ||
			 !(r->features & REGION_F_CSUM))
			return segment_output(s, p);
	}
	if (p->flags & DESC_CSUM_NEEDED && !(r->features & REGION_F_CSUM))
		segment_complete(p);
	return device_transmit(s, p);
}

unsigned device_room(const struct stack *s, uint32_t dev)
{
	struct device *d = device_of(s, dev);
	uint32_t per_frame, avail, reserve;

	if (!d || (dev == DEVICE_LO && s->device->lo.carried >= LO_CYCLE_BYTES))
		return 0;
	/* Super-frames count, and a reserve is left for what must go out all the same (ACK, ARP).
	 */
	per_frame = (uint32_t)((FRAME_64K + d->geo.chunk_size - 1) >> d->shift);
	per_frame = min_of(per_frame, (uint32_t)PACKET_SEGS);
	reserve = min_of(d->geo.chunks / 32, 64u);
	avail = chunks_for_output(s, dev);
	return avail > reserve ? (avail - reserve) / per_frame : 0;
}
