/* Which flow a frame belongs to: one number for all frames of a conversation in one direction. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define FLOW_HEAD 128u /* bytes of a frame that are looked at, at most */

/*
 * Of an Ethernet frame of which the first `len` bytes are there: ethertype, protocol, addresses,
 * ports; less where there is less. Hostile input; a hint, not an identity: two flows may have one number.
 */
uint64_t flow_of_ethernet(const uint8_t *frame, size_t len);
/* Of a packet on lo: where it goes, not whence: sending that is done again may choose another port. */
uint64_t flow_of_local(const uint8_t *datagram, size_t len);
/* The same in words: "udp 10.0.0.1:53 > 10.0.0.2:4000"; returns buf. */
const char *flow_local_text(uint64_t flow, char *buf, size_t size);
const char *flow_text(const uint8_t *frame, size_t len, char *buf, size_t size);
