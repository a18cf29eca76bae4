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
	bool starved;       /* too few fill entries: wait for netd-inet */
	uint64_t short_since_ns; /* since when they are fewer than the largest frame takes; 0: they are not */
	bool recovered;     /* the predecessor's last frame was looked for */
	uint32_t frame_max; /* longest frame that the kernel can hand us */
	/*
	 * The next fill entries, checked, as iovecs. iov[first] is entry `queue.rx`; the slot before
	 * it takes the virtio header's iovec at each read, the one behind the last takes `spill`.
	 */
	unsigned first, have;
	struct iovec iov[TAP_WINDOW + 2];
	uint64_t chunk[TAP_WINDOW + 2];
	uint8_t *mapped; /* bit map of the chunks whose pages this process has touched */
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

/*
 * recover.c: the frame that a predecessor had taken from the kernel and not published. Intend: the next
 * read goes to the first `offered` fill entries at queue.rx. Forget: what was read is not to be found.
 * Find: the number of entries that the frame was read into, 0 if there is none.
 */
void recover_intend(struct queue *q, uint32_t offered);
void recover_forget(struct queue *q);
uint32_t recover_find(const struct queue *q);
/* Length of the frame that begins at `head`, by its own account; 0 if it gives none. `size` bytes may be looked at. */
uint32_t recover_length(const uint8_t *head, uint32_t size);

/* netif.c: the kernel's end of the link. Everything can be done again without harm. 0 or a negative errno, logged. */
int netif_set_up(const Netd__Component__DriverConfig *c);
int netif_mac(const char *ifname, uint8_t mac[6]);
