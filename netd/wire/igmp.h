/* IGMP: RFC 1112 appendix I, 2236, 3376. Addresses in host order. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IGMP_LEN	 8
#define IGMP_SOURCES_MAX 128 /* of a report that we write */
#define IGMP_REPORT_MAX	 (16 + 4 * IGMP_SOURCES_MAX)

enum igmp_type {
	IGMP_QUERY = 0x11,
	IGMP_V1_REPORT = 0x12,
	IGMP_V2_REPORT = 0x16,
	IGMP_LEAVE = 0x17,
	IGMP_V3_REPORT = 0x22,
};

enum igmp_record {
	IGMP_IS_INCLUDE = 1,
	IGMP_IS_EXCLUDE,
	IGMP_TO_INCLUDE,
	IGMP_TO_EXCLUDE,
};

struct igmp_message {
	uint8_t type;
	uint8_t version;      /* of a query: who asks so speaks this one */
	uint16_t sources;     /* of a query of version 3 */
	uint32_t max_resp_ds; /* tenths of a second to answer a query in */
	uint32_t group;
};

/* The whole message; 0, or -EBADMSG: too short, a wrong checksum, or more sources than there are
 * bytes. */
int igmp_parse(struct igmp_message *m, const uint8_t *buf, size_t len);
/* A source of a parsed query. */
uint32_t igmp_source(const uint8_t *buf, uint16_t i);
/* A message of versions 1 and 2. Its length or -ENOSPC. */
int igmp_emit(uint8_t type, uint32_t group, uint8_t *buf, size_t len);
/* A report of version 3 about one group. Its length or -ENOSPC. */
int igmp_emit_report(enum igmp_record type, uint32_t group, const uint32_t *source, uint16_t n,
    uint8_t *buf, size_t len);
