/* A session's slots: what is in them, what the client says there of its positions, and what it is told. */
#include "socket/layer.h"
#include "base/util.h"
#include "state/switchboard.h"
#include <errno.h>
#include <stdlib.h>

int session_set_sock(struct session *ss, uint32_t slot, uint32_t sk)
{
	if (slot >= ss->notes) {
		uint32_t room = round_up_pow2(max_of(slot + 1, 64u));
		struct slot_note *grown;

		if (sk == NO_INDEX)
			return 0;
		grown = realloc(ss->note, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		for (uint32_t i = ss->notes; i < room; i++)
			grown[i] = (struct slot_note){.sk = NO_INDEX, .holder = NO_INDEX};
		ss->note = grown;
		ss->notes = room;
	}
	ss->socks += (sk != NO_INDEX) - (ss->note[slot].sk != NO_INDEX);
	ss->note[slot].sk = sk;
	return 0;
}

int session_poke(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct session *share = k && session_holder(ss, slot) != NO_INDEX ? share_of(s, sk) : NULL;
	struct cm_slot *m = share ? session_slot(share, k->slot) : session_slot(ss, slot);
	uint64_t rx_head, tx_tail;

	if (!k)
		return -EPROTO;
	rx_head = load_acquire(&m->rx_head);
	tx_tail = load_acquire(&m->tx_tail);
	if (k->rx_old.cap)
		sock_epoch_ack(s, sk, load_once(&m->rx_epoch_ack));
	return sock_ops_of(s, k)->poke(s, sk, rx_head, tx_tail);
}

void session_tell(struct stack *s, struct session *ss, uint32_t slot, uint32_t state)
{
	struct socket_layer *l = s->socket;

	if (state == TELL_NOBODY || l->n_news == NEWS_MAX)
		return;
	l->news[l->n_news++] = (struct news){ss, slot, state};
}

void session_close_sock(
    struct stack *s, struct session *ss, uint32_t slot, bool killed, uint32_t state)
{
	uint32_t sk = session_sock(ss, slot);
	struct sock_rec *k;

	if (session_holder(ss, slot) != NO_INDEX) {
		holder_end(s, ss, slot, killed, state);
		return;
	}
	k = sock_get(s, sk);
	session_set_sock(ss, slot, NO_INDEX);
	session_tell(s, ss, slot, state);
	if (!k)
		return;
	k->flags |= SOCK_F_ORPHAN;
	k->session = NO_INDEX;
	sock_ops_of(s, k)->close(s, sk, killed);
	if (!ss->socks && session_peek(s, ss)->state == SESSION_SHARE) {
		session_get(s, ss)->state = SESSION_DEAD;
		LIST_PUT(s->socket, ss, done);
	}
}

int slot_settle(struct stack *s, struct session *ss, uint32_t slot, uint32_t sk)
{
	struct session_rec *r = session_get(s, ss);
	int ret = r ? session_set_sock(ss, slot, sk) : -ENOMEM;

	if (ret)
		return ret;
	r->slot_high = max_of(r->slot_high, slot + 1);
	socket_charge(s, sk, ss, r->uid);
	sock_changed(s, sk);
	return 0;
}

int slot_available(struct stack *s, struct session *ss, uint32_t slot)
{
	int ret;

	if (slot >= ss->lay.slots) {
		ss->lie = "slot number";
		return -EBADF;
	}
	if (session_sock(ss, slot) != NO_INDEX)
		return -EEXIST;
	ret = policy_socket(s, ss->user);
	return ret ? ret : policy_memory(s, ss->user, 0);
}
