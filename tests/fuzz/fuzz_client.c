/*
 * Hostile clients against the socket layer of a whole stack. One session lies in every word it can
 * write (submission entries, positions, slots, sets, rings), others misuse the control socket; beside
 * them an honest session keeps a TCP connection and a datagram pair over lo, byte for byte exact. The
 * daemon dies now and then. At the end nothing is left: no session, no socket, no descriptor.
 *
 *	hostile session --+                 +-- control connections: broken, mutated, flooding
 *	honest session  --+-- [stack, lo] --+
 */
#include "world_rig.h"
#include "proto/channel.h"
#include "proto/client.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEPS	150
#define SLOTS	64u
#define FLOODS	6

static struct world w;

/* ---- a client of any kind */

struct client {
	int conn, memfd, bell, set0;
	uint64_t id;
	uint8_t *mem;
	struct cm_header lay;
	uint64_t sq_prod, cq_cons, token;
	bool dead;
};

static struct channel_msg msg;

static void cycle(void)
{
	w.s.now += rnd(2 * NSEC_PER_MSEC);
	world_risky_cycle(&w, 40);
}

static int connect_control(void)
{
	int pair[2];

	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), "pair");
	socket_accept(&w.s, pair[1]);
	return pair[0];
}

static void ask_attach(struct client *c)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach at = NETD__CONTROL__ATTACH__INIT;

	at.version = CM_VERSION;
	at.name = (char *)(uintptr_t) "fuzz";
	at.slots = SLOTS;
	q.id = ++c->id;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &at;
	check(!channel_send(c->conn, &q.base, NULL, 0), "attach");
}

static void take_attached(struct client *c)
{
	Netd__Control__Response *a = netd__control__response__unpack(NULL, msg.len, msg.data);

	check(a && !a->error && a->body_case == NETD__CONTROL__RESPONSE__BODY_ATTACHED,
	    "attach: %d %s", a ? a->error : 0, a ? a->text : "");
	c->memfd = channel_take_fd(&msg, 0);
	c->bell = channel_take_fd(&msg, 1);
	c->set0 = channel_take_fd(&msg, 2);
	c->mem = memory_map(c->memfd, a->attached->memory_size, PROT_READ | PROT_WRITE);
	check(c->mem, "no memory");
	memcpy(&c->lay, c->mem, sizeof(c->lay));
	check(!cm_check(&c->lay, a->attached->memory_size), "the header is wrong");
	netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&msg);
}

static void attach(struct client *c)
{
	int ret = -EAGAIN;

	*c = (struct client){.memfd = -1, .bell = -1, .set0 = -1};
	c->conn = connect_control();
	world_cycle(&w, LIVE); /* an accept that is undone is an end-of-file */
	ask_attach(c);
	for (unsigned i = 0; ret == -EAGAIN; i++) {
		check(i < 50, "no answer to attach");
		cycle();
		ret = channel_recv(c->conn, &msg, 0);
	}
	check(ret == 1, "attach: %d", ret);
	take_attached(c);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void die(struct client *c)
{
	close_fd(&c->conn);
	close_fd(&c->bell);
	close_fd(&c->set0);
	close_fd(&c->memfd);
	if (c->mem)
		munmap(c->mem, c->lay.size);
	c->mem = NULL;
}

static struct cm_header *header(const struct client *c)
{
	return (struct cm_header *)(void *)c->mem;
}

static struct cm_slot *slot_of(const struct client *c, uint32_t slot)
{
	return (struct cm_slot *)(void *)(c->mem + c->lay.slot_off) + slot;
}

static struct cm_sqe *sqe_at(const struct client *c, uint64_t pos)
{
	return (struct cm_sqe *)(void *)(c->mem + c->lay.sq_off) + (pos & (CM_SQ_ENTRIES - 1));
}

static void submit(struct client *c, struct cm_sqe e)
{
	e.token = ++c->token;
	*sqe_at(c, c->sq_prod++) = e;
	store_release(&header(c)->sq_prod, c->sq_prod);
	fence_full();
	if (load_once(&header(c)->daemon_sleeps))
		bell_ring(c->bell);
}

static bool completed(struct client *c, struct cm_cqe *out)
{
	const struct cm_cqe *ring = (const void *)(c->mem + c->lay.cq_off);

	if (load_acquire(&header(c)->cq_prod) == c->cq_cons)
		return false;
	*out = ring[c->cq_cons++ & (CM_CQ_ENTRIES - 1)];
	store_release(&header(c)->cq_cons, c->cq_cons);
	return true;
}

/* ---- the honest one */

static struct client honest;

enum honest_slots { LISTENER, CALLER, CHILD, GRAM_A, GRAM_B, HONEST_SLOTS };

static struct stream {
	uint64_t written, read;
} streams[HONEST_SLOTS]; /* by the slot that writes */

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

static void honest_open(void)
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

static void honest_step(void)
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
static void honest_finish(void)
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
		w.s.now += 10 * NSEC_PER_MSEC;
		world_cycle(&w, LIVE);
	}
}

/* ---- the liar */

static struct client liar;
static unsigned thrown; /* how often it was */

static uint32_t odd_slot(void)
{
	return one_in(40) ? (uint32_t)rnd_odd() : rnd(12);
}

static int32_t odd_arg(void)
{
	static const int32_t usual[] = {AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 0, 1, 6, 17,
	    SHUT_RD, SHUT_WR, SHUT_RDWR, SOL_SOCKET, SO_LINGER, SO_RCVBUF, TCP_NODELAY, TCP_INFO,
	    TCP_CONGESTION, TCP_CORK, TCP_REPAIR, IP_TTL, 4, 8, 16, 64, -1, 65536, 1 << 30};

	return one_in(8) ? (int32_t)rnd_odd() : usual[rnd(ARRAY_SIZE(usual))];
}

static struct endpoint odd_endpoint(void)
{
	static const uint32_t addrs[] = {0, 0x7f000001, HOST, PEER, 0x0a6300ff, 0xffffffff, 0xe0000001};
	struct endpoint ep = {.addr = ipaddr_v4(addrs[rnd(ARRAY_SIZE(addrs))]),
	    .port = (uint16_t)(one_in(3) ? rnd(65536) : 8000 + rnd(4))};

	if (one_in(10))
		rnd_bytes(&ep, sizeof(ep));
	return ep;
}

/* What makes sense more often than not. */
static void odd_entry(struct cm_sqe *e)
{
	*e = (struct cm_sqe){.op = rnd(CM_OPS), .slot = odd_slot(), .ep = odd_endpoint()};
	for (int i = 0; i < 3; i++)
		e->arg[i] = odd_arg();
	rnd_bytes(e->data, sizeof(e->data));
	if (one_in(2))
		memcpy(e->data, (uint32_t[2]){rnd(2), rnd(100000)}, 8);
	switch (e->op) {
	case CM_SOCKET:
		if (!one_in(6))
			memcpy(e->arg, (int32_t[3]){AF_INET, one_in(2) ? SOCK_STREAM : SOCK_DGRAM, 0}, 12);
		break;
	case CM_BIND:
	case CM_CONNECT:
		e->arg[0] = one_in(8) ? odd_arg() : AF_INET;
		break;
	case CM_ACCEPT:
		e->arg[0] = (int32_t)odd_slot();
		break;
	case CM_SETSOCKOPT:
	case CM_GETSOCKOPT:
		e->arg[0] = one_in(2) ? SOL_SOCKET : one_in(2) ? IPPROTO_TCP : IPPROTO_IP;
		e->arg[1] = (int32_t)rnd(80);
		e->arg[2] = (int32_t)(one_in(10) ? rnd_odd() : rnd(70));
		break;
	case CM_GROW:
		e->arg[0] = one_in(3) ? (int32_t)rnd_odd() : (int32_t)(4096u << rnd(8));
		break;
	default:
		break;
	}
	if (one_in(60))
		rnd_bytes(e, sizeof(*e));
}

/* Honest positions: so that what follows is not cut off by the first lie. */
static void plausible_positions(uint32_t slot)
{
	struct cm_slot *m = slot_of(&liar, slot);
	uint64_t room = m->tx.cap - (m->tx_tail - load_once(&m->tx_head));

	store_once(&m->rx_epoch_ack, m->rx.epoch);
	if (m->rx_tail >= m->rx_head)
		m->rx_head += rnd((uint32_t)(m->rx_tail - m->rx_head) + 1);
	if (room > m->tx.cap || !room)
		return;
	/* Headers of datagrams may be anything, too. */
	if (m->tx.off < liar.lay.size - 128 && m->tx.off > 0) {
		struct cm_dgram h = {.len = rnd(2000), .peer = odd_endpoint(), .ttl = (uint8_t)rnd(256)};
		uint64_t at = ring_place_at(&m->tx, m->tx_tail);

		h.flags = (uint16_t)(one_in(6) ? rnd(4) : 0);
		h.len = one_in(10) ? (uint32_t)rnd_odd() : h.len;
		if (at + sizeof(h) < liar.lay.size)
			memcpy(liar.mem + at, &h, sizeof(h));
		if (one_in(2) && cm_dgram_room(h.len) <= room) {
			m->tx_tail += cm_dgram_room(h.len);
			return;
		}
	}
	m->tx_tail += rnd((uint32_t)min_of(room, (uint64_t)30000) + 1);
}

static void lie_in_slot(uint32_t slot)
{
	struct cm_slot *m = slot_of(&liar, slot);

	for (unsigned i = 0; i < CM_SLOT_SETS; i++)
		store_once(&m->set[i], (uint16_t)(one_in(2) ? rnd(CM_SETS) : rnd_odd()));
	store_once(&m->want, rnd(2));
	store_once(&m->tx_want, rnd(2));
	if (one_in(20))
		m->rx_head = rnd_odd();
	if (one_in(20))
		m->tx_tail = rnd_odd();
	if (one_in(8))
		m->rx_epoch_ack = (uint32_t)rnd_odd();
	if (one_in(20))
		rnd_bytes(m, sizeof(*m)); /* the daemon's lines, too */
}

static void lie_in_header(void)
{
	struct cm_header *h = header(&liar);

	switch (rnd(6)) {
	case 0:
		h->sq_prod = one_in(2) ? h->sq_prod + rnd(2000) : rnd_odd();
		break;
	case 1:
		h->cq_cons = one_in(2) ? h->cq_cons + rnd(3) : rnd_odd();
		break;
	case 2:
		h->ev_cons = rnd_odd();
		break;
	case 3:
		rnd_bytes(h, sizeof(*h));
		break;
	default:
		h->cq_want = rnd(2);
	}
}

static void lie_anywhere(void)
{
	uint32_t size = (uint32_t)min_of(liar.lay.size, (uint64_t)1 << 22), at = rnd(size - 4096);

	if (one_in(4))
		rnd_bytes(liar.mem + at, 1 + rnd(4096));
	else
		mutate(liar.mem + liar.lay.set_off, CM_SETS * sizeof(struct cm_set));
}

static bool thrown_out(void)
{
	struct pollfd p = {.fd = liar.conn, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR);
}

static void liar_step(void)
{
	struct cm_cqe c;

	if (thrown_out() || one_in(100)) {
		thrown++;
		die(&liar);
		cycle();
		attach(&liar);
	}
	for (uint32_t n = rnd(12); n; n--) {
		struct cm_sqe e;

		odd_entry(&e);
		if (e.slot < SLOTS) {
			plausible_positions(e.slot);
			if (one_in(12))
				lie_in_slot(e.slot);
		}
		submit(&liar, e);
	}
	if (!one_in(5))
		while (completed(&liar, &c) && !one_in(3000))
			;
	if (one_in(15))
		lie_in_header();
	if (one_in(25))
		lie_anywhere();
	if (one_in(10))
		bell_ring(liar.bell);
}

/* ---- the control socket */

static int flood[FLOODS];

static size_t some_request(uint8_t *out)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach at = NETD__CONTROL__ATTACH__INIT;
	Netd__Control__NewSet set = NETD__CONTROL__NEW_SET__INIT;
	Netd__Control__Addr addr = NETD__CONTROL__ADDR__INIT;
	Netd__Control__Route route = NETD__CONTROL__ROUTE__INIT;
	Netd__Control__Neigh neigh = NETD__CONTROL__NEIGH__INIT;
	Netd__Control__SockList list = NETD__CONTROL__SOCK_LIST__INIT;
	Netd__Control__KillPoint kp = NETD__CONTROL__KILL_POINT__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	static uint8_t bytes[64];

	rnd_bytes(bytes, sizeof(bytes));
	at.version = one_in(3) ? rnd(4) : CM_VERSION;
	at.slots = one_in(3) ? (uint32_t)rnd_odd() : 16;
	at.name = (char *)(uintptr_t)(one_in(2) ? "a\nname\x01" : "");
	set.set = (uint32_t)rnd_odd();
	addr.dev = route.dev = neigh.dev = (char *)(uintptr_t)(one_in(2) ? "tap0" : "no such device, ever");
	addr.addr = route.dst = neigh.addr = (ProtobufCBinaryData){one_in(3) ? rnd(40) : 16, bytes};
	route.gateway = route.source = neigh.mac = (ProtobufCBinaryData){one_in(2) ? rnd(20) : 6, bytes + 32};
	addr.prefix = route.prefix = rnd(140);
	list.cursor = (uint32_t)rnd_odd();
	kp.name = (char *)(uintptr_t)(one_in(2) ? "" : "cycle.speak");
	q.id = one_in(4) ? rnd_odd() : rnd(8);
	q.body_case = (Netd__Control__Request__BodyCase)(2 + rnd(16));
	switch (q.body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
		q.attach = &at;
		break;
	case NETD__CONTROL__REQUEST__BODY_NEW_SET:
		q.new_set = &set;
		break;
	case NETD__CONTROL__REQUEST__BODY_ADDR_ADD:
	case NETD__CONTROL__REQUEST__BODY_ADDR_DEL:
		q.addr_add = &addr;
		break;
	case NETD__CONTROL__REQUEST__BODY_ROUTE_ADD:
	case NETD__CONTROL__REQUEST__BODY_ROUTE_DEL:
		q.route_add = &route;
		break;
	case NETD__CONTROL__REQUEST__BODY_NEIGH_ADD:
	case NETD__CONTROL__REQUEST__BODY_NEIGH_DEL:
		q.neigh_add = &neigh;
		break;
	case NETD__CONTROL__REQUEST__BODY_SOCK_LIST:
		q.sock_list = &list;
		break;
	case NETD__CONTROL__REQUEST__BODY_KILL_POINT:
		q.kill_point = &kp;
		break;
	default:
		q.status = &empty;
	}
	return netd__control__request__pack(&q, out);
}

/* Sends bytes as they are, perhaps with descriptors that nobody asked for. */
static void send_raw(int conn, const uint8_t *buf, size_t len)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * 8)];
	} control = {{0}};
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (one_in(4)) {
		struct cmsghdr *c;
		unsigned n = 1 + rnd(8);

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n);
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &conn, sizeof(conn));
	}
	if (sendmsg(conn, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return; /* full, or thrown out */
}

static void send_odd(int conn)
{
	static uint8_t buf[70000];
	size_t len = some_request(buf);

	check(len < 4096, "%zu", len);
	switch (rnd(12)) {
	case 0:
		len = rnd((uint32_t)len + 1);
		break;
	case 1:
		mutate(buf, len);
		break;
	case 2:
		len = rnd(300);
		rnd_bytes(buf, len);
		break;
	case 3:
		len = 16000 + rnd(50000); /* one huge name */
		memset(buf, 'x', len);
		break;
	default:
		break;
	}
	send_raw(conn, buf, len);
}

static void control_step(void)
{
	int *c = &flood[rnd(FLOODS)];

	if (*c >= 0 && one_in(6))
		close_fd(c);
	if (*c < 0)
		*c = connect_control();
	for (uint32_t n = 1 + rnd(6); n; n--)
		send_odd(*c);
	while (one_in(3) && channel_recv(*c, &msg, 0) == 1) /* who reads is the exception */
		channel_close_fds(&msg);
}

/* ---- */

/* Nothing is left of anybody. */
static void all_gone(unsigned fds)
{
	die(&liar);
	die(&honest);
	for (int i = 0; i < FLOODS; i++)
		close_fd(&flood[i]);
	for (unsigned i = 0; i < 1200 && (state_count(w.s.state, KIND_SESSION) ||
					     state_count(w.s.state, KIND_SOCK));
	     i++) {
		static uint8_t frame[FRAME_MAX];

		w.s.now += NSEC_PER_SEC;
		world_cycle(&w, LIVE);
		while (world_sent(&w, frame))
			;
	}
	world_cycle(&w, LIVE);
	check(!state_count(w.s.state, KIND_SESSION), "%u sessions are left",
	    state_count(w.s.state, KIND_SESSION));
	check(!state_count(w.s.state, KIND_SOCK), "%u sockets are left",
	    state_count(w.s.state, KIND_SOCK));
	check(count_fds() == fds, "%u descriptors instead of %u", count_fds(), fds);
}

static void round_client(void)
{
	static uint8_t frame[FRAME_MAX];
	const char *wrong;
	unsigned fds;

	for (int i = 0; i < FLOODS; i++)
		flood[i] = -1;
	thrown = 0;
	world_new(&w, true);
	fds = count_fds();
	honest_open();
	attach(&liar);
	for (int i = 0; i < STEPS; i++) {
		honest_step();
		liar_step();
		if (one_in(3))
			control_step();
		cycle();
		while (world_sent(&w, frame))
			;
		wrong = world_census(&w);
		check(!wrong, "%s", wrong);
	}
	honest_finish();
	if (getenv("NETD_FUZZ_STATS"))
		fprintf(stderr, "seed %llu: %u restarts, %llu + %llu bytes, %llu datagrams; liar thrown out %u times\n",
		    (unsigned long long)fuzz_now.seed, w.restarts,
		    (unsigned long long)streams[CALLER].read, (unsigned long long)streams[CHILD].read,
		    (unsigned long long)streams[GRAM_A].read, thrown);
	all_gone(fds);
	world_delete(&w);
}

int main(void)
{
	return fuzz_main("fuzz_client", 40, round_client);
}
