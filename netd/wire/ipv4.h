/* The IPv4 header, RFC 791. Addresses in host order. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPV4_LEN	 20 /* without options */
#define IPV4_LEN_MAX	 60
#define IPV4_OPTIONS_MAX 40

struct ipv4_header {
	uint8_t hdr_len; /* bytes, options included; emit computes it from options_len */
	uint8_t tos, ttl, proto;
	uint16_t total_len;
	uint16_t id;
	uint16_t checksum; /* as received; emit computes it */
	bool dont_fragment, more_fragments;
	uint32_t frag_off; /* bytes */
	uint32_t src, dst;
	uint8_t options_len; /* a multiple of 4 */
	uint8_t options[IPV4_OPTIONS_MAX];
};

/*
 * Parses the header at `buf`, of which `len` bytes are there (the whole datagram, or a private copy
 * of its first IPV4_LEN_MAX bytes). 0, or -EBADMSG: too short, not version 4, or lengths that
 * contradict each other. It is the caller's to compare total_len with what arrived and to call
 * ipv4_checksum_ok().
 */
int ipv4_parse(struct ipv4_header *h, const uint8_t *buf, size_t len);
/* `buf` holds the hdr_len bytes of a parsed header. */
bool ipv4_checksum_ok(const uint8_t *buf, uint8_t hdr_len);
/* Writes the header with its checksum. Returns its length, or -ENOSPC. */
int ipv4_emit(const struct ipv4_header *h, uint8_t *buf, size_t len);
