/*
 * packet_snd: frames from a packet socket. SOCK_RAW writes the link header itself, SOCK_DGRAM names
 * the receiver. The device is that of the call, or the one that the socket is bound to.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "inet/raw.h"
#include "proto/link.h"
#include "wire/ether.h"
#include <errno.h>
#include <sys/socket.h>

/* The packet goes out; nobody has to tell its sender. */
static int put_out(
    struct stack *s, uint32_t sk, struct packet *p, const struct link_name *to, uint16_t ethertype)
{
	int ret;

	s->inet->tap_sends = sk + 1;
	ret = sock_peek(s, sk)->type == SOCK_RAW ? device_output(s, p)
						 : ether_output(s, p, to->addr, ethertype);
	s->inet->tap_sends = 0;
	return ret == -ENOBUFS ? 0 : ret;
}

static int tap_send(struct stack *s, uint32_t sk, const struct mailbox_job *j)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct link_name to = link_of_endpoint(&j->h.peer), me = link_of_endpoint(&k->local);
	bool whole = k->type == SOCK_RAW;
	uint32_t dev = (to.ifindex ? to.ifindex : me.ifindex) - 1, skip = 0;
	uint16_t ethertype = j->h.peer.port ? j->h.peer.port : k->local.port;
	const struct device_rec *d = device_peek(s, dev);
	struct packet p;
	int ret;

	if (!d)
		return -ENXIO;
	if (!d->up)
		return -ENETDOWN;
	if (whole ? j->len < ETHERNET_LEN : to.halen < sizeof(to.addr))
		return -EINVAL;
	if (j->len > d->mtu + (whole ? ETHERNET_LEN : 0))
		return -EMSGSIZE;
	if (!mailbox_room(s, dev, j->len, 0))
		return MAILBOX_FULL;
	s->count.raw_out++;
	if (whole && d->is_lo)
		skip = ETHERNET_LEN; /* it has no link header */
	if (j->len == skip)
		return 0;
	ret = mailbox_packet(s, sk, j, dev, 0, &p);
	if (ret)
		return ret;
	if (skip)
		packet_pull(&p, skip);
	return put_out(s, sk, &p, &to, ethertype);
}

const struct mailbox_way tap_way = {.send = tap_send};
