/* The UDP header, RFC 768. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define UDP_LEN		8
#define UDP_CSUM_OFFSET 6

struct udp_header {
	uint16_t src, dst; /* ports, host order */
	uint16_t len;	   /* header and payload */
	uint16_t checksum; /* 0: none */
};

/*
 * 0, or -EBADMSG: fewer than UDP_LEN bytes in `buf`, or a length below UDP_LEN. It is the caller's
 * to compare h->len with what arrived, and to check the checksum.
 */
int udp_parse(struct udp_header *h, const uint8_t *buf, size_t len);
/* Writes the fields as they are. UDP_LEN, or -ENOSPC. */
int udp_emit(const struct udp_header *h, uint8_t *buf, size_t len);
