/* Datagram sockets: connected, told of errors, asked and set, published. */
#include "ip_rig.h"
#include "udp_fixture.h"

TestSuite(udp, .init = rig_open, .fini = rig_close);

/* ---- connect */

Test(udp, connected_sockets_hear_their_peer_only)
{
	uint32_t any = rig_udp_socket(), conn = rig_udp_socket();
	struct endpoint ep = rig_ep(0, PORT), peer = rig_ep(PEER, 7);

	rig_flag(any, SOCK_F_REUSEADDR);
	rig_flag(conn, SOCK_F_REUSEADDR);
	cr_assert_eq(udp_ops.bind(&rig.s, any, &ep), 0);
	cr_assert_eq(udp_ops.bind(&rig.s, conn, &ep), 0);
	cr_assert_eq(udp_ops.connect(&rig.s, conn, &peer), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, conn)->local.addr), HOST);
	rig_cycle();
	rig_restart();
	rig_receive_udp(PEER, 7, HOST, PORT, "7", 1);
	rig_receive_udp(PEER, 8, HOST, PORT, "8", 1);
	rig_cycle();
	cr_assert(got(conn, "7", 1, NULL));
	cr_assert_not(got(conn, "", 0, NULL));
	cr_assert(got(any, "8", 1, NULL));
	cr_assert_eq(udp_ops.disconnect(&rig.s, conn), 0);
	cr_assert(ipaddr_is_any(&sock_peek(&rig.s, conn)->local.addr));
	cr_assert_eq(sock_peek(&rig.s, conn)->local.port, PORT); /* the user chose it */
	rig_cycle();
	rig_receive_udp(PEER, 7, HOST, PORT, "7", 1);
	rig_cycle();
	cr_assert(got(conn, "7", 1, NULL)); /* the newest of equals */
}

Test(udp, connect_to_port_0_tells_the_source)
{
	uint32_t sk = rig_udp_socket();
	struct endpoint far = rig_ep(0x08080808, 0);
	struct sock_view v = {0};

	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->local.addr), HOST);
	udp_ops.publish(&rig.s, sk, &v);
	cr_assert(v.state & CM_ST_CONNECTED);
	far = rig_ep(0, 9); /* this host */
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), 0);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->remote.addr), LOOPBACK);
	far = rig_ep(UINT32_MAX, 9);
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &far), -EACCES);
	cr_assert_eq(ipaddr_to_v4(&sock_peek(&rig.s, sk)->remote.addr), LOOPBACK); /* as before */
	cr_assert_eq(udp_ops.disconnect(&rig.s, sk), 0);
	cr_assert_eq(sock_peek(&rig.s, sk)->local.port, 0);
}

Test(udp, mapped_addresses)
{
	uint32_t sk = rig_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP),
		 only = rig_socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
	struct endpoint any = rig_ep(0, PORT), peer = rig_ep(PEER, 7);
	int on = 1;

	cr_assert_eq(udp_ops.bind(&rig.s, sk, &any), 0);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, sk, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), -EINVAL);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, only, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	cr_assert_eq(udp_ops.connect(&rig.s, only, &peer), -ENETUNREACH);
	rig_cycle();
	rig_receive_udp(PEER, 7, HOST, PORT, "m", 1);
	rig_cycle();
	cr_assert(got(sk, "m", 1, NULL));
	cr_assert_eq(rig_send(only, &peer, "x", 1), 0);
	cr_assert_eq(sock_peek(&rig.s, only)->err, ENETUNREACH);
	cr_assert_eq(rig_send(sk, &peer, "x", 1), 0);
	rig_commit();
	cr_assert_eq(rig_sent(buf, sizeof(buf)), 29);
}

/* ---- errors from outside */

static void icmp_in(uint8_t type, uint8_t code, uint16_t mtu, uint16_t sport, uint16_t dport)
{
	uint8_t inner[64], icmp[128] = {0}, ip[256], udp[64];
	struct icmp_header e = {.type = type, .code = code, .seq = mtu};
	uint32_t n = rig_udp(udp, HOST, sport, PEER, dport, "x", 1);

	n = rig_ip(
	    inner, (struct ipv4_header){.src = HOST, .dst = PEER, .proto = IPPROTO_UDP}, udp, n);
	memcpy(icmp + ICMP_LEN, inner, n);
	icmp_emit(&e, icmp, ICMP_LEN);
	e.checksum = csum_finish(csum(icmp, ICMP_LEN + n, 0));
	icmp_emit(&e, icmp, ICMP_LEN);
	n = rig_ip(ip, (struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_ICMP}, icmp,
	    ICMP_LEN + n);
	rig_receive(ip, n);
	rig_cycle();
}

Test(udp, icmp_errors)
{
	uint32_t conn = rig_bound(0, PORT), loose = rig_bound(0, PORT + 1);
	struct endpoint peer = rig_ep(PEER, 7);
	struct ipaddr to = ipaddr_v4(PEER);
	struct route r;

	cr_assert_eq(udp_ops.connect(&rig.s, conn, &peer), 0);
	rig_cycle();
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT, 8); /* not what we sent */
	cr_assert_eq(sock_peek(&rig.s, conn)->err, 0);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_HOST, 0, PORT, 7); /* soft */
	cr_assert_eq(sock_peek(&rig.s, conn)->err, 0);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT, 7);
	cr_assert_eq(sock_peek(&rig.s, conn)->err, ECONNREFUSED);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_PORT, 0, PORT + 1, 7);
	cr_assert_eq(sock_peek(&rig.s, loose)->err, 0); /* not connected */
	rig_flag(loose, SOCK_F_RECVERR);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_HOST, 0, PORT + 1, 7);
	cr_assert_eq(sock_peek(&rig.s, loose)->err, EHOSTUNREACH);
	icmp_in(ICMP_T_UNREACHABLE, ICMP_C_FRAG_NEEDED, 1000, PORT, 7);
	cr_assert_eq(sock_peek(&rig.s, conn)->err, EMSGSIZE);
	cr_assert_eq(ip_route(&rig.s, &to, NULL, NO_INDEX, &r), 0);
	cr_assert_eq(r.mtu, 1000);
}

/* ---- options */

static int opt(uint32_t sk, int level, int name)
{
	int v = -1;
	uint32_t len = sizeof(v);
	int ret = udp_ops.getsockopt(&rig.s, sk, level, name, &v, &len);

	return ret ? ret : v;
}

Test(udp, options)
{
	uint32_t sk = rig_udp_socket(), len;
	struct linger l = {1, 5}, m;
	uint8_t byte = 7;
	char name[16];

	cr_assert_eq(opt(sk, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_DOMAIN), AF_INET);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 212992);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 100000), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 200000);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_RCVBUF, 1), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_RCVBUF), 2304);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_SNDBUF, INT32_MAX), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_SNDBUF), 2 * 4096 * 1024);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_REUSEADDR, 7), 0);
	cr_assert_eq(opt(sk, SOL_SOCKET, SO_REUSEADDR), 1);
	cr_assert_eq(put(sk, SOL_SOCKET, SO_TYPE, 7), -ENOPROTOOPT);
	cr_assert_eq(put(sk, SOL_SOCKET, 12345, 7), -ENOPROTOOPT);
	cr_assert_eq(opt(sk, SOL_SOCKET, 12345), -ENOPROTOOPT);
	cr_assert_eq(put(sk, IPPROTO_IPV6, IPV6_V6ONLY, 1), -ENOPROTOOPT);
	cr_assert_eq(put(sk, IPPROTO_UDP, 1, 1), -ENOPROTOOPT);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_REUSEADDR, &byte, 1), -EINVAL);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, IPPROTO_IP, IP_TTL, &byte, 1), 0);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_TTL), 7);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, 256), -EINVAL);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, 0), -EINVAL);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_TTL, -1), 0);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_TTL), 64);
	cr_assert_eq(put(sk, IPPROTO_IP, IP_MTU_DISCOVER, 9), -EINVAL);
	cr_assert_eq(opt(sk, IPPROTO_IP, IP_MTU), -ENOTCONN);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	len = sizeof(m);
	cr_assert_eq(udp_ops.getsockopt(&rig.s, sk, SOL_SOCKET, SO_LINGER, &m, &len), 0);
	cr_assert(m.l_onoff == 1 && m.l_linger == 5);
	cr_assert_eq(
	    udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, "nope", 5), -ENODEV);
	cr_assert_eq(udp_ops.setsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, "tap0", 5), 0);
	len = sizeof(name);
	cr_assert_eq(udp_ops.getsockopt(&rig.s, sk, SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
	cr_assert_str_eq(name, "tap0");
}

/* ---- the list for the socket layer */

Test(udp, changes_are_told_once)
{
	uint32_t sk = rig_bound(0, PORT), other = rig_bound(0, PORT + 1), n = 0, c;

	while (sock_next_changed(&rig.s) != NO_INDEX)
		;
	rig_cycle();
	rig_receive_udp(PEER, 9, HOST, PORT, "x", 1);
	rig_receive_udp(PEER, 9, HOST, PORT, "y", 1);
	rig_cycle();
	while ((c = sock_next_changed(&rig.s)) != NO_INDEX) {
		cr_assert_eq(c, sk);
		n++;
	}
	cr_assert_eq(n, 1);
	sock_free(&rig.s, other);
	cr_assert_eq(sock_next_changed(&rig.s), other);
}

Test(udp, publishes_its_state)
{
	uint32_t sk = rig_bound(0, PORT);
	struct endpoint peer = rig_ep(PEER, 7);
	struct sock_view v = {0};

	cr_assert_eq(udp_ops.shutdown(&rig.s, sk, SHUT_RD), -ENOTCONN);
	cr_assert_eq(udp_ops.connect(&rig.s, sk, &peer), 0);
	cr_assert_eq(udp_ops.shutdown(&rig.s, sk, SHUT_RDWR), 0);
	udp_ops.publish(&rig.s, sk, &v);
	cr_assert_eq(
	    v.state, CM_ST_OPEN | CM_ST_CONNECTED | CM_ST_RX_EOF | CM_ST_TX_SHUT | CM_ST_HUP);
}
