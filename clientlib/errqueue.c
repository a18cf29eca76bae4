/*
 * recvmsg() with MSG_ERRQUEUE: the oldest entry of the socket's error queue, which is an error, the time at which
 * something was sent, or that sends with MSG_ZEROCOPY are done with.
 *
 * The queue is the daemon's (inet/errq.h); an entry comes in pieces over the request ring and is
 * then taken by its number. The consumer's lock is held meanwhile, so of several readers each gets
 * an entry of its own; a reader that dies in the middle has taken nothing.
 */
#include "clientlib/cmsg.h"
#include <linux/errqueue.h>
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <string.h>

struct entry {
	struct cm_error e;
	struct endpoint name;
	size_t len;
	uint8_t data[1024];
};

static int ask(struct nsock *s, int32_t part, uint32_t number, struct cm_cqe *c)
{
	struct cm_sqe e = {.op = CM_ERROR, .slot = s->slot, .arg = {part, (int32_t)number}};

	return request_wait(s->ss, &e, c);
}

/* rx_lock held. */
static int fetch(struct nsock *s, struct entry *q)
{
	struct cm_cqe c;
	int ret = ask(s, CM_ERROR_HEAD, 0, &c);

	if (ret < 0)
		return ret;
	memcpy(&q->e, c.data, sizeof(q->e));
	q->name = c.ep;
	for (q->len = 0; q->len < q->e.len && q->len < sizeof(q->data); q->len += c.arg) {
		ret = ask(s, (int32_t)q->len, 0, &c);
		if (ret < 0)
			return ret;
		if (!c.arg || c.arg > sizeof(c.data) || c.arg > sizeof(q->data) - q->len)
			return -EPROTO;
		memcpy(q->data + q->len, c.data, c.arg);
	}
	return ask(s, q->e.origin == SO_EE_ORIGIN_ZEROCOPY ? CM_ERROR_TAKE_COPIES : CM_ERROR_TAKE,
	    q->e.number, NULL);
}

static bool is_time(const struct cm_error *e)
{
	return e->origin == SO_EE_ORIGIN_TIMESTAMPING;
}

/* Does the entry tell of a packet's IP header? That of one that was sent is told if it was asked for, and with the frame only. */
static bool about_packet(const struct nsock *s, const struct cm_error *e)
{
	if (is_time(e))
		return e->len && load_once(&s->d->stamping) & SOF_TIMESTAMPING_OPT_CMSG;
	return e->origin != SO_EE_ORIGIN_LOCAL && e->origin != SO_EE_ORIGIN_ZEROCOPY;
}

/* Of times and of copies no destination is told. */
static bool has_name(const struct cm_error *e)
{
	return !is_time(e) && e->origin != SO_EE_ORIGIN_ZEROCOPY;
}

static void put_error(
    const struct nsock *s, struct msghdr *m, size_t *used, const struct cm_error *e)
{
	struct {
		struct sock_extended_err ee;
		union {
			struct sockaddr_in in;
			struct sockaddr_in6 in6;
		} offender;
	} v = {.ee = {.ee_errno = e->err,
		   .ee_origin = e->origin,
		   .ee_type = e->type,
		   .ee_code = e->code,
		   .ee_info = e->info,
		   .ee_data = e->data}};
	size_t size = s->family == AF_INET6 ? sizeof(v.offender.in6) : sizeof(v.offender.in);

	if (s->family == AF_PACKET) {
		cmsg_append(m, used, SOL_PACKET, PACKET_TX_TIMESTAMP, &v.ee, sizeof(v.ee));
		return;
	}
	if (about_packet(s, e))
		(void)ns_to_sockaddr(s->family, &e->offender, (struct sockaddr *)&v.offender);
	cmsg_append(m, used, s->family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
	    s->family == AF_INET6 ? IPV6_RECVERR : IP_RECVERR, &v, sizeof(v.ee) + size);
}

static ssize_t give(const struct nsock *s, struct msghdr *m, const struct entry *q)
{
	struct cm_dgram d = {.ttl = q->e.ttl,
	    .tos = q->e.tos,
	    .local = q->e.local,
	    .spec_dst = ipaddr_to_v4(is_time(&q->e) ? &q->e.offender.addr : &q->e.local.addr),
	    .ifindex = q->e.ifindex};
	ssize_t n = user_scatter(m, q->data, q->len);
	size_t used = 0;
	int ret;

	if (n < 0)
		return n;
	m->msg_flags = MSG_ERRQUEUE | (n < (ssize_t)q->len ? MSG_TRUNC : 0);
	if (!m->msg_name || !has_name(&q->e))
		m->msg_namelen = 0;
	else if ((ret = ns_give_name(s->family, &q->name, m->msg_name, &m->msg_namelen)) < 0)
		return ret;
	if (cmsg_wants_time(s))
		cmsg_time(s, m, &used, q->e.time_ns, is_time(&q->e));
	if (q->e.origin == SO_EE_ORIGIN_ICMP || (is_time(&q->e) && about_packet(s, &q->e)))
		cmsg_ip(s, m, &used, &d, NULL);
	put_error(s, m, &used, &q->e);
	m->msg_controllen = used;
	return n;
}

ssize_t errqueue_recv(struct nsock *s, struct msghdr *m)
{
	struct entry q;
	int ret = sock_settle(s);

	if (ret < 0)
		return ret;
	if (!load_acquire(&s->sl->errors))
		return -EAGAIN;
	side_lock(s, true);
	ret = fetch(s, &q);
	side_unlock(s, true);
	return ret < 0 ? ret : give(s, m, &q);
}
