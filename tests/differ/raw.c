/* Sockets below the transports, and options of the IP header, which they and UDP sockets send and
 * are given. */
#include "tests/differ/differ.h"
#include <linux/filter.h>
#include <linux/icmp.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ip.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <netinet/udp.h>

static const uint32_t lo_address = INADDR_LOOPBACK;

static struct sockaddr_in at(uint32_t addr, uint16_t port)
{
	return (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(addr), .sin_port = htons(port)};
}

static void into(int fd, struct sockaddr_in a)
{
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		exit(2);
}

/* ---- options of the IP header */

struct options {
	const char *name;
	uint8_t len, bytes[44];
};

/* clang-format off */
static const struct options lists[] = {
    {"none", 0, {0}},
    {"NOPs", 3, {1, 1, 1}},
    {"an end, and more", 7, {1, 0, 7, 7, 4, 1, 1}},
    {"record route", 11, {7, 11, 4, 9, 9, 9, 9}},
    {"record route, the second slot", 11, {7, 11, 8, 1, 2, 3, 4, 9, 9, 9, 9}},
    {"record route, full", 7, {7, 7, 8, 1, 2, 3, 4}},
    {"record route, half a slot", 7, {7, 7, 5}},
    {"record route, pointer 3", 7, {7, 7, 3}},
    {"record route, of 2 bytes", 4, {7, 2, 1, 1}},
    {"record route, odd", 10, {7, 9, 4}},
    {"record route, twice", 14, {7, 7, 4, 0, 0, 0, 0, 7, 7, 4}},
    {"record route, of 39 bytes", 40, {7, 39, 4}},
    {"of 41 bytes", 41, {7, 39, 4}},
    {"too long for all", 8, {7, 11, 4}},
    {"no length", 4, {1, 1, 1, 7}},
    {"stamps full", 8, {68, 8, 9, 0, 1, 1, 1, 1}},
    {"stamps overflown", 8, {68, 8, 9, 0xf0, 1, 1, 1, 1}},
    {"stamps with addresses, no room", 8, {68, 8, 5, 1}},
    {"stamps prespecified, elsewhere", 12, {68, 12, 5, 3, 9, 9, 9, 9, 7, 7, 7, 7}},
    {"stamps, pointer 4", 8, {68, 8, 4, 0}},
    {"stamps, kind 2", 8, {68, 8, 5, 2, 7, 7, 7, 7}},
    {"router alert", 4, {148, 4, 0, 0}},
    {"router alert, short", 4, {148, 3, 0, 1}},
    {"record route and router alert", 12, {7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0}},
    {"source route, pointer 8", 11, {131, 11, 8}},
    {"source route, empty", 4, {131, 3, 4, 0}},
    {"source routes, two", 16, {131, 7, 4, 127, 0, 0, 1, 137, 7, 4, 127, 0, 0, 1}},
    {"unknown", 4, {30, 4, 1, 2}}};
/* clang-format on */

static const char *get_options(int fd)
{
	static char text[200];
	uint8_t o[100];
	socklen_t len = sizeof(o);
	int n;

	if (getsockopt(fd, IPPROTO_IP, IP_OPTIONS, o, &len))
		return said(-1);
	n = snprintf(text, sizeof(text), "%u bytes ", len);
	for (socklen_t i = 0; i < len; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%02x", o[i]);
	return text;
}

/* What came of it: a datagram without options is sent behind, so that what was dropped need not be
 * waited for. */
static void arrived(
    const struct subject *s, const char *key, const char *n, const struct options *o)
{
	bool stamped = o->bytes[0] == 68; /* times differ */
	const char *text;

	CALL(setsockopt(s->fd, IPPROTO_IP, IP_OPTIONS, NULL, 0), "raw options %s: %s, off", n,
	    o->name);
	for (int i = 0; send(s->fd, "END", 3, 0) != 3 && i < 3;
	     i++) /* the options were wrong to the receiver */
		line(said(-1), "raw options %s: %s, %s, error", n, o->name, key);
	do {
		await(s->other, POLLIN);
		text = message(s->other, 50, stamped ? 0 : 400, 0);
		line(text, "raw options %s: %s, %s", n, o->name, key);
	} while (!strstr(text, "END"));
}

/* Each list is set, told, sent to a neighbour on this host, and given with one message. */
static void options_of(enum state st)
{
	const char *n = state_name[st];
	struct subject s = make(st);

	on(s.other, IPPROTO_IP, IP_RECVOPTS);
	on(s.other, IPPROTO_IP, IP_RETOPTS);
	on(s.other, IPPROTO_IP, IP_RECVTTL);
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct options *o = &lists[i];

		CALL(setsockopt(s.fd, IPPROTO_IP, IP_OPTIONS, o->bytes, o->len),
		    "raw options %s: %s", n, o->name);
		line(get_options(s.fd), "raw options %s: %s, then", n, o->name);
		CALL(send(s.fd, "x", 1, 0), "raw options %s: %s, send", n, o->name);
		arrived(&s, "received", n, o);
		CALL(send_with(s.fd, IPPROTO_IP, IP_RETOPTS, o->bytes, o->len, "y"),
		    "raw options %s: %s, with a message", n, o->name);
		arrived(&s, "received with a message", n, o);
	}
	unmake(&s);
}

/* An echo request on its way out and its answer, through any kind of socket. */
static void echo(int type, const char *name)
{
	int fd = socket(AF_INET, type, IPPROTO_ICMP);
	struct icmphdr h = {.type = ICMP_ECHO, .checksum = htons(0xf7ff)};
	static const uint8_t route[] = {
	    7, 27, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

	if (type == SOCK_RAW) /* the answer only */
		setsockopt(fd, SOL_RAW, ICMP_FILTER, &(uint32_t){~(1u << ICMP_ECHOREPLY)}, 4);
	into(fd, at(lo_address, 0));
	CALL(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof(route)), "raw echo %s", name);
	on(fd, IPPROTO_IP, IP_RECVOPTS);
	on(fd, IPPROTO_IP, IP_RETOPTS);
	CALL(send(fd, &h, sizeof(h), 0), "raw echo %s, sent", name);
	await(fd, POLLIN);
	line(message(fd, 0, 400, 0), "raw echo %s, its answer", name);
	setsockopt(fd, IPPROTO_IP, IP_OPTIONS, NULL, 0);
	on(fd, IPPROTO_IP, IP_PKTINFO);
	CALL(send(fd, &h, sizeof(h), 0), "raw echo %s, sent again", name);
	await(fd, POLLIN);
	line(message(fd, 0, 400, 0), "raw echo %s, with IP_PKTINFO", name);
	close(fd);
}

/* ---- raw sockets */

static void shut(int how, const char *name)
{
	int fd = socket(AF_INET, SOCK_RAW, 200);

	CALL(shutdown(fd, how), "raw shutdown %s unconnected", name);
	into(fd, at(lo_address, 0));
	CALL(shutdown(fd, how), "raw shutdown %s", name);
	CALL(poll(&(struct pollfd){.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP}, 1, 0),
	    "raw shutdown %s, poll", name);
	CALL(send(fd, "noop", 4, MSG_NOSIGNAL), "raw shutdown %s, send", name);
	if (how == SHUT_WR)
		await(fd, POLLIN);
	CALL(recv(fd, (char[99]){0}, 99, MSG_DONTWAIT), "raw shutdown %s, receive", name);
	CALL(recv(fd, (char[99]){0}, 99, MSG_DONTWAIT), "raw shutdown %s, no more", name);
	close(fd);
}

static void headers(void)
{
	struct {
		struct iphdr ip;
		char data[8];
	} p = {.ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = 200, .daddr = 42},
	    .data = "hello"};
	int out = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), in = socket(AF_INET, SOCK_RAW, 200);
	struct sockaddr_in lo = at(lo_address, 0);

	CALL(sendto(out, &p, sizeof(p), 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw header of another destination");
	await(in, POLLIN);
	CALL(recv(in, &p, sizeof(p), MSG_DONTWAIT), "raw header of another destination, received");
	line(p.ip.daddr == 42 ? "its own" : "changed", "raw header of another destination, then");
	CALL(setsockopt(out, IPPROTO_IP, IP_OPTIONS, (char[4]){1, 1, 1, 1}, 4),
	    "raw header and options");
	CALL(sendto(out, &p, sizeof(p), 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw header and options, send");
	close(out);
	into(in, lo);
	CALL(send(in, (char[65536]){0}, 65536, 0), "raw 65536 bytes");
	CALL(send(in, (char[65516]){0}, 65516, 0), "raw 65516 bytes");
	CALL(send(in, (char[65515]){0}, 65515, 0), "raw 65515 bytes");
	close(in);
}

static void pings(void)
{
	static const uint32_t addresses[] = {
	    0xe0000001, 0xeffffffa, 0xffffffff, 0xc0a80101, INADDR_ANY, INADDR_LOOPBACK};
	int fd;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		struct sockaddr_in a = at(addresses[i], 0);

		fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
		CALL(bind(fd, (struct sockaddr *)&a, sizeof(a)), "raw ping bind %#x", addresses[i]);
		close(fd);
		fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
		CALL(bind(fd, (struct sockaddr *)&a, sizeof(a)), "raw icmp bind %#x", addresses[i]);
		close(fd);
	}
	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	into(fd, at(lo_address, 0));
	CALL(send(fd, (char[65536]){0}, 65536, 0), "raw ping of 65536 bytes");
	CALL(send(fd, (char[7]){8}, 7, 0), "raw ping of 7 bytes");
	CALL(send(fd, (char[8]){0}, 8, 0), "raw ping of another type");
	close(fd);
}

/* ---- packet sockets */

/* IP_ROUTER_ALERT: raw sockets only, each once. */
static void router_alert(void)
{
	static const struct {
		int type, protocol;
	} kinds[] = {{SOCK_RAW, IPPROTO_RSVP}, {SOCK_RAW, IPPROTO_RAW}, {SOCK_DGRAM, 0}};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int fd = socket(AF_INET, kinds[i].type, kinds[i].protocol);

		for (int v = 0; v < 4; v++)
			CALL(setsockopt(fd, IPPROTO_IP, IP_ROUTER_ALERT, &(int){v & 1 || v == 2}, sizeof(int)),
			    "raw IP_ROUTER_ALERT %zu step %d", i, v);
		CALL(setsockopt(fd, IPPROTO_IP, IP_ROUTER_ALERT, &(int){0}, sizeof(int)), "raw IP_ROUTER_ALERT %zu off", i);
		close(fd);
	}
}

static void frames(int type, const char *name)
{
	int fd = socket(AF_PACKET, type, htons(ETH_P_ALL));
	struct sockaddr_ll lo = {.sll_family = AF_PACKET,
	    .sll_ifindex = 1,
	    .sll_protocol = htons(ETH_P_IP),
	    .sll_halen = 6};
	uint32_t stamps = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE;

	CALL(shutdown(fd, SHUT_RDWR), "raw packet %s shutdown", name);
	lo.sll_family = 0;
	lo.sll_halen = 0;
	CALL(sendto(fd, (char[60]){0}, 60, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s to a name of no family", name);
	CALL(sendto(fd, (char[60]){0}, 60, 0, (struct sockaddr *)&lo, sizeof(lo) - 1),
	    "raw packet %s to a short name", name);
	lo.sll_halen = 12;
	CALL(sendto(fd, (char[60]){0}, 60, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s to a name longer than there is", name);
	lo.sll_family = AF_PACKET;
	lo.sll_halen = 6;
	CALL(sendto(fd, (char[65600]){0}, 65536, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s 65536 bytes", name);
	CALL(sendto(fd, (char[65600]){0}, 65600, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s 65600 bytes", name);
	CALL(sendto(fd, (char[100000]){0}, 100000, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s 100000 bytes", name);
	CALL(sendto(fd, (char[13]){0}, 13, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s 13 bytes", name);
	CALL(send(fd, (char[99]){0}, 99, 0), "raw packet %s to nobody", name);
	lo.sll_ifindex = 4711;
	CALL(sendto(fd, (char[99]){0}, 99, 0, (struct sockaddr *)&lo, sizeof(lo)),
	    "raw packet %s by no device", name);
	lo.sll_ifindex = 1;
	CALL(bind(fd, (struct sockaddr *)&lo, sizeof(lo)), "raw packet %s bind", name);
	CALL(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)), "raw packet %s stamps", name);
	CALL(sendto(fd, (char[99]){0}, 99, 0, (struct sockaddr *)&lo, sizeof(lo)), "raw packet %s stamped", name);
	await(fd, POLLERR);
	line(message(fd, 0, 400, MSG_ERRQUEUE), "raw packet %s its time", name);
	line(message(fd, 0, 400, MSG_ERRQUEUE), "raw packet %s no more", name);
	lo.sll_ifindex = 0;
	CALL(sendto(fd, (char[99]){0}, 99, 0, (struct sockaddr *)&lo, sizeof(lo)), "raw packet %s by device 0, bound", name);
	close(fd);
}

/* ---- what all have */

static void filters(enum state st)
{
	const char *n = state_name[st];
	struct subject s = make(st);
	struct sock_filter nothing[] = {{BPF_RET | BPF_K, 0, 0, 0}},
			   four[] = {{BPF_RET | BPF_K, 0, 0, 8 + 4}}, wrong[] = {{BPF_LD, 0, 0, 0}},
			   marked[] = {{BPF_LD | BPF_B | BPF_ABS, 0, 0, 8},
			       {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'm'},
			       {BPF_RET | BPF_K, 0, 0, 0xffff}, {BPF_RET | BPF_K, 0, 0, 0}};
	struct sock_fprog p = {1, nothing};

	CALL(setsockopt(s.fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int)),
	    "raw filter %s, none to detach", n);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, 4), "raw filter %s, short", n);
	p.filter = wrong;
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)), "raw filter %s, wrong",
	    n);
	p = (struct sock_fprog){4, marked};
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)),
	    "raw filter %s, of those marked", n);
	if (is_dgram(st)) {
		CALL(send(s.other, "x1", 2, 0), "raw filter %s, send", n);
		CALL(send(s.other, "m2", 2, 0), "raw filter %s, send", n);
		await(s.fd, POLLIN);
		line(message(s.fd, 9, 0, 0), "raw filter %s, passes", n);
		line(message(s.fd, 9, 0, 0), "raw filter %s, no more", n);
		p = (struct sock_fprog){1, four};
		CALL(setsockopt(s.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)),
		    "raw filter %s, of four bytes", n);
		CALL(send(s.other, "abcdef", 6, 0), "raw filter %s, send", n);
		await(s.fd, POLLIN);
		line(message(s.fd, 9, 0, 0), "raw filter %s, cut", n);
	}
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_LOCK_FILTER, &(int){1}, sizeof(int)),
	    "raw filter %s, lock", n);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_LOCK_FILTER, &(int){0}, sizeof(int)),
	    "raw filter %s, unlock", n);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int)),
	    "raw filter %s, detach", n);
	CALL(setsockopt(s.fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)), "raw filter %s, attach",
	    n);
	unmake(&s);
}

static const char *stamp(int fd, unsigned long req)
{
	long t[2] = {0};

	return ioctl(fd, req, t) ? said(-1) : t[0] ? "a time" : "no time";
}

static void stamps(enum state st)
{
	const char *n = state_name[st];
	struct subject s = make(st);

	line(stamp(s.fd, SIOCGSTAMP_OLD), "raw SIOCGSTAMP %s, nothing read", n);
	line(stamp(s.fd, SIOCGSTAMPNS_OLD), "raw SIOCGSTAMPNS %s, nothing read", n);
	CALL(recv(s.fd, (char[9]){0}, 9, MSG_DONTWAIT), "raw SIOCGSTAMP %s read", n);
	CALL(send(s.other, "x", 1, 0), "raw SIOCGSTAMP %s send", n);
	await(s.fd, POLLIN);
	CALL(recv(s.fd, (char[9]){0}, 9, MSG_DONTWAIT), "raw SIOCGSTAMP %s read", n);
	line(stamp(s.fd, SIOCGSTAMP_OLD), "raw SIOCGSTAMP %s", n);
	line(stamp(s.fd, SIOCGSTAMPNS_OLD), "raw SIOCGSTAMPNS %s", n);
	line(stamp(s.fd, SIOCGSTAMP_NEW), "raw SIOCGSTAMP_NEW %s", n);
	line(stamp(s.fd, SIOCGSTAMPNS_NEW), "raw SIOCGSTAMPNS_NEW %s", n);
	unmake(&s);
	s = make(st);
	on(s.fd, SOL_SOCKET, SO_TIMESTAMP);
	CALL(recv(s.fd, (char[9]){0}, 9, MSG_DONTWAIT), "raw SIOCGSTAMP %s read with its time", n);
	line(stamp(s.fd, SIOCGSTAMP_OLD), "raw SIOCGSTAMP %s, told with the data", n);
	for (unsigned bit = 1; bit && bit <= 1u << 20; bit <<= 1) {
		unsigned v = bit;
		socklen_t len = sizeof(v);

		CALL(setsockopt(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &v, len),
		    "raw SO_TIMESTAMPING %s %#x", n, bit);
		v = 0;
		CALL(getsockopt(s.fd, SOL_SOCKET, SO_TIMESTAMPING, &v, &len) ? -1 : (long)v,
		    "raw SO_TIMESTAMPING %s %#x, then", n, bit);
	}
	unmake(&s);
}

/* The smallest receive buffer takes one datagram, however long, when it is empty. */
static void small_buffer(void)
{
	struct subject s = make(DGRAM_CONNECTED);
	static char big[9000];
	int left = 0;

	CALL(setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &(int){0}, sizeof(int)), "raw SO_RCVBUF 0");
	CALL(send(s.other, big, sizeof(big), 0), "raw SO_RCVBUF 0, send 9000");
	await(s.fd, POLLIN);
	CALL(send(s.other, "second", 6, 0), "raw SO_RCVBUF 0, send 6");
	while (ioctl(s.other, SIOCOUTQ, &left) == 0 && left) /* before anything is read */
		;
	CALL(recv(s.fd, big, sizeof(big), MSG_DONTWAIT), "raw SO_RCVBUF 0, received");
	CALL(recv(s.fd, big, sizeof(big), MSG_DONTWAIT), "raw SO_RCVBUF 0, the second");
	for (int i = 0; i < 20; i++) {
		CALL(send(s.other, big, 2400, 0), "raw SO_RCVBUF 0, send 2400");
		CALL(recv(s.fd, big, sizeof(big), MSG_DONTWAIT),
		    "raw SO_RCVBUF 0, each is received");
	}
	unmake(&s);
}

static void interface(void)
{
	struct ifreq r = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;

#define IFACE(req)                                                                                 \
	memset(&r.ifr_addr, 0, sizeof(r.ifr_addr)), CALL(ioctl(fd, req, &r), "raw " #req),         \
	    CALL((long)ntohl(a->sin_addr.s_addr), "raw " #req " address"),                         \
	    CALL(a->sin_family, "raw " #req " family")
	IFACE(SIOCGIFADDR);
	IFACE(SIOCGIFNETMASK);
	IFACE(SIOCGIFBRDADDR);
	IFACE(SIOCGIFDSTADDR);
	close(fd);
}

/* Options of levels that these sockets have not. */
static void foreign_options(int family, int protocol, const char *name)
{
	static const struct {
		int level, name;
	} o[] = {{IPPROTO_IP, IP_PKTINFO}, {IPPROTO_IP, IP_RECVTTL}, {IPPROTO_IP, IP_RECVOPTS},
	    {SOL_UDP, UDP_CORK}, {SOL_UDP, UDP_GRO}};
	int fd = socket(family, SOCK_DGRAM, protocol);

	CALL(fd < 0 ? -1 : 0, "raw foreign %s", name);
	for (size_t i = 0; i < sizeof(o) / sizeof(o[0]); i++) {
		int v = 1;
		socklen_t len = sizeof(v);

		CALL(setsockopt(fd, o[i].level, o[i].name, &v, len), "raw foreign %s %d/%d set",
		    name, o[i].level, o[i].name);
		CALL(getsockopt(fd, o[i].level, o[i].name, &v, &len) ? -1 : v,
		    "raw foreign %s %d/%d get", name, o[i].level, o[i].name);
	}
	close(fd);
}

void do_raw(void)
{
	options_of(DGRAM_CONNECTED);
	options_of(DGRAM6_CONNECTED);
	echo(SOCK_DGRAM, "ping");
	echo(SOCK_RAW, "raw");
	shut(SHUT_RD, "SHUT_RD");
	shut(SHUT_WR, "SHUT_WR");
	headers();
	pings();
	router_alert();
	frames(SOCK_RAW, "raw");
	frames(SOCK_DGRAM, "dgram");
	filters(DGRAM_CONNECTED);
	filters(STREAM_CONNECTED);
	filters(STREAM_NEW);
	stamps(DGRAM_DATA);
	stamps(STREAM_DATA);
	small_buffer();
	interface();
	foreign_options(AF_PACKET, 0, "packet");
	foreign_options(AF_INET, IPPROTO_ICMP, "ping");
}
