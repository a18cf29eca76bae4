/*
 * Small objects of one size, of which there may be very many: cut from larger pieces, reused, never
 * given back to the allocator. They need no lock of the caller's.
 */
#pragma once
#include <stddef.h>

struct pool {
	size_t size; /* of an object; at least a pointer's */
	void *unused;
};

/* A zeroed object; NULL if there is no memory. */
void *pool_take(struct pool *p);
void pool_give(struct pool *p, void *object);
