/*
 * Byte streams: copying between the application's buffers and the rings.
 *
 * The order of what a reader finds is the kernel's: bytes first, then the peer's end of the stream, then a
 * pending error, then an end of our own making. What a writer finds: a pending error, EPIPE, room. The slot's state is read before
 * the position, for the daemon says "end of file" after it has published the last byte.
 */
#include "clientlib/cmsg.h"
#include "clientlib/usermem.h"
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>

#define JUMP_MAX (1u << 20) /* a ring grows at once to what a write needs, up to this */

struct cursor { /* a place in a list of buffers */
	const struct iovec *iov;
	size_t left; /* entries */
	size_t off;  /* in the first */
};

/* Copies n bytes between ring memory and buffers. 0 or -EFAULT. */
static int cursor_copy(struct cursor *c, uint8_t *ring, size_t n, bool out)
{
	while (n && c->left) {
		size_t part = c->iov->iov_len - c->off;
		uint8_t *at = (uint8_t *)c->iov->iov_base + c->off;

		if (part > n)
			part = n;
		if (out ? copy_from_user(ring, at, part) : copy_to_user(at, ring, part))
			return -EFAULT;
		ring += part;
		n -= part;
		c->off += part;
		if (c->off == c->iov->iov_len) {
			c->iov++;
			c->left--;
			c->off = 0;
		}
	}
	return 0;
}

/* The same with a ring. After -EFAULT the cursor is of no use any more. */
static int ring_copy(const struct nsock *s, const struct side *side, uint64_t pos, struct cursor *c,
    uint64_t n, bool out)
{
	int ret = 0;

	while (n && ret == 0) {
		uint64_t at = (pos - side->place.base) & (side->place.cap - 1);
		uint64_t run = side->place.cap - at;

		if (run > n)
			run = n;
		ret = cursor_copy(c, s->home->mem + side->place.off + at, run, out);
		pos += run;
		n -= run;
	}
	return ret;
}

static ssize_t total_of(const struct msghdr *m)
{
	size_t sum = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++) {
		if (m->msg_iov[i].iov_len > (size_t)SSIZE_MAX - sum)
			return -EINVAL;
		sum += m->msg_iov[i].iov_len;
	}
	return (ssize_t)(sum > INT_MAX - 4095 ? INT_MAX - 4095 : sum);
}

/* ---- receive */

/* A call to receive: where it is. */
struct receiving {
	struct cursor c;
	size_t want, done, lowat;
	uint64_t skip; /* peeking: bytes behind the ring's position that were seen */
	int flags;
	bool stop;	/* no further: an urgent byte is next */
	bool something; /* there was something to read */
	bool settled;	/* ns_settle() was called */
};

/* One look: bytes taken, or -errno. */
static ssize_t recv_some(struct nsock *s, struct receiving *r)
{
	uint64_t avail, n, left;
	bool over;
	int ret;

	side_lock(s, true);
	ret = s->rx.lent ? -EBUSY : rx_avail(s, &avail);
	if (ret < 0) {
		side_unlock(s, true);
		return ret;
	}
	r->lowat = rx_lowat(s);
	left = avail > r->skip ? avail - r->skip : 0;
	if (load_once(&s->sl->urgent)) {
		n = urgent_limit(s, s->rx.pos + r->skip, left, r->done || r->flags & RECV_TO_MARK,
		    &over, &r->stop);
		if (over && (r->flags & MSG_PEEK))
			r->skip++;
		else if (over)
			rx_consume(s, 1, avail--);
		left = n;
	}
	r->something |= left > 0;
	n = left < r->want - r->done ? left : r->want - r->done;
	if (n && !(r->flags & MSG_TRUNC))
		ret = ring_copy(s, &s->rx, s->rx.pos + r->skip, &r->c, n, false);
	if (r->flags & MSG_PEEK)
		r->skip += n;
	else if (n && ret == 0)
		rx_consume(s, n, avail);
	side_unlock(s, true);
	return ret < 0 ? ret : (ssize_t)n;
}

/*
 * Nothing to read: 0 (end of file), -EAGAIN (wait), or the error. `st` was read before the
 * position.
 */
static int recv_end(struct nsock *s, uint32_t st)
{
	int ret = st & CM_ST_FIN ? 0 : sock_take_error(s);

	if (ret < 0)
		return ret;
	if (st & (CM_ST_RX_EOF | CM_ST_DEAD))
		return 0;
	return st & (CM_ST_CONNECTED | CM_ST_CONNECTING) ? -EAGAIN : -ENOTCONN;
}

/* Nothing to read, and no wish to wait: is it worth another look? */
static bool settle(struct receiving *r)
{
	bool again = !r->settled && !r->done && ns_settle();

	r->settled = true;
	return again;
}

static ssize_t recv_loop(struct nsock *s, struct receiving *r, bool nonblock)
{
	uint64_t deadline = deadline_of(s->d->rcvtimeo);

	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		ssize_t ret = sock_check(s);
		size_t least;
		uint32_t st;

		if (ret < 0)
			return r->done ? (ssize_t)r->done : ret;
		st = sock_state(s);
		ret = recv_some(s, r);
		if (ret > 0)
			r->done += (size_t)ret;
		if (r->stop && !r->done && nonblock)
			return -EAGAIN;
		least = r->flags & MSG_WAITALL || r->lowat > r->want ? r->want : r->lowat;
		if ((r->done >= least && r->done) || r->stop || (!r->want && r->something))
			return (ssize_t)r->done;
		if (ret > 0)
			continue;
		if (ret == 0 && !r->done)
			ret = recv_end(s, st);
		else if (ret == 0)
			ret = (st & (CM_ST_RX_EOF | CM_ST_DEAD)) || sock_has_error(s) ? 0 : -EAGAIN;
		if (ret == -EAGAIN && (nonblock || r->flags & MSG_DONTWAIT))
			ret = settle(r) ? 1 : -EAGAIN;
		else if (ret == -EAGAIN)
			ret = sock_sleep(s, seen, deadline) ?: 1;
		if (ret <= 0)
			return r->done ? (ssize_t)r->done : ret;
	}
}

/* What waits now: TCP_INQ. The end of the stream counts as one, so that nobody waits for it. */
static int waiting(struct nsock *s)
{
	uint64_t n = 0;

	side_lock(s, true);
	(void)rx_avail(s, &n);
	if (!n && (load_once(&s->sl->state) & CM_ST_RX_EOF))
		n = 1;
	side_unlock(s, true);
	return n > INT_MAX ? INT_MAX : (int)n;
}

static void stream_control(struct nsock *s, struct msghdr *m)
{
	size_t used = 0;

	if (cmsg_wants_time(s) && load_once(&s->sl->rx_time))
		cmsg_time(s, m, &used, load_once(&s->sl->rx_time), false);
	if (load_once(&s->d->want_cmsg) & WANT_INQ)
		cmsg_append(m, &used, SOL_TCP, TCP_CM_INQ, &(int){waiting(s)}, sizeof(int));
	m->msg_controllen = used;
}

ssize_t stream_recv(struct nsock *s, struct msghdr *m, int flags, bool nonblock)
{
	struct receiving r = {.c = {.iov = m->msg_iov, .left = m->msg_iovlen}, .flags = flags};
	ssize_t want = total_of(m), ret;

	if (want < 0)
		return want;
	if (flags & MSG_ERRQUEUE)
		return errqueue_recv(s, m);
	if (flags & MSG_OOB)
		return urgent_recv(s, m, flags);
	r.want = (size_t)want;
	r.skip = peek_offset(s, flags);
	ret = recv_loop(s, &r, nonblock);
	if (ret > 0)
		peek_moved(s, flags, ret);
	if (ret >= 0) {
		m->msg_namelen = 0;
		m->msg_flags = 0;
		if (ret > 0)
			stream_control(s, m);
		else
			m->msg_controllen = 0;
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

/* Bytes that may be written now. tx_lock held. */
static int room_now(struct nsock *s, uint64_t *room)
{
	int ret = tx_room(s, room);
	uint64_t most = tx_lowat_room(s);

	*room = *room < most ? *room : most;
	return ret;
}

/* The same; and if there is none, tells the daemon that room will be news, and looks once more. */
static int room_wanted(struct nsock *s, uint64_t *room)
{
	int ret = room_now(s, room);

	if (ret < 0 || *room) {
		if (load_once(&s->ev->tx_want))
			store_once(&s->ev->tx_want, 0);
		return ret;
	}
	store_once(&s->ev->tx_want, 1);
	fence_full();
	return room_now(s, room);
}

static ssize_t send_some(struct nsock *s, struct cursor *c, uint64_t want, int flags)
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
		ret = ring_copy(s, &s->tx, s->tx.pos, c, n, true);
		if (ret < 0)
			goto out;
		if (flags & MSG_OOB)
			ret = urgent_announce(s, s->tx.pos + n);
		tx_publish(s, n, n == want && flags & MSG_MORE);
	}
out:
	side_unlock(s, false);
	return ret < 0 ? ret : (ssize_t)n;
}

/*
 * MSG_FASTOPEN connects first. netd asks no peer for a cookie, so it is as in the kernel with a peer that gives none:
 * what is to be sent follows the handshake.
 */
static int connect_first(struct nsock *s, const struct msghdr *m, bool nonblock)
{
	const struct sockaddr *to = m->msg_name;
	int ret = ns_check_name(to, m->msg_namelen);

	if (ret == 0 && m->msg_namelen >= sizeof(to->sa_family) && to->sa_family == AF_UNSPEC)
		ret = -EOPNOTSUPP;
	return ret < 0 ? ret : ns_connect(s, to, m->msg_namelen, nonblock);
}

/*
 * Under TCP_NOTSENT_LOWAT nothing may be written now, and there is no wish to wait. The kernel sends within write(), the
 * daemon a moment later: that is waited for. False: that was done, and after it nothing could be written. `settled`: bytes then.
 */
static bool settle_sent(struct nsock *s, ssize_t done, ssize_t *settled)
{
	struct cm_sqe nop = {.op = CM_NOP, .slot = s->slot};

	if (*settled == done || !load_once(&s->sl->notsent_most))
		return false;
	*settled = done;
	return request_wait(s->ss, &nop, NULL) == 0;
}

ssize_t stream_send(struct nsock *s, const struct msghdr *m, int flags, bool nonblock)
{
	struct cursor c = {.iov = m->msg_iov, .left = m->msg_iovlen};
	uint64_t deadline = deadline_of(s->d->sndtimeo);
	ssize_t want = total_of(m), done = 0, settled = -1;
	int opened = want < 0 || !(flags & MSG_FASTOPEN)
			 ? 0
			 : connect_first(s, m, nonblock || flags & MSG_DONTWAIT);

	if (want < 0 || opened < 0)
		return want < 0 ? want : opened;
	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		ssize_t ret = sock_check(s);

		if (done && sock_has_error(s))
			return done; /* the error is the next call's */
		if (ret == 0)
			ret = stream_writable(s);
		if (ret == 0 && !done && m->msg_controllen)
			ret = cmsg_stream(s, m);
		if (ret == 0 && done < want) {
			ret = send_some(s, &c, (uint64_t)(want - done), flags);
			if (ret > 0)
				done += ret;
		}
		if (ret >= 0 && done == want)
			return done;
		if (ret > 0)
			continue;
		if (ret == 0)
			ret = -EAGAIN;
		if (ret == -EAGAIN && (nonblock || flags & MSG_DONTWAIT))
			ret = settle_sent(s, done, &settled) ? 0 : -EAGAIN;
		else if (ret == -EAGAIN)
			ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return done ? done : ret;
	}
}
