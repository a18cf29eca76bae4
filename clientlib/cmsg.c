/*
 * Control messages that come along with what is received, and the options that choose them.
 *
 * Which of them recvmsg() gives is a matter between the application and this library alone: the
 * header of every datagram has the facts. (A few options the daemon has to know of as well.) Times
 * are taken by the daemon on the machine's monotonic clock and turned into the wall clock's here.
 */
#include "clientlib/cmsg.h"
#include "clientlib/usermem.h"
#include <linux/if_packet.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#define IPV6_ORIGDSTADDR_ 74

static const struct {
	int level, name;
	uint16_t family, type; /* 0: all */
	uint32_t bit;
	bool tell; /* the daemon too */
} options[] = {
    {IPPROTO_IP, IP_PKTINFO, 0, 0, WANT_PKTINFO, false},
    {IPPROTO_IP, IP_RECVTTL, 0, 0, WANT_TTL, false},
    {IPPROTO_IP, IP_RECVTOS, 0, 0, WANT_TOS, false},
    {IPPROTO_IP, IP_RECVOPTS, 0, 0, WANT_RECVOPTS, false},
    {IPPROTO_IP, IP_RETOPTS, 0, 0, WANT_RETOPTS, false},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, 0, 0, WANT_ORIGDST, false},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, AF_INET6, 0, WANT_PKTINFO6, false},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, AF_INET6, 0, WANT_HOPLIMIT, false},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, AF_INET6, 0, WANT_TCLASS, false},
    {IPPROTO_IPV6, IPV6_ORIGDSTADDR_, AF_INET6, 0, WANT_ORIGDST6, false},
    {SOL_SOCKET, SO_TIMESTAMP, 0, 0, WANT_TIME, true},
    {SOL_SOCKET, SO_TIMESTAMPNS, 0, 0, WANT_TIME_NS, true},
    {SOL_SOCKET, SO_TIMESTAMP_NEW, 0, 0, WANT_TIME_NEW, true},
    {SOL_SOCKET, SO_TIMESTAMPNS_NEW, 0, 0, WANT_TIME_NS_NEW, true},
    {SOL_SOCKET, SO_RXQ_OVFL, 0, 0, WANT_DROPS, true},
    {SOL_SOCKET, SO_SELECT_ERR_QUEUE, 0, 0, WANT_ERRPRI, false},
    {SOL_UDP, UDP_GRO, 0, SOCK_DGRAM, WANT_GRO, true},
    {SOL_TCP, TCP_INQ, 0, SOCK_STREAM, WANT_INQ, false},
    {SOL_PACKET, PACKET_AUXDATA, AF_PACKET, 0, WANT_AUXDATA, false},
};

static void want(struct nsock *s, uint32_t bit, bool on)
{
	if (on)
		__atomic_fetch_or(&s->d->want_cmsg, bit, __ATOMIC_RELAXED);
	else
		__atomic_fetch_and(&s->d->want_cmsg, ~bit, __ATOMIC_RELAXED);
}

/* Packet sockets have no IP, and ping sockets no UDP. */
static bool has_level(const struct nsock *s, int level)
{
	return level == IPPROTO_IP ? s->family != AF_PACKET : level != SOL_UDP || is_udp(s);
}

int cmsg_option(struct nsock *s, int level, int name, bool set, int *val)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].level != level || options[i].name != name || !has_level(s, level) ||
		    (options[i].family && options[i].family != s->family) ||
		    (options[i].type && options[i].type != s->type))
			continue;
		if (!set) {
			*val = !!(s->d->want_cmsg & options[i].bit);
			return 0;
		}
		if (options[i].bit & WANT_ANY_TIME) /* one or the other */
			want(s, WANT_ANY_TIME, false);
		want(s, options[i].bit, *val);
		return options[i].tell;
	}
	return -ENOPROTOOPT;
}

int cmsg_check(struct nsock *s, int level, int name, const void *val, socklen_t len)
{
	int v = 0;

	if (cmsg_option(s, level, name, false, &v) < 0)
		return 1;
	if (level != IPPROTO_IP && len < sizeof(v))
		return -EINVAL;
	if (len >= sizeof(v))
		memcpy(&v, val, sizeof(v));
	else if (len)
		v = *(const uint8_t *)val;
	if (level == SOL_TCP && (v < 0 || v > 1)) /* TCP_INQ */
		return -EINVAL;
	return cmsg_option(s, level, name, true, &v);
}

/* ---- putting them */

/*
 * Appends one, if its place is there at all; MSG_CTRUNC if it finds no room, or not all of it. `used` is what the ones
 * before it took.
 */
void cmsg_append(struct msghdr *m, size_t *used, int level, int type, const void *data, size_t len)
{
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	size_t room = m->msg_control && *used <= m->msg_controllen ? m->msg_controllen - *used : 0;
	char *at = (char *)m->msg_control + *used;

	if (room < sizeof(h)) {
		m->msg_flags |= MSG_CTRUNC;
		return;
	}
	if (room < CMSG_LEN(len)) {
		m->msg_flags |= MSG_CTRUNC;
		h.cmsg_len = room;
		len = room - CMSG_LEN(0);
	}
	if (!user_writable(at, CMSG_LEN(len)))
		return;
	memcpy(at, &h, sizeof(h));
	memcpy(at + CMSG_LEN(0), data, len);
	*used += room < CMSG_SPACE(len) ? room : CMSG_SPACE(len);
}

static uint64_t wall_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static struct timespec wall_time(uint64_t mono)
{
	uint64_t at = mono + (wall_ns(CLOCK_REALTIME) - wall_ns(CLOCK_MONOTONIC));

	return (struct timespec){
	    .tv_sec = (time_t)(at / 1000000000ull), .tv_nsec = (long)(at % 1000000000ull)};
}

int cmsg_stamp(const struct nsock *s, bool ns, void *arg)
{
	uint64_t mono = s->type == SOCK_STREAM ? 0 : load_once(&s->d->stamp);
	struct timespec ts = wall_time(mono);
	struct timeval tv = {.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};

	if (!mono)
		return -ENOENT;
	return copy_to_user(arg, ns ? (const void *)&ts : &tv, ns ? sizeof(ts) : sizeof(tv));
}

void cmsg_time(const struct nsock *s, struct msghdr *m, size_t *used, uint64_t mono, bool sent)
{
	uint32_t flags = load_once(&s->d->want_cmsg), stamping = load_once(&s->d->stamping);
	struct timespec ts[3] = {wall_time(mono)};
	struct timeval tv = {.tv_sec = ts[0].tv_sec, .tv_usec = ts[0].tv_nsec / 1000};

	if (flags & (WANT_TIME_NS | WANT_TIME_NS_NEW))
		cmsg_append(m, used, SOL_SOCKET,
		    flags & WANT_TIME_NS ? SO_TIMESTAMPNS : SO_TIMESTAMPNS_NEW, &ts[0],
		    sizeof(ts[0]));
	else if (flags & (WANT_TIME | WANT_TIME_NEW))
		cmsg_append(m, used, SOL_SOCKET,
		    flags & WANT_TIME ? SO_TIMESTAMP : SO_TIMESTAMP_NEW, &tv, sizeof(tv));
	if ((stamping & SOF_TIMESTAMPING_SOFTWARE) && (sent || (stamping & SOF_TIMESTAMPING_RX_SOFTWARE)))
		cmsg_append(m, used, SOL_SOCKET, SO_TIMESTAMPING, ts, sizeof(ts));
}

bool cmsg_wants_time(const struct nsock *s)
{
	return (load_once(&s->d->want_cmsg) & WANT_ANY_TIME) || load_once(&s->d->stamping);
}

static void put_info(
    struct msghdr *m, size_t *used, uint32_t flags, const struct cm_dgram *d, bool v4)
{
	if (flags & WANT_PKTINFO && v4) {
		struct in_pktinfo info = {.ipi_ifindex = d->ifindex};

		info.ipi_addr.s_addr = htonl(ipaddr_to_v4(&d->local.addr));
		info.ipi_spec_dst.s_addr = htonl(d->spec_dst);
		cmsg_append(m, used, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (flags & WANT_PKTINFO6) {
		struct in6_pktinfo info = {.ipi6_ifindex = d->ifindex};

		memcpy(&info.ipi6_addr, d->local.addr.b, 16);
		cmsg_append(m, used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

static void put_origdst(struct msghdr *m, size_t *used, const struct cm_dgram *d, bool v4)
{
	struct sockaddr_storage to;
	socklen_t len = ns_to_sockaddr(v4 ? AF_INET : AF_INET6, &d->local, (struct sockaddr *)&to);

	cmsg_append(m, used, v4 ? IPPROTO_IP : IPPROTO_IPV6,
	    v4 ? IP_ORIGDSTADDR : IPV6_ORIGDSTADDR_, &to, len);
}

void cmsg_ip(const struct nsock *s, struct msghdr *m, size_t *used, const struct cm_dgram *d,
    const uint8_t *data)
{
	uint32_t flags = load_once(&s->d->want_cmsg);
	bool v4 = ipaddr_is_v4(&d->local.addr);

	put_info(m, used, flags, d, v4);
	if (flags & (v4 ? WANT_TTL : WANT_HOPLIMIT))
		cmsg_append(m, used, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT,
		    &(int){d->ttl}, sizeof(int));
	if (v4 && (flags & WANT_TOS))
		cmsg_append(m, used, IPPROTO_IP, IP_TOS, &d->tos, 1);
	else if (!v4 && (flags & WANT_TCLASS))
		cmsg_append(m, used, IPPROTO_IPV6, IPV6_TCLASS, &(int){d->tos}, sizeof(int));
	if (data && (flags & (WANT_RECVOPTS | WANT_RETOPTS)))
		cmsg_options(s, m, used, d, data);
	if (flags & (v4 ? WANT_ORIGDST : WANT_ORIGDST6))
		put_origdst(m, used, d, v4);
}

/* SO_RXQ_OVFL. */
static void put_drops(struct msghdr *m, size_t *used, const struct cm_dgram *d, const uint8_t *data)
{
	struct cm_options o;

	memcpy(&o, data + d->len, sizeof(o));
	if (o.drops)
		cmsg_append(m, used, SOL_SOCKET, SO_RXQ_OVFL, &o.drops, sizeof(o.drops));
}

/* Of a frame. */
static void put_auxdata(struct msghdr *m, size_t *used, const struct cm_dgram *d)
{
	struct tpacket_auxdata aux = {.tp_status = TP_STATUS_USER | d->frame.status,
	    .tp_len = d->frame.len,
	    .tp_snaplen = d->len,
	    .tp_net = d->frame.net};

	cmsg_append(m, used, SOL_PACKET, PACKET_AUXDATA, &aux, sizeof(aux));
}

void cmsg_put(
    const struct nsock *s, struct msghdr *m, const struct cm_dgram *d, const uint8_t *data)
{
	size_t used = 0;

	if (cmsg_wants_time(s))
		cmsg_time(s, m, &used, d->time_ns, false);
	if (d->flags & CM_DGRAM_OPTIONS && load_once(&s->d->want_cmsg) & WANT_DROPS)
		put_drops(m, &used, d, data);
	if (d->gso && (load_once(&s->d->want_cmsg) & WANT_GRO))
		cmsg_append(m, &used, SOL_UDP, UDP_GRO, &(int){d->gso}, sizeof(int));
	if (s->family != AF_PACKET)
		cmsg_ip(s, m, &used, d, data);
	else if (load_once(&s->d->want_cmsg) & WANT_AUXDATA)
		put_auxdata(m, &used, d);
	m->msg_controllen = used;
}
