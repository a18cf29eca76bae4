/*
 * Death of a client.
 *
 * Theory of operation. The end-of-file on the control connection says that no process holds the
 * session any more. What the client had submitted until then still counts: the submission ring is
 * drained, the last position of every socket is read once, then everything is closed as the kernel
 * closes the descriptors of a dead process (unread input means a reset). Very large sessions are
 * closed over several cycles. The memory stays, deposited, while a socket that outlives its client
 * has a ring in it: bytes that were written are still to be sent.
 *
 * A client that lies (positions, requests that cannot be) dies the same way, except that nothing more
 * is taken from it; its process lives, so its connection is shut down and its sleepers are woken.
 *
 * All of it follows from the records (DYING, and which sockets name the session), so a restart in the
 * middle goes on where it was.
 */
#include "socket/layer.h"
#include "base/log.h"
#include "base/util.h"
#include <errno.h>
#include <sys/socket.h>

#define CLOSE_BUDGET 1024 /* sockets closed a cycle */
#define LOG_PER_SEC  5

static void complain(struct stack *s, const struct session *ss, const char *lie)
{
	struct socket_layer *l = s->socket;
	const struct session_rec *r = session_peek(s, ss);

	s->count.bad_client++;
	if (s->now - l->log_window_ns > NSEC_PER_SEC) {
		l->log_window_ns = s->now;
		l->log_count = 0;
	}
	if (l->log_count++ >= LOG_PER_SEC)
		return;
	log_warn("session %u (pid %d, uid %u, %.*s) is thrown out: %s", ss->index, (int)r->pid,
	    r->uid, SESSION_NAME_MAX, r->name, lie);
}

void session_die(struct stack *s, struct session *ss, const char *lie)
{
	struct socket_layer *l = s->socket;
	struct session_rec *r = session_get(s, ss);

	if (!r || ss->in_dying || ss->in_ended)
		return;
	if (lie)
		complain(s, ss, lie);
	LIST_TAKE(l, ss, active);
	LIST_TAKE(l, ss, ctl);
	LIST_TAKE(l, ss, answers);
	LIST_TAKE(l, ss, starved);
	if (ss->request) {
		netd__control__request__free_unpacked(ss->request, NULL);
		ss->request = NULL;
	}
	ss->hangup = true;
	if (r->state == SESSION_CONTROL) {
		LIST_PUT(l, ss, ended);
		state_free(s->state, KIND_SESSION, ss->index);
		return;
	}
	if (r->state == SESSION_ATTACHED)
		l->attached--;
	if (lie)
		r->thrown = 1;
	r->state = SESSION_DYING;
	ss->close_next = 0;
	ss->drained = 0;
	LIST_PUT(l, ss, dying);
	LIST_PUT(l, ss, done);
}

void death_orphan(struct stack *s, uint32_t sk, bool memory_lost)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k)
		return;
	if (memory_lost) {
		/* Bytes that were promised cannot be sent any more: the peer is told so by a reset. */
		k->flags |= SOCK_F_LINGER;
		k->linger_s = 0;
	}
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	sock_ops_of(s, k)->close(s, sk, true);
}

/* One cycle's share of a DYING session. Returns the work done; the state is DEAD once all is closed. */
static unsigned bury(struct stack *s, struct session *ss, unsigned budget)
{
	const struct session_rec *r = session_peek(s, ss);
	uint32_t tell = r->thrown ? CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP : TELL_NOBODY;
	unsigned n = 0;

	if (!r->thrown && ss->drained < CM_SQ_ENTRIES) {
		n = session_take(s, ss, budget, true);
		ss->drained += n;
		if (n)
			return n;
	}
	for (; ss->close_next < ss->notes && n < budget; ss->close_next++) {
		uint32_t sk = session_sock(ss, ss->close_next);

		if (sk == NO_INDEX)
			continue;
		if (s->socket->n_news == NEWS_MAX)
			return n + 1;
		(void)session_poke(s, ss, ss->close_next, sk); /* a lie now costs nobody anything */
		session_close_sock(s, ss, ss->close_next, true, tell);
		KILLPOINT("socket.death.closed");
		n++;
	}
	if (ss->close_next >= ss->notes) {
		session_get(s, ss)->state = SESSION_DEAD;
		LIST_TAKE(s->socket, ss, dying);
	}
	LIST_PUT(s->socket, ss, done);
	return n + 1;
}

unsigned death_work(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;
	unsigned n = 0;

	for (ss = TAILQ_FIRST(&l->dying); ss && n < CLOSE_BUDGET; ss = next) {
		next = TAILQ_NEXT(ss, dying);
		n += bury(s, ss, CLOSE_BUDGET - n);
	}
	return n;
}

void death_check(struct stack *s, struct session *ss)
{
	const struct session_rec *r = session_peek(s, ss);

	if (r && r->state == SESSION_DEAD && !ss->in_ended && !memory_used(s->mem, ss->index + 1))
		LIST_PUT(s->socket, ss, ended);
}
