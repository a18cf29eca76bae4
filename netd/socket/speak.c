/*
 * The speak step: what a commit made true is told, in this order: slots, completions, control
 * answers; then what is over is given up (descriptors, memories). Telling twice is harmless: after a
 * restart everything is told to everybody.
 */
#include "socket/layer.h"
#include "proto/channel.h"
#include <sys/socket.h>

/* Publishes how far the request rings are. Returns true if the client may sleep on completions. */
static bool put_cursors(struct stack *s, struct session *ss, bool all)
{
	const struct session_rec *r = session_peek(s, ss);
	struct cm_header *h = session_header(ss);
	bool news = all || load_once(&h->cq_prod) != r->cq_prod;

	store_release(&h->cq_prod, r->cq_prod);
	KILLPOINT("socket.speak.completions");
	store_release(&h->sq_cons, r->sq_cons);
	if (all)
		store_once(&h->sq_taken, r->sq_cons);
	if (news)
		store_release(&h->cq_seq, load_once(&h->cq_seq) + 1);
	return news;
}

static void hang_up(struct stack *s, struct session *ss)
{
	const struct socket_env *env = &s->socket->env;

	KILLPOINT("socket.speak.hangup");
	ss->hangup = false;
	session_release_answer(s, ss);
	session_release_ends(s, ss);
	for (uint32_t i = 1; i < CM_SETS; i++)
		if (ss->set_bell[i] >= 0)
			env->withdraw(env->arg, DEPOSIT_WAIT_SET, ss->index * CM_SETS + i, ss->gen);
	if (ss->control >= 0) /* escrow holds a duplicate: closing would not be seen */
		shutdown(ss->control, SHUT_RDWR);
	session_unwatch(s->socket, &ss->control);
	session_unwatch(s->socket, &ss->bell);
	for (uint32_t i = 0; i < CM_SETS; i++)
		session_close_fd(&ss->set_bell[i]);
}

static void speak_session(struct stack *s, struct session *ss)
{
	const struct socket_env *env = &s->socket->env;

	if (ss->attached_now) {
		ss->attached_now = false;
		env->withdraw(env->arg, DEPOSIT_CONTROL, ss->index, ss->gen);
		KILLPOINT("socket.speak.attached");
	}
	if (ss->hangup && !ss->in_ended)
		hang_up(s, ss);
	session_charge(s, ss);
	death_check(s, ss);
}

static void bury_ended(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;

	for (ss = TAILQ_FIRST(&l->ended); ss; ss = next) {
		uint32_t kind = ss->memfd >= 0 ? DEPOSIT_SESSION : DEPOSIT_CONTROL;

		next = TAILQ_NEXT(ss, ended);
		if (state_live(s->state, KIND_SESSION, ss->index))
			continue; /* this cycle's discovery: the next one frees it */
		if (ss->hangup)
			hang_up(s, ss);
		KILLPOINT("socket.speak.ended");
		l->env.withdraw(l->env.arg, kind, ss->index, ss->gen);
		session_drop(s, ss);
	}
}

void socket_speak(struct stack *s, bool all)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;

	KILLPOINT("socket.speak.begin");
	if (all)
		publish_everything(s);
	publish_changed(s);
	KILLPOINT("socket.speak.slots");
	/* Completions after the slots they speak of; one fence for all the words that ask "do you sleep?". */
	TAILQ_FOREACH(ss, &l->done, done)
	ss->cq_news = ss->mem && session_peek(s, ss) && put_cursors(s, ss, all);
	if (!TAILQ_EMPTY(&l->done))
		fence_full();
	for (ss = TAILQ_FIRST(&l->done); ss; ss = next) {
		next = TAILQ_NEXT(ss, done);
		LIST_TAKE(l, ss, done);
		if (ss->cq_news && load_once(&session_header(ss)->cq_want))
			publish_wake(&session_header(ss)->cq_seq);
		speak_session(s, ss);
	}
	KILLPOINT("socket.speak.sessions");
	control_speak(s);
	bury_ended(s);
	KILLPOINT("socket.speak.end");
}
