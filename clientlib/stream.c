/*
 * Byte streams: copying between the application's buffers and the rings.
 *
 * The order of what a reader finds is the kernel's: bytes first, then a pending error, then the end
 * of the stream. What a writer finds: a pending error, EPIPE, room. The slot's state is read before
 * the position, for the daemon says "end of file" after it has published the last byte.
 */
#include "clientlib/cmsg.h"
#include <limits.h>
#include <string.h>

#define JUMP_MAX (1u << 20) /* a ring grows at once to what a write needs, up to this */

struct cursor { /* a place in a list of buffers */
	const struct iovec *iov;
	size_t left; /* entries */
	size_t off;  /* in the first */
};

/* Copies n bytes between ring memory and buffers. */
static void cursor_copy(struct cursor *c, uint8_t *ring, size_t n, bool out)
{
	while (n && c->left) {
		size_t part = c->iov->iov_len - c->off;
		uint8_t *at = (uint8_t *)c->iov->iov_base + c->off;

		if (part > n)
			part = n;
		if (out)
			memcpy(ring, at, part);
		else
			memcpy(at, ring, part);
		ring += part;
		n -= part;
		c->off += part;
		if (c->off == c->iov->iov_len) {
			c->iov++;
			c->left--;
			c->off = 0;
		}
	}
}

static void ring_copy(const struct nsock *s, const struct side *side, uint64_t pos,
    struct cursor *c, uint64_t n, bool out)
{
	while (n) {
		uint64_t at = (pos - side->place.base) & (side->place.cap - 1);
		uint64_t run = side->place.cap - at;

		if (run > n)
			run = n;
		cursor_copy(c, s->home->mem + side->place.off + at, run, out);
		pos += run;
		n -= run;
	}
}

static ssize_t total_of(const struct msghdr *m)
{
	size_t sum = 0;

	if (m->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < m->msg_iovlen; i++) {
		if (m->msg_iov[i].iov_len > (size_t)SSIZE_MAX - sum)
			return -EINVAL;
		sum += m->msg_iov[i].iov_len;
	}
	return (ssize_t)(sum > INT_MAX - 4095 ? INT_MAX - 4095 : sum);
}

/* ---- receive */

/* One look: bytes taken, or -errno. */
static ssize_t recv_some(
    struct nsock *s, struct cursor *c, uint64_t want, int flags, uint64_t *skip)
{
	uint64_t avail, n;
	int ret;

	side_lock(s, true);
	ret = s->rx.lent ? -EBUSY : rx_avail(s, &avail);
	if (ret < 0) {
		side_unlock(s, true);
		return ret;
	}
	avail = avail > *skip ? avail - *skip : 0;
	n = avail < want ? avail : want;
	if (n && !(flags & MSG_TRUNC))
		ring_copy(s, &s->rx, s->rx.pos + *skip, c, n, false);
	if (flags & MSG_PEEK)
		*skip += n;
	else if (n)
		rx_consume(s, n, avail);
	side_unlock(s, true);
	return (ssize_t)n;
}

/*
 * Nothing to read: 0 (end of file), -EAGAIN (wait), or the error. `st` was read before the
 * position.
 */
static int recv_end(struct nsock *s, uint32_t st)
{
	int ret = sock_take_error(s);

	if (ret < 0)
		return ret;
	if (st & (CM_ST_RX_EOF | CM_ST_DEAD))
		return 0;
	return st & (CM_ST_CONNECTED | CM_ST_CONNECTING) ? -EAGAIN : -ENOTCONN;
}

static ssize_t recv_loop(struct nsock *s, struct cursor *c, size_t want, int flags, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->rcvtimeo), skip = 0;
	size_t least = flags & MSG_WAITALL ? want : s->d->rcvlowat < want ? s->d->rcvlowat : want;
	size_t done = 0;

	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		ssize_t ret = sock_check(s);
		uint32_t st;

		if (ret < 0)
			return done ? (ssize_t)done : ret;
		st = sock_state(s);
		ret = recv_some(s, c, want - done, flags, &skip);
		if (ret > 0)
			done += (size_t)ret;
		if (done >= least && done)
			return (ssize_t)done;
		if (ret > 0)
			continue;
		if (ret == 0 && !done)
			ret = recv_end(s, st);
		else if (ret == 0)
			ret = (st & (CM_ST_RX_EOF | CM_ST_DEAD)) || sock_has_error(s) ? 0 : -EAGAIN;
		if (ret == -EAGAIN && !nonblock && !(flags & MSG_DONTWAIT))
			ret = sock_sleep(s, seen, deadline) ?: 1;
		if (ret <= 0)
			return done ? (ssize_t)done : ret;
	}
}

ssize_t stream_recv(struct nsock *s, struct msghdr *m, int flags, bool nonblock)
{
	struct cursor c = {.iov = m->msg_iov, .left = m->msg_iovlen};
	ssize_t want = total_of(m), ret;
	size_t used = 0;

	if (want < 0)
		return want;
	if (flags & MSG_OOB)
		return -EINVAL;
	if (flags & MSG_ERRQUEUE)
		return errqueue_recv(s, m);
	if (!want)
		return sock_check(s);
	ret = recv_loop(s, &c, (size_t)want, flags, nonblock);
	if (ret >= 0) {
		m->msg_namelen = 0;
		m->msg_flags = 0;
		if (ret > 0 && cmsg_wants_time(s) && load_once(&s->sl->rx_time))
			cmsg_time(s, m, &used, load_once(&s->sl->rx_time));
		m->msg_controllen = used;
	}
	return ret;
}

/* ---- send */

/* May bytes be written now? 0, -EAGAIN (connecting), or the error. */
int stream_writable(struct nsock *s)
{
	uint32_t st = sock_state(s);
	int ret = sock_take_error(s);

	if (ret < 0)
		return ret;
	if (st & (CM_ST_TX_SHUT | CM_ST_DEAD))
		return -EPIPE;
	if (st & CM_ST_CONNECTED)
		return 0;
	return st & CM_ST_CONNECTING || s->d->connecting ? -EAGAIN : -EPIPE;
}

/* Tells the daemon that room will be news, and looks once more. tx_lock held. */
static int room_wanted(struct nsock *s, uint64_t *room)
{
	int ret = tx_room(s, room);

	if (ret < 0 || *room) {
		if (load_once(&s->ev->tx_want))
			store_once(&s->ev->tx_want, 0);
		return ret;
	}
	store_once(&s->ev->tx_want, 1);
	fence_full();
	return tx_room(s, room);
}

static ssize_t send_some(struct nsock *s, struct cursor *c, uint64_t want)
{
	uint64_t room, n = 0;
	int ret;

	side_lock(s, false);
	ret = s->tx.lent ? -EBUSY : tx_room(s, &room);
	if (ret == 0 && room < want && tx_may_grow(s)) {
		ret = tx_grow(s, want < JUMP_MAX ? want : JUMP_MAX);
		if (ret == -ENOMEM && !s->tx.place.cap)
			ret = -ENOBUFS;
		else if (ret == -ENOMEM || ret == -EAGAIN)
			ret = 0;
	}
	if (ret == 0)
		ret = room_wanted(s, &room);
	if (ret == 0 && room) {
		n = room < want ? room : want;
		ring_copy(s, &s->tx, s->tx.pos, c, n, true);
		tx_publish(s, n);
	}
	side_unlock(s, false);
	return ret < 0 ? ret : (ssize_t)n;
}

ssize_t stream_send(struct nsock *s, const struct msghdr *m, int flags, bool nonblock)
{
	struct cursor c = {.iov = m->msg_iov, .left = m->msg_iovlen};
	uint64_t deadline = deadline_of(s->d->sndtimeo);
	ssize_t want = total_of(m), done = 0;

	if (want < 0)
		return want;
	if (flags & MSG_OOB)
		return -EOPNOTSUPP;
	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		ssize_t ret = sock_check(s);

		if (done && sock_has_error(s))
			return done; /* the error is the next call's */
		if (ret == 0)
			ret = stream_writable(s);
		if (ret == 0 && done < want) {
			ret = send_some(s, &c, (uint64_t)(want - done));
			if (ret > 0)
				done += ret;
		}
		if (ret >= 0 && done == want)
			return done;
		if (ret > 0)
			continue;
		if (ret == 0)
			ret = -EAGAIN;
		if (ret == -EAGAIN && !nonblock && !(flags & MSG_DONTWAIT))
			ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return done ? done : ret;
	}
}
