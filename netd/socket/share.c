/*
 * Share: sockets of a session move into a memory of their own. Theory of operation: proto/share.h.
 *
 * The asker has parked: it touches no position of these sockets until the answer, which it gets after
 * the commit. So the daemon reads the last positions once, moves the rings as for any move, and the old
 * receive ring needs no acknowledgement. Every step is harmless if the daemon dies: nothing but the
 * share's deposit is outside before the commit, and a deposit without a record is dropped.
 */
#include "socket/layer.h"
#include "base/log.h"
#include "base/util.h"
#include "proto/channel.h"
#include "socket/share.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_SLOTS_LEAST 16u

static int check_slot(const struct session *ss, uint32_t slot, uint8_t *named)
{
	if (slot >= ss->lay.slots || session_sock(ss, slot) == NO_INDEX)
		return -EBADF;
	if (session_holder(ss, slot) != NO_INDEX)
		return -EALREADY;
	/* Named twice it would have two places in the share, and two claims. */
	return named[slot]++ ? -EINVAL : 0;
}

static int check_slots(const struct session *ss, const Netd__Control__Share *q)
{
	uint8_t *named = calloc(ss->lay.slots, 1);
	int ret = !named ? -ENOMEM : q->n_slot ? 0 : -EINVAL;

	for (size_t i = 0; i < q->n_slot && !ret; i++)
		ret = check_slot(ss, q->slot[i], named);
	free(named);
	return ret;
}

static int share_build(struct stack *s, struct session *share, struct session_rec *r, uint64_t size)
{
	int ret = session_memory(share, r, size);

	if (!ret)
		ret = session_map(s, share, NULL);
	if (ret)
		return ret;
	session_header_fill(s, share);
	for (uint32_t i = 0; i < share->lay.slots; i++)
		for (unsigned k = 0; k < CM_SLOT_SETS; k++)
			session_slot(share, i)->set[k] = CM_NO_SET;
	KILLPOINT("socket.share.made");
	ret = session_deposit(s, share);
	KILLPOINT("socket.share.deposited");
	return ret;
}

/* A share for `n` sockets, paid for by the asker's user. */
static int share_new(struct stack *s, const struct session *asker, uint32_t n, struct session **out)
{
	const struct session_rec *a = session_peek(s, asker);
	struct session_rec *r;
	struct session *share;
	int ret;

	ret = session_make(s, asker->user, &share);
	if (ret)
		return ret;
	r = session_get(s, share);
	*r = (struct session_rec){.state = SESSION_SHARE, .version = a->version, .uid = a->uid, .gid = a->gid, .pid = a->pid,
	    .slots = round_up_pow2(max_of(n, SHARE_SLOTS_LEAST)), .since_ns = s->now};
	memcpy(r->name, a->name, sizeof(r->name));
	s->random(s->random_arg, r->secret, sizeof(r->secret));
	ret = share_build(s, share, r, a->memory_size); /* for more it may have no address space */
	if (ret) {
		session_unmake(s, share);
		return ret;
	}
	*out = share;
	return 0;
}

/* The client's words go along. */
static void copy_words(const struct session *from, uint32_t slot, const struct session *to, uint32_t to_slot)
{
	const struct cm_slot *f = session_slot(from, slot);
	struct cm_slot *t = session_slot(to, to_slot);

	store_once(&t->rx_head, load_acquire(&f->rx_head));
	store_once(&t->tx_tail, load_acquire(&f->tx_tail));
	store_once(&t->rx_epoch_ack, load_once(&f->rx_epoch_ack));
	store_once(&t->tx_epoch_ack, load_once(&f->tx_epoch_ack));
}

static int move(struct stack *s, struct session *ss, uint32_t slot, struct session *share, uint32_t to)
{
	uint32_t sk = session_sock(ss, slot);
	struct sock_rec *k = sock_get(s, sk);
	int ret;

	if (!k)
		return -ENOMEM;
	copy_words(ss, slot, share, to);
	if (k->rx_old.cap)
		sock_forget_old_ring(s, k);
	ret = session_set_sock(share, to, sk);
	if (!ret)
		ret = sock_adopt(s, sk, share->index, share->gen, to);
	if (!ret && k->rx_old.cap)
		sock_forget_old_ring(s, k);
	if (!ret) {
		session_set_sock(ss, slot, NO_INDEX);
		ret = holder_add(s, ss, slot, sk, false);
	}
	socket_charge(s, sk, share, k->uid);
	KILLPOINT("socket.share.moved");
	return ret;
}

int session_share(struct stack *s, struct session *ss, const Netd__Control__Share *q, const char **why)
{
	struct session *share;
	int ret;

	*why = "not a session with such sockets";
	if (session_peek(s, ss)->state != SESSION_ATTACHED)
		return -EINVAL;
	ret = check_slots(ss, q);
	if (ret)
		return ret;
	*why = "too many holders";
	ret = policy_holders(s, ss->user, (uint32_t)q->n_slot);
	if (ret)
		return ret;
	/* The newest positions become facts before anything moves. */
	*why = "ring positions";
	for (size_t i = 0; i < q->n_slot; i++)
		if (session_poke(s, ss, q->slot[i], session_sock(ss, q->slot[i])) == -EPROTO)
			return -EPROTO;
	*why = "no memory, descriptor or record for a share";
	ret = share_new(s, ss, (uint32_t)q->n_slot, &share);
	if (ret)
		return ret;
	for (size_t i = 0; i < q->n_slot; i++) {
		uint32_t sk = session_sock(ss, q->slot[i]);

		/* Out of memory in the middle: this one is reset, the others are not to suffer. */
		if (move(s, ss, q->slot[i], share, (uint32_t)i)) {
			log_error("socket %u cannot be shared: it is reset", sk);
			session_set_sock(ss, q->slot[i], NO_INDEX);
			session_set_sock(share, (uint32_t)i, NO_INDEX);
			session_tell(s, ss, q->slot[i], CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP);
			death_orphan(s, sk, true);
		}
	}
	LIST_PUT(s->socket, share, done);
	return 0;
}

/* ---- answers: derived from the records, so that a successor gives the same one */

int share_send(struct stack *s, struct session *ss, const uint32_t *slot, size_t n, Netd__Control__Response *a, bool join)
{
	Netd__Control__Shared m = NETD__CONTROL__SHARED__INIT;
	uint32_t *at = n ? calloc(n, sizeof(*at)) : NULL;
	struct session *share = NULL;
	int ret;

	for (size_t i = 0; at && i < n; i++) {
		uint32_t sk = session_sock(ss, slot[i]);
		struct session *home = sk == NO_INDEX ? NULL : share_of(s, sk);
		const struct sock_rec *k = home ? sock_peek(s, sk) : NULL;

		at[i] = k ? k->slot : UINT32_MAX;
		if (!k)
			continue;
		share = home;
		m.family = k->family;
		m.type = k->type;
		m.protocol = k->protocol;
	}
	if (!share) {
		a->error = -ENOMEM;
		ret = channel_send(ss->control, &a->base, NULL, 0);
		free(at);
		return ret;
	}
	m.share = share->index;
	m.memory_size = share->lay.size;
	m.slots = share->lay.slots;
	m.n_slot = n;
	m.slot = at;
	m.secret = (ProtobufCBinaryData){SHARE_SECRET, (uint8_t *)(uintptr_t)session_peek(s, share)->secret};
	a->body_case = join ? NETD__CONTROL__RESPONSE__BODY_JOINED : NETD__CONTROL__RESPONSE__BODY_SHARED;
	if (join)
		a->joined = &m;
	else
		a->shared = &m;
	ret = channel_send(ss->control, &a->base, &share->memfd, 1);
	free(at);
	return ret;
}
