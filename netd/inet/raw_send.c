/*
 * raw_sendmsg, raw_send_hdrinc: packets from a raw socket.
 *
 * Without IP_HDRINCL the client's bytes are what follows the IP header. With it they begin with
 * one, of which four fields are ours as they are the kernel's: total length and checksum always,
 * source and identification where they are zero. Such a packet goes where the call says, whatever
 * its own destination is, and is not fragmented.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "inet/raw.h"
#include "wire/checksum.h"
#include "wire/ipopt.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <netinet/in.h>

#define ID_AT	  4
#define TOTAL_AT  2
#define CSUM_AT	  10
#define SOURCE_AT 12

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* The header at the packet's front, as the client wrote it, completed. */
static int complete_header(struct stack *s, struct packet *p, const struct ip_send *how)
{
	uint8_t *h = p->seg[0].data;
	uint32_t len, src = ipaddr_to_v4(&how->src);

	if (p->len < IPV4_LEN || p->seg[0].len < IPV4_LEN)
		return -EINVAL;
	len = (h[0] & 0xfu) * 4;
	if (len < IPV4_LEN || len > p->len || len > p->seg[0].len)
		return -EINVAL;
	if (!(h[SOURCE_AT] | h[SOURCE_AT + 1] | h[SOURCE_AT + 2] | h[SOURCE_AT + 3])) {
		put16(h + SOURCE_AT, src >> 16);
		put16(h + SOURCE_AT + 2, src);
	}
	if (!(h[ID_AT] | h[ID_AT + 1]))
		put16(h + ID_AT, ip_next_id(s, how, 1));
	put16(h + TOTAL_AT, p->len);
	put16(h + CSUM_AT, 0);
	put16(h + CSUM_AT, csum_finish(csum(h, len, 0)));
	return 0;
}

static int send_whole(struct stack *s, uint32_t sk, struct route *r, const struct ip_send *how,
    const struct mailbox_job *j)
{
	struct packet p;
	int ret = mailbox_packet(s, sk, j, r->dev, 0, &p);

	if (ret)
		return ret;
	ret = complete_header(s, &p, how);
	if (ret) {
		packet_free(s, &p);
		return ret;
	}
	ret = ip_output_header(s, &p, r, how);
	return ret == -ENOBUFS ? 0 : ret;
}

static int raw_send(struct stack *s, uint32_t sk, const struct mailbox_job *j)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct raw_rec *raw = raw_peek(s, k);
	struct ip_send how = {.ttl = 0};
	struct ipopt options;
	struct packet p;
	struct route r;
	int ret;

	if (!raw)
		return -EBADF;
	if (j->len > UINT16_MAX - (raw->hdrincl ? 0 : IPV4_LEN))
		return -EMSGSIZE;
	ret = raw_choose(s, sk, j, &how, &r, &options);
	if (!ret && raw->hdrincl && options.len)
		ret = -EINVAL; /* they stand in its own header */
	if (ret)
		return ret;
	if (!mailbox_room(s, r.dev, j->len + IPV4_LEN, 0))
		return MAILBOX_FULL;
	s->count.raw_out++;
	ret =
	    raw_fragmenting(s, sk, j->len + (raw->hdrincl ? 0u : (uint32_t)IPV4_LEN + options.len),
		raw->hdrincl, &how, &r);
	if (ret)
		return ret;
	if (raw->hdrincl)
		return send_whole(s, sk, &r, &how, j);
	ret = mailbox_packet(s, sk, j, r.dev, 0, &p);
	if (ret)
		return ret;
	ret = ip_output(s, &p, &r, &how);
	return ret == -ENOBUFS ? 0 : ret; /* dropped on the way, as by a queueing discipline */
}

const struct mailbox_way raw_way = {.send = raw_send, .flags = CM_DGRAM_OPTIONS};
