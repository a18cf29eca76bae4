/*
 * Escrow: descriptors that a component cannot afford to lose.
 *
 * A deposit is named by its owner (a component's role: all netd-inet are one owner, each driver is one)
 * and by the key that the component chose; what they mean is the component's affair. Every operation
 * takes constant time, however many there are; one owner's deposits are walked in the order in which
 * they came.
 */
#pragma once
#include "supervisor/fdset.h"
#include <stdint.h>

struct escrow;

struct escrow_key {
	uint32_t owner, kind, index, generation;
};

struct deposit {
	struct escrow_key key;
	struct fdset *fds;
	struct deposit *prev, *next; /* of this owner, oldest first */
	struct deposit *chain;       /* in its bucket */
};

#define ESCROW_OWNERS 32

struct escrow *escrow_new(void);
/* Closes everything. */
void escrow_free(struct escrow *e);
/* Keeps `fds` (takes the reference) under the key; what was there is closed. 0 or -ENOMEM, -EINVAL. */
int escrow_put(struct escrow *e, const struct escrow_key *key, struct fdset *fds);
/* Closes and forgets. 0 or -ENOENT. */
int escrow_remove(struct escrow *e, const struct escrow_key *key);
void escrow_remove_owner(struct escrow *e, uint32_t owner);
const struct deposit *escrow_find(const struct escrow *e, const struct escrow_key *key);
/* The owner's oldest deposit; go on with ->next. */
const struct deposit *escrow_first(const struct escrow *e, uint32_t owner);
unsigned escrow_count(const struct escrow *e);
