/*
 * The interface table: attaching regions, what a driver says of its device, positions made public.
 *
 * Everything that the driver writes is read once and checked. A lie about a descriptor or a
 * position stops the device (`accused`) until a driver with a new incarnation is there; the
 * supervisor, told by the daemon, kills the liar.
 */
#include "device/layer.h"
#include "base/log.h"
#include "base/util.h"
#include "proto/channel.h"
#include <stdlib.h>

#define MTU_MIN	    68 /* RFC 791 */
#define MTU_MAX	    65535
#define MTU_DEFAULT 1500

#define FEATURES_KNOWN (REGION_F_CSUM | REGION_F_TSO4 | REGION_F_TSO6 | REGION_F_USO)

int device_layer_init(struct stack *s)
{
	struct device_layer *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	s->device = l;
	l->room = state_capacity(s->state, KIND_DEVICE);
	l->dev = calloc(l->room, sizeof(*l->dev));
	if (!l->dev || neigh_open(s) < 0) {
		device_layer_exit(s);
		return -ENOMEM;
	}
	return 0;
}

void device_layer_exit(struct stack *s)
{
	struct device_layer *l = s->device;

	if (!l)
		return;
	lo_detach(s);
	for (uint32_t i = 0; l->dev && i < l->room; i++)
		chunks_close(&l->dev[i]);
	neigh_close(s);
	free(l->dev);
	free(l);
	s->device = NULL;
}

/* ---- attaching */

int device_find(const struct stack *s, const char *name)
{
	for (uint32_t i = state_next(s->state, KIND_DEVICE, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_DEVICE, i + 1))
		if (!strncmp(device_peek(s, i)->name, name, DEVICE_NAME_MAX))
			return (int)i;
	return -ENODEV;
}

const struct device_rec *device_peek(const struct stack *s, uint32_t dev)
{
	return state_peek(s->state, KIND_DEVICE, dev);
}

uint32_t device_count(const struct stack *s)
{
	return s->device->count;
}

static void count_up_to(struct stack *s, uint32_t dev)
{
	s->device->count = max_of(s->device->count, dev + 1);
}

/* The first that is not there: if one was lost, its number, which addresses and routes name. */
static struct device_rec *free_record(struct stack *s, uint32_t *dev)
{
	for (*dev = DEVICE_LO + 1; *dev < state_capacity(s->state, KIND_DEVICE); ++*dev)
		if (!state_live(s->state, KIND_DEVICE, *dev))
			return state_alloc_at(s->state, KIND_DEVICE, *dev);
	return NULL;
}

/* Finds the record by name, or makes it. NULL: the table is full. */
static struct device_rec *make_record(
    struct stack *s, const char *name, const char *driver, uint32_t *dev)
{
	struct device_rec *r;
	int found = device_find(s, name);

	if (found >= 0) {
		*dev = (uint32_t)found;
		r = device_get(s, *dev);
	} else {
		r = free_record(s, dev);
		if (r)
			memcpy(r->name, name, strlen(name));
	}
	if (r) {
		memset(r->driver, 0, sizeof(r->driver));
		memcpy(r->driver, driver, min_of(strlen(driver), sizeof(r->driver) - 1));
	}
	return r;
}

/* A region that nobody ever spoke to, one of another size, or one whose record was lost. */
static bool is_fresh(
    const struct device_rec *r, const struct region *region, const struct region_geometry *g)
{
	return !load_once(&region->inet_ready) || r->chunks != g->chunks;
}

/*
 * The record begins where the driver stands, with nothing given to it: at 0, but for a region whose record was lost. What
 * that driver still has in hand then is a lie, and its successor has nothing.
 */
static void begin(struct device_rec *r, const struct region *region, const struct region_geometry *g)
{
	const struct region_queue *q = &region->queue[0];

	r->fill_prod = r->receive_cons = load_acquire(&q->receive_prod.v);
	r->transmit_prod = r->completion_cons = load_acquire(&q->completion_prod.v);
	r->driver_incarnation = 0;
	r->chunks = g->chunks;
}

static int open_region(struct stack *s, uint32_t dev, struct device_rec *r, struct region *region,
    const struct region_geometry *g)
{
	struct device *d = &s->device->dev[dev];
	bool fresh = is_fresh(r, region, g);
	int ret;

	*d = (struct device){.geo = *g, .bell = -1};
	if ((ret = chunks_open(d)) < 0)
		return ret;
	if (fresh)
		begin(r, region, g);
	if ((ret = chunks_bind(s, dev, fresh)) < 0) {
		chunks_close(d);
		return ret;
	}
	d->region = region;
	d->mem = region_chunk(region, g, 0);
	d->published_fill = r->fill_prod;
	d->published_transmit = r->transmit_prod;
	chunks_census(s, dev);
	return 0;
}

int device_attach(
    struct stack *s, const char *name, const char *driver, void *region, uint64_t size, int bell)
{
	struct region_geometry g;
	struct device_rec *r;
	uint32_t dev;
	int ret;

	if (!*name || strlen(name) >= DEVICE_NAME_MAX)
		return -EINVAL;
	if (size < sizeof(struct region))
		return -EPROTO;
	memcpy(&g, region, sizeof(g));
	/* the private copy is what is checked and used */
	__asm__ __volatile__("" : : : "memory");
	if ((ret = region_check(&g, size)) < 0 || (ret = lo_attach(s)) < 0)
		return ret;
	r = make_record(s, name, driver, &dev);
	if (!r)
		return -ENOSPC;
	if (dev == DEVICE_LO || device_of(s, dev))
		return -EEXIST;
	if ((ret = open_region(s, dev, r, region, &g)) < 0)
		return ret;
	s->device->dev[dev].bell = bell;
	s->device->announce = true;
	count_up_to(s, dev);
	device_refresh(s, dev);
	log_info(
	    "device %s is number %u: %u chunks of %u bytes", name, dev, g.chunks, g.chunk_size);
	return (int)dev;
}

int device_detach(struct stack *s, uint32_t dev)
{
	struct device *d = device_of(s, dev);

	if (!d || !d->region)
		return -ENODEV;
	for (uint32_t i = 0; i < d->geo.chunks; i++)
		if (d->place[i] == CHUNK_HELD)
			return -EBUSY;
	if (device_get(s, dev))
		device_get(s, dev)->up = 0;
	chunks_close(d);
	*d = (struct device){.bell = -1};
	return 0;
}

int device_reindex(struct stack *s)
{
	int ret = lo_attach(s);

	if (ret < 0)
		return ret;
	for (uint32_t i = state_next(s->state, KIND_DEVICE, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_DEVICE, i + 1)) {
		count_up_to(s, i);
		if (device_of(s, i))
			chunks_census(s, i);
		else if (device_peek(s, i)->up)
			device_get(s, i)->up = 0; /* it is not configured any more */
	}
	s->device->lo.head = s->device->lo.tail;
	return 0;
}

/* ---- what the driver says */

struct driver_facts {
	uint32_t incarnation, up, mtu, features;
	uint8_t mac[6];
};

static void read_facts(const struct region *region, struct driver_facts *f)
{
	f->incarnation = load_acquire(&region->driver_incarnation);
	f->up = load_once(&region->link_up) != 0;
	f->mtu = load_once(&region->mtu);
	f->mtu =
	    f->mtu ? min_of(max_of(f->mtu, (uint32_t)MTU_MIN), (uint32_t)MTU_MAX) : MTU_DEFAULT;
	f->features = load_once(&region->features) & FEATURES_KNOWN;
	for (int i = 0; i < 6; i++)
		f->mac[i] = load_once(&region->mac[i]);
}

static bool facts_changed(const struct device_rec *r, const struct driver_facts *f)
{
	return r->driver_incarnation != f->incarnation || r->up != f->up || r->mtu != f->mtu ||
	       r->features != f->features || memcmp(r->mac, f->mac, 6) != 0;
}

/*
 * What the liar announced and nobody looked at yet is not looked at any more: each lie in it would
 * accuse the successor, who found it there.
 */
static void forget_announced(struct device *d, struct device_rec *r)
{
	const struct region_queue *q = &d->region->queue[0];
	uint64_t received = load_acquire(&q->receive_prod.v);
	uint64_t completed = load_acquire(&q->completion_prod.v);

	if (ring_avail(received, r->receive_cons, r->fill_prod - r->receive_cons) >= 0)
		r->receive_cons = received;
	if (ring_avail(completed, r->completion_cons, r->transmit_prod - r->completion_cons) >= 0)
		r->completion_cons = completed;
	d->touched = true;
}

static void new_driver(struct stack *s, uint32_t dev, struct device_rec *r)
{
	struct device *d = &s->device->dev[dev];

	if (r->driver_incarnation) {
		d->restarted = true;
		log_info("device %s: its driver was started again", r->name);
	}
	if (!d->accused)
		return;
	/* Chunks that its lies made disappear are found again. */
	d->accused = d->told = false;
	forget_announced(d, r);
	chunks_from_rings(s, dev);
}

void device_refresh(struct stack *s, uint32_t dev)
{
	struct device *d = &s->device->dev[dev];
	const struct device_rec *seen = device_peek(s, dev);
	struct device_rec *r;
	struct driver_facts f;

	if (!d->region || !seen)
		return;
	read_facts(d->region, &f);
	if (!facts_changed(seen, &f))
		return;
	r = device_get(s, dev);
	if (!r)
		return;
	if (r->driver_incarnation != f.incarnation)
		new_driver(s, dev, r);
	if (r->up != f.up)
		log_info("device %s: link %s", r->name, f.up ? "up" : "down");
	r->driver_incarnation = f.incarnation;
	r->up = (uint8_t)f.up;
	r->mtu = f.mtu;
	r->features = f.features;
	memcpy(r->mac, f.mac, 6);
}

void device_accuse(struct device *d, const char *reason)
{
	if (d->accused)
		return;
	d->accused = true;
	d->told = false;
	d->reason = reason;
}

const char *device_accused(struct stack *s, const char **reason)
{
	for (uint32_t i = 0; i < s->device->count; i++) {
		struct device *d = &s->device->dev[i];

		if (!d->accused || d->told)
			continue;
		d->told = true;
		*reason = d->reason;
		return device_peek(s, i)->name;
	}
	return NULL;
}

bool device_restarted(struct stack *s, uint32_t dev)
{
	struct device *d = device_of(s, dev);
	bool was = d && d->restarted;

	if (was)
		d->restarted = false;
	return was;
}

/* ---- speak, sleep */

/*
 * Has the driver something new to do? A refill alone is worth a bell only if the driver may have
 * run short; what it published of itself is a hint here, and wrong hints are its own loss.
 */
static bool worth_a_bell(const struct device *d, const struct device_rec *r)
{
	const struct region_queue *q = &d->region->queue[0];
	uint64_t used = min_of(load_once(&q->receive_prod.v), load_once(&q->fill_cons.v));

	if (r->transmit_prod != d->published_transmit)
		return true;
	return r->fill_prod != d->published_fill &&
	       (int64_t)(d->published_fill - used) < fill_target(d) / 2;
}

static void speak_one(struct stack *s, uint32_t dev, bool all)
{
	struct device *d = &s->device->dev[dev];
	const struct device_rec *r = device_peek(s, dev);
	struct region_queue *q;

	chunks_commit(d);
	if (!d->region || !r || (!d->touched && !all))
		return;
	q = &d->region->queue[0];
	store_release(&q->receive_cons.v, r->receive_cons);
	store_release(&q->completion_cons.v, r->completion_cons);
	KILLPOINT("device.speak_consumed");
	store_release(&q->fill_prod.v, r->fill_prod);
	KILLPOINT("device.speak_filled");
	store_release(&q->transmit_prod.v, r->transmit_prod);
	KILLPOINT("device.speak_sent");
	fence_full();
	if (d->bell >= 0 &&
	    (all || (load_acquire(&d->region->driver_sleeps) && worth_a_bell(d, r))))
		bell_ring(d->bell);
	d->published_fill = r->fill_prod;
	d->published_transmit = r->transmit_prod;
	d->touched = false;
}

/*
 * "Ready" comes before the first position, after the first commit: whoever finds a region that is
 * not ready knows that nobody has seen a position of it.
 */
static void announce(struct stack *s)
{
	const struct world_rec *w = world_peek(s);

	for (uint32_t i = 0; i < s->device->count; i++) {
		struct device *d = &s->device->dev[i];

		if (!d->region)
			continue;
		store_once(&d->region->inet_incarnation, w ? w->incarnation : 0);
		store_release(&d->region->inet_ready, 1);
	}
	s->device->announce = false;
}

void device_speak(struct stack *s, bool all)
{
	if (s->device->announce || all)
		announce(s);
	s->device->lo.carried = 0;
	for (uint32_t i = 0; i < s->device->count; i++)
		if (s->device->dev[i].mem)
			speak_one(s, i, all);
}

bool device_pending(const struct stack *s, uint32_t dev)
{
	const struct device *d = device_of(s, dev);
	const struct device_rec *r = device_peek(s, dev);
	const struct region_queue *q;
	struct driver_facts f;

	if (!d || !d->region || !r)
		return false;
	read_facts(d->region, &f);
	if (facts_changed(r, &f))
		return true;
	if (d->accused)
		return false;
	q = &d->region->queue[0];
	if (load_acquire(&q->receive_prod.v) != r->receive_cons)
		return true;
	/* Completions are worth waking for only when somebody may be waiting for room. */
	return load_acquire(&q->completion_prod.v) != r->completion_cons && !device_room(s, dev);
}

bool device_crowded(const struct stack *s)
{
	for (uint32_t i = 0; i < s->device->count; i++)
		if (s->device->dev[i].region && load_once(&s->device->dev[i].region->crowded))
			return true;
	return false;
}

void device_tell_core(struct stack *s, int at)
{
	for (uint32_t i = 0; i < s->device->count; i++)
		if (s->device->dev[i].region)
			store_once(&s->device->dev[i].region->inet_core, (uint32_t)(at + 1));
}

void device_arm(struct stack *s, bool sleeping)
{
	for (uint32_t i = 0; i < s->device->count; i++)
		if (s->device->dev[i].region)
			store_once(&s->device->dev[i].region->inet_sleeps, sleeping);
	fence_full();
}
