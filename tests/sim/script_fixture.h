/* Fixtures of the tests that play a script (script.h): one host, one connection. */
#pragma once
#include "script.h"

#define ACK	TCP_F_ACK
#define PSH_ACK (TCP_F_PSH | TCP_F_ACK)
#define FIN_ACK (TCP_F_FIN | TCP_F_ACK)
#define RST_ACK (TCP_F_RST | TCP_F_ACK)

struct sack_range {
	uint32_t from, to;
};

extern struct script c;

/* A host that has done nothing yet; or a connection that it accepted. */
void setup_new(void);
void setup_established(void);
/* Behind setup_new(): the same with a listener, and a round trip of so long. */
void establish_slowly(uint64_t rtt);
void teardown(void);
/* The acknowledgement of `ack` bytes, with blocks from `from` to `to` (offsets) that arrived beyond. */
void say_sack(int64_t ack, unsigned n, const struct sack_range *r);
/* Throws away what setup made: for a peer that offers something else. */
void start_over(void);

void state_is(enum tcp_state want);
/* Takes all that the host has sent by now. */
uint32_t heard_count(void);
