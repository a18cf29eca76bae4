/*
 * Options of SOL_SOCKET.
 *
 * SO_PRIORITY, SO_MARK, SO_BUSY_POLL and its kin, SO_INCOMING_CPU, SO_TXREHASH, SO_CNX_ADVICE, SO_NOFCS
 * and SO_DEBUG are wishes to a kernel's queues, filters, processors and paths that netd has not: they
 * are kept and told again, and change nothing.
 */
#include "inet/option.h"
#include "inet/raw.h"
#include "base/util.h"
#include "device/device.h"
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Which this system's headers may not have yet. */
#define TXREHASH   74
#define PASSPIDFD  76
#define PASSRIGHTS 83

#define BUF_FORCED  (64u << 20)
#define BUF_MIN_RCV 1152u /* half of the kernel's SOCK_MIN_RCVBUF, which counts doubled */
#define BUF_MIN_SND 2304u

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
	k->sndbuf = clamp(v < 0 ? INT32_MAX : v, BUF_MIN_SND, stack_sndbuf_max(s));
	k->flags |= SOCK_F_SNDBUF_SET;
	sock_changed(s, sk);
	return 0;
}

static int set_sndbuf_force(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	k->sndbuf = clamp(v, BUF_MIN_SND, BUF_FORCED);
	k->flags |= SOCK_F_SNDBUF_SET;
	sock_changed(s, sk);
	return 0;
}

int socket_get_rcvbuf(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	if (k->flags & SOCK_F_RCVBUF_SET)
		return (int)k->rcvbuf * 2;
	return (int)(k->type == SOCK_STREAM ? max_of(k->rcvbuf, k->rx.cap) : k->rcvbuf);
}

/* A connected stream's, if nobody set it, grows as it is written into: what is told is what it grows to. */
int socket_get_sndbuf(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)sk;
	if (k->flags & SOCK_F_SNDBUF_SET)
		return (int)k->sndbuf * 2;
	if (k->type != SOCK_STREAM || !k->tx.cap)
		return (int)k->sndbuf;
	return (int)max_of(k->tx.cap, min_of(CM_STREAM_TX_MOST, round_up_pow2(stack_sndbuf_max(s))));
}

static int get_buf_lock(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	return (k->flags & SOCK_F_SNDBUF_SET ? 1 : 0) | (k->flags & SOCK_F_RCVBUF_SET ? 2 : 0);
}

static int set_buf_lock(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	if (v & ~3)
		return -EINVAL;
	k->flags &= ~(uint32_t)(SOCK_F_SNDBUF_SET | SOCK_F_RCVBUF_SET);
	k->flags |= (v & 1 ? SOCK_F_SNDBUF_SET : 0u) | (v & 2 ? SOCK_F_RCVBUF_SET : 0u);
	sock_changed(s, sk);
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
		(void)sock_rx_ring(s, sk, 2 * k->rcvlowat,
		    k->rx.base); /* without memory it tells when the ring is full */
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

static int set_budget(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	return v < 0 || v > UINT16_MAX ? -EINVAL : 0;
}

/* -1: as at first. */
static int set_rehash(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	struct sockx_rec *x;

	if (k->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	if (v < -1 || v > 1)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->flags = v ? x->flags & ~(uint32_t)SOCKX_NO_REHASH : x->flags | SOCKX_NO_REHASH;
	return 0;
}

static int get_rehash(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	if (k->type != SOCK_STREAM)
		return -EOPNOTSUPP;
	return !(sockx_peek(s, sk)->flags & SOCKX_NO_REHASH);
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

/* Not of raw and packet sockets, as in the kernel. */
static int set_zerocopy(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	struct sockx_rec *x;

	if (k->type != SOCK_STREAM && k->protocol != IPPROTO_UDP)
		return -EOPNOTSUPP;
	if (v & ~1)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->flags = v ? x->flags | SOCKX_ZEROCOPY : x->flags & ~(uint32_t)SOCKX_ZEROCOPY;
	return 0;
}

static int get_zerocopy(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)k;
	return !!(sockx_peek(s, sk)->flags & SOCKX_ZEROCOPY);
}

/* Streams have no filter to lock. */
static int get_lock_filter(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	const struct raw_rec *r = raw_peek(s, k);

	(void)sk;
	return r && r->filter_locked;
}

/* All the kernel's extensions are known to filters here (wire/bpf.c). */
static int get_bpf_extensions(struct stack *s, uint32_t sk, const struct sock_rec *k)
{
	(void)s;
	(void)sk;
	(void)k;
	return SKF_AD_MAX;
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

/* There is no accounting of groups of processes to reserve in, as on a kernel without. */
static int set_reserve(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	(void)s;
	(void)sk;
	(void)k;
	return v < 0 ? -EINVAL : -EOPNOTSUPP;
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

/* clang-format off */
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
    {.level = SOL_SOCKET, .name = SO_RCVBUF, .set = set_rcvbuf, .get = socket_get_rcvbuf},
    {.level = SOL_SOCKET, .name = SO_SNDBUF, .set = set_sndbuf, .get = socket_get_sndbuf},
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
    {.level = SOL_SOCKET, .name = SO_ZEROCOPY, .set = set_zerocopy, .get = get_zerocopy},
    {.level = SOL_SOCKET, .name = SO_RXQ_OVFL, .xflag = SOCKX_RXQ_OVFL},
    {.level = SOL_SOCKET, .name = SO_BPF_EXTENSIONS, .access = GET_ONLY, .get = get_bpf_extensions},
    {.level = SOL_SOCKET, .name = SO_WIFI_STATUS, .set = set_nothing, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_LOCK_FILTER, .set = set_nothing, .get = get_lock_filter},
    {.level = SOL_SOCKET, .name = SO_PREFER_BUSY_POLL, .xflag = SOCKX_PREFER_BUSY_POLL},
    {.level = SOL_SOCKET, .name = SO_BUSY_POLL_BUDGET, .access = SET_ONLY, .set = set_budget},
    {.level = SOL_SOCKET, .name = TXREHASH, .set = set_rehash, .get = get_rehash, .fails = true},
    {.level = SOL_SOCKET, .name = SO_CNX_ADVICE, .access = SET_ONLY, .set = set_ignored},
    {.level = SOL_SOCKET, .name = SO_NOFCS, .xflag = SOCKX_NOFCS},
    {.level = SOL_SOCKET, .name = SO_RESERVE_MEM, .set = set_reserve, .get = get_nothing},
    {.level = SOL_SOCKET, .name = SO_PEEK_OFF, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = SO_PASSCRED, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = SO_PASSSEC, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = PASSPIDFD, .set = set_refused, .get = get_refused, .fails = true},
    {.level = SOL_SOCKET, .name = PASSRIGHTS, .set = set_refused, .get = get_refused, .fails = true},
};
/* clang-format on */

const struct option_table options_socket = {rows, ARRAY_SIZE(rows)};
