#include "drivers/runtime/attach.h"
#include "base/log.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEND_WAIT_MS 2000

enum start_fds { FD_REGION, FD_BELL, FD_INET_BELL, FD_CLOCK, FD_COUNT };

static int attach_map_region(struct driver *d, int fd, uint64_t size)
{
	struct region_geometry geo;
	int ret;

	d->region = memory_map(fd, size, PROT_READ | PROT_WRITE);
	if (!d->region)
		return -errno;
	d->region_size = size;
	memcpy(&geo, &d->region->geo, sizeof(geo));
	__asm__ __volatile__("" : : "r"(&geo) : "memory");
	ret = region_check(&geo, size);
	if (ret < 0) {
		log_error("the device region's geometry is not valid");
		return ret;
	}
	queue_init(&d->queue, d->region, &geo, 0);
	return 0;
}

static int attach_start(struct driver *d, struct channel_msg *m)
{
	const Netd__Component__Start *s = d->start->start;
	int fd[FD_COUNT], ret = -EPROTO;

	if (m->nfds != FD_COUNT || !s->driver || s->slot >= CLOCK_COMPONENTS ||
	    strcmp(s->driver->type, d->ops->type) != 0) {
		log_error("start message is not for a %s driver", d->ops->type);
		return -EPROTO;
	}
	for (int i = 0; i < FD_COUNT; i++)
		fd[i] = channel_take_fd(m, i);
	d->config = s->driver;
	d->slot = s->slot;
	d->bell = fd[FD_BELL];
	d->inet_bell = fd[FD_INET_BELL];
	d->clock = memory_map(fd[FD_CLOCK], CLOCK_SIZE, PROT_READ | PROT_WRITE);
	if (!d->clock)
		ret = -errno;
	else if (load_once(&d->clock->magic) == CLOCK_MAGIC)
		ret = attach_map_region(d, fd[FD_REGION], s->region_size);
	close(fd[FD_REGION]);
	close(fd[FD_CLOCK]);
	if (ret < 0)
		log_error("cannot attach to the device region: %s", strerror(-ret));
	return ret;
}

static void attach_handed(struct driver *d, const Netd__Component__Key *key, struct channel_msg *m)
{
	int fd = channel_take_fd(m, 0);

	if (fd < 0)
		return;
	if (!key || d->n_handed == DRIVER_HANDED_MAX) {
		close(fd);
		return;
	}
	d->handed[d->n_handed].kind = key->kind;
	d->handed[d->n_handed].index = key->index;
	d->handed[d->n_handed].generation = key->generation;
	d->handed[d->n_handed++].fd = fd;
}

bool attach_message(struct driver *d, const Netd__Component__ToComponent *m)
{
	switch (m->body_case) {
	case NETD__COMPONENT__TO_COMPONENT__BODY_PING:
		if (d->clock)
			store_release(&d->clock->beat[d->slot].beat, m->ping->number);
		return true;
	case NETD__COMPONENT__TO_COMPONENT__BODY_REDEPOSIT:
		if (d->dev_fd >= 0)
			driver_deposit(d, DEPOSIT_TAP, 0, d->dev_fd);
		return true;
	case NETD__COMPONENT__TO_COMPONENT__BODY_STOP:
		d->stop = true;
		return true;
	default:
		return false;
	}
}

/* One message before the first frame. 1: that was the last, 0: more to come, or a negative errno. */
static int attach_step(struct driver *d)
{
	Netd__Component__ToComponent *m =
	    netd__component__to_component__unpack(NULL, d->msg.len, d->msg.data);
	int ret = 0;

	if (!m)
		return -EPROTO;
	if (m->body_case == NETD__COMPONENT__TO_COMPONENT__BODY_START && !d->start) {
		d->start = m;
		return attach_start(d, &d->msg);
	}
	if (m->body_case == NETD__COMPONENT__TO_COMPONENT__BODY_HANDED)
		attach_handed(d, m->handed->key, &d->msg);
	else if (m->body_case == NETD__COMPONENT__TO_COMPONENT__BODY_HANDED_END)
		ret = d->start ? 1 : -EPROTO;
	else
		attach_message(d, m);
	netd__component__to_component__free_unpacked(m, NULL);
	return ret;
}

int attach_await(struct driver *d)
{
	int ret = 0;

	while (!ret && !d->stop) {
		struct pollfd p = {.fd = CHANNEL_FD, .events = POLLIN};

		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
		ret = channel_recv(CHANNEL_FD, &d->msg, 0);
		if (ret == -EAGAIN) {
			ret = 0;
			continue;
		}
		if (ret == 0)
			ret = -ECONNRESET;
		if (ret < 0) {
			log_error("no start message: %s", strerror(-ret));
			break;
		}
		ret = attach_step(d);
		channel_close_fds(&d->msg);
	}
	return ret < 0 ? ret : 0;
}

static int attach_hello(void)
{
	Netd__Component__Hello hello = NETD__COMPONENT__HELLO__INIT;
	Netd__Component__FromComponent m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	hello.version = 1;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_HELLO;
	m.hello = &hello;
	return channel_send_wait(CHANNEL_FD, &m.base, NULL, 0, SEND_WAIT_MS);
}

int attach_announce(struct driver *d)
{
	struct region *r = d->region;
	struct timespec now;

	memcpy(r->mac, d->facts.mac, sizeof(r->mac));
	store_once(&r->mtu, d->facts.mtu);
	store_once(&r->features, d->facts.features);
	store_release(&r->link_up, 1);
	store_release(&r->driver_incarnation, load_once(&r->driver_incarnation) + 1);
	d->count = (struct driver_counters){
	    .rx_frames = r->drv_rx_frames,
	    .tx_frames = r->drv_tx_frames,
	    .rx_dropped = r->drv_rx_dropped,
	    .tx_dropped = r->drv_tx_dropped,
	    .tx_errors = r->drv_tx_errors,
	};
	clock_gettime(CLOCK_MONOTONIC, &now);
	store_release(&d->clock->beat[d->slot].started_ns,
	    (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec);
	/* It may sleep since before there was a driver. */
	bell_ring(d->inet_bell);
	return attach_hello();
}

void attach_release(struct driver *d)
{
	for (unsigned i = 0; i < d->n_handed; i++)
		if (d->handed[i].fd >= 0)
			close(d->handed[i].fd);
	if (d->bell >= 0)
		close(d->bell);
	if (d->inet_bell >= 0)
		close(d->inet_bell);
	if (d->region)
		munmap(d->region, d->region_size);
	if (d->clock)
		munmap(d->clock, CLOCK_SIZE);
	if (d->start)
		netd__component__to_component__free_unpacked(d->start, NULL);
}

int driver_handed(struct driver *d, uint32_t kind, uint32_t index)
{
	for (unsigned i = 0; i < d->n_handed; i++) {
		int fd = d->handed[i].fd;

		if (fd < 0 || d->handed[i].kind != kind || d->handed[i].index != index)
			continue;
		d->handed[i].fd = -1;
		return fd;
	}
	return -1;
}

int driver_deposit(struct driver *d, uint32_t kind, uint32_t index, int fd)
{
	Netd__Component__Key key = NETD__COMPONENT__KEY__INIT;
	Netd__Component__Deposit deposit = NETD__COMPONENT__DEPOSIT__INIT;
	Netd__Component__FromComponent m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	if (!d->channel_open)
		return -ENOTCONN;
	key.kind = kind;
	key.index = index;
	key.generation = 1;
	deposit.key = &key;
	m.body_case = NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT;
	m.deposit = &deposit;
	return channel_send_wait(CHANNEL_FD, &m.base, &fd, 1, SEND_WAIT_MS);
}

bool driver_allows(const struct driver *d, uint32_t feature)
{
	return (d->config->offloads & feature) == feature;
}
