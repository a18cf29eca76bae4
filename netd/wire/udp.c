/* Parsing and emitting the UDP header. */
#include "wire/udp.h"
#include "proto/endian.h"
#include <errno.h>

struct udp_wire {
	be16 src, dst, len, checksum;
};
_Static_assert(sizeof(struct udp_wire) == UDP_LEN, "layout");

int udp_parse(struct udp_header *h, const uint8_t *buf, size_t len)
{
	struct udp_wire w;

	if (len < sizeof(w))
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	*h = (struct udp_header){
	    be16_get(w.src), be16_get(w.dst), be16_get(w.len), be16_get(w.checksum)};
	return h->len < UDP_LEN ? -EBADMSG : 0;
}

int udp_emit(const struct udp_header *h, uint8_t *buf, size_t len)
{
	struct udp_wire w = {
	    be16_make(h->src), be16_make(h->dst), be16_make(h->len), be16_make(h->checksum)};

	if (len < sizeof(w))
		return -ENOSPC;
	memcpy(buf, &w, sizeof(w));
	return sizeof(w);
}
