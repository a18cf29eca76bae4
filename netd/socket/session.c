/*
 * Sessions: the private table, the lists, the active set, the epoll descriptor.
 *
 * Theory of operation. A session in the active set is polled at every gather: its "ring me" word
 * (daemon_sleeps) is 0 and a busy client makes no system call. After some looks that found nothing
 * the word is set, a full fence executed, the ring looked at once more, and the session leaves the
 * set; from then on the client rings its bell, whose edge in the epoll descriptor brings the session
 * back. Before the daemon sleeps, all that are left do the same.
 *
 * A bell's edge is worth one read: whatever was in the pipe is thrown away. One read is enough,
 * because it makes room, and the next byte is a new edge; a client that fills its pipe in a loop
 * costs one read a look and nothing more.
 */
#include "socket/layer.h"
#include "base/util.h"
#include "proto/channel.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define EMPTY_LOOKS 256 /* without any work until a session is left to its bell */
#define EVENTS	    64
#define LOOK_ROUNDS 16
#define TAKE_MAX    64 /* entries a session in one go, so that all get their turn */

int socket_layer_init(struct stack *s, const struct socket_env *env)
{
	struct socket_layer *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->env = *env;
	TAILQ_INIT(&l->active);
	TAILQ_INIT(&l->ctl);
	TAILQ_INIT(&l->answers);
	TAILQ_INIT(&l->starved);
	TAILQ_INIT(&l->dying);
	TAILQ_INIT(&l->done);
	TAILQ_INIT(&l->ended);
	l->sessions_max = state_capacity(s->state, KIND_SESSION);
	l->socks_max = state_capacity(s->state, KIND_SOCK);
	l->session = calloc(l->sessions_max, sizeof(*l->session));
	l->sock = calloc(l->socks_max, sizeof(*l->sock));
	l->next_holder = calloc(state_capacity(s->state, KIND_HOLDER), sizeof(*l->next_holder));
	l->tokens_max = state_capacity(s->state, KIND_TOKEN);
	l->token = calloc(l->tokens_max, sizeof(*l->token));
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->socket = l;
	if (!l->session || !l->sock || !l->next_holder || !l->token || l->epoll < 0) {
		socket_layer_exit(s);
		return -ENOMEM;
	}
	return 0;
}

void socket_layer_exit(struct stack *s)
{
	struct socket_layer *l = s->socket;

	if (!l)
		return;
	for (uint32_t i = 0; l->session && i < l->sessions_max; i++)
		if (l->session[i])
			session_drop(s, l->session[i]);
	for (unsigned i = 0; i < USER_BUCKETS; i++) {
		struct user *u;

		while ((u = LIST_FIRST(&l->user[i]))) {
			LIST_REMOVE(u, link);
			free(u);
		}
	}
	session_close_fd(&l->epoll);
	tokens_exit(l);
	free(l->session);
	free(l->sock);
	free(l->next_holder);
	free(l);
	s->socket = NULL;
}

void session_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void session_unwatch(struct socket_layer *l, int *fd)
{
	if (*fd >= 0)
		epoll_ctl(l->epoll, EPOLL_CTL_DEL, *fd, NULL);
	session_close_fd(fd);
}

struct session *session_at(const struct stack *s, uint32_t index)
{
	return index < s->socket->sessions_max ? s->socket->session[index] : NULL;
}

struct session *session_new(struct stack *s, uint32_t index, uint32_t gen)
{
	struct socket_layer *l = s->socket;
	struct session *ss;

	if (index >= l->sessions_max || l->session[index])
		return NULL;
	ss = calloc(1, sizeof(*ss));
	if (!ss)
		return NULL;
	ss->index = index;
	ss->gen = gen;
	ss->control = ss->memfd = ss->bell = ss->client_bell = ss->client_set = ss->client_control = -1;
	for (unsigned i = 0; i < CM_SETS; i++)
		ss->set_bell[i] = -1;
	l->session[index] = ss;
	return ss;
}

int session_make(struct stack *s, struct user *u, struct session **out)
{
	struct session_rec *r;
	uint32_t index;
	int ret = policy_session(s, u);

	if (ret)
		return ret;
	r = state_alloc(s->state, KIND_SESSION, &index);
	if (!r)
		return -EMFILE;
	*out = session_new(s, index, state_generation(s->state, KIND_SESSION, index));
	if (!*out) {
		state_free(s->state, KIND_SESSION, index);
		return -ENOMEM;
	}
	(*out)->user = u;
	u->sessions++;
	return 0;
}

void session_unmake(struct stack *s, struct session *ss)
{
	const struct socket_env *env = &s->socket->env;

	state_free(s->state, KIND_SESSION, ss->index);
	env->withdraw(env->arg, DEPOSIT_SESSION, ss->index, ss->gen);
	env->withdraw(env->arg, DEPOSIT_ANSWER, ss->index * CM_SETS, ss->gen);
	session_drop(s, ss);
}

static void leave_lists(struct socket_layer *l, struct session *ss)
{
	LIST_TAKE(l, ss, active);
	LIST_TAKE(l, ss, ctl);
	LIST_TAKE(l, ss, answers);
	LIST_TAKE(l, ss, starved);
	LIST_TAKE(l, ss, dying);
	LIST_TAKE(l, ss, done);
	LIST_TAKE(l, ss, ended);
}

void session_drop(struct stack *s, struct session *ss)
{
	struct socket_layer *l = s->socket;

	leave_lists(l, ss);
	if (ss->mem) {
		if (memory_base(s->mem, ss->index + 1) == ss->mem)
			memory_remove(s->mem, ss->index + 1);
		else
			munmap(ss->mem, ss->lay.size);
	}
	session_unwatch(l, &ss->control);
	session_unwatch(l, &ss->bell);
	session_close_fd(&ss->memfd);
	session_close_fd(&ss->client_bell);
	session_close_fd(&ss->client_set);
	session_close_fd(&ss->client_control);
	for (unsigned i = 0; i < CM_SETS; i++)
		session_close_fd(&ss->set_bell[i]);
	if (ss->request)
		netd__control__request__free_unpacked(ss->request, NULL);
	if (ss->user) {
		ss->user->sessions--;
		ss->user->holders -= ss->holders;
		user_put(l, ss->user);
	}
	l->session[ss->index] = NULL;
	free(ss->note);
	free(ss);
}

int session_map(struct stack *s, struct session *ss, void *premapped)
{
	const struct session_rec *r = session_peek(s, ss);
	int ret;

	if (!r || cm_layout(&ss->lay, r->memory_size, r->slots) < 0)
		return -EPROTO;
	ss->mem =
	    premapped ? premapped : memory_map(ss->memfd, r->memory_size, PROT_READ | PROT_WRITE);
	if (!ss->mem)
		return -errno;
	ret = memory_add(s->mem, ss->index + 1, ss->mem, ss->lay.size, ss->lay.heap_off);
	if (ret < 0) {
		munmap(ss->mem, ss->lay.size);
		ss->mem = NULL;
	}
	return ret;
}

static int watch(struct socket_layer *l, int fd, uint32_t index, enum watched what, uint32_t events)
{
	struct epoll_event ev = {
	    .events = events | EPOLLET, .data.u64 = (uint64_t)what << 32 | index};

	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 && errno != EEXIST ? -errno : 0;
}

int session_watch(struct stack *s, struct session *ss)
{
	int ret = watch(
	    s->socket, ss->control, ss->index, WATCH_CONTROL, EPOLLIN | EPOLLOUT | EPOLLRDHUP);

	if (!ret && ss->bell >= 0)
		ret = watch(s->socket, ss->bell, ss->index, WATCH_BELL, EPOLLIN);
	return ret;
}

int socket_epoll_fd(const struct stack *s)
{
	return s->socket->epoll;
}

/* ---- the active set */

void session_activate(struct stack *s, struct session *ss)
{
	const struct session_rec *r = session_peek(s, ss);

	if (ss->in_active || !ss->mem || !r || r->state != SESSION_ATTACHED)
		return;
	ss->empty_looks = 0;
	store_once(&session_header(ss)->daemon_sleeps, 0);
	LIST_PUT(s->socket, ss, active);
}

int64_t session_waiting(const struct stack *s, const struct session *ss)
{
	uint64_t prod = load_acquire(&session_header(ss)->sq_prod);

	return ring_avail(prod, session_peek(s, ss)->sq_cons, CM_SQ_ENTRIES);
}

bool session_rest(struct stack *s, struct session *ss)
{
	store_once(&session_header(ss)->daemon_sleeps, 1);
	fence_full();
	if (session_waiting(s, ss) != 0) {
		ss->empty_looks = 0;
		store_once(&session_header(ss)->daemon_sleeps, 0);
		return false;
	}
	LIST_TAKE(s->socket, ss, active);
	return true;
}

/* Can something be taken from it now? A client whose completion ring is full has to ring again. */
static bool session_ready(const struct stack *s, const struct session *ss)
{
	uint64_t used;

	if (!session_waiting(s, ss))
		return false;
	used = session_peek(s, ss)->cq_prod - load_acquire(&session_header(ss)->cq_cons);
	return used != CM_CQ_ENTRIES;
}

bool socket_pending(struct stack *s)
{
	struct socket_layer *l = s->socket;
	struct session *ss;

	if (!TAILQ_EMPTY(&l->ctl) || !TAILQ_EMPTY(&l->dying) || !TAILQ_EMPTY(&l->ended))
		return true;
	TAILQ_FOREACH(ss, &l->active, active)
	if (session_ready(s, ss))
		return true;
	return false;
}

uint64_t socket_next_work(struct stack *s)
{
	if (socket_pending(s))
		return s->now;
	return TAILQ_EMPTY(&s->socket->starved) ? UINT64_MAX : s->socket->starved_until;
}

bool socket_arm(struct stack *s, bool sleeping)
{
	struct socket_layer *l = s->socket;
	struct session *ss, *next;

	if (!sleeping)
		return true;
	/* One fence for all: every word is set, then every ring is looked at. */
	TAILQ_FOREACH(ss, &l->active, active)
	store_once(&session_header(ss)->daemon_sleeps, 1);
	fence_full();
	KILLPOINT("socket.armed");
	for (ss = TAILQ_FIRST(&l->active); ss; ss = next) {
		next = TAILQ_NEXT(ss, active);
		if (session_ready(s, ss)) {
			ss->empty_looks = 0;
			store_once(&session_header(ss)->daemon_sleeps, 0);
		} else {
			LIST_TAKE(l, ss, active);
		}
	}
	return !socket_pending(s);
}

/* ---- gather */

static void on_event(struct stack *s, uint64_t data, uint32_t events)
{
	struct socket_layer *l = s->socket;
	struct session *ss = session_at(s, (uint32_t)data);

	if (data >> 32 == WATCH_TOKEN) {
		token_event(s, (uint32_t)data);
		return;
	}
	if (!ss)
		return;
	if (data >> 32 == WATCH_BELL) {
		if (ss->bell >= 0 && read(ss->bell, l->buf, sizeof(l->buf)) >= 0)
			session_activate(s, ss);
		return;
	}
	if (ss->control < 0 || ss->in_dying || ss->in_ended)
		return;
	if (ss->blocked && events & EPOLLOUT) {
		ss->blocked = false;
		LIST_PUT(l, ss, answers);
	}
	if (!ss->request && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		LIST_PUT(l, ss, ctl);
	/* Who does not read his answer can still hang up. */
	if (ss->request && events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		session_die(s, ss, NULL);
}

/* Asks the epoll descriptor. Edges that a very long list leaves over are still there at the next look. */
static void look_around(struct stack *s)
{
	struct epoll_event ev[EVENTS];
	int n = EVENTS;

	for (unsigned round = 0; n == EVENTS && round < LOOK_ROUNDS; round++) {
		n = epoll_wait(s->socket->epoll, ev, EVENTS, 0);
		for (int i = 0; i < n; i++)
			on_event(s, ev[i].data.u64, ev[i].events);
	}
}

static unsigned free_ended(struct stack *s)
{
	struct session *ss;
	unsigned n = 0;

	/* They stay in the list: the speak step takes them after the commit. */
	TAILQ_FOREACH(ss, &s->socket->ended, ended)
	{
		state_free(s->state, KIND_SESSION, ss->index);
		n++;
	}
	return n;
}

static unsigned take_requests(struct stack *s, unsigned budget)
{
	struct socket_layer *l = s->socket;
	struct session *ss = TAILQ_FIRST(&l->active), *last = TAILQ_LAST(&l->active, session_list),
		       *next;
	unsigned found = 0;

	for (; ss && found < budget; ss = next) {
		unsigned n = session_take(s, ss, min_of(budget - found, (unsigned)TAKE_MAX), false);

		next = ss == last ? NULL : TAILQ_NEXT(ss, active);
		found += n;
		if (!ss->in_active)
			continue;
		if (n) {
			ss->empty_looks = 0;
			TAILQ_REMOVE(&l->active, ss, active);
			TAILQ_INSERT_TAIL(&l->active, ss, active);
		} else if (++ss->empty_looks >= EMPTY_LOOKS) {
			session_rest(s, ss);
		}
	}
	return found;
}

unsigned socket_gather(struct stack *s, unsigned budget, bool look)
{
	unsigned found;

	if (look)
		look_around(s);
	found = free_ended(s);
	found += death_work(s);
	found += control_retry(s);
	found += control_work(s);
	return found + take_requests(s, budget);
}
