/* Options of IPPROTO_IP and IPPROTO_IPV6. */
#include "inet/errq.h"
#include "inet/option.h"
#include "base/util.h"
#include "device/device.h"
#include "ip/addr.h"
#include "ip/ip.h"
#include <errno.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define IP_DEFAULT_TTL 64
#define PKTOPTIONS     9 /* IP_PKTOPTIONS */
#ifndef IP_PROTOCOL
#define IP_PROTOCOL 52
#endif
#ifndef IP_RECVERR_RFC4884
#define IP_RECVERR_RFC4884 26
#endif

/* ---- headers */

static int set_ttl(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (v != -1 && (v < 1 || v > 255))
		return -EINVAL;
	k->ttl = v == -1 ? IP_DEFAULT_TTL : (uint8_t)v;
	return 0;
}

static int set_hops(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	return v == 0 ? -EINVAL : set_ttl(s, sk, k, v);
}

static int get_ttl(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->ttl;
}

/* Of segments that come from further away nothing is believed (RFC 5082); streams only, as in the kernel. */
static int set_min_ttl(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	struct sockx_rec *x;

	if (v < 0 || v > 255)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->min_ttl = (uint8_t)v;
	k->flags = v ? k->flags | SOCK_F_MINTTL : k->flags & ~(uint32_t)SOCK_F_MINTTL;
	return 0;
}

static int get_min_ttl(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)k;
	return sockx_peek(s, sk)->min_ttl;
}

static int set_mcast_ttl(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (k->type == SOCK_STREAM || v < -1 || v > 255)
		return -EINVAL;
	k->mcast_ttl = v == -1 ? 1 : (uint8_t)v;
	return 0;
}

static int set_mcast_hops(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	return k->type == SOCK_STREAM ? -ENOPROTOOPT : set_mcast_ttl(s, sk, k, v);
}

static int get_mcast_ttl(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
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

static int get_tos(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->tos;
}

/* ---- the path */

static int set_mtu_discover(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (v < IP_PMTUDISC_DONT || v > IP_PMTUDISC_OMIT)
		return -EINVAL;
	k->mtu_discover = (uint8_t)v;
	return 0;
}

static int get_mtu_discover(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->mtu_discover;
}

/* Of the way to the peer. */
static int get_mtu(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	struct route r;

	(void)sk;
	if (!sock_connected(k) || ip_route(s, &k->remote.addr, &k->local.addr, k->bound_dev, &r))
		return -ENOTCONN;
	return (int)min_of(r.mtu, 65535u); /* no packet is longer, whatever lo could carry */
}

/* Who does not want to hear of errors any more has none waiting. */
static int set_recverr(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	k->flags = v ? k->flags | SOCK_F_RECVERR : k->flags & ~(uint32_t)SOCK_F_RECVERR;
	if (!v && errq_count(s, sk)) {
		errq_drop(s, sk);
		sock_changed(s, sk);
	}
	return 0;
}

static int get_recverr(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return !!(k->flags & SOCK_F_RECVERR);
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

static int get_v6only(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return !!(k->flags & SOCK_F_V6ONLY);
}

/* ---- what is off, and can only be told to stay so */

static int get_off(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	(void)k;
	return 0;
}

static int set_off(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	return v ? -EOPNOTSUPP : 0;
}

/* Packets to be forwarded that ask for every router's attention: none is, here, so none is shown. */
static int set_router_alert(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	bool on = sockx_peek(s, sk)->flags & SOCKX_ROUTER_ALERT;
	struct sockx_rec *x;

	if (k->type != SOCK_RAW || k->protocol == IPPROTO_RAW)
		return -EINVAL;
	if (on == !!v)
		return on ? -EADDRINUSE : -ENOBUFS;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->flags ^= SOCKX_ROUTER_ALERT;
	return 0;
}

/* In network order. Streams keep it, and go by the route all the same, as in the kernel. */
static int set_unicast_if(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	uint32_t ifindex = ntohl((uint32_t)v);
	struct sockx_rec *x;

	if (ifindex && !device_peek(s, ifindex - 1))
		return -EADDRNOTAVAIL;
	if (ifindex && k->bound_dev != NO_INDEX && k->bound_dev != ifindex - 1)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->unicast_dev = ifindex;
	return 0;
}

static int get_unicast_if(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)k;
	return (int)htonl(sockx_peek(s, sk)->unicast_dev);
}

/* clang-format off */
static const struct option rows[] = {
    {.level = IPPROTO_IP, .name = IP_TTL, .set = set_ttl, .get = get_ttl},
    {.level = IPPROTO_IP, .name = IP_TOS, .empty = true, .set = set_tos, .get = get_tos},
    {.level = IPPROTO_IP, .name = IP_MTU_DISCOVER, .empty = true, .set = set_mtu_discover, .get = get_mtu_discover},
    {.level = IPPROTO_IP, .name = IP_MTU, .access = GET_ONLY, .get = get_mtu, .fails = true},
    {.level = IPPROTO_IP, .name = IP_FREEBIND, .flag = SOCK_F_FREEBIND},
    {.level = IPPROTO_IP, .name = IP_TRANSPARENT, .flag = SOCK_F_TRANSPARENT},
    {.level = IPPROTO_IP, .name = IP_BIND_ADDRESS_NO_PORT, .empty = true, .xflag = SOCKX_NO_PORT},
    {.level = IPPROTO_IP, .name = IP_ROUTER_ALERT, .set = set_router_alert, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_RECVERR_RFC4884, .set = set_off, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_UNICAST_IF, .set = set_unicast_if, .get = get_unicast_if},
    {.level = IPPROTO_IP, .name = IP_PROTOCOL, .access = GET_ONLY, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_RECVERR, .empty = true, .set = set_recverr, .get = get_recverr},
    {.level = IPPROTO_IP, .name = IP_MULTICAST_TTL, .set = set_mcast_ttl, .get = get_mcast_ttl},
    {.level = IPPROTO_IP, .name = IP_MULTICAST_LOOP, .xflag = SOCKX_NO_LOOP, .inverted = true},
    {.level = IPPROTO_IP, .name = IP_MULTICAST_ALL, .family = AF_INET, .xflag = SOCKX_ALL, .inverted = true, .strict = true},
    {.level = IPPROTO_IP, .name = IP_MULTICAST_ALL, .family = AF_INET6, .xflag = SOCKX_ALL, .strict = true},
    {.level = IPPROTO_IP, .name = IP_HDRINCL, .access = GET_ONLY, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_NODEFRAG, .access = GET_ONLY, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_PASSSEC, .set = set_off, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_MINTTL, .set = set_min_ttl, .get = get_min_ttl},
    {.level = IPPROTO_IP, .name = IP_CHECKSUM, .set = set_off, .get = get_off},
    {.level = IPPROTO_IP, .name = IP_RECVFRAGSIZE, .type = SOCK_RAW, .set = set_off, .get = get_off},
    {.level = IPPROTO_IPV6, .name = IPV6_V6ONLY, .family = AF_INET6, .set = set_v6only, .get = get_v6only},
    {.level = IPPROTO_IPV6, .name = IPV6_UNICAST_HOPS, .family = AF_INET6, .set = set_hops, .get = get_ttl},
    {.level = IPPROTO_IPV6, .name = IPV6_MULTICAST_HOPS, .family = AF_INET6, .set = set_mcast_hops, .get = get_mcast_ttl},
    {.level = IPPROTO_IPV6, .name = IPV6_TCLASS, .family = AF_INET6, .set = set_tclass, .get = get_tos},
    {.level = IPPROTO_IPV6, .name = IPV6_MTU_DISCOVER, .family = AF_INET6, .set = set_mtu_discover, .get = get_mtu_discover},
    {.level = IPPROTO_IPV6, .name = IPV6_MTU, .family = AF_INET6, .access = GET_ONLY, .get = get_mtu, .fails = true},
    {.level = IPPROTO_IPV6, .name = IPV6_FREEBIND, .family = AF_INET6, .flag = SOCK_F_FREEBIND},
    {.level = IPPROTO_IPV6, .name = IPV6_TRANSPARENT, .family = AF_INET6, .flag = SOCK_F_TRANSPARENT},
    {.level = IPPROTO_IPV6, .name = IPV6_RECVERR, .family = AF_INET6, .set = set_recverr, .get = get_recverr},
    {.level = IPPROTO_IPV6, .name = IPV6_FLOWINFO_SEND, .family = AF_INET6, .set = set_off, .get = get_off},
};
/* clang-format on */

const struct option_table options_ip = {rows, ARRAY_SIZE(rows)};

/* ---- IP_MULTICAST_IF */

/* Takes an address, a group and an address, or these and a device. */
static int set_mcast_if(
    struct stack *s, uint32_t sk, struct sock_rec *k, const void *val, uint32_t len)
{
	struct ip_mreqn m = {.imr_ifindex = 0};
	struct sockx_rec *x;
	struct ipaddr addr;
	uint32_t dev = NO_INDEX;

	if (k->type == SOCK_STREAM || len < sizeof(struct in_addr))
		return -EINVAL;
	if (len >= sizeof(m))
		memcpy(&m, val, sizeof(m));
	else if (len >= sizeof(struct ip_mreq))
		memcpy(&m, val, sizeof(struct ip_mreq));
	else
		memcpy(&m.imr_address, val, sizeof(m.imr_address));
	addr = ipaddr_v4(ntohl(m.imr_address.s_addr));
	if (m.imr_ifindex && (m.imr_ifindex < 0 || !device_peek(s, (uint32_t)m.imr_ifindex - 1)))
		return -EADDRNOTAVAIL;
	if (m.imr_ifindex)
		dev = (uint32_t)m.imr_ifindex - 1;
	else if (!ipaddr_is_any(&addr))
		dev = addr_device(s, &addr);
	if (dev == NO_INDEX && !ipaddr_is_any(&addr))
		return -EADDRNOTAVAIL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->mcast_source = addr;
	x->mcast_dev = dev == NO_INDEX ? 0 : dev + 1;
	return 0;
}

static int get_mcast_if(struct stack *s, uint32_t sk, void *val, uint32_t *len)
{
	struct in_addr a = {.s_addr = htonl(ipaddr_to_v4(&sockx_peek(s, sk)->mcast_source))};

	return option_give(val, len, &a, sizeof(a));
}

/* ---- IP_OPTIONS */

/* Who may ask for what is not known was decided before (socket/policy.c). Streams send none. */
static int set_options(
    struct stack *s, uint32_t sk, const struct sock_rec *k, const void *val, uint32_t len)
{
	struct sockx_rec *x;
	struct ipopt o;
	uint8_t bad;

	if (ipopt_parse(&o, val, len, IPOPT_FROM_ROOT, &bad))
		return -EINVAL;
	if (o.len && k->type == SOCK_STREAM)
		return -EOPNOTSUPP;
	if (!o.len && !sockx_peek(s, sk)->options_len)
		return 0;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	memcpy(x->options, o.bytes, sizeof(x->options));
	x->options_len = o.len;
	return 0;
}

int ip_set_struct(
    struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len)
{
	switch (name) {
	case IP_MULTICAST_IF:
		return set_mcast_if(s, sk, k, val, len);
	case IP_UNICAST_IF: /* a number, of which the length must be right */
		return len == sizeof(int) ? 1 : -EINVAL;
	case IP_OPTIONS:
		return set_options(s, sk, k, val, len);
	default:
		return group_setsockopt(s, sk, k, name, val, len);
	}
}

int ip_get_struct(
    struct stack *s, uint32_t sk, const struct sock_rec *k, int name, void *val, uint32_t *len)
{
	switch (name) {
	case IP_MULTICAST_IF:
		return get_mcast_if(s, sk, val, len);
	case IP_OPTIONS:
		return option_give(
		    val, len, sockx_peek(s, sk)->options, sockx_peek(s, sk)->options_len);
	case PKTOPTIONS:
		*len = 0;
		return k->type == SOCK_STREAM ? 0 : -ENOPROTOOPT;
	default:
		return group_getsockopt(s, sk, name, val, len);
	}
}
