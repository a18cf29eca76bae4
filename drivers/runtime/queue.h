/*
 * The driver's side of one queue of a device region.
 *
 * Theory of operation. netd-inet is a neighbour, not a friend: every descriptor it wrote is copied to
 * private memory, checked, and only the copy is used; its positions are checked against the driver's
 * own, which stand in private memory. A bad descriptor is handed straight back (an empty frame on the
 * receive ring, a completion on the other), so that positions stay in step and only its author loses.
 *
 * This driver works in order: the k-th receive descriptor uses the k-th fill entry, the k-th completion
 * returns the k-th transmit entry. So a queue has two positions, not four: `rx` is receive.prod and
 * fill.cons at once, `tx` is completion.prod and transmit.cons. Each frame is published with a single
 * store (receive.prod, completion.prod) after its descriptors; the other word of the pair is a copy
 * stored later. Wherever a SIGKILL falls, a successor that starts from receive.prod and
 * completion.prod finds every chunk in exactly one place: before the store the frame's chunks are
 * still fill (transmit) entries, after it they are receive (completion) entries. A frame taken from
 * the kernel before the store still lies in its chunks, for the driver to find (tap/recover.c); one
 * given to the kernel is given again: a duplicate is preferred to a loss.
 */
#pragma once
#include "proto/region.h"

/* A frame in the smallest chunks (2048 bytes), with a short first one for headroom and a short last one. */
#define QUEUE_CHAIN_MAX 40

struct queue {
	struct region *region;
	struct region_geometry geo; /* private, checked copy */
	struct region_queue *pos;
	uint32_t index;
	uint64_t rx, tx;
	uint64_t seen; /* the first fill entry that the device has not looked at while it waits for more */
};

/* Takes over from a predecessor: its positions as they stand in the region. */
void queue_init(struct queue *q, struct region *r, const struct region_geometry *geo, uint32_t index);

/* How many fill entries lie at and after position `from` (>= rx). */
unsigned queue_fill_avail(const struct queue *q, uint64_t from);
/* The chunk that fill entry `pos` gives; false if the entry is bad. */
bool queue_fill_at(const struct queue *q, uint64_t pos, uint64_t *chunk);
/*
 * Publishes one frame of n chunks, which are those of fill entries rx .. rx + n - 1 in this order.
 * `d` is complete but for DESC_MORE.
 */
void queue_receive(struct queue *q, struct dev_desc *d, unsigned n);
/* Hands the fill entry at rx back unused, whatever it holds. */
void queue_receive_nothing(struct queue *q);

/*
 * Copies the next frame to transmit. Returns its number of descriptors, 0 if there is none. `*bad` is
 * set when it must not be sent (out of bounds, too long): complete it all the same.
 */
unsigned queue_transmit_peek(const struct queue *q, struct dev_desc d[QUEUE_CHAIN_MAX], bool *bad);
/* Returns the n chunks of the frame that was just peeked. */
void queue_complete(struct queue *q, const struct dev_desc *d, unsigned n);
bool queue_transmit_pending(const struct queue *q);

static inline uint8_t *queue_data(const struct queue *q, const struct dev_desc *d)
{
	return region_chunk(q->region, &q->geo, d->chunk) + d->off;
}
