/* See client_rig.h. */
#include "client_rig.h"

struct world world;

struct channel_msg msg;

void cycle(void)
{
	world.s.now += rnd(2 * NSEC_PER_MSEC);
	world_risky_cycle(&world, 40);
}

int connect_control(void)
{
	int pair[2];

	check(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), "pair");
	socket_accept(&world.s, pair[1]);
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

void attach(struct client *c)
{
	bool (*damage)(void) = world.damage;
	int ret = -EAGAIN;

	world.damage = NULL; /* its own record could be the one that is lost */
	*c = (struct client){.memfd = -1, .bell = -1, .set0 = -1};
	c->conn = connect_control();
	world_cycle(&world, LIVE); /* an accept that is undone is an end-of-file */
	ask_attach(c);
	for (unsigned i = 0; ret == -EAGAIN; i++) {
		check(i < 50, "no answer to attach");
		cycle();
		ret = channel_recv(c->conn, &msg, 0);
	}
	check(ret == 1, "attach: %d", ret);
	take_attached(c);
	world.damage = damage;
}

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void die(struct client *c)
{
	close_fd(&c->conn);
	close_fd(&c->bell);
	close_fd(&c->set0);
	close_fd(&c->memfd);
	if (c->mem)
		munmap(c->mem, c->lay.size);
	c->mem = NULL;
}

struct cm_header *header(const struct client *c)
{
	return (struct cm_header *)(void *)c->mem;
}

struct cm_slot *slot_of(const struct client *c, uint32_t slot)
{
	return (struct cm_slot *)(void *)(c->mem + c->lay.slot_off) + slot;
}

static struct cm_sqe *sqe_at(const struct client *c, uint64_t pos)
{
	return (struct cm_sqe *)(void *)(c->mem + c->lay.sq_off) + (pos & (CM_SQ_ENTRIES - 1));
}

void submit(struct client *c, struct cm_sqe e)
{
	e.token = ++c->token;
	*sqe_at(c, c->sq_prod++) = e;
	store_release(&header(c)->sq_prod, c->sq_prod);
	fence_full();
	if (load_once(&header(c)->daemon_sleeps))
		bell_ring(c->bell);
}

bool completed(struct client *c, struct cm_cqe *out)
{
	const struct cm_cqe *ring = (const void *)(c->mem + c->lay.cq_off);

	if (load_acquire(&header(c)->cq_prod) == c->cq_cons)
		return false;
	*out = ring[c->cq_cons++ & (CM_CQ_ENTRIES - 1)];
	store_release(&header(c)->cq_cons, c->cq_cons);
	return true;
}

static unsigned left(enum record_kind kind)
{
	return state_count(world.s.state, kind);
}

void nothing_is_left(unsigned fds)
{
	static uint8_t frame[FRAME_MAX];

	for (unsigned i = 0; i < 1200 && (left(KIND_SESSION) || left(KIND_SOCK)); i++) {
		world.s.now += NSEC_PER_SEC;
		world_cycle(&world, LIVE);
		while (world_sent(&world, frame))
			;
	}
	world_cycle(&world, LIVE);
	check(!left(KIND_SESSION), "%u sessions are left", left(KIND_SESSION));
	check(!left(KIND_SOCK), "%u sockets are left", left(KIND_SOCK));
	check(!left(KIND_HOLDER) && !left(KIND_TOKEN), "%u holders, %u tokens are left", left(KIND_HOLDER), left(KIND_TOKEN));
	check(count_fds() == fds, "%u descriptors instead of %u", count_fds(), fds);
}
