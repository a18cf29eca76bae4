/* See session_rig.h: clients by the contract of proto/client.h and control.proto. */
#include "session_rig.h"
#include <stdlib.h>
#include <sys/mman.h>

void client_open(struct client *c, struct rig *r)
{
	int pair[2];

	*c = (struct client){.r = r, .memfd = -1, .bell = -1, .set0 = -1};
	cr_assert(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	c->conn = pair[0];
	socket_accept(&r->s, pair[1]);
}

void client_ask(struct client *c, Netd__Control__Request *q)
{
	q->id = ++c->id;
	cr_assert(!channel_send(c->conn, &q->base, NULL, 0));
}

Netd__Control__Response *client_answer(struct client *c, struct channel_msg *m)
{
	if (channel_recv(c->conn, m, 0) != 1)
		return NULL;
	return netd__control__response__unpack(NULL, m->len, m->data);
}

void client_ask_attach(struct client *c, uint32_t slots, uint64_t room)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Attach at = NETD__CONTROL__ATTACH__INIT;

	at.version = CM_VERSION;
	at.name = (char *)(uintptr_t) "rig";
	at.slots = slots;
	at.memory = room;
	q.body_case = NETD__CONTROL__REQUEST__BODY_ATTACH;
	q.attach = &at;
	client_ask(c, &q);
}

bool client_take_attached(struct client *c)
{
	struct channel_msg *m = malloc(sizeof(*m));
	Netd__Control__Response *a = client_answer(c, m);
	bool ok = a && !a->error && a->body_case == NETD__CONTROL__RESPONSE__BODY_ATTACHED;

	if (ok) {
		uint64_t size = a->attached->memory_size;

		cr_assert_eq(m->nfds, 3);
		c->memfd = channel_take_fd(m, 0);
		c->bell = channel_take_fd(m, 1);
		c->set0 = channel_take_fd(m, 2);
		c->mem = memory_map(c->memfd, size, PROT_READ | PROT_WRITE);
		cr_assert(c->mem);
		memcpy(&c->lay, c->mem, sizeof(c->lay));
		cr_assert(!cm_check(&c->lay, size));
	}
	if (a)
		netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(m);
	free(m);
	return ok;
}

void client_attach(struct client *c, struct rig *r)
{
	client_open(c, r);
	client_ask_attach(c, 64, 0);
	rig_settle(r);
	cr_assert(client_take_attached(c));
}

void client_die(struct client *c)
{
	session_close_fd(&c->conn);
	session_close_fd(&c->bell);
	session_close_fd(&c->set0);
	session_close_fd(&c->memfd);
	if (c->mem)
		munmap(c->mem, c->lay.size);
	c->mem = NULL;
}

struct cm_header *client_header(struct client *c)
{
	return (struct cm_header *)(void *)c->mem;
}
struct cm_slot *client_slot(struct client *c, uint32_t slot)
{
	return (struct cm_slot *)(void *)(c->mem + c->lay.slot_off) + slot;
}
struct cm_set *client_set(struct client *c, uint32_t set)
{
	return (struct cm_set *)(void *)(c->mem + c->lay.set_off) + set;
}

void client_put(struct client *c, struct cm_sqe e)
{
	struct cm_sqe *ring = (struct cm_sqe *)(void *)(c->mem + c->lay.sq_off);
	struct cm_header *h = client_header(c);

	e.token = ++c->token;
	ring[c->sq_prod++ & (CM_SQ_ENTRIES - 1)] = e;
	store_release(&h->sq_prod, c->sq_prod);
	fence_full();
	if (load_once(&h->daemon_sleeps))
		bell_ring(c->bell);
}

bool client_get(struct client *c, struct cm_cqe *out)
{
	struct cm_cqe *ring = (struct cm_cqe *)(void *)(c->mem + c->lay.cq_off);
	struct cm_header *h = client_header(c);

	if (load_acquire(&h->cq_prod) == c->cq_cons)
		return false;
	*out = ring[c->cq_cons++ & (CM_CQ_ENTRIES - 1)];
	store_release(&h->cq_cons, c->cq_cons);
	return true;
}

int client_do(struct client *c, struct cm_sqe e)
{
	struct cm_cqe q = {.res = -9999};

	client_put(c, e);
	rig_cycle(c->r);
	cr_assert(client_get(c, &q));
	cr_assert_eq(q.token, c->token);
	return q.res;
}

void client_clear_slot(struct client *c, uint32_t slot)
{
	struct cm_slot *m = client_slot(c, slot);

	m->rx_head = m->tx_tail = 0;
	m->want = m->tx_want = 0;
	memset(m->set, 0xff, sizeof(m->set));
}

int client_socket(struct client *c, uint32_t slot, int family, int type, int protocol)
{
	if (slot < c->lay.slots)
		client_clear_slot(c, slot);
	return client_do(
	    c, (struct cm_sqe){.op = CM_SOCKET, .slot = slot, .arg = {family, type, protocol}});
}

bool client_lives(struct client *c)
{
	char b;

	return recv(c->conn, &b, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}
