/*
 * What the components share: arena, the daemon's ring memory, clock page, and for each device a region
 * and two bells. Made once, or taken back from a predecessor (store.c); kept open for every successor.
 * The memories are sparse: their sizes are address space.
 */
#include "supervisor/supervisor.h"
#include "proto/region.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CHUNK_SIZE 4096

bool memory_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && seals & F_SEAL_SHRINK;
}

/* Takes `*size` over from what is stored, if it is. */
static int take_or_create(struct supervisor *s, const char *name, uint64_t *size, int *fd)
{
	struct stat st;

	*fd = store_take(s, "%s", name);
	if (*fd >= 0 && !memory_sealed(*fd)) {
		log_error("%s of a predecessor is not sealed", name);
		return -EPROTO;
	}
	if (*fd >= 0 && fstat(*fd, &st) == 0) {
		*size = (uint64_t)st.st_size;
		return 0;
	}
	*fd = memory_create(name, *size);
	if (*fd < 0)
		return *fd;
	store_put(s, *fd, "%s", name);
	return 1;
}

int memory_start(struct supervisor *s)
{
	uint64_t clock_size = CLOCK_SIZE;
	int ret;

	s->arena_size = (uint64_t)s->config->arena_mib << 20;
	s->memory_size = (uint64_t)s->config->daemon_memory_mib << 20;
	if ((ret = take_or_create(s, "arena", &s->arena_size, &s->arena)) < 0 ||
	    (ret = take_or_create(s, "memory", &s->memory_size, &s->memory)) < 0 ||
	    (ret = take_or_create(s, "clock", &clock_size, &s->clock_fd)) < 0)
		return ret;
	s->clock = memory_map(s->clock_fd, CLOCK_SIZE, PROT_READ | PROT_WRITE);
	if (!s->clock)
		return -errno;
	s->clock->magic = CLOCK_MAGIC;
	return 0;
}

static int region_create(struct supervisor *s, struct device *d, const struct config_device *conf)
{
	struct region_geometry geo = {.chunk_size = CHUNK_SIZE, .chunks = conf->chunks,
	    .entries = round_up_pow2(conf->chunks), .queues = 1};
	char name[48];
	struct region *r;
	int ret;

	d->region_size = region_layout(&geo);
	snprintf(name, sizeof(name), "region.%s", d->name);
	ret = take_or_create(s, name, &d->region_size, &d->region);
	if (ret <= 0)
		return ret;
	r = memory_map(d->region, d->region_size, PROT_READ | PROT_WRITE);
	if (!r)
		return -errno;
	r->geo = geo;
	munmap(r, d->region_size);
	return 0;
}

static int bell_take(struct supervisor *s, const struct device *d, const char *which, int p[2])
{
	int ret;

	p[0] = store_take(s, "%s-read.%s", which, d->name);
	p[1] = store_take(s, "%s-write.%s", which, d->name);
	if (p[0] >= 0 && p[1] >= 0)
		return 0;
	ret = bell_create(p);
	if (ret < 0)
		return ret;
	store_put(s, p[0], "%s-read.%s", which, d->name);
	store_put(s, p[1], "%s-write.%s", which, d->name);
	return 0;
}

int device_create(struct supervisor *s, const struct config_device *conf)
{
	struct device *d = calloc(1, sizeof(*d));
	int ret;

	if (!d) {
		log_error("device %s: no memory", conf->name);
		return -ENOMEM;
	}
	snprintf(d->name, sizeof(d->name), "%s", conf->name);
	d->region = d->inet_bell[0] = d->inet_bell[1] = d->driver_bell[0] = d->driver_bell[1] = -1;
	while (d->slot < CONFIG_DEVICES_MAX && s->device[d->slot])
		d->slot++;
	if (d->slot == CONFIG_DEVICES_MAX) {
		log_error("device %s: there are too many that still go", d->name);
		free(d);
		return -ENOSPC;
	}
	s->device[d->slot] = d;
	uv_timer_init(&s->loop, &d->history.timer);
	d->history.timer.data = d;
	if ((ret = region_create(s, d, conf)) < 0 || (ret = bell_take(s, d, "inet", d->inet_bell)) < 0 ||
	    (ret = bell_take(s, d, "driver", d->driver_bell)) < 0) {
		log_error("device %s cannot be made: %s", d->name, strerror(-ret));
		device_destroy(s, d);
		return ret;
	}
	store_take_deposits(s, d);
	return 0;
}

static void on_timer_closed(uv_handle_t *h)
{
	free(h->data);
}

void device_destroy(struct supervisor *s, struct device *d)
{
	static const char *const part[] = {"region", "inet-read", "inet-write", "driver-read", "driver-write"};
	const int fds[] = {d->region, d->inet_bell[0], d->inet_bell[1], d->driver_bell[0], d->driver_bell[1]};

	for (const struct deposit *of; (of = escrow_first(s->escrow, escrow_owner(d)));) {
		const struct escrow_key key = of->key;

		store_withdraw(s, d, &key);
		escrow_remove(s->escrow, &key);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		store_remove(s, "%s.%s", part[i], d->name);
	}
	pidfile_remove_device(s, d);
	s->device[d->slot] = NULL;
	uv_close((uv_handle_t *)&d->history.timer, on_timer_closed);
}

struct device *device_by_name(const struct supervisor *s, const char *name)
{
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++)
		if (s->device[i] && !strcmp(s->device[i]->name, name))
			return s->device[i];
	return NULL;
}
