/*
 * SO_TIMESTAMPING: the wish for times of software, of what is received and of what is sent.
 *
 * Received times come along with every datagram (cmsg.c). For what is sent the daemon is asked
 * datagram by datagram (CM_DGRAM_STAMP), and answers by the error queue. Times of devices' clocks
 * are taken and never given, as by the kernel where no device has a clock. Of streams no send times
 * are told, and they are refused: who asked for them would wait for them.
 */
#include "clientlib/cmsg.h"
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <string.h>

/* Names that this system's headers may not have yet */
#define OPT_ID_TCP    (1u << 16)
#define OPT_RX_FILTER (1u << 17)
#define TX_COMPLETION (1u << 18)

#define KNOWN		((1u << 19) - 1)
#define SENT		(SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_ACK | TX_COMPLETION)
#define IN_A_MESSAGE	(SENT | SOF_TIMESTAMPING_TX_HARDWARE)
#define OF_STREAMS_ONLY (SOF_TIMESTAMPING_OPT_STATS | SOF_TIMESTAMPING_OPT_PKTINFO | OPT_ID_TCP)
#define NUMBERED	(1ull << 32) /* in time_ns, until it is sent: a message said which number */

int stamping_set(struct nsock *s, const void *val, socklen_t len)
{
	uint32_t flags, old = load_once(&s->d->stamping);

	if (len < sizeof(flags))
		return -EINVAL;
	memcpy(&flags, val, sizeof(flags));
	if (flags & ~KNOWN)
		return -EINVAL;
	if (s->type == SOCK_STREAM && flags & (SENT | OF_STREAMS_ONLY | SOF_TIMESTAMPING_BIND_PHC))
		return -EINVAL;
	if ((flags & OPT_ID_TCP && !(flags & SOF_TIMESTAMPING_OPT_ID)) ||
	    (flags & SOF_TIMESTAMPING_OPT_STATS && !(flags & SOF_TIMESTAMPING_OPT_TSONLY)))
		return -EINVAL;
	if (flags & SOF_TIMESTAMPING_BIND_PHC) /* no device here has a clock */
		return -EOPNOTSUPP;
	if (flags & ~old & SOF_TIMESTAMPING_OPT_ID)
		store_once(&s->d->stamp_number, 0);
	store_once(&s->d->stamping, flags);
	return 0;
}

static uint16_t wish_of(uint32_t flags)
{
	return (flags & SOF_TIMESTAMPING_TX_SOFTWARE ? CM_DGRAM_STAMP : 0) |
	       (flags & SOF_TIMESTAMPING_TX_SCHED ? CM_DGRAM_QUEUED : 0);
}

uint16_t stamping_wish(const struct nsock *s)
{
	return wish_of(load_once(&s->d->stamping));
}

int stamping_message(const struct nsock *s, const struct cmsghdr *c, struct cm_dgram *d)
{
	uint32_t v;

	if (c->cmsg_len != CMSG_LEN(sizeof(v)))
		return -EINVAL;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (c->cmsg_type == TS_OPT_ID) {
		if (!(load_once(&s->d->stamping) & SOF_TIMESTAMPING_OPT_ID))
			return -EINVAL;
		d->time_ns = NUMBERED | v;
		return 0;
	}
	if (v & ~IN_A_MESSAGE)
		return -EINVAL;
	d->flags = (uint16_t)((d->flags & ~(CM_DGRAM_STAMP | CM_DGRAM_QUEUED)) | wish_of(v));
	return 0;
}

void stamping_number(struct nsock *s, struct cm_dgram *d)
{
	uint32_t flags = load_once(&s->d->stamping);

	if (!(d->flags & (CM_DGRAM_STAMP | CM_DGRAM_QUEUED))) {
		d->time_ns = 0;
		return;
	}
	if (!(d->time_ns & NUMBERED) && flags & SOF_TIMESTAMPING_OPT_ID)
		d->time_ns = s->d->stamp_number++;
	d->time_ns = (uint32_t)d->time_ns;
	if (flags & SOF_TIMESTAMPING_OPT_TSONLY)
		d->flags |= CM_DGRAM_BARE;
}
