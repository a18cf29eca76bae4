/*
 * Datagrams: whole messages in a ring, each behind a header, contiguous.
 *
 * A datagram that would cross the ring's end is preceded by a filler (CM_DGRAM_SKIP) up to the end.
 * To send one, the ring must be at least twice as large as what it takes, so that filler and
 * datagram always fit into an empty ring. What the daemon wrote into headers is copied first, then
 * checked.
 */
#include "clientlib/cmsg.h"
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include "proto/link.h"
#include <netinet/in.h>
#include <string.h>

#define V4_PAYLOAD_MAX 65507u
#define V6_PAYLOAD_MAX 65527u
#define FRAME_MAX      65550u /* of lo, whose MTU is 65536 */

/*
 * A datagram of the `avail` bytes that lie in the ring: its header and payload, its IP options behind it. `*from` is where it
 * is looked for, behind the position, and where it is, for fillers are passed over. rx_lock held. The bytes it takes in the
 * ring, 0 if there is none, or -errno.
 */
static int look(
    struct nsock *s, uint64_t avail, uint64_t *from, struct cm_dgram *d, const uint8_t **data)
{
	while (*from < avail) {
		uint64_t at = (s->rx.pos + *from - s->rx.place.base) & (s->rx.place.cap - 1);
		uint64_t left = avail - *from, take;
		const uint8_t *p = s->home->mem + s->rx.place.off + at;

		if (left < sizeof(*d) || (at & (CM_DGRAM_ALIGN - 1)))
			return sock_lied(s);
		memcpy(d, p, sizeof(*d));
		__asm__ __volatile__("" ::: "memory");
		if (d->flags & CM_DGRAM_SKIP) {
			take = s->rx.place.cap - at;
			if (d->len != take - sizeof(*d) || take > left)
				return sock_lied(s);
			*from += take;
			continue;
		}
		take = cm_dgram_room(d->len);
		if (d->len > CM_DGRAM_MAX || take > left || take > s->rx.place.cap - at)
			return sock_lied(s);
		if (d->flags & CM_DGRAM_OPTIONS) {
			if (d->len < sizeof(struct cm_options))
				return sock_lied(s);
			d->len -= (uint32_t)sizeof(struct cm_options);
		}
		*data = p + sizeof(*d);
		return (int)take;
	}
	return 0;
}

int dgram_head(struct nsock *s, struct cm_dgram *d, const uint8_t **data)
{
	uint64_t avail, from = 0;
	int ret = rx_avail(s, &avail);

	if (ret < 0)
		return ret;
	ret = look(s, avail, &from, d, data);
	if (ret >= 0 && from)
		rx_consume(s, from, avail);
	return ret;
}

/* The datagram in which `*off` is, an offset into all that wait; it becomes one into this one. As dgram_head(). */
static int head_at(struct nsock *s, uint32_t *off, struct cm_dgram *d, const uint8_t **data)
{
	uint64_t avail, from = 0;
	int ret = rx_avail(s, &avail);

	if (ret < 0)
		return ret;
	while ((ret = look(s, avail, &from, d, data)) > 0 && *off && *off >= d->len) {
		*off -= d->len;
		from += (uint64_t)ret;
	}
	return ret;
}

ssize_t user_scatter(const struct msghdr *m, const uint8_t *data, size_t len)
{
	size_t done = 0;

	for (size_t i = 0; i < m->msg_iovlen && done < len; i++) {
		size_t part =
		    m->msg_iov[i].iov_len < len - done ? m->msg_iov[i].iov_len : len - done;

		if (copy_to_user(m->msg_iov[i].iov_base, data + done, part) < 0)
			return -EFAULT;
		done += part;
	}
	return (ssize_t)done;
}

static size_t room_of(const struct msghdr *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++)
		n += m->msg_iov[i].iov_len;
	return n;
}

/* From the `off`th byte. What lies before counts as cut off, as in the kernel, unless there is room for more than the rest. */
static ssize_t deliver(struct nsock *s, struct msghdr *m, int flags, const struct cm_dgram *d,
    const uint8_t *data, uint32_t off)
{
	ssize_t n = user_scatter(m, data + off, d->len - off);
	int ret;

	if (n < 0)
		return n;
	m->msg_flags = n < (ssize_t)d->len && !(off && room_of(m) > (size_t)n) ? MSG_TRUNC : 0;
	if (!m->msg_name)
		m->msg_namelen = 0;
	else if ((ret = ns_give_name(s->family, &d->peer, m->msg_name, &m->msg_namelen)) < 0)
		return ret;
	cmsg_put(s, m, d, data);
	return flags & MSG_TRUNC ? (ssize_t)d->len : n;
}

/* One look: -EAGAIN if there is nothing. */
static ssize_t recv_one(struct nsock *s, struct msghdr *m, int flags)
{
	uint32_t off = peek_offset(s, flags);
	const uint8_t *data;
	struct cm_dgram d;
	ssize_t ret;
	int take;

	side_lock(s, true);
	take = s->rx.lent ? -EBUSY : off ? head_at(s, &off, &d, &data) : dgram_head(s, &d, &data);
	ret = take;
	if (take == 0)
		ret = -EAGAIN;
	if (take > 0) {
		ret = deliver(s, m, flags, &d, data, off); /* what cannot be taken is gone */
		known_peer(s, &d.peer);
		if (!cmsg_wants_time(s)) /* else it was told already */
			store_once(&s->d->stamp, d.time_ns);
		if (!(flags & MSG_PEEK))
			rx_consume(s, (uint64_t)take, (uint64_t)take);
		if (ret > 0)
			peek_moved(s, flags, ret);
	}
	side_unlock(s, true);
	return ret;
}

ssize_t dgram_recv(struct nsock *s, struct msghdr *m, int flags, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->rcvtimeo);
	bool settled = false;

	if (flags & MSG_ERRQUEUE)
		return errqueue_recv(s, m);
	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		ssize_t ret = sock_check(s);
		uint32_t st;

		if (ret == 0)
			ret = sock_take_error(s);
		if (ret < 0)
			return ret;
		st = sock_state(s);
		ret = recv_one(s, m, flags);
		if (ret != -EAGAIN)
			return ret;
		if (nonblock || (flags & MSG_DONTWAIT)) {
			if (settled || !ns_settle())
				return -EAGAIN;
			settled = true;
			continue;
		}
		if (st & CM_ST_RX_EOF)
			return 0;
		ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return ret;
	}
}

/* ---- send */

bool dgram_connected(struct nsock *s)
{
	return s->d->connected || (sock_state(s) & CM_ST_CONNECTED);
}

/*
 * Contiguous room for a header and `len` bytes; `*at` is where the header goes, `*skip` the filler
 * before it. tx_lock held. 0, -EAGAIN (full; room will be news), -EMSGSIZE, -ENOBUFS.
 */
int dgram_reserve(struct nsock *s, size_t len, uint8_t **at, uint64_t *skip)
{
	uint64_t take = cm_dgram_room((uint32_t)len), room;

	for (int round = 0;; round++) {
		uint64_t pos;
		int ret = tx_room(s, &room);

		if (ret < 0)
			return ret;
		if (s->tx.place.cap >= 2 * take) {
			pos = (s->tx.pos - s->tx.place.base) & (s->tx.place.cap - 1);
			*skip = pos + take > s->tx.place.cap ? s->tx.place.cap - pos : 0;
			if (*skip + take <= room) {
				*at = s->home->mem + s->tx.place.off +
				      ((pos + *skip) & (s->tx.place.cap - 1));
				return 0;
			}
		} else if (!tx_may_grow(s)) {
			return s->tx.place.cap >= tx_most(s) ? -EMSGSIZE : -ENOBUFS;
		}
		if (round < 2 && tx_may_grow(s)) {
			ret = tx_grow(s, 2 * take);
			if (ret < 0 && ret != -ENOMEM && ret != -EAGAIN)
				return ret;
			continue;
		}
		if (load_once(&s->ev->tx_want))
			return -EAGAIN;
		store_once(&s->ev->tx_want, 1);
		fence_full();
	}
}

/* The datagram whose header is `d` and whose payload lies behind `at` goes out; by a poke unless it is asked about. tx_lock held. */
void dgram_write(struct nsock *s, uint8_t *at, uint64_t skip, const struct cm_dgram *d)
{
	uint64_t n = skip + cm_dgram_room(d->len);

	if (skip) {
		uint64_t pos = (s->tx.pos - s->tx.place.base) & (s->tx.place.cap - 1);
		struct cm_dgram filler = {
		    .len = (uint32_t)(skip - sizeof(filler)), .flags = CM_DGRAM_SKIP};

		memcpy(s->home->mem + s->tx.place.off + pos, &filler, sizeof(filler));
	}
	memcpy(at, d, sizeof(*d));
	if (load_once(&s->ev->tx_want))
		store_once(&s->ev->tx_want, 0);
	if (!(d->flags & CM_DGRAM_ASK)) {
		tx_publish(s, n, false);
		return;
	}
	s->tx.pos += n;
	store_release(&s->sl->tx_tail, s->tx.pos);
}

/* Waits for what becomes of the datagram just written, unless it is like one that went well. tx_lock held. */
static int ask(struct nsock *s, const struct cm_dgram *d)
{
	struct cm_sqe e = {.op = CM_SENT, .slot = s->slot};
	int ret = request_wait(s->ss, &e, NULL);

	if (ret == 0)
		known_add(s, d);
	return ret;
}

/* 0 or -EFAULT. */
static int payload_there(const struct msghdr *m)
{
	for (size_t i = 0; i < m->msg_iovlen; i++)
		if (!user_readable(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len))
			return -EFAULT;
	return 0;
}

/* What goes well depends on the message itself, not on where it goes: each is waited for. */
static bool writes_headers(const struct nsock *s)
{
	return s->family == AF_PACKET || s->protocol == IPPROTO_RAW;
}

static int send_one(
    struct nsock *s, const struct msghdr *m, const struct cm_dgram *d, const struct cm_options *o)
{
	bool options = d->flags & CM_DGRAM_OPTIONS;
	bool timed = d->flags & (CM_DGRAM_STAMP | CM_DGRAM_QUEUED);
	struct cm_dgram mine = *d;
	uint64_t skip = 0;
	uint8_t *at;
	int ret;

	side_lock(s, false);
	mine.len += s->d->cork_len;
	if (!(d->flags & CM_DGRAM_MORE) &&
	    (options || timed || writes_headers(s) || !known_has(s, &mine)))
		mine.flags |= CM_DGRAM_ASK;
	mine.len = d->len + (options ? (uint32_t)sizeof(*o) : 0);
	ret = s->tx.lent ? -EBUSY : s->d->cork_len + mine.len > CM_DGRAM_MAX ? -EMSGSIZE : 0;
	if (ret == 0)
		ret = dgram_reserve(s, mine.len, &at, &skip);
	if (ret == 0) {
		uint8_t *p = at + sizeof(*d);

		for (size_t i = 0; i < m->msg_iovlen; i++) {
			if (m->msg_iov[i].iov_len)
				memcpy(p, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
			p += m->msg_iov[i].iov_len;
		}
		if (options)
			memcpy(p, o, sizeof(*o));
		stamping_number(s, &mine);
		dgram_write(s, at, skip, &mine);
		s->d->cork_len = d->flags & CM_DGRAM_MORE ? s->d->cork_len + d->len : 0;
		s->d->corked = d->flags & CM_DGRAM_MORE;
		if (mine.flags & CM_DGRAM_ASK) {
			ret = ask(s, &mine);
			self_met(s, &mine.peer);
		}
	}
	side_unlock(s, false);
	return ret;
}

/* The header of an outgoing datagram, from the message; checks what can be checked here. */
static int dgram_address(
    struct nsock *s, const struct msghdr *m, int flags, struct cm_dgram *d, struct cm_options *o)
{
	size_t len = 0, most = s->family == AF_PACKET ? FRAME_MAX : V6_PAYLOAD_MAX;
	int ret;

	*d = (struct cm_dgram){.len = 0};
	for (size_t i = 0; i < m->msg_iovlen; i++) {
		len += m->msg_iov[i].iov_len;
		if (m->msg_iov[i].iov_len > CM_DGRAM_MAX || len > most)
			return -EMSGSIZE;
	}
	d->len = (uint32_t)len;
	d->flags = stamping_wish(s);
	if (s->family == AF_PACKET) {
		if (m->msg_name && m->msg_namelen) {
			ret = link_from_sockaddr(m->msg_name, m->msg_namelen, true, &d->peer);
			if (ret < 0)
				return ret;
			if (!link_of_endpoint(&d->peer).ifindex)
				return -ENXIO;
		}
		return cmsg_get(s, m, d, o);
	}
	if (is_udp(s) && (flags & MSG_MORE || load_once(&s->d->cork)))
		d->flags |= CM_DGRAM_MORE;
	if (load_once(&s->d->corked)) { /* goes on with the one before: that one has all the rest */
		d->flags &= CM_DGRAM_MORE;
		return 0;
	}
	if (flags & MSG_DONTROUTE)
		d->flags |= CM_DGRAM_LINK;
	if (flags & MSG_CONFIRM)
		d->flags |= CM_DGRAM_CONFIRM;
	if (m->msg_name && m->msg_namelen) {
		ret = ns_from_sockaddr(s->family, m->msg_name, m->msg_namelen, &d->peer);
		if (ret < 0)
			return ret;
		if (!d->peer.port && s->type == SOCK_DGRAM && s->protocol == IPPROTO_UDP)
			return -EINVAL;
		if (ipaddr_is_any(&d->peer.addr)) /* as the kernel: this host */
			d->peer.addr = ipaddr_v4(INADDR_LOOPBACK);
	} else if (!dgram_connected(s)) {
		return -EDESTADDRREQ;
	}
	if (len > V4_PAYLOAD_MAX && ipaddr_is_v4(&d->peer.addr) && s->type == SOCK_DGRAM)
		return -EMSGSIZE;
	return cmsg_get(s, m, d, o);
}

/* UDP_CORK was taken away: what was written goes out. */
int dgram_uncork(struct nsock *s)
{
	struct msghdr nothing = {.msg_iovlen = 0};

	return load_once(&s->d->corked) ? (int)dgram_send(s, &nothing, 0, false) : 0;
}

/* The kernel's raw sockets send all the same, but those that write whole headers. */
static bool shut(struct nsock *s)
{
	return (sock_state(s) & CM_ST_TX_SHUT) && (s->type != SOCK_RAW || writes_headers(s));
}

/* As in the kernel a raw socket's send does not stumble over what ICMP said of the packet before. */
static bool takes_error(const struct nsock *s)
{
	return s->family == AF_PACKET || s->type != SOCK_RAW || s->protocol == IPPROTO_RAW;
}

ssize_t dgram_send(struct nsock *s, const struct msghdr *m, int flags, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->sndtimeo);
	struct cm_options o;
	struct cm_dgram d;
	int ret;

	if (flags & MSG_OOB && s->family == AF_INET)
		return -EOPNOTSUPP;
	ret = sock_settle(s);
	if (ret == 0)
		ret = dgram_address(s, m, flags, &d, &o);
	if (ret == 0 && flags & MSG_OOB)
		ret = -EOPNOTSUPP;
	if (ret == 0)
		ret = payload_there(m);
	if (ret < 0)
		return ret;
	for (;;) {
		struct sleep_seen seen = sock_seen(s);

		ret = sock_check(s);
		if (ret == 0 && takes_error(s))
			ret = sock_take_error(s);
		if (ret == 0 && shut(s))
			ret = -EPIPE;
		if (ret == 0)
			ret = send_one(s, m, &d, &o);
		if (ret == 0)
			return d.len;
		if (ret != -EAGAIN || nonblock || (flags & MSG_DONTWAIT))
			return ret;
		ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return ret;
	}
}
