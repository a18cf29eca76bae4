/* What the tests of raw, ping and packet sockets share: making them, a message from the peer, a filter. */
#pragma once
#include "ip_rig.h"
#include "inet/layer.h"
#include "wire/bpf.h"

static uint8_t buf[70000], ip[2048];

static inline uint32_t open_socket(int family, int type, int protocol)
{
	uint32_t sk = rig_socket(family, type, family == AF_PACKET ? 0 : protocol);
	struct sock_rec *k = sock_get(&rig.s, sk);

	if (family == AF_PACKET)
		k->local.port = (uint16_t)protocol;
	cr_assert_eq(sock_ops_of(&rig.s, k)->create(&rig.s, sk), 0);
	return sk;
}

static inline uint32_t icmp_message(
    uint8_t *out, uint8_t type, uint16_t id, uint16_t seq, const void *data, uint32_t len)
{
	uint16_t sum;

	memcpy(out,
	    (uint8_t[8]){
		type, 0, 0, 0, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(seq >> 8), (uint8_t)seq},
	    8);
	memcpy(out + 8, data, len);
	sum = csum_finish(csum(out, 8 + len, 0));
	out[2] = (uint8_t)(sum >> 8);
	out[3] = (uint8_t)sum;
	return 8 + len;
}

static inline void receive_icmp(uint8_t type, uint16_t id, const char *data)
{
	uint8_t msg[256];
	uint32_t n = icmp_message(msg, type, id, 1, data, (uint32_t)strlen(data));

	rig_receive(ip,
	    rig_ip(ip,
		(struct ipv4_header){.src = PEER, .dst = HOST, .proto = IPPROTO_ICMP, .ttl = 61},
		msg, n));
	rig_cycle();
}

static inline bool empty(uint32_t sk)
{
	struct cm_dgram h;

	return !rig_recv(sk, &h, buf, sizeof(buf));
}

static inline void set(uint32_t sk, int level, int name, int v)
{
	cr_assert_eq(sock_ops_of(&rig.s, sock_peek(&rig.s, sk))
			 ->setsockopt(&rig.s, sk, level, name, &v, sizeof(v)),
	    0);
}

static inline int attach(uint32_t sk, const struct bpf_insn *prog, uint32_t n)
{
	int ret = 0;

	for (uint32_t at = 0; at < n && !ret; at += CM_FILTER_PIECE)
		ret = sock_ops_of(&rig.s, sock_peek(&rig.s, sk))
			  ->filter(&rig.s, sk, at, n, prog + at, min_of(n - at, CM_FILTER_PIECE));
	return ret;
}
