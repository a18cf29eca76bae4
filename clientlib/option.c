/*
 * Socket options and ioctls.
 *
 * What concerns only this process (time-outs, which control messages come along) stays here; what
 * the slot tells (type, error, TCP_INFO) is read there; the rest is asked. Options that cannot fail
 * are set without waiting for the answer: the ring keeps their order.
 */
#include "clientlib/cmsg.h"
#include "clientlib/link.h"
#include "clientlib/usermem.h"
#include <linux/in6.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#define VALUE_MAX 4096 /* no option's value is longer */

static int copy_out(void *val, socklen_t *len, const void *from, size_t n)
{
	if ((int)*len < 0)
		return -EINVAL;
	if (*len > n)
		*len = (socklen_t)n;
	return copy_to_user(val, from, *len);
}

/* A number of IPPROTO_IP may be asked for in a single byte. */
static int copy_out_small(int level, void *val, socklen_t *len, int v)
{
	uint8_t byte = (uint8_t)v;

	if (level == IPPROTO_IP && *len && *len < sizeof(v))
		return copy_out(val, len, &byte, 1);
	return copy_out(val, len, &v, sizeof(v));
}

static int get_time(void *val, socklen_t *len, uint64_t ns)
{
	struct timeval tv = {
	    .tv_sec = (time_t)(ns / 1000000000), .tv_usec = (suseconds_t)(ns % 1000000000 / 1000)};

	return copy_out(val, len, &tv, sizeof(tv));
}

/* getpeername() under another name; it wants the room to be exact. */
static int get_peername(struct nsock *s, void *val, socklen_t *len)
{
	struct sockaddr_storage name;
	socklen_t room = sizeof(name);
	int ret = ns_getname(s, true, (struct sockaddr *)&name, &room);

	if (ret < 0)
		return ret;
	return (int)*len < 0 || room < *len ? -EINVAL : copy_out(val, len, &name, *len);
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
	case SO_SNDLOWAT:
		v = 1;
		break;
	case SO_PEEK_OFF:
		if (!takes_peek_off(s))
			return -ENOPROTOOPT; /* the daemon refuses it */
		v = ~load_once(&s->d->peek_not);
		break;
	case SO_RCVTIMEO_OLD:
	case SO_RCVTIMEO_NEW:
		return get_time(val, len, s->d->rcvtimeo);
	case SO_SNDTIMEO_OLD:
	case SO_SNDTIMEO_NEW:
		return get_time(val, len, s->d->sndtimeo);
	case SO_TIMESTAMPING:
		return copy_out(val, len, (uint32_t[2]){s->d->stamping, 0}, 2 * sizeof(uint32_t));
	case SO_PEERNAME:
		return get_peername(s, val, len);
	default:
		return -ENOPROTOOPT;
	}
	return copy_out(val, len, &v, sizeof(v));
}

/* The daemon's answer, in as many parts as it takes. */
static int get_asked(struct nsock *s, int level, int name, void *val, socklen_t *len)
{
	int32_t room = *len < VALUE_MAX ? (int32_t)*len : VALUE_MAX;
	struct cm_sqe e = {.op = CM_GETSOCKOPT, .slot = s->slot, .arg = {level, name, room}};
	socklen_t done = 0, n;
	struct cm_cqe c;

	do {
		int ret;

		e.part = done;
		ret = request_wait(s->ss, &e, &c);
		if (ret < 0)
			return ret;
		n = c.arg < sizeof(c.data) ? c.arg : sizeof(c.data);
		n = n < *len - done ? n : *len - done;
		if (copy_to_user((char *)val + done, c.data, n) < 0)
			return -EFAULT;
		done += n;
	} while (n && c.arg > sizeof(c.data) && done < *len);
	*len = done;
	return 0;
}

static int get_group(struct nsock *s, int name, void *val, socklen_t *len)
{
	struct cm_sqe e = {.op = CM_GETSOCKOPT, .slot = s->slot, .arg = {IPPROTO_IP, name, 0}};
	struct cm_group g;
	struct cm_cqe c;
	int ret = user_writable(val, *len) ? group_question(name, val, *len, &g) : -EFAULT;

	if (ret < 0)
		return ret;
	e.arg[2] = sizeof(g);
	memcpy(e.data, &g, sizeof(g));
	ret = request_wait(s->ss, &e, &c);
	if (ret < 0)
		return ret;
	memcpy(&g, c.data, sizeof(g));
	if (c.arg != sizeof(g) || g.sources > CM_GROUP_SOURCES)
		return -EPROTO;
	group_answer(name, &g, val, len);
	return 0;
}

/* A negative length: the kernel's IPv6 takes it as a large one, others refuse it, but only where they know the level. */
static bool level_known(const struct nsock *s, int level)
{
	return level == SOL_SOCKET || level == IPPROTO_IP || level == s->protocol ||
	       (level == IPPROTO_IPV6 && s->family == AF_INET6);
}

int ns_getsockopt(struct nsock *s, int level, int name, void *val, socklen_t *len)
{
	int v, ret = sock_settle(s);

	if (ret == 0 && !user_writable(len, sizeof(*len)))
		ret = -EFAULT;
	if (ret < 0)
		return ret;
	if ((int)*len < 0 && level == IPPROTO_IPV6)
		*len = VALUE_MAX;
	else if ((int)*len < 0 && level_known(s, level))
		return -EINVAL;
	if (level == SOL_SOCKET) {
		ret = get_local(s, name, val, len);
		if (ret != -ENOPROTOOPT)
			return ret;
	}
	if (level == SOL_PACKET && s->family == AF_PACKET) {
		ret = tpacket_getsockopt(s, name, val, len);
		if (ret != -ENOPROTOOPT)
			return ret;
	}
	if (level == SOL_UDP && name == UDP_CORK && is_udp(s)) {
		v = load_once(&s->d->cork);
		return copy_out(val, len, &v, sizeof(v));
	}
	if (cmsg_option(s, level, name, false, &v) >= 0)
		return copy_out_small(level, val, len, v);
	return group_option(level, name) ? get_group(s, name, val, len)
					 : get_asked(s, level, name, val, len);
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

/* Where MSG_PEEK begins. */
static int set_peek_off(struct nsock *s, const void *val, socklen_t len)
{
	int v;

	if (!takes_peek_off(s))
		return 1;
	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	store_once(&s->d->peek_not, ~v);
	return 0;
}

/* What stays here altogether, or cannot be set: 1 if it is the daemon's. */
static int set_local(struct nsock *s, int name, const void *val, socklen_t len)
{
	switch (name) {
	case SO_RCVTIMEO_OLD:
	case SO_RCVTIMEO_NEW:
		return set_time(&s->d->rcvtimeo, val, len);
	case SO_SNDTIMEO_OLD:
	case SO_SNDTIMEO_NEW:
		return set_time(&s->d->sndtimeo, val, len);
	case SO_PEEK_OFF:
		return set_peek_off(s, val, len);
	case SO_TYPE:
	case SO_DOMAIN:
	case SO_PROTOCOL:
	case SO_ERROR:
	case SO_ACCEPTCONN:
	case SO_SNDLOWAT:
		return len < sizeof(int) ? -EINVAL : -ENOPROTOOPT;
	default:
		return 1;
	}
}

/* The daemon has accepted it: what of it matters here, too? */
static void note_option(struct nsock *s, int level, int name, const void *val, socklen_t len)
{
	struct linger l = {.l_onoff = 0};
	int v = 0;

	memcpy(&v, val, len < sizeof(v) ? len : sizeof(v));
	if (level == SOL_SOCKET && name == SO_RCVLOWAT) {
		if (get_asked(s, level, name, &v, &(socklen_t){sizeof(v)}) ==
		    0) /* it has a limit */
			store_once(&s->d->rcvlowat, (uint32_t)v);
	} else if (level == SOL_SOCKET && name == SO_LINGER) {
		memcpy(&l, val, sizeof(l) < len ? sizeof(l) : len);
		store_once(&s->d->linger,
		    l.l_onoff ? (uint32_t)(l.l_linger < 0 ? INT32_MAX : l.l_linger) + 1u : 0u);
	} else if (level == SOL_UDP && name == UDP_SEGMENT) {
		store_once(&s->d->segment, (uint32_t)v);
	} else if ((level == IPPROTO_IP && name == IP_MTU_DISCOVER) ||
		   (level == IPPROTO_IPV6 && name == IPV6_MTU_DISCOVER)) {
		store_once(&s->d->no_fragments, v >= IP_PMTUDISC_DO && v != IP_PMTUDISC_OMIT);
	}
}

static int set_cork(struct nsock *s, const void *val, socklen_t len)
{
	int v;

	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	store_once(&s->d->cork, v != 0);
	return v ? 0 : dgram_uncork(s);
}

static int set_group(struct nsock *s, int name, const void *val, socklen_t len)
{
	struct cm_sqe e = {.op = CM_SETSOCKOPT,
	    .slot = s->slot,
	    .arg = {IPPROTO_IP, name, sizeof(struct cm_group)}};
	struct cm_group g;
	int ret = group_read(s, name, val, len, &g);

	if (ret < 0)
		return ret;
	memcpy(e.data, &g, sizeof(g));
	return request_wait(s->ss, &e, NULL);
}

/* What became of root's capabilities the daemon cannot see: it asks the user. */
static int option_allowed(struct nsock *s, int level, int name, int value)
{
	uint32_t rights = cm_option_rights(level, name, value);

	return rights ? session_may(s->ss, rights, cm_option_error(level, name)) : 0;
}

int ns_setsockopt(struct nsock *s, int level, int name, const void *val, socklen_t len)
{
	struct cm_sqe e = {
	    .op = CM_SETSOCKOPT, .slot = s->slot, .arg = {level, name, (int32_t)len}};
	int v = 0, ret = sock_check(s);

	if (ret < 0)
		return ret;
	if ((int)len < 0)
		return -EINVAL;
	if (group_option(level, name) && s->family != AF_PACKET)
		return user_readable(val, len) ? set_group(s, name, val, len) : -EFAULT;
	if (len > sizeof(e.data))
		return -EINVAL;
	if (copy_from_user(e.data, val, len) < 0)
		return -EFAULT;
	memcpy(&v, e.data, sizeof(v));
	if (level == SOL_SOCKET && s->type != SOCK_STREAM) {
		if (name == SO_ATTACH_FILTER)
			return filter_attach(s, val, len);
		if (name == SO_DETACH_FILTER)
			return len < sizeof(v) ? -EINVAL : filter_detach(s);
	}
	if (level == SOL_SOCKET && (ret = set_local(s, name, val, len)) <= 0)
		return ret;
	if (level == SOL_UDP && name == UDP_CORK && is_udp(s))
		return set_cork(s, val, len);
	if (level == SOL_SOCKET && name == SO_TIMESTAMPING && (ret = stamping_set(s, val, len)) < 0)
		return ret;
	if (level == SOL_PACKET && s->family == AF_PACKET) {
		ret = tpacket_setsockopt(s, name, val, len);
		if (ret != -ENOPROTOOPT)
			return ret;
	}
	if ((ret = option_allowed(s, level, name, v)) < 0)
		return ret;
	known_forget(s);
	ret = cmsg_check(s, level, name, val, len);
	if (ret <= 0)
		return ret;
	if (cannot_fail(s, level, name, len))
		return request_async(s->ss, &e, REQ_IGNORED, NULL);
	ret = request_wait(s->ss, &e, NULL);
	if (ret == 0)
		note_option(s, level, name, val, len);
	return ret;
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
		if (ret == 0)
			n = urgent_before(s, n);
	} else {
		ret = dgram_head(s, &d, &data);
		n = ret > 0 ? d.len : 0;
	}
	side_unlock(s, true);
	return ret < 0 ? ret : (int)n;
}

static int unsent_bytes(struct nsock *s)
{
	uint64_t used = 0;
	int ret;

	if (ns_listening(s))
		return -EINVAL;
	side_lock(s, false);
	ret = tx_used(s, &used);
	if (ret == 0)
		ret = (int)used;
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
		(void)ns_settle();
		v = readable_bytes(s);
		break;
	case SIOCOUTQ:
		v = unsent_bytes(s);
		break;
	case SIOCOUTQNSD:
		if (s->type != SOCK_STREAM)
			return -ENOTTY;
		v = ns_listening(s) ? -EINVAL : (int)tx_unsent(s);
		break;
	case SIOCATMARK:
		if (s->type != SOCK_STREAM)
			return -ENOTTY;
		v = urgent_at_mark(s);
		break;
	case SIOCGSTAMP_OLD:
	case SIOCGSTAMP_NEW:
	case SIOCGSTAMPNS_OLD:
	case SIOCGSTAMPNS_NEW:
		return cmsg_stamp(s, req == SIOCGSTAMPNS_OLD || req == SIOCGSTAMPNS_NEW, arg);
	case FIONBIO:
		ret = copy_from_user(&v, arg, sizeof(v));
		if (ret == 0)
			ns_set_nonblock(s, v != 0);
		return ret;
	default:
		return ns_iface_ioctl(req, arg);
	}
	return v < 0 ? v : copy_to_user(arg, &v, sizeof(v));
}
