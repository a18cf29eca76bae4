/* Parsing and emitting the Ethernet header. */
#include "wire/ether.h"
#include "proto/endian.h"
#include <errno.h>

struct ethernet_wire {
	uint8_t dst[6], src[6];
	be16 type;
};
_Static_assert(sizeof(struct ethernet_wire) == ETHERNET_LEN, "layout");

int ethernet_parse(struct ethernet_header *h, const uint8_t *buf, size_t len)
{
	struct ethernet_wire w;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	memcpy(h->dst, w.dst, sizeof(h->dst));
	memcpy(h->src, w.src, sizeof(h->src));
	h->type = be16_get(w.type);
	return 0;
}

int ethernet_emit(const struct ethernet_header *h, uint8_t *buf, size_t len)
{
	struct ethernet_wire w;

	if (len < sizeof(w))
		return -ENOSPC;
	memcpy(w.dst, h->dst, sizeof(w.dst));
	memcpy(w.src, h->src, sizeof(w.src));
	w.type = be16_make(h->type);
	memcpy(buf, &w, sizeof(w));
	return sizeof(w);
}
