/*
 * The frame in the dead driver's hands.
 *
 * Theory of operation. A SIGKILL that falls into readv takes effect when the call is over: the kernel has
 * taken the frame from the TAP's queue and copied it into the chunks, but nobody lives to publish it.
 * Lost, it would cost its sender a retransmission timeout, 200 ms for the kernel's TCP, where the
 * restart itself takes a few. So the successor publishes it.
 *
 * Everything it must know stands in the region (region.h). The kernel writes the virtio header first, to
 * rx_header, where an impossible value stood: if that is gone, a frame came, whole. Its chunks are those
 * of the fill entries at receive.prod, in order. Its length was readv's result and died with the
 * driver, so it is taken from the frame: IPv4, IPv6 and ARP say it; others are given up and counted.
 *
 * Why no frame is published twice: publication moves receive.prod away from rx_position, and the next
 * read puts the impossible value back before it moves rx_position after it. Between the two stores
 * there is nothing to be found. A frame that was dropped rather than published (no room, a header that
 * contradicts it) may be found once more, and is dropped once more for the same reason; hence the number
 * of offered entries, which may have grown since.
 *
 * A fatal signal can cut the copy short in one place only: where a page of the region has to be mapped
 * first. io.c therefore touches every chunk's pages before the kernel writes there for the first time.
 */
#include "drivers/tap/tap.h"
#include "proto/endian.h"
#include <linux/if_ether.h>

#define ETHERNET_HEADER 14u
#define VLAN_TAGS_MAX   2
#define ARP_PACKET      28u /* IPv4 over Ethernet */
#define IPV4_HEADER_MIN 20u
#define IPV6_HEADER     40u
#define IPV6_HOP_BY_HOP 0 /* may hold a jumbo payload's length */

void recover_intend(struct queue *q, uint32_t offered)
{
	struct region *r = q->region;

	store_once(&r->rx_header[0], REGION_NO_HEADER);
	store_release(&r->rx_offered, offered);
	store_release(&r->rx_position, q->rx);
}

void recover_forget(struct queue *q)
{
	store_release(&q->region->rx_header[0], REGION_NO_HEADER);
}

uint32_t recover_find(const struct queue *q)
{
	const struct region *r = q->region;
	uint32_t offered = load_once(&r->rx_offered);

	if (load_once(&r->rx_position) != q->rx || load_once(&r->rx_header[0]) == REGION_NO_HEADER)
		return 0;
	return offered <= QUEUE_CHAIN_MAX ? offered : 0;
}

static uint32_t ip_length(const uint8_t *ip, uint32_t size, uint32_t type)
{
	uint32_t len;

	if (type == ETH_P_IP && size >= IPV4_HEADER_MIN && ip[0] >> 4 == 4) {
		len = be16_at(ip + 2);
		return len >= IPV4_HEADER_MIN ? len : 0;
	}
	if (type == ETH_P_IPV6 && size >= IPV6_HEADER && ip[0] >> 4 == 6) {
		len = be16_at(ip + 4);
		return len || ip[6] != IPV6_HOP_BY_HOP ? len + IPV6_HEADER : 0;
	}
	return type == ETH_P_ARP ? ARP_PACKET : 0;
}

uint32_t recover_length(const uint8_t *head, uint32_t size)
{
	uint32_t off = ETHERNET_HEADER, len;

	for (int tags = 0; off <= size; tags++, off += 4) {
		uint32_t type = be16_at(head + off - 2);

		if (tags < VLAN_TAGS_MAX && (type == ETH_P_8021Q || type == ETH_P_8021AD))
			continue;
		len = ip_length(head + off, size - off, type);
		return len ? off + len : 0;
	}
	return 0;
}
