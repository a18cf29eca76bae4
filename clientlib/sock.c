/*
 * The life of a socket: made, named, connected, accepted, shut down. Its end is in close.c.
 *
 * CM_SOCKET of the common kinds is not waited for: the slot is ours to choose, the ring keeps
 * requests in order, and what can be wrong with the arguments is checked here with the kernel's
 * errno. Until its answer was seen the slot tells nothing about the new socket (`ready`).
 */
#include "clientlib/cmsg.h"
#include "clientlib/link.h"
#include "clientlib/share.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#define PROTO_MPTCP 262
#define LOW_PORTS   1024

/* An object with a slot, its client-written line as new. One reference. */
int sock_new(struct session *ss, struct nsock **out)
{
	struct nsock *s = sock_take();
	int ret;

	if (!s)
		return -ENOMEM;
	s->ss = ss;
	ret = slot_take(ss, &s->slot);
	if (ret < 0) {
		sock_give(s);
		return ret;
	}
	s->ev = s->sl = (struct cm_slot *)(void *)(ss->mem + ss->lay.slot_off) + s->slot;
	s->home = &ss->home;
	s->d->rcvlowat = 1;
	known_forget(s);
	store_once(&s->sl->rx_head, 0);
	store_once(&s->sl->tx_tail, 0);
	store_once(&s->ev->want, 0);
	store_once(&s->ev->tx_want, 0);
	store_once(&s->sl->rx_epoch_ack, 0);
	store_once(&s->sl->tx_epoch_ack, 0);
	for (int i = 0; i < CM_SLOT_SETS; i++)
		store_once(&s->ev->set[i], CM_NO_SET);
	*out = s;
	return 0;
}

/* Gives up a socket that the daemon does not have. */
void sock_drop(struct nsock *s)
{
	slot_give(s->ss, s->slot);
	sock_give(s);
}

static int check_kind(int family, int type, int protocol)
{
	int base = type & 0xf;

	if (family != AF_INET && family != AF_INET6 && family != AF_PACKET)
		return -EAFNOSUPPORT;
	if ((type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK | 0xf)) || base > SOCK_PACKET)
		return -EINVAL;
	if (family == AF_PACKET) /* the protocol is an ethertype, whatever else is in the number */
		return base ? 0 : -ESOCKTNOSUPPORT;
	if (protocol < 0 || protocol > PROTO_MPTCP)
		return -EINVAL;
	if (base == SOCK_STREAM && protocol && protocol != IPPROTO_TCP)
		return -EPROTONOSUPPORT;
	if (base == SOCK_DGRAM && protocol > 255)
		return -EPROTONOSUPPORT;
	return base == SOCK_STREAM || base == SOCK_DGRAM || base == SOCK_RAW ? 0 : -ESOCKTNOSUPPORT;
}

int ns_socket(int family, int type, int protocol, struct nsock **out)
{
	int base = type & 0xf, ret = check_kind(family, type, protocol);
	bool link = family == AF_PACKET, known = !link && (base == SOCK_STREAM ||
		(base == SOCK_DGRAM && (!protocol || protocol == IPPROTO_UDP)));
	struct cm_sqe e = {
	    .op = CM_SOCKET, .arg = {family, base, link ? ntohs((uint16_t)protocol) : protocol}};
	struct session *ss;
	struct nsock *s;

	if (ret == 0)
		ret = session_get(&ss);
	if (ret == 0)
		ret = sock_new(ss, &s);
	if (ret < 0)
		return ret;
	e.slot = s->slot;
	s->family = (uint16_t)family;
	s->type = (uint16_t)base;
	s->protocol = (uint16_t)(link		       ? 0
				 : protocol	       ? protocol
				 : base == SOCK_STREAM ? IPPROTO_TCP
						       : IPPROTO_UDP);
	store_once(&s->d->nonblock, !!(type & SOCK_NONBLOCK));
	if (!known)
		ret = session_may(ss, link || base == SOCK_RAW ? CM_RIGHT_RAW : 0, -EPERM);
	if (ret == 0)
		ret = known ? request_async(ss, &e, REQ_SOCKET, s) : request_wait(ss, &e, NULL);
	if (ret < 0) {
		sock_drop(s);
		return ret;
	}
	if (!known)
		store_once(&s->ready, true);
	store_once(&s->has_slot, true);
	store_release(&s->refs, 1);
	*out = s;
	return 0;
}

void ns_get(struct nsock *s)
{
	__atomic_fetch_add(&s->refs, 1, __ATOMIC_RELAXED);
}

bool ns_try_get(struct nsock *s)
{
	uint32_t n = load_once(&s->refs);

	while (n)
		if (__atomic_compare_exchange_n(
			&s->refs, &n, n + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	return false;
}

bool ns_nonblock(const struct nsock *s)
{
	return load_once(&s->d->nonblock);
}

void ns_set_nonblock(struct nsock *s, bool on)
{
	struct desc *d;

	do { /* once more if it went into a share meanwhile */
		d = load_acquire(&s->d);
		store_once(&d->nonblock, on);
		fence_full();
	} while (load_acquire(&s->d) != d);
}

int ns_kept(const struct nsock *s, enum ns_kept what)
{
	const struct desc *d = load_acquire(&s->d);

	return what == NS_KEPT_FLAGS   ? (int)load_once(&d->fl_flags)
	       : what == NS_KEPT_OWNER ? load_once(&d->owner)
				       : load_once(&d->sig);
}

void ns_keep(struct nsock *s, enum ns_kept what, int v)
{
	struct desc *d = load_acquire(&s->d);

	if (what == NS_KEPT_FLAGS)
		store_once(&d->fl_flags, (uint32_t)v);
	else if (what == NS_KEPT_OWNER)
		store_once(&d->owner, v);
	else
		store_once(&d->sig, v);
}

unsigned ns_user(const struct nsock *s)
{
	return __atomic_load_n(&s->user, __ATOMIC_SEQ_CST);
}

void ns_user_add(struct nsock *s, int by)
{
	__atomic_fetch_add(&s->user, (unsigned)by, __ATOMIC_SEQ_CST);
}

int ns_family(const struct nsock *s)
{
	return s->family;
}

int ns_type(const struct nsock *s)
{
	return s->type;
}

int ns_protocol(const struct nsock *s)
{
	return s->protocol;
}

bool ns_foreign(const struct nsock *s)
{
	return session_dead(s->ss) & SS_FOREIGN;
}

/* ---- names (name.c) */

int ns_getname(struct nsock *s, bool peer, struct sockaddr *sa, socklen_t *len)
{
	struct endpoint local, remote;
	struct cm_sqe nop = {.op = CM_NOP, .slot = s->slot};
	struct sockaddr_storage name;
	int ret = sock_settle(s);
	socklen_t size;

	if (ret == 0)
		ret = sock_names(s, &local, &remote);
	/* A datagram socket gets its port with the first datagram, which may be on its way. */
	if (ret == 0 && !local.port && s->type != SOCK_STREAM && load_once(&s->sl->tx_tail)) {
		request_wait(s->ss, &nop, NULL);
		ret = sock_names(s, &local, &remote);
	}
	if (ret < 0)
		return ret;
	if (peer && s->family == AF_PACKET)
		return -EOPNOTSUPP;
	if (peer && (!remote.port ||
			(s->type == SOCK_STREAM &&
			    (sock_state(s) & (CM_ST_CONNECTED | CM_ST_DEAD)) != CM_ST_CONNECTED)))
		return -ENOTCONN;
	size = ns_to_sockaddr(s->family, peer ? &remote : &local, (struct sockaddr *)&name);
	if (s->family == AF_PACKET)
		size = link_name_length(&local);
	return ns_copy_name(sa, len, &name, size);
}

/* ---- bind, listen, connect */

int ns_bind(struct nsock *s, const struct sockaddr *sa, socklen_t len)
{
	struct cm_sqe e = {.op = CM_BIND, .slot = s->slot};
	int ret = sock_check(s);

	if (ret == 0)
		ret = ns_check_name(sa, len);
	if (ret < 0)
		return ret;
	if (s->family == AF_PACKET) {
		e.arg[0] = AF_PACKET;
		ret = link_from_sockaddr(sa, len, false, &e.ep);
		return ret < 0 ? ret : request_wait(s->ss, &e, NULL);
	}
	if (len < (s->family == AF_INET6 ? 24u : sizeof(struct sockaddr_in)))
		return -EINVAL;
	e.arg[0] = sa->sa_family;
	if (sa->sa_family == AF_UNSPEC &&
	    s->family == AF_INET) { /* an old habit that the kernel tolerates */
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		if (in.sin_addr.s_addr != htonl(INADDR_ANY))
			return -EAFNOSUPPORT;
		in.sin_family = AF_INET;
		e.arg[0] = AF_INET;
		ret = ns_from_sockaddr(s->family, (struct sockaddr *)&in, sizeof(in), &e.ep);
	} else if (sa->sa_family != s->family) {
		return -EAFNOSUPPORT;
	} else {
		ret = ns_from_sockaddr(s->family, sa, len, &e.ep);
	}
	if (ret == 0 && e.ep.port && e.ep.port < LOW_PORTS && s->type != SOCK_RAW)
		ret = session_may(s->ss, CM_RIGHT_BIND, -EACCES);
	if (ret == 0)
		ret = request_wait(s->ss, &e, NULL);
	if (ret == 0 && s->type == SOCK_DGRAM)
		self_made(s);
	return ret;
}

int ns_listen(struct nsock *s, int backlog)
{
	struct cm_sqe e = {.op = CM_LISTEN,
	    .slot = s->slot,
	    .arg = {backlog < 0 || backlog > 65535 ? 65535 : backlog}};
	int ret = sock_check(s);

	if (ret == 0 && s->type != SOCK_STREAM)
		ret = -EOPNOTSUPP;
	return ret < 0 ? ret : request_wait(s->ss, &e, NULL);
}

bool ns_listening(struct nsock *s)
{
	return sock_check(s) == 0 && (sock_state(s) & CM_ST_LISTENING);
}

static int dissolve(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_CONNECT, .slot = s->slot, .arg = {AF_UNSPEC}};
	int ret = request_wait(s->ss, &e, NULL);

	known_forget(s);
	if (ret == 0)
		s->d->connecting = s->d->connected = s->d->shut_rd = s->d->shut_wr = false;
	return ret;
}

/* Waits for the end of a connection attempt. */
static int connect_wait(struct nsock *s, bool nonblock, int busy)
{
	uint64_t deadline = deadline_of(s->d->sndtimeo);

	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		int ret = sock_check(s);
		uint32_t st;

		if (ret < 0)
			return ret;
		st = sock_state(s);
		if (st & (CM_ST_CONNECTED | CM_ST_DEAD) || sock_has_error(s)) {
			s->d->connecting = false;
			if (st & CM_ST_CONNECTED)
				return 0;
			ret = sock_take_error(s);
			(void)dissolve(s); /* as new: it may be connected again */
			return ret < 0 ? ret : -ECONNABORTED;
		}
		if (nonblock)
			return busy;
		ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return ret == -EAGAIN ? -EINPROGRESS : ret;
	}
}

int ns_connect(struct nsock *s, const struct sockaddr *sa, socklen_t len, bool nonblock)
{
	struct cm_sqe e = {.op = CM_CONNECT, .slot = s->slot};
	int ret = sock_check(s);
	uint32_t st;

	if (ret == 0)
		ret = ns_check_name(sa, len);
	if (ret < 0)
		return ret;
	if (len < sizeof(sa->sa_family))
		return -EINVAL;
	if (s->family == AF_PACKET)
		return -EOPNOTSUPP;
	if (sa->sa_family == AF_UNSPEC)
		return dissolve(s);
	if (s->type == SOCK_STREAM) {
		if (s->d->connecting)
			return connect_wait(s, nonblock, -EALREADY);
		st = sock_state(s);
		if (st & (CM_ST_CONNECTED | CM_ST_LISTENING))
			return -EISCONN;
		if (s->family == AF_INET6 && sa->sa_family != AF_INET6)
			return len < 24 ? -EINVAL : -EAFNOSUPPORT;
	} else if (s->family == AF_INET6 && sa->sa_family != AF_INET6 && sa->sa_family != AF_INET) {
		return len < 24 ? -EINVAL : -EAFNOSUPPORT;
	}
	ret = ns_from_sockaddr(s->family, sa, len, &e.ep);
	if (ret < 0)
		return ret;
	e.arg[0] = sa->sa_family;
	known_forget(s);
	ret = request_wait(s->ss, &e, NULL);
	if (ret == 0)
		s->d->connected = true;
	if (ret == 0 || ret == -EINPROGRESS)
		self_made(s);
	if (ret != -EINPROGRESS)
		return ret;
	s->d->connecting = true;
	s->d->shut_rd = s->d->shut_wr = false; /* of a connection that was before */
	if (nonblock) /* as the kernel: even if it is there already, as on lo */
		return -EINPROGRESS;
	return connect_wait(s, nonblock, -EINPROGRESS);
}

/* ---- accept, shutdown */

static int accept_one(struct nsock *l, struct nsock **child, struct endpoint *peer)
{
	struct cm_sqe e = {.op = CM_ACCEPT, .slot = l->slot};
	struct cm_cqe c;
	struct nsock *s;
	int ret = sock_new(l->ss, &s);

	if (ret < 0)
		return ret;
	s->family = l->family;
	s->type = l->type;
	s->protocol = l->protocol;
	s->d->rcvlowat = l->d->rcvlowat;
	s->d->rcvtimeo = l->d->rcvtimeo;
	s->d->sndtimeo = l->d->sndtimeo;
	s->d->want_cmsg = l->d->want_cmsg;
	s->d->stamping = l->d->stamping;
	e.arg[0] = (int32_t)s->slot;
	ret = request_wait(l->ss, &e, &c);
	if (ret < 0) {
		sock_drop(s);
		return ret;
	}
	store_once(&s->ready, true);
	store_once(&s->has_slot, true);
	store_release(&s->refs, 1);
	self_met(s, &c.ep);
	if (peer)
		*peer = c.ep;
	*child = s;
	return 0;
}

int ns_accept(struct nsock *l, bool nonblock, struct nsock **child, struct endpoint *peer)
{
	uint64_t deadline = deadline_of(l->d->rcvtimeo);

	for (;;) {
		struct sleep_seen seen = sock_seen(l);
		int ret = sock_check(l);

		if (ret < 0)
			return ret;
		if (l->type != SOCK_STREAM)
			return -EOPNOTSUPP;
		if (!(sock_state(l) & CM_ST_LISTENING))
			return -EINVAL;
		if (load_acquire(&l->sl->accept_ready)) {
			ret = accept_one(l, child, peer);
			if (ret != -EAGAIN)
				return ret;
		}
		if (nonblock)
			return -EAGAIN;
		ret = sock_sleep(l, seen, deadline);
		if (ret < 0)
			return ret;
	}
}

int ns_shutdown(struct nsock *s, int how)
{
	struct cm_sqe e = {.op = CM_SHUTDOWN, .slot = s->slot, .arg = {how}};
	int ret = sock_settle(s);
	bool simple;

	if (ret < 0)
		return ret;
	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	/* On an established connection it cannot fail, and need not be waited for. */
	simple = s->type == SOCK_STREAM &&
		 (sock_state(s) & (CM_ST_CONNECTED | CM_ST_DEAD | CM_ST_HUP)) == CM_ST_CONNECTED;
	ret = simple ? request_async(s->ss, &e, REQ_IGNORED, NULL) : request_wait(s->ss, &e, NULL);
	if (ret == 0 && s->type == SOCK_STREAM && !simple)
		s->d->connecting = false; /* an attempt is given up: the slot says so by now */
	if (ret < 0 || (s->type == SOCK_STREAM && !simple))
		return ret;
	if (how != SHUT_WR)
		store_once(&s->d->shut_rd, true);
	if (how != SHUT_RD)
		store_once(&s->d->shut_wr, true);
	__atomic_fetch_add(&s->kick, 1, __ATOMIC_SEQ_CST);
	if (load_once(&s->sleepers)) {
		(void)sys_call(SYS_futex, (long)&s->kick, FUTEX_WAKE_PRIVATE, INT32_MAX, 0, 0, 0);
		sys_futex_wake(&s->ev->ev_seq, INT32_MAX);
	}
	return 0;
}
