/*
 * The neighbour table: RFC 4861's states (also used for ARP, as RFC 826 has none), NUD after the
 * kernel's example: INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED. Packets wait in the record
 * while resolving, so they survive a restart.
 */
#pragma once
#include "device/packet.h"
#include "proto/endpoint.h"

struct stack;

enum neigh_state {
	NEIGH_INCOMPLETE = 1,
	NEIGH_REACHABLE,
	NEIGH_STALE,
	NEIGH_DELAY,
	NEIGH_PROBE,
	NEIGH_FAILED,
	NEIGH_PERMANENT,
};

#define NEIGH_QUEUE 3

struct neigh_rec {
	struct ipaddr addr;
	uint32_t dev;
	uint8_t mac[6];
	uint8_t state; /* enum neigh_state */
	uint8_t probes; /* sent in this state */
	uint64_t updated_ns;   /* of the last state change */
	uint64_t confirmed_ns; /* of the last proof of reachability */
	uint64_t used_ns;
	uint64_t deadline_ns;  /* of the state's timer, UINT64_MAX for none */
	uint32_t queued;
	uint32_t pad;
	struct packet_ref queue[NEIGH_QUEUE];
};

int neigh_reindex(struct stack *s);
/* kind's expired() for KIND_NEIGH */
void neigh_expired(struct stack *s, uint32_t index);
/* Sends an IP packet (front at the IP header) to this next hop on p->dev; resolves first if it must. Takes the packet. 0, -ENOBUFS, -EHOSTUNREACH. */
int neigh_output(struct stack *s, struct packet *p, const struct ipaddr *next_hop);
/* Puts an Ethernet header before the front and sends. Takes the packet. */
int ether_output(struct stack *s, struct packet *p, const uint8_t dst[6], uint16_t ethertype);
/* News from ARP. `solicited`: an answer to us; `override`: may change a known address; `create`: make an entry if there is none. */
void neigh_update(struct stack *s, uint32_t dev, const struct ipaddr *addr, const uint8_t mac[6], bool solicited, bool override, bool create);
/* Upper layers saw forward progress (an acknowledgement): RFC 4861, 7.3.1. Cheap; writes the record at most once a second. */
void neigh_confirm(struct stack *s, uint32_t dev, const struct ipaddr *addr);
/* Administration. mac NULL: delete. 0, -ENOENT, -ENOSPC. */
int neigh_set(struct stack *s, uint32_t dev, const struct ipaddr *addr, const uint8_t *mac);
uint32_t neigh_find(const struct stack *s, uint32_t dev, const struct ipaddr *addr);
