/*
 * Holders: the claims of sessions on shared sockets. Theory of operation: proto/share.h.
 *
 * The holders of a socket are a derived list over their records; the slot of each knows its holder.
 * What ends a socket is the last claim's end: of its holders and tokens, whichever goes last. A holder that only watches
 * (an epoll set that another process put the socket into) makes no claim; it goes with the socket.
 */
#include "socket/layer.h"
#include "socket/share.h"
#include <errno.h>

uint32_t session_holder(const struct session *ss, uint32_t slot)
{
	return slot < ss->notes ? ss->note[slot].holder : NO_INDEX;
}

struct session *share_of(const struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct session *ss = k && k->session != NO_INDEX ? session_at(s, k->session) : NULL;
	const struct session_rec *r = ss ? session_peek(s, ss) : NULL;

	return r && r->state == SESSION_SHARE && ss->mem ? ss : NULL;
}

uint32_t holder_first(const struct stack *s, uint32_t sk)
{
	return s->socket->sock[sk].holders;
}

uint32_t holder_next(const struct stack *s, uint32_t h)
{
	return s->socket->next_holder[h - 1];
}

struct session *holder_session(const struct stack *s, uint32_t h, uint32_t *slot)
{
	const struct holder_rec *r = state_peek(s->state, KIND_HOLDER, h - 1);

	*slot = r ? r->slot : 0;
	return r ? session_at(s, r->session) : NULL;
}

bool holder_watches(const struct stack *s, uint32_t h)
{
	const struct holder_rec *r = state_peek(s->state, KIND_HOLDER, h - 1);

	return r && r->watch;
}

bool holder_any(const struct stack *s, uint32_t sk, uint32_t but)
{
	for (uint32_t h = holder_first(s, sk); h; h = holder_next(s, h))
		if (h != but && !holder_watches(s, h))
			return true;
	return false;
}

/* Enters a holder's record into the lists. 0 or -ENOMEM. */
static int link_holder(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk, uint32_t h)
{
	struct socket_layer *l = s->socket;
	int ret = session_set_sock(ss, slot, sk);

	if (ret)
		return ret;
	ss->note[slot].holder = h;
	l->next_holder[h] = l->sock[sk].holders;
	l->sock[sk].holders = h + 1;
	ss->holders++;
	ss->user->holders++;
	return 0;
}

static void unlink_holder(struct stack *s, uint32_t sk, uint32_t h)
{
	uint32_t *at = &s->socket->sock[sk].holders;

	while (*at && *at != h + 1)
		at = &s->socket->next_holder[*at - 1];
	if (*at)
		*at = s->socket->next_holder[h];
}

int holder_add(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk, bool watch)
{
	struct session_rec *r = session_get(s, ss);
	struct holder_rec *rec;
	uint32_t h;
	int ret = policy_holders(s, ss->user, 1);

	if (ret)
		return ret;
	rec = r ? state_alloc(s->state, KIND_HOLDER, &h) : NULL;
	if (!rec)
		return -ENFILE;
	*rec = (struct holder_rec){.sk = sk, .sk_gen = state_generation(s->state, KIND_SOCK, sk), .session = ss->index,
	    .session_gen = ss->gen, .slot = slot, .watch = watch};
	ret = link_holder(s, ss, slot, sk, h);
	if (ret) {
		state_free(s->state, KIND_HOLDER, h);
		return ret;
	}
	if (r->slot_high <= slot)
		r->slot_high = slot + 1;
	sock_changed(s, sk); /* its words go to the new holder too */
	return 0;
}

/* The claim through this slot is over; the socket is not looked at. */
static void drop_holder(struct stack *s, struct session *ss, uint32_t slot, uint32_t tell)
{
	uint32_t h = session_holder(ss, slot);

	unlink_holder(s, session_sock(ss, slot), h);
	state_free(s->state, KIND_HOLDER, h);
	ss->note[slot].holder = NO_INDEX;
	ss->holders--;
	ss->user->holders--;
	session_set_sock(ss, slot, NO_INDEX);
	session_tell(s, ss, slot, tell);
}

void holder_end(struct stack *s, struct session *ss, uint32_t slot, bool killed, uint32_t tell)
{
	uint32_t sk = session_sock(ss, slot);

	drop_holder(s, ss, slot, tell);
	KILLPOINT("socket.holder.end");
	share_unheld(s, sk, killed);
}

/* All of its holders, who learn that it is gone. */
static void drop_holders(struct stack *s, uint32_t sk)
{
	const uint32_t dead = CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP;
	uint32_t h, slot;

	while ((h = holder_first(s, sk))) {
		struct session *ss = holder_session(s, h, &slot);

		drop_holder(s, ss, slot, dead);
	}
}

void share_unheld(struct stack *s, uint32_t sk, bool killed)
{
	struct session *home = share_of(s, sk);

	if (!home || s->socket->sock[sk].tokens || holder_any(s, sk, 0))
		return;
	drop_holders(s, sk);
	KILLPOINT("socket.holder.watchers");
	session_close_sock(s, home, sock_peek(s, sk)->slot, killed, TELL_NOBODY);
}

void share_lie(struct stack *s, uint32_t sk)
{
	const uint32_t dead = CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP;
	struct session *home = share_of(s, sk);
	struct sock_rec *k = sock_get(s, sk);

	s->count.bad_client++;
	drop_holders(s, sk);
	tokens_drop(s, sk);
	if (!home || !k)
		return;
	k->flags |= SOCK_F_LINGER; /* what it wrote cannot be believed: a reset */
	k->linger_s = 0;
	session_close_sock(s, home, k->slot, true, dead);
}

/* ---- after a restart */

static bool holder_valid(struct stack *s, const struct holder_rec *r)
{
	struct session *ss = session_at(s, r->session);
	const struct session_rec *sr = ss && !ss->in_ended ? session_peek(s, ss) : NULL;

	return sr && ss->gen == r->session_gen && (sr->state == SESSION_ATTACHED || sr->state == SESSION_DYING) &&
	       r->slot < ss->lay.slots && session_sock(ss, r->slot) == NO_INDEX &&
	       state_live(s->state, KIND_SOCK, r->sk) &&
	       state_generation(s->state, KIND_SOCK, r->sk) == r->sk_gen && share_of(s, r->sk);
}

int holders_reindex(struct stack *s)
{
	for (uint32_t h = state_next(s->state, KIND_HOLDER, 0); h != NO_INDEX;
	     h = state_next(s->state, KIND_HOLDER, h + 1)) {
		const struct holder_rec *r = state_peek(s->state, KIND_HOLDER, h);
		int ret;

		if (!holder_valid(s, r)) {
			state_free(s->state, KIND_HOLDER, h);
			continue;
		}
		ret = link_holder(s, session_at(s, r->session), r->slot, r->sk, h);
		if (ret)
			return ret;
	}
	return 0;
}
