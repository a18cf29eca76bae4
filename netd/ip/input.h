/* Arrival of IPv4 packets from device input. */
#pragma once
#include <stdint.h>

struct stack;
struct packet;

/* The ethertype table's row for 0x0800: the front is at the IP header. The caller frees. */
void ip_input(struct stack *s, struct packet *p, const uint8_t src[6]);
#define ip_ethertype_input ip_input
