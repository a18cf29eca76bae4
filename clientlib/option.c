/*
 * Socket options and ioctls.
 *
 * What concerns only this process (time-outs, which control messages come along) stays here; what
 * the slot tells (type, error, TCP_INFO) is read there; the rest is asked. Options that cannot fail
 * are set without waiting for the answer: the ring keeps their order.
 */
#include "clientlib/session.h"
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#define DGRAM_TX_MIN  (256u << 10) /* room for the largest datagram and filler */
#define STREAM_TX_MIN (4u << 10)
#define TX_MAX_LIMIT  (64u << 20)

static int copy_out(void *val, socklen_t *len, const void *from, size_t n)
{
	if ((int)*len < 0)
		return -EINVAL;
	if (*len > n)
		*len = (socklen_t)n;
	memcpy(val, from, *len);
	return 0;
}

static void fill_tcp_info(struct nsock *s, struct tcp_info *t)
{
	const struct cm_slot *sl = s->sl;
	uint32_t mss = load_once(&sl->mss);

	memset(t, 0, sizeof(*t));
	t->tcpi_state = load_once(&sl->tcp_state);
	t->tcpi_rtt = load_once(&sl->rtt_us);
	t->tcpi_rttvar = load_once(&sl->rttvar_us);
	t->tcpi_rto =
	    t->tcpi_rtt + 4 * t->tcpi_rttvar < 200000 ? 200000 : t->tcpi_rtt + 4 * t->tcpi_rttvar;
	t->tcpi_snd_mss = t->tcpi_rcv_mss = t->tcpi_advmss = mss;
	t->tcpi_pmtu = mss ? mss + 40 : 0;
	t->tcpi_snd_cwnd = mss ? load_once(&sl->cwnd) / mss : load_once(&sl->cwnd);
	t->tcpi_snd_ssthresh = load_once(&sl->ssthresh);
	if (mss && t->tcpi_snd_ssthresh < 0x7fffffff)
		t->tcpi_snd_ssthresh /= mss;
	t->tcpi_total_retrans = load_once(&sl->retransmits);
	t->tcpi_unacked =
	    mss ? (uint32_t)((load_once(&sl->tx_tail) - load_once(&sl->tx_head)) / mss) : 0;
	t->tcpi_bytes_acked = load_once(&sl->tx_head);
	t->tcpi_bytes_received = load_once(&sl->rx_tail);
}

static int get_time(void *val, socklen_t *len, uint64_t ns)
{
	struct timeval tv = {
	    .tv_sec = (time_t)(ns / 1000000000), .tv_usec = (suseconds_t)(ns % 1000000000 / 1000)};

	return copy_out(val, len, &tv, sizeof(tv));
}

static int get_local(struct nsock *s, int name, void *val, socklen_t *len)
{
	int v;

	switch (name) {
	case SO_TYPE:
		v = s->type;
		break;
	case SO_DOMAIN:
		v = s->family;
		break;
	case SO_PROTOCOL:
		v = s->protocol;
		break;
	case SO_ERROR:
		v = -sock_take_error(s);
		break;
	case SO_ACCEPTCONN:
		v = ns_listening(s);
		break;
	case SO_RCVLOWAT:
		v = (int)s->d->rcvlowat;
		break;
	case SO_SNDLOWAT:
		v = 1;
		break;
	case SO_RCVTIMEO:
		return get_time(val, len, s->d->rcvtimeo);
	case SO_SNDTIMEO:
		return get_time(val, len, s->d->sndtimeo);
	default:
		return -ENOPROTOOPT;
	}
	return copy_out(val, len, &v, sizeof(v));
}

int ns_getsockopt(struct nsock *s, int level, int name, void *val, socklen_t *len)
{
	struct cm_sqe e = {.op = CM_GETSOCKOPT, .slot = s->slot, .arg = {level, name, 0}};
	struct cm_cqe c;
	int v, ret = sock_settle(s);

	if (ret < 0)
		return ret;
	if (level == SOL_SOCKET) {
		ret = get_local(s, name, val, len);
		if (ret != -ENOPROTOOPT)
			return ret;
	}
	if (level == IPPROTO_TCP && name == TCP_INFO && s->type == SOCK_STREAM) {
		struct tcp_info t;

		fill_tcp_info(s, &t);
		return copy_out(val, len, &t, sizeof(t));
	}
	if (cmsg_option(s, level, name, false, &v) == 0)
		return copy_out(val, len, &v, sizeof(v));
	if ((int)*len < 0)
		return -EINVAL;
	e.arg[2] = (int32_t)(*len < sizeof(c.data) ? *len : sizeof(c.data));
	ret = request_wait(s->ss, &e, &c);
	if (ret < 0)
		return ret;
	return copy_out(val, len, c.data, c.arg < sizeof(c.data) ? c.arg : sizeof(c.data));
}

static int set_time(uint64_t *to, const void *val, socklen_t len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, val, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	/* The kernel's: a negative time is "do not wait at all", as short as can be here. */
	*to = tv.tv_sec < 0 ? 1
	      : tv.tv_sec > 4000000000
		  ? 0
		  : (uint64_t)tv.tv_sec * 1000000000ull + (uint64_t)tv.tv_usec * 1000;
	return 0;
}

/*
 * How far the transmit ring may grow when the application has said how much it wants to be
 * buffered.
 */
static void limit_tx(struct nsock *s, int wanted)
{
	uint32_t least = s->type == SOCK_STREAM ? STREAM_TX_MIN : DGRAM_TX_MIN;
	uint32_t cap = least;

	while (cap < TX_MAX_LIMIT && wanted > 0 && cap < 2ull * (uint32_t)wanted)
		cap *= 2;
	store_once(&s->d->tx_max, cap);
}

/* Options that the daemon always accepts on a stream socket. */
static bool cannot_fail(const struct nsock *s, int level, int name, socklen_t len)
{
	if (s->type != SOCK_STREAM || len < sizeof(int))
		return false;
	if (level == SOL_SOCKET)
		return name == SO_REUSEADDR || name == SO_REUSEPORT || name == SO_KEEPALIVE;
	return level == IPPROTO_TCP &&
	       (name == TCP_NODELAY || name == TCP_CORK || name == TCP_QUICKACK);
}

int ns_setsockopt(struct nsock *s, int level, int name, const void *val, socklen_t len)
{
	struct cm_sqe e = {
	    .op = CM_SETSOCKOPT, .slot = s->slot, .arg = {level, name, (int32_t)len}};
	int v = 0, ret = sock_check(s);

	if (ret < 0)
		return ret;
	if ((int)len < 0 || len > sizeof(e.data) || (len && !val))
		return -EINVAL;
	if (len)
		memcpy(e.data, val, len);
	memcpy(&v, e.data, sizeof(v));
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_RCVTIMEO:
			return set_time(&s->d->rcvtimeo, val, len);
		case SO_SNDTIMEO:
			return set_time(&s->d->sndtimeo, val, len);
		case SO_TYPE:
		case SO_DOMAIN:
		case SO_PROTOCOL:
		case SO_ERROR:
		case SO_ACCEPTCONN:
		case SO_SNDLOWAT:
			return -ENOPROTOOPT;
		case SO_RCVLOWAT:
			if (len < sizeof(v))
				return -EINVAL;
			s->d->rcvlowat = v < 0 ? INT32_MAX : v ? (uint32_t)v : 1;
			return 0;
		case SO_SNDBUF:
			if (len >= sizeof(v))
				limit_tx(s, v);
			break;
		}
	}
	if (cmsg_option(s, level, name, true, &v) == 0)
		return len ? 0 : -EINVAL;
	if (cannot_fail(s, level, name, len))
		return request_async(s->ss, &e, REQ_IGNORED, NULL);
	return request_wait(s->ss, &e, NULL);
}

/* ---- ioctl */

static int readable_bytes(struct nsock *s)
{
	const uint8_t *data;
	struct cm_dgram d;
	uint64_t n = 0;
	int ret;

	if (ns_listening(s))
		return -EINVAL;
	side_lock(s, true);
	if (s->type == SOCK_STREAM) {
		ret = rx_avail(s, &n);
	} else {
		ret = dgram_head(s, &d, &data);
		n = ret > 0 ? d.len : 0;
	}
	side_unlock(s, true);
	return ret < 0 ? ret : (int)n;
}

static int unsent_bytes(struct nsock *s)
{
	uint64_t room = 0;
	int ret;

	if (ns_listening(s))
		return -EINVAL;
	side_lock(s, false);
	ret = tx_room(s, &room);
	if (ret == 0)
		ret = (int)(s->tx.place.cap - room);
	side_unlock(s, false);
	return ret;
}

int ns_ioctl(struct nsock *s, unsigned long req, void *arg)
{
	int v, ret = sock_check(s);

	if (ret < 0)
		return ret;
	switch (req) {
	case FIONREAD:
		v = readable_bytes(s);
		break;
	case SIOCOUTQ:
		v = unsent_bytes(s);
		break;
	case SIOCATMARK:
		v = 0;
		break;
	case FIONBIO:
		memcpy(&v, arg, sizeof(v));
		ns_set_nonblock(s, v != 0);
		return 0;
	default:
		return -ENOTTY;
	}
	if (v < 0)
		return v;
	memcpy(arg, &v, sizeof(v));
	return 0;
}
