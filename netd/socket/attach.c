/*
 * From a connection to a session.
 *
 * Order of an attach, each step harmless if the daemon dies right after it:
 *
 *   accept     record CONTROL, the connection deposited; commit
 *   request    peeked: memory and bells made, deposited (SESSION: what the session lives by; ANSWER:
 *              the client's ends of its bells), record ATTACHED; commit
 *   answer     sent with the descriptors; then the request is consumed
 *   release    deposits CONTROL and ANSWER are withdrawn, the client's ends closed here
 *
 * Dead before the commit: deposits without a record, which the successor drops; the request is still
 * in the socket. Dead after it: the successor finds the request repeated, and answers with the same
 * ends, so that it does not matter which of two answers the client believes.
 */
#include "socket/layer.h"
#include "base/log.h"
#include "base/util.h"
#include "proto/channel.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MEMORY_LEAST (16ull << 20)
#define SLOTS_LEAST  16u

/* ---- accept */

/* Whom we cannot take gets to know why; nobody waits for him to read it. */
static void refuse(int conn, int error, const char *why)
{
	Netd__Control__Response a = NETD__CONTROL__RESPONSE__INIT;

	a.error = error;
	a.text = (char *)(uintptr_t)why;
	channel_send(conn, &a.base, NULL, 0);
	close(conn);
}

static int accept_session(struct stack *s, int conn, const struct ucred *peer, const char **why)
{
	struct socket_layer *l = s->socket;
	struct user *u = user_get(l, peer->uid);
	struct session *ss;
	int ret;

	if (!u)
		return -ENOMEM;
	*why = "too many connections";
	ret = session_make(s, u, &ss);
	if (ret) {
		user_put(l, u);
		return ret;
	}
	channel_want_credentials(conn);
	ss->control = conn;
	*session_get(s, ss) = (struct session_rec){.state = SESSION_CONTROL,
	    .uid = peer->uid,
	    .gid = peer->gid,
	    .pid = peer->pid,
	    .since_ns = s->now};
	KILLPOINT("socket.accept.record");
	*why = "no descriptor to be had";
	ret = session_deposit(s, ss);
	KILLPOINT("socket.accept.deposited");
	if (!ret)
		ret = session_watch(s, ss);
	if (ret) {
		ss->control = -1;
		state_free(s->state, KIND_SESSION, ss->index);
		l->env.withdraw(l->env.arg, DEPOSIT_CONTROL, ss->index, ss->gen);
		session_drop(s, ss);
		return ret;
	}
	LIST_PUT(l, ss, ctl);
	return 0;
}

void socket_accept(struct stack *s, int conn)
{
	struct ucred peer = {.pid = 0, .uid = 65534, .gid = 65534};
	socklen_t len = sizeof(peer);
	const char *why = "out of memory";
	int ret;

	if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close(conn);
		return;
	}
	ret = accept_session(s, conn, &peer, &why);
	if (ret)
		refuse(conn, ret, why);
}

int session_deposit(struct stack *s, struct session *ss)
{
	const struct socket_env *env = &s->socket->env;
	int four[4] = {ss->control, ss->memfd, ss->bell, ss->set_bell[0]};
	uint32_t set0 = ss->index * CM_SETS;
	int ret;

	if (ss->memfd < 0)
		return env->deposit(env->arg, DEPOSIT_CONTROL, ss->index, ss->gen, &ss->control, 1);
	/* Of a dead one only the memory is needed, which has its place in the row. */
	if (ss->control < 0) {
		four[0] = ss->memfd;
		return env->deposit(env->arg, DEPOSIT_SESSION, ss->index, ss->gen, four, 2);
	}
	ret = env->deposit(env->arg, DEPOSIT_SESSION, ss->index, ss->gen, four, 4);
	for (uint32_t i = 1; i < CM_SETS && !ret; i++)
		if (ss->set_bell[i] >= 0)
			ret = env->deposit(
			    env->arg, DEPOSIT_WAIT_SET, set0 + i, ss->gen, &ss->set_bell[i], 1);
	if (!ret && ss->client_set >= 0) {
		int ends[3] = {ss->client_set, ss->client_bell, ss->client_control};

		ret = env->deposit(env->arg, DEPOSIT_ANSWER, set0 + ss->client_set_nr, ss->gen, ends,
		    ss->client_bell < 0 ? 1 : ss->client_control < 0 ? 2 : 3);
	}
	return ret;
}

/* ---- attach */

int session_memory(struct session *ss, struct session_rec *r, uint64_t size)
{
	int fd;

	for (;; size /= 2) {
		struct cm_header h;

		if (cm_layout(&h, size, r->slots) < 0 || size < MEMORY_LEAST)
			return -ENOMEM;
		fd = memory_create("netd-client", size);
		if (fd >= 0 || fd == -EMFILE || fd == -ENFILE)
			break;
	}
	if (fd < 0)
		return fd;
	ss->memfd = fd;
	r->memory_size = size;
	return 0;
}

int session_bells(struct session *ss)
{
	int bell[2], set[2], ret = bell_create(bell);

	if (ret)
		return ret;
	ss->bell = bell[0];
	ss->client_bell = bell[1];
	ret = bell_create(set);
	if (ret)
		return ret;
	ss->client_set = set[0];
	ss->client_set_nr = 0;
	ss->set_bell[0] = set[1];
	return 0;
}

/* The client memory before anybody else sees it. */
void session_header_fill(struct stack *s, struct session *ss)
{
	struct cm_header *h = session_header(ss);

	*h = ss->lay;
	h->session = ss->index;
	h->incarnation = world_peek(s) ? world_peek(s)->incarnation : 0;
	h->daemon_sleeps = 1;
}

static void unattach(struct stack *s, struct session *ss, struct session_rec *r)
{
	struct socket_layer *l = s->socket;

	LIST_TAKE(l, ss, active);
	if (ss->mem)
		memory_remove(s->mem, ss->index + 1);
	ss->mem = NULL;
	session_close_fd(&ss->memfd);
	session_unwatch(l, &ss->bell);
	session_close_fd(&ss->client_bell);
	session_close_fd(&ss->client_set);
	session_close_fd(&ss->set_bell[0]);
	r->state = SESSION_CONTROL;
	r->memory_size = 0;
	r->slots = 0;
	r->sets = 0;
	l->env.withdraw(l->env.arg, DEPOSIT_SESSION, ss->index, ss->gen);
	l->env.withdraw(l->env.arg, DEPOSIT_ANSWER, ss->index * CM_SETS, ss->gen);
}

static int build(
    struct stack *s, struct session *ss, struct session_rec *r, uint64_t size, const char **why)
{
	int ret;

	*why = "no memory or descriptor for a session";
	ret = session_memory(ss, r, size);
	if (!ret)
		ret = session_bells(ss);
	if (!ret)
		ret = session_map(s, ss, NULL);
	if (ret)
		return ret;
	session_header_fill(s, ss);
	KILLPOINT("socket.attach.made");
	*why = "the supervisor takes no descriptors";
	ret = session_deposit(s, ss);
	KILLPOINT("socket.attach.deposited");
	return ret ? ret : session_watch(s, ss);
}

/* A name goes into logs and lists: printable characters only. */
static void take_name(struct session_rec *r, const char *name)
{
	memset(r->name, 0, sizeof(r->name));
	for (size_t i = 0; i < sizeof(r->name) - 1 && name[i]; i++)
		r->name[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
}

/* A client with little address space asks for less than it might have. */
static uint64_t memory_wanted(const struct stack *s, uint64_t asked)
{
	uint64_t most = limit_memory(s);

	return asked && asked < most ? max_of(asked & ~(uint64_t)4095, min_of(MEMORY_LEAST, most))
				     : most;
}

int session_attach(
    struct stack *s, struct session *ss, const Netd__Control__Attach *a, const char **why)
{
	struct session_rec *r = session_get(s, ss);
	uint32_t max = limit_slots(s);
	int ret;

	if (!r)
		return -ENOMEM;
	*why = "this connection has attached";
	if (r->state != SESSION_CONTROL)
		return -EISCONN;
	*why = "client library and netd do not fit together";
	if (a->version != CM_VERSION)
		return -EPROTONOSUPPORT;
	r->version = a->version;
	r->slots = a->slots && a->slots < max ? round_up_pow2(max_of(a->slots, SLOTS_LEAST)) : max;
	take_name(r, a->name);
	ret = build(s, ss, r, memory_wanted(s, a->memory), why);
	if (ret) {
		unattach(s, ss, r);
		return ret;
	}
	r->state = SESSION_ATTACHED;
	r->sets = 1;
	s->socket->attached++;
	ss->attached_now = true;
	LIST_PUT(s->socket, ss, done);
	session_activate(s, ss);
	return 0;
}

int session_identify(struct stack *s, struct session *ss, uint32_t keep)
{
	struct session_rec *r = session_get(s, ss);
	struct user *u;

	if (!r)
		return -ENOMEM;
	if (!ss->sender.pid)
		return 0; /* sent before its credentials were asked for: what connect() said holds */
	u = user_get(s->socket, ss->sender.uid);
	if (!u)
		return -ENOMEM;
	if (u != ss->user) {
		u->sessions++;
		ss->user->sessions--;
		u->holders += ss->holders;
		ss->user->holders -= ss->holders;
		memory_charge(s->mem, ss->index + 1, &u->memory);
		user_put(s->socket, ss->user);
		ss->user = u;
	}
	r->kept = policy_rights(s, r) & keep;
	r->pid = ss->sender.pid;
	r->uid = ss->sender.uid;
	r->gid = ss->sender.gid;
	return 0;
}

/* ---- further wait sets */

int session_new_set(struct stack *s, struct session *ss, uint32_t set, const char **why)
{
	const struct socket_env *env = &s->socket->env;
	uint32_t key = ss->index * CM_SETS + set;
	struct session_rec *r = session_get(s, ss);
	int bell[2], ret;

	*why = "no such wait set";
	if (!r || r->state != SESSION_ATTACHED || !set || set >= CM_SETS)
		return -EINVAL;
	session_release_answer(s, ss);
	session_release_ends(s, ss); /* a clone that asks is somebody's: its asker has been answered */
	*why = "no descriptor for a bell";
	ret = bell_create(bell);
	if (ret)
		return ret;
	if (ss->set_bell[set] >= 0) /* the client wants a new bell for an old set */
		env->withdraw(env->arg, DEPOSIT_WAIT_SET, key, ss->gen);
	session_close_fd(&ss->set_bell[set]);
	r->sets |= 1ull << set;
	KILLPOINT("socket.set.made");
	*why = "the supervisor takes no descriptors";
	ret = env->deposit(env->arg, DEPOSIT_WAIT_SET, key, ss->gen, &bell[1], 1);
	KILLPOINT("socket.set.deposited");
	if (!ret)
		ret = env->deposit(env->arg, DEPOSIT_ANSWER, key, ss->gen, &bell[0], 1);
	if (ret) {
		env->withdraw(env->arg, DEPOSIT_WAIT_SET, key, ss->gen);
		r->sets &= ~(1ull << set);
		close(bell[0]);
		close(bell[1]);
		return ret;
	}
	ss->set_bell[set] = bell[1];
	ss->set_rung[set] = 0;
	ss->client_set = bell[0];
	ss->client_set_nr = set;
	return 0;
}

void session_release_ends(struct stack *s, struct session *ss)
{
	const struct socket_env *env = &s->socket->env;

	if (ss->client_set < 0 && ss->client_bell < 0)
		return;
	KILLPOINT("socket.answer.release");
	env->withdraw(env->arg, DEPOSIT_ANSWER, ss->index * CM_SETS + ss->client_set_nr, ss->gen);
	session_close_fd(&ss->client_set);
	session_close_fd(&ss->client_bell);
	session_close_fd(&ss->client_control);
}

/* What a request made for somebody else. The record is not changed: this may be the speak step, and is harmless twice. */
static void release_made(struct stack *s, struct session *ss)
{
	struct session *clone = clone_of(s, ss);

	if (clone && clone != ss && clone->client_control >= 0)
		session_release_ends(s, clone);
	token_release(s, ss);
}

void session_release_answer(struct stack *s, struct session *ss)
{
	release_made(s, ss);
	if (ss->client_control < 0) /* a clone's are part of its asker's answer */
		session_release_ends(s, ss);
}
