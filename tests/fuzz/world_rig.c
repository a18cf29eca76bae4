/* See world_rig.h. */
#include "world_rig.h"
#include "base/log.h"
#include "proto/channel.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

const uint8_t HOST_MAC[6] = {2, 0, 0, 0, 0, 2}, PEER_MAC[6] = {2, 0, 0, 0, 0, 1};

static void *memory(uint64_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	check(p != MAP_FAILED, "no memory");
	return p;
}

static void world_random(void *arg, void *buf, size_t len)
{
	(void)arg;
	rnd_bytes(buf, len);
}

/* ---- a supervisor that only keeps deposits */

static void withdraw(void *arg, uint32_t kind, uint32_t index, uint32_t gen)
{
	struct world *w = arg;

	for (unsigned i = 0; i < WORLD_DEPOSITS; i++) {
		struct world_deposit *d = &w->deposit[i];

		if (!d->kind || d->kind != kind || d->index != index || d->gen != gen)
			continue;
		for (int f = 0; f < d->nfds; f++)
			close(d->fds[f]);
		d->kind = 0;
	}
}

static int deposit(void *arg, uint32_t kind, uint32_t index, uint32_t gen, const int *fds, int nfds)
{
	struct world *w = arg;

	withdraw(w, kind, index, gen);
	for (unsigned i = 0; i < WORLD_DEPOSITS; i++) {
		struct world_deposit *d = &w->deposit[i];

		if (d->kind)
			continue;
		*d = (struct world_deposit){.kind = kind, .index = index, .gen = gen, .nfds = nfds};
		for (int f = 0; f < nfds; f++)
			d->fds[f] = fcntl(fds[f], F_DUPFD_CLOEXEC, 0);
		return 0;
	}
	return -ENOSPC;
}

static const Netd__Component__Config *config_of(void *arg)
{
	return &((struct world *)arg)->config;
}

static void hand_over(struct world *w)
{
	for (unsigned i = 0; i < WORLD_DEPOSITS; i++) {
		struct world_deposit *d = &w->deposit[i];
		int fds[4];

		if (!d->kind)
			continue;
		for (int f = 0; f < d->nfds; f++)
			fds[f] = fcntl(d->fds[f], F_DUPFD_CLOEXEC, 0);
		socket_handed(&w->s, d->kind, d->index, d->gen, fds, d->nfds, NULL);
	}
}

/* ---- life: the steps of netd/daemon/takeover.c */

static void configure(struct world *w)
{
	struct ipaddr us = ipaddr_v4(HOST);
	struct route_rec out = {.gateway = ipaddr_v4(PEER), .dev = NO_INDEX};
	int ret = addr_add(&w->s, w->dev, &us, 24);

	check(!ret || ret == -EEXIST, "address: %d", ret);
	ret = route_add(&w->s, &out);
	check(!ret || ret == -EEXIST, "route: %d", ret);
}

static void start(struct world *w, bool fresh)
{
	struct stack *s = &w->s;
	uint64_t now = s->now;
	struct world_rec *rec;
	int ret, corrupt;

	memset(s, 0, sizeof(*s));
	s->now = now;
	s->random = world_random;
	ret = world_open(s, w->arena, w->arena_size, w->mem0, MEM0_SIZE);
	check(!ret, "open: %d", ret);
	corrupt = world_recover(s);
	check(corrupt >= 0, "recover: %d", corrupt);
	check(!corrupt || w->damaged, "%d records are corrupt", corrupt);
	if (w->sockets) {
		ret = socket_layer_init(s, &w->env);
		check(!ret, "socket layer: %d", ret);
	} else {
		ret = memory_add(s->mem, 1, w->mem1, MEM1_SIZE, 4096);
		check(!ret, "memory: %d", ret);
	}
	ret = device_attach(s, "tap0", "tap", w->region, w->region_size, -1);
	check(ret > 0, "device: %d", ret);
	w->dev = (uint32_t)ret;
	if (w->sockets)
		hand_over(w);
	ret = world_reindex(s);
	check(!ret, "reindex: %d", ret);
	rec = world_get(s);
	check(rec, "no world");
	if (rec)
		rec->incarnation++;
	if (fresh || corrupt)
		configure(w);
	if (!fresh)
		world_resume(s, w->down_ns);
	world_commit(s);
	world_speak(s, true);
	if (w->sockets)
		socket_speak(s, true);
}

static void stop(struct world *w)
{
	if (w->sockets)
		socket_layer_exit(&w->s);
	world_close(&w->s);
}

static void make_region(struct world *w)
{
	struct region *r;

	w->geo = (struct region_geometry){.chunk_size = WORLD_CHUNK,
	    .chunks = WORLD_CHUNKS,
	    .entries = WORLD_CHUNKS,
	    .queues = 1};
	w->region_size = region_layout(&w->geo);
	w->region = memory(w->region_size);
	r = w->region;
	r->geo = w->geo;
	r->mtu = 1500;
	r->features = rnd(8);
	r->link_up = 1;
	r->driver_incarnation = 1;
	memcpy(r->mac, HOST_MAC, 6);
}

void world_new(struct world *w, bool sockets)
{
	memset(w, 0, sizeof(*w));
	signal(SIGPIPE, SIG_IGN);
	log_init("fuzz", getenv("NETD_FUZZ_LOG") ? LOG_LEVEL_DEBUG : (enum log_level)0);
	w->sockets = sockets;
	w->complete = true;
	w->s.now = 1000 * NSEC_PER_SEC;
	w->arena_size = state_size(switchboard.records);
	w->arena = memory(w->arena_size);
	w->mem0 = memory(MEM0_SIZE);
	w->mem1 = sockets ? NULL : memory(MEM1_SIZE);
	make_region(w);
	netd__component__config__init(&w->config);
	netd__component__limits__init(&w->limits);
	w->limits.session_memory = 32u << 20;
	w->config.limits = &w->limits;
	w->env = (struct socket_env){.arg = w, .deposit = deposit, .withdraw = withdraw, .config = config_of};
	start(w, true);
	world_cycle(w, LIVE);
}

void world_delete(struct world *w)
{
	stop(w);
	for (unsigned i = 0; i < WORLD_DEPOSITS; i++)
		if (w->deposit[i].kind)
			withdraw(w, w->deposit[i].kind, w->deposit[i].index, w->deposit[i].gen);
	munmap(w->arena, w->arena_size);
	munmap(w->mem0, MEM0_SIZE);
	if (w->mem1)
		munmap(w->mem1, MEM1_SIZE);
	munmap(w->region, w->region_size);
}

static void speak(struct world *w)
{
	world_speak(&w->s, false);
	if (w->sockets)
		socket_speak(&w->s, false);
	while (!w->sockets && sock_next_changed(&w->s) != NO_INDEX)
		;
}

unsigned world_cycle(struct world *w, enum world_death death)
{
	unsigned work = w->sockets ? socket_gather(&w->s, 64, true) : 0;

	work += world_work(&w->s, 64);
	if (device_restarted(&w->s, w->dev))
		tcp_driver_restarted(&w->s, w->dev);
	if (death != DIE_UNCOMMITTED)
		world_commit(&w->s);
	if (death == LIVE || death == DIE_SPOKEN)
		speak(w);
	if (death == LIVE)
		return work;
	w->restarts++;
	w->damaged = w->damage && w->damage();
	stop(w);
	w->down_ns = w->s.now;
	w->s.now += rnd(3) * NSEC_PER_MSEC;
	start(w, false);
	return work;
}

unsigned world_risky_cycle(struct world *w, uint32_t once_in)
{
	return world_cycle(w, one_in(once_in) ? (enum world_death)(1 + rnd(3)) : LIVE);
}

/* ---- the driver */

static struct region_queue *queue_of(const struct world *w)
{
	return &((struct region *)w->region)->queue[0];
}

bool world_receive(
    struct world *w, const uint8_t *frame, uint32_t len, const struct dev_desc *facts)
{
	struct region_queue *q = queue_of(w);
	uint64_t pos = w->rx;
	uint32_t done = 0;

	if (!len || load_acquire(&q->fill_prod.v) - w->rx < (len + WORLD_CHUNK - 1) / WORLD_CHUNK)
		return false;
	for (; done < len; pos++) {
		struct dev_desc d = *region_desc(w->region, &w->geo, 0, RING_FILL, pos);
		uint32_t n = min_of(len - done, WORLD_CHUNK);

		d = (struct dev_desc){.chunk = d.chunk};
		check(desc_in_bounds(&w->geo, &d), "fill entry %llu", (unsigned long long)pos);
		d = (struct dev_desc){.chunk = d.chunk, .len = n};
		if (!done && facts) {
			d.flags = facts->flags & (DESC_CSUM_NEEDED | DESC_CSUM_VALID);
			d.gso_type = facts->gso_type;
			d.gso_size = facts->gso_size;
			d.hdr_len = facts->hdr_len;
			d.csum_start = facts->csum_start;
			d.csum_offset = facts->csum_offset;
		}
		memcpy(region_chunk(w->region, &w->geo, d.chunk), frame + done, n);
		done += n;
		d.flags |= done < len ? DESC_MORE : 0;
		*region_desc(w->region, &w->geo, 0, RING_RECEIVE, pos) = d;
	}
	w->rx = pos;
	store_release(&q->receive_prod.v, pos);
	store_release(&q->fill_cons.v, pos);
	return true;
}

/* Puts the checksum in as a driver does, and checks it as a receiver does. */
static void check_transport(uint8_t *ip, uint32_t len, const struct ipv4_header *h, const struct dev_desc *first)
{
	uint8_t *t = ip + h->hdr_len;
	uint32_t n = len - h->hdr_len, sum;
	struct ipaddr src = ipaddr_v4(h->src), dst = ipaddr_v4(h->dst);

	if (first->flags & DESC_CSUM_NEEDED) {
		uint16_t at = first->csum_offset, c;

		check(first->csum_start == ETHERNET_LEN + h->hdr_len && at + 2u <= n,
		    "checksum at %u + %u of %u", first->csum_start, at, n);
		c = csum_finish(csum(t, n, 0));
		t[at] = (uint8_t)(c >> 8);
		t[at + 1] = (uint8_t)c;
	}
	if (h->frag_off || h->more_fragments)
		return;
	sum = h->proto == IPPROTO_ICMP || h->proto == IPPROTO_IGMP ? 0 : ip_pseudo_sum(&src, &dst, h->proto, n);
	if (h->proto == IPPROTO_UDP && n >= 8 && !t[6] && !t[7])
		return;
	check(csum_finish(csum(t, n, sum)) == 0, "protocol %u: wrong checksum of %u bytes", h->proto, n);
}

static void check_frame(const struct world *w, uint8_t *frame, uint32_t len, const struct dev_desc *first)
{
	struct ethernet_header e;
	struct ipv4_header h;

	check(!ethernet_parse(&e, frame, len), "%u bytes", len);
	if (w->forged)
		return;
	check(e.type == ETHER_IPV4 || e.type == ETHER_ARP, "type %x", e.type);
	check(!memcmp(e.src, HOST_MAC, 6), "not our address");
	/* A lying driver may have named another MTU. */
	check(first->gso_type || len <= 1500 + ETHERNET_LEN || w->accusations, "%u bytes without GSO", len);
	if (e.type != ETHER_IPV4)
		return;
	check(!ipv4_parse(&h, frame + ETHERNET_LEN, len - ETHERNET_LEN), "no IP header");
	check(ipv4_checksum_ok(frame + ETHERNET_LEN, h.hdr_len), "IP checksum");
	check(h.total_len <= len - ETHERNET_LEN &&
		  (h.total_len == len - ETHERNET_LEN || len == ETHERNET_MIN),
	    "total length %u in %u", h.total_len, len);
	check_transport(frame + ETHERNET_LEN, h.total_len, &h, first);
}

/* Takes a chain from the transmit ring. What a liar left behind may be anything. */
static uint32_t take_chain(struct world *w, uint8_t *frame, struct dev_desc *first)
{
	struct region_queue *q = queue_of(w);
	uint64_t prod = load_acquire(&q->transmit_prod.v);
	uint32_t len = 0;
	struct dev_desc d;

	do {
		bool dirty = w->tx < w->tx_dirty;

		check(w->tx != prod || dirty, "a chain without an end");
		if (w->tx == prod)
			return 0;
		d = *region_desc(w->region, &w->geo, 0, RING_TRANSMIT, w->tx);
		*first = len ? *first : d;
		check(desc_in_bounds(&w->geo, &d) || dirty, "transmit entry %llu",
		    (unsigned long long)w->tx);
		check(len + (uint64_t)d.len <= FRAME_MAX || dirty, "%u bytes and more", len);
		if (desc_in_bounds(&w->geo, &d) && len + d.len <= FRAME_MAX)
			memcpy(frame + len, region_chunk(w->region, &w->geo, d.chunk) + d.off, d.len);
		else
			d.len = 0;
		len += d.len;
		*region_desc(w->region, &w->geo, 0, RING_COMPLETION, w->tx) =
		    (struct dev_desc){.chunk = d.chunk};
		w->tx++;
	} while (d.flags & DESC_MORE);
	return len;
}

uint32_t world_sent(struct world *w, uint8_t *frame)
{
	struct region_queue *q = queue_of(w);
	struct dev_desc first;
	uint32_t len = 0;

	while (!len && w->complete && load_acquire(&q->transmit_prod.v) != w->tx) {
		uint64_t from = w->tx;

		len = take_chain(w, frame, &first);
		if (from < w->tx_dirty)
			len = 0;
	}
	store_release(&q->completion_prod.v, w->tx);
	store_release(&q->transmit_cons.v, w->tx);
	if (len)
		check_frame(w, frame, len, &first);
	return len;
}

/* ---- lies */

static struct dev_desc lying_desc(const struct world *w, enum region_ring ring, uint64_t pos)
{
	struct dev_desc d = *region_desc(w->region, &w->geo, 0, ring, pos);

	d.len = rnd(WORLD_CHUNK) + 1;
	d.off = 0;
	d.flags = one_in(2) ? DESC_MORE : 0;
	switch (rnd(9)) {
	case 0:
		d.chunk = rnd_odd();
		break;
	case 1: /* anybody's */
		d.chunk = (uint64_t)rnd(w->geo.chunks) * WORLD_CHUNK;
		break;
	case 2:
		d.off = (uint32_t)rnd_odd();
		break;
	case 3:
		d.len = (uint32_t)rnd_odd();
		break;
	case 4: /* the same as a neighbour's */
		d.chunk = region_desc(w->region, &w->geo, 0, ring, pos + rnd(3))->chunk;
		break;
	case 5:
		d.off = rnd(WORLD_CHUNK);
		d.len = WORLD_CHUNK - d.off;
		break;
	case 6:
		rnd_bytes(&d, sizeof(d));
		break;
	default: /* an honest chunk in bad company */
		d.gso_type = (uint8_t)rnd(6);
		d.gso_size = (uint16_t)rnd_odd();
		d.hdr_len = (uint16_t)rnd_odd();
		d.csum_start = (uint16_t)rnd_odd();
		d.csum_offset = (uint16_t)rnd_odd();
		d.flags |= (uint16_t)rnd(8);
	}
	return d;
}

static void lie_once(struct world *w, bool receive)
{
	struct region_queue *q = queue_of(w);
	struct ring_pos *pos = receive ? &q->receive_prod : &q->completion_prod;
	uint64_t from = pos->v, n = 1 + rnd(6);

	for (uint64_t i = 0; i < n; i++)
		*region_desc(w->region, &w->geo, 0, receive ? RING_RECEIVE : RING_COMPLETION, from + i) =
		    lying_desc(w, receive ? RING_FILL : RING_TRANSMIT, from + i);
	from += n;
	if (one_in(6))
		from = one_in(2) ? pos->v - 1 - rnd(3) : pos->v + (rnd_odd() | 1);
	store_release(&pos->v, from);
}

/* What stands in the rings that netd-inet wrote is the driver's to spoil, too. */
static void scribble(struct world *w)
{
	enum region_ring ring = one_in(2) ? RING_FILL : RING_TRANSMIT;
	const struct device_rec *r = device_peek(&w->s, w->dev);
	uint64_t pos = ring == RING_FILL ? r->receive_cons : r->completion_cons;
	struct dev_desc *d = region_desc(w->region, &w->geo, 0, ring, pos + rnd(8));

	if (one_in(2))
		rnd_bytes(d, sizeof(*d));
	else
		d->chunk = (uint64_t)rnd(w->geo.chunks) * WORLD_CHUNK;
}

static void next_driver(struct world *w)
{
	struct region_queue *q = queue_of(w);
	struct region *r = w->region;

	w->rx = q->receive_prod.v;
	w->tx = q->completion_prod.v;
	store_release(&q->fill_cons.v, w->rx);
	w->tx_dirty = q->transmit_prod.v;
	store_release(&q->transmit_cons.v, w->tx);
	store_release(&r->driver_incarnation, r->driver_incarnation + 1);
}

/* The supervisor's part: an accused driver dies, the next one believes the positions that it finds. */
static void heal(struct world *w)
{
	const char *reason = NULL;
	bool again = true;

	for (unsigned i = 0; again; i++) {
		check(i < 5, "innocent drivers are accused: %s", reason);
		world_risky_cycle(w, 8);
		world_cycle(w, LIVE);
		again = device_accused(&w->s, &reason) != NULL;
		w->accusations += again;
		if (again)
			next_driver(w);
	}
}

void world_lie(struct world *w)
{
	struct region_queue *q = queue_of(w);
	struct region *r = w->region;

	for (uint32_t n = 1 + rnd(3); n; n--)
		lie_once(w, one_in(2));
	while (one_in(2))
		scribble(w);
	if (one_in(4)) {
		store_once(&r->mtu, (uint32_t)rnd_odd());
		store_once(&r->features, (uint32_t)rnd_odd());
		store_once(&r->driver_sleeps, (uint32_t)rnd_odd());
	}
	heal(w);
	/* A last one that cannot be missed, so that the books are made up again. */
	*region_desc(w->region, &w->geo, 0, RING_RECEIVE, q->receive_prod.v) =
	    (struct dev_desc){.chunk = UINT64_MAX};
	store_release(&q->receive_prod.v, q->receive_prod.v + 1);
	r->mtu = 1500;
	r->features = rnd(8);
	heal(w);
	next_driver(w);
	world_cycle(w, LIVE);
}

/* ---- packets */

uint32_t make_frame(uint8_t *out, uint16_t type, const void *payload, uint32_t len)
{
	struct ethernet_header h = {.type = type};

	memcpy(h.dst, HOST_MAC, 6);
	memcpy(h.src, PEER_MAC, 6);
	ethernet_emit(&h, out, ETHERNET_LEN);
	memmove(out + ETHERNET_LEN, payload, len);
	return ETHERNET_LEN + len;
}
