/* The ICMP header, RFC 792. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define ICMP_LEN 8

enum icmp_type {
	ICMP_T_ECHO_REPLY = 0,
	ICMP_T_UNREACHABLE = 3,
	ICMP_T_REDIRECT = 5,
	ICMP_T_ECHO = 8,
	ICMP_T_TIME_EXCEEDED = 11,
	ICMP_T_PARAMETER = 12,
};

enum icmp_unreachable_code {
	ICMP_C_NET = 0,
	ICMP_C_HOST = 1,
	ICMP_C_PROTO = 2,
	ICMP_C_PORT = 3,
	ICMP_C_FRAG_NEEDED = 4,
	ICMP_C_SOURCE_ROUTE = 5,
};

struct icmp_header {
	uint8_t type, code;
	uint16_t checksum; /* over header and data: the caller's to check and to compute */
	uint16_t id;	   /* echo; the upper half of bytes 4 to 7 otherwise */
	uint16_t seq;	   /* echo; the next hop's MTU in ICMP_C_FRAG_NEEDED */
};

/* 0, or -EBADMSG if fewer than ICMP_LEN bytes. */
int icmp_parse(struct icmp_header *h, const uint8_t *buf, size_t len);
/* Writes the fields as they are. ICMP_LEN, or -ENOSPC. */
int icmp_emit(const struct icmp_header *h, uint8_t *buf, size_t len);
