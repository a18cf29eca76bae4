/*
 * Options of IPPROTO_TCP, with the kernel's limits and errors. Other levels are the INET layer's;
 * of these SO_KEEPALIVE concerns a timer here.
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include "inet/sockx.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CA_NAME_MAX   16
#define KEEP_MAX_S    32767
#define KEEP_CNT_MAX  127
#define SYNCNT_MAX    127
#define MAXSEG_MAX    32767
#define LINGER2_MAX_S 120
#define FASTOPEN_QUEUE_MAX 4096 /* somaxconn */
#define CLAMP_MIN     1152 /* half of the kernel's SOCK_MIN_RCVBUF */
/* Names that this system's headers do not have yet */
#define TCP_IS_MPTCP	  43
#define TCP_RTO_MAX_MS	  44
#define TCP_RTO_MIN_US_	  45
#define TCP_DELACK_MAX_US 46
#define DEFER_STEP_MAX_S 120u /* of the kernel's retransmission timer */

static int set_flag(struct stack *s, uint32_t sk, uint32_t flag, bool on)
{
	struct sock_rec *k = sock_get(s, sk);

	if (!k)
		return -ENOMEM;
	k->flags = on ? k->flags | flag : k->flags & ~flag;
	/* What Nagle or the cork held back may go now. */
	if (tcb_peek(s, sk) && state_synchronized(tcb_peek(s, sk)->state))
		tcp_want_output(s, sk);
	return 0;
}

/* To switch it on sends what a cork holds back, too, now and this once; not what is written after. */
static int set_nodelay(struct stack *s, uint32_t sk, struct tcp_rec *t, bool on)
{
	int ret = set_flag(s, sk, SOCK_F_NODELAY, on);

	if (ret || !on || !state_synchronized(t->state) ||
	    !((sock_peek(s, sk)->flags & SOCK_F_CORK) || (t->flags & TCB_MORE)))
		return ret;
	t->flags |= TCB_FORCE;
	tcp_output(s, sk, t);
	t->flags &= ~(uint32_t)TCB_FORCE;
	return 0;
}

static int set_limited(uint32_t *to, int v, int low, int high)
{
	if (v < low || v > high)
		return -EINVAL;
	*to = (uint32_t)v;
	return 0;
}

static int set_congestion(struct stack *s, uint32_t sk, const void *val, uint32_t len)
{
	struct tcp_rec *t = tcb_get(s, sk);
	int cc = len ? congestion_find(val, min_of(len, (uint32_t)CA_NAME_MAX)) : -EINVAL;

	if (cc < 0)
		return cc;
	if (!t)
		return -ENOMEM;
	if (t->cc != cc) {
		t->cc = (uint8_t)cc;
		congestion_of(t)->reset(t);
	}
	return 0;
}

/* As the kernel: an even number acknowledges what is owed now, and no more. */
static int set_quickack(struct stack *s, uint32_t sk, int v)
{
	struct tcp_rec *t = tcb_get(s, sk);
	bool owed = t && t->ack_at;
	int ret = set_flag(s, sk, SOCK_F_QUICKACK, v && ((v & 1) || !owed));

	if (ret || !t)
		return ret;
	t->flags = v ? t->flags & ~(uint32_t)TCB_DELAYING : t->flags | TCB_DELAYING;
	if (!v) {
		t->quick = 0;
	} else if (owed) {
		t->flags |= TCB_ACK_NOW;
		tcp_want_output(s, sk);
	}
	return 0;
}

/* Not below half of the smallest receive buffer; only a socket without connection can be without. */
static int set_window_clamp(struct stack *s, uint32_t sk, struct sock_rec *k, const struct tcp_rec *t, int v)
{
	struct sockx_rec *x;

	if (!v) {
		k->flags &= ~(uint32_t)(t->state == TCPS_CLOSE ? SOCK_F_CLAMP : 0);
		return t->state == TCPS_CLOSE ? 0 : -EINVAL;
	}
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->window_clamp = (uint32_t)max_of(v, CLAMP_MIN);
	k->flags |= SOCK_F_CLAMP;
	return 0;
}

static int set_keepidle(struct stack *s, uint32_t sk, struct sock_rec *k, int v)
{
	int ret = set_limited(&k->keep_idle_s, v, 1, KEEP_MAX_S);
	struct tcp_rec *t = ret ? NULL : tcb_get(s, sk);

	if (t) {
		timer_keepalive(s, k, t);
		timer_arm(s, sk, t);
	}
	return ret;
}

/* TCP_DEFER_ACCEPT is counted, as by the kernel, in SYN-ACKs sent again, and told as the seconds that these take. */
static uint8_t defer_count(int seconds)
{
	uint8_t n = 0;

	while (seconds > 0 && n < UINT8_MAX && (!n || tcp_defer_seconds(n) < (uint32_t)seconds))
		n++;
	return n;
}

uint32_t tcp_defer_seconds(uint8_t count)
{
	uint32_t period = count ? 1 : 0, timeout = 1;

	while (count > 1) {
		timeout = min_of(2 * timeout, DEFER_STEP_MAX_S);
		period += timeout;
		count--;
	}
	return period;
}

static bool has_no_peer(const struct tcp_rec *t)
{
	return t->state == TCPS_CLOSE || t->state == TCPS_LISTEN;
}

/*
 * TCP Fast Open without cookies: what the kernel does with its default sysctl, where a listener gives none, and with a
 * peer that gives none. The bytes follow the handshake.
 */
static int set_fastopen(struct stack *s, uint32_t sk, const struct tcp_rec *t, int v)
{
	struct sockx_rec *x;

	if (v < 0 || !has_no_peer(t))
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->fastopen_queue = (uint16_t)min_of(v, FASTOPEN_QUEUE_MAX);
	return 0;
}

static int set_fastopen_connect(struct stack *s, uint32_t sk, const struct tcp_rec *t, int v)
{
	struct sockx_rec *x;

	if (v & ~1 || t->state != TCPS_CLOSE)
		return -EINVAL;
	x = sockx_get(s, sk);
	if (!x)
		return -ENOBUFS;
	x->flags =
	    v ? x->flags | SOCKX_FASTOPEN_CONNECT : x->flags & ~(uint32_t)SOCKX_FASTOPEN_CONNECT;
	return 0;
}

/* What netd does not do: to want it is refused, to want it off is fine. */
static int refuse(int name, int v)
{
	switch (name) {
	case TCP_SAVE_SYN:
	case TCP_THIN_LINEAR_TIMEOUTS:
	case TCP_THIN_DUPACK:
	case TCP_TX_DELAY:
		return v < 0 ? -EINVAL : v ? -EOPNOTSUPP : 0;
	case TCP_REPAIR:
	case TCP_TIMESTAMP:
		return -EPERM;
	default:
		return -ENOPROTOOPT;
	}
}

static int set_int(struct stack *s, uint32_t sk, int name, int v)
{
	struct sock_rec *k = sock_get(s, sk);
	struct tcp_rec *t = tcb_get(s, sk);

	if (!k || !t)
		return -ENOMEM;
	switch (name) {
	case TCP_NODELAY:
		return set_nodelay(s, sk, t, v);
	case TCP_CORK:
		return set_flag(s, sk, SOCK_F_CORK, v);
	case TCP_QUICKACK:
		return set_quickack(s, sk, v);
	case TCP_MAXSEG:
		if (v && (v < (int)TCP_MSS_MIN || v > MAXSEG_MAX))
			return -EINVAL;
		/* What a connection goes by was agreed upon when it opened. */
		if (t->state == TCPS_CLOSE || t->state == TCPS_LISTEN)
			k->maxseg = (uint16_t)v;
		return 0;
	case TCP_WINDOW_CLAMP:
		return set_window_clamp(s, sk, k, t, v);
	case TCP_KEEPIDLE:
		return set_keepidle(s, sk, k, v);
	case TCP_KEEPINTVL:
		return set_limited(&k->keep_intvl_s, v, 1, KEEP_MAX_S);
	case TCP_KEEPCNT:
		return set_limited(&k->keep_cnt, v, 1, KEEP_CNT_MAX);
	case TCP_USER_TIMEOUT:
		return set_limited(&k->user_timeout_ms, v, 0, INT32_MAX);
	case TCP_SYNCNT:
		if (v < 1 || v > SYNCNT_MAX)
			return -EINVAL;
		k->syncnt = (uint8_t)v;
		return 0;
	case TCP_DEFER_ACCEPT:
		k->defer_accept = defer_count(v);
		return 0;
	case TCP_FASTOPEN:
		return set_fastopen(s, sk, t, v);
	case TCP_FASTOPEN_CONNECT:
		return set_fastopen_connect(s, sk, t, v);
	case TCP_FASTOPEN_NO_COOKIE:
		return v & ~1 || !has_no_peer(t) ? -EINVAL : v ? -EOPNOTSUPP : 0;
	case TCP_LINGER2:
		t->linger2_s = v < 0 ? -1 : (int16_t)min_of(v, LINGER2_MAX_S);
		return 0;
	case TCP_NOTSENT_LOWAT:
		t->notsent_lowat = (uint32_t)v;
		sock_changed(s, sk);
		return 0;
	default:
		return refuse(name, v);
	}
}

int tcp_setsockopt(struct stack *s, uint32_t sk, int level, int name, const void *val, uint32_t len)
{
	struct tcp_rec *t;
	int v, ret;

	if (level != IPPROTO_TCP) {
		ret = sock_setsockopt(s, sk, level, name, val, len);
		if (!ret && level == SOL_SOCKET && name == SO_KEEPALIVE && (t = tcb_get(s, sk))) {
			timer_keepalive(s, sock_peek(s, sk), t);
			timer_arm(s, sk, t);
		}
		return ret;
	}
	if (name == TCP_CONGESTION)
		return set_congestion(s, sk, val, len);
	if (name == TCP_ULP)
		return len ? -ENOENT : -EINVAL;
	if (len < sizeof(v))
		return -EINVAL;
	memcpy(&v, val, sizeof(v));
	return set_int(s, sk, name, v);
}

/* ---- reading */

static int get_int(struct stack *s, uint32_t sk, int name, int *v)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct tcp_rec *t = tcb_peek(s, sk);

	switch (name) {
	case TCP_NODELAY:
		*v = !!(k->flags & SOCK_F_NODELAY);
		return 0;
	case TCP_CORK:
		*v = !!(k->flags & SOCK_F_CORK);
		return 0;
	case TCP_QUICKACK:
		*v = !(t->flags & TCB_DELAYING);
		return 0;
	case TCP_MAXSEG:
		if (k->maxseg && (t->state == TCPS_CLOSE || t->state == TCPS_LISTEN))
			*v = k->maxseg;
		else
			*v = t->mss ? (int)t->mss : (int)TCP_MSS_DEFAULT;
		return 0;
	case TCP_WINDOW_CLAMP: /* without one, a connection is told what its buffer would allow */
		*v = k->flags & SOCK_F_CLAMP ? (int)sockx_peek(s, sk)->window_clamp
					     : (int)max_of(k->rx.cap, t->rx_cap);
		return 0;
	case TCP_KEEPIDLE:
		*v = k->keep_idle_s ? (int)k->keep_idle_s : 7200;
		return 0;
	case TCP_KEEPINTVL:
		*v = k->keep_intvl_s ? (int)k->keep_intvl_s : 75;
		return 0;
	case TCP_KEEPCNT:
		*v = k->keep_cnt ? (int)k->keep_cnt : 9;
		return 0;
	case TCP_USER_TIMEOUT:
		*v = (int)k->user_timeout_ms;
		return 0;
	case TCP_SYNCNT:
		*v = k->syncnt ? k->syncnt : TCP_SYN_RETRIES;
		return 0;
	case TCP_DEFER_ACCEPT:
		*v = (int)tcp_defer_seconds(k->defer_accept);
		return 0;
	case TCP_LINGER2:
		*v = t->linger2_s ? t->linger2_s : (int)(TCP_FIN_NS / NSEC_PER_SEC);
		return 0;
	case TCP_FASTOPEN:
		*v = sockx_peek(s, sk)->fastopen_queue;
		return 0;
	case TCP_FASTOPEN_CONNECT:
		*v = !!(sockx_peek(s, sk)->flags & SOCKX_FASTOPEN_CONNECT);
		return 0;
	case TCP_NOTSENT_LOWAT:
		*v = (int)t->notsent_lowat;
		return 0;
	case TCP_RTO_MAX_MS:
		*v = (int)(TCP_RTO_MAX_US / 1000);
		return 0;
	case TCP_RTO_MIN_US_:
		*v = (int)TCP_RTO_MIN_US;
		return 0;
	case TCP_DELACK_MAX_US:
		*v = (int)(TCP_DELACK_NS / NSEC_PER_USEC);
		return 0;
	case TCP_IS_MPTCP:
	case TCP_FASTOPEN_NO_COOKIE:
		*v = 0;
		return 0;
	case TCP_TIMESTAMP:
		*v = (int)(tcp_clock(s) + t->ts_off);
		return 0;
	default:
		*v = 0;
		return refuse(name, 0) == -ENOPROTOOPT ? -ENOPROTOOPT : 0;
	}
}

static void answer(void *val, uint32_t *len, const void *from, uint32_t size)
{
	*len = min_of(*len, size);
	memcpy(val, from, *len);
}

int tcp_getsockopt(struct stack *s, uint32_t sk, int level, int name, void *val, uint32_t *len)
{
	int v = 0, ret;

	if (level != IPPROTO_TCP)
		return sock_getsockopt(s, sk, level, name, val, len);
	if (!tcb_peek(s, sk))
		return -EINVAL;
	if (name == TCP_INFO) {
		uint8_t info[TCP_INFO_LEN];

		tcp_fill_info(s, sk, info);
		answer(val, len, info, sizeof(info));
		return 0;
	}
	if (name == TCP_CC_INFO || name == TCP_SAVED_SYN || name == TCP_ULP || name == TCP_FASTOPEN_KEY) {
		*len = 0; /* there is none */
		return 0;
	}
	if (name == TCP_CONGESTION) {
		char ca[CA_NAME_MAX] = {0};

		strncpy(ca, congestion_of(tcb_peek(s, sk))->name, sizeof(ca) - 1);
		answer(val, len, ca, sizeof(ca));
		return 0;
	}
	ret = get_int(s, sk, name, &v);
	if (!ret)
		answer(val, len, &v, sizeof(v));
	return ret;
}
