/* The table of requests: what each needs, and the function that carries it out. */
#pragma once
#include "proto/client.h"
#include <stdint.h>

struct session;
struct stack;

enum request_needs {
	NEEDS_NOTHING,
	NEEDS_SOCKET, /* a socket in the slot, whose positions are read first: requests keep their order with the bytes */
};

/* By cm_sqe.op. */
extern const struct request_row {
	/* Returns what the completion says. `sk` is the slot's socket where `needs` asks for one. */
	int (*fn)(struct stack *s, struct session *ss, uint32_t sk, const struct cm_sqe *e, struct cm_cqe *c);
	enum request_needs needs;
} requests[CM_OPS];
