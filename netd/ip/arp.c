/*
 * ARP.
 *
 * What a message may change. An existing entry learns from whatever it hears (RFC 826's merge); a
 * new entry is made only for somebody who asked for one of our addresses, because we shall answer
 * him and he is likely to be talked to. A changed MAC is believed from an announcement, or when the
 * entry is older than LOCK_TIME: of several answers to one question the first one wins, as in the
 * kernel.
 */
#include "ip/arp.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "ip/addr.h"
#include "ip/ip.h"
#include "state/stack.h"
#include "wire/arp.h"
#include "wire/ether.h"

#define LOCK_TIME NSEC_PER_SEC
#define PADDED	  (ETHERNET_MIN - ETHERNET_LEN) /* the shortest payload that Ethernet knows */

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send(struct stack *s, uint32_t dev, const struct arp_header *h, const uint8_t dst[6])
{
	uint8_t buf[PADDED] = {0};
	struct packet p;

	if (packet_alloc(s, &p, dev, sizeof(buf)) < 0)
		return;
	arp_emit(h, buf, sizeof(buf));
	packet_write(&p, 0, buf, sizeof(buf));
	ether_output(s, &p, dst, ETHER_ARP);
}

/* An answer for an address goes out only where the address is. */
static bool is_ours_here(const struct stack *s, uint32_t dev, uint32_t v4)
{
	struct ipaddr addr = ipaddr_v4(v4);
	const struct addr_rec *a;

	if (!v4 || !ip_is_local(s, &addr))
		return false;
	for (uint32_t i = addr_next(s, 0, &a); i != NO_INDEX; i = addr_next(s, i + 1, &a))
		if (a->dev == dev && ipaddr_eq(&a->addr, &addr))
			return true;
	return false;
}

static bool is_unicast(uint32_t v4)
{
	return v4 && v4 >> 28 < 14 && v4 >> 24 != 127;
}

static void reply(
    struct stack *s, uint32_t dev, const struct device_rec *d, const struct arp_header *to)
{
	struct arp_header h = {.op = ARP_REPLY, .sender = to->target, .target = to->sender};

	memcpy(h.sender_mac, d->mac, 6);
	memcpy(h.target_mac, to->sender_mac, 6);
	send(s, dev, &h, to->sender_mac);
}

static bool lock_is_over(const struct stack *s, uint32_t dev, const struct ipaddr *sender)
{
	uint32_t i = neigh_find(s, dev, sender);
	const struct neigh_rec *r = i == NO_INDEX ? NULL : state_peek(s->state, KIND_NEIGH, i);

	return !r || s->now - r->updated_ns >= LOCK_TIME;
}

static void learn(struct stack *s, uint32_t dev, const struct arp_header *h, bool for_us)
{
	struct ipaddr sender = ipaddr_v4(h->sender);
	bool announcement = h->sender == h->target;
	bool override = announcement || lock_is_over(s, dev, &sender);

	neigh_update(s, dev, &sender, h->sender_mac, h->op == ARP_REPLY && for_us, override,
	    h->op == ARP_REQUEST && for_us);
}

void arp_input(struct stack *s, struct packet *p, const uint8_t src[6])
{
	const struct device_rec *d = device_peek(s, p->dev);
	uint8_t buf[ARP_LEN];
	struct arp_header h;
	bool for_us;

	(void)src;
	s->count.arp_in++;
	if (!d || d->is_lo || !packet_header(p, buf, sizeof(buf)) ||
	    arp_parse(&h, buf, sizeof(buf)) < 0 || (h.op != ARP_REQUEST && h.op != ARP_REPLY) ||
	    ethernet_is_multicast(h.sender_mac))
		return;
	for_us = is_ours_here(s, p->dev, h.target);
	if (is_ours_here(s, p->dev, h.sender)) {
		if (memcmp(h.sender_mac, d->mac, 6) != 0)
			log_debug("device %s: somebody else uses our address", d->name);
		return;
	}
	/* A probe (RFC 5227, 2.1.1) has no sender yet: there is nothing to learn, but it is
	 * answered. */
	if (is_unicast(h.sender))
		learn(s, p->dev, &h, for_us);
	else if (h.sender)
		return;
	if (h.op == ARP_REQUEST && for_us)
		reply(s, p->dev, d, &h);
}

void arp_solicit(struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac)
{
	const struct device_rec *d = device_peek(s, dev);
	struct arp_header h = {.op = ARP_REQUEST, .target = ipaddr_to_v4(target)};
	struct ipaddr source;

	if (!d || !ipaddr_is_v4(target) || !addr_select(s, dev, target, &source))
		return;
	h.sender = ipaddr_to_v4(&source);
	memcpy(h.sender_mac, d->mac, 6);
	send(s, dev, &h, mac ? mac : broadcast);
}

void arp_announce(struct stack *s, uint32_t dev, const struct ipaddr *addr)
{
	const struct device_rec *d = device_peek(s, dev);
	struct arp_header h = {
	    .op = ARP_REQUEST, .sender = ipaddr_to_v4(addr), .target = ipaddr_to_v4(addr)};

	if (!d || d->is_lo || !ipaddr_is_v4(addr))
		return;
	memcpy(h.sender_mac, d->mac, 6);
	send(s, dev, &h, broadcast);
}
