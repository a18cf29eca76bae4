/* The TCP header and its options: RFC 9293, 7323 (window scale, timestamps), 2018 (SACK). */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TCP_LEN		20 /* without options */
#define TCP_LEN_MAX	60
#define TCP_CSUM_OFFSET 16
#define TCP_SACK_MAX	4

enum tcp_flag_bits {
	TCP_F_FIN = 0x01,
	TCP_F_SYN = 0x02,
	TCP_F_RST = 0x04,
	TCP_F_PSH = 0x08,
	TCP_F_ACK = 0x10,
	TCP_F_URG = 0x20,
	TCP_F_ECE = 0x40,
	TCP_F_CWR = 0x80,
};

struct tcp_sack_block {
	uint32_t start, end; /* sequence numbers, end is the first one not covered */
};

struct tcp_header {
	uint16_t src, dst; /* ports, host order */
	uint32_t seq, ack;
	uint8_t flags;	 /* enum tcp_flag_bits */
	uint8_t hdr_len; /* bytes, options included; tcp_emit() computes its own */
	uint16_t window; /* as on the wire, not scaled */
	uint16_t checksum;
	uint16_t urgent;
	/* options */
	bool has_mss, has_ws, sack_permitted, has_ts;
	uint8_t ws; /* at most 14 */
	uint8_t n_sack;
	uint16_t mss;
	uint32_t ts_val, ts_ecr;
	struct tcp_sack_block sack[TCP_SACK_MAX];
};

/*
 * Parses header and options at `buf`, of which `len` bytes are there (the whole segment, or a
 * private copy of its first TCP_LEN_MAX bytes). 0, or -EBADMSG: too short, or a data offset below 5
 * or beyond `len`. A malformed option ends the options (those before it count), unknown ones are
 * skipped; MSS, window scale and SACK-permitted count only in a SYN, a duplicate's last one wins.
 * The checksum is the caller's to check.
 */
int tcp_parse(struct tcp_header *h, const uint8_t *buf, size_t len);
/* Length of the header that tcp_emit() would write. */
uint8_t tcp_emit_len(const struct tcp_header *h);
/*
 * Writes header and options, each option aligned as Linux aligns it; SACK blocks as far as they
 * find room (three beside timestamps). The checksum field as it is in `h`. Returns the length, or
 * -ENOSPC.
 */
int tcp_emit(const struct tcp_header *h, uint8_t *buf, size_t len);
