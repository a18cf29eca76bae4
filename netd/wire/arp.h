/* ARP for IPv4 over Ethernet, RFC 826. Addresses in host order. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ARP_LEN	    28
#define ARP_REQUEST 1
#define ARP_REPLY   2

struct arp_header {
	uint16_t op;
	uint8_t sender_mac[6], target_mac[6];
	uint32_t sender, target;
};

/* 0, or -EBADMSG if too short or not IPv4 over Ethernet. */
int arp_parse(struct arp_header *h, const uint8_t *buf, size_t len);
/* ARP_LEN, or -ENOSPC. */
int arp_emit(const struct arp_header *h, uint8_t *buf, size_t len);
