/*
 * ip_output and ip_fragment: the way out.
 *
 * Identification (RFC 6864). Packets that may be fragmented, on the way or here, need an id that is
 * not used again for the same source, destination and protocol while fragments may live. The
 * counter is reserved in strides in the world's record, so that a successor goes on beyond what was
 * used; a keyed hash of the flow is added so that the counter cannot be read from outside. Packets
 * that may not be fragmented carry 0.
 *
 * Super-frames (TSO, USO) pass whole: the driver cuts them.
 */
#include "ip/layer.h"
#include "ip/group.h"
#include "ip/hook.h"
#include "ip/option.h"
#include "base/siphash.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "wire/checksum.h"
#include "wire/ipopt.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <string.h>

#define ID_STRIDE      4096
#define TTL_DEFAULT    64
#define ETHERTYPE_IPV4 0x0800

uint32_t ip_pseudo_sum(
    const struct ipaddr *src, const struct ipaddr *dst, uint8_t proto, uint32_t len)
{
	uint64_t sum = (uint64_t)len + proto;

	if (ipaddr_is_v4(src) && ipaddr_is_v4(dst))
		return csum_fold(sum + ipaddr_to_v4(src) + ipaddr_to_v4(dst));
	return csum(src, sizeof(*src), csum(dst, sizeof(*dst), csum_fold(sum)));
}

uint16_t ip_next_id(struct stack *s, const struct ip_send *how, uint32_t n)
{
	struct ip_layer *ip = ip_of(s);
	struct {
		struct ipaddr src, dst;
		uint8_t proto[8];
	} flow = {how->src, how->dst, {how->proto}};
	uint32_t id;

	n = min_of(n, (uint32_t)ID_STRIDE);
	if (ip->id_end - ip->id_next < n) {
		struct world_rec *w = world_get(s);

		ip->id_next = w->ip_id;
		w->ip_id += ID_STRIDE;
		ip->id_end = w->ip_id;
	}
	id = ip->id_next;
	ip->id_next += n;
	return (uint16_t)(id + siphash(&world_peek(s)->hash_key, &flow, sizeof(flow)));
}

static uint32_t header_len(const struct ip_send *how)
{
	return IPV4_LEN + (how->options ? how->options->len : 0u);
}

/* Puts the header before the front. */
static int push_header(struct stack *s, struct packet *p, const struct ip_send *how, uint16_t id,
    uint32_t off, bool more)
{
	struct ipv4_header h = {
	    .tos = how->tos,
	    .ttl = how->ttl || how->zero_ttl ? how->ttl : TTL_DEFAULT,
	    .proto = how->proto,
	    .total_len = (uint16_t)(p->len + header_len(how)),
	    .id = id,
	    .dont_fragment = how->dont_fragment,
	    .more_fragments = more,
	    .frag_off = off,
	    .src = ipaddr_to_v4(&how->src),
	    .dst = ipaddr_to_v4(&how->dst),
	};
	uint32_t len = header_len(how);
	uint8_t *front;

	ip_options_build(s, how, off > 0, &h);
	front = packet_push(p, len);
	if (!front)
		return -ENOBUFS;
	return ipv4_emit(&h, front, len) < 0 ? -ENOBUFS : 0;
}

/* RFC 1112, 6.4. */
static void group_mac(const struct ipaddr *dst, bool broadcast, uint8_t mac[6])
{
	if (broadcast) {
		memset(mac, 0xff, 6);
		return;
	}
	mac[0] = 0x01;
	mac[1] = 0x00;
	mac[2] = 0x5e;
	mac[3] = dst->b[13] & 0x7f;
	mac[4] = dst->b[14];
	mac[5] = dst->b[15];
}

/* ip_finish_output: to the neighbour, the group, or ourselves. Takes the packet, its front at the
 * IP header. */
static int transmit(
    struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how)
{
	uint8_t mac[6];

	s->count.ip_out++;
	if (p->dev == DEVICE_LO)
		return device_output(s, p);
	if (how->zero_ttl && !how->ttl) { /* RFC 1112, 6.1 */
		packet_free(s, p);
		return 0;
	}
	if (r->broadcast || ip_is_multicast(&how->dst)) {
		group_mac(&how->dst, r->broadcast, mac);
		return ether_output(s, p, mac, ETHERTYPE_IPV4);
	}
	return neigh_output(s, p, &r->next_hop);
}

/* The packet's bytes from `off` in a packet of their own, front at the transport's bytes. */
static int copy_out(struct stack *s, struct packet *to, uint32_t dev, const struct packet *p,
    uint32_t off, uint32_t len)
{
	int ret = packet_alloc(s, to, dev, len);
	uint32_t at = 0;

	if (ret)
		return ret;
	for (uint16_t i = 0; i < to->segs; i++) {
		if (!packet_read(p, off + at, to->seg[i].data, to->seg[i].len)) {
			packet_free(s, to);
			return -ENOBUFS;
		}
		at += to->seg[i].len;
	}
	return 0;
}

/* What the device would have filled in, for a packet that it will not see whole. */
static void complete_checksum(struct packet *p)
{
	uint16_t c;
	uint8_t at[2];

	if (!(p->flags & DESC_CSUM_NEEDED))
		return;
	p->flags &= (uint16_t)~DESC_CSUM_NEEDED;
	c = csum_finish_udp(packet_sum(p, 0, p->len, 0));
	at[0] = (uint8_t)(c >> 8);
	at[1] = (uint8_t)c;
	packet_write(p, p->csum_offset, at, 2);
}

/* RFC 791, 3.2. The front is at the IP header, which says that the packet is whole: it is made
 * anew. */
static int fragment(
    struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how)
{
	uint32_t room = (r->mtu - header_len(how)) & ~7u;
	uint16_t id = ip_next_id(s, how, 1);
	int ret = packet_pull(p, header_len(how)) ? 0 : -ENOBUFS;

	complete_checksum(p);
	for (uint32_t off = 0; off < p->len && !ret; off += room) {
		uint32_t len = min_of(room, p->len - off);
		struct packet part;

		ret = copy_out(s, &part, r->dev, p, off, len);
		if (ret)
			break;
		ret = push_header(s, &part, how, id, off, off + len < p->len);
		if (ret) {
			packet_free(s, &part);
			break;
		}
		s->count.ip_frag_out++;
		ret = transmit(s, &part, r, how);
	}
	packet_free(s, p);
	return ret;
}

/* What goes to all, or to a group with listeners here, is heard on this host too. */
static bool heard_here(const struct stack *s, const struct route *r, const struct ip_send *how)
{
	if (r->dev == DEVICE_LO)
		return false; /* all that it carries is */
	return r->broadcast ||
	       (ip_is_multicast(&how->dst) && !how->no_loop && group_heard(s, r->dev, &how->dst));
}

/* The front is at the IP header. */
static void loop_back(struct stack *s, const struct packet *p, const struct route *r)
{
	struct packet copy;

	if (copy_out(s, &copy, DEVICE_LO, p, 0, p->len))
		return;
	copy.via = r->broadcast ? 0 : r->dev;
	copy.gso_type = p->gso_type;
	copy.gso_size = p->gso_size;
	copy.flags |= DESC_CSUM_VALID;
	device_output(s, &copy);
}

static int refuse(struct stack *s, struct packet *p, int err)
{
	packet_free(s, p);
	return err;
}

/* Hooks, and our own ears. The front is at the IP header. An error has cost the packet. */
static int leave(
    struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how)
{
	if (ip_hook_run(IP_HOOK_LOCAL_OUT, s, p, r->dev) != IP_ACCEPT ||
	    ip_hook_run(IP_HOOK_POST_ROUTING, s, p, r->dev) != IP_ACCEPT)
		return refuse(s, p, -EPERM);
	if (heard_here(s, r, how))
		loop_back(s, p, r);
	return 0;
}

int ip_output(struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how)
{
	uint32_t total = p->len + header_len(how), segments = 1;
	bool whole = total <= r->mtu || p->gso_type != GSO_NONE;
	int ret;

	if (p->dev != r->dev || total > UINT16_MAX || r->mtu < header_len(how) + 8 ||
	    (!whole && how->dont_fragment))
		return refuse(s, p, -EMSGSIZE);
	if (p->gso_size)
		segments = (p->len + p->gso_size - 1) / p->gso_size;
	ret =
	    push_header(s, p, how, how->dont_fragment ? 0 : ip_next_id(s, how, segments), 0, false);
	if (ret)
		return refuse(s, p, ret);
	ret = leave(s, p, r, how);
	if (ret)
		return ret;
	return whole ? transmit(s, p, r, how) : fragment(s, p, r, how);
}

int ip_output_header(struct stack *s, struct packet *p, const struct route *r, const struct ip_send *how)
{
	int ret;

	if (p->dev != r->dev || p->len > r->mtu)
		return refuse(s, p, -EMSGSIZE);
	ret = leave(s, p, r, how);
	return ret ? ret : transmit(s, p, r, how);
}
