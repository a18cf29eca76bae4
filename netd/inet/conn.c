/* The connected table: 4-tuples to records of any kind, by a keyed hash; grows by doubling. See
 * inet/layer.h. */
#include "inet/layer.h"
#include "base/siphash.h"
#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 256

static uint32_t *chain(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	struct conn_table *t = &s->inet->conn;
	struct {
		struct ipaddr local, remote;
		uint16_t lport, rport;
		uint32_t protocol;
	} key = {local->addr, remote->addr, local->port, remote->port, protocol};

	return &t->head[(uint32_t)siphash(&world_peek(s)->hash_key, &key, sizeof(key)) &
			(t->buckets - 1)];
}

uint32_t conn_entry_of(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	const struct conn_table *t = &s->inet->conn;
	uint32_t e;

	if (!t->buckets)
		return 0;
	for (e = *chain(s, protocol, local, remote); e; e = t->entry[e].next) {
		const struct conn_entry *c = &t->entry[e];

		if (c->protocol == protocol && endpoint_eq(&c->remote, remote) &&
		    endpoint_eq(&c->local, local))
			break;
	}
	return e;
}

static int grow_chains(struct stack *s)
{
	struct conn_table *t = &s->inet->conn;
	uint32_t old = t->buckets, buckets = old ? old * 2 : FIRST_ROOM;
	uint32_t *head = calloc(buckets, sizeof(*head)), *was = t->head;

	if (!head)
		return old ? 0 : -ENOMEM;
	t->head = head;
	t->buckets = buckets;
	for (uint32_t i = 0; i < old; i++) {
		for (uint32_t e = was[i], next; e; e = next) {
			struct conn_entry *c = &t->entry[e];
			uint32_t *at = chain(s, c->protocol, &c->local, &c->remote);

			next = c->next;
			c->next = *at;
			*at = e;
		}
	}
	free(was);
	return 0;
}

static uint32_t new_entry(struct conn_table *t)
{
	uint32_t e = t->free;

	if (e) {
		t->free = t->entry[e].next;
		return e;
	}
	if (t->used + 1 >= t->room) {
		uint32_t room = t->room ? t->room * 2 : FIRST_ROOM;
		struct conn_entry *grown = realloc(t->entry, (size_t)room * sizeof(*grown));

		if (!grown)
			return 0;
		t->entry = grown;
		t->room = room;
	}
	return ++t->used;
}

/* Entries that are no sockets own their local port, too. */
static int own_port(struct stack *s, uint32_t e)
{
	struct conn_table *t = &s->inet->conn;
	struct conn_entry *c = &t->entry[e];
	struct port_bucket *p;

	c->bucket = bucket_get(s, c->protocol, c->local.port);
	if (!c->bucket)
		return -ENOMEM;
	p = bucket_at(s, c->bucket);
	c->peer_prev = 0;
	c->peer_next = p->others;
	if (p->others)
		t->entry[p->others].peer_prev = e;
	p->others = e;
	return 0;
}

static void disown_port(struct stack *s, uint32_t e)
{
	struct conn_table *t = &s->inet->conn;
	struct conn_entry *c = &t->entry[e];
	uint32_t b = c->bucket;

	if (!b)
		return;
	if (c->peer_prev)
		t->entry[c->peer_prev].peer_next = c->peer_next;
	else
		bucket_at(s, b)->others = c->peer_next;
	if (c->peer_next)
		t->entry[c->peer_next].peer_prev = c->peer_prev;
	c->bucket = 0;
	bucket_put(s, b);
}

int conn_insert(struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref ref)
{
	struct conn_table *t = &s->inet->conn;
	uint32_t e, *at;

	if (conn_entry_of(s, protocol, local, remote))
		return -EADDRINUSE;
	if (t->count >= t->buckets && grow_chains(s))
		return -ENOMEM;
	e = new_entry(t);
	if (!e)
		return -ENOMEM;
	t->entry[e] = (struct conn_entry){
	    .local = *local, .remote = *remote, .ref = ref, .protocol = protocol};
	if (ref.kind != KIND_SOCK && own_port(s, e)) {
		t->entry[e].next = t->free;
		t->free = e;
		return -ENOMEM;
	}
	at = chain(s, protocol, local, remote);
	t->entry[e].next = *at;
	*at = e;
	t->count++;
	return 0;
}

void conn_remove(struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref ref)
{
	struct conn_table *t = &s->inet->conn;
	uint32_t e = conn_entry_of(s, protocol, local, remote), *at;

	if (!e || t->entry[e].ref.kind != ref.kind || t->entry[e].ref.index != ref.index)
		return;
	at = chain(s, protocol, local, remote);
	while (*at != e)
		at = &t->entry[*at].next;
	*at = t->entry[e].next;
	disown_port(s, e);
	t->entry[e].next = t->free;
	t->free = e;
	t->count--;
}

bool conn_find(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref *ref)
{
	uint32_t e = conn_entry_of(s, protocol, local, remote);

	if (e)
		*ref = s->inet->conn.entry[e].ref;
	return e != 0;
}

void conn_exit(struct conn_table *t)
{
	free(t->entry);
	free(t->head);
}
