/*
 * Accept queues.
 *
 * That a child waits for a listener, and its place among the others, are facts of the child's
 * record (listener, listener_gen, arrival). The queue itself is derived from them: a list through
 * the children, rebuilt after a restart in the order of arrival.
 *
 * A child that the peer resets while it waits stays in the queue, as in the kernel: accept() gives
 * it out, its first read tells.
 */
#include "tcp/layer.h"
#include <stdlib.h>

struct tcp_listener *queue_of(const struct stack *s, uint32_t listener)
{
	return listener < tcp_of(s)->capacity ? tcp_of(s)->listener[listener] : NULL;
}

int queue_open(struct stack *s, uint32_t listener)
{
	struct tcp_listener *q = queue_of(s, listener);

	if (q)
		return 0;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->head = q->tail = NO_INDEX;
	tcp_of(s)->listener[listener] = q;
	return 0;
}

void queue_close(struct stack *s, uint32_t listener)
{
	free(queue_of(s, listener));
	tcp_of(s)->listener[listener] = NULL;
}

void queue_push(struct stack *s, uint32_t listener, uint32_t child)
{
	struct tcp_layer *l = tcp_of(s);
	struct tcp_listener *q = queue_of(s, listener);

	l->next[child] = NO_INDEX;
	if (q->tail == NO_INDEX)
		q->head = child;
	else
		l->next[q->tail] = child;
	q->tail = child;
	q->ready++;
}

uint32_t queue_pop(struct stack *s, uint32_t listener)
{
	struct tcp_listener *q = queue_of(s, listener);
	uint32_t child = q ? q->head : NO_INDEX;

	if (child == NO_INDEX)
		return NO_INDEX;
	q->head = tcp_of(s)->next[child];
	if (q->head == NO_INDEX)
		q->tail = NO_INDEX;
	q->ready--;
	return child;
}

bool queue_full(const struct stack *s, uint32_t listener)
{
	const struct tcp_listener *q = queue_of(s, listener);

	return !q || q->ready > sock_peek(s, listener)->backlog;
}

/* ---- after a restart */

struct waiting {
	uint64_t arrival;
	uint32_t listener, child;
};

static int by_arrival(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return x->arrival < y->arrival ? -1 : x->arrival > y->arrival;
}

static bool listener_lives(const struct stack *s, const struct sock_rec *k)
{
	return k->listener_gen == state_generation(s->state, KIND_SOCK, k->listener) &&
	       queue_of(s, k->listener);
}

int queue_note(struct queue_waiting *w, const struct sock_rec *k, uint32_t sk)
{
	if (w->n == w->room) {
		uint32_t room = w->room ? w->room * 2 : 64;
		struct waiting *grown = realloc(w->v, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		w->v = grown;
		w->room = room;
	}
	w->v[w->n++] = (struct waiting){k->arrival, k->listener, sk};
	return 0;
}

void queue_reindex(struct stack *s, struct queue_waiting *w)
{
	if (w->n)
		qsort(w->v, w->n, sizeof(*w->v), by_arrival);
	for (uint32_t i = 0; i < w->n; i++) {
		uint32_t sk = w->v[i].child;

		if (!sock_peek(s, sk) || !tcb_peek(s, sk))
			continue;
		if (listener_lives(s, sock_peek(s, sk))) {
			queue_push(s, w->v[i].listener, sk);
			continue;
		}
		sock_get(s, sk)->flags |= SOCK_F_ORPHAN;
		tcp_abort(s, sk, tcb_get(s, sk), 0);
	}
	free(w->v);
}
