/*
 * Control requests: peeked, worked, committed, answered, and only then consumed.
 *
 * Theory of operation. A request lies in the socket's own queue until its answer is out, so a dead
 * daemon's successor finds it again. What changes something notes its id and result in the session's
 * record, in the same commit: found again, it is answered and not done again. Questions are answered
 * from the records after the commit. No answer is ever sent blocking: who does not read waits in
 * nobody's way, until the epoll descriptor says that there is room. If it is the kernel that has none (memory,
 * or this user's descriptors under way in sockets), no event will say when that is over: such answers are
 * tried again every RETRY_NS.
 *
 * A client can attach descriptors to a request; nothing here ever receives them (no control buffer),
 * and the kernel closes them when the request is consumed.
 */
#include "socket/layer.h"
#include "base/address.h"
#include "base/util.h"
#include "proto/channel.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 16384 /* bytes */
#define CTL_BUDGET  64	  /* requests a cycle */
#define RETRY_NS    (10 * NSEC_PER_MSEC)

typedef Netd__Control__Request request;

/* Does it change something that is remembered? */
static bool is_change(const request *r)
{
	switch (r->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
	case NETD__CONTROL__REQUEST__BODY_NEW_SET:
	case NETD__CONTROL__REQUEST__BODY_ADDR_ADD:
	case NETD__CONTROL__REQUEST__BODY_ADDR_DEL:
	case NETD__CONTROL__REQUEST__BODY_ROUTE_ADD:
	case NETD__CONTROL__REQUEST__BODY_ROUTE_DEL:
	case NETD__CONTROL__REQUEST__BODY_NEIGH_ADD:
	case NETD__CONTROL__REQUEST__BODY_NEIGH_DEL:
	case NETD__CONTROL__REQUEST__BODY_SHARE:
	case NETD__CONTROL__REQUEST__BODY_CLONE:
	case NETD__CONTROL__REQUEST__BODY_TOKEN:
	case NETD__CONTROL__REQUEST__BODY_JOIN:
	case NETD__CONTROL__REQUEST__BODY_IDENTIFY:
		return true;
	default:
		return false;
	}
}

/* What clients may ask for themselves. False if it is not of that kind. */
static bool client_change(struct stack *s, struct session *ss, const request *r, const char **why, int *ret)
{
	switch (r->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
		*ret = session_attach(s, ss, r->attach, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_NEW_SET:
		*ret = session_new_set(s, ss, r->new_set->set, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_SHARE:
		*ret = session_share(s, ss, r->share, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_CLONE:
		*ret = session_clone(s, ss, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_TOKEN:
		*ret = session_token(s, ss, r->token->slot, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_JOIN:
		*ret = session_join(s, ss, r->join, why);
		return true;
	case NETD__CONTROL__REQUEST__BODY_IDENTIFY:
		*ret = session_identify(s, ss, r->identify->keep);
		return true;
	default:
		return false;
	}
}

static int change(struct stack *s, struct session *ss, const request *r, const char **why)
{
	struct session_rec *rec = session_get(s, ss);
	int ret;

	if (!rec)
		return -ENOMEM;
	if (rec->answered && r->id == rec->ctl_id) {
		*why = "as answered before";
		return rec->ctl_error;
	}
	*why = "request ids must grow";
	if (rec->answered && r->id < rec->ctl_id)
		return -EINVAL;
	if (client_change(s, ss, r, why, &ret)) {
		rec = session_get(s, ss);
	} else if (!policy_admin(s, rec->uid)) {
		*why = "only an administrator may change the network";
		ret = -EPERM;
	} else {
		ret = admin_change(s, r, why);
	}
	rec->answered = 1;
	rec->ctl_id = r->id;
	rec->ctl_error = ret;
	KILLPOINT("socket.control.worked");
	return ret;
}

static int question(struct stack *s, struct session *ss, const request *r, const char **why)
{
	if (r->body_case == NETD__CONTROL__REQUEST__BODY_SUCCEED) {
		*why = "only root, or the user whom netd runs as, may take it over";
		return s->socket->env.succession && policy_owner(&ss->sender) ? 0 : -EPERM;
	}
	if (r->body_case == NETD__CONTROL__REQUEST__BODY__NOT_SET) {
		*why = "unknown request";
		return -EOPNOTSUPP;
	}
	if (r->body_case != NETD__CONTROL__REQUEST__BODY_KILL_POINT || !*r->kill_point->name)
		return 0;
	*why = "only an administrator may kill";
	if (!policy_admin(s, session_peek(s, ss)->uid))
		return -EPERM;
	*why = "no such kill point, or a build without them";
	return killpoint_check(r->kill_point->name);
}

/*
 * The length of the next request, or what recv() says; who sent it goes into ss->sender. There is room for
 * credentials and nothing else: descriptors beside a request are never received.
 */
static ssize_t peek(struct session *ss, uint8_t *buf)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = REQUEST_MAX};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf)};
	ssize_t n = recvmsg(ss->control, &mh, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&mh) : NULL;

	memset(&ss->sender, 0, sizeof(ss->sender));
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(ss->sender)))
		memcpy(&ss->sender, CMSG_DATA(c), sizeof(ss->sender));
	return n;
}

/* Looks for a request and works it. False if there is none. */
static bool take_request(struct stack *s, struct session *ss)
{
	struct socket_layer *l = s->socket;
	ssize_t n = peek(ss, l->buf);
	const struct session_rec *rec = session_peek(s, ss);
	request *r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		/* Nothing is asked again: whatever was answered has been consumed. */
		session_release_answer(s, ss);
		return false;
	}
	if (n <= 0) {
		session_die(s, ss, NULL);
		return false;
	}
	r = n > REQUEST_MAX ? NULL : netd__control__request__unpack(NULL, (size_t)n, l->buf);
	if (!r) {
		session_die(s, ss, "malformed control request");
		return false;
	}
	if (!(rec->answered && rec->ctl_id == r->id && is_change(r)))
		session_release_answer(s, ss);
	box_note(s->box, BOX_CONTROL, ss->index, 0);
	ss->request = r;
	ss->ctl_text = "";
	ss->ctl_error =
	    is_change(r) ? change(s, ss, r, &ss->ctl_text) : question(s, ss, r, &ss->ctl_text);
	return true;
}

unsigned control_work(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;
	unsigned n = 0;

	for (ss = TAILQ_FIRST(&l->ctl); ss && n < CTL_BUDGET; ss = next) {
		next = TAILQ_NEXT(ss, ctl);
		LIST_TAKE(l, ss, ctl);
		n++;
		if (!ss->request && take_request(s, ss))
			LIST_PUT(l, ss, answers);
	}
	return n;
}

/* ---- answers */

static void add_pass_through(const Netd__Component__Config *c, Netd__Control__Attached *a,
    Netd__Control__PassThrough *row, Netd__Control__PassThrough **rows, struct ipaddr *addr,
    size_t max)
{
	for (size_t i = 0; i < c->n_pass_through && a->n_pass_through < max; i++) {
		size_t n = a->n_pass_through;

		if (address_parse(c->pass_through[i]->address, &addr[n]) < 0)
			continue;
		row[n] = (Netd__Control__PassThrough)NETD__CONTROL__PASS_THROUGH__INIT;
		row[n].addr = (ProtobufCBinaryData){sizeof(addr[n].b), addr[n].b};
		row[n].port = c->pass_through[i]->port;
		rows[n] = &row[n];
		a->n_pass_through++;
	}
	a->pass_through = rows;
}

#define PASS_MAX 64

/* `ss` as its client gets it, over the connection of `to`: itself, or whoever asked for a clone. */
static int send_attached(struct stack *s, struct session *ss, struct session *to, Netd__Control__Response *a)
{
	const struct socket_env *env = &s->socket->env;
	const Netd__Component__Config *c = env->config ? env->config(env->arg) : NULL;
	Netd__Control__PassThrough row[PASS_MAX], *rows[PASS_MAX];
	struct ipaddr addr[PASS_MAX];
	Netd__Control__Attached at = NETD__CONTROL__ATTACHED__INIT;
	int fds[4] = {ss ? ss->client_control : -1, ss ? ss->memfd : -1, ss ? ss->client_bell : -1, ss ? ss->client_set : -1};
	bool clone = ss != to;

	if (!ss || ss->client_bell < 0 || ss->client_set < 0 || (clone && ss->client_control < 0)) {
		/* Its ends were given up because the answer was consumed once: asking twice is no use. */
		a->error = -EALREADY;
		a->text = (char *)(uintptr_t) "answered before";
		return channel_send(to->control, &a->base, NULL, 0);
	}
	at.version = CM_VERSION;
	at.session = ss->index;
	at.memory_size = ss->lay.size;
	if (c) {
		add_pass_through(c, &at, row, rows, addr, PASS_MAX);
		at.n_name_servers = c->n_name_server;
		at.name_servers = c->name_server;
	}
	a->body_case = clone ? NETD__CONTROL__RESPONSE__BODY_CLONED : NETD__CONTROL__RESPONSE__BODY_ATTACHED;
	if (clone)
		a->cloned = &at;
	else
		a->attached = &at;
	return channel_send(to->control, &a->base, clone ? fds : fds + 1, 3 + clone);
}

static int send_set(struct session *ss, const request *r, Netd__Control__Response *a)
{
	Netd__Control__SetReady ready = NETD__CONTROL__SET_READY__INIT;

	if (ss->client_set < 0 || ss->client_set_nr != r->new_set->set) {
		a->error = -EALREADY;
		a->text = (char *)(uintptr_t) "answered before";
		return channel_send(ss->control, &a->base, NULL, 0);
	}
	ready.set = r->new_set->set;
	a->body_case = NETD__CONTROL__RESPONSE__BODY_SET_READY;
	a->set_ready = &ready;
	return channel_send(ss->control, &a->base, &ss->client_set, 1);
}

static int send_succession(struct stack *s, struct session *ss, Netd__Control__Response *a)
{
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	int fd = s->socket->env.succession(s->socket->env.arg), ret;

	if (fd < 0) {
		a->error = fd;
		a->text = (char *)(uintptr_t)(fd == -EBUSY ? "its supervisor lives" : "it cannot be handed over now");
		return channel_send(ss->control, &a->base, NULL, 0);
	}
	a->body_case = NETD__CONTROL__RESPONSE__BODY_SUCCESSION;
	a->succession = &empty;
	ret = channel_send(ss->control, &a->base, &fd, 1);
	close(fd);
	return ret;
}

static int send_answer(struct stack *s, struct session *ss)
{
	const request *r = ss->request;
	Netd__Control__Response a = NETD__CONTROL__RESPONSE__INIT;

	a.id = r->id;
	a.error = ss->ctl_error;
	if (a.error)
		a.text = (char *)(uintptr_t)ss->ctl_text;
	if (a.error)
		return channel_send(ss->control, &a.base, NULL, 0);
	switch (r->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
		return send_attached(s, ss, ss, &a);
	case NETD__CONTROL__REQUEST__BODY_CLONE:
		return send_attached(s, clone_of(s, ss), ss, &a);
	case NETD__CONTROL__REQUEST__BODY_NEW_SET:
		return send_set(ss, r, &a);
	case NETD__CONTROL__REQUEST__BODY_SHARE:
		return share_send(s, ss, r->share->slot, r->share->n_slot, &a, false);
	case NETD__CONTROL__REQUEST__BODY_JOIN:
		return share_send(s, ss, &r->join->slot, 1, &a, true);
	case NETD__CONTROL__REQUEST__BODY_TOKEN:
		return token_send(s, ss, &a);
	case NETD__CONTROL__REQUEST__BODY_SUCCEED:
		return send_succession(s, ss, &a);
	default:
		return is_change(r) ? channel_send(ss->control, &a.base, NULL, 0) : tables_answer(s, ss->control, r, &a);
	}
}

/* The answer is out: the request goes, and with it the ends that only the answer needed. */
static void finish(struct stack *s, struct session *ss)
{
	request *r = ss->request;
	uint8_t byte;

	KILLPOINT("socket.control.answered");
	ss->request = NULL;
	if (recv(ss->control, &byte, 1, MSG_DONTWAIT) < 0)
		LIST_PUT(s->socket, ss, ctl); /* its end, which the next look finds */
	KILLPOINT("socket.control.consumed");
	session_release_answer(s, ss);
	if (r->body_case == NETD__CONTROL__REQUEST__BODY_KILL_POINT && !ss->ctl_error &&
	    *r->kill_point->name && r->kill_point->countdown)
		killpoint_arm(r->kill_point->name, r->kill_point->countdown);
	netd__control__request__free_unpacked(r, NULL);
	LIST_PUT(s->socket, ss, ctl);
}

static void starve(struct stack *s, struct session *ss)
{
	struct socket_layer *l = s->socket;

	if (TAILQ_EMPTY(&l->starved))
		l->starved_until = s->now + RETRY_NS;
	LIST_PUT(l, ss, starved);
}

unsigned control_retry(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss;
	unsigned n = 0;

	if (s->now < l->starved_until)
		return 0;
	for (; (ss = TAILQ_FIRST(&l->starved)); n++) {
		LIST_TAKE(l, ss, starved);
		LIST_PUT(l, ss, answers);
	}
	return n;
}

void control_speak(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;

	for (ss = TAILQ_FIRST(&l->answers); ss; ss = next) {
		int ret = send_answer(s, ss);

		next = TAILQ_NEXT(ss, answers);
		LIST_TAKE(l, ss, answers);
		if (ret == -EAGAIN)
			ss->blocked = true;
		else if (channel_starved(ret))
			starve(s, ss);
		else
			finish(s, ss); /* also if nobody can be told: then the end comes next */
	}
}
