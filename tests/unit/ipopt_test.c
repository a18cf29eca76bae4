/* Options of the IPv4 header: the parser and what hosts fill in; then through the stack, in and
 * out, over a restart. */
#include "ip_rig.h"
#include "udp_fixture.h"
#include "inet/layer.h"
#include "wire/ipopt.h"

TestSuite(ipopt, .init = rig_open, .fini = rig_close);

#define ME   0x0a630002u
#define TIME 0x01020304u

static bool is_me(const void *arg, uint32_t addr)
{
	(void)arg;
	return addr == ME;
}

static const struct ipopt_host me = {.addr = ME, .time_ms = TIME, .ours = is_me};

/* The offset of the error, -1 if there is none. */
static int wrong(const uint8_t *bytes, size_t len, enum ipopt_from from, struct ipopt *o)
{
	uint8_t bad;

	return ipopt_parse(o, bytes, len, from, &bad) ? bad : -1;
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

Test(ipopt, says_where_it_is_wrong)
{
	struct ipopt o;

	cr_expect_eq(wrong(BYTES(7, 7, 4, 0, 0, 0, 0), IPOPT_FROM_USER, &o), -1);
	cr_expect_eq(o.len, 8);
	cr_expect_eq(o.record, 1);
	cr_expect_eq(wrong(BYTES(1, 7, 1, 4), IPOPT_FROM_USER, &o), 1, "length of 1");
	cr_expect_eq(wrong(BYTES(1, 7, 9, 4), IPOPT_FROM_USER, &o), 1, "longer than all");
	cr_expect_eq(wrong(BYTES(1, 1, 1, 7), IPOPT_FROM_WIRE, &o), 3, "no length");
	cr_expect_eq(wrong(BYTES(7, 2, 1, 1), IPOPT_FROM_WIRE, &o), 1, "no pointer");
	cr_expect_eq(
	    wrong(BYTES(7, 7, 3, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), 2, "pointer to itself");
	cr_expect_eq(wrong(BYTES(7, 7, 5, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), 2, "half a slot");
	cr_expect_eq(wrong(BYTES(7, 7, 8, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), -1, "full");
	cr_expect_eq(wrong(BYTES(7, 3, 4, 1, 7, 3, 4), IPOPT_FROM_WIRE, &o), 4, "twice");
	cr_expect_eq(wrong(BYTES(68, 8, 4, 0, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), 2);
	cr_expect_eq(
	    wrong(BYTES(68, 8, 5, 1, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), 2, "no room for two");
	cr_expect_eq(wrong(BYTES(68, 4, 5, 0xf0), IPOPT_FROM_WIRE, &o), 3, "the count is full");
	cr_expect_eq(
	    wrong(BYTES(68, 8, 5, 2, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o), -1, "another's kind");
	cr_expect_eq(wrong(BYTES(68, 8, 5, 2, 0, 0, 0, 0), IPOPT_FROM_USER, &o), 3);
	cr_expect_eq(wrong(BYTES(131, 7, 4, 1, 2, 3, 4), IPOPT_FROM_USER, &o), -1);
	cr_expect_eq(wrong(BYTES(131, 7, 8, 1, 2, 3, 4), IPOPT_FROM_USER, &o), 1);
	cr_expect_eq(wrong(BYTES(131, 3, 4, 1), IPOPT_FROM_USER, &o), 1);
	cr_expect_eq(wrong(BYTES(148, 4, 0, 0), IPOPT_FROM_USER, &o), -1);
	cr_expect_eq(wrong(BYTES(148, 3, 0, 0), IPOPT_FROM_WIRE, &o), 1);
	cr_expect_eq(wrong(BYTES(30, 4, 0, 0), IPOPT_FROM_USER, &o), 0);
	cr_expect_eq(wrong(BYTES(30, 4, 0, 0), IPOPT_FROM_ROOT, &o), -1);
	cr_expect_eq(wrong(BYTES(0, 7, 1, 1), IPOPT_FROM_USER, &o), -1, "behind the end");
	cr_expect_eq(o.bytes[1], 0);
	cr_expect_eq(wrong((const uint8_t[41]){1}, 41, IPOPT_FROM_ROOT, &o), 0);
	cr_expect_eq(wrong(NULL, 0, IPOPT_FROM_USER, &o), -1);
	cr_expect_eq(o.len, 0);
}

static void same(const struct ipopt *o, const uint8_t *want, size_t len)
{
	cr_expect_eq(o->len, len);
	cr_expect_arr_eq(o->bytes, want, len);
}

Test(ipopt, fills_in_and_answers)
{
	struct ipopt o, back;

	wrong(BYTES(7, 11, 4, 9, 9, 9, 9, 0, 0, 0, 0), IPOPT_FROM_USER, &o);
	same(&o, BYTES(7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	ipopt_send(&o, 0x01020304, &me);
	same(&o, BYTES(7, 11, 8, 10, 99, 0, 2, 0, 0, 0, 0, 0));
	cr_expect_eq(ipopt_echo(&back, &o), 0);
	same(&back, BYTES(7, 11, 8, 10, 99, 0, 2, 0, 0, 0, 0, 0));
	ipopt_record(&o, &me, true);
	ipopt_record(&o, &me, true); /* full */
	same(&o, BYTES(7, 11, 12, 10, 99, 0, 2, 10, 99, 0, 2, 0));

	wrong(BYTES(68, 8, 5, 0, 0, 0, 0, 0), IPOPT_FROM_USER, &o);
	ipopt_record(&o, &me, true);
	same(&o, BYTES(68, 8, 9, 0, 1, 2, 3, 4));
	ipopt_record(&o, &me, false);
	ipopt_record(&o, &me, true);
	same(&o, BYTES(68, 8, 9, 0x10, 1, 2, 3, 4));

	wrong(BYTES(68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0), IPOPT_FROM_USER, &o);
	ipopt_record(&o, &me, true);
	same(&o, BYTES(68, 12, 13, 1, 10, 99, 0, 2, 1, 2, 3, 4));

	wrong(BYTES(68, 20, 5, 3, 10, 99, 0, 2, 7, 7, 7, 7, 1, 2, 3, 4, 0, 0, 0, 0),
	    IPOPT_FROM_USER, &o);
	ipopt_record(&o, &me, true);
	ipopt_record(&o, &me, true); /* not the next one in the list */
	same(&o, BYTES(68, 20, 13, 3, 10, 99, 0, 2, 1, 2, 3, 4, 1, 2, 3, 4, 0, 0, 0, 0));

	/* A source route: the first hop leaves the list, the destination ends it. */
	wrong(BYTES(137, 11, 4, 10, 99, 0, 7, 10, 99, 0, 8), IPOPT_FROM_USER, &o);
	cr_expect(o.strict);
	cr_expect_eq(ipopt_first_hop(&o, 0x01020304), 0x0a630007u);
	ipopt_send(&o, 0x01020304, &me);
	same(&o, BYTES(137, 11, 4, 10, 99, 0, 8, 1, 2, 3, 4, 0));
	cr_expect_eq(ipopt_echo(&back, &o), 0);
	cr_expect_eq(back.len, 0);

	/* Half a slot behind ours: nobody can answer. */
	wrong(BYTES(7, 9, 4, 0, 0, 0, 0, 0, 0), IPOPT_FROM_WIRE, &o);
	ipopt_record(&o, &me, true);
	cr_expect_eq(ipopt_echo(&back, &o), -EINVAL);

	wrong(BYTES(7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 1), IPOPT_FROM_USER, &o);
	ipopt_later_fragment(&o);
	same(&o, BYTES(1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 1));
}

/* ---- through the stack */

static const uint8_t route[] = {7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0};

static uint32_t sent(struct ipv4_header *h)
{
	uint32_t n = rig_sent(buf, sizeof(buf));

	if (!n)
		return 0;
	cr_assert_eq(ipv4_parse(h, buf, n), 0);
	cr_assert(ipv4_checksum_ok(buf, h->hdr_len));
	return n;
}

static void receive_with(
    uint8_t proto, const void *payload, uint32_t len, const uint8_t *options, uint8_t options_len)
{
	struct ipv4_header h = {
	    .src = PEER, .dst = HOST, .proto = proto, .options_len = options_len};

	memcpy(h.options, options, options_len);
	rig_receive(data, rig_ip(data, h, payload, len));
	rig_cycle();
}

static int set_options(uint32_t sk, const void *v, uint32_t len)
{
	return udp_ops.setsockopt(&rig.s, sk, IPPROTO_IP, IP_OPTIONS, v, len);
}

Test(ipopt, a_socket_sends_them_over_a_restart_and_in_fragments)
{
	uint32_t sk = rig_bound(HOST, PORT), len = sizeof(buf);
	struct endpoint to = rig_ep(PEER, 7);
	struct ipv4_header h;

	fill_data();
	cr_assert_eq(set_options(sk, route, 11), 0);
	cr_assert_eq(set_options(sk, (uint8_t[]){7, 7, 5, 0, 0, 0, 0}, 7), -EINVAL);
	rig_cycle();
	rig_restart();
	cr_assert_eq(udp_ops.getsockopt(&rig.s, sk, IPPROTO_IP, IP_OPTIONS, buf, &len), 0);
	cr_assert_eq(len, 12);
	cr_assert_arr_eq(buf, route, 12);
	rig_drain();
	rig_send(sk, &to, data, 3000);
	rig_cycle();
	cr_assert_eq(sent(&h), 32 + 1464);
	cr_assert_arr_eq(h.options, ((uint8_t[]){7, 11, 8, 10, 99, 0, 2, 0, 0, 0, 0, 0}), 12);
	cr_assert_eq(sent(&h), 32 + 1464);
	cr_assert_arr_eq(h.options, ((uint8_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}), 12);
	cr_assert_eq(h.frag_off, 1464);
	cr_assert_eq(sent(&h), 32 + 80);
	cr_assert_eq(set_options(sk, NULL, 0), 0);
	rig_send(sk, &to, data, 3);
	rig_cycle();
	cr_assert_eq(sent(&h), 20 + 8 + 3);
}

Test(ipopt, a_source_route_is_asked_for_but_not_followed)
{
	uint32_t sk = rig_bound(HOST, PORT);
	struct endpoint to = rig_ep(0x08080808, 7);
	uint8_t udp[16] = {0}, asked[] = {131, 7, 4, 10, 99, 0, 1};
	struct ipv4_header h;
	struct ipaddr a, b;

	rig_cycle();
	rig_drain();
	cr_assert_eq(set_options(sk, asked, sizeof(asked)), 0);
	rig_send(sk, &to, "x", 1);
	rig_cycle();
	cr_assert_gt(sent(&h), 0u);
	cr_assert_eq(h.dst, PEER);
	cr_assert_arr_eq(h.options, ((uint8_t[]){131, 7, 4, 8, 8, 8, 8, 0}), 8);
	a = ipaddr_v4(h.src);
	b = to.addr;
	cr_assert_eq(csum(buf + 28, 9, ip_pseudo_sum(&a, &b, IPPROTO_UDP, 9)), 0xffff);
	receive_with(IPPROTO_UDP, udp, 8, h.options, 8);
	cr_assert_eq(sent(&h), 0u);
}

Test(ipopt, a_reader_has_them_behind_the_payload)
{
	uint32_t sk = rig_bound(HOST, PORT);
	uint8_t udp[] = {0, 7, PORT >> 8, PORT & 255, 0, 11, 0, 0, 'a', 'b', 'c'};
	struct cm_options o;
	struct cm_dgram d;

	rig_cycle();
	receive_with(IPPROTO_UDP, udp, sizeof(udp), route, 12);
	cr_assert(rig_recv(sk, &d, buf, sizeof(buf)));
	cr_assert(d.flags & CM_DGRAM_OPTIONS);
	cr_assert_eq(d.len, 3 + sizeof(o));
	memcpy(&o, buf + 3, sizeof(o));
	cr_assert_eq(o.len, 12);
	cr_assert_arr_eq(o.bytes, ((uint8_t[]){7, 11, 8, 10, 99, 0, 2, 0, 0, 0, 0, 0}), 12);
	rig_receive_udp(PEER, 7, HOST, PORT, "abc", 3);
	rig_cycle();
	cr_assert(rig_recv(sk, &d, buf, sizeof(buf)));
	cr_assert_eq(d.len, 3);
	cr_assert_not(d.flags & CM_DGRAM_OPTIONS);
}

Test(ipopt, errors_are_told_and_answers_carry_the_route)
{
	uint8_t echo[8] = {8, 0, 0xf7, 0xff}, bad[] = {1, 7, 7, 5, 0, 0, 0, 0};
	struct ipv4_header h;

	rig_cycle();
	rig_drain();
	receive_with(IPPROTO_ICMP, echo, sizeof(echo),
	    (uint8_t[]){7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16);
	cr_assert_eq(sent(&h), 20 + 16 + 8);
	cr_assert_eq(buf[36], 0);
	cr_assert_arr_eq(h.options, ((uint8_t[]){7, 15, 12, 10, 99, 0, 2, 10, 99, 0, 2}), 11);
	receive_with(IPPROTO_ICMP, echo, sizeof(echo), bad, sizeof(bad));
	cr_assert_eq(sent(&h), 20 + 8 + 28 + 8);
	cr_assert_eq(buf[20], 12);
	cr_assert_eq(buf[24], 20 + 3);
	/* Nobody hears the port: the error goes back on the recorded route. */
	receive_with(IPPROTO_UDP, (uint8_t[]){0, 7, 0, 7, 0, 8, 0, 0}, 8, route, 12);
	cr_assert_eq(sent(&h), 32 + 8 + 32 + 8);
	cr_assert_arr_eq(h.options, ((uint8_t[]){7, 11, 12, 10, 99, 0, 2, 10, 99, 0, 2}), 11);
}
