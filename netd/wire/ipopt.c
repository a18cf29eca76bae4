/* Options of the IPv4 header. */
#include "wire/ipopt.h"
#include "proto/endian.h"
#include <errno.h>
#include <string.h>

#define COPIED	    0x80
#define AT_LEN	    1
#define AT_PTR	    2
#define AT_FLAGS    3 /* of a stamp: overflows and what is wanted */
#define ROUTE_FIRST 4 /* smallest pointers: they count from 1 */
#define STAMP_FIRST 5
#define FULL	    15

enum stamp_kind { STAMP_TIME = 0, STAMP_ADDR = 1, STAMP_PRESET = 3 };

static uint8_t stamp_kind(const uint8_t *p)
{
	return p[AT_FLAGS] & 15;
}

/* Bytes of one slot; 0: of no known kind. */
static uint8_t stamp_slot(const uint8_t *p)
{
	switch (stamp_kind(p)) {
	case STAMP_TIME:
		return 4;
	case STAMP_ADDR:
	case STAMP_PRESET:
		return 8;
	default:
		return 0;
	}
}

/* Is there a next slot? */
static bool open_slot(const uint8_t *p, uint8_t size)
{
	return p[AT_PTR] + size - 1 <= p[AT_LEN];
}

/* ---- checking. Each answers 0, or the offset of the error within the option + 1 */

static int check_source(struct ipopt *o, const uint8_t *p, uint8_t at, enum ipopt_from from)
{
	if (p[AT_LEN] < 3)
		return AT_LEN + 1;
	if (p[AT_PTR] < ROUTE_FIRST)
		return AT_PTR + 1;
	if (o->source)
		return 1;
	if (from != IPOPT_FROM_WIRE &&
	    (p[AT_PTR] != ROUTE_FIRST || p[AT_LEN] < 7 || ((p[AT_LEN] - 3) & 3)))
		return AT_LEN + 1;
	o->source = (uint8_t)(at + 1);
	o->strict = p[0] == IPOPT_T_SSRR;
	return 0;
}

static int check_record(struct ipopt *o, uint8_t *p, uint8_t at, enum ipopt_from from)
{
	if (o->record)
		return 1;
	if (p[AT_LEN] < 3)
		return AT_LEN + 1;
	if (p[AT_PTR] < ROUTE_FIRST)
		return AT_PTR + 1;
	if (p[AT_PTR] <= p[AT_LEN]) {
		if (!open_slot(p, 4))
			return AT_PTR + 1;
		if (from != IPOPT_FROM_WIRE)
			memset(p + p[AT_PTR] - 1, 0, 4);
	}
	o->record = (uint8_t)(at + 1);
	return 0;
}

static int check_stamp(struct ipopt *o, uint8_t *p, uint8_t at, enum ipopt_from from)
{
	uint8_t slot;

	if (o->stamp)
		return 1;
	if (p[AT_LEN] < 4)
		return AT_LEN + 1;
	if (p[AT_PTR] < STAMP_FIRST)
		return AT_PTR + 1;
	slot = stamp_slot(p);
	if (p[AT_PTR] <= p[AT_LEN]) {
		if (!open_slot(p, slot ? slot : 4))
			return AT_PTR + 1;
		if (!slot && from == IPOPT_FROM_USER)
			return AT_FLAGS + 1;
		if (slot && stamp_kind(p) != STAMP_PRESET && from != IPOPT_FROM_WIRE)
			memset(p + p[AT_PTR] - 1, 0, slot);
	} else if (stamp_kind(p) != STAMP_PRESET && p[AT_FLAGS] >> 4 == FULL) {
		return AT_FLAGS + 1;
	}
	o->stamp = (uint8_t)(at + 1);
	return 0;
}

static int check_one(struct ipopt *o, uint8_t at, enum ipopt_from from)
{
	uint8_t *p = o->bytes + at;

	switch (p[0]) {
	case IPOPT_T_LSRR:
	case IPOPT_T_SSRR:
		return check_source(o, p, at, from);
	case IPOPT_T_RECORD:
		return check_record(o, p, at, from);
	case IPOPT_T_STAMP:
		return check_stamp(o, p, at, from);
	case IPOPT_T_ALERT:
		return p[AT_LEN] < 4 ? AT_LEN + 1 : 0;
	default:
		return from == IPOPT_FROM_USER ? 1 : 0;
	}
}

int ipopt_parse(struct ipopt *o, const uint8_t *buf, size_t len, enum ipopt_from from, uint8_t *bad)
{
	uint8_t at = 0;

	*o = (struct ipopt){.len = 0};
	*bad = 0;
	if (len > IPOPT_BYTES_MAX)
		return -EINVAL;
	if (len)
		memcpy(o->bytes, buf, len);
	o->len = (uint8_t)((len + 3) & ~(size_t)3);
	while (at < o->len && o->bytes[at] != IPOPT_T_END) {
		uint8_t *p = o->bytes + at, left = (uint8_t)(o->len - at);
		int wrong;

		if (p[0] == IPOPT_T_NOP) {
			at++;
			continue;
		}
		wrong = left < 2 || p[AT_LEN] < 2 || p[AT_LEN] > left ? 1 : check_one(o, at, from);
		if (wrong) {
			*bad = (uint8_t)(at + wrong - 1);
			return -EINVAL;
		}
		at = (uint8_t)(at + p[AT_LEN]);
	}
	memset(o->bytes + at, IPOPT_T_END, sizeof(o->bytes) - at); /* nothing follows the end */
	return 0;
}

/* ---- filling in */

static void record_route(uint8_t *p, const struct ipopt_host *h)
{
	if (!open_slot(p, 4))
		return;
	be32_put(p + p[AT_PTR] - 1, h->addr);
	p[AT_PTR] = (uint8_t)(p[AT_PTR] + 4);
}

static void record_stamp(uint8_t *p, const struct ipopt_host *h, bool passing)
{
	uint8_t slot = stamp_slot(p), *at = p + p[AT_PTR] - 1;

	if (p[AT_PTR] > p[AT_LEN]) {
		if (passing && stamp_kind(p) != STAMP_PRESET && p[AT_FLAGS] >> 4 != FULL)
			p[AT_FLAGS] = (uint8_t)(p[AT_FLAGS] + 0x10);
		return;
	}
	if (!slot || !open_slot(p, slot))
		return;
	if (stamp_kind(p) == STAMP_PRESET && !h->ours(h->arg, be32_at(at)))
		return;
	if (stamp_kind(p) == STAMP_ADDR)
		be32_put(at, h->addr);
	be32_put(at + slot - 4, h->time_ms);
	p[AT_PTR] = (uint8_t)(p[AT_PTR] + slot);
}

void ipopt_record(struct ipopt *o, const struct ipopt_host *h, bool passing)
{
	if (o->record)
		record_route(o->bytes + o->record - 1, h);
	if (o->stamp)
		record_stamp(o->bytes + o->stamp - 1, h, passing);
}

uint32_t ipopt_first_hop(const struct ipopt *o, uint32_t dst)
{
	return o->source ? be32_at(o->bytes + o->source - 1 + 3) : dst;
}

void ipopt_send(struct ipopt *o, uint32_t dst, const struct ipopt_host *h)
{
	if (o->source) { /* the first hop is in the header, the destination at the route's end */
		uint8_t *p = o->bytes + o->source - 1;

		memmove(p + 3, p + 7, p[AT_LEN] - 7u);
		be32_put(p + p[AT_LEN] - 4, dst);
	}
	ipopt_record(o, h, false);
}

int ipopt_echo(struct ipopt *to, const struct ipopt *from)
{
	const uint8_t places[] = {from->record, from->stamp};
	uint8_t bytes[IPOPT_BYTES_MAX], len = 0, bad;

	for (size_t i = 0; i < sizeof(places); i++) {
		const uint8_t *p = from->bytes + places[i] - 1;

		if (!places[i])
			continue;
		memcpy(bytes + len, p, p[AT_LEN]);
		len = (uint8_t)(len + p[AT_LEN]);
	}
	return ipopt_parse(to, bytes, len, IPOPT_FROM_ROOT, &bad);
}

void ipopt_later_fragment(struct ipopt *o)
{
	for (uint8_t at = 0, n; at < o->len && o->bytes[at] != IPOPT_T_END;
	     at = (uint8_t)(at + n)) {
		uint8_t *p = o->bytes + at;

		n = p[0] == IPOPT_T_NOP ? 1 : p[AT_LEN];
		if (!(p[0] & COPIED))
			memset(p, IPOPT_T_NOP, n);
	}
	o->record = o->stamp = 0;
}
