/*
 * Opening the TAP, or taking it from the predecessor, and agreeing with the kernel on offloads.
 *
 * TUNSETOFFLOAD says what may come out of the TAP: frames without checksum, and super-frames up to
 * 64 KiB. What may go in needs no agreement, but a kernel that knows the flag for the one direction
 * knows the other too, so the answer decides the features of both.
 */
#include "drivers/tap/tap.h"
#include "base/log.h"
#include "base/siphash.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define TAP_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define ETHERNET_MAX (14 + 4) /* header and VLAN tag */

static const char *advice(int ret)
{
	switch (ret) {
	case -EPERM:
	case -EACCES:
		return " (netd has to be root, or in a user namespace that owns the network: unshare -Urn)";
	case -EBUSY:
		return " (another process has it)";
	default:
		return "";
	}
}

static int tap_enter_netns(const char *path)
{
	int ret = 0, fd;

	if (!path[0])
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	if (ret < 0)
		log_error("cannot enter network namespace %s: %s%s", path, strerror(-ret), advice(ret));
	return ret;
}

/* Is this still a TAP of that name, with its interface? */
static bool tap_usable(int fd, const char *ifname)
{
	struct ifreq ifr = {0};

	return ioctl(fd, TUNGETIFF, &ifr) == 0 && !strncmp(ifr.ifr_name, ifname, IFNAMSIZ);
}

static int tap_create(const char *ifname)
{
	struct ifreq ifr = {.ifr_flags = TAP_FLAGS};
	int ret, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		ret = -errno;
		log_error("cannot open /dev/net/tun: %s%s", strerror(-ret), ret == -ENOENT ? " (modprobe tun?)" : advice(ret));
		return ret;
	}
	memcpy(ifr.ifr_name, ifname, strlen(ifname));
	if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
		ret = -errno;
		log_error("cannot create TAP %s: %s%s", ifname, strerror(-ret), advice(ret));
		close(fd);
		return ret;
	}
	return fd;
}

static const struct offload {
	uint32_t feature;
	unsigned flags;
} offloads[] = {
    {REGION_F_CSUM, TUN_F_CSUM},
    {REGION_F_TSO4, TUN_F_TSO4 | TUN_F_TSO_ECN},
    {REGION_F_TSO6, TUN_F_TSO6 | TUN_F_TSO_ECN},
    {REGION_F_USO, TUN_F_USO4 | TUN_F_USO6},
};

#define OFFLOADS (sizeof(offloads) / sizeof(offloads[0]))

/*
 * Everything that is allowed in one call. Under a predecessor's traffic this changes nothing, where
 * step by step the kernel would segment in software meanwhile.
 */
static bool tap_agree_all(struct driver *d, struct tap *t)
{
	uint32_t features = 0;
	unsigned flags = 0;

	if (!driver_allows(d, REGION_F_CSUM))
		return false;
	for (size_t i = 0; i < OFFLOADS; i++) {
		if (!driver_allows(d, offloads[i].feature))
			continue;
		flags |= offloads[i].flags;
		features |= offloads[i].feature;
	}
	if (ioctl(t->fd, TUNSETOFFLOAD, flags) < 0)
		return false;
	d->facts.features = features;
	return true;
}

/* What this kernel knows of it. */
static int tap_agree_stepwise(struct driver *d, struct tap *t)
{
	unsigned flags = 0;

	for (size_t i = 0; i < OFFLOADS; i++) {
		if (!driver_allows(d, offloads[i].feature))
			continue;
		if (offloads[i].feature != REGION_F_CSUM && !(d->facts.features & REGION_F_CSUM))
			break;
		if (ioctl(t->fd, TUNSETOFFLOAD, flags | offloads[i].flags) < 0)
			continue;
		flags |= offloads[i].flags;
		d->facts.features |= offloads[i].feature;
	}
	/* Also when nothing may be used: a predecessor may have agreed to more. */
	return ioctl(t->fd, TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int tap_agree(struct driver *d, struct tap *t)
{
	int hdr = sizeof(struct virtio_net_hdr), ret;

	if (ioctl(t->fd, TUNSETVNETHDRSZ, &hdr) < 0)
		return -errno;
	ret = tap_agree_all(d, t) ? 0 : tap_agree_stepwise(d, t);
	t->frame_max = d->facts.features & ~(uint32_t)REGION_F_CSUM ? REGION_FRAME_MAX
								    : d->facts.mtu + ETHERNET_MAX;
	return ret;
}

/* netd's end of the link is a neighbour of the kernel's end: it needs an address of its own. */
static void tap_choose_mac(struct driver *d)
{
	static const struct siphash_key key = {{0x6e657464, 0x746170}};
	const Netd__Component__DriverConfig *c = d->config;
	uint8_t kernel[6] = {0}, *mac = d->facts.mac;

	if (c->mac.len == 6) {
		memcpy(mac, c->mac.data, 6);
	} else {
		uint64_t h = siphash(&key, c->device, strlen(c->device));

		memcpy(mac, &h, 6);
		mac[0] = 0x02;
	}
	if (netif_mac(c->ifname, kernel) == 0 && !memcmp(kernel, mac, 6)) {
		mac[5] ^= 1;
		log_warn("%s has netd's own hardware address; using another", c->ifname);
	}
}

static int tap_get_fd(struct driver *d, struct tap *t)
{
	const char *ifname = d->config->ifname;
	int flags, ret;

	t->fd = driver_handed(d, DEPOSIT_TAP, 0);
	if (t->fd >= 0 && tap_usable(t->fd, ifname)) {
		/* Somebody else may hold the descriptor too. */
		flags = fcntl(t->fd, F_GETFL);
		return flags < 0 || fcntl(t->fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
	}
	if (t->fd >= 0)
		close(t->fd);
	t->fd = tap_create(ifname);
	if (t->fd < 0)
		return t->fd;
	ret = driver_deposit(d, DEPOSIT_TAP, 0, t->fd);
	if (ret < 0)
		log_error("cannot deposit the TAP: %s", strerror(-ret));
	return ret;
}

int tap_open(struct driver *d)
{
	const Netd__Component__DriverConfig *c = d->config;
	struct tap *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	d->device = t;
	t->fd = -1;
	t->first = 1;
	t->mapped = calloc((d->queue.geo.chunks + 7) / 8, 1);
	if (!t->mapped)
		return -ENOMEM;
	d->facts.mtu = c->mtu ? c->mtu : 1500;
	if (!c->ifname[0] || strlen(c->ifname) >= IFNAMSIZ) {
		log_error("'%s' is no name of an interface", c->ifname);
		return -EINVAL;
	}
	if ((ret = tap_enter_netns(c->netns)) < 0 || (ret = tap_get_fd(d, t)) < 0)
		return ret;
	d->dev_fd = t->fd;
	ret = tap_agree(d, t);
	if (ret < 0) {
		log_error("cannot set up offloads of %s: %s", c->ifname, strerror(-ret));
		return ret;
	}
	ret = netif_set_up(c);
	if (ret < 0)
		return ret;
	tap_choose_mac(d);
	return 0;
}

void tap_close(struct driver *d)
{
	struct tap *t = d->device;

	if (!t)
		return;
	if (t->fd >= 0)
		close(t->fd);
	d->dev_fd = -1;
	free(t->mapped);
	free(t);
	d->device = NULL;
}
