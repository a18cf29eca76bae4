/*
 * Readiness: the bits of poll(2) as the kernel's tcp_poll() and udp_poll() would say them, from the
 * slot, without a system call.
 *
 * A stream is writable when a third of its ring is free, or when the ring may still grow. If it is
 * not, the daemon is told that room will be news, and the ring is looked at once more.
 */
#include "clientlib/cmsg.h"
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include <limits.h>

#define IN_BITS	 (POLLIN | POLLRDNORM)
#define OUT_BITS (POLLOUT | POLLWRNORM)

/* Enough room to call it writable? Negative if the session broke. */
static int roomy(struct nsock *s)
{
	uint64_t room;
	int ret;

	if (!s->tx.layout && !load_acquire(&s->ready))
		return 1;
	side_lock(s, false);
	for (int look = 0;; look++) {
		ret = tx_room(s, &room);
		if (ret < 0)
			break;
		ret = (!s->tx.place.cap || room >= tx_bound(s) / 3 || tx_may_grow(s)) &&
		      tx_lowat_roomy(s);
		if (ret || look)
			break;
		store_once(&s->ev->tx_want, 1);
		fence_full();
	}
	side_unlock(s, false);
	return ret;
}

/* The urgent byte before the reader does not count. rx_lock held. */
static uint64_t at_urgent_byte(const struct nsock *s)
{
	uint64_t u = load_once(&s->sl->urgent);

	return u && u - 1 == s->rx.pos && !(load_once(&s->sl->state) & CM_ST_OOBINLINE);
}

static int readable(struct nsock *s)
{
	const uint8_t *data;
	struct cm_dgram d;
	uint64_t n;
	int ret;

	side_lock(s, true);
	if (s->type == SOCK_STREAM) {
		ret = rx_avail(s, &n);
		if (ret == 0)
			ret = n >= rx_lowat(s) + at_urgent_byte(s);
	} else {
		ret = tpacket_on(s) ? tpacket_fill(s) : dgram_head(s, &d, &data);
	}
	side_unlock(s, true);
	return ret;
}

static unsigned poll_stream(struct nsock *s, uint32_t st)
{
	unsigned ev = 0;
	int in = 0, out = 0;

	if (st & CM_ST_LISTENING)
		return load_acquire(&s->sl->accept_ready) ? IN_BITS : 0;
	if (st & CM_ST_DEAD)
		return IN_BITS | OUT_BITS | POLLRDHUP | POLLHUP;
	if (!(st & CM_ST_CONNECTED))
		return st & CM_ST_CONNECTING || s->d->connecting
			   ? 0
			   : OUT_BITS | POLLHUP | (st & CM_ST_RX_EOF ? IN_BITS | POLLRDHUP : 0);
	if ((st & (CM_ST_RX_EOF | CM_ST_TX_SHUT)) == (CM_ST_RX_EOF | CM_ST_TX_SHUT) ||
	    (st & CM_ST_HUP))
		ev |= POLLHUP;
	if (st & CM_ST_RX_EOF)
		ev |= IN_BITS | POLLRDHUP;
	else
		in = readable(s);
	if (!(st & CM_ST_TX_SHUT))
		out = roomy(s);
	if (in < 0 || out < 0)
		return POLLERR | POLLHUP | IN_BITS | OUT_BITS;
	if (in)
		ev |= IN_BITS;
	if (urgent_ready(s))
		ev |= POLLPRI;
	if (out || (st & CM_ST_TX_SHUT))
		ev |= OUT_BITS;
	return ev;
}

static unsigned poll_dgram(struct nsock *s, uint32_t st)
{
	unsigned ev = 0;
	int in = readable(s), out = roomy(s);

	if (in < 0 || out < 0)
		return POLLERR | POLLHUP | IN_BITS | OUT_BITS;
	if (st & CM_ST_RX_EOF)
		ev |= IN_BITS | POLLRDHUP;
	if ((st & (CM_ST_RX_EOF | CM_ST_TX_SHUT)) == (CM_ST_RX_EOF | CM_ST_TX_SHUT))
		ev |= POLLHUP;
	return ev | (in ? IN_BITS : 0) | (out ? OUT_BITS | POLLWRBAND : 0);
}

unsigned ns_poll(struct nsock *s)
{
	int ret = sock_check(s);
	unsigned ev;
	uint32_t st;

	if (ret == -EBADF)
		return POLLNVAL;
	if (ret < 0)
		return POLLERR | POLLHUP | POLLRDHUP | IN_BITS | OUT_BITS;
	st = sock_state(s);
	ev = s->type == SOCK_STREAM ? poll_stream(s, st) : poll_dgram(s, st);
	if (load_acquire(&s->ready) && load_acquire(&s->sl->errors))
		ev |= POLLERR | (load_once(&s->d->want_cmsg) & WANT_ERRPRI ? POLLPRI : 0);
	if (sock_has_error(s))
		ev |= POLLERR;
	return ev;
}

int ns_wait(struct nsock *s, unsigned events, int timeout_ms)
{
	uint64_t deadline = timeout_ms > 0 ? now_ns() + (uint64_t)timeout_ms * 1000000ull : 0;

	events |= POLLERR | POLLHUP | POLLNVAL;
	(void)ns_settle();
	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		unsigned ev = ns_poll(s) & events;
		int ret;

		if (ev || timeout_ms == 0)
			return (int)ev;
		ret = sock_sleep(s, seen, deadline);
		if (ret < 0)
			return ret == -EAGAIN ? 0 : ret;
	}
}

/* ---- the two calls that move bytes, for any type */

/* The head of a message as the kernel takes it: 0 or a negative errno. */
static int message_there(const struct msghdr *m)
{
	if (m->msg_name && (int)m->msg_namelen < 0)
		return -EINVAL;
	if (m->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	return user_readable(m->msg_iov, m->msg_iovlen * sizeof(*m->msg_iov)) ? 0 : -EFAULT;
}

/* MSG_ZEROCOPY: the bytes are in the ring, and the caller's memory is its own again. */
static void tell_copied(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_COPIED, .slot = s->slot};

	(void)request_async(s->ss, &e, REQ_IGNORED, NULL);
}

ssize_t ns_sendmsg(struct nsock *s, const struct msghdr *m, int flags, bool nonblock)
{
	int ret = sock_check(s);
	ssize_t n;

	if (ret == 0)
		ret = message_there(m);
	if (ret == 0 && m->msg_name && m->msg_namelen <= sizeof(struct sockaddr_storage))
		ret = ns_check_name(m->msg_name, m->msg_namelen);
	if (ret == 0 && !user_readable(m->msg_control, m->msg_controllen))
		ret = -EFAULT;
	if (ret < 0)
		return ret;
	n = s->type == SOCK_STREAM ? stream_send(s, m, flags, nonblock)
				   : dgram_send(s, m, flags, nonblock);
	if (flags & MSG_ZEROCOPY && (n > 0 || (n == 0 && s->type != SOCK_STREAM)))
		tell_copied(s);
	return n;
}

static ssize_t receive(struct nsock *s, struct msghdr *m, int flags, bool nonblock)
{
	int ret = sock_check(s);

	if (ret == 0)
		ret = message_there(m);
	if (ret < 0)
		return ret;
	return s->type == SOCK_STREAM ? stream_recv(s, m, flags, nonblock)
				      : dgram_recv(s, m, flags, nonblock);
}

ssize_t ns_recvmsg(struct nsock *s, struct msghdr *m, int flags, bool nonblock)
{
	return receive(s, m, flags & ~RECV_TO_MARK, nonblock);
}

ssize_t ns_recv_to_mark(struct nsock *s, struct msghdr *m, bool nonblock)
{
	return receive(s, m, RECV_TO_MARK, nonblock);
}
