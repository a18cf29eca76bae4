/*
 * The device layer's private (derived) things. Nobody above device/ includes this.
 *
 * Where each chunk is (enum chunk_place) is derived from the "given" bits of the chunks records and
 * from the packet references in other records; see chunks.c.
 */
#pragma once
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "state/stack.h"

#define LO_CHUNKS     8192u
#define LO_CHUNK_SIZE 4096u
#define LO_MTU	      65536u
/* What lo carries in one cycle. Both its ends are inside: without a limit a cycle would last as long as readers drain it. */
#define LO_CYCLE_BYTES	(4u << 20)
#define LO_PACKET_BYTES 512u /* a small packet's work counts as so much */

enum chunk_place {
	CHUNK_FREE,
	CHUNK_GIVEN, /* to the driver: fill and receive ring, transmit and completion ring, or
			between */
	CHUNK_FRESH, /* in hand, from the free list in this cycle: nobody needs what was in it */
	CHUNK_TAKEN, /* in hand, from the driver or from a record in this cycle: a successor would
			read it again */
	CHUNK_HELD,  /* stands in a record */
	CHUNK_FREED, /* was TAKEN, free after the commit */
};

struct device {
	struct region *region;	    /* NULL for lo, and while no region is attached */
	uint8_t *mem;		    /* the chunk area; NULL: not attached */
	struct region_geometry geo; /* private, checked copy */
	unsigned shift;		    /* log2 of chunk_size */
	int bell;
	uint8_t *place;		  /* enum chunk_place of each chunk */
	uint32_t *free, n_free;	  /* last in, first out: warm ones first */
	uint32_t *freed, n_freed; /* until the commit */
	uint32_t *bits;		  /* index of the KIND_CHUNKS record of each 1,024 chunks */
	uint32_t in_hand;	  /* FRESH and TAKEN chunks: none outside a cycle */
	bool census;		  /* the free list is to be made from `place` */
	bool touched;		  /* positions changed in this cycle */
	bool restarted;		  /* its driver, and nobody asked yet */
	bool accused, told;
	const char *reason;
	uint64_t published_fill, published_transmit;
};

struct lo_queue {
	struct packet
	    *p; /* LO_CHUNKS places: a packet has at least one chunk, so it is never full */
	uint32_t head, tail;
	uint32_t carried; /* in this cycle */
};

struct neigh_table;

struct device_layer {
	struct device *dev; /* one for each record there can be */
	uint32_t room;
	uint32_t count; /* highest index in use + 1 */
	struct lo_queue lo;
	struct neigh_table *neigh;
	bool tapped;   /* device_taps() */
	bool announce; /* inet_ready and the incarnation are to be published */
};

static inline struct device *device_of(const struct stack *s, uint32_t dev)
{
	return dev < s->device->room && s->device->dev[dev].mem ? &s->device->dev[dev] : NULL;
}

static inline struct device_rec *device_get(struct stack *s, uint32_t dev)
{
	return state_get(s->state, KIND_DEVICE, dev);
}

static inline uint8_t *chunk_data(const struct device *d, uint32_t chunk)
{
	return d->mem + ((uint64_t)chunk << d->shift);
}

/* ---- chunks.c */

/* Arrays for geo.chunks chunks. 0 or -ENOMEM. */
int chunks_open(struct device *d);
void chunks_close(struct device *d);
/* Finds or makes the records of the device's bits. `fresh`: all bits are cleared. 0 or -ENOSPC. */
int chunks_bind(struct stack *s, uint32_t dev, bool fresh);
/* Where is each chunk? From the records' bits, compared with the rings. */
void chunks_census(struct stack *s, uint32_t dev);
/* The bits are made again from the rings, for a driver that keeps the order (proto/region.h). */
void chunks_from_rings(struct stack *s, uint32_t dev);
/* A free chunk, now FRESH; NO_INDEX if there is none. */
uint32_t chunk_take(struct device *d);
/* A chunk in hand is not needed any more. */
void chunk_put(struct device *d, uint32_t chunk);
/* The working copy of the record with the chunk's bit; NULL: no memory. */
struct chunks_rec *chunk_bits(struct stack *s, const struct device *d, uint32_t chunk);
/* In hand -> GIVEN. False: no memory for the record's working copy, nothing done. */
bool chunk_give(struct stack *s, struct device *d, uint32_t chunk);
/* GIVEN -> TAKEN (`reread`) or FREE. False as above. */
bool chunk_take_back(struct stack *s, struct device *d, uint32_t chunk, bool reread);
/* In hand <-> in a record. */
void chunk_hold(struct device *d, uint32_t chunk);
void chunk_unhold(struct device *d, uint32_t chunk);
/* After the commit. */
void chunks_commit(struct device *d);
/* Free chunks, the free list made ready. */
uint32_t chunks_free(struct device *d);
/* Chunks that packets may take: the fill ring's share stays. */
uint32_t chunks_for_output(const struct stack *s, uint32_t dev);
/*
 * How many chunks the fill ring is to hold. The driver walks through all of them before one is used
 * again: 2 MiB stay in a core's second-level cache, and the copies out of them cost a third less than
 * from half of the region. What comes in a pause waits in the kernel's queue, which is longer.
 */
#define FILL_CHUNKS 512u
static inline uint32_t fill_target(const struct device *d)
{
	return min_of(d->geo.chunks / 2, FILL_CHUNKS);
}

/* ---- the rest of the layer */

/* device.c: the driver's facts (link, MTU, features, incarnation) into the record, if they changed.
 */
void device_refresh(struct stack *s, uint32_t dev);
void device_accuse(struct device *d, const char *reason);
/* ether.c: ptype_all. The front is at the link header, on lo at the network header. */
void tap(struct stack *s, const struct packet *p, bool outgoing);
/* lo.c */
int lo_attach(struct stack *s);
void lo_detach(struct stack *s);
int lo_output(struct stack *s, struct packet *p);
/* ether.c: the front is at the Ethernet header. The caller frees. */
void ether_input(struct stack *s, struct packet *p);
/* The row of the switchboard, which the caller has not to know. */
void ethertype_input(struct stack *s, struct packet *p, uint16_t type, const uint8_t src[6]);
/* output.c: into the transmit ring, whatever the device can. Takes the packet. */
int device_transmit(struct stack *s, struct packet *p);
/* segment.c: cuts a GSO frame. Takes the packet. */
int segment_output(struct stack *s, struct packet *p);
/* Puts the transport checksum in. */
void segment_complete(struct packet *p);
/* neigh_table.c: the derived hash over the records, and making room in the table */
int neigh_open(struct stack *s);
void neigh_close(struct stack *s);
void neigh_table_clear(struct stack *s);
void neigh_table_add(struct stack *s, uint32_t index);
void neigh_table_remove(struct stack *s, uint32_t index);
/* A record that may go because the table is nearly full; NO_INDEX if it is not, or none may. */
uint32_t neigh_table_victim(struct stack *s);
