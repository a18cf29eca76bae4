/* The TAP driver's own state. */
#pragma once
#include "drivers/runtime/driver.h"
#include <linux/virtio_net.h>
#include <sys/uio.h>

/* Fill entries looked at in advance; at least one largest frame in the smallest chunks. */
#define TAP_WINDOW 128

struct tap {
	int fd;
	bool write_blocked; /* the kernel takes no more: wait until it is writable */
	bool starved;       /* no fill entry: wait for netd-inet */
	uint32_t frame_max; /* longest frame that the kernel can hand us */
	/*
	 * The next fill entries, checked, as iovecs. iov[first] is entry `queue.rx`; the slot before
	 * it takes the virtio header's iovec at each read, the one behind the last takes `spill`.
	 */
	unsigned first, have;
	struct iovec iov[TAP_WINDOW + 2];
	uint64_t chunk[TAP_WINDOW + 2];
	struct virtio_net_hdr hdr;
	struct dev_desc desc[QUEUE_CHAIN_MAX];
	uint8_t spill[REGION_FRAME_MAX + 1]; /* what found no room: such a frame is dropped */
};

/* open.c: the descriptor; its offloads. 0 or a negative errno. */
int tap_open(struct driver *d);
void tap_close(struct driver *d);

/* io.c */
int tap_receive(struct driver *d, unsigned budget);
int tap_transmit(struct driver *d, unsigned budget);
int tap_wants(struct driver *d);

/* netif.c: the kernel's end of the link. Everything can be done again without harm. 0 or a negative errno, logged. */
int netif_set_up(const Netd__Component__DriverConfig *c);
int netif_mac(const char *ifname, uint8_t mac[6]);
