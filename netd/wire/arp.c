/* Parsing and emitting ARP. */
#include "wire/arp.h"
#include "proto/endian.h"
#include <errno.h>

#define HARDWARE_ETHERNET 1
#define PROTOCOL_IPV4	  0x0800

struct arp_wire {
	be16 hardware, protocol;
	uint8_t hardware_len, protocol_len;
	be16 op;
	uint8_t sender_mac[6];
	be32 sender;
	uint8_t target_mac[6];
	be32 target;
};
_Static_assert(sizeof(struct arp_wire) == ARP_LEN, "layout");

int arp_parse(struct arp_header *h, const uint8_t *buf, size_t len)
{
	struct arp_wire w;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	if (be16_get(w.hardware) != HARDWARE_ETHERNET || be16_get(w.protocol) != PROTOCOL_IPV4 ||
	    w.hardware_len != 6 || w.protocol_len != 4)
		return -EBADMSG;
	h->op = be16_get(w.op);
	memcpy(h->sender_mac, w.sender_mac, 6);
	memcpy(h->target_mac, w.target_mac, 6);
	h->sender = be32_get(w.sender);
	h->target = be32_get(w.target);
	return 0;
}

int arp_emit(const struct arp_header *h, uint8_t *buf, size_t len)
{
	struct arp_wire w = {
	    .hardware = be16_make(HARDWARE_ETHERNET),
	    .protocol = be16_make(PROTOCOL_IPV4),
	    .hardware_len = 6,
	    .protocol_len = 4,
	    .op = be16_make(h->op),
	    .sender = be32_make(h->sender),
	    .target = be32_make(h->target),
	};

	if (len < sizeof(w))
		return -ENOSPC;
	memcpy(w.sender_mac, h->sender_mac, 6);
	memcpy(w.target_mac, h->target_mac, 6);
	memcpy(buf, &w, sizeof(w));
	return sizeof(w);
}
