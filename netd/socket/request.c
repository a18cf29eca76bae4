/* The requests of the submission ring (submission.c), one function each, and their table. */
#include "socket/request.h"
#include "socket/layer.h"
#include "inet/errq.h"
#include "base/util.h"
#include "state/switchboard.h"
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define OPTION_MAX 512 /* bytes of an option's value */

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
		ret = slot_available(s, ss, e->slot);
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
		ret = slot_settle(s, ss, e->slot, sk);
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
	ret = slot_available(s, ss, slot);
	if (!ret)
		ret = ops->accept(s, sk, &child);
	if (ret)
		return ret;
	KILLPOINT("socket.accept.child");
	ret = sock_adopt(s, child, ss->index, ss->gen, slot);
	if (!ret) {
		sock_get(s, child)->uid = session_peek(s, ss)->uid;
		ret = slot_settle(s, ss, slot, child);
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
	struct cm_error copies;

	(void)ss;
	if (part == CM_ERROR_TAKE)
		return errq_take(s, sk, (uint32_t)e->arg[1]);
	if (part == CM_ERROR_TAKE_COPIES)
		return errq_take_copies(s, sk, (uint32_t)e->arg[1]);
	if (!r && part == CM_ERROR_HEAD && errq_copies(s, sk, &copies)) {
		c->arg = sizeof(copies);
		memcpy(c->data, &copies, sizeof(copies));
		return 0;
	}
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

static int req_copied(
    struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c)
{
	(void)ss;
	(void)e;
	(void)c;
	errq_copied(s, sk);
	return 0;
}

/* ---- the table */

const struct request_row requests[CM_OPS] = {
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
    [CM_COPIED] = {req_copied, NEEDS_SOCKET},
};
