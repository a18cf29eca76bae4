/* The one record of facts that belong to no object. */
#pragma once
#include "base/siphash.h"
#include <stdint.h>

struct world_rec {
	struct siphash_key isn_key;   /* RFC 6528 sequence numbers */
	struct siphash_key hash_key;  /* lookup tables */
	uint32_t incarnation;         /* of netd-inet */
	uint32_t ts_offset;           /* TCP timestamps */
	uint32_t port_cursor;         /* ephemeral ports, reserved in strides */
	uint32_t ip_id;               /* IPv4 identification, reserved in strides */
	uint64_t arrival;             /* next arrival number of accept queues */
	uint64_t started_ns;          /* of the first netd-inet on this arena */
	uint32_t inited;
	uint32_t config_id;           /* of the configuration that is in force: daemon/handover.h */
};
