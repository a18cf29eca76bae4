/*
 * Messages on their way to one component. What the channel does not take at once waits here with its
 * descriptors, in order, and goes on when there is room: nothing blocks, nothing is dropped.
 */
#pragma once
#include "supervisor/fdset.h"
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct out_item;

struct outq {
	struct out_item *first, *last;
	unsigned n;
	bool starved; /* the kernel, not the peer, is short of room: try again after a while, not at POLLOUT */
};

/*
 * Sends or queues; keeps a reference to `fds` (may be NULL) as long as it needs it. 0, or a negative
 * errno if the peer is gone or there is no memory.
 */
int outq_send(struct outq *q, int sock, const ProtobufCMessage *m, struct fdset *fds);
/* Sends what waits, as far as it goes. 0, or a negative errno if the peer is gone. */
int outq_flush(struct outq *q, int sock);
void outq_clear(struct outq *q);
