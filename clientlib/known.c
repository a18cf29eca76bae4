/*
 * Destinations that the daemon has found a way to.
 *
 * The kernel's sendto() says at once that there is no way to an address, or that a datagram is too
 * long. Here a datagram that is written into the ring is worked later, and to wait for each would
 * cost every sender a round trip. So only the first one to a destination is waited for
 * (CM_DGRAM_ASK): what went well once for this socket, with these wishes, goes without asking from
 * then on, and what becomes wrong later is a pending error of the socket. An address that we heard
 * from counts as known, so a server's answers are not waited for.
 *
 * One table a process, an entry a hash: two that collide cost a question, or make an error come
 * late.
 */
#include "clientlib/cmsg.h"

#define ENTRIES 1024u
#define ANY_LEN UINT32_MAX

static uint64_t table[ENTRIES]; /* hash | longest datagram that went */
static uint32_t serial;

void known_forget(struct nsock *s)
{
	store_once(&s->known, __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED));
}

static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}

static uint32_t hash_of(const struct nsock *s, const struct cm_dgram *d)
{
	uint32_t id = load_once(&s->known), flags = d->flags & CM_DGRAM_LINK;
	uint64_t h = mix(0xcbf29ce484222325ull, &id, sizeof(id));

	h = mix(h, &d->peer.addr, sizeof(d->peer.addr));
	h = mix(h, &d->local.addr, sizeof(d->local.addr));
	h = mix(h, &d->ifindex, sizeof(d->ifindex));
	h = mix(h, &d->gso, sizeof(d->gso));
	h = mix(h, &flags, sizeof(flags));
	return (uint32_t)(h ^ h >> 32) | 1;
}

static void remember(uint32_t hash, uint32_t len)
{
	store_once(&table[hash / 2 % ENTRIES], (uint64_t)hash << 32 | len);
}

/* Lengths matter only to sockets that must not fragment, and to segments. */
static bool any_length(const struct nsock *s, const struct cm_dgram *d)
{
	return !load_once(&s->d->no_fragments) && !d->gso && !load_once(&s->d->segment);
}

bool known_has(const struct nsock *s, const struct cm_dgram *d)
{
	uint32_t hash = hash_of(s, d);
	uint64_t e = load_once(&table[hash / 2 % ENTRIES]);

	return (uint32_t)(e >> 32) == hash && d->len <= (uint32_t)e;
}

void known_add(const struct nsock *s, const struct cm_dgram *d)
{
	remember(hash_of(s, d), any_length(s, d) ? ANY_LEN : d->len);
}

void known_peer(const struct nsock *s, const struct endpoint *from)
{
	struct cm_dgram d = {.peer = *from};

	if (any_length(s, &d) && !known_has(s, &d))
		remember(hash_of(s, &d), ANY_LEN);
}
