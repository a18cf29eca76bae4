#include "ip_rig.h"
#include "base/log.h"
#include "ip/arp.h"
#include <stdlib.h>
#include <sys/mman.h>

#define MEM_SIZE (64ull << 20)

struct rig rig;
const uint8_t PEER_MAC[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2};

static const struct ethertype_row ethertypes[] = {{0x0800, ip_input}, {0x0806, arp_input}};
static const struct inet_proto *const protos[] = {
    &udp_proto, &icmp_proto, &ping_proto, &igmp_proto};

/* Streams exist here only as owners of ports. */
static void no_range(const struct stack *s, uint32_t sk, bool rx, uint64_t *from, uint64_t *to)
{
	*from = rx ? sock_peek(s, sk)->rx_head : sock_peek(s, sk)->tx_head;
	*to = rx ? sock_peek(s, sk)->rx_tail : sock_peek(s, sk)->tx_tail;
}
static const struct sock_ops stream_ops = {.name = "stream", .live_range = no_range};
static const struct inetsw_row inetsw[] = {{SOCK_STREAM, IPPROTO_TCP, &stream_ops},
    {SOCK_DGRAM, IPPROTO_UDP, &udp_ops}, {SOCK_DGRAM, IPPROTO_ICMP, &ping_ops}, {SOCK_RAW, 0, &raw_ops}};
static const struct inetsw_row packetsw[] = {{SOCK_RAW, 0, &tap_ops}, {SOCK_DGRAM, 0, &tap_ops}};
static const struct family_row families[] = {{AF_INET, inetsw, ARRAY_SIZE(inetsw)},
    {AF_INET6, inetsw, 2}, {AF_PACKET, packetsw, ARRAY_SIZE(packetsw)}};

static void fill_records(void)
{
	struct record_type r[KIND_COUNT] = {
	    [KIND_WORLD] = {"world", sizeof(struct world_rec), 1, NULL, NULL},
	    [KIND_DEVICE] = {"device", sizeof(struct device_rec), 4, NULL, NULL},
	    [KIND_CHUNKS] = {"chunks", sizeof(struct chunks_rec), 8, NULL, NULL},
	    [KIND_ADDR] = {"addr", sizeof(struct addr_rec), 64, NULL, NULL},
	    [KIND_ROUTE] = {"route", sizeof(struct route_rec), 256, NULL, route_lost},
	    [KIND_NEIGH] = {"neigh", sizeof(struct neigh_rec), 16, neigh_expired, NULL},
	    [KIND_MEMBER] = {"member", sizeof(struct member_rec), 64, NULL, NULL},
	    [KIND_GROUP] = {"group", sizeof(struct group_rec), 32, igmp_expired, NULL},
	    [KIND_IGMP] = {"igmp", sizeof(struct igmp_rec), 4, NULL, NULL},
	    [KIND_FRAG] = {"frag", sizeof(struct frag_rec), 16, frag_expired, NULL},
	    [KIND_SESSION] = {"session", 64, 4, NULL, NULL},
	    [KIND_SOCK] = {"sock", sizeof(struct sock_rec), 1024, sock_expired, NULL},
	    [KIND_SOCKX] = {"sockx", sizeof(struct sockx_rec), 1024, NULL, NULL},
	    [KIND_ERRQ] = {"errq", sizeof(struct errq_rec), 100, NULL, NULL},
	    [KIND_RAW] = {"raw", sizeof(struct raw_rec), 64, NULL, NULL},
	    [KIND_TCP] = {"tcp", 64, 4, NULL, NULL},
	    [KIND_TCPX] = {"tcpx", 64, 4, NULL, NULL},
	    [KIND_SYNRCV] = {"synrcv", 64, 4, NULL, NULL},
	    [KIND_TIMEWAIT] = {"timewait", 64, 4, NULL, NULL},
	};

	memcpy(rig.records, r, sizeof(r));
}

static void rig_random(void *arg, void *buf, size_t len)
{
	uint8_t *p = buf;

	(void)arg;
	while (len--) {
		rig.seed = rig.seed * 6364136223846793005ull + 1442695040888963407ull;
		*p++ = (uint8_t)(rig.seed >> 56);
	}
}

static void *shared(uint64_t size)
{
	void *p = mmap(
	    NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	return p;
}

static void make_region(void)
{
	struct region *r;

	rig.geo = (struct region_geometry){
	    .chunk_size = 4096, .chunks = RIG_CHUNKS, .entries = RIG_CHUNKS, .queues = 1};
	rig.region_size = region_layout(&rig.geo);
	rig.region = shared(rig.region_size);
	r = rig.region;
	r->geo = rig.geo;
	r->driver_incarnation = 1;
	r->link_up = 1;
	r->mtu = 1500;
	memcpy(r->mac, our_mac, 6);
}

static void world(struct stack *s)
{
	struct world_rec *w = state_alloc_at(s->state, KIND_WORLD, 0);

	if (!w)
		return;
	s->random(NULL, &w->hash_key, sizeof(w->hash_key));
	w->inited = 1;
}

static void corrupt(void *arg, enum record_kind kind, uint32_t index)
{
	struct stack *s = arg;

	cr_assert(rig.damaged, "record %d/%u is corrupt", kind, index);
	if (s->board->records[kind].lost)
		s->board->records[kind].lost(s, index);
}

static void stack_open(void)
{
	struct stack *s = &rig.s;
	uint64_t now = s->now;
	int dev;

	memset(s, 0, sizeof(*s));
	s->now = now;
	s->random = rig_random;
	s->board = &rig.board;
	s->mem = memories_new();
	s->timers = timers_new();
	cr_assert_eq(state_open(&s->state, rig.arena, rig.arena_size, rig.records), 0);
	cr_assert_eq(memory_add(s->mem, 0, rig.mem0, MEM_SIZE, 4096), 0);
	cr_assert_eq(memory_add(s->mem, RIG_SESSION + 1, rig.mem1, MEM_SIZE, 4096), 0);
	cr_assert_eq(device_layer_init(s), 0);
	cr_assert_eq(ip_layer_init(s), 0);
	cr_assert_eq(inet_layer_init(s), 0);
	cr_assert_eq(state_recover(s->state, corrupt, s), rig.damaged);
	rig.damaged = false;
	world(s);
	dev = device_attach(s, "tap0", "tap", rig.region, rig.region_size, -1);
	cr_assert_gt(dev, 0);
	rig.dev = (uint32_t)dev;
	cr_assert_eq(device_reindex(s), 0);
	cr_assert_eq(neigh_reindex(s), 0);
	cr_assert_eq(ip_reindex(s), 0);
	cr_assert_eq(inet_reindex(s), 0);
}

static void stack_close(void)
{
	inet_layer_exit(&rig.s);
	ip_layer_exit(&rig.s);
	device_layer_exit(&rig.s);
	state_close(rig.s.state);
	timers_free(rig.s.timers);
	memories_free(rig.s.mem);
}

void rig_open(void)
{
	struct ipaddr us = ipaddr_v4(HOST), peer = ipaddr_v4(PEER);
	struct route_rec out = {.gateway = peer, .dev = NO_INDEX};

	memset(&rig, 0, sizeof(rig));
	log_init("rig", LOG_LEVEL_WARN);
	rig.seed = 42;
	rig.s.now = 1000 * NSEC_PER_SEC;
	fill_records();
	rig.board = (struct switchboard){.records = rig.records,
	    .ethertypes = ethertypes,
	    .n_ethertypes = ARRAY_SIZE(ethertypes),
	    .protos = protos,
	    .n_protos = ARRAY_SIZE(protos),
	    .families = families,
	    .n_families = ARRAY_SIZE(families),
	    .neigh_failed = icmp_unresolved,
	    .neigh_solicit = arp_solicit,
	    .tap = tap_input,
	    .raw_input = raw_input,
	    .ping_input = ping_input,
	    .raw_error = raw_error};
	rig.arena_size = state_size(rig.records);
	rig.arena = shared(rig.arena_size);
	rig.mem0 = shared(MEM_SIZE);
	rig.mem1 = shared(MEM_SIZE);
	make_region();
	stack_open();
	cr_assert_eq(addr_add(&rig.s, rig.dev, &us, 24), 0);
	cr_assert_eq(route_add(&rig.s, &out), 0);
	cr_assert_eq(neigh_set(&rig.s, rig.dev, &peer, PEER_MAC), 0);
	rig_cycle();
}

void rig_close(void)
{
	stack_close();
	munmap(rig.arena, rig.arena_size);
	munmap(rig.mem0, MEM_SIZE);
	munmap(rig.mem1, MEM_SIZE);
	munmap(rig.region, rig.region_size);
}

void rig_restart(void)
{
	stack_close();
	stack_open();
	rig_commit();
}

void rig_lose(enum record_kind kind, uint32_t index)
{
	*(uint8_t *)(uintptr_t)state_peek(rig.s.state, kind, index) ^= 1;
	rig.damaged = true;
	rig_restart();
}

void rig_work(void)
{
	enum record_kind kind;
	uint32_t index;

	device_gather(&rig.s, rig.dev, 256);
	while (timers_pop(rig.s.timers, rig.s.now, &kind, &index))
		if (rig.records[kind].expired)
			rig.records[kind].expired(&rig.s, index);
	lo_run(&rig.s);
}

void rig_commit(void)
{
	state_commit(rig.s.state);
	memories_commit(rig.s.mem);
	device_speak(&rig.s, false);
}

void rig_cycle(void)
{
	rig_work();
	rig_commit();
}

void rig_advance(uint64_t ns)
{
	rig.s.now += ns;
	rig_cycle();
}

/* ---- the wire */

void rig_receive(const uint8_t *ip, uint32_t len)
{
	struct region *r = rig.region;
	struct region_queue *q = &r->queue[0];
	uint64_t pos = q->receive_prod.v;
	struct dev_desc d;
	uint8_t *frame;

	cr_assert_lt(pos, q->fill_prod.v, "no chunk to receive into");
	cr_assert_leq(len + 14, 4096);
	d = *region_desc(rig.region, &rig.geo, 0, RING_FILL, pos);
	d = (struct dev_desc){.chunk = d.chunk, .len = len + 14};
	frame = region_chunk(rig.region, &rig.geo, d.chunk);
	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, PEER_MAC, 6);
	frame[12] = 8;
	frame[13] = 0;
	memcpy(frame + 14, ip, len);
	*region_desc(rig.region, &rig.geo, 0, RING_RECEIVE, pos) = d;
	q->fill_cons.v = q->receive_prod.v = pos + 1;
}

uint32_t rig_sent(uint8_t *ip, uint32_t room)
{
	struct region_queue *q = &((struct region *)rig.region)->queue[0];
	uint8_t frame[70000];
	uint32_t len = 0;
	struct dev_desc d;

	if (q->transmit_cons.v == q->transmit_prod.v)
		return 0;
	do {
		d = *region_desc(rig.region, &rig.geo, 0, RING_TRANSMIT, q->transmit_cons.v++);
		cr_assert_leq(len + d.len, sizeof(frame));
		memcpy(frame + len, region_chunk(rig.region, &rig.geo, d.chunk) + d.off, d.len);
		len += d.len;
		*region_desc(rig.region, &rig.geo, 0, RING_COMPLETION, q->completion_prod.v++) = d;
	} while (d.flags & DESC_MORE);
	cr_assert_gt(len, 14);
	cr_assert_leq(len - 14, room);
	memcpy(ip, frame + 14, len - 14);
	return len - 14;
}

void rig_drain(void)
{
	uint8_t buf[70000];

	while (rig_sent(buf, sizeof(buf)))
		;
}

uint32_t rig_ip(uint8_t *out, struct ipv4_header h, const void *payload, uint32_t len)
{
	int n;

	if (!h.ttl)
		h.ttl = 64;
	if (!h.total_len)
		h.total_len = (uint16_t)(IPV4_LEN + h.options_len + len);
	n = ipv4_emit(&h, out, IPV4_LEN_MAX);
	cr_assert_gt(n, 0);
	memcpy(out + n, payload, len);
	return (uint32_t)n + len;
}

uint32_t rig_udp(uint8_t *out, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport,
    const void *data, uint32_t len)
{
	struct udp_header h = {.src = sport, .dst = dport, .len = (uint16_t)(UDP_LEN + len)};
	struct ipaddr a = ipaddr_v4(src), b = ipaddr_v4(dst);

	udp_emit(&h, out, UDP_LEN);
	memcpy(out + UDP_LEN, data, len);
	h.checksum = csum_finish_udp(
	    csum(out, UDP_LEN + len, ip_pseudo_sum(&a, &b, IPPROTO_UDP, UDP_LEN + len)));
	udp_emit(&h, out, UDP_LEN);
	return UDP_LEN + len;
}

void rig_receive_udp(
    uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, const void *data, uint32_t len)
{
	uint8_t udp[2048], ip[2048];
	uint32_t n = rig_udp(udp, src, sport, dst, dport, data, len);

	n = rig_ip(ip, (struct ipv4_header){.src = src, .dst = dst, .proto = IPPROTO_UDP}, udp, n);
	rig_receive(ip, n);
}

/* ---- sockets */

struct endpoint rig_ep(uint32_t addr, uint16_t port)
{
	return (struct endpoint){.addr = ipaddr_v4(addr), .port = port};
}

uint32_t rig_socket(int family, int type, int protocol)
{
	uint32_t sk;
	struct sock_rec *k = sock_alloc(&rig.s, &sk);

	cr_assert(k);
	k->family = (uint16_t)family;
	k->type = (uint8_t)type;
	k->protocol = (uint8_t)protocol;
	k->session = RIG_SESSION;
	k->uid = 1000;
	return sk;
}

uint32_t rig_udp_socket(void)
{
	return rig_socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
}

uint32_t rig_bound(uint32_t addr, uint16_t port)
{
	uint32_t sk = rig_udp_socket();
	struct endpoint ep = rig_ep(addr, port);

	cr_assert_eq(udp_ops.bind(&rig.s, sk, &ep), 0);
	return sk;
}

void rig_flag(uint32_t sk, uint32_t flags)
{
	sock_get(&rig.s, sk)->flags |= flags;
}

static uint8_t *ring_at(const struct ring_place *r, uint64_t pos)
{
	return (uint8_t *)(r->mem ? rig.mem1 : rig.mem0) + ring_place_at(r, pos);
}

int rig_send(uint32_t sk, const struct endpoint *to, const void *data, uint32_t len)
{
	const struct sock_rec *k = sock_peek(&rig.s, sk);
	struct cm_dgram h = {.len = len};
	uint64_t room = cm_dgram_room(len), in, tail;

	if (!k->tx.cap) {
		cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, k->tx_head), 0);
		k = sock_peek(&rig.s, sk);
	}
	if (to)
		h.peer = *to;
	tail = k->tx_tail;
	in = (tail - k->tx.base) & (k->tx.cap - 1);
	if (in + room > k->tx.cap) {
		struct cm_dgram skip = {
		    .len = (uint32_t)(k->tx.cap - in - sizeof(h)), .flags = CM_DGRAM_SKIP};

		memcpy(ring_at(&k->tx, tail), &skip, sizeof(skip));
		tail += k->tx.cap - in;
	}
	memcpy(ring_at(&k->tx, tail), &h, sizeof(h));
	if (len)
		memcpy(ring_at(&k->tx, tail + sizeof(h)), data, len);
	return sock_ops_of(&rig.s, k)->poke(&rig.s, sk, k->rx_head, tail + room);
}

bool rig_recv(uint32_t sk, struct cm_dgram *h, void *data, uint32_t room)
{
	const struct sock_rec *k = sock_peek(&rig.s, sk);
	uint64_t head = k->rx_head, tx = k->tx_tail;

	while (head != k->rx_tail) {
		memcpy(h, ring_at(&k->rx, head), sizeof(*h));
		if (!(h->flags & CM_DGRAM_SKIP)) {
			cr_assert_leq(h->len, room);
			memcpy(data, ring_at(&k->rx, head + sizeof(*h)), h->len);
		}
		head += cm_dgram_room(h->len);
		cr_assert_eq(sock_ops_of(&rig.s, k)->poke(&rig.s, sk, head, tx), 0);
		if (!(h->flags & CM_DGRAM_SKIP))
			return true;
		k = sock_peek(&rig.s, sk);
	}
	return false;
}
