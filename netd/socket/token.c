/*
 * Tokens: descriptors whose copies the kernel counts for us. Theory of operation: proto/share.h.
 *
 * Our end is watched: its end-of-file says that the last copy is gone. The client's end stands in a deposit of its
 * own until the asker has consumed its answer (a copy of ours would keep the token alive for ever).
 */
#include "socket/layer.h"
#include "proto/channel.h"
#include "proto/share.h"
#include "socket/share.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct token_ends *ends_of(const struct stack *s, uint32_t t)
{
	return &s->socket->token[t];
}

static void close_end(int *end)
{
	if (*end > 0)
		close(*end - 1);
	*end = 0;
}

static int watch_token(struct stack *s, uint32_t t)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = (uint64_t)WATCH_TOKEN << 32 | t};

	return epoll_ctl(s->socket->epoll, EPOLL_CTL_ADD, ends_of(s, t)->ours - 1, &ev) < 0 && errno != EEXIST ? -errno : 0;
}

static void forget(struct stack *s, uint32_t t)
{
	const struct socket_env *env = &s->socket->env;
	const struct token_rec *r = state_peek(s->state, KIND_TOKEN, t);
	struct token_ends *e = ends_of(s, t);
	uint32_t gen = state_generation(s->state, KIND_TOKEN, t);

	if (e->ours > 0)
		epoll_ctl(s->socket->epoll, EPOLL_CTL_DEL, e->ours - 1, NULL);
	close_end(&e->ours);
	close_end(&e->client);
	if (r)
		state_free(s->state, KIND_TOKEN, t);
	/* Withdrawn before the commit: a successor that finds the record without its deposit does the same again. */
	env->withdraw(env->arg, DEPOSIT_TOKEN, t, gen);
	env->withdraw(env->arg, DEPOSIT_TOKEN_ANSWER, t, gen);
}

static void token_ended(struct stack *s, uint32_t t)
{
	const struct token_rec *r = state_peek(s->state, KIND_TOKEN, t);
	uint32_t sk = r ? r->sk : NO_INDEX;

	if (!r)
		return;
	KILLPOINT("socket.token.ended");
	forget(s, t);
	if (s->socket->sock[sk].tokens)
		s->socket->sock[sk].tokens--;
	share_unheld(s, sk, false);
}

void token_event(struct stack *s, uint32_t t)
{
	char byte;

	if (t >= s->socket->tokens_max || ends_of(s, t)->ours <= 0)
		return;
	/* Nobody has anything to say in a token. */
	while (recv(ends_of(s, t)->ours - 1, &byte, 1, MSG_DONTWAIT) > 0)
		;
	if (recv(ends_of(s, t)->ours - 1, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0 || (errno != EAGAIN && errno != EINTR))
		token_ended(s, t);
}

void tokens_drop(struct stack *s, uint32_t sk)
{
	for (uint32_t t = state_next(s->state, KIND_TOKEN, 0); t != NO_INDEX; t = state_next(s->state, KIND_TOKEN, t + 1)) {
		const struct token_rec *r = state_peek(s->state, KIND_TOKEN, t);

		if (r->sk == sk)
			forget(s, t);
	}
	s->socket->sock[sk].tokens = 0;
}

/* ---- making one */

static int token_pair(struct stack *s, uint32_t t, const struct sock_rec *k, const struct token_rec *r)
{
	struct cm_token m = {.magic = CM_TOKEN_MAGIC, .index = t, .family = k->family, .type = k->type, .protocol = k->protocol};
	int pair[2];

	memcpy(m.secret, r->secret, sizeof(m.secret));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	*ends_of(s, t) = (struct token_ends){.ours = pair[0] + 1, .client = pair[1] + 1};
	return send(pair[0], &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(m) ? 0 : -ENOBUFS;
}

static int token_deposit(struct stack *s, uint32_t t)
{
	const struct socket_env *env = &s->socket->env;
	const struct token_ends *e = ends_of(s, t);
	uint32_t gen = state_generation(s->state, KIND_TOKEN, t);
	int fd = e->ours - 1, ret;

	ret = env->deposit(env->arg, DEPOSIT_TOKEN, t, gen, &fd, 1);
	fd = e->client - 1;
	if (!ret && fd >= 0)
		ret = env->deposit(env->arg, DEPOSIT_TOKEN_ANSWER, t, gen, &fd, 1);
	return ret;
}

int session_token(struct stack *s, struct session *ss, uint32_t slot, const char **why)
{
	uint32_t sk = session_sock(ss, slot), t;
	struct session_rec *a;
	struct token_rec *r;
	int ret;

	*why = "no shared socket in this slot";
	if (session_holder(ss, slot) == NO_INDEX)
		return -EBADF;
	*why = "too many tokens";
	ret = policy_token(s, session_peek(s, ss)->uid);
	if (ret)
		return ret;
	r = state_alloc(s->state, KIND_TOKEN, &t);
	if (!r)
		return -ENFILE;
	*r = (struct token_rec){.sk = sk, .sk_gen = state_generation(s->state, KIND_SOCK, sk), .asker = ss->index, .asker_gen = ss->gen,
	    .uid = session_peek(s, ss)->uid};
	s->random(s->random_arg, r->secret, sizeof(r->secret));
	*why = "no descriptor for a token";
	ret = token_pair(s, t, sock_peek(s, sk), r);
	KILLPOINT("socket.token.made");
	if (!ret)
		ret = token_deposit(s, t);
	KILLPOINT("socket.token.deposited");
	if (!ret)
		ret = watch_token(s, t);
	if (ret) {
		forget(s, t);
		return ret;
	}
	s->socket->sock[sk].tokens++;
	a = session_get(s, ss);
	a->made_what = MADE_TOKEN;
	a->made = t;
	a->made_gen = state_generation(s->state, KIND_TOKEN, t);
	return 0;
}

/* The token that the asker's last request made. */
static bool token_made(const struct stack *s, const struct session *ss, uint32_t *t)
{
	const struct session_rec *a = session_peek(s, ss);

	*t = a ? a->made : 0;
	return a && a->made_what == MADE_TOKEN && state_live(s->state, KIND_TOKEN, *t) &&
	       state_generation(s->state, KIND_TOKEN, *t) == a->made_gen;
}

int token_send(struct stack *s, struct session *ss, Netd__Control__Response *a)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	uint32_t t;
	int fd;

	if (!token_made(s, ss, &t) || ends_of(s, t)->client <= 0) {
		a->error = -EALREADY;
		return channel_send(ss->control, &a->base, NULL, 0);
	}
	fd = ends_of(s, t)->client - 1;
	a->body_case = NETD__CONTROL__RESPONSE__BODY_TOKEN;
	a->token = &empty;
	return channel_send(ss->control, &a->base, &fd, 1);
}

static void release_end(struct stack *s, uint32_t t)
{
	const struct socket_env *env = &s->socket->env;

	if (ends_of(s, t)->client <= 0)
		return;
	close_end(&ends_of(s, t)->client);
	env->withdraw(env->arg, DEPOSIT_TOKEN_ANSWER, t, state_generation(s->state, KIND_TOKEN, t));
}

void token_release(struct stack *s, struct session *ss)
{
	uint32_t t;

	if (token_made(s, ss, &t))
		release_end(s, t);
}

/* ---- joining */

/* Takes the same time whatever is wrong. */
static bool same_secret(const uint8_t *a, const uint8_t *b)
{
	unsigned diff = 0;

	for (unsigned i = 0; i < TOKEN_SECRET; i++)
		diff |= a[i] ^ b[i];
	return !diff;
}

/* The socket that the asker proves to know of, NO_INDEX. */
static uint32_t joined(const struct stack *s, const Netd__Control__Join *q)
{
	const struct token_rec *t = q->watch ? NULL : state_peek(s->state, KIND_TOKEN, q->index);
	struct session *share = q->watch && q->watch->share < s->socket->sessions_max ? session_at(s, q->watch->share) : NULL;
	const struct session_rec *r = share ? session_peek(s, share) : NULL;
	const uint8_t *secret = t ? t->secret : r && r->state == SESSION_SHARE ? r->secret : NULL;
	uint32_t sk;

	if (!secret || q->secret.len != TOKEN_SECRET || !same_secret(q->secret.data, secret))
		return NO_INDEX;
	sk = t ? t->sk : session_sock(share, q->watch->slot);
	return sk != NO_INDEX && share_of(s, sk) ? sk : NO_INDEX;
}

int session_join(struct stack *s, struct session *ss, const Netd__Control__Join *q, const char **why)
{
	uint32_t sk = joined(s, q);
	int ret;

	*why = "no such token or socket";
	if (session_peek(s, ss)->state != SESSION_ATTACHED || sk == NO_INDEX)
		return -ENOENT;
	*why = "the slot is taken, or beyond the last one";
	if (q->slot >= ss->lay.slots || session_sock(ss, q->slot) != NO_INDEX)
		return -EBADF;
	*why = "no record for another holder";
	ret = holder_add(s, ss, q->slot, sk, q->watch != NULL);
	if (!ret) /* of whoever was there before it says nothing any more */
		store_release(&session_slot(ss, q->slot)->state, CM_ST_OPEN | CM_ST_SHARED);
	KILLPOINT("socket.join.held");
	return ret;
}

/* ---- after a restart */

int token_handed(struct stack *s, uint32_t kind, uint32_t t, uint32_t gen, int fd)
{
	struct token_ends *e;
	int *end;

	if (!state_live(s->state, KIND_TOKEN, t) || state_generation(s->state, KIND_TOKEN, t) != gen)
		return 1;
	e = ends_of(s, t);
	end = kind == DEPOSIT_TOKEN ? &e->ours : &e->client;
	close_end(end);
	*end = fd + 1;
	return 0;
}

/* Is there still an asker who may have to be given this token again? */
static bool awaited(const struct stack *s, uint32_t t, const struct token_rec *r)
{
	const struct session *ss = session_at(s, r->asker);
	uint32_t made;

	return ss && ss->gen == r->asker_gen && session_peek(s, ss) && session_peek(s, ss)->state == SESSION_ATTACHED &&
	       token_made(s, ss, &made) && made == t;
}

int tokens_reindex(struct stack *s)
{
	for (uint32_t t = state_next(s->state, KIND_TOKEN, 0); t != NO_INDEX; t = state_next(s->state, KIND_TOKEN, t + 1)) {
		const struct token_rec *r = state_peek(s->state, KIND_TOKEN, t);
		int ret;

		if (ends_of(s, t)->ours <= 0 || !state_live(s->state, KIND_SOCK, r->sk) ||
		    state_generation(s->state, KIND_SOCK, r->sk) != r->sk_gen || !share_of(s, r->sk)) {
			forget(s, t);
			continue;
		}
		if (!awaited(s, t, r))
			release_end(s, t);
		s->socket->sock[r->sk].tokens++;
		ret = watch_token(s, t);
		if (ret)
			return ret;
	}
	return 0;
}

int tokens_redeposit(struct stack *s)
{
	int ret = 0;

	for (uint32_t t = state_next(s->state, KIND_TOKEN, 0); t != NO_INDEX && !ret; t = state_next(s->state, KIND_TOKEN, t + 1))
		ret = token_deposit(s, t);
	return ret;
}

void tokens_exit(struct socket_layer *l)
{
	for (uint32_t t = 0; l->token && t < l->tokens_max; t++) {
		close_end(&l->token[t].ours);
		close_end(&l->token[t].client);
	}
	free(l->token);
}
