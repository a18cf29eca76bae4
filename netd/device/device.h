/*
 * Devices: the interface table, device input (gather's half) and device output (dev_queue_xmit).
 *
 * Theory of operation. A device's record holds its ring positions; the words in the region are
 * published copies, written by device_speak() after the commit. device_gather() takes received chains
 * from the receive ring: each descriptor is copied, bounds-checked, and its chunk must be one that
 * was given to the driver (KIND_CHUNKS bits); a lie costs the driver its life (`accused`). Chunks that
 * this cycle frees are usable only after its commit, because a crash before it makes the successor
 * read them again. Output writes descriptors beyond the published transmit position.
 *
 * `lo` is device 0: private chunk memory, and a queue that device_gather() is never involved in:
 * lo_run() works it off within the same cycle, so nothing on lo is ever lost in a crash.
 */
#pragma once
#include "device/packet.h"
#include "proto/endpoint.h"

struct stack;

#define DEVICE_LO       0u
#define DEVICE_NAME_MAX 16

struct device_rec {
	char name[DEVICE_NAME_MAX];
	char driver[8];
	uint8_t mac[6];
	uint8_t up, is_lo;
	uint32_t mtu;
	uint32_t features; /* enum region_features */
	uint32_t driver_incarnation; /* last one seen */
	uint32_t chunks;
	uint64_t fill_prod, receive_cons, transmit_prod, completion_cons;
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, rx_dropped, tx_dropped;
};

#define CHUNKS_PER_RECORD 1024
struct chunks_rec {
	uint32_t dev, first; /* first chunk number */
	uint64_t given[CHUNKS_PER_RECORD / 64];
};

int device_layer_init(struct stack *s);
void device_layer_exit(struct stack *s);
/* Rebuilds what is derived: free chunks (census over bits and rings), indexes. Regions must be attached. */
int device_reindex(struct stack *s);

/*
 * Makes the device known, or finds its record again by name after a restart, and attaches its region
 * (mapped, `size` bytes). `bell` is the driver's bell (to ring), or -1. Returns the index or a negative errno.
 */
int device_attach(struct stack *s, const char *name, const char *driver, void *region, uint64_t size, int bell);
/*
 * Between two cycles: its region is not looked at any more, the record stays. -EBUSY while a packet in one of its chunks
 * waits in a record (for a neighbour, for its other fragments).
 */
int device_detach(struct stack *s, uint32_t dev);
int device_find(const struct stack *s, const char *name);
const struct device_rec *device_peek(const struct stack *s, uint32_t dev);

/*
 * Takes up to `budget` frames from the device and feeds each to device input (ethertype table of the
 * switchboard). Also takes completions and refills. Returns frames taken.
 */
unsigned device_gather(struct stack *s, uint32_t dev, unsigned budget);
/* The beginning of the frame at this position of the receive ring, for the black box; its length in `buf`, 0 if there is none. */
uint32_t device_frame_at(const struct stack *s, uint32_t dev, uint64_t pos, uint8_t *buf, uint32_t size);
/* Works off what was sent to lo in this cycle, until nothing is left. */
void lo_run(struct stack *s);
/* Does anybody look at frames besides those that they are for? Then the switchboard's tap() gets every one. */
void device_taps(struct stack *s, bool on);
/* Sends a frame whose Ethernet header (none on lo: the IP header) is at the front. Takes the packet. 0, -ENOBUFS, -ENETDOWN. */
int device_output(struct stack *s, struct packet *p);
/* Room for about this many more frames. TCP stops sending when it is 0 and goes on after completions, on lo in the next cycle. */
unsigned device_room(const struct stack *s, uint32_t dev);
/* After the commit: frees what this cycle gave back, publishes positions of every device touched, rings. `all`: of every device, bells too (after recovery). */
void device_speak(struct stack *s, bool all);
/* Does any driver want netd-inet to stay on its processor (base/core.h)? */
bool device_crowded(const struct stack *s);
/* Tells all drivers where it stays; -1: nowhere. */
void device_tell_core(struct stack *s, int at);
/* Is there anything to gather? */
bool device_pending(const struct stack *s, uint32_t dev);
/* Before sleep: set (or clear) "ring me" in every region; with a full fence. */
void device_arm(struct stack *s, bool sleeping);
/* A driver was caught lying: name of the device and reason, once; NULL if none. */
const char *device_accused(struct stack *s, const char **reason);
/* A driver restarted since this was last asked (frames may have been lost): true once each. */
bool device_restarted(struct stack *s, uint32_t dev);
uint32_t device_count(const struct stack *s);
/* Chunks of all devices: with the drivers, and in records (packets that wait). For statistics: looks at each. */
void device_chunks(const struct stack *s, uint64_t *given, uint64_t *held);
