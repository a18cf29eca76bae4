/*
 * Zero copy: pointers into the rings, lent to the caller.
 *
 * While bytes of a side are lent, other calls on that side answer -EBUSY, and a ring that moved is
 * not followed: the daemon keeps the old place until it is acknowledged.
 */
#include "clientlib/session.h"

static int borrow(struct nsock *s, const void **data, size_t *len, struct endpoint *from)
{
	const uint8_t *payload;
	struct cm_dgram d;
	uint64_t avail, at, limit = 0;
	bool over = false, stop;
	int ret;

	if (s->share)
		return -EOPNOTSUPP;
	if (s->rx.lent)
		return -EBUSY;
	if (s->type != SOCK_STREAM) {
		ret = dgram_head(s, &d, &payload);
		if (ret <= 0)
			return ret < 0 ? ret : -EAGAIN;
		s->rx.lent = (uint32_t)ret;
		*data = payload;
		*len = d.len;
		if (from)
			*from = d.peer;
		return 0;
	}
	ret = rx_avail(s, &avail);
	if (ret == 0)
		limit = urgent_limit(s, s->rx.pos, avail, false, &over, &stop);
	if (ret == 0 && over)
		rx_consume(s, 1, avail);
	avail = limit;
	if (ret < 0 || !avail)
		return ret < 0 ? ret : -EAGAIN;
	at = (s->rx.pos - s->rx.place.base) & (s->rx.place.cap - 1);
	*data = s->home->mem + s->rx.place.off + at;
	*len = s->rx.place.cap - at < avail ? s->rx.place.cap - at : avail;
	s->rx.lent = (uint32_t)*len;
	return 0;
}

int ns_recv_borrow(
    struct nsock *s, const void **data, size_t *len, struct endpoint *from, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->rcvtimeo);

	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		int ret = sock_check(s);
		uint32_t st;

		if (ret < 0)
			return ret;
		st = sock_state(s);
		side_lock(s, true);
		ret = borrow(s, data, len, from);
		side_unlock(s, true);
		if (ret != -EAGAIN)
			return ret;
		*len = 0;
		ret = st & CM_ST_FIN ? 0 : sock_take_error(s);
		if (ret < 0 || (st & (CM_ST_RX_EOF | CM_ST_DEAD)))
			return ret;
		if (s->type == SOCK_STREAM && !(st & (CM_ST_CONNECTED | CM_ST_CONNECTING)))
			return -ENOTCONN;
		ret = nonblock ? -EAGAIN : sock_sleep(s, seen, deadline);
		if (ret < 0)
			return ret;
	}
}

int ns_recv_release(struct nsock *s, size_t used)
{
	int ret = sock_check(s);
	size_t lent;

	if (ret < 0)
		return ret;
	side_lock(s, true);
	lent = s->rx.lent;
	if (!lent || (used > lent)) {
		ret = -EINVAL;
	} else {
		s->rx.lent = 0;
		if (s->type != SOCK_STREAM)
			used = lent;
		if (used)
			rx_consume(s, used, lent);
		ret = side_follow(s, true);
	}
	side_unlock(s, true);
	return ret;
}

/* Both kinds keep what they need: `lent` bytes in the side, `tx_skip` before them. */
static int reserve(
    struct nsock *s, size_t want, void **data, size_t *len, const struct endpoint *to)
{
	struct cm_dgram d = {.len = (uint32_t)want};
	uint64_t room, at, skip;
	uint8_t *p;
	int ret;

	if (s->share)
		return -EOPNOTSUPP;
	if (s->tx.lent)
		return -EBUSY;
	if (s->type != SOCK_STREAM) {
		if (want > CM_DGRAM_MAX - 28)
			return -EMSGSIZE;
		if (!to && !dgram_connected(s))
			return -EDESTADDRREQ;
		ret = dgram_reserve(s, want, &p, &skip);
		if (ret < 0)
			return ret;
		s->tx_skip = (uint32_t)skip;
		if (to)
			d.peer = *to;
		__builtin_memcpy(p, &d, sizeof(d));
		s->tx.lent = (uint32_t)cm_dgram_room((uint32_t)want);
		*data = p + sizeof(d);
		*len = want;
		return 0;
	}
	ret = tx_room(s, &room);
	if (ret == 0 && room < want && tx_may_grow(s)) {
		ret = tx_grow(s, want < tx_most(s) ? want : tx_most(s));
		if (ret == 0 || ret == -ENOMEM || ret == -EAGAIN)
			ret = tx_room(s, &room);
	}
	if (ret == 0 && !room) {
		store_once(&s->ev->tx_want, 1);
		fence_full();
		ret = tx_room(s, &room);
	}
	if (ret < 0 || !room)
		return ret < 0 ? ret : s->tx.place.cap ? -EAGAIN : -ENOBUFS;
	at = (s->tx.pos - s->tx.place.base) & (s->tx.place.cap - 1);
	*len = s->tx.place.cap - at < room ? s->tx.place.cap - at : room;
	if (*len > want)
		*len = want;
	*data = s->home->mem + s->tx.place.off + at;
	s->tx.lent = (uint32_t)*len;
	return 0;
}

int ns_send_reserve(struct nsock *s, size_t want, void **data, size_t *len,
    const struct endpoint *to, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->sndtimeo);
	int ret = sock_settle(s);

	if (ret == 0 && !want && s->type == SOCK_STREAM)
		ret = -EINVAL;
	while (ret == 0) {
		struct sleep_seen seen = sock_seen(s);

		ret = sock_check(s);
		if (ret == 0)
			ret = s->type == SOCK_STREAM		  ? stream_writable(s)
			      : sock_state(s) & CM_ST_TX_SHUT ? -EPIPE
							      : sock_take_error(s);
		if (ret == 0) {
			side_lock(s, false);
			ret = reserve(s, want, data, len, to);
			side_unlock(s, false);
			if (ret == 0)
				return 0;
		}
		if (ret == -EAGAIN && !nonblock)
			ret = sock_sleep(s, seen, deadline);
	}
	return ret;
}

static int commit_dgram(struct nsock *s, size_t lent, ssize_t n)
{
	uint64_t at = (s->tx.pos + s->tx_skip - s->tx.place.base) & (s->tx.place.cap - 1);
	uint8_t *p = s->home->mem + s->tx.place.off + at;
	struct cm_dgram d;

	if (n < 0)
		return 0;
	if (cm_dgram_room((uint32_t)n) > lent)
		return -EINVAL;
	__builtin_memcpy(&d, p, sizeof(d));
	d.len = (uint32_t)n;
	dgram_write(s, p, s->tx_skip, &d);
	return 0;
}

int ns_send_commit(struct nsock *s, ssize_t n)
{
	int ret = sock_check(s);
	size_t lent;

	if (ret < 0)
		return ret;
	side_lock(s, false);
	lent = s->tx.lent;
	if (!lent || n > (ssize_t)lent) {
		ret = -EINVAL;
	} else {
		s->tx.lent = 0;
		if (s->type != SOCK_STREAM)
			ret = commit_dgram(s, lent, n);
		else if (n > 0)
			tx_publish(s, (uint64_t)n, false);
	}
	side_unlock(s, false);
	return ret;
}
