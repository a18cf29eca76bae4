/*
 * Files of /proc/net, by which programs learn of interfaces, routes, neighbours and sockets (net-tools, nmap, monitors).
 *
 * The kernel opens such a file first, so that it says what is wrong with the path or the call. Then a file in memory with what
 * netd has, in the kernel's words, takes its place at the same number. It says what was so when it was opened. Without netd,
 * and in another network namespace, the kernel's stays.
 *
 * Paths are compared as they are written: /proc/net and /proc/self/net, from the root.
 */
#include "clientlib/own.h"
#include "clientlib/preload/netlink.h"
#include <linux/route.h>
#include <net/if_arp.h>
#include <netinet/tcp.h>
#include <linux/neighbour.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define TICK_US 10000 /* of the kernel's clock as programs see it */

/* ---- what the files say; each returns 0 or a negative errno */

static int interfaces(FILE *f, const char *name)
{
	struct ns_iface *v;
	int n = ns_ifaces(&v);

	(void)name;
	fputs("Inter-|   Receive                                                |  Transmit\n"
	      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
	      "errs drop fifo colls carrier compressed\n",
	    f);
	for (int i = 0; i < n; i++) {
		const struct ns_iface_count *rx = &v[i].rx, *tx = &v[i].tx;

		fprintf(f, "%6s: %7" PRIu64 " %7" PRIu64 " %4u %4" PRIu64 " %4u %5u %10u %9u",
		    v[i].name, rx->bytes, rx->frames, 0, rx->dropped, 0, 0, 0, 0);
		fprintf(f, " %8" PRIu64 " %7" PRIu64 " %4u %4" PRIu64 " %4u %5u %7u %10u\n",
		    tx->bytes, tx->frames, 0, tx->dropped, 0, 0, 0, 0);
	}
	free(v);
	return n < 0 ? n : 0;
}

static const char *name_of(const struct ns_iface *v, int n, uint32_t index)
{
	for (int i = 0; i < n; i++)
		if (v[i].index == index)
			return v[i].name;
	return "*";
}

/* A line as wide as all lines of its file. */
static __attribute__((format(printf, 3, 4))) void wide(FILE *f, int width, const char *format, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(f, "%-*s\n", width, line);
}

static int routes(FILE *f, const char *name)
{
	struct ns_iface *v;
	struct ns_route *t = NULL;
	int n = ns_ifaces(&v), count = n < 0 ? n : ns_routes(v, n, &t);

	(void)name;
	wide(f, 127,
	    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
	for (int i = 0; i < count; i++) {
		uint32_t mask = t[i].prefix ? ~0u << (32 - t[i].prefix) : 0;
		unsigned flags =
		    RTF_UP | (t[i].gateway ? RTF_GATEWAY : 0) | (t[i].prefix == 32 ? RTF_HOST : 0);

		wide(f, 127, "%s\t%08X\t%08X\t%04X\t%d\t%u\t%u\t%08X\t%d\t%u\t%u",
		    name_of(v, n, t[i].ifindex), htonl(t[i].dst), htonl(t[i].gateway), flags, 0, 0,
		    t[i].metric, htonl(mask), 0, 0, 0);
	}
	free(t);
	free(v);
	return count < 0 ? count : 0;
}

static unsigned arp_flags(uint16_t state)
{
	if (state & NUD_PERMANENT)
		return ATF_PERM | ATF_COM;
	return state & (NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY) ? ATF_COM : 0;
}

static int neighbours(FILE *f, const char *name)
{
	struct ns_iface *v;
	struct ns_neigh *t = NULL;
	int n = ns_ifaces(&v), count = n < 0 ? n : ns_neighs(v, n, &t);

	(void)name;
	fputs(
	    "IP address       HW type     Flags       HW address            Mask     Device\n", f);
	for (int i = 0; i < count; i++) {
		const uint8_t *a = (const uint8_t *)&(uint32_t){htonl(t[i].addr)}, *m = t[i].mac;
		char text[16];

		snprintf(text, sizeof(text), "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
		fprintf(f, "%-16s 0x%-10x0x%-10x%02x:%02x:%02x:%02x:%02x:%02x     *        %s\n",
		    text, ARPHRD_ETHER, arp_flags(t[i].state), m[0], m[1], m[2], m[3], m[4], m[5],
		    name_of(v, n, t[i].ifindex));
	}
	free(t);
	free(v);
	return count < 0 ? count : 0;
}

#define ADDRESSES  "local_address rem_address   "
#define ADDRESSES6 "local_address                         remote_address                        "
#define QUEUES	   "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"

struct end_text {
	char text[40];
};

/* An address's four words, but the last one of AF_INET, and the port. */
static struct end_text end_text(int family, const struct endpoint *e)
{
	struct end_text t;
	uint32_t w[4];

	memcpy(w, e->addr.b, sizeof(w));
	if (family == AF_INET6)
		snprintf(t.text, sizeof(t.text), "%08X%08X%08X%08X:%04X", w[0], w[1], w[2], w[3],
		    e->port);
	else
		snprintf(t.text, sizeof(t.text), "%08X:%04X", w[3], e->port);
	return t;
}

/* What lines of all kinds of sockets begin with. */
static void common(char *to, size_t room, const struct ns_sock_row *k)
{
	bool listens = k->state == TCP_LISTEN;

	snprintf(to, room, "%s %s %02X %08X:%08X %02X:%08lX %08X %5u %8d %d",
	    end_text(k->family, &k->local).text, end_text(k->family, &k->remote).text, k->state,
	    listens ? 0 : (unsigned)k->send_q, (unsigned)k->recv_q, 0, 0ul, 0, k->uid, 0, 0);
}

/* Those of AF_INET are filled up to `width`. */
static void stream_line(FILE *f, int width, int number, const struct ns_sock_row *k)
{
	char head[160];

	common(head, sizeof(head), k);
	if (k->state == TCP_TIME_WAIT)
		wide(f, width, "%4d: %s 1 %016x", number, head, 0);
	else if (k->state == TCP_LISTEN)
		wide(f, width, "%4d: %s 1 %016x 100 0 0 10 0", number, head, 0);
	else
		wide(f, width, "%4d: %s 1 %016x %u 0 0 %u %d", number, head, 0, k->rto_us / TICK_US,
		    k->cwnd, k->ssthresh ? k->ssthresh : -1);
}

static void socket_head(FILE *f, int width, const char *name)
{
	bool tcp = name[0] == 't';

	if (name[3] == '6')
		fprintf(f, "  sl  " ADDRESSES6 QUEUES "%s\n", tcp ? "" : " ref pointer drops");
	else
		wide(f, width, "%s" ADDRESSES QUEUES "%s", name[0] == 'u' ? "   sl  " : "  sl  ",
		    tcp ? "" : " ref pointer drops");
}

/* "tcp", "udp" or "raw", and the same with a 6. */
static int sockets(FILE *f, const char *name)
{
	bool tcp = name[0] == 't', udp = name[0] == 'u', v6 = name[3] == '6';
	int width = v6 ? 0 : tcp ? 149 : udp ? 127 : 0, digits = udp || v6 ? 5 : 4;
	struct ns_sock_row *v;
	int n = ns_socks(&v), number = 0;

	socket_head(f, width, name);
	for (int i = 0; i < n; i++) {
		char head[160];

		if (strncmp(v[i].proto, name, 3) != 0 || v[i].proto[3] ||
		    (v[i].family == AF_INET6) != v6 || (tcp && v[i].state == TCP_CLOSE))
			continue;
		if (tcp) {
			stream_line(f, width, number++, &v[i]);
			continue;
		}
		common(head, sizeof(head), &v[i]);
		wide(f, width, "%*d: %s 1 %016x 0", digits, number++, head, 0);
	}
	free(v);
	return n < 0 ? n : 0;
}

/* There is no IPv6 yet: what the kernel's say that has no addresses and routes of it. */
static int nothing(FILE *f, const char *name)
{
	(void)f;
	(void)name;
	return 0;
}

static const struct view {
	const char *name;
	int (*say)(FILE *f, const char *name);
} views[] = {{"dev", interfaces}, {"route", routes}, {"arp", neighbours}, {"tcp", sockets},
    {"udp", sockets}, {"raw", sockets}, {"if_inet6", nothing}, {"ipv6_route", nothing},
    {"tcp6", sockets}, {"udp6", sockets}, {"raw6", sockets}};

/* ---- opening */

static const struct view *view_of(const char *path)
{
	static const char *const folders[] = {"/proc/net/", "/proc/self/net/"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		size_t n = strlen(folders[i]);

		if (strncmp(path, folders[i], n) != 0)
			continue;
		for (size_t k = 0; k < sizeof(views) / sizeof(views[0]); k++)
			if (!strcmp(path + n, views[k].name))
				return &views[k];
	}
	return NULL;
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t ret = sys_write(fd, p, n);

		if (ret <= 0)
			return ret < 0 ? (int)ret : -EIO;
		p += ret;
		n -= (size_t)ret;
	}
	return 0;
}

/* The text as a file that can only be read: a descriptor of ours, or a negative errno. */
static int file_of(const char *text, size_t n)
{
	char self[32];
	int ret, fd = own_make(SYS_memfd_create, (long)"proc-net", MFD_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	ret = write_all(fd, text, n);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (ret == 0)
		ret = own_make(SYS_openat, AT_FDCWD, (long)self, O_RDONLY | O_CLOEXEC);
	sys_close(fd);
	return ret;
}

static int text_of(const struct view *w, char **text, size_t *n)
{
	FILE *f = open_memstream(text, n);
	int ret;

	if (!f)
		return -ENOMEM;
	ret = w->say(f, w->name);
	return fclose(f) == 0 ? ret : -ENOMEM;
}

static void replace(const struct view *w, int fd)
{
	char *text = NULL;
	size_t n = 0;
	int from = text_of(w, &text, &n) == 0 ? file_of(text, n) : -1, flags;

	free(text);
	if (from < 0)
		return;
	flags = sys_fcntl(fd, F_GETFD, 0);
	(void)sys_dup3(from, fd, flags > 0 && flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	sys_close(from);
}

/* What was opened at `fd`, for reading if `flags` say so; the path can be read, for the kernel has read it. */
static int opened(int fd, const char *path, int flags)
{
	const struct view *w = fd < 0 || flags & (O_ACCMODE | O_PATH) ? NULL : view_of(path);
	int saved = errno;

	if (w && ns_owner() && netlink_at_home() && ns_attach() == 0)
		replace(w, fd);
	errno = saved;
	return fd;
}

#define MODE(last, mode)                                                                           \
	do {                                                                                       \
		va_list ap_;                                                                       \
		va_start(ap_, last);                                                               \
		(mode) = va_arg(ap_, mode_t);                                                      \
		va_end(ap_);                                                                       \
	} while (0)

HOOK int open(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return opened(real.open(path, flags, mode), path, flags);
}

HOOK int open64(const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return opened(real.open64(path, flags, mode), path, flags);
}

HOOK int openat(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return opened(real.openat(at, path, flags, mode), path, flags);
}

HOOK int openat64(int at, const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return opened(real.openat64(at, path, flags, mode), path, flags);
}

HOOK int __open_2(const char *path, int flags)
{
	return opened(real.__open_2(path, flags), path, flags);
}

HOOK int __open64_2(const char *path, int flags)
{
	return opened(real.__open64_2(path, flags), path, flags);
}

HOOK int __openat_2(int at, const char *path, int flags)
{
	return opened(real.__openat_2(at, path, flags), path, flags);
}

HOOK int __openat64_2(int at, const char *path, int flags)
{
	return opened(real.__openat64_2(at, path, flags), path, flags);
}

static FILE *opened_stream(FILE *f, const char *path)
{
	if (f && view_of(path))
		(void)opened(fileno(f), path, real.fcntl(fileno(f), F_GETFL));
	return f;
}

HOOK FILE *fopen(const char *restrict path, const char *restrict mode)
{
	return opened_stream(real.fopen(path, mode), path);
}

HOOK FILE *fopen64(const char *restrict path, const char *restrict mode)
{
	return opened_stream(real.fopen64(path, mode), path);
}
