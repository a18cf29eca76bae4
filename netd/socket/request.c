/*
 * Requests: entries of the submission ring, one function each.
 *
 * Theory of operation. An entry is copied to private memory, checked, worked, and answered beyond the
 * published end of the completion ring. How far both rings are is in the session's record, so entries
 * and what they changed become true in the same commit: each is done exactly once, whenever the
 * daemon dies. Only as many are taken as the completion ring has room for.
 *
 * `sq_taken` is published before the positions of any socket are read, with a full fence between: a
 * client that still sees its poke untaken may count on its newest positions being seen.
 *
 * What a client gets wrong by mistake is answered with an errno. What no library would do (positions
 * or slot numbers that cannot be, unknown requests) costs the session: ss->lie.
 */
#include "socket/layer.h"
#include "inet/errq.h"
#include "base/util.h"
#include "state/switchboard.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define OPTION_MAX 512 /* bytes of an option's value */

/* Returns what the completion says. `sk` is the slot's socket where the table asks for one. */
typedef int (*request_fn)(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c);

int session_poke(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct session *share = k && session_holder(ss, slot) != NO_INDEX ? share_of(s, sk) : NULL;
	struct cm_slot *m = share ? session_slot(share, k->slot) : session_slot(ss, slot);
	uint64_t rx_head, tx_tail;

	if (!k)
		return -EPROTO;
	rx_head = load_acquire(&m->rx_head);
	tx_tail = load_acquire(&m->tx_tail);
	if (k->rx_old.cap)
		sock_epoch_ack(s, sk, load_once(&m->rx_epoch_ack));
	return sock_ops_of(s, k)->poke(s, sk, rx_head, tx_tail);
}

void session_tell(struct stack *s, struct session *ss, uint32_t slot, uint32_t state)
{
	struct socket_layer *l = s->socket;

	if (state == TELL_NOBODY || l->n_news == NEWS_MAX)
		return;
	l->news[l->n_news++] = (struct news){ss, slot, state};
}

void session_close_sock(
    struct stack *s, struct session *ss, uint32_t slot, bool killed, uint32_t state)
{
	uint32_t sk = session_sock(ss, slot);
	struct sock_rec *k;

	if (session_holder(ss, slot) != NO_INDEX) {
		holder_end(s, ss, slot, killed, state);
		return;
	}
	k = sock_get(s, sk);
	session_set_sock(ss, slot, NO_INDEX);
	session_tell(s, ss, slot, state);
	if (!k)
		return;
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	sock_ops_of(s, k)->close(s, sk, killed);
	if (!ss->socks && session_peek(s, ss)->state == SESSION_SHARE) {
		session_get(s, ss)->state = SESSION_DEAD;
		LIST_PUT(s->socket, ss, done);
	}
}

/* Gives a socket to a slot and its costs to the session's user. */
static int settle_in(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk)
{
	struct session_rec *r = session_get(s, ss);
	int ret = r ? session_set_sock(ss, slot, sk) : -ENOMEM;

	if (ret)
		return ret;
	r->slot_high = max_of(r->slot_high, slot + 1);
	socket_charge(s, sk, ss, r->uid);
	sock_changed(s, sk);
	return 0;
}

static int may_have_socket(struct stack *s, struct session *ss, uint32_t slot)
{
	int ret;

	if (slot >= ss->lay.slots) {
		ss->lie = "slot number";
		return -EBADF;
	}
	if (session_sock(ss, slot) != NO_INDEX)
		return -EEXIST;
	ret = policy_socket(s, ss->user);
	return ret ? ret : policy_memory(s, ss->user, 0);
}

/* ---- socket */

/* The row of the switchboard's tables; errors as inet_create() and packet_create() give them. */
static int find_type(
    const struct stack *s, int family, int type, int protocol, const struct inetsw_row **out)
{
	const struct family_row *f = NULL;
	bool known = false;

	for (unsigned i = 0; i < s->board->n_families; i++)
		if (s->board->families[i].family == family)
			f = &s->board->families[i];
	if (!f)
		return -EAFNOSUPPORT;
	if (type <= 0 || type > SOCK_PACKET || protocol < 0 ||
	    protocol > (family == AF_PACKET ? UINT16_MAX : UINT8_MAX))
		return -EINVAL;
	for (unsigned i = 0; i < f->n_types; i++) {
		const struct inetsw_row *row = &f->types[i];

		if (row->type != type)
			continue;
		known = true;
		if (row->protocol ? !protocol || row->protocol == protocol
				  : protocol || family == AF_PACKET) {
			*out = row;
			return 0;
		}
	}
	return known ? -EPROTONOSUPPORT : -ESOCKTNOSUPPORT;
}

static int req_socket(
    struct stack *s, struct session *ss, uint32_t none, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct session_rec *r = session_peek(s, ss);
	const struct inetsw_row *row;
	struct sock_rec *k;
	uint32_t sk;
	/* As the kernel: whoever may have none is not told which packet sockets there are. */
	int ret = e->arg[0] == AF_PACKET ? policy_type(s, r, AF_PACKET, 0, 0) : 0;

	(void)none;
	(void)c;
	if (!ret)
		ret = find_type(s, e->arg[0], e->arg[1], e->arg[2], &row);
	if (!ret)
		ret = policy_type(s, r, e->arg[0], e->arg[1], row->protocol);
	if (!ret)
		ret = may_have_socket(s, ss, e->slot);
	if (ret)
		return ret;
	k = sock_alloc(s, &sk);
	if (!k)
		return -ENFILE;
	k->family = (uint16_t)e->arg[0];
	k->type = row->type;
	if (e->arg[0] == AF_PACKET)
		k->local.port = (uint16_t)e->arg[2]; /* an ethertype */
	else
		k->protocol = row->protocol ? row->protocol : (uint8_t)e->arg[2];
	k->uid = r->uid;
	k->session = ss->index;
	k->session_gen = ss->gen;
	k->slot = e->slot;
	ret = row->ops->create(s, sk);
	if (!ret)
		ret = settle_in(s, ss, e->slot, sk);
	if (ret) {
		k->session = NO_INDEX;
		sock_free(s, sk);
	}
	return ret;
}

/* ---- names */

/* The caller's address family against the socket's; `strict` as bind() is, connect() less so. */
static int check_family(
    const struct sock_rec *k, const struct endpoint *ep, int family, bool strict)
{
	if (k->family == AF_PACKET)
		return family == AF_PACKET ? 0 : -EINVAL;
	if (k->family == AF_INET6 && (k->flags & SOCK_F_V6ONLY) && ipaddr_is_v4(&ep->addr) &&
	    !ipaddr_is_any(&ep->addr))
		return strict ? -EINVAL : -ENETUNREACH;
	if (family == k->family)
		return k->family == AF_INET && !ipaddr_is_v4(&ep->addr) ? -EAFNOSUPPORT : 0;
	if (strict && family == AF_UNSPEC && k->family == AF_INET && ipaddr_is_any(&ep->addr))
		return 0;
	if (!strict && family == AF_INET && k->family == AF_INET6 && k->type == SOCK_DGRAM)
		return 0;
	return -EAFNOSUPPORT;
}

static int req_bind(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_rec *k = sock_peek(s, sk);
	int ret = check_family(k, &e->ep, e->arg[0], true);

	(void)c;
	if (!ret && k->family != AF_PACKET && k->protocol != IPPROTO_ICMP && k->type != SOCK_RAW)
		ret = policy_port(s, session_peek(s, ss), e->ep.port);
	return ret ? ret : sock_ops_of(s, k)->bind(s, sk, &e->ep);
}

static int req_listen(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_ops *ops = sock_ops_of(s, sock_peek(s, sk));

	(void)ss;
	(void)c;
	return ops->listen ? ops->listen(s, sk, (uint32_t)e->arg[0]) : -EOPNOTSUPP;
}

static int req_connect(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct sock_ops *ops = sock_ops_of(s, k);
	int ret;

	(void)ss;
	(void)c;
	if (e->arg[0] == AF_UNSPEC)
		return ops->disconnect ? ops->disconnect(s, sk) : -EOPNOTSUPP;
	ret = check_family(k, &e->ep, e->arg[0], false);
	return ret ? ret : ops->connect(s, sk, &e->ep);
}

static int req_accept(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_ops *ops = sock_ops_of(s, sock_peek(s, sk));
	uint32_t child, slot = (uint32_t)e->arg[0];
	int ret;

	if (!ops->accept)
		return -EOPNOTSUPP;
	ret = may_have_socket(s, ss, slot);
	if (!ret)
		ret = ops->accept(s, sk, &child);
	if (ret)
		return ret;
	KILLPOINT("socket.accept.child");
	ret = sock_adopt(s, child, ss->index, ss->gen, slot);
	if (!ret) {
		sock_get(s, child)->uid = session_peek(s, ss)->uid;
		ret = settle_in(s, ss, slot, child);
	}
	sock_changed(s, sk);
	if (ret) {
		/* As in the kernel: a child that cannot be given out is gone. */
		death_orphan(s, child, false);
		return ret;
	}
	c->ep = sock_peek(s, child)->remote;
	return 0;
}

/* ---- the rest */

static int req_nop(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	(void)s;
	(void)ss;
	(void)sk;
	(void)e;
	(void)c;
	return 0;
}

static int req_shutdown(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	(void)c;
	if (e->arg[0] != SHUT_RD && e->arg[0] != SHUT_WR && e->arg[0] != SHUT_RDWR)
		return -EINVAL;
	if (e->arg[1] && session_holder(ss, e->slot) != NO_INDEX && holder_any(s, sk, session_holder(ss, e->slot) + 1))
		return -EBUSY;
	return sock_ops_of(s, sock_peek(s, sk))->shutdown(s, sk, e->arg[0]);
}

static int req_close(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_rec *k = sock_peek(s, sk);

	(void)c;
	if (k->rx_old.cap && session_holder(ss, e->slot) == NO_INDEX) /* whatever it acknowledged: it reads no more */
		sock_epoch_ack(s, sk, k->rx.epoch);
	session_close_sock(s, ss, e->slot, false, 0);
	return 0;
}

static int req_setsockopt(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	uint32_t len = (uint32_t)e->arg[2];
	int value = 0, ret;

	(void)c;
	if (len > sizeof(e->data))
		return -EINVAL;
	POISON(e->data, len);
	memcpy(&value, e->data, min_of((size_t)len, sizeof(value)));
	ret = policy_option(s, session_peek(s, ss), e->arg[0], e->arg[1], value);
	if (!ret && e->arg[0] == IPPROTO_IP && e->arg[1] == IP_OPTIONS)
		ret = policy_ip_options(s, session_peek(s, ss), e->data, len);
	if (ret)
		return ret;
	return sock_ops_of(s, sock_peek(s, sk))
	    ->setsockopt(s, sk, e->arg[0], e->arg[1], e->data, len);
}

/* A value longer than a completion is asked for in parts. */
static int req_getsockopt(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	uint8_t value[OPTION_MAX] = {0};
	uint32_t len = min_of((uint32_t)e->arg[2], (uint32_t)sizeof(value)), part = e->part;
	int ret;

	(void)ss;
	if (e->arg[2] < 0)
		return -EINVAL;
	memcpy(value, e->data, sizeof(e->data)); /* of some the question */
	ret = sock_ops_of(s, sock_peek(s, sk))->getsockopt(s, sk, e->arg[0], e->arg[1], value, &len);
	if (ret)
		return ret;
	c->arg = part < len ? len - part : 0;
	memcpy(c->data, value + min_of(part, len), min_of(c->arg, (uint32_t)sizeof(c->data)));
	return 0;
}

static int req_filter(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_ops *ops = sock_ops_of(s, sock_peek(s, sk));

	(void)ss;
	(void)c;
	if (e->arg[0] < 0 || e->arg[1] < 0 || e->arg[2] < 0)
		return -EINVAL;
	return ops->filter ? ops->filter(s, sk, (uint32_t)e->arg[0], (uint32_t)e->arg[1], e->data, (uint32_t)e->arg[2])
			   : -ENOPROTOOPT;
}

static int req_grow(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint32_t set = k->flags & SOCK_F_SNDBUF_SET ? 2 * k->sndbuf : 0; /* as the slot says: tx_limit */
	uint32_t wish = max_of(stack_sndbuf_max(s), set), most = max_of(round_up_pow2(wish), 4096u);
	uint32_t cap = e->arg[0] > 4096 ? round_up_pow2((uint32_t)e->arg[0]) : 4096u;
	struct sock_view v = {0};
	int ret;

	(void)c;
	cap = min_of(cap, most);
	/* Only for the holder that has parked, else the ring would move under another's hands. */
	if (session_holder(ss, e->slot) != NO_INDEX &&
	    load_acquire(&session_slot(share_of(s, sk), k->slot)->tx_parked) != ss->index + 1)
		return -EAGAIN;
	if (k->tx.cap >= cap)
		return 0;
	ret = policy_memory(s, ss->user, cap);
	if (ret)
		return ret;
	sock_ops_of(s, k)->publish(s, sk, &v);
	ret = sock_tx_ring(s, sk, cap, v.tx_head);
	if (!ret)
		sock_changed(s, sk);
	return ret;
}

static int req_poke(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_ops *ops = sock_ops_of(s, sock_peek(s, sk));

	(void)ss;
	(void)c;
	if (ops->hint)
		ops->hint(s, sk, e->arg[0] ? SOCK_MORE : SOCK_NO_MORE, 0);
	return 0;
}

static int req_urgent(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct sock_ops *ops = sock_ops_of(s, sock_peek(s, sk));
	uint64_t end;

	(void)ss;
	(void)c;
	if (!ops->hint)
		return -EOPNOTSUPP;
	memcpy(&end, e->data, sizeof(end));
	ops->hint(s, sk, SOCK_URGENT, end);
	return 0;
}

/* What became of the datagram whose sender waits. */
static int req_sent(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	int err = sock_peek(s, sk)->sent_err;

	(void)ss;
	(void)e;
	(void)c;
	if (err)
		sock_get(s, sk)->sent_err = 0;
	return -err;
}

static int req_error(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	const struct errq_rec *r = errq_first(s, sk);
	int32_t part = e->arg[0];

	(void)ss;
	if (part == CM_ERROR_TAKE)
		return errq_take(s, sk, (uint32_t)e->arg[1]);
	if (!r)
		return -EAGAIN;
	c->ep = r->name;
	if (part == CM_ERROR_HEAD) {
		c->arg = sizeof(r->e);
		memcpy(c->data, &r->e, sizeof(r->e));
		return 0;
	}
	if (part < 0 || part > r->e.len)
		return -EINVAL;
	c->arg = min_of((uint32_t)(r->e.len - part), (uint32_t)sizeof(c->data));
	memcpy(c->data, r->data + part, c->arg);
	return 0;
}

/* ---- the table */

enum request_needs {
	NEEDS_NOTHING,
	NEEDS_SOCKET, /* a socket in the slot, whose positions are read first: requests keep their order with the bytes */
};

static const struct request_row {
	request_fn fn;
	enum request_needs needs;
} requests[CM_OPS] = {
    [CM_NOP] = {req_nop, NEEDS_NOTHING},
    [CM_SOCKET] = {req_socket, NEEDS_NOTHING},
    [CM_BIND] = {req_bind, NEEDS_SOCKET},
    [CM_LISTEN] = {req_listen, NEEDS_SOCKET},
    [CM_CONNECT] = {req_connect, NEEDS_SOCKET},
    [CM_ACCEPT] = {req_accept, NEEDS_SOCKET},
    [CM_SHUTDOWN] = {req_shutdown, NEEDS_SOCKET},
    [CM_CLOSE] = {req_close, NEEDS_SOCKET},
    [CM_SETSOCKOPT] = {req_setsockopt, NEEDS_SOCKET},
    [CM_GETSOCKOPT] = {req_getsockopt, NEEDS_SOCKET},
    [CM_GROW] = {req_grow, NEEDS_SOCKET},
    [CM_FILTER] = {req_filter, NEEDS_SOCKET},
    [CM_POKE] = {req_poke, NEEDS_SOCKET},
    [CM_URGENT] = {req_urgent, NEEDS_SOCKET},
    [CM_SENT] = {req_sent, NEEDS_SOCKET},
    [CM_ERROR] = {req_error, NEEDS_SOCKET},
};

static int no_socket(struct stack *s, struct session *ss, const struct cm_sqe *e)
{
	/* A slot whose socket was lost, or that was closed twice: closing leaves it free. */
	if (e->op == CM_CLOSE)
		session_tell(s, ss, e->slot, 0);
	return -EBADF;
}

static int work(
    struct stack *s, struct session *ss, const struct cm_sqe *e, struct cm_cqe *c, bool drain)
{
	const struct request_row *row = &requests[e->op];
	uint32_t sk = NO_INDEX;

	if (row->needs == NEEDS_SOCKET) {
		if (e->slot >= ss->lay.slots) {
			ss->lie = "slot number";
			return -EBADF;
		}
		sk = session_sock(ss, e->slot);
		if (sk == NO_INDEX || !sock_peek(s, sk))
			return no_socket(s, ss, e);
		if (session_poke(s, ss, e->slot, sk) == -EPROTO) {
			if (session_holder(ss, e->slot) != NO_INDEX) {
				share_lie(s, sk);
				return -EBADF;
			}
			ss->lie = "ring positions";
			return -EPROTO;
		}
	}
	if (drain && (e->op == CM_ACCEPT || e->op == CM_GROW))
		return 0;
	return row->fn(s, ss, sk, e, c);
}

/* Entries that may be taken now; sets ss->lie for positions that cannot be. */
static unsigned allowed(struct stack *s, struct session *ss, unsigned budget, bool drain)
{
	const struct session_rec *r = session_peek(s, ss);
	int64_t n = session_waiting(s, ss);
	uint64_t used;

	if (n < 0) {
		ss->lie = "submission position";
		return 0;
	}
	n = min_of(n, (int64_t)budget);
	if (drain || !n)
		return (unsigned)n;
	used = r->cq_prod - load_acquire(&session_header(ss)->cq_cons);
	if (used > CM_CQ_ENTRIES) {
		ss->lie = "completion position";
		return 0;
	}
	n = min_of(n, (int64_t)(CM_CQ_ENTRIES - used));
	return (unsigned)min_of(n, (int64_t)(NEWS_MAX - s->socket->n_news));
}

static void one(struct stack *s, struct session *ss, struct session_rec *r, bool drain)
{
	struct cm_sqe *ring = (struct cm_sqe *)(void *)(ss->mem + ss->lay.sq_off);
	struct cm_cqe *out = (struct cm_cqe *)(void *)(ss->mem + ss->lay.cq_off);
	struct cm_cqe c = {0};
	struct cm_sqe e;

	memcpy(&e, &ring[r->sq_cons & (CM_SQ_ENTRIES - 1)], sizeof(e));
	/* Read once: what is checked below is what is used. */
	__asm__ __volatile__("" ::: "memory");
	box_note(s->box, BOX_REQUEST, ss->index, r->sq_cons);
	r->sq_cons++;
	s->count.requests++;
	if (e.op >= CM_OPS) {
		ss->lie = "unknown request";
		return;
	}
	e.ep.pad = 0;
	c.token = e.token;
	c.res = work(s, ss, &e, &c, drain);
	KILLPOINT("socket.request.worked");
	if (e.op == CM_POKE || drain || ss->lie)
		return;
	memcpy(&out[r->cq_prod & (CM_CQ_ENTRIES - 1)], &c, sizeof(c));
	r->cq_prod++;
}

unsigned session_take(struct stack *s, struct session *ss, unsigned budget, bool drain)
{
	unsigned n = allowed(s, ss, budget, drain), done = 0;
	struct session_rec *r;

	if (n) {
		r = session_get(s, ss);
		if (!r)
			return 0;
		store_release(&session_header(ss)->sq_taken, r->sq_cons + n);
		fence_full();
		for (; done < n && !ss->lie; done++)
			one(s, ss, r, drain);
		LIST_PUT(s->socket, ss, done);
	}
	if (ss->lie) {
		const char *lie = ss->lie;

		ss->lie = NULL;
		if (drain)
			ss->drained = CM_SQ_ENTRIES;
		else
			session_die(s, ss, lie);
		return done + !drain;
	}
	return done;
}
