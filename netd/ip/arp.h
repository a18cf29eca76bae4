/* ARP, RFC 826, with the probes and announcements of RFC 5227. Feeds the neighbour table
 * (device/neigh.h). */
#pragma once
#include "device/packet.h"
#include "proto/endpoint.h"

/* Row of the ethertype table. */
void arp_input(struct stack *s, struct packet *p, const uint8_t src[6]);
/* The switchboard's neigh_solicit: a request for `target` by broadcast, or to `mac`. */
void arp_solicit(struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac);
/* Announces an address of ours on this device (a gratuitous request). */
void arp_announce(struct stack *s, uint32_t dev, const struct ipaddr *addr);
