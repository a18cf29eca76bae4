/*
 * A stack of device, IP and INET layers on one arena, with the driver's side of one device and the
 * client's side of sockets in the test's hands. A restart throws everything private away and builds
 *a new stack on the same arena, as a successor does.
 *
 *	test (as driver) -- region --> "tap0" 10.99.0.2/24 [stack] memory 1 <-- test (as client)
 *	peer 10.99.0.1, MAC PEER_MAC, a permanent neighbour
 */
#pragma once
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "inet/errq.h"
#include "inet/raw.h"
#include "inet/sock.h"
#include "inet/sockx.h"
#include "inet/udp.h"
#include "ip/addr.h"
#include "ip/group.h"
#include "ip/icmp.h"
#include "ip/igmp.h"
#include "ip/input.h"
#include "ip/ip.h"
#include "ip/reassemble.h"
#include "ip/route.h"
#include "state/switchboard.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/udp.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define RIG_CHUNKS  512u
#define RIG_SESSION 0u
#define HOST	    0x0a630002u /* 10.99.0.2: us */
#define PEER	    0x0a630001u
#define LOOPBACK    0x7f000001u

struct rig {
	struct stack s;
	struct switchboard board;
	struct record_type records[KIND_COUNT];
	void *arena, *mem0, *mem1, *region;
	uint64_t arena_size, region_size;
	struct region_geometry geo;
	uint32_t dev;
	uint64_t transmit_seen;
	uint64_t seed;
	bool damaged; /* the successor finds a record corrupt */
};

extern struct rig rig;
extern const uint8_t PEER_MAC[6];

void rig_open(void);
void rig_close(void);
/* The daemon dies: what was not committed is gone. */
void rig_restart(void);
/* The same, and the arena has lost a record. */
void rig_lose(enum record_kind kind, uint32_t index);
/* Gather, timers, lo. */
void rig_work(void);
void rig_commit(void);
void rig_cycle(void); /* both */
void rig_advance(uint64_t ns);

/* ---- the wire */
/* An IP packet from the peer into the receive ring; the next cycle finds it. */
void rig_receive(const uint8_t *ip, uint32_t len);
/* The next frame that was sent, without its Ethernet header; 0 if there is none. */
uint32_t rig_sent(uint8_t *ip, uint32_t room);
/* Drops all that was sent. */
void rig_drain(void);
/* Header and payload; returns the length. `h` needs src, dst, proto and what is special. */
uint32_t rig_ip(uint8_t *out, struct ipv4_header h, const void *payload, uint32_t len);
uint32_t rig_udp(uint8_t *out, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport,
    const void *data, uint32_t len);
void rig_receive_udp(
    uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, const void *data, uint32_t len);

/* ---- sockets */
struct endpoint rig_ep(uint32_t addr, uint16_t port);
uint32_t rig_socket(int family, int type, int protocol);
uint32_t rig_udp_socket(void);
uint32_t rig_bound(uint32_t addr, uint16_t port);
void rig_flag(uint32_t sk, uint32_t flags);
/* Appends a datagram to the transmit ring (made if need be) and pokes; what poke said. */
int rig_send(uint32_t sk, const struct endpoint *to, const void *data, uint32_t len);
/* Takes the next received datagram as a client does; false if there is none. */
bool rig_recv(uint32_t sk, struct cm_dgram *h, void *data, uint32_t room);
