/*
 * netd's interfaces as a program may ask for them: a list, and the ioctls of netdevice(7).
 *
 * What there is comes from the daemon at each question, over the control connection: programs ask
 * rarely, and an answer kept would be wrong after `netctl addr`.
 */
#include "clientlib/control.h"
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include "proto/region.h"
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define CHANGEABLE (IFF_UP | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST) /* of a link's flags */

/* ---- the list */

static void take_link(const Netd__Control__Link *l, struct ns_iface *to)
{
	size_t n = l->name ? strnlen(l->name, sizeof(to->name) - 1) : 0;

	*to = (struct ns_iface){.index = l->index + 1,
	    .mtu = l->mtu,
	    .up = l->up,
	    .rx = {l->rx_frames, l->rx_bytes, l->rx_dropped},
	    .tx = {l->tx_frames, l->tx_bytes, l->tx_dropped}};
	memcpy(to->name, l->name, n);
	if (l->mac.len == sizeof(to->mac))
		memcpy(to->mac, l->mac.data, sizeof(to->mac));
	to->superframes = l->features & (REGION_F_TSO4 | REGION_F_TSO6 | REGION_F_USO);
	to->loopback = l->driver && !strcmp(l->driver, "lo");
	if (to->loopback)
		to->addr[to->addrs++] =
		    (struct ns_iface_addr){.addr = INADDR_LOOPBACK, .prefix = 8};
}

static void take_addr(const Netd__Control__Addr *a, struct ns_iface *v, int n)
{
	struct ipaddr addr;

	if (a->addr.len != sizeof(addr.b) || !a->dev)
		return;
	memcpy(addr.b, a->addr.data, sizeof(addr.b));
	for (int i = 0; i < n; i++) {
		if (strcmp(v[i].name, a->dev) != 0 || !ipaddr_is_v4(&addr) ||
		    v[i].addrs == NS_IFACE_ADDRS)
			continue;
		if (v[i].loopback && ipaddr_to_v4(&addr) == INADDR_LOOPBACK)
			continue;
		v[i].addr[v[i].addrs++] = (struct ns_iface_addr){
		    .addr = ipaddr_to_v4(&addr), .prefix = a->prefix < 32 ? a->prefix : 32};
	}
}

static int links(struct ns_iface **v)
{
	Netd__Control__Response *a;
	struct reply r;
	int n = 0, ret = control_list(NETD__CONTROL__REQUEST__BODY_LINK_LIST, &r, &a);

	*v = NULL;
	if (ret < 0)
		return ret;
	if (a->body_case == NETD__CONTROL__RESPONSE__BODY_LINKS) {
		*v = calloc(a->links->n_link + 1, sizeof(**v));
		for (size_t i = 0; *v && i < a->links->n_link; i++)
			take_link(a->links->link[i], &(*v)[n++]);
	}
	netd__control__response__free_unpacked(a, NULL);
	reply_free(&r);
	return *v ? n : -ENOMEM;
}

int ns_ifaces(struct ns_iface **out)
{
	Netd__Control__Response *a;
	struct reply r;
	int n = links(out), ret;

	if (n < 0)
		return n;
	ret = control_list(NETD__CONTROL__REQUEST__BODY_ADDR_LIST, &r, &a);
	if (ret < 0) {
		free(*out);
		*out = NULL;
		return ret;
	}
	for (size_t i = 0;
	     a->body_case == NETD__CONTROL__RESPONSE__BODY_ADDRS && i < a->addrs->n_addr; i++)
		take_addr(a->addrs->addr[i], *out, n);
	netd__control__response__free_unpacked(a, NULL);
	reply_free(&r);
	return n;
}

unsigned ns_iface_flags(const struct ns_iface *i)
{
	unsigned flags = i->loopback ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST;

	return i->up ? flags | IFF_UP | IFF_RUNNING : flags;
}

void ns_iface_stats(const struct ns_iface *i, struct rtnl_link_stats *to)
{
	*to = (struct rtnl_link_stats){.rx_packets = (uint32_t)i->rx.frames,
	    .rx_bytes = (uint32_t)i->rx.bytes,
	    .rx_dropped = (uint32_t)i->rx.dropped,
	    .tx_packets = (uint32_t)i->tx.frames,
	    .tx_bytes = (uint32_t)i->tx.bytes,
	    .tx_dropped = (uint32_t)i->tx.dropped};
}

/* ---- ioctl */

static uint32_t mask_of(unsigned prefix)
{
	return prefix ? ~0u << (32 - prefix) : 0;
}

static void put_v4(struct sockaddr *sa, uint32_t addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(addr)}};

	memcpy(sa, &in, sizeof(in));
}

static int get_addr(const struct ns_iface *i, unsigned long req, struct ifreq *r)
{
	const struct ns_iface_addr *a = &i->addr[0];

	if (!i->addrs)
		return -EADDRNOTAVAIL;
	put_v4(&r->ifr_addr, req == SIOCGIFNETMASK ? mask_of(a->prefix)
			     : req == SIOCGIFBRDADDR
				 ? (i->loopback ? 0 : a->addr | ~mask_of(a->prefix))
				 : a->addr);
	return 0;
}

/* Which times there are: software's, and no clock of a device (SO_TIMESTAMPING). */
static int get_stamping(void *data)
{
	struct ethtool_ts_info info = {.cmd = ETHTOOL_GET_TS_INFO,
	    .so_timestamping = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
			       SOF_TIMESTAMPING_SOFTWARE,
	    .phc_index = -1};

	return copy_to_user(data, &info, sizeof(info));
}

/* Whether frames longer than the MTU pass here: libpcap makes its frames so large. */
static int get_feature(const struct ns_iface *i, void *data)
{
	struct ethtool_value v;

	if (copy_from_user(&v.cmd, data, sizeof(v.cmd)) < 0)
		return -EFAULT;
	if (v.cmd == ETHTOOL_GET_TS_INFO)
		return get_stamping(data);
	if (v.cmd != ETHTOOL_GTSO && v.cmd != ETHTOOL_GGSO && v.cmd != ETHTOOL_GGRO)
		return -EOPNOTSUPP;
	v.data = i->superframes;
	return copy_to_user(data, &v, sizeof(v));
}

int ns_iface_keep_flags(const struct ns_iface *i, unsigned flags, unsigned mask)
{
	bool root = sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0) == 0;

	return root && !((flags ^ ns_iface_flags(i)) & mask & CHANGEABLE) ? 0 : -EPERM;
}

static int get_one(const struct ns_iface *i, unsigned long req, struct ifreq *r)
{
	switch (req) {
	case SIOCSIFFLAGS:
		return ns_iface_keep_flags(i, (unsigned short)r->ifr_flags, ~0u);
	case SIOCGIFFLAGS:
		r->ifr_flags = (short)ns_iface_flags(i);
		return 0;
	case SIOCGIFINDEX:
		r->ifr_ifindex = (int)i->index;
		return 0;
	case SIOCGIFMTU:
		r->ifr_mtu = (int)i->mtu;
		return 0;
	case SIOCGIFMETRIC:
		r->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		r->ifr_qlen = 1000;
		return 0;
	case SIOCGIFHWADDR:
		memset(&r->ifr_hwaddr, 0, sizeof(r->ifr_hwaddr));
		r->ifr_hwaddr.sa_family = i->loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
		memcpy(r->ifr_hwaddr.sa_data, i->mac, sizeof(i->mac));
		return 0;
	case SIOCETHTOOL:
		return get_feature(i, r->ifr_data);
	default:
		return get_addr(i, req, r);
	}
}

static int get_name(const struct ns_iface *v, int n, struct ifreq *r)
{
	for (int i = 0; i < n; i++) {
		if ((int)v[i].index != r->ifr_ifindex)
			continue;
		memcpy(r->ifr_name, v[i].name, sizeof(v[i].name));
		return 0;
	}
	return -ENODEV;
}

/* One entry an address, as the kernel's. */
static int get_conf(const struct ns_iface *v, int n, struct ifconf *c)
{
	int room = c->ifc_buf ? c->ifc_len : 0, used = 0;

	for (int i = 0; i < n; i++) {
		for (unsigned k = 0; k < v[i].addrs; k++) {
			struct ifreq r = {.ifr_flags = 0};

			if (c->ifc_buf && room - used < (int)sizeof(r))
				break;
			memcpy(r.ifr_name, v[i].name, sizeof(v[i].name));
			put_v4(&r.ifr_addr, v[i].addr[k].addr);
			if (c->ifc_buf && copy_to_user(c->ifc_buf + used, &r, sizeof(r)) < 0)
				return -EFAULT;
			used += (int)sizeof(r);
		}
	}
	c->ifc_len = used;
	return 0;
}

static int named(const struct ns_iface *v, int n, unsigned long req, struct ifreq *r)
{
	for (int i = 0; i < n; i++)
		if (!strncmp(v[i].name, r->ifr_name, IFNAMSIZ))
			return get_one(&v[i], req, r);
	return -ENODEV;
}

static bool known(unsigned long req)
{
	switch (req) {
	case SIOCGIFCONF:
	case SIOCGIFNAME:
	case SIOCGIFFLAGS:
	case SIOCGIFINDEX:
	case SIOCGIFMTU:
	case SIOCGIFMETRIC:
	case SIOCGIFTXQLEN:
	case SIOCGIFHWADDR:
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCETHTOOL:
		return true;
	default:
		return false;
	}
}

/* Interfaces and routes are changed with netctl; that of flags may be one that changes nothing. */
static bool changes(unsigned long req)
{
	return req == SIOCSIFFLAGS || req == SIOCSIFADDR || req == SIOCSIFNETMASK ||
	       req == SIOCSIFBRDADDR || req == SIOCSIFMTU || req == SIOCSIFHWADDR ||
	       req == SIOCADDRT || req == SIOCDELRT;
}

/* What only sockets of AF_INET (and, through them, AF_PACKET) are asked. */
static bool of_ipv4(unsigned long req)
{
	switch (req) {
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFBRDADDR:
	case SIOCSIFADDR:
	case SIOCSIFNETMASK:
	case SIOCSIFBRDADDR:
	case SIOCADDRT:
	case SIOCDELRT:
		return true;
	default:
		return false;
	}
}

bool ns_iface_of_any(unsigned long req)
{
	return (known(req) || changes(req)) && !of_ipv4(req);
}

int ns_iface_ioctl(unsigned long req, void *arg)
{
	struct ns_iface *v;
	int n, ret;

	if (!known(req) && !changes(req))
		return -ENOTTY;
	if (!user_writable(arg, req == SIOCGIFCONF ? sizeof(struct ifconf) : sizeof(struct ifreq)))
		return -EFAULT;
	if (changes(req) && req != SIOCSIFFLAGS)
		return -EPERM;
	n = ns_ifaces(&v);
	if (n < 0)
		return n;
	ret = req == SIOCGIFCONF   ? get_conf(v, n, arg)
	      : req == SIOCGIFNAME ? get_name(v, n, arg)
				   : named(v, n, req, arg);
	free(v);
	return ret;
}
