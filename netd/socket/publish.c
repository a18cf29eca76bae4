/*
 * Telling clients about their sockets: the slots, the event ring, wakes and bells.
 *
 * Theory of operation. After the commit, the words of every changed socket's slot are stored (places
 * and names under the slot's seqlock). Then three questions are asked of the client's own words, each
 * the second half of "I store mine, then look at yours", so a full fence stands before them:
 *
 *   fence    does it wait for room (tx_want), has it read the slot's last event (ev_cons), which wait
 *            sets does it name (set[])?  ->  ev_seq, the event ring
 *   fence    does a thread sleep on ev_seq (want), is a named set about to sleep (arm)?  ->  futex, bell
 *
 * Positions are stored before the state that refers to them: who sees RX_EOF sees the last rx_tail.
 *
 * What the client's words say is a hint: a lie makes a superfluous system call, or none that would
 * have helped the client itself. Our own words are compared with what stands in the memory instead
 * of a private copy; a client that overwrites them is told anew.
 */
#include "socket/layer.h"
#include "inet/errq.h"
#include "base/util.h"
#include "proto/channel.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void publish_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- one slot's words */

static struct ring_place place_of(const struct session *ss, const struct ring_place *p)
{
	/* A ring in another memory is none that this client could use. */
	return p->cap && p->mem == ss->index + 1 ? *p : (struct ring_place){.epoch = p->epoch};
}

static void put_layout(struct cm_slot *m, const struct session *ss, const struct sock_rec *k)
{
	struct ring_place rx = place_of(ss, &k->rx), tx = place_of(ss, &k->tx);
	uint32_t seq = load_once(&m->layout_seq);

	if (!(seq & 1) && !memcmp(&m->rx, &rx, sizeof(rx)) && !memcmp(&m->tx, &tx, sizeof(tx)) &&
	    endpoint_eq(&m->local, &k->local) && endpoint_eq(&m->remote, &k->remote))
		return;
	store_once(&m->layout_seq, seq | 1);
	fence_full();
	KILLPOINT("socket.speak.layout");
	m->rx = rx;
	m->tx = tx;
	m->local = k->local;
	m->remote = k->remote;
	store_release(&m->layout_seq, (seq | 1) + 1);
}

/* Returns true if that is news. */
static bool put_facts(struct cm_slot *m, const struct sock_view *v)
{
	bool news = load_once(&m->urgent) != v->urgent || load_once(&m->errors) < v->errors ||
		    load_once(&m->tcp_state) != v->tcp_state;

	if (load_once(&m->tx_sent) != v->tx_sent)
		store_release(&m->tx_sent, v->tx_sent);
	if (load_once(&m->rx_time) != v->rx_time)
		store_once(&m->rx_time, v->rx_time);
	if (m->urgent != v->urgent)
		store_release(&m->urgent, v->urgent);
	if (m->tx_limit != v->tx_limit) { /* writers may have room, or a larger ring */
		store_once(&m->tx_limit, v->tx_limit);
		news = true;
	}
	if (m->notsent_most != v->notsent_most)
		store_once(&m->notsent_most, v->notsent_most);
	if (m->errors != v->errors || m->notsent_lowat != v->notsent_lowat || m->tcp_state != v->tcp_state) {
		store_once(&m->notsent_lowat, v->notsent_lowat);
		store_once(&m->tcp_state, v->tcp_state);
		store_release(&m->errors, v->errors);
	}
	return news;
}

/* Stores a socket's words; what kind of news that is goes into `t`. */
static void put_slot(struct stack *s, const struct sock_rec *k, struct told *t)
{
	struct cm_slot *m = session_slot(t->ss, t->slot);
	struct sock_view v = {0};
	uint32_t changed;

	sock_ops_of(s, k)->publish(s, t->sk, &v);
	v.state |= CM_ST_OPEN;
	put_layout(m, t->ss, k);
	v.errors = errq_count(s, t->sk);
	v.tx_limit = k->flags & SOCK_F_SNDBUF_SET ? 2 * k->sndbuf : 0;
	if (v.notsent_lowat && load_once(&m->tx_sent) != v.tx_sent)
		t->room = true;
	t->news |= put_facts(m, &v);
	if (load_once(&m->rx_tail) != v.rx_tail) {
		store_release(&m->rx_tail, v.rx_tail);
		t->news = true;
	}
	if (load_once(&m->tx_head) != v.tx_head) {
		store_release(&m->tx_head, v.tx_head);
		t->room = true;
	}
	KILLPOINT("socket.speak.positions");
	if (load_once(&m->so_error_seq) != k->err_seq || load_once(&m->so_error) != k->err) {
		store_once(&m->so_error, k->err);
		store_release(&m->so_error_seq, k->err_seq);
		t->news = true;
	}
	if (load_once(&m->accept_ready) != v.accept_ready) {
		t->news |= v.accept_ready > load_once(&m->accept_ready);
		store_release(&m->accept_ready, v.accept_ready);
	}
	changed = load_once(&m->state) ^ v.state;
	if (changed) {
		store_release(&m->state, v.state);
		t->news |= (changed & ~(uint32_t)CM_ST_ACK_OWED) != 0;
	}
}

/* ---- a batch of them: who has to hear it */

static bool names_set(const struct cm_slot *m, uint16_t set[CM_SLOT_SETS])
{
	bool any = false;

	for (unsigned i = 0; i < CM_SLOT_SETS; i++) {
		set[i] = load_once(&m->set[i]);
		any |= set[i] < CM_SETS;
	}
	return any;
}

/* At most one unconsumed entry a slot. */
static void put_event(struct stack *s, struct session *ss, uint32_t slot)
{
	struct cm_header *h = session_header(ss);
	uint32_t *ring = (uint32_t *)(void *)(ss->mem + ss->lay.ev_off),
		 entries = ss->lay.ev_entries;
	struct slot_note *n = slot < ss->notes ? &ss->note[slot] : NULL;
	uint64_t cons = load_acquire(&h->ev_cons);
	int64_t used = ring_avail(ss->ev_prod, cons, entries);

	if (used < 0) {
		ss->lie = "event position"; /* the next gather's business */
		session_activate(s, ss);
		return;
	}
	if (n && n->ev_pos > cons)
		return;
	if (used == (int64_t)entries) {
		store_once(&h->ev_lost, load_once(&h->ev_lost) + 1);
		return;
	}
	store_once(&ring[ss->ev_prod & (entries - 1)], slot);
	ss->ev_prod++;
	if (n)
		n->ev_pos = ss->ev_prod;
	store_release(&h->ev_prod, ss->ev_prod);
}

/*
 * The client asked for room: is there so much that a wake is worth it? A third, as in the kernel; and little enough
 * that was not sent yet, if it said how much that is.
 */
static bool room_enough(const struct cm_slot *m)
{
	uint64_t tail = load_once(&m->tx_tail), used = tail - load_once(&m->tx_head);
	uint64_t cap = cm_tx_bound(m->tx.cap, load_once(&m->tx_limit));
	uint32_t lowat = load_once(&m->notsent_lowat);

	if (lowat && 2 * (tail - load_once(&m->tx_sent)) >= lowat)
		return false;
	return used > cap || cap - used >= cap / 3;
}

static void ring_sets(struct session *ss, const struct cm_slot *m)
{
	struct cm_set *sets = (struct cm_set *)(void *)(ss->mem + ss->lay.set_off);
	uint16_t set[CM_SLOT_SETS];

	names_set(m, set);
	for (unsigned i = 0; i < CM_SLOT_SETS; i++) {
		uint32_t arm;

		if (set[i] >= CM_SETS || ss->set_bell[set[i]] < 0)
			continue;
		arm = load_acquire(&sets[set[i]].arm);
		if (!(arm & 1) || arm == ss->set_rung[set[i]])
			continue;
		ss->set_rung[set[i]] = arm;
		bell_ring(ss->set_bell[set[i]]);
	}
}

/*
 * Who is to be woken for a slot: its client; of a share's slot, each holder in a slot of its own. `step` gets the
 * session, the slot's words there, and its number.
 */
static void each_listener(struct stack *s, const struct told *t,
    void (*step)(struct stack *s, struct session *ss, struct cm_slot *m, uint32_t slot))
{
	uint32_t slot;

	if (t->sk == NO_INDEX || !share_of(s, t->sk)) {
		if (t->ss->mem && session_peek(s, t->ss) && session_peek(s, t->ss)->state != SESSION_SHARE)
			step(s, t->ss, session_slot(t->ss, t->slot), t->slot);
		return;
	}
	for (uint32_t h = holder_first(s, t->sk); h; h = holder_next(s, h)) {
		struct session *ss = holder_session(s, h, &slot);

		if (ss && ss->mem)
			step(s, ss, session_slot(ss, slot), slot);
	}
}

/* Does anybody wait for room there? Each holder says so in its own slot. */
static bool wants_room(const struct stack *s, const struct told *t)
{
	uint32_t slot;

	if (load_once(&session_slot(t->ss, t->slot)->tx_want))
		return true;
	if (t->sk == NO_INDEX || !share_of(s, t->sk))
		return false;
	for (uint32_t h = holder_first(s, t->sk); h; h = holder_next(s, h)) {
		struct session *ss = holder_session(s, h, &slot);

		if (ss && ss->mem && load_once(&session_slot(ss, slot)->tx_want))
			return true;
	}
	return false;
}

static void step_event(struct stack *s, struct session *ss, struct cm_slot *m, uint32_t slot)
{
	uint16_t set[CM_SLOT_SETS];

	store_release(&m->ev_seq, load_once(&m->ev_seq) + 1);
	if (names_set(m, set))
		put_event(s, ss, slot);
}

static void step_wake(struct stack *s, struct session *ss, struct cm_slot *m, uint32_t slot)
{
	(void)s;
	(void)slot;
	if (load_once(&m->want))
		publish_wake(&m->ev_seq);
	KILLPOINT("socket.speak.wake");
	ring_sets(ss, m);
}

static void flush_told(struct stack *s)
{
	struct socket_layer *l = s->socket;

	if (!l->n_told)
		return;
	KILLPOINT("socket.speak.words");
	fence_full();
	for (uint32_t i = 0; i < l->n_told; i++) {
		struct told *t = &l->told[i];

		if (t->room && wants_room(s, t) && room_enough(session_slot(t->ss, t->slot)))
			t->news = true;
		if (t->news)
			each_listener(s, t, step_event);
	}
	KILLPOINT("socket.speak.events");
	fence_full();
	for (uint32_t i = 0; i < l->n_told; i++)
		if (l->told[i].news)
			each_listener(s, &l->told[i], step_wake);
	l->n_told = 0;
}

static struct told *tell_slot(
    struct stack *s, struct session *ss, uint32_t slot, uint32_t sk, bool news)
{
	struct socket_layer *l = s->socket;

	if (l->n_told == TOLD_MAX)
		flush_told(s);
	l->told[l->n_told] = (struct told){.ss = ss, .slot = slot, .sk = sk, .news = news};
	return &l->told[l->n_told++];
}

/* ---- what is to be told */

static void sock_gone(struct stack *s, uint32_t sk)
{
	struct sock_note *n = &s->socket->sock[sk];
	struct session *ss = n->counted ? session_at(s, n->session) : NULL;

	socket_discharge(s, sk);
	if (ss)
		LIST_PUT(s->socket, ss, done); /* perhaps nothing is left in its memory */
}

static void put_closed(struct stack *s, const struct news *n)
{
	struct cm_slot *m;

	if (!n->ss->mem || session_sock(n->ss, n->slot) != NO_INDEX)
		return;
	m = session_slot(n->ss, n->slot);
	store_once(&m->accept_ready, 0);
	store_release(&m->state, n->state);
	tell_slot(s, n->ss, n->slot, NO_INDEX, true);
}

/* The holders' own slots say where to look, and no more. */
static void put_holders(struct stack *s, uint32_t sk)
{
	uint32_t slot;

	for (uint32_t h = holder_first(s, sk); h; h = holder_next(s, h)) {
		struct session *ss = holder_session(s, h, &slot);

		if (ss && ss->mem && load_once(&session_slot(ss, slot)->state) != (CM_ST_OPEN | CM_ST_SHARED))
			store_release(&session_slot(ss, slot)->state, CM_ST_OPEN | CM_ST_SHARED);
	}
}

void publish_changed(struct stack *s)
{
	struct socket_layer *l = s->socket;
	uint32_t sk;

	while ((sk = sock_next_changed(s)) != NO_INDEX) {
		const struct sock_rec *k = sock_peek(s, sk);
		struct session *ss;

		if (!k) {
			sock_gone(s, sk);
			continue;
		}
		ss = k->session == NO_INDEX ? NULL : session_at(s, k->session);
		if (!ss || !ss->mem || session_sock(ss, k->slot) != sk)
			continue;
		put_slot(s, k, tell_slot(s, ss, k->slot, sk, false));
		put_holders(s, sk);
	}
	for (uint32_t i = 0; i < l->n_news; i++)
		put_closed(s, &l->news[i]);
	l->n_news = 0;
	flush_told(s);
}

/* A slot that its client believes open has no socket any more: its record was lost. */
static void put_lost(struct stack *s, struct session *ss, uint32_t slot)
{
	struct cm_slot *m = session_slot(ss, slot);

	if (!(load_once(&m->state) & CM_ST_OPEN))
		return;
	store_once(&m->so_error, ECONNRESET);
	store_release(&m->so_error_seq, load_once(&m->so_error_seq) + 1);
	store_release(&m->state, CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP);
	tell_slot(s, ss, slot, NO_INDEX, true);
}

/*
 * May its client not have heard of the socket's newest state? A listener's news stands in its children's records, a
 * share's in its holders': those are always told.
 */
static bool unheard(const struct stack *s, const struct session *ss, uint32_t sk)
{
	const struct sock_note *n = &s->socket->sock[sk];

	return state_untold(s->state, KIND_SOCK, sk) || state_untold(s->state, KIND_TCP, sk) || n->listens || n->holders ||
	       session_peek(s, ss)->state == SESSION_SHARE;
}

static void publish_session(struct stack *s, struct session *ss, uint32_t slots)
{
	struct cm_header *h = session_header(ss);

	if (state_header(s->state)->untold <= 1) /* it shall look at everything */
		store_once(&h->incarnation, world_peek(s) ? world_peek(s)->incarnation : 0);
	ss->ev_prod = load_once(&h->ev_prod);
	for (uint32_t slot = 0; slot < slots; slot++) {
		uint32_t sk = session_sock(ss, slot);

		if (sk != NO_INDEX && !unheard(s, ss, sk))
			continue;
		if (sk != NO_INDEX && sock_peek(s, sk) && session_holder(ss, slot) != NO_INDEX)
			put_holders(s, sk); /* its words and news come with the share's */
		else if (sk != NO_INDEX && sock_peek(s, sk))
			put_slot(s, sock_peek(s, sk), tell_slot(s, ss, slot, sk, true));
		else if (session_peek(s, ss)->state != SESSION_SHARE)
			put_lost(s, ss, slot);
	}
	LIST_PUT(s->socket, ss, done);
}

void publish_everything(struct stack *s)
{
	struct socket_layer *l = s->socket;

	for (uint32_t i = state_next(s->state, KIND_SESSION, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SESSION, i + 1)) {
		struct session *ss = session_at(s, i);
		const struct session_rec *r = ss ? session_peek(s, ss) : NULL;

		if (r && ss->mem && r->state == SESSION_ATTACHED)
			publish_session(s, ss, min_of(r->slot_high, ss->lay.slots));
		else if (r && ss->mem && r->state == SESSION_SHARE)
			publish_session(s, ss, ss->notes);
		else if (ss)
			LIST_PUT(l, ss, done);
	}
	flush_told(s);
}
