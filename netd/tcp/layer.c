/* The layer's private things, and the list of connections that may have something to send. See
 * layer.h. */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include <stdlib.h>

int tcp_layer_init(struct stack *s)
{
	struct tcp_layer *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	s->tcp = l;
	l->capacity = state_capacity(s->state, KIND_TCP);
	l->wake_dev = NO_INDEX;
	l->out_bit = calloc(l->capacity / 64 + 1, sizeof(*l->out_bit));
	l->listener = calloc(l->capacity, sizeof(struct tcp_listener *));
	l->next = calloc(l->capacity, sizeof(*l->next));
	if (!l->out_bit || !l->listener || !l->next) {
		tcp_layer_exit(s);
		return -ENOMEM;
	}
	return 0;
}

void tcp_layer_exit(struct stack *s)
{
	struct tcp_layer *l = s->tcp;

	if (!l)
		return;
	for (uint32_t sk = state_next(s->state, KIND_TCP, 0); l->listener && sk != NO_INDEX;
	     sk = state_next(s->state, KIND_TCP, sk + 1))
		free(l->listener[sk]);
	free(l->listener);
	free(l->next);
	free(l->out);
	free(l->blocked);
	free(l->out_bit);
	free(l);
	s->tcp = NULL;
}

/* ---- who may have something to send */

static bool list_add(uint32_t **list, uint32_t *n, uint32_t *room, uint32_t v)
{
	if (*n == *room) {
		uint32_t more = *room ? *room * 2 : 64;
		uint32_t *grown = realloc(*list, more * sizeof(*grown));

		if (!grown)
			return false;
		*list = grown;
		*room = more;
	}
	(*list)[(*n)++] = v;
	return true;
}

void tcp_want_output(struct stack *s, uint32_t sk)
{
	struct tcp_layer *l = tcp_of(s);

	if (l->out_bit[sk / 64] >> (sk % 64) & 1)
		return;
	if (!list_add(&l->out, &l->n_out, &l->out_room, sk))
		return;
	l->out_bit[sk / 64] |= 1ull << (sk % 64);
}

/* The device is full: again when it may have sent something. Its bell wakes us, the timer makes us
 * look. lo has room again in the next cycle. */
void tcp_blocked(struct stack *s, uint32_t sk, uint32_t dev)
{
	struct tcp_layer *l = tcp_of(s);
	uint64_t at = dev == DEVICE_LO ? s->now : s->now + TCP_BLOCKED_NS;

	if (!list_add(&l->blocked, &l->n_blocked, &l->blocked_room, sk))
		return;
	l->blocked_at = l->n_blocked == 1 ? at : min_of(l->blocked_at, at);
}

uint64_t tcp_next_work(const struct stack *s)
{
	const struct tcp_layer *l = tcp_of(s);

	if (l->n_out)
		return s->now;
	return l->n_blocked ? l->blocked_at : UINT64_MAX;
}

static void unblock(struct stack *s)
{
	struct tcp_layer *l = tcp_of(s);

	if (!l->n_blocked || s->now < l->blocked_at)
		return;
	for (uint32_t i = 0; i < l->n_blocked; i++)
		tcp_want_output(s, l->blocked[i]);
	l->n_blocked = 0;
}

void tcp_flush(struct stack *s)
{
	struct tcp_layer *l = tcp_of(s);

	unblock(s);
	for (uint32_t i = 0; i < l->n_out; i++) {
		uint32_t sk = l->out[i];
		struct tcp_rec *t;

		l->out_bit[sk / 64] &= ~(1ull << (sk % 64));
		t = tcb_get(s, sk);
		box_note(s->box, BOX_SEND, sk, 0);
		if (t && sock_peek(s, sk))
			tcp_output(s, sk, t);
	}
	l->n_out = 0;
}

/* ---- records */

void tcp_free(struct stack *s, uint32_t sk)
{
	struct tcp_rec *t = tcb_get(s, sk);

	if (t && (t->flags & TCB_ORPHAN) && tcp_of(s)->orphans)
		tcp_of(s)->orphans--;
	queue_close(s, sk);
	timer_cancel(s->timers, KIND_TCP, sk);
	state_free(s->state, KIND_TCPX, sk);
	state_free(s->state, KIND_TCP, sk);
	sock_free(s, sk);
}

struct tcpx_rec *tcpx_make(struct stack *s, uint32_t sk)
{
	struct tcpx_rec *x = tcpx_get(s, sk);

	return x ? x : state_alloc_at(s->state, KIND_TCPX, sk);
}

void tcpx_release(struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	const struct tcpx_rec *x = tcpx_peek(s, sk);

	if (x && !x->n_ooo && !x->n_run && !x->undo.cwnd && t->ca_state < CA_CWR)
		state_free(s->state, KIND_TCPX, sk);
}

bool tcp_may_challenge(struct stack *s)
{
	struct tcp_layer *l = tcp_of(s);

	if (s->now - l->challenge_window >= NSEC_PER_SEC) {
		l->challenge_window = s->now;
		l->challenges = 0;
	}
	if (l->challenges >= TCP_CHALLENGES)
		return false;
	l->challenges++;
	s->count.tcp_challenge++;
	return true;
}
