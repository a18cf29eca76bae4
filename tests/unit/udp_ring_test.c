/* Moves of rings under their readers and writers. */
#include "ip_rig.h"
#include "udp_fixture.h"

TestSuite(udp, .init = rig_open, .fini = rig_close);

Test(udp, the_receive_ring_moves_under_its_reader)
{
	uint32_t sk = rig_bound(0, PORT);
	struct ring_place old;
	uint64_t used;

	fill_data();
	rig_cycle();
	for (int i = 0; i < 20; i++)
		rig_receive_udp(PEER, 9, HOST, PORT, data + i, 1000);
	rig_cycle();
	old = sock_peek(&rig.s, sk)->rx;
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 1 << 20), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx.cap, 1 << 20);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx.epoch, old.epoch + 1);
	cr_assert_eq(sock_peek(&rig.s, sk)->rx_old.off, old.off);
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 2 << 20, 0), -EBUSY);
	rig_cycle();
	rig_restart(); /* both places are claimed again */
	rig_receive_udp(PEER, 9, HOST, PORT, data + 20, 1000);
	rig_cycle();
	for (int i = 0; i < 21; i++)
		cr_assert(got(sk, data + i, 1000, NULL));
	used = memory_used(rig.s.mem, RIG_SESSION + 1);
	sock_epoch_ack(&rig.s, sk, old.epoch);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), used);
	sock_epoch_ack(&rig.s, sk, old.epoch + 1);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), used - old.cap);
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 2 << 20, 0), 0);
	sock_free(&rig.s, sk);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, RIG_SESSION + 1), 0);
}

Test(udp, adoption_moves_both_rings)
{
	uint32_t sk = rig_bound(0, PORT);
	struct sock_rec *k = sock_get(&rig.s, sk);

	sock_free(&rig.s, sk);
	rig_cycle();
	sk = rig_udp_socket();
	k = sock_get(&rig.s, sk);
	k->session = NO_INDEX; /* a child that nobody accepted yet */
	cr_assert_eq(sock_rx_ring(&rig.s, sk, 4096, 64), 0);
	cr_assert_eq(sock_tx_ring(&rig.s, sk, 8192, 0), 0);
	cr_assert_eq(k->rx.mem, 0);
	k->rx_head = 64;
	k->rx_tail = 64 + 4096;
	fill_data();
	ring_write(rig.s.mem, &k->rx, 64, data, 4096);
	rig_cycle();
	cr_assert_eq(sock_adopt(&rig.s, sk, RIG_SESSION, 5, 17), 0);
	k = sock_get(&rig.s, sk);
	cr_assert(k->session == RIG_SESSION && k->session_gen == 5 && k->slot == 17);
	cr_assert(k->rx.mem == 1 && k->tx.mem == 1 && !k->rx_old.cap);
	ring_read(rig.s.mem, &k->rx, 64, buf, 4096);
	cr_assert_eq(memcmp(buf, data, 4096), 0);
	rig_cycle();
	cr_assert_eq(memory_used(rig.s.mem, 0), 0);
	rig_restart();
	cr_assert_eq(memory_used(rig.s.mem, 1), 4096 + 8192);
}

Test(udp, the_transmit_ring_grows_with_what_waits_in_it)
{
	struct endpoint to = rig_ep(PEER, 53);
	uint32_t sk = rig_bound(0, PORT), seen = 0, nr;
	struct ipv4_header h;
	struct udp_header u;

	for (nr = 0; nr < 500; nr++) /* more than the device takes */
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	cr_assert_eq(sock_tx_ring(&rig.s, sk, 1 << 20, 0), 0);
	for (; nr < 600; nr++)
		cr_assert_eq(rig_send(sk, &to, &nr, sizeof(nr)), 0);
	rig_commit();
	for (unsigned round = 0; round < 20; round++) {
		while (sent_udp(&h, &u)) {
			memcpy(&nr, buf + 28, sizeof(nr));
			cr_assert_eq(nr, seen++);
		}
		rig_advance(2 * NSEC_PER_MSEC);
		rig_cycle();
	}
	cr_assert_eq(seen, 600);
}
