/*
 * Neighbour unreachability detection, RFC 4861, 7.3, in the shape that the kernel gave it for ARP.
 *
 * What is legal in each state:
 *
 *	INCOMPLETE  no MAC; packets wait (the oldest goes when one too many comes); asked by
 *broadcast REACHABLE   confirmed at most REACHABLE_TIME ago STALE       a MAC that nobody confirmed
 *lately; used as it is, but the first use starts DELAY DELAY       used; the upper layer has
 *DELAY_TIME to confirm before we ask ourselves PROBE       asked by unicast; packets still go to
 *the old MAC FAILED      nobody answered: packets are refused for FAILED_HOLD, then the next one
 *asks again PERMANENT   set by the administrator
 *
 * The record's one timer:
 *
 *	INCOMPLETE, PROBE  ask again after RETRANS, PROBES times; a neighbour that does not answer
 *	                   unicast is asked by broadcast before it is given up (it may have a new
 *MAC) REACHABLE          becomes STALE DELAY              becomes PROBE STALE, FAILED collected
 *when unused for long
 */
#include "device/layer.h"
#include "base/log.h"
#include "base/util.h"
#include "state/switchboard.h"
#include "wire/ether.h"

#define REACHABLE_TIME (30 * NSEC_PER_SEC)
#define DELAY_TIME     (5 * NSEC_PER_SEC)
#define RETRANS	       (1 * NSEC_PER_SEC)
#define PROBES	       3
#define FAILED_HOLD    (5 * NSEC_PER_SEC)
#define STALE_KEPT     (600 * NSEC_PER_SEC)
#define FAILED_KEPT    (60 * NSEC_PER_SEC)
#define NOTE_EVERY     (1 * NSEC_PER_SEC) /* use and confirmation are noted no more often */

static struct neigh_rec *rec_get(struct stack *s, uint32_t index)
{
	return state_get(s->state, KIND_NEIGH, index);
}

static const struct neigh_rec *rec_peek(const struct stack *s, uint32_t index)
{
	return state_peek(s->state, KIND_NEIGH, index);
}

static bool has_mac(uint8_t state)
{
	return state == NEIGH_REACHABLE || state == NEIGH_STALE || state == NEIGH_DELAY ||
	       state == NEIGH_PROBE || state == NEIGH_PERMANENT;
}

static void arm(struct stack *s, uint32_t index, struct neigh_rec *r, uint64_t deadline)
{
	r->deadline_ns = deadline;
	if (timer_set(s->timers, KIND_NEIGH, index, deadline) < 0)
		log_error("neighbour %u: no memory for its timer", index);
}

static const char *state_name(uint8_t state)
{
	static const char *const name[] = {
	    "none", "incomplete", "reachable", "stale", "delay", "probe", "failed", "permanent"};

	return state < ARRAY_SIZE(name) ? name[state] : "?";
}

/* The only place where a state changes. */
static void set_state(struct stack *s, uint32_t index, struct neigh_rec *r, enum neigh_state state)
{
	static const uint64_t after[] = {
	    [NEIGH_INCOMPLETE] = RETRANS,
	    [NEIGH_REACHABLE] = REACHABLE_TIME,
	    [NEIGH_STALE] = STALE_KEPT,
	    [NEIGH_DELAY] = DELAY_TIME,
	    [NEIGH_PROBE] = RETRANS,
	    [NEIGH_FAILED] = FAILED_KEPT,
	};

	log_debug(
	    "neighbour %u: %s -> %s", index, state_name(r->state), state_name((uint8_t)state));
	r->state = (uint8_t)state;
	r->probes = 0;
	r->updated_ns = s->now;
	if (state == NEIGH_REACHABLE)
		r->confirmed_ns = s->now;
	arm(s, index, r, state == NEIGH_PERMANENT ? UINT64_MAX : s->now + after[state]);
}

static void ask(struct stack *s, struct neigh_rec *r)
{
	r->probes++;
	s->board->neigh_solicit(s, r->dev, &r->addr, r->state == NEIGH_PROBE ? r->mac : NULL);
}

static void start(struct stack *s, uint32_t index, struct neigh_rec *r, enum neigh_state state)
{
	set_state(s, index, r, state);
	ask(s, r);
}

/* ---- the queue of those who wait */

static void drop_oldest(struct stack *s, struct neigh_rec *r)
{
	struct packet p;

	if (packet_restore(s, &p, &r->queue[0]) == 0)
		packet_free(s, &p);
	r->queued--;
	memmove(&r->queue[0], &r->queue[1], r->queued * sizeof(r->queue[0]));
}

static void drop_queue(struct stack *s, struct neigh_rec *r)
{
	while (r->queued)
		drop_oldest(s, r);
}

/* Nobody answered: those who sent what waits are told. */
static void refuse_queue(struct stack *s, struct neigh_rec *r)
{
	struct packet p;

	while (r->queued && s->board->neigh_failed) {
		bool whole = packet_restore(s, &p, &r->queue[0]) == 0;

		r->queued--;
		memmove(&r->queue[0], &r->queue[1], r->queued * sizeof(r->queue[0]));
		if (whole) {
			s->board->neigh_failed(s, &p);
			packet_free(s, &p);
		}
	}
	drop_queue(s, r);
}

static int enqueue(struct stack *s, struct neigh_rec *r, struct packet *p)
{
	if (r->queued == NEIGH_QUEUE)
		drop_oldest(s, r);
	/* Now, not when it leaves: a cycle that is undone must not have changed what a record holds. */
	if (p->flags & DESC_CSUM_NEEDED && p->csum_at && p->gso_type == GSO_NONE)
		segment_complete(p);
	if (packet_keep(s, p, &r->queue[r->queued]) < 0) {
		packet_free(s, p);
		return -ENOBUFS;
	}
	r->queued++;
	return 0;
}

static uint16_t ethertype_of(const struct ipaddr *addr)
{
	return ipaddr_is_v4(addr) ? ETHER_IPV4 : ETHER_IPV6;
}

/* There is a MAC now: what waited goes out, in order. */
static void send_queue(struct stack *s, uint32_t index, struct neigh_rec *r)
{
	struct packet_ref ref[NEIGH_QUEUE];
	uint32_t n = r->queued;
	struct packet p;

	if (!n)
		return;
	memcpy(ref, r->queue, sizeof(ref));
	r->queued = 0;
	r->used_ns = s->now;
	if (r->state == NEIGH_STALE)
		set_state(s, index, r, NEIGH_DELAY);
	for (uint32_t i = 0; i < n; i++)
		if (packet_restore(s, &p, &ref[i]) == 0)
			ether_output(s, &p, r->mac, ethertype_of(&r->addr));
}

/* ---- entries */

static void forget(struct stack *s, uint32_t index)
{
	struct neigh_rec *r = rec_get(s, index);

	if (!r)
		return;
	drop_queue(s, r);
	neigh_table_remove(s, index);
	timer_cancel(s->timers, KIND_NEIGH, index);
	state_free(s->state, KIND_NEIGH, index);
}

static struct neigh_rec *create(
    struct stack *s, uint32_t dev, const struct ipaddr *addr, uint32_t *index)
{
	uint32_t victim = neigh_table_victim(s);
	struct neigh_rec *r = state_alloc(s->state, KIND_NEIGH, index);

	if (victim != NO_INDEX)
		forget(s, victim); /* free for the next one, after the commit */
	if (!r)
		return NULL;
	r->addr = *addr;
	r->dev = dev;
	r->used_ns = s->now;
	r->deadline_ns = UINT64_MAX;
	neigh_table_add(s, *index);
	return r;
}

int neigh_reindex(struct stack *s)
{
	neigh_table_clear(s);
	for (uint32_t i = state_next(s->state, KIND_NEIGH, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_NEIGH, i + 1)) {
		const struct neigh_rec *r = rec_peek(s, i);
		bool lost = false;

		for (uint32_t q = 0; q < r->queued && q < NEIGH_QUEUE; q++)
			lost |= packet_claim(s, &r->queue[q]) < 0;
		neigh_table_add(s, i);
		if (timer_set(s->timers, KIND_NEIGH, i, r->deadline_ns) < 0)
			return -ENOMEM;
		if (lost && rec_get(s, i))
			drop_queue(s, rec_get(s, i));
	}
	return 0;
}

/* ---- events: a packet, news, forward progress, the timer, the administrator */

/* Multicast and broadcast need no neighbour. */
static bool group_mac(const struct ipaddr *addr, uint8_t mac[6])
{
	uint32_t v4;

	if (!ipaddr_is_v4(addr)) {
		if (addr->b[0] != 0xff)
			return false;
		memcpy(mac, (const uint8_t[]){0x33, 0x33}, 2); /* RFC 2464, 7 */
		memcpy(mac + 2, addr->b + 12, 4);
		return true;
	}
	v4 = ipaddr_to_v4(addr);
	if (v4 == UINT32_MAX) {
		memset(mac, 0xff, 6);
		return true;
	}
	if (v4 >> 28 != 14)
		return false;
	memcpy(mac,
	    (const uint8_t[]){0x01, 0x00, 0x5e, addr->b[13] & 0x7f, addr->b[14], addr->b[15]}, 6);
	return true; /* RFC 1112, 6.4 */
}

/* A packet for an entry without a MAC. */
static int output_unresolved(struct stack *s, struct packet *p, uint32_t index)
{
	struct neigh_rec *r = rec_get(s, index);
	int ret;

	if (!r || (r->state == NEIGH_FAILED && s->now - r->updated_ns < FAILED_HOLD)) {
		packet_free(s, p);
		return r ? -EHOSTUNREACH : -ENOBUFS;
	}
	r->used_ns = s->now;
	ret = enqueue(s, r, p);
	if (r->state != NEIGH_INCOMPLETE)
		start(s, index, r, NEIGH_INCOMPLETE);
	return ret;
}

int neigh_output(struct stack *s, struct packet *p, const struct ipaddr *next_hop)
{
	const struct neigh_rec *r;
	uint32_t index;
	uint8_t mac[6];

	if (p->dev == DEVICE_LO)
		return device_output(s, p);
	if (group_mac(next_hop, mac))
		return ether_output(s, p, mac, ethertype_of(next_hop));
	index = neigh_find(s, p->dev, next_hop);
	if (index == NO_INDEX && !create(s, p->dev, next_hop, &index)) {
		packet_free(s, p);
		return -ENOBUFS;
	}
	r = rec_peek(s, index);
	if (!has_mac(r->state))
		return output_unresolved(s, p, index);
	if (r->state == NEIGH_STALE || s->now - r->used_ns >= NOTE_EVERY) {
		struct neigh_rec *w = rec_get(s, index);

		if (w) {
			w->used_ns = s->now;
			if (w->state == NEIGH_STALE)
				set_state(s, index, w, NEIGH_DELAY);
		}
	}
	memcpy(mac, r->mac, sizeof(mac));
	return ether_output(s, p, mac, ethertype_of(next_hop));
}

/* News about an entry that has a MAC (RFC 4861, 7.2.5, with ARP's words). */
static void update_known(
    struct stack *s, uint32_t index, const uint8_t mac[6], bool solicited, bool override)
{
	const struct neigh_rec *seen = rec_peek(s, index);
	bool same = !memcmp(seen->mac, mac, 6);
	struct neigh_rec *r;

	if (same && !solicited)
		return;
	if (!same && !override && seen->state != NEIGH_REACHABLE)
		return;
	r = rec_get(s, index);
	if (!r)
		return;
	if (!same && override)
		memcpy(r->mac, mac, 6);
	if (same || override)
		set_state(s, index, r, solicited ? NEIGH_REACHABLE : NEIGH_STALE);
	else
		set_state(s, index, r,
		    NEIGH_STALE); /* somebody else claims it: to be asked at the next use */
}

void neigh_update(struct stack *s, uint32_t dev, const struct ipaddr *addr, const uint8_t mac[6],
    bool solicited, bool override, bool may_create)
{
	uint32_t index = neigh_find(s, dev, addr);
	struct neigh_rec *r;

	if (ethernet_is_multicast(mac) || (index == NO_INDEX && !may_create))
		return;
	if (index != NO_INDEX && rec_peek(s, index)->state == NEIGH_PERMANENT)
		return;
	if (index != NO_INDEX && has_mac(rec_peek(s, index)->state)) {
		update_known(s, index, mac, solicited, override);
		return;
	}
	r = index == NO_INDEX ? create(s, dev, addr, &index) : rec_get(s, index);
	if (!r)
		return;
	memcpy(r->mac, mac, 6);
	set_state(s, index, r, solicited ? NEIGH_REACHABLE : NEIGH_STALE);
	send_queue(s, index, r);
}

void neigh_confirm(struct stack *s, uint32_t dev, const struct ipaddr *addr)
{
	uint32_t index = neigh_find(s, dev, addr);
	const struct neigh_rec *seen;
	struct neigh_rec *r;

	if (index == NO_INDEX)
		return;
	seen = rec_peek(s, index);
	if (!has_mac(seen->state) || seen->state == NEIGH_PERMANENT ||
	    (seen->state == NEIGH_REACHABLE && s->now - seen->confirmed_ns < NOTE_EVERY))
		return;
	r = rec_get(s, index);
	if (!r)
		return;
	if (r->state == NEIGH_REACHABLE) {
		r->confirmed_ns = s->now;
		arm(s, index, r, s->now + REACHABLE_TIME);
	} else {
		set_state(s, index, r, NEIGH_REACHABLE);
	}
}

static void not_answered(struct stack *s, uint32_t index, struct neigh_rec *r)
{
	if (r->probes < PROBES) {
		arm(s, index, r, s->now + RETRANS);
		ask(s, r);
	} else if (r->state == NEIGH_PROBE) {
		start(s, index, r, NEIGH_INCOMPLETE);
	} else {
		set_state(s, index, r, NEIGH_FAILED);
		refuse_queue(s, r);
	}
}

void neigh_expired(struct stack *s, uint32_t index)
{
	const struct neigh_rec *seen = rec_peek(s, index);
	struct neigh_rec *r;

	if (!seen)
		return;
	if (seen->deadline_ns > s->now) {
		timer_set(s->timers, KIND_NEIGH, index, seen->deadline_ns);
		return;
	}
	if (seen->state == NEIGH_FAILED ||
	    (seen->state == NEIGH_STALE && s->now - seen->used_ns >= STALE_KEPT)) {
		forget(s, index);
		return;
	}
	r = rec_get(s, index);
	if (!r) {
		timer_set(s->timers, KIND_NEIGH, index, s->now + RETRANS);
		return;
	}
	if (r->state == NEIGH_REACHABLE)
		set_state(s, index, r, NEIGH_STALE);
	else if (r->state == NEIGH_STALE)
		arm(s, index, r, r->used_ns + STALE_KEPT);
	else if (r->state == NEIGH_DELAY)
		start(s, index, r, NEIGH_PROBE);
	else if (r->state == NEIGH_INCOMPLETE || r->state == NEIGH_PROBE)
		not_answered(s, index, r);
}

int neigh_set(struct stack *s, uint32_t dev, const struct ipaddr *addr, const uint8_t *mac)
{
	uint32_t index = neigh_find(s, dev, addr);
	struct neigh_rec *r;

	if (!mac) {
		if (index == NO_INDEX)
			return -ENOENT;
		forget(s, index);
		return 0;
	}
	r = index == NO_INDEX ? create(s, dev, addr, &index) : rec_get(s, index);
	if (!r)
		return -ENOSPC;
	memcpy(r->mac, mac, 6);
	set_state(s, index, r, NEIGH_PERMANENT);
	send_queue(s, index, r);
	return 0;
}
