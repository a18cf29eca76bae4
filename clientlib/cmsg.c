/*
 * Control messages of datagrams: where one came to, its TTL and TOS; and the wished source of one
 * sent.
 *
 * Which of them recvmsg() gives is a matter between the application and this library alone: the
 * header of every datagram has the facts.
 */
#include "clientlib/session.h"
#include <netinet/in.h>
#include <string.h>

static const struct {
	int level, name;
	uint32_t bit;
} options[] = {
    {IPPROTO_IP, IP_PKTINFO, WANT_PKTINFO},
    {IPPROTO_IP, IP_RECVTTL, WANT_TTL},
    {IPPROTO_IP, IP_RECVTOS, WANT_TOS},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, WANT_PKTINFO6},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, WANT_HOPLIMIT},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, WANT_TCLASS},
};

int cmsg_option(struct nsock *s, int level, int name, bool set, int *val)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].level != level || options[i].name != name)
			continue;
		if (!set)
			*val = !!(s->d->want_cmsg & options[i].bit);
		else if (*val)
			__atomic_fetch_or(&s->d->want_cmsg, options[i].bit, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&s->d->want_cmsg, ~options[i].bit, __ATOMIC_RELAXED);
		return 0;
	}
	return -ENOPROTOOPT;
}

/* Appends one; MSG_CTRUNC if it finds no room. `used` is what the ones before it took. */
static void put_one(
    struct msghdr *m, size_t *used, int level, int type, const void *data, size_t len)
{
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	char *at;

	if (!m->msg_control || *used > m->msg_controllen ||
	    m->msg_controllen - *used < CMSG_LEN(len)) {
		m->msg_flags |= MSG_CTRUNC;
		return;
	}
	at = (char *)m->msg_control + *used;
	memcpy(at, &h, sizeof(h));
	memcpy(at + CMSG_LEN(0), data, len);
	*used += m->msg_controllen - *used < CMSG_SPACE(len) ? CMSG_LEN(len) : CMSG_SPACE(len);
}

void cmsg_put(const struct nsock *s, struct msghdr *m, const struct cm_dgram *d)
{
	uint32_t want = load_once(&s->d->want_cmsg);
	bool v4 = ipaddr_is_v4(&d->local.addr);
	size_t used = 0;

	if (want & WANT_PKTINFO && v4) {
		struct in_pktinfo info = {.ipi_ifindex = (int)d->ifindex};

		info.ipi_addr.s_addr = info.ipi_spec_dst.s_addr =
		    htonl(ipaddr_to_v4(&d->local.addr));
		put_one(m, &used, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (want & WANT_PKTINFO6) {
		struct in6_pktinfo info = {.ipi6_ifindex = d->ifindex};

		memcpy(&info.ipi6_addr, d->local.addr.b, 16);
		put_one(m, &used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (want & (v4 ? WANT_TTL : WANT_HOPLIMIT))
		put_one(m, &used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT,
		    &(int){d->ttl}, sizeof(int));
	if (v4 && (want & WANT_TOS))
		put_one(m, &used, IPPROTO_IP, IP_TOS, &d->tos, 1);
	else if (!v4 && (want & WANT_TCLASS))
		put_one(m, &used, IPPROTO_IPV6, IPV6_TCLASS, &(int){d->tos}, sizeof(int));
	m->msg_controllen = used;
}

static int get_one(const struct cmsghdr *c, struct cm_dgram *d)
{
	size_t len = c->cmsg_len - CMSG_LEN(0);
	int val = 0;

	if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		struct in_pktinfo info;

		if (len < sizeof(info))
			return -EINVAL;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		d->local.addr = ipaddr_v4(ntohl(info.ipi_spec_dst.s_addr));
		d->ifindex = (uint32_t)info.ipi_ifindex;
		return 0;
	}
	if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo info;

		if (len < sizeof(info))
			return -EINVAL;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		memcpy(d->local.addr.b, &info.ipi6_addr, 16);
		d->ifindex = info.ipi6_ifindex;
		return 0;
	}
	memcpy(&val, CMSG_DATA(c), len < sizeof(val) ? len : sizeof(val));
	if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
	    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
		d->ttl = (uint8_t)val;
	else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
		 (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS))
		d->tos = (uint8_t)val;
	else
		return -EINVAL;
	return 0;
}

int cmsg_get(const struct msghdr *m, struct cm_dgram *d)
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
		if (c->cmsg_level == IPPROTO_IP || c->cmsg_level == IPPROTO_IPV6)
			ret = get_one(c, d);
	}
	return ret;
}
