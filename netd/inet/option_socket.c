/*
 * Options of SOL_SOCKET.
 *
 * SO_PRIORITY, SO_MARK, SO_BUSY_POLL, SO_INCOMING_CPU and SO_DEBUG are wishes to a kernel's queues, filters and processors
 * that netd has not: they are kept and told again, and change nothing.
 */
#include "inet/option.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BUF_FORCED    (64u << 20)
#define BUF_MIN_RCV   1152u /* half of the kernel's SOCK_MIN_RCVBUF, which counts doubled */
#define BUF_MIN_SND   2304u
#define IP_DEVICE_LEN 16

static uint32_t clamp(int v, uint32_t low, uint32_t high)
{
	uint32_t n = v < 0 ? 0 : (uint32_t)v;

	return n < low ? low : n > high ? high : n;
}

/* ---- buffers */

static int set_rcvbuf(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)sk;
	k->rcvbuf = clamp(v < 0 ? INT32_MAX : v, BUF_MIN_RCV, stack_rcvbuf_max(s));
	k->flags |= SOCK_F_RCVBUF_SET;
	return 0;
}

static int set_rcvbuf_force(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->rcvbuf = clamp(v, BUF_MIN_RCV, BUF_FORCED);
	k->flags |= SOCK_F_RCVBUF_SET;
	return 0;
}

static int set_sndbuf(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)sk;
	k->sndbuf = clamp(v < 0 ? INT32_MAX : v, BUF_MIN_SND, stack_sndbuf_max(s));
	k->flags |= SOCK_F_SNDBUF_SET;
	return 0;
}

static int set_sndbuf_force(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->sndbuf = clamp(v, BUF_MIN_SND, BUF_FORCED);
	k->flags |= SOCK_F_SNDBUF_SET;
	return 0;
}

/* Told doubled, as by the kernel, which counts its own overhead in. */
static int get_rcvbuf(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	if (k->flags & SOCK_F_RCVBUF_SET)
		return (int)k->rcvbuf * 2;
	return (int)(k->type == SOCK_STREAM ? max_of(k->rcvbuf, k->rx.cap) : k->rcvbuf);
}

static int get_sndbuf(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	if (k->flags & SOCK_F_SNDBUF_SET)
		return (int)k->sndbuf * 2;
	return (int)(k->type == SOCK_STREAM ? max_of(k->sndbuf, k->tx.cap) : k->sndbuf);
}

static int get_buf_lock(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return (k->flags & SOCK_F_SNDBUF_SET ? 1 : 0) | (k->flags & SOCK_F_RCVBUF_SET ? 2 : 0);
}

static int set_buf_lock(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	if (v & ~3)
		return -EINVAL;
	k->flags &= ~(uint32_t)(SOCK_F_SNDBUF_SET | SOCK_F_RCVBUF_SET);
	k->flags |= (v & 1 ? SOCK_F_SNDBUF_SET : 0u) | (v & 2 ? SOCK_F_RCVBUF_SET : 0u);
	return 0;
}

/* Bytes that make a socket readable; a stream's ring must be able to hold them. */
static int set_rcvlowat(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	uint32_t most = k->flags & SOCK_F_RCVBUF_SET ? k->rcvbuf : stack_rcvbuf_max(s) / 2;

	k->rcvlowat = v < 0 ? INT32_MAX : v ? (uint32_t)v : 1;
	if (k->type != SOCK_STREAM)
		return 0;
	k->rcvlowat = min_of(k->rcvlowat, most);
	if (k->rx.cap && k->rx.cap / 2 < k->rcvlowat)
		(void)sock_rx_ring(s, sk, 2 * k->rcvlowat, k->rx.base); /* without memory it tells when the ring is full */
	return 0;
}

static int get_rcvlowat(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return (int)k->rcvlowat;
}

static int get_sndlowat(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	(void)k;
	return 1;
}

/* ---- kept, and no more */

static int set_priority(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->priority = (uint32_t)v;
	return 0;
}

static int get_priority(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return (int)k->priority;
}

static int set_mark(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	k->mark = (uint32_t)v;
	return 0;
}

static int get_mark(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return (int)k->mark;
}

static int set_busy_poll(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	struct sockx_rec *x;

	(void)k;
	if (v < 0)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->busy_poll_us = (uint32_t)v;
	return 0;
}

static int get_busy_poll(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)k;
	return (int)sockx_peek(s, sk)->busy_poll_us;
}

static int set_cpu(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	struct sockx_rec *x = sockx_get(s, sk);

	(void)k;
	if (!x)
		return -ENOBUFS;
	x->flags |= SOCKX_CPU;
	x->incoming_cpu = v;
	return 0;
}

static int get_cpu(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	const struct sockx_rec *x = sockx_peek(s, sk);

	(void)k;
	return x->flags & SOCKX_CPU ? x->incoming_cpu : -1;
}

/* ---- facts */

static int get_type(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->type;
}

static int get_domain(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->family;
}

static int get_protocol(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->protocol;
}

static int get_acceptconn(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return !!(k->flags & SOCK_F_LISTEN);
}

/* For what is off here, and can only be told to stay so. */
static int get_nothing(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	(void)k;
	return 0;
}

static int set_nothing(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	return v ? -EOPNOTSUPP : 0;
}

/* SO_BSDCOMPAT: an old name that means nothing to any kernel. */
static int set_ignored(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	(void)v;
	return 0;
}

static int get_refused(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	(void)k;
	return -EOPNOTSUPP;
}

static int set_refused(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	(void)v;
	return -EOPNOTSUPP;
}

static int set_ifindex(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)sk;
	if (v < 0)
		return -EINVAL;
	if (v && !device_peek(s, (uint32_t)v - 1))
		return -ENODEV;
	k->bound_dev = v ? (uint32_t)v - 1 : NO_INDEX;
	return 0;
}

static int get_ifindex(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return k->bound_dev == NO_INDEX ? 0 : (int)k->bound_dev + 1;
}

static const struct option rows[] = {
    {.level = SOL_SOCKET, .name = SO_REUSEADDR, .flag = SOCK_F_REUSEADDR},
    {.level = SOL_SOCKET, .name = SO_REUSEPORT, .flag = SOCK_F_REUSEPORT},
    {.level = SOL_SOCKET, .name = SO_KEEPALIVE, .flag = SOCK_F_KEEPALIVE},
    {.level = SOL_SOCKET, .name = SO_BROADCAST, .flag = SOCK_F_BROADCAST},
    {.level = SOL_SOCKET, .name = SO_OOBINLINE, .flag = SOCK_F_OOBINLINE},
    {.level = SOL_SOCKET, .name = SO_TIMESTAMP, .flag = SOCK_F_TIMESTAMP},
    {.level = SOL_SOCKET, .name = SO_TIMESTAMPNS, .flag = SOCK_F_TIMESTAMP},
    {.level = SOL_SOCKET, .name = SO_TIMESTAMP_NEW, .flag = SOCK_F_TIMESTAMP},
    {.level = SOL_SOCKET, .name = SO_TIMESTAMPNS_NEW, .flag = SOCK_F_TIMESTAMP},
    {.level = SOL_SOCKET, .name = SO_TIMESTAMPING, .flag = SOCK_F_TIMESTAMP},
    {.level = SOL_SOCKET, .name = SO_DEBUG, .xflag = SOCKX_DEBUG},
    {.level = SOL_SOCKET, .name = SO_DONTROUTE, .xflag = SOCKX_DONTROUTE},
    {.level = SOL_SOCKET, .name = SO_NO_CHECK, .xflag = SOCKX_NO_CHECK},
    {.level = SOL_SOCKET, .name = SO_BSDCOMPAT, .set = set_ignored, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_RCVBUF, .set = set_rcvbuf, .get = get_rcvbuf},
    {.level = SOL_SOCKET, .name = SO_SNDBUF, .set = set_sndbuf, .get = get_sndbuf},
    {.level = SOL_SOCKET, .name = SO_RCVBUFFORCE, .access = SET_ONLY, .set = set_rcvbuf_force},
    {.level = SOL_SOCKET, .name = SO_SNDBUFFORCE, .access = SET_ONLY, .set = set_sndbuf_force},
    {.level = SOL_SOCKET, .name = SO_BUF_LOCK, .set = set_buf_lock, .get = get_buf_lock},
    {.level = SOL_SOCKET, .name = SO_RCVLOWAT, .set = set_rcvlowat, .get = get_rcvlowat},
    {.level = SOL_SOCKET, .name = SO_SNDLOWAT, .access = GET_ONLY, .get = get_sndlowat},
    {.level = SOL_SOCKET, .name = SO_PRIORITY, .set = set_priority, .get = get_priority},
    {.level = SOL_SOCKET, .name = SO_MARK, .set = set_mark, .get = get_mark},
    {.level = SOL_SOCKET, .name = SO_BUSY_POLL, .set = set_busy_poll, .get = get_busy_poll},
    {.level = SOL_SOCKET, .name = SO_INCOMING_CPU, .set = set_cpu, .get = get_cpu},
    {.level = SOL_SOCKET, .name = SO_INCOMING_NAPI_ID, .access = GET_ONLY, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_TYPE, .access = GET_ONLY, .get = get_type},
    {.level = SOL_SOCKET, .name = SO_DOMAIN, .access = GET_ONLY, .get = get_domain},
    {.level = SOL_SOCKET, .name = SO_PROTOCOL, .access = GET_ONLY, .get = get_protocol},
    {.level = SOL_SOCKET, .name = SO_ACCEPTCONN, .access = GET_ONLY, .get = get_acceptconn},
    {.level = SOL_SOCKET, .name = SO_BINDTOIFINDEX, .set = set_ifindex, .get = get_ifindex},
    {.level = SOL_SOCKET, .name = SO_ZEROCOPY, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_RXQ_OVFL, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_WIFI_STATUS, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_LOCK_FILTER, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_PREFER_BUSY_POLL, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_RESERVE_MEM, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_PEEK_OFF, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = SO_PASSCRED, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = SO_PASSSEC, .set = set_refused, .get = get_refused, .fails = true},
};

const struct option_table options_socket = {rows, ARRAY_SIZE(rows)};

/* ---- options that are no numbers */

static int set_linger(struct sock_rec *k, const void *val, uint32_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, val, sizeof(l));
	if (l.l_onoff) {
		k->flags |= SOCK_F_LINGER;
		k->linger_s = l.l_linger < 0 ? INT32_MAX : (uint32_t)l.l_linger;
	} else {
		k->flags &= ~(uint32_t)SOCK_F_LINGER;
	}
	return 0;
}

static int set_device(struct stack *s, struct sock_rec *k, const void *val, uint32_t len)
{
	char name[IP_DEVICE_LEN] = {0};
	int dev;

	memcpy(name, val, min_of(len, (uint32_t)sizeof(name) - 1));
	if (!name[0]) {
		k->bound_dev = NO_INDEX;
		return 0;
	}
	dev = device_find(s, name);
	if (dev < 0)
		return -ENODEV;
	k->bound_dev = (uint32_t)dev;
	return 0;
}

static int get_device(const struct stack *s, const struct sock_rec *k, void *val, uint32_t *len)
{
	const struct device_rec *d = k->bound_dev == NO_INDEX ? NULL : device_peek(s, k->bound_dev);
	char name[IP_DEVICE_LEN] = {0};

	if (!d) {
		*len = 0;
		return 0;
	}
	if (*len < sizeof(name))
		return -EINVAL;
	memcpy(name, d->name, sizeof(name) - 1);
	return option_give(val, len, name, (uint32_t)strlen(name) + 1);
}

static int get_linger(const struct sock_rec *k, void *val, uint32_t *len)
{
	struct linger l = {.l_onoff = !!(k->flags & SOCK_F_LINGER), .l_linger = (int)k->linger_s};

	return option_give(val, len, &l, sizeof(l));
}

static int get_cookie(const struct stack *s, uint32_t sk, void *val, uint32_t *len)
{
	uint64_t cookie = ((uint64_t)state_generation(s->state, KIND_SOCK, sk) << 32 | sk) + 1;

	return *len < sizeof(cookie) ? -EINVAL : option_give(val, len, &cookie, sizeof(cookie));
}

static int get_meminfo(struct stack *s, uint32_t sk, const struct sock_rec *k, void *val, uint32_t *len)
{
	const struct sock_ops *ops = sock_ops_of(s, k);
	uint32_t mem[SK_MEMINFO_VARS] = {0};
	uint64_t from = 0, to = 0;

	ops->live_range(s, sk, true, &from, &to);
	mem[SK_MEMINFO_RMEM_ALLOC] = (uint32_t)(to - from);
	ops->live_range(s, sk, false, &from, &to);
	mem[SK_MEMINFO_WMEM_ALLOC] = mem[SK_MEMINFO_WMEM_QUEUED] = (uint32_t)(to - from);
	mem[SK_MEMINFO_RCVBUF] = (uint32_t)get_rcvbuf(s, sk, k);
	mem[SK_MEMINFO_SNDBUF] = (uint32_t)get_sndbuf(s, sk, k);
	mem[SK_MEMINFO_DROPS] = k->type == SOCK_STREAM ? 0 : (uint32_t)k->drops;
	return option_give(val, len, mem, sizeof(mem));
}

/* The peer's process is not known: it may be anywhere. */
static int get_peercred(void *val, uint32_t *len)
{
	struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

	return option_give(val, len, &nobody, sizeof(nobody));
}

int socket_set_struct(struct stack *s, uint32_t sk, struct sock_rec *k, int name, const void *val, uint32_t len)
{
	(void)sk;
	switch (name) {
	case SO_BINDTODEVICE:
		return set_device(s, k, val, len);
	case SO_LINGER:
		return len < sizeof(int) ? -EINVAL : set_linger(k, val, len);
	case SO_DETACH_FILTER:
		return len < sizeof(int) ? -EINVAL : -ENOENT; /* as where none was attached */
	default:
		return 1;
	}
}

int socket_get_struct(struct stack *s, uint32_t sk, const struct sock_rec *k, int name, void *val, uint32_t *len)
{
	uint64_t unlimited = UINT64_MAX;

	switch (name) {
	case SO_BINDTODEVICE:
		return get_device(s, k, val, len);
	case SO_LINGER:
		return get_linger(k, val, len);
	case SO_COOKIE:
		return get_cookie(s, sk, val, len);
	case SO_MEMINFO:
		return get_meminfo(s, sk, k, val, len);
	case SO_PEERCRED:
		return get_peercred(val, len);
	case SO_PEERGROUPS:
		return -ENODATA;
	case SO_MAX_PACING_RATE:
		return option_give(val, len, &unlimited, *len >= sizeof(unlimited) ? sizeof(unlimited) : sizeof(uint32_t));
	default:
		return 1;
	}
}
