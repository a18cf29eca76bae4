/*
 * Local ports: who may have which, by the kernel's rules (inet_csk_get_port, udp_lib_get_port).
 *
 * Two owners of one port conflict if their devices and addresses can meet (the wildcard meets every
 * address of its family), unless both have SO_REUSEADDR (for streams: and neither listens), or both
 * have SO_REUSEPORT and the same user.
 *
 * Ephemeral ports, RFC 6056: bind(0) starts at a random port; a connect starts at a keyed hash of
 * local and remote address plus a counter (algorithm 3), so that ports towards one peer come around
 * only after the whole range. The counter is reserved in strides in the world's record. A connect
 * may share its port with other connections, the 4-tuple decides; it never takes one that a socket
 * without a peer owns.
 */
#include "inet/layer.h"
#include "inet/sockx.h"
#include "base/siphash.h"
#include "base/util.h"
#include "ip/ip.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define PORT_STRIDE 64
#define PORT_RANGE  (PORT_MAX - PORT_MIN + 1)

/* What the rules ask of an owner. */
struct owner {
	struct ipaddr addr;
	uint16_t family;
	uint8_t type;
	uint32_t flags, uid, dev;
};

static struct owner owner_of(const struct sock_rec *k, const struct ipaddr *addr)
{
	return (struct owner){.addr = *addr,
	    .family = k->family,
	    .type = k->type,
	    .flags = k->flags,
	    .uid = k->uid,
	    .dev = k->bound_dev};
}

/* A wildcard's reach: an IPv6 one without V6ONLY also covers IPv4. */
static bool wildcard_covers(const struct owner *w, const struct owner *o)
{
	bool o_any = ipaddr_is_any(&o->addr);
	bool o_v4 = o_any ? o->family == AF_INET : ipaddr_is_v4(&o->addr);
	bool o_v6 = o_any ? o->family == AF_INET6 : !ipaddr_is_v4(&o->addr);

	if (w->family == AF_INET)
		return o_v4 || (o_any && o->family == AF_INET6 && !(o->flags & SOCK_F_V6ONLY));
	return o_v6 || (o_v4 && !(w->flags & SOCK_F_V6ONLY));
}

static bool addresses_meet(const struct owner *a, const struct owner *b)
{
	if (ipaddr_is_any(&a->addr))
		return wildcard_covers(a, b);
	if (ipaddr_is_any(&b->addr))
		return wildcard_covers(b, a);
	return ipaddr_eq(&a->addr, &b->addr);
}

/* Does the owner `b` keep `a` from the port? */
static bool conflict(const struct owner *a, const struct owner *b)
{
	uint32_t both = a->flags & b->flags;

	if (a->dev != NO_INDEX && b->dev != NO_INDEX && a->dev != b->dev)
		return false;
	if (!addresses_meet(a, b))
		return false;
	if ((both & SOCK_F_REUSEADDR) && !(b->flags & SOCK_F_LISTEN))
		return false;
	return !((both & SOCK_F_REUSEPORT) && a->uid == b->uid);
}

static bool list_conflict(
    const struct stack *s, uint32_t sk, const struct owner *me, uint32_t first)
{
	for (uint32_t i = first; i; i = s->inet->node[i - 1].next) {
		const struct sock_rec *k = sock_peek(s, i - 1);
		struct owner other;

		if (i - 1 == sk || !k)
			continue;
		other = owner_of(k, &k->local.addr);
		if (conflict(me, &other))
			return true;
	}
	return false;
}

/* A connection in TIME_WAIT keeps its port as its socket did: SO_REUSEADDR helps if both had it. */
static bool others_conflict(const struct stack *s, const struct owner *me, uint32_t first)
{
	for (uint32_t n = first; n; n = s->inet->conn.names[n].next) {
		const struct conn_names *c = &s->inet->conn.names[n];
		struct owner other = {.addr = c->local.addr,
		    .family = ipaddr_is_v4(&c->local.addr) ? AF_INET : AF_INET6,
		    .flags = c->claim.flags,
		    .uid = c->claim.uid,
		    .dev = c->claim.dev};

		if (conflict(me, &other))
			return true;
	}
	return false;
}

static bool port_taken(
    const struct stack *s, uint32_t sk, const struct owner *me, uint8_t protocol, uint16_t port)
{
	uint32_t b = bucket_find(s, protocol, port);
	const struct port_bucket *p;

	if (!b)
		return false;
	p = bucket_at(s, b);
	return list_conflict(s, sk, me, p->idle) || others_conflict(s, me, p->others) ||
	       list_conflict(s, sk, me, p->busy);
}

/* ---- bind */

static uint16_t random_port(struct stack *s)
{
	uint32_t r;

	s->random(s->random_arg, &r, sizeof(r));
	return (uint16_t)(PORT_MIN + r % PORT_RANGE);
}

static uint16_t next_port(uint16_t port)
{
	return port >= PORT_MAX ? PORT_MIN : (uint16_t)(port + 1);
}

/* A port that nobody owns; where all are owned, one that the rules let us share. 0 if there is
 * none. */
static uint16_t free_port(struct stack *s, uint32_t sk, const struct owner *me, uint8_t protocol)
{
	uint16_t port = random_port(s);

	for (uint32_t i = 0; i < PORT_RANGE; i++, port = next_port(port))
		if (!bucket_find(s, protocol, port))
			return port;
	for (uint32_t i = 0; i < PORT_RANGE; i++, port = next_port(port))
		if (!port_taken(s, sk, me, protocol, port))
			return port;
	return 0;
}

static int address_ok(const struct stack *s, const struct sock_rec *k, const struct ipaddr *a)
{
	if (ipaddr_is_any(a))
		return 0;
	if (k->family == AF_INET && !ipaddr_is_v4(a))
		return -EAFNOSUPPORT;
	if ((k->flags & SOCK_F_V6ONLY) && ipaddr_is_v4(a))
		return -EINVAL;
	if (ip_is_local(s, a) || (k->flags & SOCK_F_FOREIGN))
		return 0;
	if (ip_is_multicast(a) || ip_is_broadcast(s, a))
		return 0;
	return -EADDRNOTAVAIL;
}

int port_address(const struct stack *s, uint32_t sk, const struct ipaddr *a)
{
	const struct sock_rec *k = sock_peek(s, sk);

	return k ? address_ok(s, k, a) : -EINVAL;
}

int port_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	struct sock_rec *k = sock_get(s, sk);
	int ret;

	if (!k || ep->port || !(sockx_peek(s, sk)->flags & SOCKX_NO_PORT) || (k->flags & SOCK_F_BOUND))
		return port_take(s, sk, ep);
	ret = address_ok(s, k, &ep->addr);
	if (ret)
		return ret;
	/* The port comes with the peer: then it need not be free of all others. */
	k->local.addr = ep->addr;
	k->flags &= ~(uint32_t)SOCK_F_BOUND_ADDR;
	if (!ipaddr_is_any(&ep->addr))
		k->flags |= SOCK_F_BOUND_ADDR;
	sock_changed(s, sk);
	return 0;
}

int port_take(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	struct sock_rec *k = sock_get(s, sk);
	uint16_t port = ep->port;
	struct owner me;
	int ret;

	if (!k)
		return -EINVAL;
	ret = address_ok(s, k, &ep->addr);
	if (ret)
		return ret;
	if (k->flags & SOCK_F_BOUND)
		return -EINVAL;
	me = owner_of(k, &ep->addr);
	if (!port)
		port = free_port(s, sk, &me, k->protocol);
	else if (port_taken(s, sk, &me, k->protocol, port))
		port = 0;
	if (!port)
		return -EADDRINUSE;
	k->local = (struct endpoint){.addr = ep->addr, .port = port};
	ret = owner_add(s, sk, false);
	if (ret) {
		k->local = (struct endpoint){.port = 0};
		return ret;
	}
	k->flags |= SOCK_F_BOUND;
	if (ep->port)
		k->flags |= SOCK_F_PORT_USER;
	k->flags &= ~(uint32_t)SOCK_F_BOUND_ADDR;
	if (!ipaddr_is_any(&ep->addr))
		k->flags |= SOCK_F_BOUND_ADDR;
	sock_changed(s, sk);
	return 0;
}

int port_listen(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	struct owner me;

	if (!k || !(k->flags & SOCK_F_BOUND))
		return -EINVAL;
	if (k->flags & SOCK_F_LISTEN)
		return 0;
	me = owner_of(k, &k->local.addr);
	/* Connections of this port go on beside their listener: only owners without a peer count.
	 */
	if (list_conflict(s, sk, &me, bucket_at(s, sock_node_peek(s, sk)->bucket)->idle))
		return -EADDRINUSE;
	k->flags |= SOCK_F_LISTEN;
	sock_changed(s, sk);
	return 0;
}

void port_unlisten(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	if (k)
		k->flags &= ~(uint32_t)SOCK_F_LISTEN;
}

/* ---- connect */

static uint32_t next_cursor(struct stack *s)
{
	struct inet_layer *in = inet_of(s);

	if (in->port_next == in->port_end) {
		struct world_rec *w = world_get(s);

		in->port_next = w->port_cursor;
		w->port_cursor += PORT_STRIDE;
		in->port_end = w->port_cursor;
	}
	return in->port_next++;
}

static uint16_t connect_start(
    struct stack *s, const struct ipaddr *local, const struct endpoint *remote)
{
	struct {
		struct ipaddr local, remote;
		uint64_t port;
	} key = {*local, remote->addr, remote->port};
	uint64_t offset = siphash(&world_peek(s)->hash_key, &key, sizeof(key));

	return (uint16_t)(PORT_MIN + (offset + next_cursor(s)) % PORT_RANGE);
}

static bool may_share(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	uint32_t b = bucket_find(s, protocol, local->port);

	return !b || (!bucket_at(s, b)->idle && !conn_entry_of(s, protocol, local, remote));
}

static int connect_port(struct stack *s, struct sock_rec *k, const struct ipaddr *local,
    const struct endpoint *remote, uint16_t *out)
{
	struct endpoint me = {.addr = *local, .port = connect_start(s, local, remote)};

	for (uint32_t i = 0; i < PORT_RANGE; i++, me.port = next_port(me.port)) {
		if (!may_share(s, k->protocol, &me, remote))
			continue;
		*out = me.port;
		return 0;
	}
	return -EADDRNOTAVAIL;
}

int port_autobind(
    struct stack *s, uint32_t sk, const struct ipaddr *local, const struct endpoint *remote)
{
	struct sock_rec *k = sock_get(s, sk);
	struct owner me;
	uint16_t port = 0;
	int ret;

	if (!k || (k->flags & SOCK_F_BOUND))
		return -EINVAL;
	me = owner_of(k, local);
	if (remote)
		ret = connect_port(s, k, local, remote, &port);
	else
		ret = (port = free_port(s, sk, &me, k->protocol)) ? 0 : -EADDRNOTAVAIL;
	if (ret)
		return ret;
	k->local = (struct endpoint){.addr = *local, .port = port};
	ret = owner_add(s, sk, false);
	if (ret) {
		k->local = (struct endpoint){.port = 0};
		return ret;
	}
	k->flags |= SOCK_F_BOUND;
	sock_changed(s, sk);
	return 0;
}

void port_release(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	owner_remove(s, sk);
	if (!k)
		return;
	k->flags &=
	    ~(uint32_t)(SOCK_F_BOUND | SOCK_F_BOUND_ADDR | SOCK_F_PORT_USER | SOCK_F_LISTEN);
	k->local = (struct endpoint){.port = 0};
	sock_changed(s, sk);
}

void port_give_back(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k || (k->flags & (SOCK_F_BOUND | SOCK_F_PORT_USER)) != SOCK_F_BOUND)
		return;
	owner_remove(s, sk);
	k->flags &= ~(uint32_t)SOCK_F_BOUND;
}

/* ---- the connected table's sockets */

int sock_hash_connected(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);
	int ret;

	if (!k)
		return -EINVAL;
	ret = conn_insert(s, k->protocol, &k->local, &k->remote, (struct conn_ref){KIND_SOCK, sk});
	if (ret)
		return ret;
	ret = owner_add(s, sk, true);
	if (ret) {
		conn_remove(
		    s, k->protocol, &k->local, &k->remote, (struct conn_ref){KIND_SOCK, sk});
		return ret;
	}
	k->flags |= SOCK_F_HASHED | SOCK_F_BOUND;
	return 0;
}

void sock_unhash(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k || !(k->flags & SOCK_F_HASHED))
		return;
	conn_remove(s, k->protocol, &k->local, &k->remote, (struct conn_ref){KIND_SOCK, sk});
	k->flags &= ~(uint32_t)SOCK_F_HASHED;
	owner_move(s, sk, false);
}
