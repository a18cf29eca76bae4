/*
 * Clone: a second session for a process that is about to be forked, holding every shared socket of the
 * first in slots of the same numbers. Theory of operation: proto/share.h.
 *
 * It is made as an attach makes a session, over a socket pair of our own; the client's end of it stands with the other
 * ends in DEPOSIT_ANSWER until the asker has consumed its answer, and goes with an asker that will not. From then on it is
 * a client like any other: whoever holds the end is the client, and if nobody does, its end-of-file ends the session.
 */
#include "socket/layer.h"
#include "proto/channel.h"
#include "socket/share.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static int clone_build(struct stack *s, struct session *ss, struct session_rec *r, uint64_t size)
{
	int pair[2], ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ss->control = pair[0];
	ss->client_control = pair[1];
	channel_want_credentials(ss->control);
	ret = session_memory(ss, r, size);
	if (!ret)
		ret = session_bells(ss);
	if (!ret)
		ret = session_map(s, ss, NULL);
	if (ret)
		return ret;
	session_header_fill(s, ss);
	KILLPOINT("socket.clone.made");
	ret = session_deposit(s, ss);
	KILLPOINT("socket.clone.deposited");
	return ret ? ret : session_watch(s, ss);
}

/* The clone holds what the asker holds. */
static int hold_all(struct stack *s, struct session *ss, struct session *clone)
{
	int ret = 0;

	for (uint32_t slot = 0; slot < ss->notes && !ret; slot++) {
		struct cm_slot *m;

		if (session_holder(ss, slot) == NO_INDEX)
			continue;
		m = session_slot(clone, slot);
		for (unsigned i = 0; i < CM_SLOT_SETS; i++)
			m->set[i] = CM_NO_SET;
		m->state = CM_ST_OPEN | CM_ST_SHARED;
		ret = holder_add(s, clone, slot, session_sock(ss, slot), holder_watches(s, session_holder(ss, slot) + 1));
	}
	return ret;
}

static void drop_all(struct stack *s, struct session *clone)
{
	for (uint32_t slot = 0; slot < clone->notes; slot++)
		if (session_holder(clone, slot) != NO_INDEX)
			holder_end(s, clone, slot, false, TELL_NOBODY);
}

int session_clone(struct stack *s, struct session *ss, const char **why)
{
	const struct session_rec *a = session_peek(s, ss);
	struct session *clone;
	struct session_rec *r;
	int ret;

	*why = "not a session";
	if (a->state != SESSION_ATTACHED)
		return -EINVAL;
	*why = "no memory, descriptor or record for another session";
	ret = session_make(s, ss->user, &clone);
	if (ret)
		return ret;
	a = session_peek(s, ss);
	r = session_get(s, clone);
	*r = (struct session_rec){.state = SESSION_ATTACHED, .version = a->version, .uid = a->uid, .gid = a->gid, .kept = a->kept,
	    .pid = a->pid, .slots = a->slots, .sets = 1, .since_ns = s->now};
	memcpy(r->name, a->name, sizeof(r->name));
	ret = clone_build(s, clone, r, a->memory_size);
	if (!ret)
		ret = hold_all(s, ss, clone);
	if (ret) {
		drop_all(s, clone);
		session_unmake(s, clone);
		return ret;
	}
	s->socket->attached++;
	LIST_PUT(s->socket, clone, done);
	session_activate(s, clone);
	r = session_get(s, ss);
	r->made_what = MADE_CLONE;
	r->made = clone->index;
	r->made_gen = clone->gen;
	return 0;
}

struct session *clone_of(const struct stack *s, const struct session *ss)
{
	const struct session_rec *r = session_peek(s, ss);
	struct session *clone = r && r->made_what == MADE_CLONE ? session_at(s, r->made) : NULL;

	return clone && clone->gen == r->made_gen ? clone : NULL;
}

void clones_reindex(struct stack *s)
{
	struct session *ss, *clone;

	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX; i = state_next(s->state, KIND_SESSION, i + 1)) {
		ss = session_at(s, i);
		if (ss && session_peek(s, ss)->state == SESSION_ATTACHED && (clone = clone_of(s, ss)))
			clone->awaited = true;
	}
	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX; i = state_next(s->state, KIND_SESSION, i + 1)) {
		ss = session_at(s, i);
		if (ss && ss->client_control >= 0 && !ss->awaited)
			session_release_ends(s, ss);
	}
}
