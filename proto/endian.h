/*
 * Big-endian integers as types of their own, so that a forgotten byte swap does not compile.
 * All have alignment 1 and may lie anywhere in a frame.
 */
#pragma once
#include <stdint.h>
#include <string.h>

typedef struct {
	uint8_t b[2];
} be16;
typedef struct {
	uint8_t b[4];
} be32;

static inline uint16_t be16_get(be16 v)
{
	return (uint16_t)((v.b[0] << 8) | v.b[1]);
}

static inline be16 be16_make(uint16_t h)
{
	return (be16){{(uint8_t)(h >> 8), (uint8_t)h}};
}

/* The same anywhere in memory. */
static inline uint16_t be16_at(const void *at)
{
	be16 b;

	memcpy(&b, at, sizeof(b));
	return be16_get(b);
}

static inline void be16_put(void *at, uint16_t h)
{
	be16 b = be16_make(h);

	memcpy(at, &b, sizeof(b));
}

static inline uint32_t be32_get(be32 v)
{
	return ((uint32_t)v.b[0] << 24) | ((uint32_t)v.b[1] << 16) | ((uint32_t)v.b[2] << 8) | v.b[3];
}

static inline be32 be32_make(uint32_t h)
{
	return (be32){{(uint8_t)(h >> 24), (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h}};
}

static inline uint32_t be32_at(const void *at)
{
	be32 b;

	memcpy(&b, at, sizeof(b));
	return be32_get(b);
}

static inline void be32_put(void *at, uint32_t h)
{
	be32 b = be32_make(h);

	memcpy(at, &b, sizeof(b));
}
