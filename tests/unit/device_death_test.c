/* The daemon dies at random moments under an honest driver. */
#include "device_rig.h"
#include "device_fixture.h"
#include "wire/ether.h"
#include <stdlib.h>

TestSuite(device, .init = setup, .fini = teardown);

/*
 * Numbered frames come in; each is answered by one with the same number, some after waiting in a
 * neighbour's queue. The driver must see every number once and in order, and no chunk may be lost,
 * wherever the daemon dies. Every byte follows from the number, so that a chunk used too early
 * shows.
 */
static uint32_t heard, heard_committed; /* numbers so far */
static uint32_t said;
static const struct ipaddr hop = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 99, 0, 1}};

static void make_numbered(uint8_t *buf, uint32_t len, uint32_t number)
{
	memcpy(buf, &number, sizeof(number));
	for (uint32_t i = sizeof(number); i < len; i++)
		buf[i] = (uint8_t)(number * 31 + i);
}

static void check_numbered(const uint8_t *buf, uint32_t len, uint32_t want)
{
	uint8_t right[6000];

	make_numbered(right, len, want);
	cr_assert_eq(memcmp(buf, right, len), 0, "frame %u, or all of it", want);
}

static void answer(struct stack *s, struct packet *p, const uint8_t src[6])
{
	uint32_t len = 40 + (uint32_t)rand() % 5000;
	uint8_t buf[6000];
	struct packet out;

	(void)src;
	cr_assert_leq(p->len, sizeof(buf));
	cr_assert(packet_read(p, 0, buf, p->len));
	check_numbered(buf, p->len, heard);
	cr_assert_eq(packet_alloc(s, &out, p->dev, len), 0);
	make_numbered(buf, len, heard++);
	packet_write(&out, 0, buf, len);
	memset(out.head, 0xee, PACKET_HEADROOM); /* whoever needs what was here before, loses */
	cr_assert_eq(neigh_output(s, &out, &hop), 0);
}

static void driver_sends(void)
{
	uint8_t frame[6000];
	uint32_t len;

	while ((len = rig_driver_send(&g, frame, sizeof(frame), NULL)))
		check_numbered(frame + ETHERNET_LEN, len - ETHERNET_LEN, said++);
}

static void driver_receives(uint32_t *number)
{
	uint8_t frame[6000], payload[5100];

	/* At most NEIGH_QUEUE frames may wait, else the oldest is dropped, as it should be. */
	for (int n = rand() % 3; n && *number - said < NEIGH_QUEUE; n--) {
		uint32_t len = 40 + (uint32_t)rand() % 5000;

		make_numbered(payload, len, *number);
		len = rig_frame(frame, 0x0800, payload, len);
		if (!rig_driver_receive(&g, frame, len, 0))
			return;
		(*number)++;
	}
}

enum death { BEFORE_COMMIT, AFTER_COMMIT, AFTER_SPEAKING, NO_DEATH = 10 };

static void random_cycle(bool answer_comes)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
	int death = rand() % NO_DEATH;

	if (answer_comes)
		neigh_update(&g.s, g.dev, &hop, mac, true, true, false);
	device_gather(&g.s, g.dev, 1 + (unsigned)rand() % 3);
	driver_sends();
	if (death == BEFORE_COMMIT) {
		heard = heard_committed;
		rig_restart(&g);
		return;
	}
	rig_commit(&g);
	heard_committed = heard;
	driver_sends();
	if (death == AFTER_COMMIT) {
		rig_restart(&g);
		return;
	}
	rig_speak(&g, false);
	if (death == AFTER_SPEAKING)
		rig_restart(&g);
}

Test(device, death_at_any_moment_loses_nothing)
{
	uint32_t number = 0;

	g.types[0].input = answer;
	srand(42);
	for (int round = 0; round < 4000; round++) {
		uint32_t i = neigh_find(&g.s, g.dev, &hop);
		const struct neigh_rec *r =
		    i == NO_INDEX ? NULL : state_peek(g.s.state, KIND_NEIGH, i);

		bool resolved = r && r->state == NEIGH_REACHABLE;
		/* Now and then the neighbour is forgotten, once nothing waits. */
		if (resolved && rand() % 50 == 0)
			neigh_set(&g.s, g.dev, &hop, NULL);
		driver_receives(&number);
		random_cycle(r && !resolved && rand() % 3 == 0);
		census();
		driver_sends();
	}
	cr_assert_gt(said, 1000);
}

Test(device, a_lost_bits_record_is_made_again_from_the_rings)
{
	struct packet p;

	for (int i = 0; i < 5; i++) {
		cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 3000), 0);
		cr_assert_eq(device_output(&g.s, &p), 0);
	}
	rig_cycle(&g);
	state_free(g.s.state, KIND_CHUNKS, 0);
	rig_commit(&g);
	rig_restart(&g);
	census();
	works_again();
}
