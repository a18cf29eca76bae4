/* Port buckets: who owns a local port. Grow by doubling; see inet/layer.h. */
#include "inet/layer.h"
#include "base/siphash.h"
#include <errno.h>
#include <stdlib.h>

#define FIRST_BUCKETS 256

static uint32_t hash(const struct stack *s, uint8_t protocol, uint16_t port)
{
	uint32_t key[2] = {protocol, port};

	return (uint32_t)siphash(&world_peek(s)->hash_key, key, sizeof(key));
}

static uint32_t *chain(const struct stack *s, uint8_t protocol, uint16_t port)
{
	struct port_table *t = &s->inet->port;

	return &t->head[hash(s, protocol, port) & (t->buckets - 1)];
}

uint32_t bucket_find(const struct stack *s, uint8_t protocol, uint16_t port)
{
	const struct port_table *t = &s->inet->port;
	uint32_t b;

	if (!t->buckets)
		return 0;
	for (b = *chain(s, protocol, port); b; b = t->bucket[b].next)
		if (t->bucket[b].port == port && t->bucket[b].protocol == protocol)
			break;
	return b;
}

/* Doubles the chains. A failure only makes them longer, unless there are none at all. */
static int grow_chains(struct stack *s)
{
	struct port_table *t = &s->inet->port;
	uint32_t buckets = t->buckets ? t->buckets * 2 : FIRST_BUCKETS, old = t->buckets;
	uint32_t *head = calloc(buckets, sizeof(*head)), *was = t->head;

	if (!head)
		return old ? 0 : -ENOMEM;
	t->head = head;
	t->buckets = buckets;
	for (uint32_t i = 0; i < old; i++) {
		for (uint32_t b = was[i], next; b; b = next) {
			uint32_t *at = chain(s, t->bucket[b].protocol, t->bucket[b].port);

			next = t->bucket[b].next;
			t->bucket[b].next = *at;
			*at = b;
		}
	}
	free(was);
	return 0;
}

static uint32_t new_bucket(struct port_table *t)
{
	uint32_t b = t->free;

	if (b) {
		t->free = t->bucket[b].next;
		return b;
	}
	if (t->used + 1 >= t->room) {
		uint32_t room = t->room ? t->room * 2 : FIRST_BUCKETS;
		struct port_bucket *grown = realloc(t->bucket, room * sizeof(*grown));

		if (!grown)
			return 0;
		t->bucket = grown;
		t->room = room;
	}
	return ++t->used;
}

uint32_t bucket_get(struct stack *s, uint8_t protocol, uint16_t port)
{
	struct port_table *t = &s->inet->port;
	uint32_t b = bucket_find(s, protocol, port), *at;

	if (b)
		return b;
	if (t->count >= t->buckets && grow_chains(s))
		return 0;
	b = new_bucket(t);
	if (!b)
		return 0;
	at = chain(s, protocol, port);
	t->bucket[b] = (struct port_bucket){.next = *at, .port = port, .protocol = protocol};
	*at = b;
	t->count++;
	return b;
}

void bucket_put(struct stack *s, uint32_t b)
{
	struct port_table *t = &s->inet->port;
	struct port_bucket *p = &t->bucket[b];
	uint32_t *at;

	if (p->idle || p->busy || p->others)
		return;
	at = chain(s, p->protocol, p->port);
	while (*at != b)
		at = &t->bucket[*at].next;
	*at = p->next;
	p->next = t->free;
	t->free = b;
	t->count--;
}

void bucket_exit(struct port_table *t)
{
	free(t->bucket);
	free(t->head);
}

/* ---- sockets in them */

static void link_in(struct stack *s, uint32_t sk, struct sock_node *n, bool busy)
{
	struct port_bucket *p = bucket_at(s, n->bucket);
	uint32_t *list = busy ? &p->busy : &p->idle;

	n->busy = busy;
	n->prev = 0;
	n->next = *list;
	if (*list)
		s->inet->node[*list - 1].prev = sk + 1;
	*list = sk + 1;
}

static void link_out(struct stack *s, struct sock_node *n)
{
	struct port_bucket *p = bucket_at(s, n->bucket);

	if (n->prev)
		s->inet->node[n->prev - 1].next = n->next;
	else if (n->busy)
		p->busy = n->next;
	else
		p->idle = n->next;
	if (n->next)
		s->inet->node[n->next - 1].prev = n->prev;
}

int owner_add(struct stack *s, uint32_t sk, bool busy)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct sock_node *n = sock_node(s, sk);
	uint32_t b;

	if (!n)
		return -ENOMEM;
	if (n->bucket) {
		owner_move(s, sk, busy);
		return 0;
	}
	b = bucket_get(s, k->protocol, k->local.port);
	if (!b)
		return -ENOMEM;
	n->bucket = b;
	link_in(s, sk, n, busy);
	return 0;
}

void owner_remove(struct stack *s, uint32_t sk)
{
	struct sock_node *n = sock_node(s, sk);
	uint32_t b = n ? n->bucket : 0;

	if (!b)
		return;
	link_out(s, n);
	n->bucket = 0;
	bucket_put(s, b);
}

void owner_move(struct stack *s, uint32_t sk, bool busy)
{
	struct sock_node *n = sock_node(s, sk);

	if (!n || !n->bucket || n->busy == busy)
		return;
	link_out(s, n);
	link_in(s, sk, n, busy);
}
