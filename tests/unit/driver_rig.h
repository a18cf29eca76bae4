/*
 * netd-tap with a supervisor and a netd-inet that are both this process, and the kernel's end of the
 * TAP in a network namespace of the test's own:
 *
 *    rig (inet: rings) <-> netd-tap <-> TAP netd0 <-> rig (AF_PACKET socket)
 */
#pragma once
#include "drivers/runtime/queue.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include "proto/component.pb-c.h"
#include <linux/virtio_net.h>
#include <sys/types.h>

#define RIG_ETHERTYPE 0x88b5 /* local experiments */
#define RIG_CHUNKS    256
#define RIG_CHUNK     4096

enum rig_owner { OWNER_INET, OWNER_FILL, OWNER_TRANSMIT };

struct rig {
	int channel; /* supervisor's end */
	pid_t pid;
	int escrow; /* the deposited TAP, or -1 */
	int region_fd, clock_fd, bell[2], inet_bell[2];
	struct region *region;
	struct clock_page *clock;
	struct region_geometry geo;
	uint32_t offloads, txqueuelen;
	uint64_t fill_prod, receive_cons, transmit_prod, completion_cons;
	uint8_t owner[RIG_CHUNKS]; /* what inet believes */
	int packet;                /* AF_PACKET on the kernel's end, with virtio headers */
	struct channel_msg msg;
};

/* Skips the test where there are no privileges for it. */
void rig_init(struct rig *r);
void rig_free(struct rig *r);
/* Starts a driver, hands it what is in escrow, waits for its Hello. */
void rig_start(struct rig *r);
/* Kills it and waits for its death, keeping what it had deposited. */
void rig_kill(struct rig *r);
/* Asks it to stop; returns the exit status. */
int rig_stop(struct rig *r);
void rig_send(struct rig *r, Netd__Component__ToComponent *m, const int *fds, int nfds);
void rig_ping(struct rig *r, uint64_t number);
bool rig_alive(struct rig *r);

/* netd-inet's verbs; positions are published at once, the driver's bell is rung if it sleeps. */
void rig_fill(struct rig *r, unsigned n);
/* A chunk that inet owns, or -1. */
int rig_free_chunk(struct rig *r);
struct dev_desc *rig_desc(struct rig *r, enum region_ring ring, uint64_t pos);
void rig_transmit(struct rig *r, const struct dev_desc *d, unsigned n);
/* A plain frame of `len` bytes with this number in it. False without a free chunk. */
bool rig_transmit_numbered(struct rig *r, uint32_t number, uint32_t len);
/* Takes completions back; checks that they come in order and were given. Returns their number. */
unsigned rig_complete(struct rig *r);
/* Waits up to a second for a frame; its length, 0 if none. Copies it, returns its chunks to inet. */
uint32_t rig_receive(struct rig *r, uint8_t *frame, struct dev_desc *first, unsigned *chunks);
/* Every chunk is in exactly one place. The driver must be dead or idle. */
void rig_census(struct rig *r);
/* Waits up to a second until the driver has completed everything. */
void rig_drained(struct rig *r);

/* The kernel's end. */
void rig_inject(struct rig *r, const struct virtio_net_hdr *h, const void *frame, uint32_t len);
/* Up to `ms`; length or 0. */
uint32_t rig_collect(struct rig *r, struct virtio_net_hdr *h, void *frame, uint32_t size, int ms);
/* A frame with Ethernet header and number. */
void rig_numbered(uint8_t *frame, uint32_t number, uint32_t len);
uint32_t rig_number(const uint8_t *frame);
uint64_t rig_now_ms(void);
