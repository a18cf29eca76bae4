/*
 * A whole stack, as netd/daemon puts it together, over an arena that outlives it, with one device whose
 * driver is the fuzzer; with or without the socket layer and a supervisor that only keeps deposits.
 *
 *	fuzzer (driver, peer 10.99.0.1) -- region -- "tap0" 10.99.0.2/24 [stack] -- fuzzer (application)
 *
 * Every frame that the stack sends is checked: lengths and checksums, at every layer.
 */
#pragma once
#include "base/util.h"
#include "daemon/world.h"
#include "device/layer.h"
#include "inet/sock.h"
#include "ip/addr.h"
#include "ip/arp.h"
#include "ip/ip.h"
#include "ip/reassemble.h"
#include "ip/route.h"
#include "socket/socket.h"
#include "tcp/tcb.h"
#include "tcp/tcp.h"
#include "fuzz.h"

#define WORLD_CHUNK  2048u
#define WORLD_CHUNKS 1024u
#define MEM0_SIZE    (64ull << 20)
#define MEM1_SIZE    (64ull << 20)
#define HOST	     0x0a630002u /* 10.99.0.2: netd */
#define PEER	     0x0a630001u
#define FRAME_MAX    70000u

extern const uint8_t HOST_MAC[6], PEER_MAC[6];

struct world_deposit {
	uint32_t kind, index, gen;
	int nfds, fds[4];
};
#define WORLD_DEPOSITS 512

struct world {
	struct stack s;
	void *arena, *mem0, *mem1;
	uint64_t arena_size;
	void *region;
	uint64_t region_size;
	struct region_geometry geo;
	uint32_t dev;
	uint64_t rx, tx; /* the driver's own positions */
	bool complete;	 /* it completes what it is given (else it keeps it for a while) */
	uint64_t tx_dirty; /* what stands before this in the transmit ring may be a lie's consequence */
	uint64_t down_ns; /* of the last death */
	unsigned restarts, accusations;
	bool (*damage)(void); /* called at each death: true if records may be corrupt now */
	bool damaged;
	bool forged; /* somebody may send raw packets: what goes out need not be right */
	/* socket layer */
	bool sockets;
	struct socket_env env;
	struct world_deposit deposit[WORLD_DEPOSITS];
	Netd__Component__Config config;
	Netd__Component__Limits limits;
};

/* `sockets`: with the SOCKET layer; else session 0 is the fuzzer, its memory is `mem1`. */
void world_new(struct world *w, bool sockets);
void world_delete(struct world *w);

enum world_death { LIVE, DIE_UNCOMMITTED, DIE_SILENT, DIE_SPOKEN };
/* A cycle; at `death` the process dies and a successor takes over. Returns the work found. */
unsigned world_cycle(struct world *w, enum world_death death);
/* Sometimes dies. */
unsigned world_risky_cycle(struct world *w, uint32_t once_in);

/* ---- the driver */
struct dev_desc; /* offload facts of the first descriptor: flags, gso_* */
/* False: no room. `facts` may be NULL. */
bool world_receive(struct world *w, const uint8_t *frame, uint32_t len, const struct dev_desc *facts);
/* The next frame that netd sent, checked; 0 if there is none. */
uint32_t world_sent(struct world *w, uint8_t *frame);
/* The driver publishes lies, is accused and replaced. */
void world_lie(struct world *w);
/* NULL, or what is wrong with the chunks: each must be at exactly one place. */
const char *world_census(struct world *w);

/* ---- packets; all return lengths */
uint32_t make_frame(uint8_t *out, uint16_t type, const void *payload, uint32_t len);
