/* Control messages of datagrams to be sent: source and device, TTL, TOS, the size of segments. */
#include "clientlib/cmsg.h"
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

/* IPV6_PKTINFO, and IP_PKTINFO. */
static int get_info(const struct cmsghdr *c, size_t len, struct cm_dgram *d)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;

	if (c->cmsg_level == IPPROTO_IP) {
		if (len != sizeof(info))
			return -EINVAL;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		d->local.addr = ipaddr_v4(ntohl(info.ipi_spec_dst.s_addr));
		d->ifindex = (uint16_t)info.ipi_ifindex;
		return info.ipi_ifindex < 0 || info.ipi_ifindex > UINT16_MAX ? -ENODEV : 0;
	}
	if (len < sizeof(info6))
		return -EINVAL;
	memcpy(&info6, CMSG_DATA(c), sizeof(info6));
	memcpy(d->local.addr.b, &info6.ipi6_addr, 16);
	d->ifindex = (uint16_t)info6.ipi6_ifindex;
	return info6.ipi6_ifindex > UINT16_MAX ? -ENODEV : 0;
}

/* A number of one byte or an int, as IP_TOS may be both. -1 if it is neither. */
static int number(const struct cmsghdr *c, size_t len, bool byte)
{
	int v;

	if (byte && len == 1)
		return *CMSG_DATA(c);
	if (len != sizeof(v))
		return -1;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	return v;
}

static int get_ttl(int v, bool v6, struct cm_dgram *d)
{
	if (v6 && v == -1)
		return 0;
	if (v < !v6 || v > 255)
		return -EINVAL;
	d->ttl = (uint8_t)v;
	d->flags |= CM_DGRAM_TTL;
	return 0;
}

static int get_tos(int v, bool v6, struct cm_dgram *d)
{
	if (v6 && v == -1)
		return 0;
	if (v < 0 || v > 255)
		return -EINVAL;
	d->tos = (uint8_t)v;
	d->flags |= CM_DGRAM_TOS;
	return 0;
}

/* As much of them as there may be; whether they are right the daemon will say. */
static int get_options(
    const struct cmsghdr *c, size_t len, struct cm_dgram *d, struct cm_options *o)
{
	*o = (struct cm_options){.len = (uint8_t)(len < sizeof(o->bytes) ? len : sizeof(o->bytes))};
	memcpy(o->bytes, CMSG_DATA(c), o->len);
	d->flags |= CM_DGRAM_OPTIONS;
	return 0;
}

static int get_one(
    const struct nsock *s, const struct cmsghdr *c, struct cm_dgram *d, struct cm_options *o)
{
	size_t len = c->cmsg_len - CMSG_LEN(0);
	bool v6 = c->cmsg_level == IPPROTO_IPV6;
	uint16_t gso;

	if (c->cmsg_level == SOL_UDP) {
		if (s->protocol != IPPROTO_UDP)
			return 0;
		if (c->cmsg_type != UDP_SEGMENT || len != sizeof(gso))
			return -EINVAL;
		memcpy(&gso, CMSG_DATA(c), sizeof(gso));
		d->gso = gso;
		return 0;
	}
	if ((!v6 && c->cmsg_level != IPPROTO_IP) || (v6 && s->family != AF_INET6))
		return 0; /* another protocol's: not ours to judge */
	if (c->cmsg_type == (v6 ? IPV6_PKTINFO : IP_PKTINFO))
		return get_info(c, len, d);
	if (!v6 && c->cmsg_type == IP_RETOPTS)
		return get_options(c, len, d, o);
	if (c->cmsg_type == (v6 ? IPV6_HOPLIMIT : IP_TTL))
		return get_ttl(number(c, len, false), v6, d);
	if (c->cmsg_type == (v6 ? IPV6_TCLASS : IP_TOS))
		return get_tos(number(c, len, !v6), v6, d);
	return -EINVAL;
}

/*
 * A mark or a priority: no queue or filter here heeds it, but not everybody may give any. Whether this user may, which is the
 * same of both, the daemon says when asked to mark the socket without a value.
 */
static int get_wish(const struct nsock *s, const struct cmsghdr *c)
{
	struct cm_sqe e = {.op = CM_SETSOCKOPT, .slot = s->slot, .arg = {SOL_SOCKET, SO_MARK, 0}};
	bool whole = c->cmsg_len == CMSG_LEN(sizeof(uint32_t));
	uint32_t rights;
	int v = 0, ret;

	if (whole)
		memcpy(&v, CMSG_DATA(c), sizeof(v));
	else if (c->cmsg_type == SO_PRIORITY)
		return -EINVAL;
	rights = cm_option_rights(SOL_SOCKET, c->cmsg_type, v);
	if (!rights)
		return 0;
	ret = session_may(s->ss, rights, -EPERM);
	if (ret < 0)
		return ret;
	ret = request_wait(s->ss, &e, NULL);
	return ret != -EINVAL ? ret : whole ? 0 : -EINVAL;
}

/* Descriptors and credentials have no meaning here. */
static int get_socket(const struct nsock *s, const struct cmsghdr *c, struct cm_dgram *d)
{
	switch (c->cmsg_type) {
	case SCM_RIGHTS:
	case SCM_CREDENTIALS:
		return 0;
	case SO_MARK:
	case SO_PRIORITY:
		return get_wish(s, c);
	case SO_TIMESTAMPING:
	case TS_OPT_ID:
		return d ? stamping_message(s, c, d) : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* `d` is NULL for a stream. No lock is held: the daemon may be asked. */
static int walk(
    const struct nsock *s, const struct msghdr *m, struct cm_dgram *d, struct cm_options *o)
{
	struct msghdr copy = *m;
	int ret = 0;

	if (!m->msg_control || m->msg_controllen < sizeof(struct cmsghdr))
		return 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c && ret == 0; c = CMSG_NXTHDR(&copy, c)) {
		if (c->cmsg_len < sizeof(*c) ||
		    c->cmsg_len >
			copy.msg_controllen - (size_t)((char *)c - (char *)copy.msg_control))
			return -EINVAL;
		if (c->cmsg_level == SOL_SOCKET)
			ret = get_socket(s, c, d);
		else if (d && s->family != AF_PACKET)
			ret = get_one(s, c, d, o);
	}
	return ret;
}

int cmsg_get(
    const struct nsock *s, const struct msghdr *m, struct cm_dgram *d, struct cm_options *o)
{
	return walk(s, m, d, o);
}

int cmsg_stream(const struct nsock *s, const struct msghdr *m)
{
	return walk(s, m, NULL, NULL);
}
