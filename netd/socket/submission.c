/*
 * The submission ring: how requests are taken out of it, and answered.
 *
 * Theory of operation. An entry is copied to private memory, checked, worked, and answered beyond the
 * published end of the completion ring. How far both rings are is in the session's record, so entries
 * and what they changed become true in the same commit: each is done exactly once, whenever the
 * daemon dies. Only as many are taken as the completion ring has room for.
 *
 * `sq_taken` is published before the positions of any socket are read, with a full fence between: a
 * client that still sees its poke untaken may count on its newest positions being seen.
 *
 * What a client gets wrong by mistake is answered with an errno. What no library would do (positions
 * or slot numbers that cannot be, unknown requests) costs the session: ss->lie.
 */
#include "socket/layer.h"
#include "base/util.h"
#include "socket/request.h"
#include <errno.h>
#include <string.h>

static int no_socket(struct stack *s, struct session *ss, const struct cm_sqe *e)
{
	/* A slot whose socket was lost, or that was closed twice: closing leaves it free. */
	if (e->op == CM_CLOSE)
		session_tell(s, ss, e->slot, 0);
	return -EBADF;
}

static int work(
    struct stack *s, struct session *ss, const struct cm_sqe *e, struct cm_cqe *c, bool drain)
{
	const struct request_row *row = &requests[e->op];
	uint32_t sk = NO_INDEX;

	if (row->needs == NEEDS_SOCKET) {
		if (e->slot >= ss->lay.slots) {
			ss->lie = "slot number";
			return -EBADF;
		}
		sk = session_sock(ss, e->slot);
		if (sk == NO_INDEX || !sock_peek(s, sk))
			return no_socket(s, ss, e);
		if (session_poke(s, ss, e->slot, sk) == -EPROTO) {
			if (session_holder(ss, e->slot) != NO_INDEX) {
				share_lie(s, sk);
				return -EBADF;
			}
			ss->lie = "ring positions";
			return -EPROTO;
		}
	}
	if (drain && (e->op == CM_ACCEPT || e->op == CM_GROW))
		return 0;
	return row->fn(s, ss, sk, e, c);
}

/* Entries that may be taken now; sets ss->lie for positions that cannot be. */
static unsigned allowed(struct stack *s, struct session *ss, unsigned budget, bool drain)
{
	const struct session_rec *r = session_peek(s, ss);
	int64_t n = session_waiting(s, ss);
	uint64_t used;

	if (n < 0) {
		ss->lie = "submission position";
		return 0;
	}
	n = min_of(n, (int64_t)budget);
	if (drain || !n)
		return (unsigned)n;
	used = r->cq_prod - load_acquire(&session_header(ss)->cq_cons);
	if (used > CM_CQ_ENTRIES) {
		ss->lie = "completion position";
		return 0;
	}
	n = min_of(n, (int64_t)(CM_CQ_ENTRIES - used));
	return (unsigned)min_of(n, (int64_t)(NEWS_MAX - s->socket->n_news));
}

static void one(struct stack *s, struct session *ss, struct session_rec *r, bool drain)
{
	struct cm_sqe *ring = (struct cm_sqe *)(void *)(ss->mem + ss->lay.sq_off);
	struct cm_cqe *out = (struct cm_cqe *)(void *)(ss->mem + ss->lay.cq_off);
	struct cm_cqe c = {0};
	struct cm_sqe e;

	memcpy(&e, &ring[r->sq_cons & (CM_SQ_ENTRIES - 1)], sizeof(e));
	/* Read once: what is checked below is what is used. */
	__asm__ __volatile__("" ::: "memory");
	box_note(s->box, BOX_REQUEST, ss->index, r->sq_cons);
	r->sq_cons++;
	s->count.requests++;
	if (e.op >= CM_OPS) {
		ss->lie = "unknown request";
		return;
	}
	e.ep.pad = 0;
	c.token = e.token;
	c.res = work(s, ss, &e, &c, drain);
	KILLPOINT("socket.request.worked");
	if (e.op == CM_POKE || drain || ss->lie)
		return;
	memcpy(&out[r->cq_prod & (CM_CQ_ENTRIES - 1)], &c, sizeof(c));
	r->cq_prod++;
}

unsigned session_take(struct stack *s, struct session *ss, unsigned budget, bool drain)
{
	unsigned n = allowed(s, ss, budget, drain), done = 0;
	struct session_rec *r;

	if (n) {
		r = session_get(s, ss);
		if (!r)
			return 0;
		store_release(&session_header(ss)->sq_taken, r->sq_cons + n);
		fence_full();
		for (; done < n && !ss->lie; done++)
			one(s, ss, r, drain);
		LIST_PUT(s->socket, ss, done);
	}
	if (ss->lie) {
		const char *lie = ss->lie;

		ss->lie = NULL;
		if (drain)
			ss->drained = CM_SQ_ENTRIES;
		else
			session_die(s, ss, lie);
		return done + !drain;
	}
	return done;
}
