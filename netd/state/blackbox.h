/*
 * The black box: what netd-inet had in its hands when it died, and what to do about it.
 *
 * Theory of operation. Work that was not committed is done again by the successor; a frame that crashes
 * the daemon would crash every successor too. So each piece of work is noted in the arena before it
 * is begun (one store of a few words, no more). A death is the daemon's own fault if a fatal signal was caught in it
 * (base/fatal.h) or if it was killed as hung; a kill from outside says nothing about the work. The successor
 * (daemon/judge.c) reads the last note after such a death; what is found in hand at two of them, at
 * the same place in the code, is **set aside**:
 *
 *   a frame, or a packet on lo    its flow is dropped on sight for a while (dropping doubles with each relapse)
 *   a client's request            its session is thrown out
 *   a timer, or sending           the record is given up, as if it had been found corrupt: its owner pays
 *
 * Everything here is a hint in memory that a dying process wrote: indexes are bounded when used, and nothing of it
 * is a fact that a connection depends on.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct stack;

enum box_kind {
	BOX_NOTHING,
	BOX_FRAME,   /* index: device, at: its position in the receive ring */
	BOX_LOCAL,   /* a packet on lo; at: its flow */
	BOX_REQUEST, /* index: session, at: position in its submission ring */
	BOX_CONTROL, /* index: session */
	BOX_TIMER,   /* index: record, at: its kind */
	BOX_SEND,    /* index: socket */
	BOX_COMMIT,
	BOX_SPEAK,
	BOX_RECOVER,
	BOX_KINDS
};

struct box_note {
	uint32_t kind, index;
	uint64_t at;
};

#define BOX_NOTES    64u
#define BOX_LAST     8u /* notes kept of each death */
#define BOX_DEATHS   16u
#define BOX_SUSPECTS 16u
#define BOX_ASIDE    8u
#define BOX_TEXT     96

struct box_death {
	uint64_t ns; /* CLOCK_MONOTONIC, when the successor looked */
	int32_t pid;
	uint32_t signal; /* fatal signal; 0: killed from outside or hung */
	uint32_t hung;
	uint32_t aside; /* it was set aside for that */
	uint64_t place; /* in the code, relative to the program's start */
	struct box_note last[BOX_LAST]; /* the newest first */
	char text[BOX_TEXT]; /* what was in hand, in words */
};

struct box_suspect { /* in hand at a death of our own making */
	uint32_t kind, count;
	uint64_t key, place;
};

struct box_aside { /* a flow that is dropped on sight */
	uint64_t flow, until_ns;
	uint64_t dropped;
	char text[BOX_TEXT];
};

struct blackbox {
	int32_t pid; /* of the active netd-inet */
	uint32_t signal;
	uint64_t place;
	uint64_t notes; /* written so far */
	struct box_note note[BOX_NOTES];
	uint64_t deaths, suspects; /* ever written: places go round */
	struct box_death death[BOX_DEATHS];
	struct box_suspect suspect[BOX_SUSPECTS];
	uint32_t asides; /* places used */
	struct box_aside aside[BOX_ASIDE];
};

/* Before a piece of work is begun. */
static inline void box_note(struct blackbox *b, enum box_kind kind, uint32_t index, uint64_t at)
{
	if (!b)
		return;
	b->note[b->notes++ % BOX_NOTES] = (struct box_note){kind, index, at};
	/* The work must not be moved before its note. */
	__asm__ __volatile__("" ::: "memory");
}

/* Is this flow dropped on sight now? Counts it. */
bool box_drops(struct blackbox *b, uint64_t flow, uint64_t now);
/* The other way round, so that nobody has to find out a flow if there are none. */
static inline bool box_any(const struct blackbox *b)
{
	return b && b->asides;
}

/* One more death with this in hand at this place: how many there were. */
uint32_t box_suspect(struct blackbox *b, enum box_kind kind, uint64_t key, uint64_t place);
void box_set_aside(struct blackbox *b, uint64_t flow, uint64_t until_ns, const char *text);
/* The place of the next death, cleared, the last notes copied into it. */
struct box_death *box_death(struct blackbox *b);
const char *box_kind_name(uint32_t kind);
