/* Parsing and emitting the ICMP header. */
#include "wire/icmp.h"
#include "proto/endian.h"
#include <errno.h>

struct icmp_wire {
	uint8_t type, code;
	be16 checksum, id, seq;
};
_Static_assert(sizeof(struct icmp_wire) == ICMP_LEN, "layout");

int icmp_parse(struct icmp_header *h, const uint8_t *buf, size_t len)
{
	struct icmp_wire w;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	*h = (struct icmp_header){.type = w.type,
	    .code = w.code,
	    .checksum = be16_get(w.checksum),
	    .id = be16_get(w.id),
	    .seq = be16_get(w.seq)};
	return 0;
}

int icmp_emit(const struct icmp_header *h, uint8_t *buf, size_t len)
{
	struct icmp_wire w = {
	    h->type, h->code, be16_make(h->checksum), be16_make(h->id), be16_make(h->seq)};

	if (len < sizeof(w))
		return -ENOSPC;
	memcpy(buf, &w, sizeof(w));
	return sizeof(w);
}
