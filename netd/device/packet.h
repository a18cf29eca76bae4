/*
 * A packet: a view of chunk memory with the four verbs push, pull, put, trim. Lives on the stack of
 * whoever works on it; the chunks under it belong to their device.
 *
 * Ownership. Whoever calls an input handler frees the packet afterwards, unless the handler kept it
 * (packet_keep(): its chunks now stand in a record, e.g. a neighbour's queue or a reassembly). Output
 * functions always take the packet over, success or not.
 *
 * What lies in a received chunk can change under us (a hostile driver): headers are copied to private
 * memory once (packet_header()) and parsed from there; payload is copied once to its reader, and the
 * checksum is that of the copy.
 */
#pragma once
#include "proto/region.h"
#include <stdbool.h>

struct stack;

#define PACKET_SEGS     24
#define PACKET_HEADROOM 128 /* bytes before the payload for all headers */

struct packet_seg {
	uint64_t chunk; /* offset of the chunk in its device */
	uint8_t *data;
	uint32_t len;
};

struct packet {
	uint32_t dev;  /* index of its device */
	uint32_t len;  /* bytes from the current front to the end */
	uint16_t segs;
	bool kept;
	uint32_t via; /* on lo: a copy of what went to a group by this device, heard as from there; 0: not one */
	uint16_t flags;      /* enum desc_flags without DESC_MORE */
	uint8_t gso_type;    /* enum desc_gso */
	uint16_t gso_size;
	uint8_t *csum_at;    /* transmit, DESC_CSUM_NEEDED: start of the transport header */
	uint16_t csum_offset;
	uint8_t *head;       /* first byte that push may use */
	struct packet_seg seg[PACKET_SEGS];
};

/* The front moves back by n bytes; NULL if there is no headroom. Returns the new front. */
uint8_t *packet_push(struct packet *p, uint32_t n);
/* The front moves on by n bytes, which must lie in the first segment. NULL if they do not. Returns the new front. */
uint8_t *packet_pull(struct packet *p, uint32_t n);
/* Cuts the end so that `len` bytes remain (no more than there are). Freed chunks go back at packet_free(). */
void packet_trim(struct packet *p, uint32_t len);
/* Copies n bytes from offset `off` behind the front. False if the packet is shorter. */
bool packet_read(const struct packet *p, uint32_t off, void *dst, uint32_t n);
/* Writes likewise (the space is already there). */
bool packet_write(struct packet *p, uint32_t off, const void *src, uint32_t n);
/* The header of n bytes at the front, copied to `dst`, from the first segment only. False if it is not all there. */
bool packet_header(const struct packet *p, void *dst, uint32_t n);
/* Internet checksum (host order, not complemented, folded to 16 bits) of n bytes from offset `off`, plus `seed`. */
uint32_t packet_sum(const struct packet *p, uint32_t off, uint32_t n, uint32_t seed);

/*
 * A packet for device `dev` with PACKET_HEADROOM before the front and `len` bytes of space behind it
 * (already counted in p->len), over as many chunks as it takes. Returns 0, -ENOBUFS (no chunk free
 * now), -EMSGSIZE.
 */
int packet_alloc(struct stack *s, struct packet *p, uint32_t dev, uint32_t len);
/* Gives the chunks back to their device (usable again after this cycle's commit). */
void packet_free(struct stack *s, struct packet *p);

/* A packet whose chunks stand in a record. */
struct packet_ref {
	uint32_t dev;
	uint32_t len;
	uint16_t segs;
	uint16_t flags;
	uint16_t gso_size;
	uint8_t gso_type;
	uint8_t pad;
	uint16_t csum_start; /* from the front */
	uint16_t csum_offset;
	uint32_t off;   /* of the front in the first chunk; the later chunks start at 0 */
	uint32_t chunk[PACKET_SEGS - 2]; /* number of each chunk (offset / chunk_size) */
};
/* Moves a packet into a record; p->kept is set. -EMSGSIZE if it has too many segments, -EOPNOTSUPP on lo. */
int packet_keep(struct stack *s, struct packet *p, struct packet_ref *ref);
/* And back. The reference is void afterwards. -EPROTO if its device is gone. */
int packet_restore(struct stack *s, struct packet *p, struct packet_ref *ref);
/* At reindex: this record holds these chunks. */
int packet_claim(struct stack *s, const struct packet_ref *ref);
