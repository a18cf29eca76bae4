/*
 * Records of sockets that several processes hold. Theory of operation: proto/share.h.
 *
 * A share is a KIND_SESSION record in state SESSION_SHARE: a memory and nothing else. The socket's record names it as
 * its session, so everything below the socket layer finds rings and slot there as with any client. Holders and
 * tokens are records of their own; lists of them by socket are derived.
 */
#pragma once
#include <stdint.h>

struct holder_rec {
	uint32_t sk, sk_gen;
	uint32_t session, session_gen, slot; /* the slot of the session's own through which it holds the socket */
	uint32_t watch; /* it only hears of the socket, and does not keep it alive */
};

#define TOKEN_SECRET 16

struct token_rec {
	uint32_t sk, sk_gen;
	uint32_t asker, asker_gen; /* who gets it in an answer */
	uint32_t uid;		   /* the asker's user, who pays for it as long as anybody has it */
	uint8_t secret[TOKEN_SECRET];
};
