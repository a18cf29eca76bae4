/*
 * Hostile clients against the socket layer of a whole stack. One session lies in every word it can
 * write (submission entries, positions, slots, sets, rings), one shares its sockets and lies about
 * that (client_share.h), others misuse the control socket; beside
 * them an honest session keeps a TCP connection and a datagram pair over lo, byte for byte exact. The
 * daemon dies now and then. At the end nothing is left: no session, no socket, no descriptor.
 *
 *	hostile session --+                 +-- control connections: broken, mutated, flooding
 *	honest session  --+-- [stack, lo] --+
 */
#include "client_rig.h"
#include "client_share.h"
#include "wire/bpf.h"
#include <linux/if_ether.h>
#include <netinet/tcp.h>

#define STEPS  150
#define FLOODS 6

/* ---- the liar */

static struct client liar;
static unsigned thrown;  /* how often it was */
static uint32_t mild;    /* lies are this much rarer: else no session lives long enough for the deep ones */

static uint32_t odd_slot(void)
{
	return one_in(40 * mild) ? (uint32_t)rnd_odd() : rnd(12);
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

/* Of every kind, raw and packet sockets included. */
static void odd_socket(struct cm_sqe *e)
{
	static const int32_t kinds[][3] = {{AF_INET, SOCK_STREAM, 0}, {AF_INET, SOCK_DGRAM, 0},
	    {AF_INET, SOCK_DGRAM, IPPROTO_ICMP}, {AF_INET, SOCK_RAW, IPPROTO_ICMP}, {AF_INET, SOCK_RAW, IPPROTO_UDP},
	    {AF_INET, SOCK_RAW, IPPROTO_RAW}, {AF_PACKET, SOCK_RAW, ETH_P_ALL}, {AF_PACKET, SOCK_DGRAM, ETH_P_IP}};

	if (!one_in(6))
		memcpy(e->arg, kinds[one_in(2) ? rnd(2) : rnd(ARRAY_SIZE(kinds))], sizeof(kinds[0]));
	if (!world.forged && (e->arg[0] == AF_PACKET || e->arg[1] == SOCK_RAW))
		memcpy(e->arg, kinds[2], sizeof(kinds[0]));
}

/* A piece of a filter: most are thrown away, but some programs get as far as to run. */
static void odd_filter(struct cm_sqe *e)
{
	static const struct bpf_insn likely[] = {{0x28, 0, 0, 12}, {0x30, 0, 0, 23}, {0x15, 0, 1, 0x800}, {0x50, 0, 0, 14},
	    {0xb1, 0, 0, 14}, {0x06, 0, 0, 0xffff}, {0x16, 0, 0, 0}, {0x04, 0, 0, 1}, {0x05, 0, 0, 1}, {0x40, 0, 0, 0xfffff004}};

	e->arg[1] = (int32_t)(one_in(4) ? rnd(20) : 8);
	e->arg[0] = (int32_t)(one_in(4) ? rnd(20) : 0);
	e->arg[2] = (int32_t)(one_in(8) ? rnd_odd() : 8);
	for (unsigned i = 0; i < CM_FILTER_PIECE; i++)
		if (!one_in(10))
			memcpy(e->data + i * sizeof(likely[0]), &likely[rnd(ARRAY_SIZE(likely))], sizeof(likely[0]));
	if (!one_in(3))
		memcpy(e->data + 7 * sizeof(likely[0]), &likely[5 + rnd(2)], sizeof(likely[0]));
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
		odd_socket(e);
		break;
	case CM_FILTER:
		odd_filter(e);
		break;
	case CM_BIND:
	case CM_CONNECT:
		e->arg[0] = one_in(8) ? odd_arg() : one_in(4) ? AF_PACKET : AF_INET;
		break;
	case CM_ACCEPT:
		e->arg[0] = (int32_t)odd_slot();
		break;
	case CM_SETSOCKOPT:
	case CM_GETSOCKOPT:
		e->arg[0] = one_in(2) ? SOL_SOCKET : one_in(2) ? IPPROTO_TCP : one_in(2) ? SOL_PACKET : IPPROTO_IP;
		e->arg[1] = (int32_t)rnd(80);
		e->arg[2] = (int32_t)(one_in(10) ? rnd_odd() : rnd(70));
		break;
	case CM_GROW:
		e->arg[0] = one_in(3) ? (int32_t)rnd_odd() : (int32_t)(4096u << rnd(8));
		break;
	default:
		break;
	}
	if (one_in(60 * mild))
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

		h.flags = (uint16_t)(one_in(6 * mild) ? rnd(4) : 0);
		h.len = one_in(10 * mild) ? (uint32_t)rnd_odd() : h.len;
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
	if (one_in(20 * mild))
		m->rx_head = rnd_odd();
	if (one_in(20 * mild))
		m->tx_tail = rnd_odd();
	if (one_in(8))
		m->rx_epoch_ack = (uint32_t)rnd_odd();
	if (one_in(20 * mild))
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
	if (one_in(15 * mild))
		lie_in_header();
	if (one_in(25 * mild))
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
	static const Netd__Control__Request__BodyCase without_content[] = {NETD__CONTROL__REQUEST__BODY_CLONE,
	    NETD__CONTROL__REQUEST__BODY_BLACK_BOX, NETD__CONTROL__REQUEST__BODY_SUCCEED};
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
	if (one_in(6))
		q.body_case = without_content[rnd(ARRAY_SIZE(without_content))];
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

static void all_gone(unsigned fds)
{
	die(&liar);
	share_end();
	die(&honest);
	for (int i = 0; i < FLOODS; i++)
		close_fd(&flood[i]);
	nothing_is_left(fds);
}

static void round_client(void)
{
	static uint8_t frame[FRAME_MAX];
	const char *wrong;
	unsigned fds;

	for (int i = 0; i < FLOODS; i++)
		flood[i] = -1;
	thrown = 0;
	mild = 1u << (3 * rnd(3));
	world_new(&world, true);
	world.forged = one_in(2);
	fds = count_fds();
	honest_open();
	attach(&liar);
	share_begin();
	for (int i = 0; i < STEPS; i++) {
		honest_step();
		liar_step();
		if (one_in(2))
			share_step();
		if (one_in(3))
			control_step();
		cycle();
		while (world_sent(&world, frame))
			;
		wrong = world_census(&world);
		check(!wrong, "%s", wrong);
	}
	honest_finish();
	if (getenv("NETD_FUZZ_STATS"))
		fprintf(stderr, "seed %llu: %u restarts, %llu + %llu bytes, %llu datagrams; liar thrown out %u times\n",
		    (unsigned long long)fuzz_now.seed, world.restarts,
		    (unsigned long long)streams[CALLER].read, (unsigned long long)streams[CHILD].read,
		    (unsigned long long)streams[GRAM_A].read, thrown);
	all_gone(fds);
	world_delete(&world);
}

int main(void)
{
	return fuzz_main("fuzz_client", 120, round_client);
}
