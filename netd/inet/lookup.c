/*
 * Who gets a packet: the connected table first (sock_lookup_connected, conn_find), then the owners
 * of the port that have no peer. Of these the most specific wins, by the kernel's points; among
 * equals with SO_REUSEPORT a hash of sender and socket chooses (highest weight), so that a flow
 * stays with its socket, also across a restart; among equals with SO_REUSEADDR only, the newest
 * gets everything, as in the kernel.
 */
#include "inet/layer.h"
#include "base/siphash.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define SCORE_ANY    1
#define SCORE_FAMILY 1 /* an IPv4 socket before an IPv6 one that takes mapped addresses */
#define SCORE_LOCAL  4
#define SCORE_PEER   8
#define SCORE_DEVICE 2

static bool takes_family(const struct sock_rec *k, const struct endpoint *local)
{
	bool v4 = ipaddr_is_v4(&local->addr);

	if (k->family == AF_INET)
		return v4;
	return !v4 || !(k->flags & SOCK_F_V6ONLY);
}

unsigned sock_score(const struct sock_rec *k, const struct endpoint *local,
    const struct endpoint *remote, uint32_t dev)
{
	unsigned score = SCORE_ANY;

	if (k->local.port != local->port || (k->flags & SOCK_F_ORPHAN) || !takes_family(k, local))
		return 0;
	if (k->family == AF_INET)
		score += SCORE_FAMILY;
	if (!ipaddr_is_any(&k->local.addr)) {
		if (!ipaddr_eq(&k->local.addr, &local->addr))
			return 0;
		score += SCORE_LOCAL;
	}
	if (sock_connected(k)) {
		if (!endpoint_eq(&k->remote, remote))
			return 0;
		score += SCORE_PEER;
	}
	if (k->bound_dev != NO_INDEX) {
		if (dev != NO_INDEX && k->bound_dev != dev)
			return 0;
		score += SCORE_DEVICE;
	}
	return score;
}

static bool listens(const struct sock_rec *k)
{
	return k->type != SOCK_STREAM || (k->flags & SOCK_F_LISTEN);
}

/* A flow's preference among the members of a group: the same after a restart, and for most flows
 * when members come and go. */
static uint64_t weight(
    const struct stack *s, uint32_t sk, const struct endpoint *local, const struct endpoint *remote)
{
	struct {
		struct endpoint local, remote;
		uint32_t sk;
	} key = {*local, *remote, sk};

	key.local.pad = key.remote.pad = 0;
	return siphash(&world_peek(s)->hash_key, &key, sizeof(key));
}

static bool better(const struct stack *s, uint32_t a, uint32_t b, const struct endpoint *local,
    const struct endpoint *remote)
{
	const struct sock_rec *ka = sock_peek(s, a), *kb = sock_peek(s, b);

	if (ka->flags & kb->flags & SOCK_F_REUSEPORT)
		return weight(s, a, local, remote) > weight(s, b, local, remote);
	return ka->arrival > kb->arrival;
}

uint32_t sock_lookup_bound(const struct stack *s, uint8_t protocol, const struct endpoint *local,
    const struct endpoint *remote, uint32_t dev)
{
	uint32_t b = bucket_find(s, protocol, local->port), best = NO_INDEX;
	unsigned top = 0;

	if (!b)
		return NO_INDEX;
	for (uint32_t i = bucket_at(s, b)->idle; i; i = s->inet->node[i - 1].next) {
		const struct sock_rec *k = sock_peek(s, i - 1);
		unsigned score = k && listens(k) ? sock_score(k, local, remote, dev) : 0;

		if (!score || score < top)
			continue;
		if (score > top || better(s, i - 1, best, local, remote))
			best = i - 1;
		top = score;
	}
	return best;
}

uint32_t sock_lookup_connected(const struct stack *s, uint8_t protocol,
    const struct endpoint *local, const struct endpoint *remote)
{
	struct conn_ref ref;

	return conn_find(s, protocol, local, remote, &ref) && ref.kind == KIND_SOCK ? ref.index
										    : NO_INDEX;
}
