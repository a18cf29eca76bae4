/*
 * The constant tables: which record, family, type, protocol and ethertype belongs to whom. The whole
 * upward wiring of the stack stands on this page.
 */
#include "state/switchboard.h"
#include "base/util.h"
#include "device/device.h"
#include "device/neigh.h"
#include "inet/errq.h"
#include "inet/raw.h"
#include "inet/sock.h"
#include "inet/sockx.h"
#include "inet/udp.h"
#include "ip/addr.h"
#include "ip/arp.h"
#include "ip/group.h"
#include "ip/icmp.h"
#include "ip/igmp.h"
#include "ip/input.h"
#include "ip/reassemble.h"
#include "ip/route.h"
#include "socket/session.h"
#include "socket/share.h"
#include "state/world.h"
#include "tcp/tcb.h"
#include "tcp/tcp.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define SOCKETS  (256u * 1024)
#define SESSIONS 8192u
#define HOLDERS  (256u * 1024)
#define TOKENS   16384u
#define ERRORS   4096u

static const struct record_type records[KIND_COUNT] = {
	[KIND_WORLD] = {.name = "world", .size = sizeof(struct world_rec), .capacity = 1},
	[KIND_DEVICE] = {.name = "device", .size = sizeof(struct device_rec), .capacity = 32},
	[KIND_CHUNKS] = {.name = "chunks", .size = sizeof(struct chunks_rec), .capacity = 4096},
	[KIND_ADDR] = {.name = "addr", .size = sizeof(struct addr_rec), .capacity = 1024},
	[KIND_ROUTE] = {.name = "route", .size = sizeof(struct route_rec), .capacity = 16384, .lost = route_lost},
	[KIND_NEIGH] = {.name = "neigh", .size = sizeof(struct neigh_rec), .capacity = 8192,
	    .expired = neigh_expired},
	[KIND_MEMBER] = {.name = "member", .size = sizeof(struct member_rec), .capacity = 4096},
	[KIND_GROUP] = {.name = "group", .size = sizeof(struct group_rec), .capacity = 1024,
	    .expired = igmp_expired},
	[KIND_IGMP] = {.name = "igmp", .size = sizeof(struct igmp_rec), .capacity = 32},
	[KIND_FRAG] = {.name = "frag", .size = sizeof(struct frag_rec), .capacity = 256,
	    .expired = frag_expired},
	[KIND_SESSION] = {.name = "session", .size = sizeof(struct session_rec), .capacity = SESSIONS},
	[KIND_HOLDER] = {.name = "holder", .size = sizeof(struct holder_rec), .capacity = HOLDERS},
	[KIND_TOKEN] = {.name = "token", .size = sizeof(struct token_rec), .capacity = TOKENS},
	[KIND_SOCK] = {.name = "sock", .size = sizeof(struct sock_rec), .capacity = SOCKETS,
	    .expired = sock_expired},
	[KIND_SOCKX] = {.name = "sockx", .size = sizeof(struct sockx_rec), .capacity = SOCKETS},
	[KIND_ERRQ] = {.name = "errq", .size = sizeof(struct errq_rec), .capacity = ERRORS},
	[KIND_RAW] = {.name = "raw", .size = sizeof(struct raw_rec), .capacity = RAW_SOCKETS},
	[KIND_TCP] = {.name = "tcp", .size = sizeof(struct tcp_rec), .capacity = SOCKETS,
	    .expired = tcp_expired, .lost = tcp_lost},
	[KIND_TCPX] = {.name = "tcpx", .size = sizeof(struct tcpx_rec), .capacity = SOCKETS},
	[KIND_SYNRCV] = {.name = "synrcv", .size = sizeof(struct synrcv_rec), .capacity = 65536,
	    .expired = tcp_synrcv_expired},
	[KIND_TIMEWAIT] = {.name = "timewait", .size = sizeof(struct timewait_rec), .capacity = SOCKETS,
	    .expired = tcp_timewait_expired},
};

static const struct ethertype_row ethertypes[] = {
	{0x0800, ip_input},
	{0x0806, arp_input},
};

static const struct inet_proto *const protos[] = {&tcp_proto, &udp_proto, &icmp_proto, &ping_proto, &igmp_proto};

static const struct inetsw_row inetsw[] = {
	{SOCK_STREAM, IPPROTO_TCP, &tcp_ops},
	{SOCK_DGRAM, IPPROTO_UDP, &udp_ops},
	{SOCK_DGRAM, IPPROTO_ICMP, &ping_ops},
	{SOCK_RAW, 0, &raw_ops},
};

static const struct inetsw_row inetsw6[] = {
	{SOCK_STREAM, IPPROTO_TCP, &tcp_ops},
	{SOCK_DGRAM, IPPROTO_UDP, &udp_ops},
};

static const struct inetsw_row packetsw[] = {
	{SOCK_RAW, 0, &tap_ops},
	{SOCK_DGRAM, 0, &tap_ops},
};

static const struct family_row families[] = {
	{AF_INET, inetsw, ARRAY_SIZE(inetsw)},
	{AF_INET6, inetsw6, ARRAY_SIZE(inetsw6)},
	{AF_PACKET, packetsw, ARRAY_SIZE(packetsw)},
};

const struct switchboard switchboard = {
	.records = records,
	.ethertypes = ethertypes,
	.n_ethertypes = ARRAY_SIZE(ethertypes),
	.protos = protos,
	.n_protos = ARRAY_SIZE(protos),
	.families = families,
	.n_families = ARRAY_SIZE(families),
	.neigh_failed = icmp_unresolved,
	.neigh_solicit = arp_solicit,
	.tap = tap_input,
	.raw_input = raw_input,
	.ping_input = ping_input,
	.raw_error = raw_error,
};
