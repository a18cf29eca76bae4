/* Parsing and emitting IGMP. */
#include "wire/igmp.h"
#include "wire/checksum.h"
#include "proto/endian.h"
#include <errno.h>

#define V1_MAX_RESP 100 /* tenths of a second: RFC 3376, 8.3 */
#define V3_QUERY    12

struct igmp_wire {
	uint8_t type, code;
	be16 checksum;
	be32 group;
};
_Static_assert(sizeof(struct igmp_wire) == IGMP_LEN, "layout");

struct query_wire {
	struct igmp_wire head;
	uint8_t flags, interval;
	be16 sources;
};
_Static_assert(sizeof(struct query_wire) == V3_QUERY, "layout");

struct report_wire {
	uint8_t type, reserved;
	be16 checksum, reserved2, records;
	uint8_t record, aux_len;
	be16 sources;
	be32 group;
};
_Static_assert(sizeof(struct report_wire) == 16, "layout");

/* RFC 3376, 4.1.1: above 127 it is a floating-point number. */
static uint32_t max_resp(uint8_t code)
{
	return code < 128 ? code : (uint32_t)((code & 15) | 16) << ((code >> 4 & 7) + 3);
}

static int parse_query(struct igmp_message *m, uint8_t code, const uint8_t *buf, size_t len)
{
	struct query_wire q;

	if (len == IGMP_LEN) {
		m->version = code ? 2 : 1;
		m->max_resp_ds = code ? code : V1_MAX_RESP;
		return 0;
	}
	if (len < sizeof(q))
		return -EBADMSG;
	memcpy(&q, buf, sizeof(q));
	m->version = 3;
	m->max_resp_ds = max_resp(code);
	m->sources = be16_get(q.sources);
	return m->sources > (len - sizeof(q)) / sizeof(be32) ? -EBADMSG : 0;
}

int igmp_parse(struct igmp_message *m, const uint8_t *buf, size_t len)
{
	struct igmp_wire w;

	if (len < sizeof(w) || csum(buf, len, 0) != 0xffff)
		return -EBADMSG;
	memcpy(&w, buf, sizeof(w));
	*m = (struct igmp_message){.type = w.type, .group = be32_get(w.group)};
	return m->type == IGMP_QUERY ? parse_query(m, w.code, buf, len) : 0;
}

uint32_t igmp_source(const uint8_t *buf, uint16_t i)
{
	be32 source;

	memcpy(&source, buf + V3_QUERY + sizeof(source) * i, sizeof(source));
	return be32_get(source);
}

int igmp_emit(uint8_t type, uint32_t group, uint8_t *buf, size_t len)
{
	struct igmp_wire w = {.type = type, .group = be32_make(group)};

	if (len < sizeof(w))
		return -ENOSPC;
	w.checksum = be16_make(csum_finish(csum(&w, sizeof(w), 0)));
	memcpy(buf, &w, sizeof(w));
	return sizeof(w);
}

int igmp_emit_report(enum igmp_record type, uint32_t group, const uint32_t *source, uint16_t n,
    uint8_t *buf, size_t len)
{
	struct report_wire w = {.type = IGMP_V3_REPORT,
	    .records = be16_make(1),
	    .record = (uint8_t)type,
	    .sources = be16_make(n),
	    .group = be32_make(group)};
	size_t total = sizeof(w) + n * sizeof(be32);

	if (len < total || n > IGMP_SOURCES_MAX)
		return -ENOSPC;
	memcpy(buf, &w, sizeof(w));
	for (uint16_t i = 0; i < n; i++) {
		be32 address = be32_make(source[i]);

		memcpy(buf + sizeof(w) + i * sizeof(address), &address, sizeof(address));
	}
	w.checksum = be16_make(csum_finish(csum(buf, total, 0)));
	memcpy(buf, &w, sizeof(w));
	return (int)total;
}
