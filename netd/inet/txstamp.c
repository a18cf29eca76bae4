/*
 * SO_TIMESTAMPING of what is sent: the time at which a datagram went out, and its frame, come back as
 * an entry of the error queue.
 *
 * The frame is seen where packet sockets see it (tap()): of a datagram that goes out in fragments the
 * first, of one to a group that is heard here, too, the one that leaves. A datagram that has to wait
 * for its neighbour shows none; its entry has the time at which it began to wait.
 */
#include "base/util.h"
#include "device/device.h"
#include "inet/errq.h"
#include "inet/layer.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/if_ether.h>
#include <sys/socket.h>

struct txstamp {
	uint16_t family; /* of the sender */
	uint16_t ifindex;
	uint32_t len; /* 0: nothing was seen yet */
	uint8_t frame[ERRQ_DATA];
};

void txstamp_frame(
    struct stack *s, const struct packet *p, const uint8_t *link, uint32_t off, uint16_t ethertype)
{
	struct txstamp *t = s->inet->txstamp;
	uint32_t body = min_of(p->len - off, (uint32_t)(sizeof(t->frame) - ETHERNET_LEN));

	if (t->family != AF_PACKET && ethertype != ETH_P_IP)
		return; /* who has its neighbour's address? */
	if (t->len && t->ifindex != DEVICE_LO + 1)
		return;
	memcpy(t->frame, link, ETHERNET_LEN);
	t->len = packet_read(p, off, t->frame + ETHERNET_LEN, body) ? ETHERNET_LEN + body : 0;
	t->ifindex = (uint16_t)(p->dev + 1);
}

static void tell(struct stack *s, uint32_t sk, const struct mailbox_job *j, const struct txstamp *t,
    uint32_t kind)
{
	static const struct endpoint nowhere;
	struct cm_error e = {.err = ENOMSG,
	    .origin = SO_EE_ORIGIN_TIMESTAMPING,
	    .info = kind,
	    .data = (uint32_t)j->h.time_ns,
	    .ifindex = t->ifindex};
	struct ipv4_header h;

	if (t->family != AF_PACKET && t->len &&
	    ipv4_parse(&h, t->frame + ETHERNET_LEN, t->len - ETHERNET_LEN) >= 0) {
		e.ttl = h.ttl;
		e.tos = h.tos;
		e.offender.addr = ipaddr_v4(h.src);
		e.local.addr = ipaddr_v4(h.dst);
	}
	errq_push(s, sk, &e, &nowhere, t->frame, j->h.flags & CM_DGRAM_BARE ? 0 : t->len);
}

int txstamp_send(
    struct stack *s, uint32_t sk, const struct mailbox_way *way, const struct mailbox_job *j)
{
	struct txstamp t = {.family = sock_peek(s, sk)->family};
	int ret;

	s->inet->txstamp = &t;
	device_taps(s, true);
	ret = way->send(s, sk, j);
	device_taps(s, s->inet->taps != 0);
	s->inet->txstamp = NULL;
	if (ret)
		return ret;
	if (j->h.flags & CM_DGRAM_QUEUED)
		tell(s, sk, j, &t, SCM_TSTAMP_SCHED);
	if (j->h.flags & CM_DGRAM_STAMP)
		tell(s, sk, j, &t, SCM_TSTAMP_SND);
	return 0;
}
