/* The honest client. See client_rig.h. */
#include "client_rig.h"

struct client honest;
struct stream streams[HONEST_SLOTS];

static struct cm_cqe request(struct cm_sqe e)
{
	struct cm_cqe out;

	submit(&honest, e);
	for (unsigned i = 0; !completed(&honest, &out); i++) {
		check(i < 100, "request %u was never answered", e.op);
		cycle();
	}
	check(out.token == honest.token, "token %llu", (unsigned long long)out.token);
	return out;
}

static void must(struct cm_sqe e, int expect)
{
	int res = request(e).res;

	check(res == expect, "request %u: %d", e.op, res);
}

static struct endpoint loopback(uint16_t port)
{
	return (struct endpoint){.addr = ipaddr_v4(0x7f000001), .port = port};
}

void honest_open(void)
{
	int res = -EAGAIN;

	attach(&honest);
	memset(streams, 0, sizeof(streams));
	must((struct cm_sqe){.op = CM_SOCKET, .slot = LISTENER, .arg = {AF_INET, SOCK_STREAM}}, 0);
	must((struct cm_sqe){.op = CM_BIND, .slot = LISTENER, .arg = {AF_INET}, .ep = loopback(7000)}, 0);
	must((struct cm_sqe){.op = CM_LISTEN, .slot = LISTENER, .arg = {16}}, 0);
	must((struct cm_sqe){.op = CM_SOCKET, .slot = CALLER, .arg = {AF_INET, SOCK_STREAM}}, 0);
	must((struct cm_sqe){.op = CM_CONNECT, .slot = CALLER, .arg = {AF_INET}, .ep = loopback(7000)},
	    -EINPROGRESS);
	for (unsigned i = 0; res == -EAGAIN; i++) {
		check(i < 100, "nobody to accept");
		res = request((struct cm_sqe){.op = CM_ACCEPT, .slot = LISTENER, .arg = {CHILD}}).res;
	}
	check(!res, "accept: %d", res);
	for (uint32_t s = GRAM_A; s <= GRAM_B; s++) {
		must((struct cm_sqe){.op = CM_SOCKET, .slot = s, .arg = {AF_INET, SOCK_DGRAM}}, 0);
		must((struct cm_sqe){.op = CM_BIND, .slot = s, .arg = {AF_INET},
			 .ep = loopback((uint16_t)(7000 + s))},
		    0);
	}
}

static uint8_t pattern(uint32_t slot, uint64_t off)
{
	return (uint8_t)(off * 13 + (off >> 9) * 5 + slot);
}

static uint8_t *ring_byte(const struct ring_place *r, uint64_t pos)
{
	return honest.mem + ring_place_at(r, pos);
}

static void stream_write(uint32_t slot)
{
	struct cm_slot *m = slot_of(&honest, slot);
	struct stream *st = &streams[slot];
	uint64_t tail = m->tx_tail, room = m->tx.cap - (tail - load_acquire(&m->tx_head));
	uint32_t n = rnd((uint32_t)min_of(room, (uint64_t)20000) + 1);

	check(room <= m->tx.cap, "slot %u: tx_head %llu beyond what was written", slot,
	    (unsigned long long)m->tx_head);
	for (; n; n--)
		*ring_byte(&m->tx, tail++) = pattern(slot, st->written++);
	store_release(&m->tx_tail, tail);
	submit(&honest, (struct cm_sqe){.op = CM_POKE, .slot = slot});
	honest.token--; /* a poke is not answered */
}

static void stream_read(uint32_t slot, uint32_t from)
{
	struct cm_slot *m = slot_of(&honest, slot);
	struct stream *st = &streams[from];
	uint64_t head = m->rx_head, tail = load_acquire(&m->rx_tail);
	uint32_t n = rnd((uint32_t)(tail - head) + 1);

	check(tail - head <= m->rx.cap || !m->rx.cap, "slot %u: more than the ring holds", slot);
	for (; n; n--, head++, st->read++)
		check(*ring_byte(&m->rx, head) == pattern(from, st->read), "slot %u: byte %llu", slot,
		    (unsigned long long)st->read);
	check(!(load_acquire(&m->state) & (CM_ST_DEAD | CM_ST_RX_EOF)), "slot %u: state %x error %d",
	    slot, m->state, m->so_error);
	store_once(&m->rx_epoch_ack, m->rx.epoch);
	store_release(&m->rx_head, head);
	submit(&honest, (struct cm_sqe){.op = CM_POKE, .slot = slot});
	honest.token--;
}

static void gram_write(void)
{
	struct cm_slot *m = slot_of(&honest, GRAM_A);
	struct stream *st = &streams[GRAM_A];
	uint32_t len = 8 + rnd(1000);
	uint64_t room = cm_dgram_room(len), tail = m->tx_tail;
	struct cm_dgram h = {.len = len, .peer = loopback(7000 + GRAM_B)};

	if (!m->tx.cap) {
		must((struct cm_sqe){.op = CM_GROW, .slot = GRAM_A, .arg = {65536}}, 0);
		return;
	}
	if (m->tx.cap - (tail - load_acquire(&m->tx_head)) < room ||
	    ((tail - m->tx.base) & (m->tx.cap - 1)) + room > m->tx.cap)
		len = 0;
	if (!len) { /* to the ring's start, once all before it has gone */
		uint64_t rest = m->tx.cap - ((tail - m->tx.base) & (m->tx.cap - 1));

		if (load_acquire(&m->tx_head) != tail)
			return;
		h = (struct cm_dgram){.flags = CM_DGRAM_SKIP, .len = (uint32_t)(rest - sizeof(h))};
		room = rest;
	}
	memcpy(ring_byte(&m->tx, tail), &h, sizeof(h));
	for (uint32_t i = 0; i < len; i++)
		ring_byte(&m->tx, tail)[sizeof(h) + i] = pattern(GRAM_A, st->written + i);
	if (len) {
		memcpy(ring_byte(&m->tx, tail) + sizeof(h), &st->written, 8);
		st->written++;
	}
	store_release(&m->tx_tail, tail + room);
	submit(&honest, (struct cm_sqe){.op = CM_POKE, .slot = GRAM_A});
	honest.token--;
}

/* In order, none twice; some may be lost. Each carries its number and then a pattern. */
static void gram_read(void)
{
	struct cm_slot *m = slot_of(&honest, GRAM_B);
	struct stream *st = &streams[GRAM_A];
	uint64_t head = m->rx_head, number;
	struct cm_dgram h;

	while (head != load_acquire(&m->rx_tail)) {
		memcpy(&h, ring_byte(&m->rx, head), sizeof(h));
		if (!(h.flags & CM_DGRAM_SKIP)) {
			const uint8_t *data = ring_byte(&m->rx, head) + sizeof(h);

			memcpy(&number, data, 8);
			check(h.len >= 8 && h.len < 1008 && number >= st->read && number < st->written,
			    "datagram %llu of %u bytes", (unsigned long long)number, h.len);
			st->read = number + 1;
			for (uint32_t i = 8; i < h.len; i++)
				check(data[i] == pattern(GRAM_A, number + i), "datagram byte %u", i);
		}
		head += cm_dgram_room(h.len);
	}
	store_once(&m->rx_epoch_ack, m->rx.epoch);
	store_release(&m->rx_head, head);
	submit(&honest, (struct cm_sqe){.op = CM_POKE, .slot = GRAM_B});
	honest.token--;
}

void honest_step(void)
{
	struct cm_cqe c;

	check(!completed(&honest, &c), "a completion that nobody asked for");
	if (honest.sq_prod - load_acquire(&header(&honest)->sq_cons) > 500)
		return;
	stream_write(one_in(2) ? CALLER : CHILD);
	stream_read(CHILD, CALLER);
	stream_read(CALLER, CHILD);
	gram_write();
	gram_read();
	if (one_in(4))
		must((struct cm_sqe){.op = CM_NOP}, 0);
}

/* Everything written has arrived. */
void honest_finish(void)
{
	for (unsigned i = 0; streams[CALLER].read != streams[CALLER].written ||
			     streams[CHILD].read != streams[CHILD].written;
	     i++) {
		check(i < 3000, "stuck: %llu of %llu, %llu of %llu",
		    (unsigned long long)streams[CALLER].read,
		    (unsigned long long)streams[CALLER].written,
		    (unsigned long long)streams[CHILD].read, (unsigned long long)streams[CHILD].written);
		stream_read(CHILD, CALLER);
		stream_read(CALLER, CHILD);
		world.s.now += 10 * NSEC_PER_MSEC;
		world_cycle(&world, LIVE);
	}
}
