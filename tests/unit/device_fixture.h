/* The device layer's fixture: one device, and a handler that keeps the last frame it was given. */
#pragma once
#include "device_rig.h"
#include <criterion/criterion.h>

#define CHUNKS 256u

static struct rig g;
static unsigned got;	    /* frames that the handler saw */
static uint8_t last[70000]; /* the last one, without its link header */
static uint32_t last_len;
static struct packet last_packet;

static inline void take(struct stack *s, struct packet *p, const uint8_t src[6])
{
	(void)s;
	(void)src;
	got++;
	last_len = p->len;
	last_packet = *p;
	cr_assert(packet_read(p, 0, last, p->len));
}

static inline void setup(void)
{
	got = 0;
	last_len = 0;
	rig_open(&g, CHUNKS, take);
}

static inline void teardown(void)
{
	rig_close(&g);
}

static inline void census(void)
{
	const char *wrong = rig_census(&g);

	cr_assert_null(wrong, "%s", wrong ? wrong : "");
}

static inline void fill(uint8_t *buf, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(i * 7 + i / 251);
}

/* A frame still comes in, and nothing is lost. */
static inline void works_again(void)
{
	uint8_t frame[100], payload[40] = {0};
	uint32_t len = rig_frame(frame, 0x0800, payload, sizeof(payload));
	unsigned before = got;

	cr_assert(rig_driver_receive(&g, frame, len, 0));
	rig_cycle(&g);
	cr_assert_eq(got, before + 1);
	census();
}
