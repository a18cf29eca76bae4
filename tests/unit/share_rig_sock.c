/* Sockets: what their holders are told, how their bytes move, how they live and end. See
 * share_rig_parts.h. */
#include "share_rig_parts.h"
#include "proto/channel.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sock rig_socks[SOCKS];

/* ---- telling */

static void wake(unsigned mem, unsigned slot)
{
	struct mem *s = &rig_mems[mem];
	struct cm_slot *own = rig_slot(mem, slot);
	uint32_t *events = (uint32_t *)(void *)(s->p + s->h->ev_off);
	struct cm_set *sets = (struct cm_set *)(void *)(s->p + s->h->set_off);

	store_release(&own->ev_seq, own->ev_seq + 1);
	fence_full();
	if (s->ev_prod - load_acquire(&s->h->ev_cons) < SLOTS) {
		events[s->ev_prod & (SLOTS - 1)] = slot;
		store_release(&s->h->ev_prod, ++s->ev_prod);
	} else {
		store_release(&s->h->ev_lost, s->h->ev_lost + 1);
	}
	fence_full();
	if (load_once(&own->want))
		syscall(SYS_futex, &own->ev_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	for (int i = 0; i < CM_SLOT_SETS; i++) {
		uint32_t set = load_once(&own->set[i]), arm;

		if (set >= CM_SETS || s->set_bell[set] < 0)
			continue;
		arm = load_acquire(&sets[set].arm);
		if ((arm & 1) && arm != s->rung[set]) {
			s->rung[set] = arm;
			bell_ring(s->set_bell[set]);
		}
	}
}

void rig_tell(int i)
{
	struct sock *k = &rig_socks[i];
	struct cm_slot *m;

	if (!k->mem || k->orphan)
		return;
	m = rig_slot(k->mem, k->slot);
	if (memcmp(&m->rx, &k->rx, sizeof(k->rx)) || memcmp(&m->tx, &k->tx, sizeof(k->tx)) ||
	    memcmp(&m->remote, &k->remote, sizeof(k->remote)) ||
	    memcmp(&m->local, &k->local, sizeof(k->local))) {
		store_once(&m->layout_seq, m->layout_seq + 1);
		fence_full();
		m->rx = k->rx;
		m->tx = k->tx;
		m->local = k->local;
		m->remote = k->remote;
		store_release(&m->layout_seq, m->layout_seq + 1);
	}
	store_release(&m->rx_tail, k->rx_tail);
	store_release(&m->tx_head, k->tx_head);
	store_release(&m->accept_ready, k->queued);
	store_release(&m->so_error, k->error);
	store_release(&m->so_error_seq, k->error_seq);
	store_release(&m->state, k->state);
	for (unsigned n = 0; n < k->holders; n++)
		wake(k->holder[n].mem, k->holder[n].slot);
}

/* ---- bytes */

static uint64_t written(const struct sock *k)
{
	return k->mem ? load_acquire(&rig_slot(k->mem, k->slot)->tx_tail) : 0;
}

static size_t room_in(const struct sock *k)
{
	return k->rx.cap
		   ? k->rx.cap - (k->rx_tail - load_acquire(&rig_slot(k->mem, k->slot)->rx_head))
		   : 0;
}

/* Moves what `k` wrote to where it is read. Did anything change? */
static bool pump(struct sock *k)
{
	struct sock *to = k->peer ? &rig_socks[k->peer - 1] : k;
	uint64_t tail = k->orphan ? 0 : written(k), had = to->rx_tail;
	uint32_t state = to->state;

	if (k->orphan) {
		while (k->left_at < k->left_len && room_in(to))
			rig_mems[to->mem].p[ring_place_at(&to->rx, to->rx_tail++)] =
			    k->left[k->left_at++];
	} else if (to->orphan) { /* nobody reads it: a reset */
		if (k->tx_head != tail && !(k->state & CM_ST_DEAD)) {
			k->state |= CM_ST_DEAD | CM_ST_HUP | CM_ST_RX_EOF | CM_ST_TX_SHUT;
			k->error = ECONNRESET;
			k->error_seq++;
			k->tx_head = tail;
			return true;
		}
	} else if (k->mem) {
		while (k->tx_head < tail && room_in(to))
			rig_mems[to->mem].p[ring_place_at(&to->rx, to->rx_tail++)] =
			    rig_mems[k->mem].p[ring_place_at(&k->tx, k->tx_head++)];
	}
	if (k->shut && to->mem && (k->orphan ? k->left_at == k->left_len : k->tx_head == tail))
		to->state |= CM_ST_RX_EOF;
	return to->rx_tail != had || to->state != state;
}

void rig_look(int i)
{
	struct sock *k = &rig_socks[i];

	if (!k->used || !(k->state & CM_ST_CONNECTED))
		return;
	if (!pump(k))
		return;
	rig_tell(i);
	if (k->peer)
		rig_tell(k->peer - 1);
}

/* ---- lives */

int rig_sock_new(void)
{
	int i = 0;

	while (rig_socks[i].used)
		if (++i == SOCKS)
			abort();
	rig_socks[i] = (struct sock){.used = true, .state = CM_ST_OPEN};
	return i;
}

static void bury(int i)
{
	struct sock *k = &rig_socks[i];

	if (k->peer)
		rig_socks[k->peer - 1].peer = 0;
	free(k->left);
	k->used = false;
}

/* Nobody holds it any more. */
static void sock_end(int i)
{
	struct sock *k = &rig_socks[i];
	uint64_t tail = written(k);

	share_rig->socks--;
	for (unsigned n = 0; n < k->queued; n++)
		sock_end(k->queue[n]);
	if (k->peer && k->mem) {
		k->left_len = tail - k->tx_head;
		k->left = malloc(k->left_len + 1);
		for (size_t n = 0; n < k->left_len; n++)
			k->left[n] = rig_mems[k->mem].p[ring_place_at(&k->tx, k->tx_head + n)];
	}
	if (k->mem) {
		rig_place_free(k->mem, &k->rx);
		rig_place_free(k->mem, &k->tx);
		if (rig_mems[k->mem].ctl < 0 && --rig_mems[k->mem].holds == 0) {
			rig_memory_free(k->mem);
			share_rig->shares--;
		}
	}
	k->orphan = k->shut = true;
	if (!k->peer)
		bury(i);
	else if (rig_socks[k->peer - 1].orphan) {
		int other = k->peer - 1;

		k->peer = rig_socks[other].peer = 0;
		bury(other);
		bury(i);
	}
}

void rig_sock_check(int i)
{
	for (int t = 0; t < TOKENS; t++)
		if (rig_tokens[t].fd > 0 && rig_tokens[t].sock == i)
			return;
	if (rig_socks[i].used && !rig_socks[i].orphan && !rig_socks[i].holders)
		sock_end(i);
}

void rig_hold(unsigned n, unsigned slot, int s, uint32_t state)
{
	struct sock *k = &rig_socks[s];

	if (k->holders == HOLDERS)
		abort();
	rig_mems[n].held[slot] = s + 1;
	k->holder[k->holders++] = (struct holder){n, slot};
	if (state)
		store_release(&rig_slot(n, slot)->state, state);
}

void rig_let_go(unsigned mem, unsigned slot)
{
	int i = rig_mems[mem].held[slot] - 1;
	struct sock *k;

	if (i < 0)
		return;
	k = &rig_socks[i];
	rig_mems[mem].held[slot] = 0;
	rig_slot(mem, slot)->state = 0;
	for (unsigned n = 0; n < k->holders; n++)
		if (k->holder[n].mem == mem && k->holder[n].slot == slot)
			k->holder[n--] = k->holder[--k->holders];
	rig_sock_check(i);
}
