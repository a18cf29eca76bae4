/*
 * Networks in one process, on a virtual clock, deterministic by their seed.
 *
 *	client memory            client memory
 *	     |                        |
 *	[host 0: a stack]        [host 1: a stack]
 *	 10.0.0.1                 10.0.0.2
 *	     |  region                |  region
 *	     +------ the wire --------+      loss, delay, reordering, duplication, corruption
 *	             (or a script: script.h)
 *
 * Each host is a `struct stack` over an arena, driven through the daemon's own cycle
 *(daemon/world.h). The test is supervisor, driver and client. A host can be killed at any moment:
 *its private memory is thrown away, before the commit of a cycle or after it and before anything
 *was spoken, and a successor is built over the same arena.
 */
#pragma once
#include "base/util.h"
#include "daemon/world.h"
#include "device/device.h"
#include "device/neigh.h"
#include "inet/sock.h"
#include "ip/addr.h"
#include "ip/ip.h"
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define SIM_HOSTS  2
#define SIM_SOCKS  64
#define SIM_CHUNKS 512u
#define SIM_CLIENT (64u << 20)
#define SIM_FRAME  65600u
#define SIM_MS	   NSEC_PER_MSEC
#define SIM_SEC	   NSEC_PER_SEC

struct sim;

/* A socket as its client sees it. */
struct sim_sock {
	struct sim *sim;
	struct sim_host *host;
	bool used;
	uint32_t sk, slot;
	uint64_t rx_head, tx_tail; /* the client's words */
	uint32_t rx_epoch;	   /* newest place that it uses */
	bool dirty;		   /* it has not been looked at since */
	/* The daemon's words, as published */
	struct sock_view v;
	struct ring_place rx, tx;
	int32_t err;
	uint32_t err_seq;
};

struct sim_host {
	struct sim *sim;
	unsigned number;
	struct stack s;
	void *arena, *mem0, *client, *region;
	uint64_t arena_size, mem0_size, region_size;
	struct region_geometry geo;
	uint64_t drv_rx, drv_tx; /* the driver's positions */
	uint32_t dev;
	struct sim_sock sock[SIM_SOCKS];
	uint64_t died_at;
	unsigned restarts;
	/* Chances in a million, a cycle */
	uint32_t die_before, die_after;
};

struct sim_frame {
	uint64_t at, order;
	unsigned to;
	uint32_t len;
	uint16_t gso_size;
	bool csum_open;
	uint8_t *data;
};

/* What happens to frames in one direction; chances in a million. */
struct sim_link {
	uint32_t loss, duplicate, reorder, corrupt;
	uint64_t delay, jitter; /* ns */
	uint64_t rate;		/* bytes a second, 0: no limit */
	uint32_t queue;		/* bytes that wait at most, with a rate */
	uint64_t busy_until;
	uint64_t frames, dropped;
};

struct sim {
	uint64_t now, seed, order;
	struct sim_host host[SIM_HOSTS];
	struct sim_link link[SIM_HOSTS]; /* from host i */
	struct sim_frame *frame;
	unsigned frames, room;
	uint32_t features, mtu;
	bool script; /* host 1 is not there: the test plays it (script.h) */
	/* Sees every frame before the wire does; false: it is lost. May be NULL. */
	bool (*watch)(struct sim *m, unsigned from, const uint8_t *frame, uint32_t len);
	void *watch_arg;
	uint64_t watched;
};

/* ---- sim.c */

struct sim *sim_new(uint64_t seed);
/* The same with offloads (enum region_features) and an MTU. */
struct sim *sim_new_with(uint64_t seed, uint32_t features, uint32_t mtu, bool script);
void sim_free(struct sim *m);
uint64_t sim_random(struct sim *m);
bool sim_roll(struct sim *m, uint32_t per_million);
/* One cycle of a host, with the request in it if there is one (done exactly once, whatever dies).
 */
void sim_cycle(struct sim_host *h, void (*request)(struct sim_host *h, void *arg), void *arg);
/* One round: frames that are due, a cycle of each host; then the clock moves to the next event. */
void sim_step(struct sim *m);
/* Until the clock has moved on by `ns`. */
void sim_run(struct sim *m, uint64_t ns);
/* Until `done` or the time is over; what `done` said last. */
bool sim_run_until(struct sim *m, bool (*done)(void *arg), void *arg, uint64_t ns);
/* Kills the daemon and starts its successor `pause` later. */
void sim_kill(struct sim_host *h, uint64_t pause);

/* ---- sim.c, for the other parts */

uint64_t sim_mix(uint64_t *state); /* splitmix64 */
/* A round whose clock stops at `limit`. */
void sim_step_until(struct sim *m, uint64_t limit);
/* The client sees what the daemon says of its socket. */
void sim_publish(struct sim_host *h, uint32_t sk);

/* ---- sim_client.c */

struct sim_sock *sim_socket(struct sim_host *h);
int sim_bind(struct sim_sock *k, uint16_t port);
int sim_listen(struct sim_sock *k, uint16_t port, int backlog);
int sim_connect(struct sim_sock *k, uint16_t port); /* to the other host */
int sim_connect_to(struct sim_sock *k, uint32_t v4, uint16_t port);
struct sim_sock *sim_accept(struct sim_sock *k); /* NULL: none */
int sim_shutdown(struct sim_sock *k, int how);
void sim_close(struct sim_sock *k);
void sim_die(struct sim_sock *k); /* its owner is killed */
int sim_setsockopt(struct sim_sock *k, int level, int name, int v);
void sim_hint(struct sim_sock *k, enum sock_hint hint, uint64_t pos);
int sim_getsockopt(struct sim_sock *k, int level, int name);
/* The transmit ring becomes that large. */
void sim_grow(struct sim_sock *k, uint32_t cap);
/* Bytes taken; the daemon sees them in the next cycle. */
uint32_t sim_send(struct sim_sock *k, const void *data, uint32_t len);
uint32_t sim_recv(struct sim_sock *k, void *data, uint32_t room);
uint32_t sim_readable(const struct sim_sock *k);
/* Positions that no honest client has; what the protocol says to them. */
int sim_lie(struct sim_sock *k, uint64_t rx_head, uint64_t tx_tail);
const struct tcp_rec *sim_tcb(const struct sim_sock *k);
enum tcp_state sim_state(const struct sim_sock *k);
struct ipaddr sim_addr(unsigned host);

/* A connection from host 0 (client) to host 1 (server, accepted). */
struct sim_pair {
	struct sim_sock *listener, *client, *server;
};
struct sim_pair established_pair(struct sim *m);

/* ---- sim_flow.c: streams whose bytes are known: byte `off` of stream `id` */
uint8_t sim_byte(uint64_t id, uint64_t off);
/* A writer and a reader of one direction, of `len` bytes in pieces of up to `piece`. */
struct sim_flow {
	struct sim_sock *from, *to;
	uint64_t id, len, sent, got;
	uint32_t piece;
	bool stop_reading;
};
/* Writes and reads what goes now; true once all has arrived and is right. */
bool sim_pump(struct sim_flow *f);
/* Runs the flows to their end. */
bool sim_flows(struct sim *m, struct sim_flow *f, unsigned n, uint64_t ns);

/* ---- wire.c */
void wire_collect(struct sim *m); /* from the hosts' transmit rings to the wire */
void wire_deliver(struct sim *m); /* what is due, into the receive rings */
uint64_t wire_next(const struct sim *m);
bool wire_push(
    struct sim_host *h, const uint8_t *data, uint32_t len, uint16_t gso_size, bool csum_open);
void wire_free(struct sim *m);
/* Takes the next frame out of a host's transmit ring; its length, 0 for none. */
uint32_t wire_take(struct sim_host *h, uint8_t *data, uint16_t *gso_size, bool *csum_open);
extern const uint8_t sim_mac[SIM_HOSTS][6];
