/* The Ethernet header, IEEE 802.3. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ETHERNET_LEN	 14
#define ETHERNET_ADDR	 6
#define ETHERNET_MIN	 60 /* shortest frame without its check sequence */
#define ETHER_IPV4	 0x0800
#define ETHER_ARP	 0x0806
#define ETHER_VLAN	 0x8100
#define ETHER_IPV6	 0x86dd
#define ETHER_TYPE_FIRST 0x0600 /* below it: a length, IEEE 802.2 */

struct ethernet_header {
	uint8_t dst[ETHERNET_ADDR], src[ETHERNET_ADDR];
	uint16_t type;
};

/* 0, or -EBADMSG if fewer than ETHERNET_LEN bytes. */
int ethernet_parse(struct ethernet_header *h, const uint8_t *buf, size_t len);
/* ETHERNET_LEN, or -ENOSPC. */
int ethernet_emit(const struct ethernet_header *h, uint8_t *buf, size_t len);

static inline bool ethernet_is_multicast(const uint8_t mac[6])
{
	return mac[0] & 1; /* broadcast included */
}

static inline bool ethernet_is_broadcast(const uint8_t mac[6])
{
	return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}
