/* UDP, RFC 768: sockets on datagram rings. */
#pragma once
#include "inet/sock.h"
#include "ip/ip.h"

#define UDP_PAYLOAD_MAX (65535u - 20 - 8)

extern const struct sock_ops udp_ops;
extern const struct inet_proto udp_proto;
