/*
 * What the parts of fuzz_frames share: the world, what attackers know of connections, and the honest
 * pair beside them.
 */
#pragma once
#include "world_rig.h"
#include "inet/udp.h"
#include "wire/arp.h"
#include "wire/checksum.h"
#include "wire/ether.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define PEERS	  24
#define ECHO_PORT 7 /* the honest server */
#define FUZZ_GROUP 0xef010200u

extern struct world world;

/* What an attacker knows of a connection. */
struct peer {
	uint32_t addr;
	uint16_t lport, rport; /* lport is netd's */
	uint32_t seq, ack;     /* ours next, netd's next */
	uint32_t ts_val, ts_ecr;
};
extern struct peer peers[PEERS];

/* The honest pair. */
struct good {
	uint16_t port;
	uint32_t iss, irs;
	uint32_t sent, acked, echoed; /* bytes of the stream */
	uint32_t got;		      /* bytes that the server read */
	bool syn_acked, reset, arp, echo, udp;
	uint32_t sk, listener, udp_sk;
};
extern struct good good;

/* The client's honest positions of a socket. */
struct ends {
	uint64_t rx_head, rx_tail, tx_head, tx_tail;
	uint32_t room;
};

/* ---- fuzz_frames.c */
uint32_t ip_packet(uint8_t *frame, struct ipv4_header h, const void *payload, uint32_t len);
uint32_t segment(uint8_t *out, uint32_t src, struct tcp_header *h, const void *data, uint32_t len);
/* Time passes, a cycle is worked, and everything that netd sent is taken. */
void pass(uint64_t ns, uint32_t death_once_in);

/* ---- frames_attack.c */
void attack(void);
uint32_t stranger(void);
uint16_t some_port(void);

/* ---- frames_app.c */
uint32_t bound_socket(int type, uint16_t port);
void app_close(uint32_t sk, bool killed);
bool ends_of(uint32_t sk, struct ends *e);
/* Something that an application may do with one of its sockets. */
void application(void);

/* ---- frames_honest.c */
void good_answer(const struct tcp_header *h, const uint8_t *data, uint32_t len);
void good_open(uint16_t port);
/* `n` bytes there and back. */
void good_exchange(uint32_t n, uint32_t death_once_in);
/* One ARP request, one ICMP echo, one datagram. */
void good_ask(void);
/* Sends the datagrams that wait back to where they came from. */
void serve_udp(void);
