/*
 * The verdict over the predecessor's death. See state/blackbox.h for the whole mechanism.
 *
 * A death of the daemon's own making is one with a fatal signal noted, or as hung. Once is a suspicion: the work is
 * done again. Twice with the same thing in hand at the same place is proof enough.
 */
#include "daemon/judge.h"
#include "base/fatal.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include "socket/session.h"
#include "state/switchboard.h"
#include "wire/flow.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEATHS_TO_PROVE 2u
#define ASIDE_NS	(60 * NSEC_PER_SEC) /* doubled with each relapse ... */
#define ASIDE_DOUBLINGS 6u
#define FRAME_KEPT	4096 /* bytes of a frame that go to a file */

struct in_hand {
	enum box_kind kind;
	uint32_t index;
	uint64_t key;
	char text[BOX_TEXT];
	uint8_t frame[FRAME_KEPT];
	uint32_t frame_len;
};

static void hold_frame(struct stack *s, struct in_hand *h, const struct box_note *n)
{
	char flow[64];

	h->frame_len = device_frame_at(s, n->index, n->at, h->frame, sizeof(h->frame));
	if (!h->frame_len) {
		h->kind = BOX_NOTHING;
		return;
	}
	h->key = flow_of_ethernet(h->frame, h->frame_len);
	snprintf(h->text, sizeof(h->text), "a frame of %s, %s", device_peek(s, n->index)->name,
	    flow_text(h->frame, h->frame_len, flow, sizeof(flow)));
}

static void hold_session(struct stack *s, struct in_hand *h)
{
	const struct session_rec *r = state_peek(s->state, KIND_SESSION, h->index);

	if (!r) {
		h->kind = BOX_NOTHING;
		return;
	}
	h->key = (uint64_t)state_generation(s->state, KIND_SESSION, h->index) << 32 | h->index;
	snprintf(h->text, sizeof(h->text), "a %s of session %u (pid %d, %.*s)", box_kind_name(h->kind), h->index,
	    (int)r->pid, SESSION_NAME_MAX, r->name);
}

static void hold_record(struct stack *s, struct in_hand *h, uint64_t kind)
{
	if (kind >= KIND_COUNT || !state_live(s->state, (enum record_kind)kind, h->index)) {
		h->kind = BOX_NOTHING;
		return;
	}
	h->key = kind << 32 | h->index;
	snprintf(h->text, sizeof(h->text), "%s of %s %u", box_kind_name(h->kind), s->board->records[kind].name, h->index);
}

static void what_was_in_hand(struct stack *s, const struct box_note *n, struct in_hand *h)
{
	char flow[64];

	memset(h, 0, sizeof(*h));
	h->kind = n->kind < BOX_KINDS ? (enum box_kind)n->kind : BOX_NOTHING;
	h->index = n->index;
	snprintf(h->text, sizeof(h->text), "%s", box_kind_name(h->kind));
	switch (h->kind) {
	case BOX_FRAME:
		hold_frame(s, h, n);
		return;
	case BOX_LOCAL:
		h->key = n->at;
		snprintf(h->text, sizeof(h->text), "a packet on lo, %s", flow_local_text(n->at, flow, sizeof(flow)));
		return;
	case BOX_REQUEST:
	case BOX_CONTROL:
		hold_session(s, h);
		return;
	case BOX_TIMER:
		hold_record(s, h, n->at);
		return;
	case BOX_SEND:
		hold_record(s, h, KIND_TCP);
		return;
	default:
		h->kind = BOX_NOTHING;
	}
}

/* The layers find it lost, as if it had been corrupt. */
static void give_up_record(struct stack *s, enum record_kind kind, uint32_t index)
{
	state_free(s->state, kind, index);
	if (s->board->records[kind].lost)
		s->board->records[kind].lost(s, index);
}

static void throw_out_session(struct stack *s, uint32_t index)
{
	struct session_rec *r = state_get(s->state, KIND_SESSION, index);

	if (!r)
		return;
	if (r->state == SESSION_CONTROL) {
		state_free(s->state, KIND_SESSION, index);
	} else if (r->state == SESSION_ATTACHED) {
		r->state = SESSION_DYING;
		r->thrown = 1;
	}
}

static void set_aside(struct daemon *d, const struct in_hand *h, uint32_t count)
{
	struct stack *s = &d->stack;
	uint32_t doublings = min_of(count - DEATHS_TO_PROVE, ASIDE_DOUBLINGS);

	log_error("%s was in hand at %u deaths of netd-inet: it is set aside", h->text, count);
	if (h->kind == BOX_FRAME || h->kind == BOX_LOCAL)
		box_set_aside(s->box, h->key, s->now + (ASIDE_NS << doublings), h->text);
	else if (h->kind == BOX_REQUEST || h->kind == BOX_CONTROL)
		throw_out_session(s, h->index);
	else
		give_up_record(s, h->kind == BOX_SEND ? KIND_TCP : (enum record_kind)(h->key >> 32), h->index);
	link_set_aside(d, h->text, h->frame, h->frame_len);
}

static void judge(struct daemon *d, bool hung)
{
	struct stack *s = &d->stack;
	struct blackbox *b = s->box;
	struct box_death *death = box_death(b);
	struct in_hand h;
	uint32_t count;

	what_was_in_hand(s, &death->last[0], &h);
	death->ns = s->now;
	death->pid = b->pid;
	death->signal = b->signal;
	death->hung = hung;
	death->place = b->place;
	snprintf(death->text, sizeof(death->text), "%s", h.text);
	if ((!b->signal && !hung) || h.kind == BOX_NOTHING)
		return;
	count = box_suspect(b, h.kind, h.key, b->place);
	if (count < DEATHS_TO_PROVE)
		return;
	death->aside = 1;
	set_aside(d, &h, count);
}

void judge_predecessor(struct daemon *d, bool died)
{
	struct blackbox *b = d->stack.box;
	uint64_t hung = load_acquire(&d->hand.clock->hung_pid);

	if (died && b->pid)
		judge(d, hung && hung == (uint64_t)b->pid);
	b->pid = getpid();
	fatal_note(&b->signal, &b->place);
	box_note(b, BOX_RECOVER, 0, 0);
}
