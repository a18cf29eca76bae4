/* Receiving from the supervisor. See handover.h. */
#include "daemon/handover.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/util.h"
#include "proto/client.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SPARE_FILES 64ull

typedef Netd__Component__ToComponent to_component;

static uint32_t key_hash(uint32_t kind, uint32_t index)
{
	return (kind * 0x9e3779b1u) ^ (index * 0x85ebca6bu);
}

static void handed_drop(struct handed *d)
{
	for (int i = 0; i < d->nfds; i++)
		if (d->fds[i] >= 0)
			close(d->fds[i]);
	if (d->map)
		munmap(d->map, d->map_size);
	memset(d, 0, sizeof(*d));
}

static struct handed *handed_slot(struct handover *h, uint32_t kind, uint32_t index, uint32_t generation)
{
	uint32_t mask = h->handed_room - 1;

	for (uint32_t i = key_hash(kind, index) & mask;; i = (i + 1) & mask) {
		struct handed *d = &h->handed[i];

		if (!d->kind || (d->kind == kind && d->index == index && d->generation == generation))
			return d;
	}
}

static int handed_grow(struct handover *h)
{
	struct handed *old = h->handed;
	uint32_t room = h->handed_room;

	if (h->handed_n * 2 < room)
		return 0;
	h->handed = calloc(room ? room * 2 : 64, sizeof(*h->handed));
	if (!h->handed) {
		h->handed = old;
		return -ENOMEM;
	}
	h->handed_room = room ? room * 2 : 64;
	for (uint32_t i = 0; i < room; i++)
		if (old[i].kind)
			*handed_slot(h, old[i].kind, old[i].index, old[i].generation) = old[i];
	free(old);
	return 0;
}

/* Removes a slot from the open-addressing table: later entries of its run move up. */
static void handed_forget(struct handover *h, struct handed *d)
{
	uint32_t mask = h->handed_room - 1, hole = (uint32_t)(d - h->handed);

	for (uint32_t i = (hole + 1) & mask; h->handed[i].kind; i = (i + 1) & mask) {
		uint32_t home = key_hash(h->handed[i].kind, h->handed[i].index) & mask;

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		h->handed[hole] = h->handed[i];
		hole = i;
	}
	memset(&h->handed[hole], 0, sizeof(*h->handed));
	h->handed_n--;
}

/* A session's memory is mapped, and its control pages touched, before it is needed. */
static void premap(struct handed *d)
{
	struct stat st;

	if (d->kind != DEPOSIT_SESSION || d->nfds < 2 || fstat(d->fds[1], &st) < 0)
		return;
	d->map_size = (uint64_t)st.st_size;
	d->map = memory_map(d->fds[1], d->map_size, PROT_READ | PROT_WRITE);
	if (d->map)
		madvise(d->map, 4096, MADV_POPULATE_WRITE);
}

static void on_handed(struct handover *h, const Netd__Component__Key *key)
{
	struct handed *d;

	if (!key || !key->kind || handed_grow(h) < 0)
		return;
	d = handed_slot(h, key->kind, key->index, key->generation);
	if (d->kind)
		handed_drop(d);
	else
		h->handed_n++;
	*d = (struct handed){.kind = key->kind, .index = key->index, .generation = key->generation};
	for (int i = 0; i < h->msg.nfds && i < (int)ARRAY_SIZE(d->fds); i++)
		d->fds[d->nfds++] = channel_take_fd(&h->msg, i);
	premap(d);
}

static void on_withdrawn(struct handover *h, const Netd__Component__Key *key)
{
	struct handed *d;

	if (!h->handed_n)
		return;
	d = handed_slot(h, key->kind, key->index, key->generation);
	if (!d->kind)
		return;
	handed_drop(d);
	handed_forget(h, d);
}

void handover_note(struct handover *h, const Netd__Component__FromComponent *m)
{
	if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT)
		on_handed(h, m->deposit->key);
	else if (m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW)
		on_withdrawn(h, m->withdraw);
}

static struct handed_device *find_device(struct handover *h, const char *name)
{
	for (unsigned i = 0; i < h->devices; i++)
		if (!h->device[i].gone && !strcmp(h->device[i].name, name))
			return &h->device[i];
	return NULL;
}

static void add_device(struct handover *h, const Netd__Component__DeviceConfig *c, int first_fd)
{
	struct handed_device *d;
	int fd;

	if (find_device(h, c->name))
		return;
	if (h->devices == HANDOVER_DEVICES) {
		log_error("device %s: there have been too many; only a new netd-inet can take it", c->name);
		return;
	}
	d = &h->device[h->devices];
	memset(d, 0, sizeof(*d));
	strncpy(d->name, c->name, sizeof(d->name) - 1);
	strncpy(d->driver, c->driver, sizeof(d->driver) - 1);
	fd = channel_take_fd(&h->msg, first_fd);
	d->region_size = c->region_size;
	d->region = fd < 0 ? NULL : memory_map(fd, d->region_size, PROT_READ | PROT_WRITE);
	if (fd >= 0)
		close(fd);
	if (!d->region) {
		log_error("device %s: its region cannot be mapped", d->name);
		return;
	}
	d->bell = channel_take_fd(&h->msg, first_fd + 1);
	d->driver_bell = channel_take_fd(&h->msg, first_fd + 2);
	h->devices++;
}

void handover_drop_device(struct handed_device *d)
{
	if (d->region)
		munmap(d->region, d->region_size);
	if (d->bell >= 0)
		close(d->bell);
	if (d->driver_bell >= 0)
		close(d->driver_bell);
	d->region = NULL;
	d->bell = d->driver_bell = -1;
}

/* One that is attached is dropped when the stack has let go of it (configure.c). */
static void note_gone(struct handover *h, const Netd__Component__Config *config)
{
	for (unsigned i = 0; i < h->devices; i++) {
		struct handed_device *d = &h->device[i];
		bool there = false;

		for (size_t k = 0; k < config->n_device; k++)
			there |= !strcmp(config->device[k]->name, d->name);
		if (there || d->gone)
			continue;
		d->gone = true;
		if (!d->attached)
			handover_drop_device(d);
	}
}

static void forget_oldest(struct handover *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		netd__component__config__free_unpacked(h->was[i].config, NULL);
	h->n_was -= n;
	memmove(h->was, h->was + n, h->n_was * sizeof(h->was[0]));
}

static void on_config(struct handover *h, const Netd__Component__Config *config)
{
	size_t size = netd__component__config__get_packed_size(config);
	uint8_t *buf = malloc(size ? size : 1);

	note_gone(h, config);
	for (size_t i = 0; i < config->n_device; i++)
		add_device(h, config->device[i], (int)i * 3);
	if (!buf)
		return;
	netd__component__config__pack(config, buf);
	if (h->config && h->n_was == HANDOVER_CONFIGS)
		forget_oldest(h, 1);
	if (h->config)
		h->was[h->n_was++] = (struct config_was){h->config, h->config_id};
	h->config = netd__component__config__unpack(NULL, size, buf);
	h->config_id = crc32c(0, buf, size);
	h->config_new = true;
	free(buf);
}

void handover_in_force(struct handover *h, uint32_t config_id)
{
	unsigned at = 0;

	h->config_new = h->config_id != config_id;
	while (at < h->n_was && h->was[at].id != config_id)
		at++;
	if (!h->config_new)
		forget_oldest(h, h->n_was);
	else if (at < h->n_was)
		forget_oldest(h, at);
}

void handover_forget_configs(struct handover *h)
{
	forget_oldest(h, h->n_was);
	if (h->config)
		netd__component__config__free_unpacked(h->config, NULL);
	h->config = NULL;
}

static void on_status(struct handover *h, const Netd__Component__Status *status)
{
	size_t size = netd__component__status__get_packed_size(status);
	uint8_t *buf = malloc(size ? size : 1);

	if (!buf)
		return;
	netd__component__status__pack(status, buf);
	if (h->status)
		netd__component__status__free_unpacked(h->status, NULL);
	h->status = netd__component__status__unpack(NULL, size, buf);
	h->status_new = true;
	free(buf);
}

static int on_start(struct handover *h, const Netd__Component__Start *start)
{
	h->arena_fd = channel_take_fd(&h->msg, 0);
	h->memory_fd = channel_take_fd(&h->msg, 1);
	h->clock_fd = channel_take_fd(&h->msg, 2);
	h->listen_fd = channel_take_fd(&h->msg, 3);
	h->slot = start->slot < CLOCK_COMPONENTS ? start->slot : 0;
	h->arena_size = start->arena_size;
	h->memory_size = start->memory_size;
	h->arena = memory_map(h->arena_fd, h->arena_size, PROT_READ | PROT_WRITE);
	h->memory = memory_map(h->memory_fd, h->memory_size, PROT_READ | PROT_WRITE);
	h->clock = memory_map(h->clock_fd, CLOCK_SIZE, PROT_READ | PROT_WRITE);
	if (h->arena && h->memory && h->clock && h->listen_fd >= 0)
		return 0;
	log_error("%llu MiB of address space cannot be had: %s (arena_mib, daemon_memory_mib, or ulimit -v)",
	    (unsigned long long)(h->arena_size + h->memory_size) >> 20, strerror(errno));
	return -ENOMEM;
}

static void dispatch(struct handover *h, const to_component *m)
{
	switch (m->body_case) {
	case NETD__COMPONENT__TO_COMPONENT__BODY_HANDED:
		on_handed(h, m->handed->key);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_HANDED_END:
		h->synced = true;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_WITHDRAWN:
		on_withdrawn(h, m->withdrawn);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_PING:
		store_once(&h->clock->beat[h->slot].beat, m->ping->number);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_TAKE_OVER_GRANTED:
		h->granted = true;
		h->died_ns = m->take_over_granted->died_ns;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_STATUS:
		on_status(h, m->status);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_CONFIG:
		on_config(h, m->config);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_REDEPOSIT:
		h->redeposit = true;
		h->alone = false;
		h->asked++;
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_KEEP:
		if (fdtable_own(&h->kept, m->keep->name, channel_take_fd(&h->msg, 0)) < 0)
			log_warn("what the supervisor gives to keep cannot be kept");
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_FORGET:
		fdtable_drop(&h->kept, m->forget->name);
		break;
	case NETD__COMPONENT__TO_COMPONENT__BODY_STOP:
		h->stop = true;
		break;
	default:
		break; /* driver_restarted: the region's own incarnation tells the same */
	}
}

void handover_use_spares(const struct handover *h, bool use)
{
	struct rlimit r;

	if (!h->files || getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = h->files - (use ? 0 : min_of(h->files / 4, SPARE_FILES));
	setrlimit(RLIMIT_NOFILE, &r);
}

void handover_spare_files(struct handover *h)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0)
		h->files = r.rlim_cur;
	handover_use_spares(h, false);
}

static int receive_all(struct handover *h)
{
	int ret;

	while ((ret = channel_recv(h->channel, &h->msg, 0)) > 0 || ret == -EMSGSIZE) {
		to_component *m;

		if (ret < 0) { /* too many descriptors are open: this message is lost, the supervisor is not */
			log_warn("a message of the supervisor lost its descriptors");
			continue;
		}
		h->heard++;
		m = netd__component__to_component__unpack(NULL, h->msg.len, h->msg.data);
		if (m) {
			dispatch(h, m);
			netd__component__to_component__free_unpacked(m, NULL);
		}
		channel_close_fds(&h->msg);
	}
	return ret;
}

int handover_receive(struct handover *h)
{
	int ret;

	handover_use_spares(h, true);
	ret = receive_all(h);
	handover_use_spares(h, false);
	if (ret == -EAGAIN)
		return 0;
	h->gone = true;
	return -EPIPE;
}

int handover_wait(struct handover *h, int timeout_ms)
{
	struct pollfd p = {.fd = h->channel, .events = POLLIN};

	if (h->gone)
		return -EPIPE;
	if (poll(&p, 1, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return handover_receive(h);
}

int handover_start(struct handover *h, int channel)
{
	to_component *m;
	int ret;

	h->channel = channel;
	h->arena_fd = h->memory_fd = h->clock_fd = h->listen_fd = -1;
	do {
		struct pollfd p = {.fd = channel, .events = POLLIN};

		poll(&p, 1, -1);
		ret = channel_recv(channel, &h->msg, 0);
	} while (ret == -EAGAIN);
	m = ret > 0 ? netd__component__to_component__unpack(NULL, h->msg.len, h->msg.data) : NULL;
	if (m && m->body_case == NETD__COMPONENT__TO_COMPONENT__BODY_START) {
		ret = on_start(h, m->start);
	} else {
		log_error("no start message: %s", ret < 0 ? strerror(-ret) : "the supervisor is gone");
		ret = -EPROTO;
	}
	if (m)
		netd__component__to_component__free_unpacked(m, NULL);
	channel_close_fds(&h->msg);
	return ret;
}

bool handover_take(struct handover *h, struct handed *out)
{
	for (; h->handed_n && h->take_at < h->handed_room; h->take_at++) {
		struct handed *d = &h->handed[h->take_at];

		if (!d->kind)
			continue;
		*out = *d;
		memset(d, 0, sizeof(*d));
		h->handed_n--;
		return true;
	}
	h->take_at = 0;
	return false;
}

static void *attend(void *arg)
{
	struct attendant *a = arg;

	for (;;) {
		struct pollfd p[2] = {{.fd = a->wake[0], .events = POLLIN},
		    {.fd = a->h->channel, .events = POLLIN}};

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			break;
		if (p[1].revents)
			handover_receive(a->h);
		/* Its end before we were given anything to keep: nobody knows us. */
		if (a->h->stop || a->h->gone)
			_exit(0);
	}
	return NULL;
}

int handover_attend(struct attendant *a, struct handover *h)
{
	int ret = bell_create(a->wake);

	a->h = h;
	if (ret < 0)
		return ret;
	ret = pthread_create(&a->thread, NULL, attend, a);
	return -ret;
}

void handover_leave(struct attendant *a)
{
	bell_ring(a->wake[1]);
	pthread_join(a->thread, NULL);
	close(a->wake[0]);
	close(a->wake[1]);
}
