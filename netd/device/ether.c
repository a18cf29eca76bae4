/* Ethernet: the header before a packet, the filter and the ethertype table behind it. */
#include "device/layer.h"
#include "state/switchboard.h"
#include "wire/ether.h"

void ethertype_input(struct stack *s, struct packet *p, uint16_t type, const uint8_t src[6])
{
	for (unsigned i = 0; i < s->board->n_ethertypes; i++)
		if (s->board->ethertypes[i].type == type) {
			s->board->ethertypes[i].input(s, p, src);
			return;
		}
}

void device_taps(struct stack *s, bool on)
{
	s->device->tapped = on;
}

void tap(struct stack *s, const struct packet *p, bool outgoing)
{
	if (s->device->tapped && s->board->tap)
		s->board->tap(s, p, outgoing);
}

/* Is the frame for us? Of multicast all is taken: IP looks closer. */
static bool is_ours(const struct device_rec *r, const struct ethernet_header *h)
{
	if (ethernet_is_multicast(h->src))
		return false;
	return ethernet_is_multicast(h->dst) || !memcmp(h->dst, r->mac, ETHERNET_ADDR);
}

void ether_input(struct stack *s, struct packet *p)
{
	const struct device_rec *r = device_peek(s, p->dev);
	uint8_t head[ETHERNET_LEN];
	struct ethernet_header h;

	if (!r || !packet_header(p, head, sizeof(head)) ||
	    ethernet_parse(&h, head, sizeof(head)) < 0) {
		s->count.bad_frame++;
		return;
	}
	tap(s, p, false);
	if (!is_ours(r, &h) || h.type < ETHER_TYPE_FIRST)
		return;
	packet_pull(p, ETHERNET_LEN);
	ethertype_input(s, p, h.type, h.src);
}

int ether_output(struct stack *s, struct packet *p, const uint8_t dst[6], uint16_t ethertype)
{
	const struct device_rec *r = device_peek(s, p->dev);
	struct ethernet_header h = {.type = ethertype};
	uint8_t *at;

	if (p->dev == DEVICE_LO)
		return device_output(s, p);
	at = r ? packet_push(p, ETHERNET_LEN) : NULL;
	if (!at) {
		packet_free(s, p);
		return r ? -ENOBUFS : -ENETDOWN;
	}
	memcpy(h.dst, dst, sizeof(h.dst));
	memcpy(h.src, r->mac, sizeof(h.src));
	ethernet_emit(&h, at, ETHERNET_LEN);
	return device_output(s, p);
}
