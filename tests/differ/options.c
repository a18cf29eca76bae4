/*
 * Every option by its number, known or not: its value at first, with too little room, with wrong
 * lengths, and what setting it to several values does to it.
 */
#include "tests/differ/differ.h"
#include <linux/in6.h>
#include <linux/tcp.h>
#include <netinet/udp.h>

struct level {
	const char *name;
	int level, most;
};
static const struct level levels[] = {{"SOL_SOCKET", SOL_SOCKET, 84}, {"IP", IPPROTO_IP, 54},
    {"TCP", IPPROTO_TCP, 46}, {"UDP", IPPROTO_UDP, 105}, {"IPV6", IPPROTO_IPV6, 82},
    {"level-255", 255, 2}, {"level-12345", 12345, 2}};

/* clang-format off */
#define N(level, name) {level, name, #name}
static const struct {
	int level, name;
	const char *text;
} names[] = {N(SOL_SOCKET, SO_DEBUG), N(SOL_SOCKET, SO_REUSEADDR), N(SOL_SOCKET, SO_TYPE), N(SOL_SOCKET, SO_ERROR),
    N(SOL_SOCKET, SO_DONTROUTE), N(SOL_SOCKET, SO_BROADCAST), N(SOL_SOCKET, SO_SNDBUF), N(SOL_SOCKET, SO_RCVBUF),
    N(SOL_SOCKET, SO_KEEPALIVE), N(SOL_SOCKET, SO_OOBINLINE), N(SOL_SOCKET, SO_NO_CHECK), N(SOL_SOCKET, SO_PRIORITY),
    N(SOL_SOCKET, SO_LINGER), N(SOL_SOCKET, SO_BSDCOMPAT), N(SOL_SOCKET, SO_REUSEPORT), N(SOL_SOCKET, SO_PASSCRED),
    N(SOL_SOCKET, SO_PEERCRED), N(SOL_SOCKET, SO_RCVLOWAT), N(SOL_SOCKET, SO_SNDLOWAT), N(SOL_SOCKET, SO_RCVTIMEO),
    N(SOL_SOCKET, SO_SNDTIMEO), N(SOL_SOCKET, SO_BINDTODEVICE), N(SOL_SOCKET, SO_ATTACH_FILTER),
    N(SOL_SOCKET, SO_DETACH_FILTER), N(SOL_SOCKET, SO_PEERNAME), N(SOL_SOCKET, SO_TIMESTAMP), N(SOL_SOCKET, SO_ACCEPTCONN),
    N(SOL_SOCKET, SO_PEERSEC), N(SOL_SOCKET, SO_SNDBUFFORCE), N(SOL_SOCKET, SO_RCVBUFFORCE), N(SOL_SOCKET, SO_PASSSEC),
    N(SOL_SOCKET, SO_TIMESTAMPNS), N(SOL_SOCKET, SO_MARK), N(SOL_SOCKET, SO_TIMESTAMPING), N(SOL_SOCKET, SO_PROTOCOL),
    N(SOL_SOCKET, SO_DOMAIN), N(SOL_SOCKET, SO_RXQ_OVFL), N(SOL_SOCKET, SO_WIFI_STATUS), N(SOL_SOCKET, SO_PEEK_OFF),
    N(SOL_SOCKET, SO_NOFCS), N(SOL_SOCKET, SO_LOCK_FILTER), N(SOL_SOCKET, SO_SELECT_ERR_QUEUE), N(SOL_SOCKET, SO_BUSY_POLL),
    N(SOL_SOCKET, SO_MAX_PACING_RATE), N(SOL_SOCKET, SO_BPF_EXTENSIONS), N(SOL_SOCKET, SO_INCOMING_CPU),
    N(SOL_SOCKET, SO_ATTACH_BPF), N(SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF), N(SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF),
    N(SOL_SOCKET, SO_CNX_ADVICE), N(SOL_SOCKET, SO_MEMINFO), N(SOL_SOCKET, SO_INCOMING_NAPI_ID), N(SOL_SOCKET, SO_COOKIE),
    N(SOL_SOCKET, SO_PEERGROUPS), N(SOL_SOCKET, SO_ZEROCOPY), N(SOL_SOCKET, SO_TXTIME), N(SOL_SOCKET, SO_BINDTOIFINDEX),
    N(SOL_SOCKET, SO_TIMESTAMP_NEW), N(SOL_SOCKET, SO_TIMESTAMPNS_NEW), N(SOL_SOCKET, SO_TIMESTAMPING_NEW),
    N(SOL_SOCKET, SO_RCVTIMEO_NEW), N(SOL_SOCKET, SO_SNDTIMEO_NEW), N(SOL_SOCKET, SO_DETACH_REUSEPORT_BPF),
    N(SOL_SOCKET, SO_PREFER_BUSY_POLL), N(SOL_SOCKET, SO_BUSY_POLL_BUDGET), N(SOL_SOCKET, SO_NETNS_COOKIE),
    N(SOL_SOCKET, SO_BUF_LOCK), N(SOL_SOCKET, SO_RESERVE_MEM), N(IPPROTO_IP, IP_TOS), N(IPPROTO_IP, IP_TTL),
    N(IPPROTO_IP, IP_HDRINCL), N(IPPROTO_IP, IP_OPTIONS), N(IPPROTO_IP, IP_ROUTER_ALERT), N(IPPROTO_IP, IP_RECVOPTS),
    N(IPPROTO_IP, IP_RETOPTS), N(IPPROTO_IP, IP_PKTINFO), N(IPPROTO_IP, IP_PKTOPTIONS), N(IPPROTO_IP, IP_MTU_DISCOVER),
    N(IPPROTO_IP, IP_RECVERR), N(IPPROTO_IP, IP_RECVTTL), N(IPPROTO_IP, IP_RECVTOS), N(IPPROTO_IP, IP_MTU),
    N(IPPROTO_IP, IP_FREEBIND), N(IPPROTO_IP, IP_IPSEC_POLICY), N(IPPROTO_IP, IP_XFRM_POLICY), N(IPPROTO_IP, IP_PASSSEC),
    N(IPPROTO_IP, IP_TRANSPARENT), N(IPPROTO_IP, IP_ORIGDSTADDR), N(IPPROTO_IP, IP_MINTTL), N(IPPROTO_IP, IP_NODEFRAG),
    N(IPPROTO_IP, IP_CHECKSUM), N(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), N(IPPROTO_IP, IP_RECVFRAGSIZE),
    N(IPPROTO_IP, IP_MULTICAST_IF), N(IPPROTO_IP, IP_MULTICAST_TTL), N(IPPROTO_IP, IP_MULTICAST_LOOP),
    N(IPPROTO_IP, IP_ADD_MEMBERSHIP), N(IPPROTO_IP, IP_DROP_MEMBERSHIP), N(IPPROTO_IP, IP_UNBLOCK_SOURCE),
    N(IPPROTO_IP, IP_BLOCK_SOURCE), N(IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP), N(IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP),
    N(IPPROTO_IP, IP_MSFILTER), N(IPPROTO_IP, MCAST_JOIN_GROUP), N(IPPROTO_IP, IP_MULTICAST_ALL), N(IPPROTO_IP, IP_UNICAST_IF),
    N(IPPROTO_TCP, TCP_NODELAY), N(IPPROTO_TCP, TCP_MAXSEG), N(IPPROTO_TCP, TCP_CORK), N(IPPROTO_TCP, TCP_KEEPIDLE),
    N(IPPROTO_TCP, TCP_KEEPINTVL), N(IPPROTO_TCP, TCP_KEEPCNT), N(IPPROTO_TCP, TCP_SYNCNT), N(IPPROTO_TCP, TCP_LINGER2),
    N(IPPROTO_TCP, TCP_DEFER_ACCEPT), N(IPPROTO_TCP, TCP_WINDOW_CLAMP), N(IPPROTO_TCP, TCP_INFO), N(IPPROTO_TCP, TCP_QUICKACK),
    N(IPPROTO_TCP, TCP_CONGESTION), N(IPPROTO_TCP, TCP_MD5SIG), N(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS),
    N(IPPROTO_TCP, TCP_THIN_DUPACK), N(IPPROTO_TCP, TCP_USER_TIMEOUT), N(IPPROTO_TCP, TCP_REPAIR),
    N(IPPROTO_TCP, TCP_REPAIR_QUEUE), N(IPPROTO_TCP, TCP_QUEUE_SEQ), N(IPPROTO_TCP, TCP_REPAIR_OPTIONS),
    N(IPPROTO_TCP, TCP_FASTOPEN), N(IPPROTO_TCP, TCP_TIMESTAMP), N(IPPROTO_TCP, TCP_NOTSENT_LOWAT), N(IPPROTO_TCP, TCP_CC_INFO),
    N(IPPROTO_TCP, TCP_SAVE_SYN), N(IPPROTO_TCP, TCP_SAVED_SYN), N(IPPROTO_TCP, TCP_REPAIR_WINDOW),
    N(IPPROTO_TCP, TCP_FASTOPEN_CONNECT), N(IPPROTO_TCP, TCP_ULP), N(IPPROTO_TCP, TCP_MD5SIG_EXT),
    N(IPPROTO_TCP, TCP_FASTOPEN_KEY), N(IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE), N(IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE),
    N(IPPROTO_TCP, TCP_INQ), N(IPPROTO_TCP, TCP_TX_DELAY), N(IPPROTO_UDP, UDP_CORK), N(IPPROTO_UDP, UDP_ENCAP),
    N(IPPROTO_UDP, UDP_NO_CHECK6_TX), N(IPPROTO_UDP, UDP_NO_CHECK6_RX), N(IPPROTO_UDP, UDP_SEGMENT), N(IPPROTO_UDP, UDP_GRO),
    N(IPPROTO_IPV6, IPV6_V6ONLY), N(IPPROTO_IPV6, IPV6_UNICAST_HOPS), N(IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
    N(IPPROTO_IPV6, IPV6_TCLASS), N(IPPROTO_IPV6, IPV6_RECVPKTINFO), N(IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
    N(IPPROTO_IPV6, IPV6_RECVTCLASS), N(IPPROTO_IPV6, IPV6_RECVERR), N(IPPROTO_IPV6, IPV6_MTU), N(IPPROTO_IPV6, IPV6_FREEBIND),
    N(IPPROTO_IPV6, IPV6_MTU_DISCOVER), N(IPPROTO_IPV6, IPV6_TRANSPARENT)};
/* clang-format on */

static const char *name_text(int level, int name)
{
	static char number[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].level == level && names[i].name == name)
			return names[i].text;
	snprintf(number, sizeof(number), "%d", name);
	return number;
}

/* Different in each run by its nature: only the length is compared. */
static bool varies(int level, int name)
{
	if (level == SOL_SOCKET)
		return name == SO_COOKIE || name == SO_PEERNAME || name == SO_NETNS_COOKIE;
	return level == IPPROTO_TCP &&
	       (name == TCP_INFO || name == TCP_TIMESTAMP || name == TCP_CC_INFO);
}

static const char *got(int fd, int level, int name, socklen_t room)
{
	static char text[200];
	unsigned char v[600] = {0};
	socklen_t len = room;
	int n = 0;

	if (getsockopt(fd, level, name, v, &len) < 0)
		return said(-1);
	n = snprintf(text, sizeof(text), "%u bytes ", len);
	for (socklen_t i = 0; i < len && i < 40 && !varies(level, name); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", v[i]);
	return text;
}

static void try_values(int fd, const char *key, const struct level *l, int name)
{
	static const int values[] = {1, -1, 0, 2, 64, 255, 256, 100000, INT32_MAX, INT32_MIN};
	char byte = 7;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		CALL(setsockopt(fd, l->level, name, &values[i], sizeof(int)), "%s set %d", key,
		    values[i]);
		line(got(fd, l->level, name, 256), "%s set %d, then get", key, values[i]);
	}
	CALL(setsockopt(fd, l->level, name, &byte, 1), "%s set, 1 byte", key);
	line(got(fd, l->level, name, 256), "%s set, 1 byte, then get", key);
	CALL(setsockopt(fd, l->level, name, &values[0], 3), "%s set, 3 bytes", key);
	CALL(setsockopt(fd, l->level, name, &values[0], 0), "%s set, 0 bytes", key);
	CALL(setsockopt(fd, l->level, name, &values[0], (socklen_t)-1), "%s set, length -1", key);
	CALL(setsockopt(fd, l->level, name, (int[4]){1, 0, 0, 0}, 16), "%s set, 16 bytes", key);
}

static void one_option(enum state st, const struct level *l, int name)
{
	struct subject s = make(st);
	char key[128];

	snprintf(key, sizeof(key), "option %s/%s %s", l->name, name_text(l->level, name),
	    state_name[st]);
	line(got(s.fd, l->level, name, 256), "%s at first", key);
	line(got(s.fd, l->level, name, 0), "%s get, no room", key);
	line(got(s.fd, l->level, name, 1), "%s get, room for 1", key);
	line(got(s.fd, l->level, name, 3), "%s get, room for 3", key);
	line(got(s.fd, l->level, name, (socklen_t)-1), "%s get, room -1", key);
	try_values(s.fd, key, l, name);
	unmake(&s);
}

void do_options(void)
{
	static const enum state states[] = {STREAM_NEW, STREAM_LISTENING, STREAM_CONNECTED,
	    STREAM6_NEW, DGRAM_NEW, DGRAM_CONNECTED, DGRAM6_NEW};

	for (size_t l = 0; l < sizeof(levels) / sizeof(levels[0]); l++)
		for (int name = 0; name <= levels[l].most; name++) {
			if (levels[l].level == IPPROTO_UDP && name > 12 && name < 100)
				continue;
			for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
				one_option(states[i], &levels[l], name);
		}
}

/* ---- options that are structures */

static void tell(int fd, int level, int name, const void *v, socklen_t len, const char *key)
{
	CALL(setsockopt(fd, level, name, v, len), "struct %s set", key);
	line(got(fd, level, name, 256), "struct %s then get", key);
}

static void structs_on(enum state st)
{
	struct linger on = {.l_onoff = 1, .l_linger = 5}, off = {.l_onoff = 0, .l_linger = 7},
		      negative = {.l_onoff = 1, .l_linger = -1};
	int64_t second[2] = {1, 500000}, none[2] = {0, 0}, wrong[2] = {0, 1000000},
		before[2] = {-1, 0};
	struct ip_mreqn lo = {.imr_ifindex = 1}, nowhere = {.imr_ifindex = 4711};
	struct in_addr own = {.s_addr = htonl(INADDR_LOOPBACK)},
		       foreign = {.s_addr = htonl(0xc0000201)};
	struct subject s = make(st);
	char key[100];

#define TELL(level, name, v, what)                                                                 \
	(snprintf(key, sizeof(key), "%s=%s %s", #name, what, state_name[st]),                      \
	    tell(s.fd, level, name, &(v), sizeof(v), key))
	TELL(SOL_SOCKET, SO_LINGER, on, "5");
	TELL(SOL_SOCKET, SO_LINGER, off, "off");
	TELL(SOL_SOCKET, SO_LINGER, negative, "-1");
	TELL(SOL_SOCKET, SO_LINGER, off, "off again");
	TELL(SOL_SOCKET, SO_RCVTIMEO, second, "1.5s");
	TELL(SOL_SOCKET, SO_RCVTIMEO, wrong, "1000000us");
	TELL(SOL_SOCKET, SO_RCVTIMEO, before, "-1s");
	TELL(SOL_SOCKET, SO_RCVTIMEO, none, "0");
	TELL(SOL_SOCKET, SO_SNDTIMEO, second, "1.5s");
	TELL(SOL_SOCKET, SO_SNDTIMEO, none, "0");
	TELL(SOL_SOCKET, SO_RCVTIMEO_NEW, second, "1.5s");
	TELL(SOL_SOCKET, SO_BINDTODEVICE, "lo", "lo");
	TELL(SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", "nosuch0");
	TELL(SOL_SOCKET, SO_BINDTODEVICE, "", "nothing");
	line(got(s.fd, SOL_SOCKET, SO_NETNS_COOKIE, 8), "struct SO_NETNS_COOKIE get %s",
	    state_name[st]);
	TELL(IPPROTO_IP, IP_MULTICAST_IF, own, "127.0.0.1");
	TELL(IPPROTO_IP, IP_MULTICAST_IF, foreign, "192.0.2.1");
	TELL(IPPROTO_IP, IP_MULTICAST_IF, lo, "lo");
	TELL(IPPROTO_IP, IP_MULTICAST_IF, nowhere, "4711");
	TELL(IPPROTO_TCP, TCP_CONGESTION, "reno", "reno");
	TELL(IPPROTO_TCP, TCP_CONGESTION, "cubic", "cubic");
	TELL(IPPROTO_TCP, TCP_CONGESTION, "nosuch", "nosuch");
	unmake(&s);
}

void do_structs(void)
{
	static const enum state states[] = {STREAM_NEW, STREAM_LISTENING, STREAM_CONNECTED,
	    STREAM6_NEW, DGRAM_NEW, DGRAM_CONNECTED};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		structs_on(states[i]);
}
