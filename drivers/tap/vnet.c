#include "drivers/tap/vnet.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define ETHERNET_HEADER 14u
#define TCP_HEADER_MIN  20u
#define UDP_HEADER      8u

static uint8_t gso_from_vnet(uint8_t type)
{
	switch (type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return GSO_TCPV4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return GSO_TCPV6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return GSO_UDP;
	default:
		return GSO_NONE;
	}
}

/*
 * The kernel's hdr_len is a hint (it may be the whole linear part); the region's is exact, so it is
 * computed from where the transport header starts.
 */
static uint32_t gso_hdr_len(const uint8_t *head, uint32_t head_len, uint8_t type, uint32_t start)
{
	uint32_t len;

	if (type == GSO_UDP)
		return start + UDP_HEADER;
	if (start + TCP_HEADER_MIN > head_len)
		return UINT32_MAX;
	len = (uint32_t)(head[start + 12] >> 4) * 4;
	return len < TCP_HEADER_MIN ? UINT32_MAX : start + len;
}

bool vnet_to_desc(const struct virtio_net_hdr *h, const uint8_t *head, uint32_t head_len,
    struct dev_desc *d)
{
	uint32_t hdr_len;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (h->csum_start < ETHERNET_HEADER ||
		    (uint32_t)h->csum_start + h->csum_offset + 2 > head_len)
			return false;
		d->flags |= DESC_CSUM_NEEDED;
		d->csum_start = h->csum_start;
		d->csum_offset = h->csum_offset;
	} else if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		d->flags |= DESC_CSUM_VALID;
	}
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	d->gso_type = gso_from_vnet(h->gso_type);
	if (d->gso_type == GSO_NONE || !h->gso_size || !(d->flags & DESC_CSUM_NEEDED))
		return false;
	hdr_len = gso_hdr_len(head, head_len, d->gso_type, h->csum_start);
	if (hdr_len > head_len)
		return false;
	d->gso_size = h->gso_size;
	d->hdr_len = (uint16_t)hdr_len;
	return true;
}

static uint8_t gso_to_vnet(uint8_t type)
{
	switch (type) {
	case GSO_TCPV4:
		return VIRTIO_NET_HDR_GSO_TCPV4;
	case GSO_TCPV6:
		return VIRTIO_NET_HDR_GSO_TCPV6;
	case GSO_UDP:
		return VIRTIO_NET_HDR_GSO_UDP_L4;
	default:
		return VIRTIO_NET_HDR_GSO_NONE;
	}
}

bool vnet_from_desc(const struct dev_desc *d, uint32_t total, struct virtio_net_hdr *h)
{
	*h = (struct virtio_net_hdr){0};
	if (total < ETHERNET_HEADER)
		return false;
	if (d->flags & DESC_CSUM_NEEDED) {
		if (d->csum_start < ETHERNET_HEADER ||
		    (uint32_t)d->csum_start + d->csum_offset + 2 > d->len)
			return false;
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = d->csum_start;
		h->csum_offset = d->csum_offset;
	} else if (d->flags & DESC_CSUM_VALID) {
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (d->gso_type == GSO_NONE)
		return true;
	h->gso_type = gso_to_vnet(d->gso_type);
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE || !d->gso_size ||
	    !(d->flags & DESC_CSUM_NEEDED) || d->hdr_len > d->len ||
	    d->hdr_len < d->csum_start + UDP_HEADER)
		return false;
	h->gso_size = d->gso_size;
	h->hdr_len = d->hdr_len;
	return true;
}
