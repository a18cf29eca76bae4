/*
 * A stack with the SOCKET layer, a supervisor that only keeps deposits, and clients in this
 * process. The protocol underneath is a mock-up: it swallows what is written and keeps what it was
 * asked, so that the tests are about sessions and requests alone. A restart forgets everything that
 * was not committed, as SIGKILL does.
 */
#pragma once
#include "base/util.h"
#include "inet/raw.h"
#include "ip/group.h"
#include "proto/channel.h"
#include "socket/layer.h"
#include "socket/share.h"
#include "state/switchboard.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define RIG_DEPOSITS 64
#define RIG_HOLDERS  100
#define RIG_FEW	     8 /* raw sockets, memberships */
#define RIG_TOKENS   16

struct rig_deposit {
	uint32_t kind, index, gen;
	int nfds, fds[4];
};

struct rig {
	struct stack s;
	struct switchboard board;
	struct record_type records[KIND_COUNT];
	struct socket_env env;
	void *arena, *mem0;
	uint64_t arena_size;
	struct rig_deposit deposit[RIG_DEPOSITS];
	int fail_deposit; /* errno for the next deposits */
	Netd__Component__Config config;
	Netd__Component__Limits limits;
};

/* ---- the mock-up protocol: what a stream and a datagram type would be */

extern bool mock_keep; /* closed sockets stay as orphans */
extern int mock_closed, mock_killed, mock_connects;
extern uint32_t mock_child; /* the one that accept() will give, or NO_INDEX */
int mock_create(struct stack *s, uint32_t sk);

/* ---- life of the daemon */

struct rig *rig_new(void);
void rig_free(struct rig *r);
/* As SIGKILL: what was not committed has never been. */
void rig_kill(struct rig *r);
/* A successor: recovers, and is handed what is deposited. */
void rig_start(struct rig *r);
void rig_restart(struct rig *r); /* both */
/* A cycle, and its parts: gather and work (the requests that were worked), commit, speak. */
unsigned rig_gather(struct rig *r);
void rig_commit(struct rig *r);
void rig_cycle(struct rig *r);
/* Cycles until there is nothing to do. */
void rig_settle(struct rig *r);

/* ---- the supervisor's half */

unsigned rig_deposits(const struct rig *r);
/* NULL if there is none. */
struct rig_deposit *rig_find(struct rig *r, uint32_t kind, uint32_t index);
/* The supervisor loses a session's deposit. */
void rig_lose(struct rig *r, uint32_t kind, uint32_t index);

/* ---- a client */

struct client {
	struct rig *r;
	int conn;
	uint64_t id;
	uint8_t *mem;
	struct cm_header lay;
	int memfd, bell, set0;
	uint64_t sq_prod, cq_cons, token;
};

/* A control connection. */
void client_open(struct client *c, struct rig *r);
/* The same, attached, with 64 slots. */
void client_attach(struct client *c, struct rig *r);
/* As the end of its process. */
void client_die(struct client *c);
void client_ask(struct client *c, Netd__Control__Request *q);
/* The next answer, NULL if there is none; descriptors stay in *m. */
Netd__Control__Response *client_answer(struct client *c, struct channel_msg *m);
/* For so many slots, and no more than `room` bytes (0: as many as there are). */
void client_ask_attach(struct client *c, uint32_t slots, uint64_t room);
/* Was it answered well? Then the client has its memory. */
bool client_take_attached(struct client *c);
struct cm_header *client_header(struct client *c);
struct cm_slot *client_slot(struct client *c, uint32_t slot);
struct cm_set *client_set(struct client *c, uint32_t set);
/* Submits a request; takes a completion, if there is one. */
void client_put(struct client *c, struct cm_sqe e);
bool client_get(struct client *c, struct cm_cqe *out);
/* One request from submission to its result. */
int client_do(struct client *c, struct cm_sqe e);
void client_clear_slot(struct client *c, uint32_t slot);
int client_socket(struct client *c, uint32_t slot, int family, int type, int protocol);
/* Is its connection still there? */
bool client_lives(struct client *c);
