/*
 * Programs that talk to themselves.
 *
 * On the kernel lo delivers within send(): whoever holds both ends finds at the second what it gave to the first, with its
 * next look and without waiting. Here the daemon delivers, a moment later. To wait for it in every send would cost all
 * programs on lo a round trip, and is for nobody's good where the other end is another process. So:
 *
 * - `made` has a bit for each local port from which this process connected, or to which it bound a datagram socket. A child
 *   whose peer is such a place of this very host, or a datagram to one, shows that the process talks to itself. From then on
 *   it is marked for good: such programs are rare, and being wrong costs time only.
 * - Looks of a marked process (poll and its kin, reading without waiting, FIONREAD) begin with ns_settle(): is there
 *   something in the submission ring that is not done, then a CM_NOP is sent after it and waited for. The daemon works requests
 *   in order, works off lo within the same cycle, and tells of the sockets before it answers.
 */
#include "clientlib/session.h"

static uint64_t made[65536 / 64]; /* by port; atomic */
static bool talks;		  /* atomic */

static bool is_loopback(const struct ipaddr *a)
{
	return ipaddr_is_v4(a) && ipaddr_to_v4(a) >> 24 == 127;
}

static bool same_host(const struct endpoint *local, const struct endpoint *remote)
{
	return is_loopback(&remote->addr) ||
	       (ipaddr_eq(&local->addr, &remote->addr) && !ipaddr_is_any(&remote->addr));
}

static uint64_t bit(uint16_t port)
{
	return 1ull << port % 64;
}

static void check(const struct endpoint *local, const struct endpoint *remote)
{
	if (same_host(local, remote) && load_once(&made[remote->port / 64]) & bit(remote->port))
		store_once(&talks, true);
}

void self_made(struct nsock *s)
{
	struct endpoint local, remote;

	if (s->family == AF_PACKET || s->type == SOCK_RAW || sock_names(s, &local, &remote) < 0)
		return;
	if (s->type == SOCK_DGRAM || same_host(&local, &remote))
		__atomic_fetch_or(&made[local.port / 64], bit(local.port), __ATOMIC_RELAXED);
}

void self_met(struct nsock *s, const struct endpoint *peer)
{
	struct endpoint local, remote;

	if (load_once(&talks) || s->family == AF_PACKET || s->type == SOCK_RAW ||
	    sock_names(s, &local, &remote) < 0)
		return;
	check(&local, peer->port ? peer : &remote);
}

bool ns_settle(void)
{
	struct session *ss = load_acquire(&ns_current);
	struct cm_sqe nop = {.op = CM_NOP};

	if (!load_once(&talks) || !ss || session_dead(ss) || !ns_owner())
		return false;
	if (load_acquire(&ss->h->sq_cons) < load_once(&ss->sq_prod))
		(void)request_wait(ss, &nop, NULL);
	return true; /* also if there was nothing to wait for: it may have arrived since the last look */
}
