/* See device_rig.h. */
#include "device_rig.h"
#include "base/log.h"
#include "base/util.h"
#include "ip/addr.h"
#include "ip/route.h"
#include "wire/ether.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/mman.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 1};

static void *memory(uint64_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

static void random_bytes(void *arg, void *buf, size_t len)
{
	(void)arg;
	memset(buf, 0x42, len);
}

static void no_solicit(
    struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac)
{
	(void)s;
	(void)dev;
	(void)target;
	(void)mac;
}

static void set_records(struct rig *g)
{
	for (int k = 0; k < KIND_COUNT; k++)
		g->records[k] = (struct record_type){.name = "none", .size = 64, .capacity = 4};
	g->records[KIND_WORLD] =
	    (struct record_type){.name = "world", .size = sizeof(struct world_rec), .capacity = 1};
	g->records[KIND_DEVICE] = (struct record_type){
	    .name = "device", .size = sizeof(struct device_rec), .capacity = 8};
	g->records[KIND_CHUNKS] = (struct record_type){
	    .name = "chunks", .size = sizeof(struct chunks_rec), .capacity = 32};
	g->records[KIND_ADDR] =
	    (struct record_type){.name = "addr", .size = sizeof(struct addr_rec), .capacity = 16};
	g->records[KIND_ROUTE] =
	    (struct record_type){.name = "route", .size = sizeof(struct route_rec), .capacity = 16};
	g->records[KIND_NEIGH] = (struct record_type){.name = "neigh",
	    .size = sizeof(struct neigh_rec),
	    .capacity = 64,
	    .expired = neigh_expired};
}

static void stack_open(struct rig *g)
{
	g->s.timers = timers_new();
	cr_assert_eq(state_open(&g->s.state, g->arena, g->arena_size, g->records), 0);
	cr_assert_eq(device_layer_init(&g->s), 0);
	cr_assert_eq(state_recover(g->s.state, NULL, NULL), g->damaged);
	g->damaged = 0;
	if (!world_peek(&g->s))
		cr_assert_not_null(state_alloc_at(g->s.state, KIND_WORLD, 0));
	cr_assert_eq(device_attach(&g->s, "tap0", "tap", g->mem, g->size, -1), 1);
	cr_assert_eq(device_reindex(&g->s), 0);
	cr_assert_eq(neigh_reindex(&g->s), 0);
	rig_commit(g);
	rig_speak(g, true);
}

static void stack_close(struct rig *g)
{
	device_layer_exit(&g->s);
	state_close(g->s.state);
	timers_free(g->s.timers);
}

void rig_open(struct rig *g, uint32_t chunks,
    void (*input)(struct stack *s, struct packet *p, const uint8_t src[6]))
{
	struct region *r;

	log_init("test", LOG_LEVEL_ERROR);
	memset(g, 0, sizeof(*g));
	g->geo = (struct region_geometry){.chunk_size = RIG_CHUNK,
	    .chunks = chunks,
	    .entries = round_up_pow2(chunks),
	    .queues = 1};
	g->size = region_layout(&g->geo);
	g->mem = memory(g->size);
	r = g->mem;
	r->geo = g->geo;
	r->mtu = 1500;
	r->features = REGION_F_CSUM | REGION_F_TSO4 | REGION_F_USO;
	r->link_up = 1;
	r->driver_incarnation = 1;
	memcpy(r->mac, our_mac, 6);
	set_records(g);
	g->types[0] = (struct ethertype_row){0x0800, input};
	g->board = (struct switchboard){.records = g->records,
	    .ethertypes = g->types,
	    .n_ethertypes = input ? 1 : 0,
	    .neigh_solicit = no_solicit};
	g->s.board = &g->board;
	g->s.random = random_bytes;
	g->s.now = 1000 * NSEC_PER_SEC;
	g->arena_size = state_size(g->records);
	g->arena = memory(g->arena_size);
	g->dev = 1;
	stack_open(g);
	rig_cycle(g);
}

void rig_close(struct rig *g)
{
	stack_close(g);
	munmap(g->arena, g->arena_size);
	munmap(g->mem, g->size);
}

struct region *rig_region(const struct rig *g)
{
	return g->mem;
}

struct region_queue *rig_queue(const struct rig *g)
{
	return &rig_region(g)->queue[0];
}

void rig_commit(struct rig *g)
{
	if (state_dirty(g->s.state))
		state_commit(g->s.state);
}

void rig_speak(struct rig *g, bool all)
{
	device_speak(&g->s, all);
}

unsigned rig_cycle(struct rig *g)
{
	unsigned n = device_gather(&g->s, g->dev, 64);

	lo_run(&g->s);
	rig_commit(g);
	rig_speak(g, false);
	return n;
}

void rig_restart(struct rig *g)
{
	stack_close(g);
	stack_open(g);
}

void rig_damage(struct rig *g, enum record_kind kind, uint32_t index)
{
	*(uint8_t *)(uintptr_t)state_peek(g->s.state, kind, index) ^= 1;
	g->damaged++;
}

bool rig_driver_receive(struct rig *g, const void *frame, uint32_t len, uint16_t flags)
{
	struct region_queue *q = rig_queue(g);
	uint64_t avail = load_acquire(&q->fill_prod.v) - g->rx, n = 0;
	const uint8_t *from = frame;

	if (avail < (len + RIG_CHUNK - 1) / RIG_CHUNK)
		return false;
	do {
		struct dev_desc d = *region_desc(g->mem, &g->geo, 0, RING_FILL, g->rx + n);

		cr_assert(desc_in_bounds(&g->geo, &d));
		d = (struct dev_desc){
		    .chunk = d.chunk, .len = min_of(len, RIG_CHUNK), .flags = flags};
		memcpy(region_chunk(g->mem, &g->geo, d.chunk), from, d.len);
		from += d.len;
		len -= d.len;
		d.flags |= len ? DESC_MORE : 0;
		flags = 0;
		*region_desc(g->mem, &g->geo, 0, RING_RECEIVE, g->rx + n++) = d;
	} while (len);
	g->rx += n;
	store_release(&q->receive_prod.v, g->rx);
	store_release(&q->fill_cons.v, g->rx);
	return true;
}

uint32_t rig_driver_send(struct rig *g, void *buf, uint32_t room, struct dev_desc *first)
{
	struct region_queue *q = rig_queue(g);
	struct dev_desc d;
	uint8_t *to = buf;
	uint32_t len = 0;

	if (load_acquire(&q->transmit_prod.v) == g->tx)
		return 0;
	if (first)
		*first = *region_desc(g->mem, &g->geo, 0, RING_TRANSMIT, g->tx);
	do {
		cr_assert_neq(load_acquire(&q->transmit_prod.v), g->tx, "a chain without an end");
		d = *region_desc(g->mem, &g->geo, 0, RING_TRANSMIT, g->tx);
		cr_assert(desc_in_bounds(&g->geo, &d));
		cr_assert_leq(len + d.len, room);
		memcpy(to + len, region_chunk(g->mem, &g->geo, d.chunk) + d.off, d.len);
		len += d.len;
		*region_desc(g->mem, &g->geo, 0, RING_COMPLETION, g->tx) =
		    (struct dev_desc){.chunk = d.chunk};
		g->tx++;
	} while (d.flags & DESC_MORE);
	store_release(&q->completion_prod.v, g->tx);
	return len;
}

uint32_t rig_frame(uint8_t *buf, uint16_t type, const void *payload, uint32_t len)
{
	struct ethernet_header h = {.type = type};

	memcpy(h.dst, our_mac, 6);
	memcpy(h.src, peer_mac, 6);
	ethernet_emit(&h, buf, ETHERNET_LEN);
	memcpy(buf + ETHERNET_LEN, payload, len);
	return ETHERNET_LEN + len;
}

static const char *note_ring(
    const struct rig *g, enum region_ring ring, uint64_t from, uint64_t to, uint8_t *seen)
{
	for (; from != to; from++) {
		uint64_t chunk = region_desc(g->mem, &g->geo, 0, ring, from)->chunk / RIG_CHUNK;

		if (chunk >= g->geo.chunks || seen[chunk]++)
			return "a chunk stands in the rings twice";
	}
	return NULL;
}

const char *rig_census(const struct rig *g)
{
	const struct device *d = &g->s.device->dev[g->dev];
	const struct device_rec *r = device_peek(&g->s, g->dev);
	uint8_t *seen = calloc(g->geo.chunks, 1);
	const char *wrong = note_ring(g, RING_FILL, r->receive_cons, r->fill_prod, seen);

	if (!wrong)
		wrong = note_ring(g, RING_TRANSMIT, r->completion_cons, r->transmit_prod, seen);
	for (uint32_t i = 0; i < g->geo.chunks && !wrong; i++) {
		const struct chunks_rec *c = state_peek(g->s.state, KIND_CHUNKS, d->bits[i / 1024]);
		bool given = c->given[i % 1024 / 64] >> (i % 64) & 1;

		if (given != seen[i])
			wrong = "bits and rings differ";
		if (given != (d->place[i] == CHUNK_GIVEN))
			wrong = "bits and places differ";
		if (d->place[i] == CHUNK_FRESH || d->place[i] == CHUNK_TAKEN)
			wrong = "a chunk is in hand between two cycles";
		seen[i] = d->place[i] == CHUNK_FREE;
	}
	for (uint32_t i = 0; i < d->n_free && !d->census && !wrong; i++) {
		if (!seen[d->free[i]])
			wrong = "the free list has a chunk twice, or one that is not free";
		seen[d->free[i]] = 0;
	}
	for (uint32_t i = 0; i < g->geo.chunks && !d->census && !wrong; i++)
		if (seen[i])
			wrong = "a free chunk is not in the free list";
	free(seen);
	return wrong;
}
