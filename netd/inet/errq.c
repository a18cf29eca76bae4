/* Error queues: see errq.h. */
#include "inet/errq.h"
#include "inet/layer.h"
#include "inet/sockx.h"
#include "base/util.h"
#include "ip/ip.h"
#include <errno.h>
#include <linux/errqueue.h>
#include <stdlib.h>

static const struct errq_rec *errq_peek(const struct stack *s, uint32_t i)
{
	return state_peek(s->state, KIND_ERRQ, i);
}

static int link_last(struct stack *s, uint32_t sk, uint32_t i)
{
	struct inet_layer *in = inet_of(s);
	struct sock_rare *n = sock_rare(s, sk);

	if (!in->err_next)
		in->err_next = calloc(state_capacity(s->state, KIND_ERRQ), sizeof(*in->err_next));
	if (!n || !in->err_next)
		return -ENOMEM;
	in->err_next[i] = 0;
	if (n->err_last)
		in->err_next[n->err_last - 1] = i + 1;
	else
		n->err_first = i + 1;
	n->err_last = i + 1;
	n->errors++;
	return 0;
}

void errq_push(struct stack *s, uint32_t sk, const struct cm_error *e, const struct endpoint *name,
    const void *data, uint32_t len)
{
	struct world_rec *w = world_get(s);
	struct errq_rec *r;
	uint32_t i;

	if (!w || !sock_peek(s, sk) || errq_count(s, sk) >= ERRQ_PER_SOCKET)
		return;
	r = state_alloc(s->state, KIND_ERRQ, &i);
	if (!r)
		return;
	r->sk = sk;
	r->sk_gen = state_generation(s->state, KIND_SOCK, sk);
	r->order = ++w->arrival;
	r->name = *name;
	r->name.pad = 0;
	r->e = *e;
	r->e.number = (uint32_t)r->order;
	r->e.time_ns = s->now;
	r->e.len = (uint16_t)min_of(len, ERRQ_DATA);
	if (r->e.len)
		memcpy(r->data, data, r->e.len);
	if (link_last(s, sk, i))
		state_free(s->state, KIND_ERRQ, i);
	sock_changed(s, sk);
}

void errq_icmp(struct stack *s, uint32_t sk, const struct ip_error *e, const struct endpoint *name,
    uint32_t skip)
{
	struct cm_error q = {.err = (uint32_t)e->err,
	    .origin = SO_EE_ORIGIN_ICMP,
	    .type = e->type,
	    .code = e->code,
	    .ttl = e->by.ttl,
	    .tos = e->by.tos,
	    .info = e->info,
	    .offender = {.addr = e->by.src},
	    .local = {.addr = e->by.dst},
	    .ifindex = (uint16_t)(e->by.dev + 1)};

	skip = min_of(skip, e->quote_len);
	errq_push(s, sk, &q, name, e->quote + skip, e->quote_len - skip);
}

void errq_local(struct stack *s, uint32_t sk, int err, uint32_t info, const struct endpoint *name)
{
	struct cm_error q = {.err = (uint32_t)err, .origin = SO_EE_ORIGIN_LOCAL, .info = info};

	errq_push(s, sk, &q, name, NULL, 0);
}

uint32_t errq_count(const struct stack *s, uint32_t sk)
{
	const struct sockx_rec *x = sockx_peek(s, sk);

	return sock_rare_peek(s, sk)->errors + (x->copies_next != x->copies_told);
}

const struct errq_rec *errq_first(const struct stack *s, uint32_t sk)
{
	uint32_t i = sock_rare_peek(s, sk)->err_first;

	return i ? errq_peek(s, i - 1) : NULL;
}

static void unlink_first(struct stack *s, struct sock_rare *n)
{
	uint32_t i = n->err_first - 1;

	n->err_first = s->inet->err_next[i];
	if (!n->err_first)
		n->err_last = 0;
	n->errors--;
	state_free(s->state, KIND_ERRQ, i);
}

int errq_take(struct stack *s, uint32_t sk, uint32_t number)
{
	const struct errq_rec *r = errq_first(s, sk);
	struct sock_rare *n = sock_rare(s, sk);
	bool icmp;

	if (!r || !n || r->e.number != number)
		return -EAGAIN;
	icmp = r->e.origin == SO_EE_ORIGIN_ICMP;
	unlink_first(s, n);
	r = errq_first(s, sk);
	if (r && r->e.origin == SO_EE_ORIGIN_ICMP)
		sock_set_error(s, sk, (int)r->e.err);
	else if (icmp && sock_peek(s, sk)->err)
		sock_set_error(s, sk, 0);
	sock_changed(s, sk);
	return 0;
}

void errq_drop(struct stack *s, uint32_t sk)
{
	struct sock_rare *n = sock_rare(s, sk);

	while (n && n->err_first)
		unlink_first(s, n);
}

/* ---- sends with MSG_ZEROCOPY */

void errq_copied(struct stack *s, uint32_t sk)
{
	struct sockx_rec *x;

	if (!(sockx_peek(s, sk)->flags & SOCKX_ZEROCOPY) || !(x = sockx_get(s, sk)))
		return;
	x->copies_next++;
	sock_changed(s, sk);
}

bool errq_copies(const struct stack *s, uint32_t sk, struct cm_error *e)
{
	const struct sockx_rec *x = sockx_peek(s, sk);

	*e = (struct cm_error){.number = x->copies_next,
	    .origin = SO_EE_ORIGIN_ZEROCOPY,
	    .code = SO_EE_CODE_ZEROCOPY_COPIED,
	    .info = x->copies_told,
	    .data = x->copies_next - 1,
	    .time_ns = s->now};
	return x->copies_next != x->copies_told;
}

int errq_take_copies(struct stack *s, uint32_t sk, uint32_t number)
{
	const struct sockx_rec *had = sockx_peek(s, sk);
	struct sockx_rec *x;

	/* One that another reader took meanwhile ends where this one begins, or behind it. */
	if (number - had->copies_told - 1 >= had->copies_next - had->copies_told)
		return -EAGAIN;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->copies_told = number;
	sock_changed(s, sk);
	return 0;
}

/* ---- after a restart */

struct waiting {
	uint64_t order;
	uint32_t sk, i;
};

static int by_order(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

int errq_reindex(struct stack *s)
{
	uint32_t n = 0, room = state_count(s->state, KIND_ERRQ);
	struct waiting *w = room ? calloc(room, sizeof(*w)) : NULL;
	int ret = 0;

	if (room && !w)
		return -ENOMEM;
	for (uint32_t i = state_next(s->state, KIND_ERRQ, 0); i != NO_INDEX && n < room;
	     i = state_next(s->state, KIND_ERRQ, i + 1)) {
		const struct errq_rec *r = errq_peek(s, i);

		if (sock_peek(s, r->sk) &&
		    r->sk_gen == state_generation(s->state, KIND_SOCK, r->sk))
			w[n++] = (struct waiting){r->order, r->sk, i};
		else
			state_free(s->state, KIND_ERRQ, i);
	}
	if (n)
		qsort(w, n, sizeof(*w), by_order);
	for (uint32_t i = 0; i < n && !ret; i++)
		ret = link_last(s, w[i].sk, w[i].i);
	free(w);
	return ret;
}
