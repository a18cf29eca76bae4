/*
 * The end of a socket.
 *
 * A socket without a number closes when the last reference is put, which calls under way hold too, as in the kernel. CM_CLOSE
 * is not waited for, but by a close that lingers or resets (SO_LINGER).
 */
#include "clientlib/link.h"
#include "clientlib/share.h"
#include <netinet/tcp.h>

/* This process's part in the socket ends. */
static void give_up(struct nsock *s)
{
	if (!__atomic_exchange_n(&s->has_slot, false, __ATOMIC_ACQ_REL) || session_dead(s->ss))
		return;
	if (!s->ready)
		request_forget(s);
	request_close(s);
}

void ns_put(struct nsock *s)
{
	if (__atomic_fetch_sub(&s->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	give_up(s);
	share_leave(s);
	tpacket_free(s);
	sock_give(s);
}

int ns_close(struct nsock *s)
{
	struct nset *event;

	if (__atomic_exchange_n(&s->closed, true, __ATOMIC_SEQ_CST))
		return 0;
	set_forget(s, true);
	event = __atomic_exchange_n(&s->event, NULL, __ATOMIC_ACQ_REL);
	if (event)
		ns_set_free(event);
	__atomic_fetch_add(&s->kick, 1, __ATOMIC_SEQ_CST);
	if (session_dead(s->ss) & SS_FOREIGN)
		return 0;
	/*
	 * A sleeper may be between its last look and its sleep: wake until none is left, within
	 * reason.
	 */
	for (int i = 0; i < 100 && load_once(&s->sleepers); i++) {
		(void)sys_call(SYS_futex, (long)&s->kick, FUTEX_WAKE_PRIVATE, INT32_MAX, 0, 0, 0);
		sys_futex_wake(&s->ev->ev_seq, INT32_MAX);
		if (load_once(&s->sleepers))
			sys_nanosleep(20000L << (i < 6 ? i : 6));
	}
	if (s->inherited) /* references may be of threads that the fork left behind */
		give_up(s);
	return 0;
}

/* SO_LINGER for no time: the reset is on its way when close() returns, as in the kernel. */
static void reset_now(struct nsock *s)
{
	struct cm_sqe nop = {.op = CM_NOP, .slot = s->slot};

	ns_close(s);
	give_up(s);
	request_wait(s->ss, &nop, NULL);
}

/* Until what was written, and the end of it, has arrived there: SO_LINGER of a socket that nobody else holds. */
void ns_linger(struct nsock *s)
{
	struct cm_sqe e = {.op = CM_SHUTDOWN, .slot = s->slot, .arg = {SHUT_WR, 1}};
	int64_t seconds = (int64_t)load_once(&s->d->linger) - 1;
	uint64_t deadline = now_ns() + (uint64_t)seconds * 1000000000ull, unread = 0;

	if (seconds < 0 || s->type != SOCK_STREAM || sock_settle(s) < 0 ||
	    (sock_state(s) & (CM_ST_CONNECTED | CM_ST_DEAD)) != CM_ST_CONNECTED)
		return;
	if (!seconds) {
		reset_now(s);
		return;
	}
	side_lock(s, true);
	(void)rx_avail(s, &unread);
	side_unlock(s, true);
	if (unread || request_wait(s->ss, &e, NULL) < 0)
		return;
	for (;;) {
		struct sleep_seen seen = sock_seen(s);
		uint8_t state = load_acquire(&s->sl->tcp_state);

		if (state != TCP_FIN_WAIT1 && state != TCP_CLOSING && state != TCP_LAST_ACK)
			return;
		if (sock_check(s) < 0 || sock_sleep(s, seen, deadline) < 0)
			return;
	}
}

void ns_unnamed(struct nsock *s)
{
	struct nset *event = __atomic_exchange_n(&s->event, NULL, __ATOMIC_ACQ_REL);

	if (event)
		ns_set_free(event);
	if (s->inherited)
		ns_close(s);
	else
		set_forget(s, false);
}

bool ns_named(const struct nsock *s)
{
	return load_acquire(&s->fds);
}
