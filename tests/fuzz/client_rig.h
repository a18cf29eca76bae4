/*
 * Clients by the raw contract of proto/client.h, for fuzz_client: any kind of them, and an honest one
 * that keeps a TCP connection and a pair of datagram sockets over lo, and checks every byte.
 */
#pragma once
#include "world_rig.h"
#include "proto/channel.h"
#include "proto/client.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SLOTS 128u

extern struct world world;
extern struct channel_msg msg; /* scratch */

struct client {
	int conn, memfd, bell, set0;
	uint64_t id;
	uint8_t *mem;
	struct cm_header lay;
	uint64_t sq_prod, cq_cons, token;
	bool dead;
};

/* A short time and a cycle, in which the daemon may die. */
void cycle(void);
int connect_control(void);
void attach(struct client *c);
/* As the end of its process. */
void die(struct client *c);
void close_fd(int *fd);
struct cm_header *header(const struct client *c);
struct cm_slot *slot_of(const struct client *c, uint32_t slot);
void submit(struct client *c, struct cm_sqe e);
bool completed(struct client *c, struct cm_cqe *out);
/* Nothing is left of anybody, now that all clients are dead: no session, no socket, no more than so many descriptors. */
void nothing_is_left(unsigned fds);

/* ---- client_honest.c */
enum honest_slots { LISTENER, CALLER, CHILD, GRAM_A, GRAM_B, HONEST_SLOTS };

struct stream {
	uint64_t written, read;
};
extern struct stream streams[HONEST_SLOTS]; /* by the slot that writes */
extern struct client honest;

void honest_open(void);
void honest_step(void);
/* Waits until everything that was written has arrived. */
void honest_finish(void);
