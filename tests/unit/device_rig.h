/*
 * A device layer alone in the world: an arena, a region in plain memory, a driver that the test
 *plays.
 *
 *	handler (the test's) -- device layer -- region -- rig_driver_*() (the test)
 */
#pragma once
#include "device/layer.h"
#include "state/switchboard.h"

#define RIG_CHUNK 2048u

struct rig {
	struct stack s;
	struct switchboard board;
	struct ethertype_row types[2];
	struct record_type records[KIND_COUNT];
	void *arena;
	uint64_t arena_size;
	void *mem;
	uint64_t size;
	struct region_geometry geo;
	uint32_t dev;
	uint64_t rx, tx; /* the driver's own positions */
	int damaged;	 /* records that the successor will find corrupt */
};

/* `input` takes what arrives with ethertype 0x0800, on lo too; may be NULL. */
void rig_open(struct rig *g, uint32_t chunks,
    void (*input)(struct stack *s, struct packet *p, const uint8_t src[6]));
void rig_close(struct rig *g);
struct region *rig_region(const struct rig *g);
struct region_queue *rig_queue(const struct rig *g);
/* Commit and speak. */
void rig_commit(struct rig *g);
void rig_speak(struct rig *g, bool all);
/* A cycle in which nothing but the device happens. */
unsigned rig_cycle(struct rig *g);
/* The daemon dies here and its successor recovers, up to its first commit and speaking. */
void rig_restart(struct rig *g);
/* Damages what the arena says of a record. */
void rig_damage(struct rig *g, enum record_kind kind, uint32_t index);

/* The driver receives a frame: chains as it must. False: not enough empty chunks. */
bool rig_driver_receive(struct rig *g, const void *frame, uint32_t len, uint16_t flags);
/* The driver sends the next frame: copied to `buf`. Its length, 0 if there is none. */
uint32_t rig_driver_send(struct rig *g, void *buf, uint32_t room, struct dev_desc *first);
/* A frame to our MAC with `len` bytes behind the Ethernet header; returns its length. */
uint32_t rig_frame(uint8_t *buf, uint16_t type, const void *payload, uint32_t len);
/* Every chunk is at exactly one place, and the rings agree with the bits. NULL, or what is wrong.
 */
const char *rig_census(const struct rig *g);
