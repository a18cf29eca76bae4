#include "drivers/tap/tap.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int netif_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

static int netif_ioctl(int sock, unsigned long request, const char *ifname, struct ifreq *ifr)
{
	memset(ifr->ifr_name, 0, IFNAMSIZ);
	memcpy(ifr->ifr_name, ifname, strnlen(ifname, IFNAMSIZ - 1));
	return ioctl(sock, request, ifr) < 0 ? -errno : 0;
}

int netif_mac(const char *ifname, uint8_t mac[6])
{
	struct ifreq ifr = {0};
	int ret, sock = netif_socket(AF_INET);

	if (sock < 0)
		return sock;
	ret = netif_ioctl(sock, SIOCGIFHWADDR, ifname, &ifr);
	if (!ret)
		memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	close(sock);
	return ret;
}

/* "10.99.0.1/24": splits off the length of the prefix, at most `max`. */
static int prefix_split(const char *text, char *addr, size_t size, unsigned max, unsigned *bits)
{
	const char *slash = strchr(text, '/');
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	char *end;
	unsigned long v = max;

	if (n >= size)
		return -EINVAL;
	memcpy(addr, text, n);
	addr[n] = 0;
	if (slash) {
		v = strtoul(slash + 1, &end, 10);
		if (!slash[1] || *end || v > max)
			return -EINVAL;
	}
	*bits = (unsigned)v;
	return 0;
}

static int netif_set_ipv4(int sock, const char *ifname, const char *text)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	char addr[INET_ADDRSTRLEN];
	struct ifreq ifr = {0};
	unsigned bits;
	int ret = prefix_split(text, addr, sizeof(addr), 32, &bits);

	if (ret < 0 || inet_pton(AF_INET, addr, &sin.sin_addr) != 1)
		return -EINVAL;
	memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
	ret = netif_ioctl(sock, SIOCSIFADDR, ifname, &ifr);
	if (ret < 0)
		return ret;
	sin.sin_addr.s_addr = htonl(bits ? ~0u << (32 - bits) : 0);
	memcpy(&ifr.ifr_netmask, &sin, sizeof(sin));
	return netif_ioctl(sock, SIOCSIFNETMASK, ifname, &ifr);
}

static int netif_set_ipv6(const char *ifname, const char *text)
{
	struct in6_ifreq req = {.ifr6_ifindex = (int)if_nametoindex(ifname)};
	char addr[INET6_ADDRSTRLEN];
	unsigned bits;
	int ret = prefix_split(text, addr, sizeof(addr), 128, &bits), sock;

	if (ret < 0 || inet_pton(AF_INET6, addr, &req.ifr6_addr) != 1)
		return -EINVAL;
	req.ifr6_prefixlen = bits;
	sock = netif_socket(AF_INET6);
	if (sock < 0)
		return sock;
	ret = ioctl(sock, SIOCSIFADDR, &req) < 0 && errno != EEXIST ? -errno : 0;
	close(sock);
	return ret;
}

/*
 * By rtnetlink: SIOCSIFTXQLEN wants privileges in the first user namespace, this only in that of
 * the interface.
 */
static int netif_set_txqueuelen(const char *ifname, uint32_t len)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
		struct rtattr attr;
		uint32_t len;
	} req = {.h = {.nlmsg_len = sizeof(req), .nlmsg_type = RTM_NEWLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	    .info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(ifname)},
	    .attr = {.rta_len = RTA_LENGTH(sizeof(uint32_t)), .rta_type = IFLA_TXQLEN},
	    .len = len};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr err;
		char rest[512];
	} answer;
	int ret = 0, sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n;

	if (sock < 0)
		return -errno;
	if (send(sock, &req, sizeof(req), 0) < 0 || (n = recv(sock, &answer, sizeof(answer), 0)) < 0)
		ret = -errno;
	else if (n < (ssize_t)(sizeof(answer.h) + sizeof(answer.err)) || answer.h.nlmsg_type != NLMSG_ERROR)
		ret = -EPROTO;
	else
		ret = answer.err.error;
	close(sock);
	return ret;
}

static int netif_up(int sock, const char *ifname)
{
	struct ifreq ifr = {0};
	int ret = netif_ioctl(sock, SIOCGIFFLAGS, ifname, &ifr);

	if (ret < 0)
		return ret;
	ifr.ifr_flags |= IFF_UP;
	return netif_ioctl(sock, SIOCSIFFLAGS, ifname, &ifr);
}

int netif_set_up(const Netd__Component__DriverConfig *c)
{
	const char *what = "mtu", *host = c->host_address;
	struct ifreq ifr = {0};
	int ret, sock = netif_socket(AF_INET);

	if (sock < 0)
		return sock;
	ifr.ifr_mtu = c->mtu ? (int)c->mtu : 1500;
	ret = netif_ioctl(sock, SIOCSIFMTU, c->ifname, &ifr);
	if (!ret && c->txqueuelen) {
		what = "queue length";
		ret = netif_set_txqueuelen(c->ifname, c->txqueuelen);
	}
	if (!ret && host[0]) {
		what = "address";
		ret = strchr(host, ':') ? netif_set_ipv6(c->ifname, host)
					: netif_set_ipv4(sock, c->ifname, host);
	}
	if (!ret) {
		what = "state";
		ret = netif_up(sock, c->ifname);
	}
	if (ret < 0)
		log_error("cannot set the %s of %s: %s", what, c->ifname, strerror(-ret));
	close(sock);
	return ret;
}
