/*
 * Neighbours on a virtual clock, and ARP.
 *
 *	netd 10.99.0.2 02:..:02 ---- tap0 ---- peer 10.99.0.1 02:..:01 (played by the test)
 */
#include "device_rig.h"
#include "base/util.h"
#include "ip/addr.h"
#include "ip/arp.h"
#include "ip/ip.h"
#include "wire/arp.h"
#include "wire/ether.h"
#include <criterion/criterion.h>

#define US   0x0a630002u
#define PEER 0x0a630001u
#define SEC  NSEC_PER_SEC

static struct rig g;
static struct ipaddr peer;
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static unsigned asked, asked_unicast;

static void count_solicit(
    struct stack *s, uint32_t dev, const struct ipaddr *target, const uint8_t *mac)
{
	cr_assert_eq(s, &g.s);
	cr_assert_eq(dev, g.dev);
	cr_assert(ipaddr_eq(target, &peer) || ipaddr_to_v4(target) >> 16 == 0x0a63);
	asked++;
	asked_unicast += mac != NULL;
}

static void setup(void)
{
	peer = ipaddr_v4(PEER);
	asked = asked_unicast = 0;
	rig_open(&g, 256, NULL);
	g.board.neigh_solicit = count_solicit;
}

static void teardown(void)
{
	rig_close(&g);
}

TestSuite(neigh, .init = setup, .fini = teardown);

/* The peer's entry as it is now; state 0 if there is none. */
static struct neigh_rec entry(void)
{
	uint32_t i = neigh_find(&g.s, g.dev, &peer);
	const struct neigh_rec *r = i == NO_INDEX ? NULL : state_peek(g.s.state, KIND_NEIGH, i);

	return r ? *r : (struct neigh_rec){0};
}

static int state_now(void)
{
	return entry().state;
}

static bool knows(const uint8_t mac[6])
{
	struct neigh_rec r = entry();

	return !memcmp(r.mac, mac, 6);
}

static void commit(void)
{
	rig_commit(&g);
	rig_speak(&g, false);
}

/* Lets time pass, a second at a time, with all timers. */
static void pass(unsigned seconds)
{
	enum record_kind kind;
	uint32_t index;

	while (seconds--) {
		g.s.now += SEC;
		while (timers_pop(g.s.timers, g.s.now, &kind, &index)) {
			cr_assert_eq(kind, KIND_NEIGH);
			neigh_expired(&g.s, index);
		}
		commit();
	}
}

static int send_to(const struct ipaddr *to, uint8_t mark)
{
	struct packet p;
	int ret;

	cr_assert_eq(packet_alloc(&g.s, &p, g.dev, 40), 0);
	memset(p.seg[0].data, mark, 40);
	ret = neigh_output(&g.s, &p, to);
	packet_free(&g.s, &p);
	return ret;
}

static int send(uint8_t mark)
{
	return send_to(&peer, mark);
}

/* The mark of the next frame that went to `mac`; 0 if none went. */
static uint8_t sent(const uint8_t mac[6])
{
	uint8_t f[2000];

	commit();
	if (!rig_driver_send(&g, f, sizeof(f), NULL))
		return 0;
	cr_assert_arr_eq(f, mac, 6);
	cr_assert_arr_eq(f + 6, our_mac, 6);
	return f[14];
}

static void learn(bool solicited)
{
	neigh_update(&g.s, g.dev, &peer, peer_mac, solicited, true, true);
	commit();
}

Test(neigh, packets_wait_until_the_address_is_known)
{
	cr_assert_eq(send(1), 0);
	cr_assert_eq(state_now(), NEIGH_INCOMPLETE);
	cr_assert_eq(asked, 1);
	cr_assert_eq(send(2), 0);
	cr_assert_eq(asked, 1, "one question for all");
	cr_assert_eq(sent(peer_mac), 0);
	learn(true);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	cr_assert_eq(sent(peer_mac), 1);
	cr_assert_eq(sent(peer_mac), 2);
	cr_assert_eq(send(3), 0);
	cr_assert_eq(sent(peer_mac), 3);
	rig_cycle(&g);
	cr_assert_null(rig_census(&g));
}

Test(neigh, the_oldest_goes_when_too_many_wait)
{
	for (uint8_t mark = 1; mark <= NEIGH_QUEUE + 2; mark++)
		cr_assert_eq(send(mark), 0);
	learn(true);
	for (uint8_t mark = 3; mark <= NEIGH_QUEUE + 2; mark++)
		cr_assert_eq(sent(peer_mac), mark);
	cr_assert_eq(sent(peer_mac), 0);
	rig_cycle(&g);
	cr_assert_null(rig_census(&g));
}

Test(neigh, nobody_answers)
{
	cr_assert_eq(send(1), 0);
	commit();
	pass(1);
	cr_assert_eq(asked, 2);
	pass(1);
	cr_assert_eq(asked, 3);
	cr_assert_eq(state_now(), NEIGH_INCOMPLETE);
	pass(1);
	cr_assert_eq(state_now(), NEIGH_FAILED);
	cr_assert_eq(asked, 3);
	cr_assert_eq(asked_unicast, 0);
	cr_assert_eq(entry().queued, 0);
	cr_assert_eq(send(2), -EHOSTUNREACH);
	commit();
	cr_assert_null(rig_census(&g));
	pass(5);
	cr_assert_eq(send(3), 0, "after a while the next one asks again");
	cr_assert_eq(state_now(), NEIGH_INCOMPLETE);
	cr_assert_eq(asked, 4);
	learn(true);
	cr_assert_eq(sent(peer_mac), 3);
}

Test(neigh, a_failed_entry_is_collected_and_revived_by_news)
{
	send(1);
	commit();
	pass(3);
	cr_assert_eq(state_now(), NEIGH_FAILED);
	learn(false);
	cr_assert_eq(state_now(), NEIGH_STALE);
	neigh_set(&g.s, g.dev, &peer, NULL);
	commit();
	send(1);
	commit();
	pass(3 + 59);
	cr_assert_eq(state_now(), NEIGH_FAILED);
	pass(1);
	cr_assert_not(state_now());
	cr_assert_null(rig_census(&g));
}

Test(neigh, an_unused_entry_ages_without_a_question)
{
	learn(true);
	pass(29);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	pass(1);
	cr_assert_eq(state_now(), NEIGH_STALE);
	pass(569);
	cr_assert_eq(state_now(), NEIGH_STALE);
	pass(61);
	cr_assert_not(state_now());
	cr_assert_eq(asked, 0);
}

Test(neigh, a_used_stale_entry_is_probed)
{
	learn(false);
	cr_assert_eq(state_now(), NEIGH_STALE);
	cr_assert_eq(send(1), 0);
	cr_assert_eq(sent(peer_mac), 1, "sent at once");
	cr_assert_eq(state_now(), NEIGH_DELAY);
	pass(4);
	cr_assert_eq(asked, 0);
	pass(1);
	cr_assert_eq(state_now(), NEIGH_PROBE);
	cr_assert_eq(asked_unicast, 1);
	cr_assert_eq(send(2), 0);
	cr_assert_eq(sent(peer_mac), 2);
	learn(true);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
}

Test(neigh, who_does_not_answer_probes_is_asked_for_by_broadcast_and_fails)
{
	learn(false);
	send(1);
	cr_assert_eq(sent(peer_mac), 1);
	pass(5);
	pass(2);
	cr_assert_eq(asked_unicast, 3);
	pass(1);
	cr_assert_eq(state_now(), NEIGH_INCOMPLETE);
	cr_assert_eq(asked, 4);
	cr_assert_eq(asked_unicast, 3);
	pass(3);
	cr_assert_eq(state_now(), NEIGH_FAILED);
	cr_assert_eq(asked, 6);
}

Test(neigh, progress_of_the_upper_layer_confirms)
{
	learn(false);
	send(1);
	cr_assert_eq(sent(peer_mac), 1);
	cr_assert_eq(state_now(), NEIGH_DELAY);
	pass(2);
	neigh_confirm(&g.s, g.dev, &peer);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	commit();
	for (int i = 0; i < 100; i++) {
		pass(1);
		neigh_confirm(&g.s, g.dev, &peer);
		commit();
		neigh_confirm(&g.s, g.dev, &peer);
		cr_assert_eq(state_dirty(g.s.state), 0, "noted once a second");
	}
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	cr_assert_eq(asked, 0);
	neigh_confirm(&g.s, 7, &peer);
	send_to(&(struct ipaddr){{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 99, 0, 7}}, 1);
}

Test(neigh, a_changed_address)
{
	learn(true);
	neigh_update(&g.s, g.dev, &peer, other_mac, false, false, false);
	cr_assert_eq(state_now(), NEIGH_STALE, "doubt, but no change without override");
	cr_assert(knows(peer_mac));
	neigh_update(&g.s, g.dev, &peer, other_mac, false, false, false);
	cr_assert(knows(peer_mac));
	neigh_update(&g.s, g.dev, &peer, other_mac, false, true, false);
	cr_assert_eq(state_now(), NEIGH_STALE);
	cr_assert(knows(other_mac));
	neigh_update(&g.s, g.dev, &peer, other_mac, true, false, false);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	neigh_update(&g.s, g.dev, &peer, other_mac, false, true, false);
	cr_assert_eq(state_now(), NEIGH_REACHABLE, "nothing new");
	neigh_update(&g.s, g.dev, &peer, everybody, true, true, false);
	cr_assert(knows(other_mac));
}

Test(neigh, news_about_strangers_make_no_entry)
{
	neigh_update(&g.s, g.dev, &peer, peer_mac, true, true, false);
	cr_assert_not(state_now());
}

Test(neigh, permanent_entries)
{
	cr_assert_eq(neigh_set(&g.s, g.dev, &peer, NULL), -ENOENT);
	send(1);
	cr_assert_eq(neigh_set(&g.s, g.dev, &peer, peer_mac), 0);
	cr_assert_eq(sent(peer_mac), 1);
	neigh_update(&g.s, g.dev, &peer, other_mac, true, true, true);
	cr_assert(knows(peer_mac));
	pass(2000);
	cr_assert_eq(state_now(), NEIGH_PERMANENT);
	cr_assert_eq(neigh_set(&g.s, g.dev, &peer, NULL), 0);
	cr_assert_not(state_now());
	commit();
	cr_assert_eq(timers_next(g.s.timers), UINT64_MAX);
}

Test(neigh, groups_need_no_neighbour)
{
	static const uint8_t mdns[6] = {1, 0, 0x5e, 0x7f, 0, 0xfb};
	static const uint8_t all_nodes[6] = {0x33, 0x33, 0, 0, 0, 1};
	struct ipaddr a = ipaddr_v4(0xffffffff);

	cr_assert_eq(send_to(&a, 1), 0);
	cr_assert_eq(sent(everybody), 1);
	a = ipaddr_v4(0xe0ff00fb);
	cr_assert_eq(send_to(&a, 2), 0);
	cr_assert_eq(sent(mdns), 2);
	a = (struct ipaddr){{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
	cr_assert_eq(send_to(&a, 3), 0);
	cr_assert_eq(sent(all_nodes), 3);
	cr_assert_eq(asked, 0);
}

Test(neigh, a_full_table_makes_room)
{
	struct ipaddr a;

	for (uint32_t i = 0; i < 500; i++) {
		a = ipaddr_v4(0x0a630000 + 256 + i);
		neigh_update(&g.s, g.dev, &a, peer_mac, false, true, true);
		commit();
		cr_assert_neq(neigh_find(&g.s, g.dev, &a), NO_INDEX, "stranger %u", i);
	}
	cr_assert_leq(state_count(g.s.state, KIND_NEIGH), 64);
	rig_restart(&g);
	cr_assert_neq(neigh_find(&g.s, g.dev, &a), NO_INDEX);
}

Test(neigh, the_table_its_queue_and_its_timers_survive_a_restart)
{
	send(1);
	send(2);
	commit();
	pass(1);
	cr_assert_eq(asked, 2);
	rig_restart(&g);
	cr_assert_null(rig_census(&g));
	cr_assert_eq(state_now(), NEIGH_INCOMPLETE);
	cr_assert_eq(entry().queued, 2);
	pass(1);
	cr_assert_eq(asked, 3, "the timer runs on");
	learn(true);
	cr_assert_eq(sent(peer_mac), 1);
	cr_assert_eq(sent(peer_mac), 2);
	rig_cycle(&g);
	cr_assert_null(rig_census(&g));
	/* A death before the commit: as if nothing had been sent. */
	pass(1);
	send(3);
	rig_restart(&g);
	cr_assert_eq(sent(peer_mac), 0);
	cr_assert_null(rig_census(&g));
}

/* ---- ARP */

static void arp_setup(void)
{
	struct ipaddr us = ipaddr_v4(US);

	setup();
	g.board.neigh_solicit = arp_solicit;
	g.types[0] = (struct ethertype_row){0x0806, arp_input};
	g.board.n_ethertypes = 1;
	cr_assert_eq(ip_layer_init(&g.s), 0);
	cr_assert_eq(addr_add(&g.s, g.dev, &us, 24), 0);
	commit();
}

static void arp_teardown(void)
{
	ip_layer_exit(&g.s);
	teardown();
}

TestSuite(arp, .init = arp_setup, .fini = arp_teardown);

static void hear(uint16_t op, uint32_t sender, const uint8_t mac[6], uint32_t target)
{
	struct arp_header h = {.op = op, .sender = sender, .target = target};
	uint8_t buf[64], frame[100];

	memcpy(h.sender_mac, mac, 6);
	arp_emit(&h, buf, sizeof(buf));
	cr_assert(rig_driver_receive(&g, frame, rig_frame(frame, 0x0806, buf, 46), 0));
	rig_cycle(&g);
}

/* What ARP message goes out next. */
static bool said(struct arp_header *h, const uint8_t dst[6])
{
	uint8_t f[2000];
	uint32_t len;

	commit();
	len = rig_driver_send(&g, f, sizeof(f), NULL);
	if (!len)
		return false;
	cr_assert_eq(len, ETHERNET_MIN);
	cr_assert_arr_eq(f, dst, 6);
	cr_assert_eq(f[12] << 8 | f[13], 0x0806);
	cr_assert_eq(arp_parse(h, f + 14, len - 14), 0);
	cr_assert_arr_eq(h->sender_mac, our_mac, 6);
	return true;
}

Test(arp, who_asks_for_us_is_answered_and_remembered)
{
	struct arp_header h;

	hear(ARP_REQUEST, PEER, peer_mac, US);
	cr_assert(said(&h, peer_mac));
	cr_assert_eq(h.op, ARP_REPLY);
	cr_assert_eq(h.sender, US);
	cr_assert_eq(h.target, PEER);
	cr_assert_arr_eq(h.target_mac, peer_mac, 6);
	cr_assert_eq(state_now(), NEIGH_STALE);
	cr_assert_not(said(&h, peer_mac));
}

Test(arp, who_asks_for_others_is_not)
{
	struct arp_header h;

	hear(ARP_REQUEST, PEER, peer_mac, US + 1);
	hear(ARP_REQUEST, PEER, peer_mac, 0x7f000001);
	hear(ARP_REPLY, PEER, peer_mac, US);
	hear(3, PEER, peer_mac, US);
	cr_assert_not(state_now());
	cr_assert_not(said(&h, peer_mac));
}

Test(arp, a_probe_is_answered_but_teaches_nothing)
{
	struct arp_header h;

	hear(ARP_REQUEST, 0, other_mac, US);
	cr_assert(said(&h, other_mac));
	cr_assert_eq(h.op, ARP_REPLY);
	cr_assert_eq(h.target, 0);
	cr_assert_eq(state_count(g.s.state, KIND_NEIGH), 0);
	hear(ARP_REQUEST, 0xe0000001, other_mac, US);
	hear(ARP_REQUEST, 0x7f000001, other_mac, US);
	hear(ARP_REQUEST, PEER, everybody, US);
	cr_assert_not(said(&h, other_mac));
	cr_assert_eq(state_count(g.s.state, KIND_NEIGH), 0);
}

Test(arp, we_ask_and_believe_the_first_answer)
{
	struct arp_header h;

	cr_assert_eq(send(1), 0);
	cr_assert(said(&h, everybody));
	cr_assert_eq(h.op, ARP_REQUEST);
	cr_assert_eq(h.sender, US);
	cr_assert_eq(h.target, PEER);
	hear(ARP_REPLY, PEER, peer_mac, US);
	cr_assert_eq(state_now(), NEIGH_REACHABLE);
	cr_assert_eq(sent(peer_mac), 1);
	hear(ARP_REPLY, PEER, other_mac, US);
	cr_assert(knows(peer_mac));
	pass(2);
	hear(ARP_REPLY, PEER, other_mac, US);
	cr_assert(knows(other_mac));
	arp_solicit(&g.s, g.dev, &peer, peer_mac);
	cr_assert(said(&h, peer_mac));
}

Test(arp, an_announcement_changes_what_we_know_at_once)
{
	learn(true);
	hear(ARP_REQUEST, PEER, other_mac, PEER);
	cr_assert(knows(other_mac));
	cr_assert_eq(state_now(), NEIGH_STALE);
	neigh_set(&g.s, g.dev, &peer, NULL);
	commit();
	hear(ARP_REQUEST, PEER, other_mac, PEER);
	cr_assert_not(state_now(), "but makes no entry");
}

Test(arp, somebody_with_our_address_changes_nothing)
{
	struct arp_header h;
	struct ipaddr us = ipaddr_v4(US);

	hear(ARP_REQUEST, US, other_mac, US);
	hear(ARP_REQUEST, US, other_mac, PEER);
	cr_assert_eq(state_count(g.s.state, KIND_NEIGH), 0);
	cr_assert_not(said(&h, everybody));
	arp_announce(&g.s, g.dev, &us);
	cr_assert(said(&h, everybody));
	cr_assert_eq(h.sender, US);
	cr_assert_eq(h.target, US);
}

Test(arp, a_short_message_is_ignored)
{
	uint8_t frame[100] = {0};

	cr_assert(rig_driver_receive(&g, frame, rig_frame(frame, 0x0806, frame + 50, 27), 0));
	rig_cycle(&g);
	rig_cycle(&g);
	cr_assert_null(rig_census(&g));
}
