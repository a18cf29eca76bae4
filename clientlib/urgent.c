/*
 * Urgent bytes of a stream, as a reader meets them.
 *
 * The daemon tells where the newest one is (the slot's `urgent`); it lies in the ring like any
 * other byte. Without SO_OOBINLINE it is not part of what is read: a read stops before it, the next
 * one passes over it. With MSG_OOB it is taken from where it lies, once. What was taken is
 * remembered in the description, so all who hold the socket agree.
 */
#include "clientlib/cmsg.h"
#include "clientlib/usermem.h"
#include <string.h>

static bool inlined(const struct nsock *s)
{
	return load_once(&s->sl->state) & CM_ST_OOBINLINE;
}

/* The mark, if the reader has not passed it: UINT64_MAX for none. rx_lock held. */
static uint64_t mark(struct nsock *s)
{
	uint64_t u = load_acquire(&s->sl->urgent);

	if (u != s->d->urgent_seen) {
		/* A newer one, while the reader stands before the old: that byte is no part of the
		 * stream either. */
		if (s->d->urgent_seen && s->rx.pos == s->d->urgent_seen - 1 && !inlined(s)) {
			uint64_t n;

			if (rx_avail(s, &n) == 0 && n)
				rx_consume(s, 1, n);
		}
		s->d->urgent_seen = u;
		s->d->urgent_read = false;
	}
	return u && u - 1 >= s->rx.pos ? u - 1 : UINT64_MAX;
}

/*
 * Of the `avail` bytes from `at` on, how many may be read in one go; `started`: something was read
 * before them. *over: the byte at `at` is to be passed over first. *stop: nothing, and the call
 * ends here. rx_lock held.
 */
uint64_t urgent_limit(
    struct nsock *s, uint64_t at, uint64_t avail, bool started, bool *over, bool *stop)
{
	uint64_t m = mark(s);

	*over = *stop = false;
	if (m == UINT64_MAX || m < at)
		return avail;
	if (m > at)
		return avail < m - at ? avail : m - at;
	if (started && avail) {
		*stop = true;
		return 0;
	}
	*over = avail && !inlined(s);
	return avail - *over;
}

/* The byte is there, and nobody has taken it. */
bool urgent_ready(struct nsock *s)
{
	uint64_t m, n;
	bool yes = false;

	if (!load_acquire(&s->ready) || !load_acquire(&s->sl->urgent))
		return false;
	side_lock(s, true);
	m = mark(s);
	if (m != UINT64_MAX && !s->d->urgent_read && rx_avail(s, &n) == 0)
		yes = m < s->rx.pos + n;
	side_unlock(s, true);
	return yes;
}

bool urgent_at_mark(struct nsock *s)
{
	bool yes = false;

	if (!load_acquire(&s->ready) || !load_acquire(&s->sl->urgent))
		return false;
	side_lock(s, true);
	yes = mark(s) == s->rx.pos;
	side_unlock(s, true);
	return yes;
}

/* FIONREAD: up to the mark, if there is one on the way. rx_lock held. */
uint64_t urgent_before(struct nsock *s, uint64_t avail)
{
	uint64_t m = inlined(s) ? UINT64_MAX : mark(s);

	return m != UINT64_MAX && m < s->rx.pos + avail ? m - s->rx.pos : avail;
}

/* rx_lock held. */
static int take(struct nsock *s, uint8_t *byte, bool peek)
{
	uint64_t m = mark(s), n;
	int ret;

	if (inlined(s) || m == UINT64_MAX || s->d->urgent_read)
		return -EINVAL;
	ret = rx_avail(s, &n);
	if (ret < 0)
		return ret;
	if (m >= s->rx.pos + n)
		return -EAGAIN;
	*byte = s->home->mem[s->rx.place.off + ((m - s->rx.place.base) & (s->rx.place.cap - 1))];
	s->d->urgent_read = !peek;
	return 0;
}

ssize_t urgent_recv(struct nsock *s, struct msghdr *m, int flags)
{
	uint32_t st = sock_state(s);
	size_t i = 0;
	uint8_t byte;
	int ret;

	if (st & CM_ST_LISTENING)
		return -ENOTCONN;
	side_lock(s, true);
	ret = take(s, &byte, flags & MSG_PEEK);
	side_unlock(s, true);
	if (ret == -EAGAIN && (st & (CM_ST_RX_EOF | CM_ST_DEAD)))
		return 0;
	if (ret < 0)
		return ret;
	m->msg_namelen = 0;
	m->msg_controllen = 0;
	m->msg_flags = MSG_OOB;
	while (i < m->msg_iovlen && !m->msg_iov[i].iov_len)
		i++;
	if (i == m->msg_iovlen) {
		m->msg_flags |= MSG_TRUNC;
		return 0;
	}
	if (!(flags & MSG_TRUNC) && copy_to_user(m->msg_iov[i].iov_base, &byte, 1) < 0)
		return -EFAULT;
	return 1;
}

/*
 * What will end at stream offset `end` has its last byte urgent. The daemon has to know before it
 * can see that byte, or it might be sent and acknowledged unmarked: so this is waited for. tx_lock
 * held.
 */
int urgent_announce(struct nsock *s, uint64_t end)
{
	struct cm_sqe e = {.op = CM_URGENT, .slot = s->slot};

	memcpy(e.data, &end, sizeof(end));
	return request_wait(s->ss, &e, NULL);
}
