/*
 * Becoming the active netd-inet.
 *
 * The role is the robust mutex in the arena; whoever holds it is active, and its predecessor is dead.
 * In order: ask the supervisor to drain the predecessor's channel, so that every deposit it made is
 * here; find the truth of the arena; give each layer its descriptors and memories; rebuild what is
 * derived; shift the timers by the pause; commit (a new incarnation); speak everything again.
 * A death at any of these points makes the next standby do the same. Without a supervisor (daemon/alone.h) nobody
 * is asked; a supervisor that may have died with our question asks, and is asked again.
 *
 * Told again is what clients can have missed (state_untold()). If a record was found corrupt, that is everything.
 */
#include "daemon/alone.h"
#include "daemon/daemon.h"
#include "daemon/judge.h"
#include "daemon/world.h"
#include "base/killpoint.h"
#include "base/log.h"
#include <errno.h>
#include <string.h>

#define GRANT_WAIT_MS 5000

/* A supervisor that says nothing at all is stopped: it will grant when it goes on, or die. One that pings has forgotten us. */
static int drain_predecessor(struct daemon *d)
{
	struct handover *h = &d->hand;
	uint64_t give_up = clock_now() + GRANT_WAIT_MS * 1000000ull;
	uint32_t asked = h->asked, heard = h->heard;

	h->leading = true;
	h->granted = false;
	link_take_over(d);
	while (!h->granted && !alone(h) && !h->gone) {
		if (h->stop)
			return -ECANCELED;
		if (h->heard != heard && clock_now() > give_up)
			return -ETIMEDOUT;
		alone_wait(h, 100);
		if (h->asked != asked && !h->granted)
			link_take_over(d);
		asked = h->asked;
	}
	/* The supervisor died while it was telling us everything: the next standby knows more. */
	return h->synced && h->config ? 0 : -ENODATA;
}

static void give_deposits(struct daemon *d)
{
	struct handed h;

	d->hand.taken = true;
	while (handover_take(&d->hand, &h)) {
		KILLPOINT("takeover.deposit");
		socket_handed(&d->stack, h.kind, h.index, h.generation, h.fds, h.nfds, h.map);
	}
}

/* A hung predecessor was down before it was dead: since its last proof of life. */
static uint64_t down_since(const struct daemon *d)
{
	uint64_t dead = d->hand.clock->down_ns, hung = d->hand.died_ns;

	return hung && hung < dead ? hung : dead;
}

int takeover(struct daemon *d, bool predecessor_died)
{
	struct stack *s = &d->stack;
	struct world_rec *w;
	bool fresh;
	int ret = drain_predecessor(d), corrupt;

	if (ret < 0)
		return ret;
	KILLPOINT("takeover.granted");
	s->now = clock_now();
	if ((corrupt = world_recover(s)) < 0)
		return corrupt;
	if ((ret = socket_layer_init(s, &d->env)) < 0)
		return ret;
	configure_limits(d);
	fresh = !world_peek(s) || !world_peek(s)->started_ns;
	if ((ret = configure_devices(d)) < 0)
		return ret;
	judge_predecessor(d, predecessor_died);
	KILLPOINT("takeover.devices");
	give_deposits(d);
	if ((ret = world_reindex(s)) < 0)
		return ret;
	KILLPOINT("takeover.reindexed");
	w = world_get(s);
	if (!w)
		return -ENOMEM;
	w->incarnation++;
	if (fresh) {
		w->started_ns = s->now;
		configure_addresses(d);
		configure_in_force(d);
	} else {
		if (corrupt)
			configure_addresses(d); /* those that were lost */
		world_resume(s, down_since(d));
		handover_in_force(&d->hand, w->config_id); /* if a reload met the predecessor's death, the cycle carries it out */
	}
	world_commit(s);
	KILLPOINT("takeover.committed");
	store_release(&d->hand.clock->incarnation, world_peek(s)->incarnation);
	s->count.takeovers += predecessor_died;
	world_speak(s, true);
	KILLPOINT("takeover.devices_spoken");
	socket_speak(s, true);
	state_all_told(s->state);
	return 0;
}
