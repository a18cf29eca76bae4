/*
 * The device region: one driver, one netd-inet; packet chunks and four rings a queue.
 *
 *   fill        inet -> driver   empty chunks for reception
 *   receive     driver -> inet   chunks with frames in them
 *   transmit    inet -> driver   chunks with frames to send
 *   completion  driver -> inet   chunks that were sent, to be used again
 *
 * A chunk has one owner at a time; it is named by its byte offset (a multiple of chunk_size) from the
 * start of the chunk area. A frame larger than a chunk is a chain of descriptors: all but the last
 * carry DESC_MORE, every chunk but the last is full, and link, network and transport headers are
 * contiguous in the first. The offload facts stand in the first descriptor of a chain.
 *
 * What survives whose death:
 * - netd-inet's positions (fill.prod, receive.cons, transmit.prod, completion.cons) are facts of its
 *   device record; the words here are published copies that a successor stores again.
 * - The driver's positions (fill.cons, receive.prod, transmit.cons, completion.prod) are believed by
 *   its successor as they stand here. A driver publishes a whole frame (chain) with one store to
 *   receive.prod, a handed-on frame with one store to completion.prod. The k-th receive descriptor
 *   always uses the k-th fill entry's chunk and the k-th completion returns the k-th transmit entry's
 *   chunk in drivers that process in order (netd-tap): for them receive.prod and completion.prod
 *   alone say how far fill and transmit were consumed, and fill.cons/transmit.cons are copies. A
 *   crash between two stores therefore never leaves a chunk in two places.
 * - A received frame is never lost: one that the kernel had handed out, but that was not published
 *   when the driver died, is found by the successor through the intent below (netd-tap: recover.c).
 * - A transmitted frame may go out twice: completion.prod is stored after the kernel has taken the
 *   frame, so a successor sends again what was sent in between. A duplicate is preferred to a loss:
 *   every receiver of packets must cope with doubles, and a lost one costs a retransmission timeout.
 *
 * Sizes are fixed at creation by the supervisor, which writes the geometry; both sides copy the
 * geometry once, check it with region_check(), and never read it again.
 */
#pragma once
#include "proto/ring.h"
#include <errno.h>
#include <string.h>

#define REGION_MAGIC   0x4e445247u /* "NDRG" */
#define REGION_VERSION 1
#define REGION_MAX_QUEUES 8

/* A frame with all its headers is at most this long: Ethernet + VLAN + 64 KiB - 1. */
#define REGION_FRAME_MAX (65535 + 18)

/* As the flags of a virtio_net_hdr, which no kernel ever says: no frame has come yet. */
#define REGION_NO_HEADER 0xff

enum desc_flags {
	DESC_MORE = 1 << 0,       /* the frame goes on in the next descriptor */
	DESC_CSUM_NEEDED = 1 << 1, /* checksum from csum_start to the end is to be put at csum_start + csum_offset; the pseudo header's sum is there */
	DESC_CSUM_VALID = 1 << 2, /* transport checksum was verified, or never left this machine */
};

enum desc_gso {
	GSO_NONE = 0,
	GSO_TCPV4 = 1,
	GSO_TCPV6 = 2,
	GSO_UDP = 3, /* UDP_SEGMENT: USO */
};

struct dev_desc {
	uint64_t chunk; /* byte offset of the chunk in the chunk area */
	uint32_t off;   /* where the data starts in the chunk */
	uint32_t len;   /* bytes of data in this chunk */
	uint16_t flags;
	uint8_t gso_type;
	uint8_t pad;
	uint16_t gso_size; /* payload bytes of each segment */
	uint16_t hdr_len;  /* length of all headers of a GSO frame */
	uint16_t csum_start;
	uint16_t csum_offset;
	uint32_t pad2;
};
static_assert(sizeof(struct dev_desc) == 32, "layout");

struct region_queue {
	/* driver-written */
	struct ring_pos fill_cons, receive_prod, transmit_cons, completion_prod;
	/* inet-written */
	struct ring_pos fill_prod, receive_cons, transmit_prod, completion_cons;
};

struct region_geometry {
	uint32_t magic, version;
	uint64_t size;       /* of the whole memory */
	uint32_t chunk_size; /* power of two, at least 2048 */
	uint32_t chunks;     /* number of chunks */
	uint32_t entries;    /* of each ring, power of two, >= chunks so that no ring is ever full */
	uint32_t queues;
	uint64_t ring_off;  /* of queue 0's fill ring; then receive, transmit, completion; then queue 1 */
	uint64_t chunk_off; /* of the chunk area */
};

struct region {
	struct region_geometry geo;
	/* driver-written: device facts and liveness */
	_Alignas(CACHELINE) uint32_t driver_incarnation; /* grows by one at each driver start, before its first frame */
	uint32_t driver_sleeps; /* "ring me": the driver waits on its bell */
	uint32_t link_up;
	uint32_t mtu;
	uint32_t features; /* enum region_features */
	uint8_t mac[6];    /* of netd's end of the link */
	uint8_t pad0[2];
	uint64_t drv_rx_frames, drv_tx_frames, drv_rx_dropped, drv_tx_dropped, drv_tx_errors;
	/*
	 * The reception under way (of queue 0), for a successor. Before it asks the kernel for a frame the
	 * driver stores, in this order: REGION_NO_HEADER in rx_header[0], how many fill entries it offers,
	 * the receive position of the first. Iff rx_position == receive.prod, rx_offered != 0 and
	 * rx_header[0] != REGION_NO_HEADER, a frame was taken from the kernel and not published.
	 */
	uint8_t rx_header[16]; /* the kernel writes its virtio_net_hdr here, before the frame */
	uint64_t rx_position;
	uint32_t rx_offered;
	uint32_t crowded; /* a hint: netd-inet had better stay on its processor, where the driver joins it */
	/* inet-written */
	_Alignas(CACHELINE) uint32_t inet_incarnation;
	uint32_t inet_sleeps; /* "ring me": netd-inet waits on its bell */
	uint32_t inet_ready;  /* geometry taken, fill ring filled */
	uint32_t inet_core;   /* a hint: the processor it stays on, plus one; 0: none */
	struct region_queue queue[REGION_MAX_QUEUES];
};

enum region_features {
	REGION_F_CSUM = 1 << 0, /* driver takes DESC_CSUM_NEEDED */
	REGION_F_TSO4 = 1 << 1,
	REGION_F_TSO6 = 1 << 2,
	REGION_F_USO = 1 << 3,
};

/* Byte size of a region with this geometry; fills the offsets in. */
static inline uint64_t region_layout(struct region_geometry *g)
{
	uint64_t ring = sizeof(struct dev_desc) * (uint64_t)g->entries;

	g->magic = REGION_MAGIC;
	g->version = REGION_VERSION;
	g->ring_off = (sizeof(struct region) + 4095) & ~4095ull;
	g->chunk_off = (g->ring_off + 4 * ring * g->queues + 4095) & ~4095ull;
	g->size = g->chunk_off + (uint64_t)g->chunk_size * g->chunks;
	return g->size;
}

/* Returns 0, or -EPROTO if the geometry does not describe a memory of `size` bytes. */
static inline int region_check(const struct region_geometry *g, uint64_t size)
{
	struct region_geometry want = *g;

	if (g->magic != REGION_MAGIC || g->version != REGION_VERSION)
		return -EPROTO;
	if (!is_pow2(g->chunk_size) || g->chunk_size < 2048 || g->chunk_size > 65536)
		return -EPROTO;
	if (!g->chunks || g->chunks > (1u << 20) || !is_pow2(g->entries) || g->entries > (1u << 20) ||
	    g->entries < g->chunks || !g->queues || g->queues > REGION_MAX_QUEUES)
		return -EPROTO;
	if (region_layout(&want) != size || want.ring_off != g->ring_off ||
	    want.chunk_off != g->chunk_off || g->size != size)
		return -EPROTO;
	return 0;
}

enum region_ring { RING_FILL = 0, RING_RECEIVE = 1, RING_TRANSMIT = 2, RING_COMPLETION = 3 };

/* Entry `pos` of a ring; `g` is the caller's private, checked copy. */
static inline struct dev_desc *region_desc(void *mem, const struct region_geometry *g,
    uint32_t queue, enum region_ring which, uint64_t pos)
{
	uint64_t ring = sizeof(struct dev_desc) * (uint64_t)g->entries;
	uint8_t *p = (uint8_t *)mem + g->ring_off + ring * (4 * (uint64_t)queue + which);

	return (struct dev_desc *)(void *)p + (pos & (g->entries - 1));
}

static inline uint8_t *region_chunk(void *mem, const struct region_geometry *g, uint64_t chunk)
{
	return (uint8_t *)mem + g->chunk_off + chunk;
}

/*
 * Is this descriptor inside the region? The caller has copied it to private memory first.
 * Ownership (was this chunk given to the driver?) is netd-inet's to check on top.
 */
static inline bool desc_in_bounds(const struct region_geometry *g, const struct dev_desc *d)
{
	return d->chunk < (uint64_t)g->chunk_size * g->chunks && !(d->chunk & (g->chunk_size - 1)) &&
	       d->off <= g->chunk_size && d->len <= g->chunk_size - d->off;
}
