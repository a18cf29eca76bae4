/*
 * Offload facts: virtio_net_hdr (what the kernel's TAP speaks) to and from a frame's first descriptor.
 * Both directions check every value against the frame; what does not fit is refused.
 */
#pragma once
#include "proto/region.h"
#include <linux/virtio_net.h>

/*
 * Frame from the kernel: `head` is its first chunk's data, of `head_len` bytes. Fills the offload fields
 * of `d`. False if the header contradicts the frame.
 */
bool vnet_to_desc(const struct virtio_net_hdr *h, const uint8_t *head, uint32_t head_len,
    struct dev_desc *d);
/* Frame to the kernel of `total` bytes. False if the descriptor contradicts itself. */
bool vnet_from_desc(const struct dev_desc *d, uint32_t total, struct virtio_net_hdr *h);
