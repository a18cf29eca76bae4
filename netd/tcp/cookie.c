/*
 * SYN cookies (RFC 4987, 3.6).
 *
 * While a listener has as many half-open connections as it may have, a SYN is answered without being remembered: what
 * must be known of it later is in the SYN-ACK, and comes back with its acknowledgement.
 *
 *   number:     a keyed hash of names, the peer's number and the minute, plus the place of the peer's MSS in a short
 *               table; who guesses is right with a chance of 16 in 2^32
 *   timestamp:  its lowest 5 bits are SACK, and the peer's window scale (15: none). Without timestamps both are as if
 *               they had not been offered
 *
 * What else the record would hold is computed again from the listener, as when the SYN came. The key is that of the
 * initial numbers (RFC 6528), a fact of the arena; so is when the listener last sent a cookie: a successor takes
 * what its predecessor's SYN-ACKs bring back, and a listener that has sent none for two minutes believes none. A lost
 * SYN-ACK is not repeated; the peer repeats its SYN.
 */
#include "tcp/layer.h"
#include "base/log.h"
#include "base/siphash.h"

#define COOKIE_MINUTES 2u /* this one and the last: between one and two minutes */
#define COOKIE_LIFE_S  (60 * COOKIE_MINUTES)

#define TS_BITS	   5u
#define TS_NO_WS   15u
#define TS_WS_MASK 15u
#define TS_SACK	   16u

/* Ascending; the first is what any peer takes, the others what paths are made for. */
static const uint16_t table[] = {TCP_MSS_MIN, TCP_MSS_DEFAULT, 1220, 1300, 1360, 1440, 1460, 8960};

static uint32_t minute_of(const struct stack *s)
{
	return (uint32_t)(s->now / (60 * NSEC_PER_SEC));
}

static uint32_t hash(const struct stack *s, const struct tcp_seg *g, uint32_t irs, uint32_t minute)
{
	struct {
		struct ipaddr local, remote;
		uint16_t local_port, remote_port;
		uint32_t irs, minute;
	} of = {g->local.addr, g->remote.addr, g->local.port, g->remote.port, irs, minute};

	return (uint32_t)siphash(&world_peek(s)->isn_key, &of, sizeof(of));
}

void cookie_trim(struct tcp_header *syn)
{
	syn->has_ws &= syn->has_ts;
	syn->sack_permitted &= syn->has_ts;
	syn->flags = TCP_F_SYN;
}

uint32_t cookie_number(const struct stack *s, const struct tcp_seg *g, const struct tcp_header *syn)
{
	uint16_t mss = syn->has_mss && syn->mss ? syn->mss : TCP_MSS_DEFAULT;
	uint32_t place = ARRAY_SIZE(table) - 1;

	while (place && table[place] > mss)
		place--;
	return hash(s, g, syn->seq, minute_of(s)) + place;
}

/* The newest moment, not after now, that has the bits. */
uint32_t cookie_clock(const struct stack *s, const struct tcp_header *syn)
{
	uint32_t bits = (syn->has_ws ? syn->ws : TS_NO_WS) | (syn->sack_permitted ? TS_SACK : 0);
	uint32_t now = tcp_clock(s);

	return now - ((now - bits) & ((1u << TS_BITS) - 1));
}

static void read_timestamp(const struct stack *s, const struct tcp_seg *g, struct tcp_header *syn)
{
	uint32_t clock = g->h.ts_ecr - tcp_ts_offset(s, &g->local, &g->remote);

	syn->has_ts = true;
	syn->ts_val = g->h.ts_val;
	syn->sack_permitted = clock & TS_SACK;
	syn->ws = clock & TS_WS_MASK;
	syn->has_ws = syn->ws != TS_NO_WS;
}

bool cookie_read(const struct stack *s, const struct tcp_seg *g, struct tcp_header *syn)
{
	uint32_t irs = g->h.seq - 1;

	for (uint32_t age = 0; age < COOKIE_MINUTES; age++) {
		uint32_t place = g->h.ack - 1 - hash(s, g, irs, minute_of(s) - age);

		if (place >= ARRAY_SIZE(table))
			continue;
		*syn = (struct tcp_header){.seq = irs,
		    .flags = TCP_F_SYN,
		    .window = g->h.window,
		    .has_mss = true,
		    .mss = table[place]};
		if (g->h.has_ts)
			read_timestamp(s, g, syn);
		return true;
	}
	return false;
}

void cookie_sent(struct stack *s, uint32_t listener)
{
	struct tcp_rec *t = tcb_get(s, listener);

	s->count.tcp_cookies_sent++;
	if (!cookie_awaited(s, listener))
		log_warn(
		    "tcp %u: too many half-open connections at port %u, answering with cookies",
		    listener, sock_peek(s, listener)->local.port);
	if (t)
		t->cookie_s = max_of(clock_s(s), 1u);
}

bool cookie_awaited(const struct stack *s, uint32_t listener)
{
	const struct tcp_rec *t = tcb_peek(s, listener);

	return t->cookie_s && clock_s(s) - t->cookie_s <= COOKIE_LIFE_S;
}
