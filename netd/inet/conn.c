/*
 * The connected table: 4-tuples to records of any kind, by a keyed hash; grows by doubling. See
 * inet/layer.h. An entry keeps its hash: so a chain is walked without looking at records that are
 * not meant, and the table grows without looking at any.
 */
#include "inet/layer.h"
#include "base/siphash.h"
#include "base/util.h"
#include <errno.h>
#include <stdlib.h>

#define FIRST_ROOM 256

/* A 4-tuple that is looked for. */
struct tuple {
	const struct endpoint *local, *remote;
	uint32_t hash;
	uint8_t protocol;
};

/* An IPv4 pair is 16 bytes to hash instead of 40: a third of the work, for every segment and for every connection
 * after a restart. */
static uint64_t hash_of(const struct siphash_key *secret, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	struct {
		struct ipaddr local, remote;
		uint16_t lport, rport;
		uint32_t protocol;
	} key;
	struct {
		uint32_t local, remote;
		uint16_t lport, rport;
		uint32_t protocol;
	} v4;

	if (ipaddr_is_v4(&local->addr) && ipaddr_is_v4(&remote->addr)) {
		v4.local = ipaddr_to_v4(&local->addr);
		v4.remote = ipaddr_to_v4(&remote->addr);
		v4.lport = local->port;
		v4.rport = remote->port;
		v4.protocol = protocol;
		return siphash(secret, &v4, sizeof(v4));
	}
	key.local = local->addr;
	key.remote = remote->addr;
	key.lport = local->port;
	key.rport = remote->port;
	key.protocol = protocol;
	return siphash(secret, &key, sizeof(key));
}

static struct tuple tuple_of(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	return (struct tuple){.local = local,
	    .remote = remote,
	    .hash = (uint32_t)hash_of(&world_peek(s)->hash_key, protocol, local, remote),
	    .protocol = protocol};
}

static bool entry_is(const struct stack *s, const struct conn_entry *c, const struct tuple *t)
{
	const struct endpoint *local, *remote;

	if (c->hash != t->hash || c->protocol != t->protocol)
		return false;
	if (c->kind == KIND_SOCK) {
		const struct sock_rec *k = sock_peek(s, c->index);

		if (!k)
			return false;
		local = &k->local;
		remote = &k->remote;
	} else {
		local = &s->inet->conn.names[c->names].local;
		remote = &s->inet->conn.names[c->names].remote;
	}
	return endpoint_eq(remote, t->remote) && endpoint_eq(local, t->local);
}

static uint32_t find(const struct stack *s, const struct tuple *t)
{
	const struct conn_table *ct = &s->inet->conn;
	uint32_t e;

	if (!ct->buckets)
		return 0;
	for (e = ct->head[t->hash & (ct->buckets - 1)]; e; e = ct->entry[e].next)
		if (entry_is(s, &ct->entry[e], t))
			break;
	return e;
}

uint32_t conn_entry_of(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote)
{
	struct tuple t = tuple_of(s, protocol, local, remote);

	return find(s, &t);
}

/* ---- room */

static int grow_chains(struct conn_table *t, uint32_t buckets)
{
	uint32_t *head = calloc(buckets, sizeof(*head)), *was = t->head, old = t->buckets;

	if (!head)
		return old ? 0 : -ENOMEM;
	t->head = head;
	t->buckets = buckets;
	for (uint32_t i = 0; i < old; i++) {
		for (uint32_t e = was[i], next; e; e = next) {
			uint32_t *at = &head[t->entry[e].hash & (buckets - 1)];

			next = t->entry[e].next;
			t->entry[e].next = *at;
			*at = e;
		}
	}
	free(was);
	return 0;
}

static int grow_entries(struct conn_table *t, uint32_t room)
{
	struct conn_entry *grown = realloc(t->entry, (size_t)room * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	t->entry = grown;
	t->room = room;
	return 0;
}

static int grow_names(struct conn_table *t, uint32_t room)
{
	struct conn_names *grown = realloc(t->names, (size_t)room * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	t->names = grown;
	t->names_room = room;
	return 0;
}

static uint32_t room_for(uint32_t n)
{
	return max_of(round_up_pow2(n + 2), (uint32_t)FIRST_ROOM);
}

int conn_reserve(struct stack *s, uint32_t n, uint32_t named)
{
	struct conn_table *t = &s->inet->conn;
	int ret = 0;

	if (room_for(n) > t->buckets)
		ret = grow_chains(t, room_for(n));
	if (!ret && n + 2 > t->room)
		ret = grow_entries(t, room_for(n));
	if (!ret && named && named + 2 > t->names_room)
		ret = grow_names(t, room_for(named));
	return ret;
}

static uint32_t new_entry(struct conn_table *t)
{
	uint32_t e = t->free;

	if (e) {
		t->free = t->entry[e].next;
		return e;
	}
	if (t->used + 1 >= t->room && grow_entries(t, t->room ? t->room * 2 : FIRST_ROOM))
		return 0;
	return ++t->used;
}

static void put_entry(struct conn_table *t, uint32_t e)
{
	t->entry[e].next = t->free;
	t->free = e;
}

/* ---- names, and the ports that they claim */

static uint32_t new_names(struct conn_table *t)
{
	uint32_t n = t->names_free;

	if (n) {
		t->names_free = t->names[n].next;
		return n;
	}
	if (t->names_used + 1 >= t->names_room && grow_names(t, t->names_room ? t->names_room * 2 : FIRST_ROOM))
		return 0;
	return ++t->names_used;
}

static int claim_port(struct stack *s, uint32_t n, uint8_t protocol)
{
	struct conn_names *names = s->inet->conn.names;
	struct port_bucket *p;

	names[n].bucket = bucket_get(s, protocol, names[n].local.port);
	if (!names[n].bucket)
		return -ENOMEM;
	p = bucket_at(s, names[n].bucket);
	names[n].next = p->others;
	if (p->others)
		names[p->others].prev = n;
	p->others = n;
	return 0;
}

static void drop_names(struct stack *s, uint32_t n)
{
	struct conn_table *t = &s->inet->conn;
	struct conn_names *c = &t->names[n];

	if (!n)
		return;
	if (c->bucket) {
		if (c->prev)
			t->names[c->prev].next = c->next;
		else
			bucket_at(s, c->bucket)->others = c->next;
		if (c->next)
			t->names[c->next].prev = c->prev;
		bucket_put(s, c->bucket);
	}
	c->next = t->names_free;
	t->names_free = n;
}

/* 0 without memory. */
static uint32_t keep_names(struct stack *s, const struct tuple *t, const struct port_claim *claim)
{
	struct conn_table *ct = &s->inet->conn;
	uint32_t n = new_names(ct);

	if (!n)
		return 0;
	ct->names[n] = (struct conn_names){.local = *t->local, .remote = *t->remote};
	if (!claim)
		return n;
	ct->names[n].claim = *claim;
	if (!claim_port(s, n, t->protocol))
		return n;
	drop_names(s, n);
	return 0;
}

/* ---- in and out */

int conn_insert_claim(struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref ref, const struct port_claim *claim)
{
	struct conn_table *ct = &s->inet->conn;
	struct tuple t = tuple_of(s, protocol, local, remote);
	uint32_t e, names = 0, *at;

	if (find(s, &t))
		return -EADDRINUSE;
	if (ct->count >= ct->buckets && grow_chains(ct, ct->buckets ? ct->buckets * 2 : FIRST_ROOM))
		return -ENOMEM;
	e = new_entry(ct);
	if (!e)
		return -ENOMEM;
	if (ref.kind != KIND_SOCK && !(names = keep_names(s, &t, claim))) {
		put_entry(ct, e);
		return -ENOMEM;
	}
	at = &ct->head[t.hash & (ct->buckets - 1)];
	ct->entry[e] = (struct conn_entry){.next = *at,
	    .hash = t.hash,
	    .index = ref.index,
	    .names = names,
	    .kind = (uint8_t)ref.kind,
	    .protocol = protocol};
	*at = e;
	ct->count++;
	return 0;
}

int conn_insert(struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref ref)
{
	return conn_insert_claim(s, protocol, local, remote, ref, NULL);
}

void conn_remove(struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref ref)
{
	struct conn_table *ct = &s->inet->conn;
	struct tuple t = tuple_of(s, protocol, local, remote);
	uint32_t e = find(s, &t), *at;

	if (!e || ct->entry[e].kind != ref.kind || ct->entry[e].index != ref.index)
		return;
	at = &ct->head[t.hash & (ct->buckets - 1)];
	while (*at != e)
		at = &ct->entry[*at].next;
	*at = ct->entry[e].next;
	drop_names(s, ct->entry[e].names);
	put_entry(ct, e);
	ct->count--;
}

bool conn_find(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, struct conn_ref *ref)
{
	uint32_t e = conn_entry_of(s, protocol, local, remote);

	if (e)
		*ref = (struct conn_ref){
		    (enum record_kind)s->inet->conn.entry[e].kind, s->inet->conn.entry[e].index};
	return e != 0;
}

void conn_exit(struct conn_table *t)
{
	free(t->entry);
	free(t->names);
	free(t->head);
}
