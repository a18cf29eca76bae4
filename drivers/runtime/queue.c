#include "drivers/runtime/queue.h"

void queue_init(struct queue *q, struct region *r, const struct region_geometry *geo, uint32_t index)
{
	*q = (struct queue){.region = r, .geo = *geo, .pos = &r->queue[index], .index = index};
	q->rx = load_acquire(&q->pos->receive_prod.v);
	q->tx = load_acquire(&q->pos->completion_prod.v);
	q->seen = q->rx;
	store_release(&q->pos->fill_cons.v, q->rx);
	store_release(&q->pos->transmit_cons.v, q->tx);
}

static struct dev_desc *queue_desc(const struct queue *q, enum region_ring ring, uint64_t pos)
{
	return region_desc(q->region, &q->geo, q->index, ring, pos);
}

/* Each field is read once: what the other side changes under us changes nothing any more. */
static void queue_copy(const struct queue *q, struct dev_desc *d, enum region_ring ring, uint64_t pos)
{
	memcpy(d, queue_desc(q, ring, pos), sizeof(*d));
	__asm__ __volatile__("" : : "r"(d) : "memory");
}

unsigned queue_fill_avail(const struct queue *q, uint64_t from)
{
	uint64_t prod = load_acquire(&q->pos->fill_prod.v);

	if (ring_avail(prod, q->rx, q->geo.entries) < 0)
		return 0;
	return prod - q->rx > from - q->rx ? (unsigned)(prod - from) : 0;
}

bool queue_fill_at(const struct queue *q, uint64_t pos, uint64_t *chunk)
{
	struct dev_desc d;

	queue_copy(q, &d, RING_FILL, pos);
	d.off = d.len = 0;
	*chunk = d.chunk;
	return desc_in_bounds(&q->geo, &d);
}

static void queue_receive_publish(struct queue *q, unsigned n)
{
	q->rx += n;
	store_release(&q->pos->receive_prod.v, q->rx);
	store_release(&q->pos->fill_cons.v, q->rx);
}

void queue_receive(struct queue *q, struct dev_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		d[i].flags = (uint16_t)((d[i].flags & ~DESC_MORE) | (i + 1 < n ? DESC_MORE : 0));
		*queue_desc(q, RING_RECEIVE, q->rx + i) = d[i];
	}
	queue_receive_publish(q, n);
}

void queue_receive_nothing(struct queue *q)
{
	struct dev_desc d, empty = {0};

	queue_copy(q, &d, RING_FILL, q->rx);
	empty.chunk = d.chunk;
	*queue_desc(q, RING_RECEIVE, q->rx) = empty;
	queue_receive_publish(q, 1);
}

unsigned queue_transmit_peek(const struct queue *q, struct dev_desc d[QUEUE_CHAIN_MAX], bool *bad)
{
	int64_t avail = ring_avail(load_acquire(&q->pos->transmit_prod.v), q->tx, q->geo.entries);
	uint64_t total = 0;
	unsigned n = 0;

	*bad = false;
	while (n < QUEUE_CHAIN_MAX && (int64_t)n < avail) {
		queue_copy(q, &d[n], RING_TRANSMIT, q->tx + n);
		if (!desc_in_bounds(&q->geo, &d[n]))
			*bad = true;
		total += d[n].len;
		if (!(d[n++].flags & DESC_MORE)) {
			*bad |= total > REGION_FRAME_MAX;
			return n;
		}
	}
	if (n < QUEUE_CHAIN_MAX)
		return 0; /* nothing, or a chain of which not all is published: wait for the rest */
	*bad = true;
	return n;
}

void queue_complete(struct queue *q, const struct dev_desc *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		*queue_desc(q, RING_COMPLETION, q->tx + i) = (struct dev_desc){.chunk = d[i].chunk};
	q->tx += n;
	store_release(&q->pos->completion_prod.v, q->tx);
	store_release(&q->pos->transmit_cons.v, q->tx);
}

bool queue_transmit_pending(const struct queue *q)
{
	return ring_avail(load_acquire(&q->pos->transmit_prod.v), q->tx, q->geo.entries) > 0;
}
