/* Rare facts of a socket: see sockx.h. */
#include "inet/sockx.h"

#define INHERITED (SOCKX_DONTROUTE | SOCKX_DEBUG | SOCKX_NO_PORT | SOCKX_ZEROCOPY)

const struct sockx_rec *sockx_peek(const struct stack *s, uint32_t sk)
{
	static const struct sockx_rec defaults;
	const struct sockx_rec *x = state_peek(s->state, KIND_SOCKX, sk);

	return x ? x : &defaults;
}

struct sockx_rec *sockx_get(struct stack *s, uint32_t sk)
{
	struct sockx_rec *x = state_get(s->state, KIND_SOCKX, sk);

	return x ? x : state_alloc_at(s->state, KIND_SOCKX, sk);
}

void sockx_inherit(struct stack *s, uint32_t child, uint32_t listener)
{
	struct sockx_rec *x;

	if (!state_live(s->state, KIND_SOCKX, listener))
		return;
	x = sockx_get(s, child);
	if (!x)
		return;
	x->flags = sockx_peek(s, listener)->flags & INHERITED;
	x->busy_poll_us = sockx_peek(s, listener)->busy_poll_us;
	x->min_ttl = sockx_peek(s, listener)->min_ttl;
	x->window_clamp = sockx_peek(s, listener)->window_clamp;
}
