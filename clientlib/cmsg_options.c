/*
 * Options of the IP header as control messages. IP_RECVOPTS gives them as they came, with this host
 * in recorded routes and stamps; IP_RETOPTS as they would go back, which is what a sender can give.
 *
 * They stand behind the payload of UDP and ping sockets, and in the header that raw sockets see.
 */
#include "clientlib/cmsg.h"
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>

#define HEADER 20u

static void from_header(const struct cm_dgram *d, const uint8_t *data, struct cm_options *o)
{
	uint32_t len = d->len >= HEADER ? (data[0] & 15u) * 4 : 0;

	if (len <= HEADER || len > d->len)
		return;
	o->len = (uint8_t)(len - HEADER);
	memcpy(o->bytes, data + HEADER, o->len);
}

/* The first option of this type; NULL. It lies within the options. */
static const uint8_t *find(const struct cm_options *o, uint8_t type)
{
	for (uint8_t at = 0; at + 2 < o->len && o->bytes[at] != IPOPT_END;) {
		const uint8_t *p = o->bytes + at;

		if (p[0] == IPOPT_NOP) {
			at++;
			continue;
		}
		if (p[1] < IPOPT_MINOFF - 1 || p[1] > o->len - at)
			return NULL;
		if (p[0] == type)
			return p;
		at = (uint8_t)(at + p[1]);
	}
	return NULL;
}

/* Appends it, its next slot empty. */
static void turn(struct cm_options *to, const uint8_t *p, uint8_t slot, uint8_t kept)
{
	uint8_t *mine = to->bytes + to->len;

	memcpy(mine, p, p[1]);
	to->len = (uint8_t)(to->len + p[1]);
	if (mine[2] >= IPOPT_MINOFF && mine[2] + slot - 1 <= mine[1])
		memset(mine + mine[2] - 1 + kept, 0, (size_t)(slot - kept));
}

static void answer(const struct cm_options *from, struct cm_options *to)
{
	const uint8_t *route = find(from, IPOPT_RR), *stamp = find(from, IPOPT_TS);
	uint8_t kind = stamp && stamp[1] > 3 ? stamp[3] & 15 : IPOPT_TS_TSONLY;

	if (route)
		turn(to, route, 4, 0);
	if (stamp)
		turn(to, stamp, kind == IPOPT_TS_TSONLY ? 4 : 8, kind == IPOPT_TS_PRESPEC ? 4 : 0);
	to->len = (uint8_t)((to->len + 3) & ~3);
}

void cmsg_options(const struct nsock *s, struct msghdr *m, size_t *used, const struct cm_dgram *d,
    const uint8_t *data)
{
	uint32_t flags = load_once(&s->d->want_cmsg);
	struct cm_options o = {.len = 0}, back = {.len = 0};

	if (d->flags & CM_DGRAM_OPTIONS)
		memcpy(&o, data + d->len, sizeof(o));
	if (!o.len && s->type == SOCK_RAW)
		from_header(d, data, &o);
	if (!o.len || o.len > sizeof(o.bytes))
		return;
	if (flags & WANT_RECVOPTS)
		cmsg_append(m, used, IPPROTO_IP, IP_RECVOPTS, o.bytes, o.len);
	if (!(flags & WANT_RETOPTS))
		return;
	answer(&o, &back);
	cmsg_append(m, used, IPPROTO_IP, IP_RETOPTS, back.bytes, back.len);
}
