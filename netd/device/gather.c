/*
 * Taking what a driver has for us: completions, received chains; and giving it empty chunks.
 *
 * Theory of operation. A descriptor is copied once to private memory, then checked: inside the
 * region, and its chunk one that was given to the driver. Positions are checked against what the
 * driver can have had at most: as many receive entries as there were fill entries, as many
 * completions as there were transmissions. Nothing here is visible outside before device_speak().
 *
 * A chain whose descriptors lie is consumed all the same (its honest chunks taken back), so that
 * the next driver does not hand us the same lie again. A position that lies cannot be consumed; it
 * is put back for the next driver.
 */
#include "device/layer.h"
#include "base/util.h"
#include "wire/flow.h"

#define FILL_BATCH 64u

static struct dev_desc desc_read(const struct device *d, enum region_ring ring, uint64_t pos)
{
	struct dev_desc desc;

	memcpy(&desc, region_desc(d->region, &d->geo, 0, ring, pos), sizeof(desc));
	/* read once: what is checked below is what is used */
	__asm__ __volatile__("" : : : "memory");
	return desc;
}

/* NULL if the descriptor is true, else what is wrong with it. */
static const char *desc_lie(const struct device *d, const struct dev_desc *desc)
{
	if (!desc_in_bounds(&d->geo, desc))
		return "a descriptor outside its region";
	if (d->place[desc->chunk >> d->shift] != CHUNK_GIVEN)
		return "a chunk that it was not given";
	return NULL;
}

/* ---- completions */

static void take_completions(struct stack *s, uint32_t dev, struct device *d)
{
	uint64_t prod = load_acquire(&d->region->queue[0].completion_prod.v);
	const struct device_rec *seen = device_peek(s, dev);
	struct device_rec *r;

	if (prod == seen->completion_cons)
		return;
	if (ring_avail(prod, seen->completion_cons, seen->transmit_prod - seen->completion_cons) <
	    0) {
		device_accuse(d, "its completion position");
		return;
	}
	r = device_get(s, dev);
	if (!r)
		return;
	d->touched = true;
	while (r->completion_cons != prod) {
		struct dev_desc desc = desc_read(d, RING_COMPLETION, r->completion_cons);
		const char *lie = desc_lie(d, &desc);

		if (lie) {
			s->count.bad_desc++;
			device_accuse(d, lie);
		} else if (!chunk_take_back(s, d, (uint32_t)(desc.chunk >> d->shift), false)) {
			return;
		}
		r->completion_cons++;
	}
}

/* ---- reception */

struct chain {
	struct packet *p;
	const char *lie;
	bool drop; /* too long, or of a shape that no honest frame has: not worth an accusation */
};

static void first_desc(struct chain *c, uint32_t dev, const struct dev_desc *desc)
{
	struct packet *p = c->p;

	p->dev = dev;
	p->len = 0;
	p->segs = 0;
	p->kept = false;
	p->via = 0;
	/* A checksum that was never filled in comes from this machine and is as good as verified.
	 */
	p->flags = desc->flags & (DESC_CSUM_VALID | DESC_CSUM_NEEDED) ? DESC_CSUM_VALID : 0;
	p->gso_type = desc->gso_size && desc->gso_type <= GSO_UDP ? desc->gso_type : GSO_NONE;
	p->gso_size = p->gso_type ? desc->gso_size : 0;
	p->csum_at = NULL;
	p->csum_offset = 0;
	p->head = NULL;
}

/* One descriptor of a chain. Its chunk is in hand afterwards: in the packet, or given back. */
static void add_desc(
    struct stack *s, struct device *d, struct chain *c, const struct dev_desc *desc)
{
	uint32_t chunk = (uint32_t)(desc->chunk >> d->shift);
	struct packet *p = c->p;

	if (!chunk_take_back(s, d, chunk, true)) {
		c->drop = true;
		return;
	}
	if (!desc->len || p->segs == PACKET_SEGS || desc->len > REGION_FRAME_MAX - p->len)
		c->drop = true;
	if (c->drop || c->lie) {
		chunk_put(d, chunk);
		return;
	}
	if (!p->segs)
		p->head = d->mem + desc->chunk;
	p->seg[p->segs++] =
	    (struct packet_seg){desc->chunk, d->mem + desc->chunk + desc->off, desc->len};
	p->len += desc->len;
}

/* Takes the next chain from the ring. True if it is a frame to work on, in `p`. */
static bool take_chain(struct stack *s, uint32_t dev, struct device *d, struct device_rec *r,
    uint64_t prod, struct packet *p)
{
	struct chain c = {.p = p};
	struct dev_desc desc;
	bool first = true;

	do {
		const char *lie;

		desc = desc_read(d, RING_RECEIVE, r->receive_cons++);
		if (first)
			first_desc(&c, dev, &desc);
		first = false;
		lie = desc_lie(d, &desc);
		if (lie)
			c.lie = lie;
		else
			add_desc(s, d, &c, &desc);
	} while (desc.flags & DESC_MORE && r->receive_cons != prod);
	if (desc.flags & DESC_MORE)
		c.lie = "a chain without an end";
	if (!c.lie && !c.drop)
		return true;
	packet_free(s, p);
	r->rx_dropped++;
	s->count.bad_frame++;
	if (c.lie) {
		s->count.bad_desc++;
		device_accuse(d, c.lie);
	}
	return false;
}

/* Its flow was in hand at two deaths (state/blackbox.h). */
static bool set_aside(struct stack *s, const struct packet *p)
{
	uint8_t head[FLOW_HEAD];
	uint32_t n = min_of(p->len, FLOW_HEAD);

	if (!packet_read(p, 0, head, n) || !box_drops(s->box, flow_of_ethernet(head, n), s->now))
		return false;
	s->count.set_aside++;
	return true;
}

static unsigned take_frames(struct stack *s, uint32_t dev, struct device *d, unsigned budget)
{
	uint64_t prod = load_acquire(&d->region->queue[0].receive_prod.v);
	const struct device_rec *seen = device_peek(s, dev);
	struct device_rec *r;
	unsigned frames = 0;
	struct packet p;

	if (prod == seen->receive_cons)
		return 0;
	if (ring_avail(prod, seen->receive_cons, seen->fill_prod - seen->receive_cons) < 0) {
		device_accuse(d, "its receive position");
		return 0;
	}
	r = device_get(s, dev);
	if (!r)
		return 0;
	d->touched = true;
	while (frames < budget && r->receive_cons != prod && !d->accused) {
		frames++;
		box_note(s->box, BOX_FRAME, dev, r->receive_cons);
		if (!take_chain(s, dev, d, r, prod, &p))
			continue;
		KILLPOINT("device.frame");
		r->rx_frames++;
		r->rx_bytes += p.len;
		s->count.frames_in++;
		if (!box_any(s->box) || !set_aside(s, &p))
			ether_input(s, &p);
		packet_free(s, &p);
	}
	return frames;
}

uint32_t device_frame_at(const struct stack *s, uint32_t dev, uint64_t pos, uint8_t *buf, uint32_t size)
{
	const struct device *d = device_of(s, dev);
	const struct device_rec *r = device_peek(s, dev);
	uint32_t n = 0;
	uint64_t prod;

	if (!d || !d->region || !r)
		return 0;
	prod = load_acquire(&d->region->queue[0].receive_prod.v);
	while (pos - r->receive_cons < prod - r->receive_cons && pos - r->receive_cons < d->geo.entries) {
		struct dev_desc desc = desc_read(d, RING_RECEIVE, pos++);
		uint32_t run;

		if (!desc_in_bounds(&d->geo, &desc))
			break;
		run = min_of(desc.len, size - n);
		memcpy(buf + n, d->mem + desc.chunk + desc.off, run);
		n += run;
		if (!(desc.flags & DESC_MORE) || n == size)
			break;
	}
	return n;
}

/* ---- refill */

static void refill(struct stack *s, uint32_t dev, struct device *d)
{
	const struct device_rec *seen = device_peek(s, dev);
	uint64_t filled = seen->fill_prod - seen->receive_cons;
	uint32_t target = fill_target(d), n;
	struct device_rec *r;

	if (filled >= target || target - filled < min_of(FILL_BATCH, max_of(target / 4, 1u)))
		return;
	n = min_of((uint32_t)(target - filled), chunks_free(d));
	if (!n || !(r = device_get(s, dev)))
		return;
	d->touched = true;
	while (n--) {
		uint32_t chunk = chunk_take(d);

		if (!chunk_give(s, d, chunk)) {
			chunk_put(d, chunk);
			return;
		}
		*region_desc(d->region, &d->geo, 0, RING_FILL, r->fill_prod++) =
		    (struct dev_desc){.chunk = (uint64_t)chunk << d->shift};
	}
}

/*
 * An accused driver is dead or dying, and its successor believes the positions that it finds: one
 * that cannot be is put back to where we are, or we would accuse innocents for ever.
 */
static void mend_positions(struct stack *s, uint32_t dev, struct device *d)
{
	struct region_queue *q = &d->region->queue[0];
	const struct device_rec *r = device_peek(s, dev);

	if (load_acquire(&q->receive_prod.v) - r->receive_cons > r->fill_prod - r->receive_cons)
		store_release(&q->receive_prod.v, r->receive_cons);
	if (load_acquire(&q->completion_prod.v) - r->completion_cons >
	    r->transmit_prod - r->completion_cons)
		store_release(&q->completion_prod.v, r->completion_cons);
}

unsigned device_gather(struct stack *s, uint32_t dev, unsigned budget)
{
	struct device *d = device_of(s, dev);
	unsigned frames;

	if (!d || !d->region || !device_peek(s, dev))
		return 0;
	device_refresh(s, dev);
	if (!d->accused)
		take_completions(s, dev, d);
	frames = d->accused ? 0 : take_frames(s, dev, d, budget);
	if (d->accused)
		mend_positions(s, dev, d);
	else
		refill(s, dev, d);
	return frames;
}
