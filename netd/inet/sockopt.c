/*
 * Options that all sockets have, with the kernel's units and errors. Two tables, one row an option;
 * what is in neither is -ENOPROTOOPT, so that no program believes in an option that does nothing.
 *
 * A client answers SO_ERROR itself (it knows which error it has taken), and the receive options
 * that only choose control messages are kept here but carried out by it: a datagram's header has it
 * all.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "ip/ip.h"
#include <errno.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#define BUF_MAX_RCV   (6144u << 10)
#define BUF_MAX_SND   (4096u << 10)
#define BUF_FORCED    (64u << 20)
#define BUF_MIN_RCV   1152u /* half of the kernel's SOCK_MIN_RCVBUF, which counts doubled */
#define BUF_MIN_SND   2304u
#define IP_DEVICE_LEN 16

enum { GET_ONLY = 1, SET_ONLY = 2 };

struct option {
	int level, name;
	uint32_t flag;	 /* enum sock_flags: the option is this bit */
	uint16_t family; /* 0: both */
	uint8_t access;
	int (*set)(struct stack *s, uint32_t sk, struct sock_rec *k, int v);
	int (*get)(struct stack *s, const struct sock_rec *k);
};

/* ---- SOL_SOCKET */

static uint32_t clamp(int v, uint32_t low, uint32_t high)
{
	uint32_t n = v < 0 ? 0 : (uint32_t)v;

	return n < low ? low : n > high ? high : n;
}

static int set_rcvbuf(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->rcvbuf = clamp(v < 0 ? INT32_MAX : v, BUF_MIN_RCV, BUF_MAX_RCV);
	k->flags |= SOCK_F_RCVBUF_SET;
	return 0;
}

static int set_rcvbuf_force(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->rcvbuf = clamp(v, BUF_MIN_RCV, BUF_FORCED);
	k->flags |= SOCK_F_RCVBUF_SET;
	return 0;
}

static int set_sndbuf(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->sndbuf = clamp(v < 0 ? INT32_MAX : v, BUF_MIN_SND, BUF_MAX_SND);
	k->flags |= SOCK_F_SNDBUF_SET;
	return 0;
}

static int set_sndbuf_force(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->sndbuf = clamp(v, BUF_MIN_SND, BUF_FORCED);
	k->flags |= SOCK_F_SNDBUF_SET;
	return 0;
}

static int get_rcvbuf(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return (int)(k->flags & SOCK_F_RCVBUF_SET ? k->rcvbuf * 2 : k->rcvbuf);
}

static int get_sndbuf(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return (int)(k->flags & SOCK_F_SNDBUF_SET ? k->sndbuf * 2 : k->sndbuf);
}

static int set_rcvlowat(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->rcvlowat = v < 0 ? INT32_MAX : v ? (uint32_t)v : 1;
	return 0;
}

static int get_rcvlowat(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return (int)k->rcvlowat;
}

static int set_priority(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->priority = (uint32_t)v;
	return 0;
}

static int get_priority(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return (int)k->priority;
}

static int set_mark(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->mark = (uint32_t)v;
	return 0;
}

static int get_mark(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return (int)k->mark;
}

static int get_type(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->type;
}

static int get_domain(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->family;
}

static int get_protocol(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->protocol;
}

static int get_acceptconn(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return !!(k->flags & SOCK_F_LISTEN);
}

static int get_sndlowat(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	(void)k;
	return 1;
}

/* ---- IPPROTO_IP, IPPROTO_IPV6 */

static int set_ttl(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (v != -1 && (v < 1 || v > 255))
		return -EINVAL;
	k->ttl = v == -1 ? 64 : (uint8_t)v;
	return 0;
}

static int get_ttl(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->ttl;
}

static int set_mcast_ttl(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (k->type == SOCK_STREAM)
		return -EINVAL;
	if (v < -1 || v > 255)
		return -EINVAL;
	k->mcast_ttl = v == -1 ? 1 : (uint8_t)v;
	return 0;
}

static int get_mcast_ttl(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->mcast_ttl;
}

/* For streams the ECN bits are TCP's own. */
static int set_tos(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->tos = k->type == SOCK_STREAM ? (uint8_t)((v & ~3) | (k->tos & 3)) : (uint8_t)v;
	return 0;
}

static int set_tclass(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	if (v < -1 || v > 255)
		return -EINVAL;
	return set_tos(s, sk, k, v == -1 ? 0 : v);
}

static int get_tos(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->tos;
}

static int set_mtu_discover(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (v < IP_PMTUDISC_DONT || v > IP_PMTUDISC_OMIT)
		return -EINVAL;
	k->mtu_discover = (uint8_t)v;
	return 0;
}

static int get_mtu_discover(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return k->mtu_discover;
}

/* Of the way to the peer. */
static int get_mtu(struct stack *s, const struct sock_rec *k)
{
	struct route r;

	if (!sock_connected(k) || ip_route(s, &k->remote.addr, &k->local.addr, k->bound_dev, &r))
		return -ENOTCONN;
	return (int)r.mtu;
}

static int set_v6only(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (k->flags & SOCK_F_BOUND)
		return -EINVAL;
	k->flags = v ? k->flags | SOCK_F_V6ONLY : k->flags & ~(uint32_t)SOCK_F_V6ONLY;
	return 0;
}

static int get_v6only(struct stack *s, const struct sock_rec *k)
{
	(void)s;
	return !!(k->flags & SOCK_F_V6ONLY);
}

static int set_flowinfo(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	return v ? -EOPNOTSUPP : 0;
}

static const struct option options[] = {
    {SOL_SOCKET, SO_REUSEADDR, SOCK_F_REUSEADDR, 0, 0, NULL, NULL},
    {SOL_SOCKET, SO_REUSEPORT, SOCK_F_REUSEPORT, 0, 0, NULL, NULL},
    {SOL_SOCKET, SO_KEEPALIVE, SOCK_F_KEEPALIVE, 0, 0, NULL, NULL},
    {SOL_SOCKET, SO_BROADCAST, SOCK_F_BROADCAST, 0, 0, NULL, NULL},
    {SOL_SOCKET, SO_OOBINLINE, SOCK_F_OOBINLINE, 0, 0, NULL, NULL},
    {SOL_SOCKET, SO_RCVBUF, 0, 0, 0, set_rcvbuf, get_rcvbuf},
    {SOL_SOCKET, SO_SNDBUF, 0, 0, 0, set_sndbuf, get_sndbuf},
    {SOL_SOCKET, SO_RCVBUFFORCE, 0, 0, SET_ONLY, set_rcvbuf_force, NULL},
    {SOL_SOCKET, SO_SNDBUFFORCE, 0, 0, SET_ONLY, set_sndbuf_force, NULL},
    {SOL_SOCKET, SO_RCVLOWAT, 0, 0, 0, set_rcvlowat, get_rcvlowat},
    {SOL_SOCKET, SO_SNDLOWAT, 0, 0, GET_ONLY, NULL, get_sndlowat},
    {SOL_SOCKET, SO_PRIORITY, 0, 0, 0, set_priority, get_priority},
    {SOL_SOCKET, SO_MARK, 0, 0, 0, set_mark, get_mark},
    {SOL_SOCKET, SO_TYPE, 0, 0, GET_ONLY, NULL, get_type},
    {SOL_SOCKET, SO_DOMAIN, 0, 0, GET_ONLY, NULL, get_domain},
    {SOL_SOCKET, SO_PROTOCOL, 0, 0, GET_ONLY, NULL, get_protocol},
    {SOL_SOCKET, SO_ACCEPTCONN, 0, 0, GET_ONLY, NULL, get_acceptconn},
    {IPPROTO_IP, IP_TTL, 0, 0, 0, set_ttl, get_ttl},
    {IPPROTO_IP, IP_TOS, 0, 0, 0, set_tos, get_tos},
    {IPPROTO_IP, IP_MTU_DISCOVER, 0, 0, 0, set_mtu_discover, get_mtu_discover},
    {IPPROTO_IP, IP_MTU, 0, 0, GET_ONLY, NULL, get_mtu},
    {IPPROTO_IP, IP_FREEBIND, SOCK_F_FREEBIND, 0, 0, NULL, NULL},
    {IPPROTO_IP, IP_RECVERR, SOCK_F_RECVERR, 0, 0, NULL, NULL},
    {IPPROTO_IP, IP_PKTINFO, SOCK_F_PKTINFO, 0, 0, NULL, NULL},
    {IPPROTO_IP, IP_RECVTTL, SOCK_F_RECVTTL, 0, 0, NULL, NULL},
    {IPPROTO_IP, IP_RECVTOS, SOCK_F_RECVTOS, 0, 0, NULL, NULL},
    {IPPROTO_IP, IP_MULTICAST_TTL, 0, 0, 0, set_mcast_ttl, get_mcast_ttl},
    {IPPROTO_IPV6, IPV6_V6ONLY, 0, AF_INET6, 0, set_v6only, get_v6only},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 0, AF_INET6, 0, set_ttl, get_ttl},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 0, AF_INET6, 0, set_mcast_ttl, get_mcast_ttl},
    {IPPROTO_IPV6, IPV6_TCLASS, 0, AF_INET6, 0, set_tclass, get_tos},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, 0, AF_INET6, 0, set_mtu_discover, get_mtu_discover},
    {IPPROTO_IPV6, IPV6_MTU, 0, AF_INET6, GET_ONLY, NULL, get_mtu},
    {IPPROTO_IPV6, IPV6_FREEBIND, SOCK_F_FREEBIND, AF_INET6, 0, NULL, NULL},
    {IPPROTO_IPV6, IPV6_RECVERR, SOCK_F_RECVERR, AF_INET6, 0, NULL, NULL},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, SOCK_F_PKTINFO, AF_INET6, 0, NULL, NULL},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, SOCK_F_RECVTTL, AF_INET6, 0, NULL, NULL},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, SOCK_F_RECVTOS, AF_INET6, 0, NULL, NULL},
    {IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 0, AF_INET6, SET_ONLY, set_flowinfo, NULL},
};

static const struct option *option_of(const struct sock_rec *k, int level, int name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].level == level && options[i].name == name &&
		    (!options[i].family || options[i].family == k->family))
			return &options[i];
	return NULL;
}

/* ---- options that are no numbers */

static int set_linger(struct sock_rec *k, const void *val, uint32_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	if (l.l_onoff) {
		k->flags |= SOCK_F_LINGER;
		k->linger_s = l.l_linger < 0 ? INT32_MAX : (uint32_t)l.l_linger;
	} else {
		k->flags &= ~(uint32_t)SOCK_F_LINGER;
	}
	return 0;
}

static int set_device(struct stack *s, struct sock_rec *k, const void *val, uint32_t len)
{
	char name[IP_DEVICE_LEN] = {0};
	int dev;

	memcpy(name, val, min_of(len, (uint32_t)sizeof(name) - 1));
	if (!name[0]) {
		k->bound_dev = NO_INDEX;
		return 0;
	}
	dev = device_find(s, name);
	if (dev < 0)
		return -ENODEV;
	k->bound_dev = (uint32_t)dev;
	return 0;
}

static int give(void *val, uint32_t *len, const void *from, uint32_t size)
{
	*len = min_of(*len, size);
	memcpy(val, from, *len);
	return 0;
}

static int get_device(const struct stack *s, const struct sock_rec *k, void *val, uint32_t *len)
{
	const struct device_rec *d = k->bound_dev == NO_INDEX ? NULL : device_peek(s, k->bound_dev);
	char name[IP_DEVICE_LEN] = {0};

	if (!d) {
		*len = 0;
		return 0;
	}
	if (*len < sizeof(name))
		return -EINVAL;
	memcpy(name, d->name, sizeof(name) - 1);
	return give(val, len, name, (uint32_t)strlen(name) + 1);
}

/* ---- the two calls */

/* An integer option's value; of IPPROTO_IP a single byte will do. */
static int read_int(int level, const void *val, uint32_t len, int *v)
{
	if (len >= sizeof(*v)) {
		memcpy(v, val, sizeof(*v));
		return 0;
	}
	if (level != IPPROTO_IP || !len)
		return -EINVAL;
	*v = *(const uint8_t *)val;
	return 0;
}

int sock_setsockopt(
    struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	struct sock_rec *k = sock_get(s, sk);
	const struct option *o;
	int v, ret;

	if (!k)
		return -EBADF;
	if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
		return set_device(s, k, val, len);
	if (level == SOL_SOCKET && name == SO_LINGER)
		return set_linger(k, val, len);
	o = option_of(k, level, name);
	if (!o || o->access == GET_ONLY)
		return -ENOPROTOOPT;
	ret = read_int(level, val, len, &v);
	if (ret)
		return ret;
	if (!o->flag)
		return o->set(s, sk, k, v);
	k->flags = v ? k->flags | o->flag : k->flags & ~o->flag;
	return 0;
}

int sock_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct option *o;
	int v;

	if (!k)
		return -EBADF;
	if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
		return get_device(s, k, val, len);
	if (level == SOL_SOCKET && name == SO_LINGER) {
		struct linger l = {
		    .l_onoff = !!(k->flags & SOCK_F_LINGER), .l_linger = (int)k->linger_s};

		return give(val, len, &l, sizeof(l));
	}
	o = option_of(k, level, name);
	if (!o || o->access == SET_ONLY)
		return -ENOPROTOOPT;
	v = o->flag ? !!(k->flags & o->flag) : o->get(s, k);
	if (o->get == get_mtu && v < 0)
		return v;
	if (level == IPPROTO_IP && *len && *len < sizeof(v) && v >= 0 && v <= 255) {
		*(uint8_t *)val = (uint8_t)v;
		*len = 1;
		return 0;
	}
	return give(val, len, &v, sizeof(v));
}
