/*
 * After a restart: records and deposits find each other again.
 *
 * Theory of operation. The session's record says what it is; its deposits hold what a record cannot:
 * descriptors. A deposit whose record does not exist (any more, or not yet: its cycle died before the
 * commit) is dropped; a record without its deposit is a session that cannot be reached any more: its
 * sockets are closed as if it had been killed. Which sockets a session has stands in the sockets'
 * records. All changes made here wait for the first commit, and can be made again.
 *
 * A connection or bell that is watched anew reports at once what came in the meantime: requests, or
 * the end of a client that died while nobody looked.
 */
#include "socket/layer.h"
#include "base/log.h"
#include "proto/channel.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void drop_fds(int *fds, int nfds)
{
	for (int i = 0; i < nfds; i++)
		session_close_fd(&fds[i]);
}

static void drop_map(const int *fds, int nfds, void *map)
{
	struct stat st;

	if (map && nfds > 1 && !fstat(fds[1], &st))
		munmap(map, (size_t)st.st_size);
}

static void take(int *to, int *from)
{
	session_close_fd(to);
	*to = *from;
	*from = -1;
}

/* The session that a deposit belongs to, made at its first deposit; NULL if there is no such record. */
static struct session *owner(struct stack *s, uint32_t index, uint32_t gen)
{
	struct session *ss = session_at(s, index);

	if (!state_live(s->state, KIND_SESSION, index) ||
	    state_generation(s->state, KIND_SESSION, index) != gen)
		return NULL;
	return ss ? ss : session_new(s, index, gen);
}

/* Returns 1 if the deposit is of no use any more. */
static int hand_session(struct stack *s, struct session *ss, int *fds, int nfds, void **premapped)
{
	const struct session_rec *r = session_peek(s, ss);
	struct stat st;
	int ret;

	if (r->state == SESSION_CONTROL || nfds < 2 || ss->mem)
		return 1;
	if (fstat(fds[1], &st) < 0 || (uint64_t)st.st_size != r->memory_size)
		return -EPROTO;
	take(&ss->memfd, &fds[1]);
	ret = session_map(s, ss, *premapped);
	*premapped = NULL;
	if (ret < 0)
		return ret;
	if (r->state != SESSION_ATTACHED) {
		if (r->state != SESSION_SHARE)
			shutdown(fds[0], SHUT_RDWR); /* if it was thrown out and not told */
		return 0;
	}
	if (nfds < 4)
		return -EPROTO;
	take(&ss->control, &fds[0]);
	take(&ss->bell, &fds[2]);
	take(&ss->set_bell[0], &fds[3]);
	return 0;
}

static int hand(struct stack *s, struct session *ss, uint32_t kind, uint32_t set, int *fds,
    int nfds, void **premapped)
{
	const struct session_rec *r = session_peek(s, ss);

	if (nfds < 1)
		return 1;
	switch (kind) {
	case DEPOSIT_SESSION:
		return hand_session(s, ss, fds, nfds, premapped);
	case DEPOSIT_CONTROL:
		if (r->state != SESSION_CONTROL)
			return 1;
		take(&ss->control, &fds[0]);
		return 0;
	case DEPOSIT_WAIT_SET:
		if (r->state != SESSION_ATTACHED || !(r->sets >> set & 1))
			return 1;
		take(&ss->set_bell[set], &fds[0]);
		return 0;
	case DEPOSIT_ANSWER:
		if (r->state != SESSION_ATTACHED || !(r->sets >> set & 1))
			return 1;
		ss->client_set_nr = set;
		take(&ss->client_set, &fds[0]);
		if (nfds > 1)
			take(&ss->client_bell, &fds[1]);
		if (nfds > 2)
			take(&ss->client_control, &fds[2]);
		return 0;
	default:
		return 1;
	}
}

int socket_handed(struct stack *s, uint32_t kind, uint32_t index, uint32_t gen, int *fds, int nfds,
    void *premapped)
{
	const struct socket_env *env = &s->socket->env;
	bool of_set = kind == DEPOSIT_WAIT_SET || kind == DEPOSIT_ANSWER;
	bool token = kind == DEPOSIT_TOKEN || kind == DEPOSIT_TOKEN_ANSWER;
	struct session *ss = token ? NULL : owner(s, of_set ? index / CM_SETS : index, gen);
	int ret = ss ? hand(s, ss, kind, of_set ? index % CM_SETS : 0, fds, nfds, &premapped) : 1;

	if (token && nfds > 0 && !(ret = token_handed(s, kind, index, gen, fds[0])))
		fds[0] = -1;
	drop_map(fds, nfds, premapped);
	drop_fds(fds, nfds);
	KILLPOINT("socket.handed");
	if (ret)
		env->withdraw(env->arg, kind, index, gen);
	return ret == 1 ? 0 : ret;
}

/* ---- reindex */

/* Has it what its state needs? */
static bool complete(const struct session *ss, const struct session_rec *r)
{
	switch (r->state) {
	case SESSION_CONTROL:
		return ss->control >= 0;
	case SESSION_ATTACHED:
		return ss->control >= 0 && ss->mem && ss->bell >= 0;
	case SESSION_DYING:
	case SESSION_DEAD:
	case SESSION_SHARE:
		return ss->mem;
	default:
		return false;
	}
}

static int revive(struct stack *s, struct session *ss, const struct session_rec *r)
{
	struct socket_layer *l = s->socket;

	switch (r->state) {
	case SESSION_ATTACHED:
		l->attached++;
		session_activate(s, ss);
		/* fall through */
	case SESSION_CONTROL:
		LIST_PUT(l, ss, ctl);
		return session_watch(s, ss);
	case SESSION_DYING:
		LIST_PUT(l, ss, dying);
		return 0;
	default:
		LIST_PUT(l, ss, done);
		return 0;
	}
}

/* With its memory it can still be closed in order; without, its sockets are reset (reindex_sock). */
static void lose(struct stack *s, uint32_t index)
{
	struct socket_layer *l = s->socket;
	struct session *ss = session_at(s, index);
	struct session_rec *r = state_get(s->state, KIND_SESSION, index);

	if (!r)
		return;
	log_warn("session %u (pid %d): its descriptors are lost, it is closed", index, (int)r->pid);
	if (ss)
		ss->hangup = true;
	if (ss && ss->user && ss->mem) {
		r->state = SESSION_DYING;
		r->thrown = 1;
		LIST_PUT(l, ss, dying);
		LIST_PUT(l, ss, done);
		return;
	}
	if (ss)
		LIST_PUT(l, ss, ended);
	state_free(s->state, KIND_SESSION, index);
}

static int reindex_sessions(struct stack *s)
{
	struct socket_layer *l = s->socket;
	int ret = 0;

	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX && !ret;
	     i = state_next(s->state, KIND_SESSION, i + 1)) {
		struct session *ss = session_at(s, i);
		const struct session_rec *r = state_peek(s->state, KIND_SESSION, i);

		if (ss && !ss->user && (ss->user = user_get(l, r->uid)))
			ss->user->sessions++;
		if (!ss || !ss->user || !complete(ss, r)) {
			lose(s, i);
			continue;
		}
		session_charge(s, ss);
		ret = revive(s, ss, r);
		KILLPOINT("socket.reindex.session");
	}
	return ret;
}

/* The owner of a socket, if it can have it. */
static struct session *holder(struct stack *s, const struct sock_rec *k)
{
	struct session *ss = session_at(s, k->session);
	const struct session_rec *r = ss && !ss->in_ended ? session_peek(s, ss) : NULL;

	if (!r || ss->gen != k->session_gen || r->state == SESSION_CONTROL ||
	    r->state == SESSION_DEAD || k->slot >= ss->lay.slots ||
	    session_sock(ss, k->slot) != NO_INDEX)
		return NULL;
	return ss;
}

static struct session *memory_holder(const struct stack *s, const struct sock_rec *k)
{
	uint32_t mem = k->tx.cap ? k->tx.mem : k->rx.cap ? k->rx.mem : 0;

	return mem ? session_at(s, mem - 1) : NULL;
}

static int reindex_sock(struct stack *s, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct session *ss;
	bool lost;

	if (k->session == NO_INDEX) {
		if (k->flags & SOCK_F_ORPHAN)
			socket_charge(s, sk, memory_holder(s, k), k->uid);
		return 0;
	}
	ss = holder(s, k);
	s->socket->sock[sk].listens = !!(k->flags & SOCK_F_LISTEN);
	if (ss) {
		int ret = session_set_sock(ss, k->slot, sk);

		if (!ret)
			socket_charge(s, sk, ss, k->uid);
		return ret;
	}
	lost = !memory_base(s->mem, k->session + 1);
	death_orphan(s, sk, lost);
	KILLPOINT("socket.reindex.lost");
	return 0;
}

/* Sockets in shares of which nobody was found to hold them. */
static void end_unheld(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SESSION, i + 1)) {
		struct session *ss = session_at(s, i);

		if (!ss || state_peek(s->state, KIND_SESSION, i) == NULL ||
		    session_peek(s, ss)->state != SESSION_SHARE)
			continue;
		for (uint32_t slot = 0; slot < ss->notes; slot++)
			if (session_sock(ss, slot) != NO_INDEX)
				share_unheld(s, session_sock(ss, slot), true);
	}
}

/* A share whose last socket went together with the daemon. */
static void end_empty_shares(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SESSION, i + 1)) {
		const struct session_rec *r = state_peek(s->state, KIND_SESSION, i);
		struct session *ss = session_at(s, i);

		if (!ss || r->state != SESSION_SHARE || ss->socks)
			continue;
		session_get(s, ss)->state = SESSION_DEAD;
		LIST_PUT(s->socket, ss, done);
	}
}

int socket_reindex(struct stack *s)
{
	int ret;

	KILLPOINT("socket.reindex.begin");
	ret = reindex_sessions(s);
	for (uint32_t sk = state_next(s->state, KIND_SOCK, 0); sk != NO_INDEX && !ret;
	     sk = state_next(s->state, KIND_SOCK, sk + 1))
		ret = reindex_sock(s, sk);
	clones_reindex(s);
	if (!ret)
		ret = holders_reindex(s);
	if (!ret)
		ret = tokens_reindex(s);
	if (!ret) {
		end_unheld(s);
		end_empty_shares(s);
	}
	KILLPOINT("socket.reindex.end");
	return ret;
}

int socket_redeposit(struct stack *s)
{
	int ret = 0;

	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX && !ret;
	     i = state_next(s->state, KIND_SESSION, i + 1)) {
		struct session *ss = session_at(s, i);

		if (ss && !ss->in_ended)
			ret = session_deposit(s, ss);
	}
	return ret ? ret : tokens_redeposit(s);
}
