/* The IP layer's private things: made empty, rebuilt from the records. */
#include "ip/layer.h"
#include "ip/addr.h"
#include "ip/igmp.h"
#include "ip/reassemble.h"
#include <errno.h>
#include <stdlib.h>

int ip_layer_init(struct stack *s)
{
	struct ip_layer *ip = calloc(1, sizeof(*ip));

	if (!ip)
		return -ENOMEM;
	ip->frag_room = state_capacity(s->state, KIND_FRAG);
	ip->frag_next = calloc(ip->frag_room ? ip->frag_room : 1, sizeof(*ip->frag_next));
	if (!ip->frag_next) {
		free(ip);
		return -ENOMEM;
	}
	for (uint32_t b = 0; b < FRAG_BUCKETS; b++)
		ip->frag_head[b] = NO_INDEX;
	s->ip = ip;
	fib_changed(s);
	return 0;
}

void ip_layer_exit(struct stack *s)
{
	struct ip_layer *ip = s->ip;

	if (!ip)
		return;
	fib_free(&ip->fib);
	free(ip->groups);
	free(ip->frag_next);
	free(ip);
	s->ip = NULL;
}

int ip_reindex(struct stack *s)
{
	struct ip_layer *ip = s->ip;
	int ret;

	ip->id_next = ip->id_end =
	    0; /* the next packet reserves a stride beyond those used before */
	fib_changed(s);
	if (ip->routes_lost)
		addr_connect(s);
	ip->routes_lost = false;
	if ((ret = group_reindex(s)) < 0 || (ret = igmp_reindex(s)) < 0)
		return ret;
	return frag_reindex(s);
}
