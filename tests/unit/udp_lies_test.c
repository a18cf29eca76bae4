/* Datagram rings that no honest client writes. */
#include "ip_rig.h"
#include "udp_fixture.h"

TestSuite(udp, .init = rig_open, .fini = rig_close);

static uint8_t *tx_at(uint32_t sk, uint64_t pos)
{
	return (uint8_t *)rig.mem1 + ring_place_at(&sock_peek(&rig.s, sk)->tx, pos);
}

static void lie(uint32_t len, uint16_t flags, uint64_t written, int expect)
{
	uint32_t sk = rig_bound(0, 0);
	struct cm_dgram h = {.len = len, .flags = flags, .peer = rig_ep(PEER, 9)};
	int ret;

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, 0), &h, sizeof(h));
	ret = udp_ops.poke(&rig.s, sk, 0, written);
	cr_assert_eq(ret, expect, "len %u flags %u written %lu: %d", len, flags,
	    (unsigned long)written, ret);
	sock_free(&rig.s, sk);
	rig_cycle();
	rig_drain();
}

Test(udp, lies_cost_the_session)
{
	lie(64, 0, 128, 0);
	lie(65, 0, 128, -EPROTO);		   /* more than was written */
	lie(CM_DGRAM_MAX + 1, 0, 131072, -EPROTO); /* longer than a datagram can be */
	lie(UINT32_MAX, 0, 128, -EPROTO);	   /* would wrap */
	lie(UINT32_MAX - 63, 0, 128, -EPROTO);
	lie(0x01000000, 0, 128, -EPROTO);
	lie(0x7fffffff, CM_DGRAM_SKIP, 128, -EPROTO);
	lie(64, CM_DGRAM_BARE << 1, 128, -EPROTO); /* unknown flag */
	lie(64, CM_DGRAM_STAMP | CM_DGRAM_QUEUED | CM_DGRAM_BARE, 128, 0);
	lie(64, CM_DGRAM_OPTIONS, 128, 0);
	lie(40, CM_DGRAM_OPTIONS, 128, -EPROTO);      /* no room for them */
	lie(64, CM_DGRAM_MORE, 128, 0);		      /* its end is still to come */
	lie(262144, CM_DGRAM_SKIP, 262144, -EPROTO);
	lie(262144 - 64, CM_DGRAM_SKIP, 262144, 0);
	lie(0, 0, 63, -EPROTO);		   /* no multiple of the alignment */
	lie(0, 0, 262144 + 64, -EPROTO);   /* more than the ring holds */
	lie(0, 0, (uint64_t)-64, -EPROTO); /* backwards */
	lie(0, 0, UINT64_MAX / 2 + 1, -EPROTO);
}

/* A datagram of 64 bytes that is IP options at its end, behind another one of 64 bytes with these
 * flags. */
static int send_options(uint16_t flags, uint8_t n)
{
	uint32_t sk = rig_bound(0, PORT);
	struct cm_dgram h = {.len = 64, .flags = flags, .peer = rig_ep(PEER, 9)};
	int ret;

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, 0), &h, sizeof(h));
	h.flags = CM_DGRAM_OPTIONS;
	memcpy(tx_at(sk, 128), &h, sizeof(h));
	*tx_at(sk, 128 + 64 + 64 - sizeof(struct cm_options)) = n;
	ret = udp_ops.poke(&rig.s, sk, 0, 256);
	sock_free(&rig.s, sk);
	rig_cycle();
	rig_drain();
	return ret;
}

Test(udp, lies_about_options)
{
	cr_assert_eq(send_options(0, 0), 0);
	cr_assert_eq(send_options(0, 40), 0);
	cr_assert_eq(send_options(0, 41), -EPROTO);
	cr_assert_eq(send_options(0, 255), -EPROTO);
	cr_assert_eq(send_options(CM_DGRAM_MORE, 0), -EPROTO); /* they belong to the first piece */
}

Test(udp, receive_positions_that_cannot_be)
{
	uint32_t sk = rig_bound(0, PORT);

	rig_cycle();
	rig_receive_udp(PEER, 9, HOST, PORT, "x", 1);
	rig_cycle();
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 192, 0), -EPROTO); /* not there yet */
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 1, 0), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, (uint64_t)-64, 0), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 64), -EPROTO); /* no transmit ring at all */
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 128, 0), 0);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 64, 0), -EPROTO); /* backwards */
}

/* A datagram across the ring's end, and tails that go back. */
Test(udp, datagrams_lie_contiguous)
{
	uint32_t sk = rig_bound(0, 0);
	struct cm_dgram skip = {.len = 262144 - 128 - 64, .flags = CM_DGRAM_SKIP};
	struct cm_dgram h = {.len = 128, .peer = rig_ep(PEER, 9)};

	cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
	memcpy(tx_at(sk, 0), &skip, sizeof(skip));
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 - 128), 0);
	memcpy(tx_at(sk, 262144 - 128), &h, sizeof(h));
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 - 192), -EPROTO);
	cr_assert_eq(udp_ops.poke(&rig.s, sk, 0, 262144 + 64), -EPROTO);
}

/* Random headers over and over: never a crash, never a position beyond the tail. */
Test(udp, random_rings)
{
	for (unsigned round = 0; round < 300; round++) {
		uint32_t sk = rig_bound(0, 0), r[4];
		const struct sock_rec *k;
		uint64_t tail;

		cr_assert_eq(sock_tx_ring(&rig.s, sk, 262144, 0), 0);
		for (uint32_t off = 0; off < 8192; off += 64) {
			struct cm_dgram h;

			rig.s.random(NULL, &h, sizeof(h));
			rig.s.random(NULL, r, sizeof(r));
			if (r[0] % 8)
				h.len = r[1] % 300;
			if (r[0] % 16)
				h.flags = (uint16_t)(r[2] % 32 == 0);
			if (r[3] % 2)
				h.peer = rig_ep(PEER, 9);
			memcpy(tx_at(sk, off), &h, sizeof(h));
		}
		rig.s.random(NULL, r, sizeof(r));
		tail = r[0] % 8192 & ~63u;
		(void)udp_ops.poke(&rig.s, sk, 0, tail);
		k = sock_peek(&rig.s, sk);
		cr_assert_leq(k->tx_head, tail);
		sock_free(&rig.s, sk);
		rig_cycle();
		rig_drain();
	}
}
