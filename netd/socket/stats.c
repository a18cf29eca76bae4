/*
 * The counters of struct stack by name (hints: they start at zero with each netd-inet), and what is held
 * at the moment: records by kind, chunks, ring memory. What is held is how tests see a leak.
 */
#include "socket/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "proto/channel.h"
#include "state/switchboard.h"
#include <stddef.h>
#include <stdio.h>

static const struct stat_row {
	const char *name;
	size_t at;
} rows[] = {
#define ROW(layer, field)                                                                          \
	{                                                                                          \
		layer "." #field, offsetof(struct counters, field)                                 \
	}
#define NAMED(name, field)                                                                         \
	{                                                                                          \
		name, offsetof(struct counters, field)                                             \
	}
    ROW("netd", cycles),
    ROW("netd", commits),
    ROW("netd", records_committed),
    ROW("netd", takeovers),
    ROW("netd", requests),
    ROW("netd", bad_client),
    NAMED("device.frames_in", frames_in),
    NAMED("device.frames_out", frames_out),
    NAMED("device.bad_desc", bad_desc),
    NAMED("device.bad_frame", bad_frame),
    NAMED("device.no_chunk", no_chunk),
    NAMED("device.set_aside", set_aside),
    NAMED("arp.in", arp_in),
    NAMED("ip.in", ip_in),
    NAMED("ip.bad", ip_bad),
    NAMED("ip.out", ip_out),
    NAMED("ip.no_route", ip_no_route),
    NAMED("ip.frag_in", ip_frag_in),
    NAMED("ip.reassembled", ip_reassembled),
    NAMED("ip.frag_out", ip_frag_out),
    NAMED("ip.forward_refused", ip_forward_refused),
    NAMED("raw.in", raw_in),
    NAMED("raw.out", raw_out),
    NAMED("tap.in", tap_in),
    NAMED("tap.out", tap_out),
    NAMED("icmp.in", icmp_in),
    NAMED("igmp.in", igmp_in),
    NAMED("icmp.out", icmp_out),
    NAMED("udp.in", udp_in),
    NAMED("udp.out", udp_out),
    NAMED("udp.no_port", udp_no_port),
    NAMED("udp.full", udp_full),
    NAMED("udp.bad", udp_bad),
    NAMED("tcp.segs_in", tcp_in),
    NAMED("tcp.segs_out", tcp_out),
    NAMED("tcp.bad", tcp_bad),
    NAMED("tcp.retrans", tcp_retrans),
    NAMED("tcp.fast_retrans", tcp_fast_retrans),
    NAMED("tcp.rto", tcp_rto),
    NAMED("tcp.undone", tcp_undone),
    NAMED("tcp.rst_in", tcp_rst_in),
    NAMED("tcp.rst_out", tcp_rst_out),
    NAMED("tcp.ooo", tcp_ooo),
    NAMED("tcp.ooo_full", tcp_ooo_full),
    NAMED("tcp.paws", tcp_paws),
    NAMED("tcp.challenge", tcp_challenge),
    NAMED("tcp.listen_full", tcp_listen_full),
    NAMED("tcp.cookies_sent", tcp_cookies_sent),
    NAMED("tcp.cookies_ok", tcp_cookies_ok),
    NAMED("tcp.cookies_bad", tcp_cookies_bad),
    NAMED("tcp.accepted", tcp_accepted),
    NAMED("tcp.connected", tcp_connected),
    NAMED("tcp.tso", tcp_tso),
    NAMED("tcp.ce", tcp_ce),
#undef ROW
#undef NAMED
};

#define NAME_MAX_LEN 32
#define HELD_ROWS    (KIND_COUNT + 3)

struct table {
	Netd__Control__Stat row[ARRAY_SIZE(rows) + HELD_ROWS];
	Netd__Control__Stat *out[ARRAY_SIZE(rows) + HELD_ROWS];
	char name[KIND_COUNT][NAME_MAX_LEN];
	unsigned n;
};

static void put(struct table *t, const char *name, uint64_t value)
{
	Netd__Control__Stat *r = &t->row[t->n];

	*r = (Netd__Control__Stat)NETD__CONTROL__STAT__INIT;
	r->name = (char *)(uintptr_t)name;
	r->value = value;
	t->out[t->n++] = r;
}

static void put_held(struct stack *s, struct table *t)
{
	uint64_t given, held;

	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		snprintf(t->name[kind], NAME_MAX_LEN, "held.%s", switchboard.records[kind].name);
		put(t, t->name[kind], state_count(s->state, (enum record_kind)kind));
	}
	device_chunks(s, &given, &held);
	put(t, "held.chunks_by_drivers", given);
	put(t, "held.chunks_by_records", held);
	put(t, "held.ring_bytes", memories_used(s->mem));
}

int stats_answer(struct stack *s, int conn, Netd__Control__Response *a)
{
	Netd__Control__StatTable answer = NETD__CONTROL__STAT_TABLE__INIT;
	struct table t = {.n = 0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		put(&t, rows[i].name, *(const uint64_t *)(const void *)((const uint8_t *)&s->count + rows[i].at));
	put_held(s, &t);
	answer.n_stat = t.n;
	answer.stat = t.out;
	a->body_case = NETD__CONTROL__RESPONSE__BODY_STATS;
	a->stats = &answer;
	return channel_send(conn, &a->base, NULL, 0);
}
