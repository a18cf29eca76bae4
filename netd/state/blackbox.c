/* See blackbox.h. */
#include "state/blackbox.h"
#include "base/util.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

bool box_drops(struct blackbox *b, uint64_t flow, uint64_t now)
{
	bool drop = false, any = false;

	for (uint32_t i = 0; i < min_of(b->asides, BOX_ASIDE); i++) {
		struct box_aside *a = &b->aside[i];

		if (a->until_ns <= now)
			continue;
		any = true;
		if (a->flow == flow) {
			a->dropped++;
			drop = true;
		}
	}
	if (!any)
		b->asides = 0;
	return drop;
}

uint32_t box_suspect(struct blackbox *b, enum box_kind kind, uint64_t key, uint64_t place)
{
	struct box_suspect *s;

	for (unsigned i = 0; i < BOX_SUSPECTS; i++) {
		s = &b->suspect[i];
		if (s->count && s->kind == kind && s->key == key && s->place == place)
			return ++s->count;
	}
	s = &b->suspect[b->suspects++ % BOX_SUSPECTS];
	*s = (struct box_suspect){.kind = kind, .count = 1, .key = key, .place = place};
	return 1;
}

void box_set_aside(struct blackbox *b, uint64_t flow, uint64_t until_ns, const char *text)
{
	uint32_t n = min_of(b->asides, BOX_ASIDE), at = 0;

	/* The place of the same flow, else a new one, else the one that ends first. */
	for (; at < n && b->aside[at].flow != flow; at++)
		;
	if (at == BOX_ASIDE) {
		at = 0;
		for (uint32_t i = 1; i < BOX_ASIDE; i++)
			if (b->aside[i].until_ns < b->aside[at].until_ns)
				at = i;
	}
	b->aside[at] = (struct box_aside){.flow = flow, .until_ns = until_ns};
	snprintf(b->aside[at].text, BOX_TEXT, "%s", text);
	b->asides = max_of(n, at + 1);
}

struct box_death *box_death(struct blackbox *b)
{
	struct box_death *d = &b->death[b->deaths++ % BOX_DEATHS];

	memset(d, 0, sizeof(*d));
	for (uint64_t i = 0; i < BOX_LAST && i < b->notes; i++)
		d->last[i] = b->note[(b->notes - 1 - i) % BOX_NOTES];
	return d;
}

const char *box_kind_name(uint32_t kind)
{
	static const char *const names[BOX_KINDS] = {"nothing", "frame", "packet on lo", "request",
	    "control request", "timer", "sending", "commit", "speaking", "recovery"};

	return kind < BOX_KINDS ? names[kind] : "?";
}
