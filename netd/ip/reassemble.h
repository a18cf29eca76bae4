/* Reassembly of fragmented datagrams (ip/reassemble.c). */
#pragma once
#include "ip/ip.h"

#define FRAG_PIECES 64 /* of one datagram */

struct frag_piece {
	uint16_t start,
	    end; /* bytes of the datagram's payload, end excluded; end may be 65535 at most */
	struct packet_ref ref;
};

struct frag_rec {
	struct ipaddr src, dst;
	uint32_t dev;
	uint16_t id;
	uint8_t proto;
	uint8_t dead; /* overlapped: what still comes is dropped until the deadline */
	uint64_t deadline_ns;
	uint32_t total; /* payload bytes of the whole datagram, 0 until the last fragment came */
	uint32_t have;	/* payload bytes held */
	uint32_t pieces;
	uint8_t header[60]; /* of the first fragment, for the error about its timeout */
	uint8_t header_len, ttl, tos;
	uint8_t pad;
	struct frag_piece piece[FRAG_PIECES]; /* ascending */
};

struct ipv4_header;
/*
 * A fragment, its front behind the IP header, of which `raw` is the private copy. Returns true with
 * the whole datagram in *whole (the caller frees it) when this was the missing piece.
 */
bool frag_input(struct stack *s, struct packet *p, const struct ipv4_header *h, const uint8_t *raw,
    struct packet *whole);
/* KIND_FRAG's timer. */
void frag_expired(struct stack *s, uint32_t index);
int frag_reindex(struct stack *s);
