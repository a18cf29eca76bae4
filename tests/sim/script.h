/*
 * A host against a script: the test is the peer (10.0.0.2), segment by segment.
 *
 *	[host 0: 10.0.0.1] ---- the test
 */
#pragma once
#include "sim.h"

struct script {
	struct sim *m;
	struct sim_host *h;
	struct sim_sock *k; /* the host's socket, once there is one */
	uint16_t port, peer_port;
	uint32_t iss;  /* the peer's */
	uint32_t irs;  /* the host's */
	bool ts, sack; /* what the peer offers */
	bool ws;
	uint8_t scale;
	uint16_t mss, window;
	uint8_t tos; /* of what the peer sends */
	uint32_t ts_val, ts_recent;
};

/* A segment of the host's. */
struct heard {
	struct tcp_header h;
	uint8_t tos;
	uint32_t len;
	uint8_t data[65536];
	struct ipaddr dst;
};

struct script script_new(uint64_t seed);
/* The same with a device that has offloads (enum region_features): super-frames are heard whole. */
struct script script_new_with(uint64_t seed, uint32_t features);
void script_free(struct script *c);
/* Sends; seq and ack count from the first byte of each direction (offset -1 is the SYN). */
void say(struct script *c, uint8_t flags, int64_t seq, int64_t ack, const char *data);
void say_header(struct script *c, struct tcp_header h, const void *data, uint32_t len);
/* The same as say(), with a payload that its checksum does not cover. */
void say_corrupt(struct script *c, uint8_t flags, int64_t seq, int64_t ack, const char *data);
struct tcp_header script_header(struct script *c, uint8_t flags, int64_t seq, int64_t ack);
/* Next segment that the host has sent by now. False: none. */
bool hear(struct script *c, struct heard *s);
/* One with these flags, offsets and payload length must be next. */
void expect(struct script *c, uint8_t flags, int64_t seq, int64_t ack, uint32_t len);
void expect_nothing(struct script *c);
/* The clock moves on. */
void after(struct script *c, uint64_t ns);
/* The handshakes: the host connects, or has a listener at port 80 and a child in c->k. */
void script_active(struct script *c);
void script_passive(struct script *c);
/* Half of each: the host's SYN was heard; it has answered the SYN to its listener `l`. */
void script_syn_sent(struct script *c);
void script_half_open(struct script *c, struct sim_sock *l, int backlog);
/* An ICMP error about a segment with this offset. */
void say_icmp(struct script *c, uint8_t code, uint16_t mtu, int64_t seq);
