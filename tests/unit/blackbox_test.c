/* The black box's arithmetic, and the flows of frames that lie about themselves. */
#include "state/blackbox.h"
#include "wire/flow.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Ethernet, IPv4 without options, UDP 10.0.0.1:1000 > 10.0.0.2:2000, four bytes. */
static const uint8_t frame[46] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0,
    0, 1, 10, 0, 0, 2, 0x03, 0xe8, 0x07, 0xd0, 0, 12, 0, 0, 'a', 'b', 'c', 'd'};

Test(blackbox, twice_the_same_at_the_same_place)
{
	static struct blackbox b;

	cr_assert_eq(box_suspect(&b, BOX_FRAME, 7, 100), 1);
	cr_assert_eq(box_suspect(&b, BOX_FRAME, 7, 200), 1, "another place");
	cr_assert_eq(box_suspect(&b, BOX_REQUEST, 7, 100), 1, "another kind");
	cr_assert_eq(box_suspect(&b, BOX_FRAME, 8, 100), 1, "another flow");
	cr_assert_eq(box_suspect(&b, BOX_FRAME, 7, 100), 2);
	cr_assert_eq(box_suspect(&b, BOX_FRAME, 7, 100), 3);
	for (uint64_t i = 0; i < BOX_SUSPECTS; i++)
		box_suspect(&b, BOX_FRAME, 1000 + i, 0);
	cr_assert_eq(box_suspect(&b, BOX_FRAME, 7, 100), 1, "forgotten");
}

Test(blackbox, dropped_until)
{
	static struct blackbox b;

	cr_assert_not(box_any(&b));
	cr_assert_not(box_any(NULL));
	box_set_aside(&b, 7, 1000, "seven");
	cr_assert(box_any(&b));
	cr_assert(box_drops(&b, 7, 999));
	cr_assert_not(box_drops(&b, 8, 999));
	cr_assert_eq(b.aside[0].dropped, 1);
	cr_assert_not(box_drops(&b, 7, 1000));
	cr_assert_not(box_any(&b), "none is left, so nobody looks any more");
}

Test(blackbox, more_flows_than_places)
{
	static struct blackbox b;

	for (uint64_t i = 0; i < BOX_ASIDE; i++)
		box_set_aside(&b, i, 1000 + i, "x");
	box_set_aside(&b, 3, 5000, "again");
	cr_assert_eq(b.asides, BOX_ASIDE);
	cr_assert(box_drops(&b, 3, 4000));
	box_set_aside(&b, 100, 6000, "new");
	cr_assert_eq(b.asides, BOX_ASIDE);
	cr_assert(box_drops(&b, 100, 900));
	cr_assert_not(box_drops(&b, 0, 900), "the one that ended first made room");
	b.asides = 4000000000u; /* a dying process may have written anything */
	cr_assert(box_drops(&b, 100, 900));
}

Test(blackbox, last_notes_newest_first)
{
	static struct blackbox b;
	struct box_death *d;

	box_note(NULL, BOX_FRAME, 0, 0);
	d = box_death(&b);
	cr_assert_eq(d->last[0].kind, BOX_NOTHING);
	for (uint32_t i = 0; i < 3 * BOX_NOTES; i++)
		box_note(&b, BOX_FRAME, i, i * 2);
	d = box_death(&b);
	for (uint32_t i = 0; i < BOX_LAST; i++)
		cr_assert(d->last[i].index == 3 * BOX_NOTES - 1 - i && d->last[i].at == 2 * d->last[i].index);
}

Test(flow, of_a_frame)
{
	uint8_t f[sizeof(frame)];
	uint64_t flow = flow_of_ethernet(frame, sizeof(frame));
	char text[64];

	memcpy(f, frame, sizeof(f));
	f[sizeof(f) - 1] ^= 1; /* payload */
	f[19] ^= 1;	       /* identification */
	cr_assert_eq(flow_of_ethernet(f, sizeof(f)), flow);
	for (unsigned at = 26; at < 38; at++) { /* addresses and ports */
		memcpy(f, frame, sizeof(f));
		f[at] ^= 1;
		cr_assert_neq(flow_of_ethernet(f, sizeof(f)), flow, "byte %u", at);
	}
	cr_assert_str_eq(flow_text(frame, sizeof(frame), text, sizeof(text)), "udp 10.0.0.1:1000 > 10.0.0.2:2000");
	cr_assert_str_eq(flow_local_text(flow_of_local(frame + 14, sizeof(frame) - 14), text, sizeof(text)),
	    "udp to 10.0.0.2:2000");
}

/* Every length, at the end of its memory: the sanitizer sees a byte too many. */
Test(flow, of_what_is_cut_short)
{
	char text[64];

	for (size_t n = 0; n <= sizeof(frame); n++) {
		uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, frame, n);
		flow_of_ethernet(cut, n);
		flow_of_local(cut, n);
		flow_text(cut, n, text, sizeof(text));
		free(cut);
	}
	for (unsigned header = 0; header < 16; header++) {
		uint8_t f[sizeof(frame)];

		memcpy(f, frame, sizeof(f));
		f[14] = (uint8_t)(0x40 | header);
		flow_text(f, 14 + 20, text, sizeof(text));
	}
}
