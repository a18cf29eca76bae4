/*
 * Interfaces: names, numbers and addresses as netd has them. libc would ask the kernel, in a socket
 * of its own.
 *
 * A list is one block of memory, so that one free() gives it back.
 */
#include "clientlib/preload/hook.h"
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static int ifaces(struct ns_iface **v)
{
	int n = ns_owner() ? ns_ifaces(v) : -ENETDOWN;

	return n < 0 && n != -ENOMEM ? -ENETDOWN : n;
}

/* ---- names and numbers */

HOOK unsigned if_nametoindex(const char *name)
{
	struct ns_iface *v = NULL;
	int n = ifaces(&v);
	unsigned index = 0;

	for (int i = 0; i < n; i++)
		if (!strcmp(v[i].name, name))
			index = v[i].index;
	free(v);
	if (!index)
		(void)done(n < 0 ? n : -ENODEV);
	return index;
}

HOOK char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
	struct ns_iface *v = NULL;
	int n = ifaces(&v);
	char *ret = NULL;

	for (int i = 0; i < n; i++)
		if (v[i].index == index)
			ret = memcpy(name, v[i].name, sizeof(v[i].name));
	free(v);
	if (!ret)
		(void)done(n < 0 ? n : -ENXIO);
	return ret;
}

HOOK struct if_nameindex *if_nameindex(void)
{
	struct ns_iface *v = NULL;
	int n = ifaces(&v);
	size_t table = (size_t)(n < 0 ? 0 : n + 1) * sizeof(struct if_nameindex);
	struct if_nameindex *list = n < 0 ? NULL : calloc(1, table + (size_t)n * sizeof(v[0].name));

	for (int i = 0; list && i < n; i++) {
		list[i].if_index = v[i].index;
		list[i].if_name = (char *)list + table + (size_t)i * sizeof(v[0].name);
		memcpy(list[i].if_name, v[i].name, sizeof(v[0].name));
	}
	free(v);
	if (!list)
		(void)done(n < 0 ? n : -ENOBUFS);
	return list;
}

HOOK void if_freenameindex(struct if_nameindex *list)
{
	free(list);
}

/* ---- getifaddrs */

struct entry {
	struct ifaddrs ifa;
	char name[16];
	union {
		struct sockaddr sa;
		struct sockaddr_ll ll;
		struct sockaddr_in in;
	} addr, mask, broad;
	struct rtnl_link_stats stats;
};

static void name_entry(struct entry *e, const struct ns_iface *i)
{
	memcpy(e->name, i->name, sizeof(e->name));
	e->ifa.ifa_name = e->name;
	e->ifa.ifa_flags = ns_iface_flags(i);
	e->ifa.ifa_addr = &e->addr.sa;
	e->ifa.ifa_broadaddr = &e->broad.sa;
}

static void link_entry(struct entry *e, const struct ns_iface *i)
{
	name_entry(e, i);
	e->addr.ll = (struct sockaddr_ll){.sll_family = AF_PACKET,
	    .sll_ifindex = (int)i->index,
	    .sll_hatype = i->loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER,
	    .sll_halen = sizeof(i->mac)};
	memcpy(e->addr.ll.sll_addr, i->mac, sizeof(i->mac));
	e->broad.ll = e->addr.ll;
	memset(e->broad.ll.sll_addr, i->loopback ? 0 : 0xff, sizeof(i->mac));
	ns_iface_stats(i, &e->stats);
	e->ifa.ifa_data = &e->stats;
}

static void inet_entry(struct entry *e, const struct ns_iface *i, const struct ns_iface_addr *a)
{
	uint32_t mask = a->prefix ? ~0u << (32 - a->prefix) : 0;

	name_entry(e, i);
	e->addr.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(a->addr)}};
	e->mask.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(mask)}};
	e->broad.in = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr = {htonl(i->loopback ? a->addr : a->addr | ~mask)}};
	e->ifa.ifa_netmask = &e->mask.sa;
}

HOOK int getifaddrs(struct ifaddrs **out)
{
	struct ns_iface *v = NULL;
	int n = ifaces(&v);
	size_t all = 0, at = 0;
	struct entry *e;

	if (n < 0)
		return (int)done(n);
	for (int i = 0; i < n; i++)
		all += 1 + v[i].addrs;
	e = calloc(all + 1, sizeof(*e));
	for (int i = 0; e && i < n; i++)
		link_entry(&e[at++], &v[i]);
	for (int i = 0; e && i < n; i++)
		for (unsigned k = 0; k < v[i].addrs; k++)
			inet_entry(&e[at++], &v[i], &v[i].addr[k]);
	free(v);
	if (!e)
		return (int)done(-ENOMEM);
	for (size_t i = 0; i + 1 < all; i++)
		e[i].ifa.ifa_next = &e[i + 1].ifa;
	*out = all ? &e[0].ifa : NULL;
	if (!all)
		free(e);
	return 0;
}

HOOK void freeifaddrs(struct ifaddrs *list)
{
	free(list);
}
