/*
 * Sockets that several processes hold, and a daemon that dies at any moment of the requests that
 * make them so: share, clone, token (proto/share.h). Whatever the moment, the asker gets one answer
 * that works, and nothing is left over when the askers are gone.
 */
#include "session_rig.h"
#include "proto/share.h"
#include <sys/mman.h>

/* How far the daemon comes with a request before it dies. */
enum step { TAKEN, COMMITTED, SPOKEN, STEPS };

static struct rig *r;
static struct client c, child;
static struct channel_msg m;

static void setup(void)
{
	r = rig_new();
	client_attach(&c, r);
	cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
}

static void teardown(void)
{
	client_die(&c);
	client_die(&child);
	rig_free(r);
}

TestSuite(holders, .init = setup, .fini = teardown);

static void advance(enum step to)
{
	rig_gather(r);
	if (to >= COMMITTED)
		rig_commit(r);
	if (to >= SPOKEN)
		socket_speak(&r->s, false);
}

/* The answer to the newest request; NULL if it is an error or there is none. Descriptors are in
 * `m`. */
static Netd__Control__Response *answered(void)
{
	Netd__Control__Response *a = client_answer(&c, &m);

	if (a && (a->id != c.id || a->error)) {
		netd__control__response__free_unpacked(a, NULL);
		channel_close_fds(&m);
		return NULL;
	}
	return a;
}

static void ask_share_of(uint32_t *slot, size_t n)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Share share = NETD__CONTROL__SHARE__INIT;

	share.n_slot = n;
	share.slot = slot;
	q.body_case = NETD__CONTROL__REQUEST__BODY_SHARE;
	q.share = &share;
	client_ask(&c, &q);
}

static void ask_share(void)
{
	uint32_t slot = 0;

	ask_share_of(&slot, 1);
}

static bool take_shared(void)
{
	Netd__Control__Response *a = answered();
	bool ok = a && a->body_case == NETD__CONTROL__RESPONSE__BODY_SHARED && m.nfds == 1;

	if (a)
		netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&m);
	return ok;
}

static void shared(void)
{
	ask_share();
	rig_settle(r);
	cr_assert(take_shared());
}

static void ask_clone(void)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty nothing = NETD__CONTROL__EMPTY__INIT;

	q.body_case = NETD__CONTROL__REQUEST__BODY_CLONE;
	q.clone = &nothing;
	client_ask(&c, &q);
}

static bool take_cloned(void)
{
	Netd__Control__Response *a = answered();
	bool ok = a && a->body_case == NETD__CONTROL__RESPONSE__BODY_CLONED && m.nfds == 4;

	if (ok) {
		child = (struct client){.r = r,
		    .conn = channel_take_fd(&m, 0),
		    .memfd = channel_take_fd(&m, 1),
		    .bell = channel_take_fd(&m, 2),
		    .set0 = channel_take_fd(&m, 3)};
		child.mem = memory_map(child.memfd, a->cloned->memory_size, PROT_READ | PROT_WRITE);
		cr_assert(child.mem);
		memcpy(&child.lay, child.mem, sizeof(child.lay));
	}
	if (a)
		netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&m);
	return ok;
}

static void ask_token(void)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Token token = NETD__CONTROL__TOKEN__INIT;

	q.body_case = NETD__CONTROL__REQUEST__BODY_TOKEN;
	q.token = &token;
	client_ask(&c, &q);
}

/* The descriptor, -1. */
static int take_token(void)
{
	Netd__Control__Response *a = answered();
	int fd = a && a->body_case == NETD__CONTROL__RESPONSE__BODY_TOKEN && m.nfds == 1
		     ? channel_take_fd(&m, 0)
		     : -1;

	if (a)
		netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&m);
	return fd;
}

static void nothing_is_left(void)
{
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 0);
	cr_assert_eq(state_count(r->s.state, KIND_HOLDER), 0);
	cr_assert_eq(state_count(r->s.state, KIND_TOKEN), 0);
	cr_assert_eq(state_count(r->s.state, KIND_SESSION), 0);
	cr_assert_eq(rig_deposits(r), 0);
}

/* The parent is gone; the child goes on with the socket, and ends it. */
static void child_holds_it(void)
{
	client_die(&c);
	rig_settle(r);
	cr_assert(client_lives(&child));
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 1);
	cr_assert_eq(client_do(&child, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {5}}), 0);
	rig_restart(r);
	cr_assert_eq(client_do(&child, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), 0);
	client_die(&child);
	nothing_is_left();
}

Test(holders, share_with_a_death_at_each_step)
{
	for (enum step step = TAKEN; step < STEPS; step++) {
		if (step > TAKEN) {
			client_attach(&c, r);
			cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
		}
		ask_share();
		advance(step);
		rig_restart(r);
		rig_settle(r);
		cr_assert(take_shared(), "death after step %d", step);
		cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), 0);
		client_die(&c);
		nothing_is_left();
	}
}

/* The client begins anew, with `n` sockets in its first slots, whose numbers go into slot[]. */
static void open_sockets(uint32_t *slot, uint32_t n)
{
	client_die(&c);
	client_open(&c, r);
	client_ask_attach(&c, n, 0);
	rig_settle(r);
	cr_assert(client_take_attached(&c));
	for (uint32_t i = 0; i < n; i++) {
		slot[i] = i;
		cr_assert_eq(client_socket(&c, i, AF_INET, SOCK_STREAM, 0), 0);
	}
}

/* However many are named: a socket has one place in a share, and one claim through a slot. */
Test(holders, share_names_a_slot_once)
{
	static const uint32_t twice[] = {1, 63, 64, RIG_HOLDERS - 1};
	uint32_t slot[RIG_HOLDERS];

	open_sockets(slot, ARRAY_SIZE(slot));
	for (unsigned i = 0; i < ARRAY_SIZE(twice); i++) {
		slot[twice[i]] = 0;
		ask_share_of(slot, ARRAY_SIZE(slot));
		rig_settle(r);
		cr_assert_not(take_shared(), "slot 0 is named twice");
		cr_assert_eq(state_count(r->s.state, KIND_HOLDER), 0);
		slot[twice[i]] = twice[i];
	}
	ask_share_of(slot, ARRAY_SIZE(slot));
	rig_settle(r);
	cr_assert(take_shared());
	client_die(&c);
	nothing_is_left();
}

/* `deaths` in a row, each as soon as the successor has spoken to everybody. */
static void clone_with_deaths(enum step step, int deaths)
{
	shared();
	ask_clone();
	advance(step);
	for (int i = 0; i < deaths; i++)
		rig_restart(r);
	rig_settle(r);
	cr_assert(take_cloned(), "death after step %d, %d deaths", step, deaths);
	rig_settle(r);
	child_holds_it();
}

Test(holders, clone_after_a_death_before_its_commit)
{
	clone_with_deaths(TAKEN, 1);
}

Test(holders, clone_after_a_death_before_its_answer)
{
	clone_with_deaths(COMMITTED, 1);
}

Test(holders, clone_after_two_deaths_before_its_answer)
{
	clone_with_deaths(COMMITTED, 2);
}

Test(holders, clone_after_a_death_behind_its_answer)
{
	clone_with_deaths(SPOKEN, 1);
}

/* The successor gets as far as its own answer, and dies too. */
Test(holders, clone_answered_by_the_second_successor)
{
	shared();
	ask_clone();
	advance(COMMITTED);
	rig_restart(r);
	advance(COMMITTED);
	rig_restart(r);
	rig_settle(r);
	cr_assert(take_cloned());
	child_holds_it();
}

/* Nobody will ever take the clone: it goes with its asker, whatever the daemon had done of the
 * asker's death. */
static void clone_without_asker(enum step death_seen)
{
	shared();
	ask_clone();
	advance(COMMITTED);
	rig_kill(r);
	client_die(&c);
	rig_start(r);
	advance(death_seen);
	rig_restart(r);
	nothing_is_left();
}

Test(holders, clone_ends_with_its_asker)
{
	for (enum step step = TAKEN; step < STEPS; step++) {
		if (step > TAKEN) {
			client_attach(&c, r);
			cr_assert_eq(client_socket(&c, 0, AF_INET, SOCK_STREAM, 0), 0);
		}
		clone_without_asker(step);
	}
}

/* Committed: the asker is being closed. Died before it was said to anybody. */
Test(holders, asker_dies_twice)
{
	shared();
	ask_clone();
	advance(COMMITTED);
	session_die(&r->s, session_at(&r->s, 0), "whatever");
	rig_commit(r);
	rig_restart(r);
	nothing_is_left();
}

static void token_with_death(enum step step)
{
	int fd;

	shared();
	ask_token();
	advance(step);
	rig_restart(r);
	rig_settle(r);
	fd = take_token();
	cr_assert_geq(fd, 0, "death after step %d", step);
	client_die(&c);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 1, "the token holds it");
	rig_restart(r);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 1);
	close(fd);
	nothing_is_left();
}

Test(holders, token_after_a_death_before_its_commit)
{
	token_with_death(TAKEN);
}

Test(holders, token_after_a_death_before_its_answer)
{
	token_with_death(COMMITTED);
}

Test(holders, token_after_a_death_behind_its_answer)
{
	token_with_death(SPOKEN);
}

Test(holders, token_ends_with_its_asker)
{
	shared();
	ask_token();
	advance(COMMITTED);
	session_die(&r->s, session_at(&r->s, 0), "whatever");
	rig_commit(r);
	rig_restart(r);
	nothing_is_left();
}

/* One more than can be held: they stay as they are, and nobody notices. */
Test(holders, who_cannot_be_shared_stays_alone)
{
	enum { LAST = RIG_HOLDERS };
	uint32_t slot[LAST + 1];

	open_sockets(slot, ARRAY_SIZE(slot));
	ask_share_of(slot, ARRAY_SIZE(slot));
	rig_settle(r);
	cr_assert_not(take_shared());
	cr_assert_eq(state_count(r->s.state, KIND_HOLDER), 0);
	for (uint32_t i = 0; i <= LAST; i++)
		cr_assert_eq(client_slot(&c, i)->state & (CM_ST_OPEN | CM_ST_DEAD | CM_ST_SHARED), CM_ST_OPEN);
	ask_share_of(slot, LAST);
	rig_settle(r);
	cr_assert(take_shared());
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = LAST - 1, .arg = {5}}), 0);
	client_die(&c);
	nothing_is_left();
}

/* ---- who only watches */

/* The error of the answer to a Join of the child's, at its slot 3. */
static int watch(uint32_t share, uint8_t secret, size_t len)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Join join = NETD__CONTROL__JOIN__INIT;
	Netd__Control__Watch w = NETD__CONTROL__WATCH__INIT;
	Netd__Control__Response *a;
	uint8_t bytes[32];
	int ret;

	memset(bytes, secret, sizeof(bytes));
	w.share = share;
	join.watch = &w;
	join.slot = 3;
	join.secret = (ProtobufCBinaryData){len, bytes};
	q.body_case = NETD__CONTROL__REQUEST__BODY_JOIN;
	q.join = &join;
	client_ask(&child, &q);
	rig_settle(r);
	a = client_answer(&child, &m);
	cr_assert(a);
	ret = a->error;
	netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&m);
	return ret;
}

/* The number of the share that the sockets that were asked for are in now. */
static uint32_t take_where(void)
{
	Netd__Control__Response *a = answered();
	uint32_t share;

	cr_assert(a && a->body_case == NETD__CONTROL__RESPONSE__BODY_SHARED && a->shared->secret.len == SHARE_SECRET);
	share = a->shared->share;
	netd__control__response__free_unpacked(a, NULL);
	channel_close_fds(&m);
	return share;
}

static uint32_t shared_where(void)
{
	ask_share();
	rig_settle(r);
	return take_where();
}

Test(holders, a_watcher_has_to_know_the_secret)
{
	uint32_t share = shared_where();

	client_attach(&child, r);
	cr_assert_eq(watch(share, 8, SHARE_SECRET), -ENOENT);
	cr_assert_eq(watch(share, 7, SHARE_SECRET - 1), -ENOENT);
	cr_assert_eq(watch(share, 7, SHARE_SECRET + 1), -ENOENT);
	cr_assert_eq(watch(share, 7, 0), -ENOENT);
	for (uint32_t other = 0; other < 4; other++)
		cr_assert(other == share || watch(other, 7, SHARE_SECRET) == -ENOENT);
	cr_assert_eq(watch(UINT32_MAX, 7, SHARE_SECRET), -ENOENT);
	cr_assert_eq(state_count(r->s.state, KIND_HOLDER), 1);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), -EBADF, "its slot is taken");
	client_die(&c);
	client_die(&child);
	nothing_is_left();
}

Test(holders, a_watcher_hears_and_does_not_keep)
{
	uint32_t share = shared_where(), seq;

	client_attach(&child, r);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0);
	cr_assert_eq(client_slot(&child, 3)->state, CM_ST_OPEN | CM_ST_SHARED);
	seq = client_slot(&child, 3)->ev_seq;
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_LISTEN, .slot = 0, .arg = {5}}), 0);
	rig_settle(r);
	cr_assert_neq(client_slot(&child, 3)->ev_seq, seq);
	rig_restart(r);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 1);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = 0}), 0);
	rig_settle(r);
	cr_assert_eq(mock_closed, 1);
	cr_assert_eq(state_count(r->s.state, KIND_HOLDER), 0);
	cr_assert_eq(client_slot(&child, 3)->state, CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP);
	cr_assert_eq(client_do(&child, (struct cm_sqe){.op = CM_CLOSE, .slot = 3}), -EBADF);
	cr_assert_eq(client_slot(&child, 3)->state, 0);
	client_die(&c);
	client_die(&child);
	nothing_is_left();
}

/* Its last holder died together with the daemon. */
Test(holders, a_watcher_of_the_dead)
{
	uint32_t share = shared_where();

	client_attach(&child, r);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0);
	rig_kill(r);
	client_die(&c);
	rig_start(r);
	rig_settle(r);
	cr_assert_eq(state_count(r->s.state, KIND_SOCK), 0);
	cr_assert_eq(client_slot(&child, 3)->state, CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP);
	client_die(&child);
	nothing_is_left();
}

/* Is a socket anybody else's? */
Test(holders, who_watches_holds_nothing)
{
	uint32_t share = shared_where();

	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_SHUTDOWN, .slot = 0, .arg = {SHUT_WR, 1}}), 0,
	    "nobody else holds it");
	client_attach(&child, r);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_SHUTDOWN, .slot = 0, .arg = {SHUT_WR, 1}}), 0,
	    "who watches holds nothing");
	client_die(&child);
	rig_settle(r);
	ask_clone();
	rig_settle(r);
	cr_assert(take_cloned());
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_SHUTDOWN, .slot = 0, .arg = {SHUT_WR, 1}}), -EBUSY);
	client_die(&child);
	client_die(&c);
	nothing_is_left();
}

/* Others need them as well. */
Test(holders, no_user_takes_all_tokens)
{
	int fd[RIG_TOKENS], other;

	shared();
	session_get(&r->s, session_at(&r->s, 0))->uid = 54321;
	for (unsigned i = 0; i < RIG_TOKENS / 2; i++) {
		ask_token();
		rig_settle(r);
		cr_assert_geq(fd[i] = take_token(), 0);
	}
	ask_token();
	rig_settle(r);
	cr_assert_lt(take_token(), 0, "half of them are enough");
	session_get(&r->s, session_at(&r->s, 0))->uid = 54322; /* whose they are was noted */
	ask_token();
	rig_settle(r);
	cr_assert_geq(other = take_token(), 0);
	close(other);
	for (unsigned i = 0; i < RIG_TOKENS / 2; i++)
		close(fd[i]);
	client_die(&c);
	nothing_is_left();
}

/* Every client is this user from now on. */
static void clients_are(uint32_t uid)
{
	for (uint32_t i = state_next(r->s.state, KIND_SESSION, 0); i != NO_INDEX; i = state_next(r->s.state, KIND_SESSION, i + 1)) {
		struct session *ss = session_at(&r->s, i);

		ss->sender = (struct ucred){.pid = 1, .uid = uid};
		if (session_peek(&r->s, ss)->state == SESSION_ATTACHED)
			cr_assert_eq(session_identify(&r->s, ss, 0), 0);
	}
}

/* The same of holders; and a successor knows whose they are. */
Test(holders, no_user_takes_all_holders)
{
	enum { HALF = RIG_HOLDERS / 2 };
	uint32_t slot[HALF + 1], share;

	open_sockets(slot, ARRAY_SIZE(slot));
	clients_are(54321);
	ask_share_of(slot, ARRAY_SIZE(slot));
	rig_settle(r);
	cr_assert_not(take_shared(), "half of them are enough");
	ask_share_of(slot, HALF);
	rig_settle(r);
	share = take_where();
	rig_restart(r);
	ask_clone();
	rig_settle(r);
	cr_assert_not(take_cloned());
	cr_assert_eq(state_count(r->s.state, KIND_HOLDER), HALF);
	client_attach(&child, r);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0, "an administrator");
	client_die(&child);
	rig_settle(r);
	client_attach(&child, r);
	clients_are(54321);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), -ENFILE);
	cr_assert_eq(client_do(&c, (struct cm_sqe){.op = CM_CLOSE, .slot = HALF - 1}), 0);
	rig_settle(r);
	cr_assert_eq(watch(share, 7, SHARE_SECRET), 0);
	client_die(&child);
	client_die(&c);
	nothing_is_left();
}
