/*
 * Passive opens.
 *
 * A SYN makes a KIND_SYNRCV record, which stands in the connected table; the acknowledgement of our
 * SYN-ACK makes the child's socket. Limits are the kernel's: a SYN finds no ear while the accept
 * queue is longer than the backlog; an acknowledgement that finds the queue full is ignored, the
 * SYN-ACK is repeated and the peer says it again. With TCP_DEFER_ACCEPT a bare acknowledgement is
 * ignored likewise until its time is over. While there are as many half-open connections as a listener
 * may have, further SYNs are answered with a cookie (cookie.c), and no record is made.
 *
 * Half-open connections of a listener that was closed are dropped when they are looked at next.
 */
#include "tcp/layer.h"
#include "tcp/tcp.h"
#include "inet/sockx.h"
#include <netinet/in.h>
#include <sys/socket.h>

#define HALF_OPEN_MIN 256u
#define RTO_FIRST_NS  NSEC_PER_SEC
/* What a child has from its listener. */
#define INHERITED                                                                                  \
	(SOCK_F_REUSEADDR | SOCK_F_REUSEPORT | SOCK_F_KEEPALIVE | SOCK_F_NODELAY | SOCK_F_CORK |   \
	    SOCK_F_LINGER | SOCK_F_V6ONLY | SOCK_F_QUICKACK | SOCK_F_RCVBUF_SET |                  \
	    SOCK_F_SNDBUF_SET | SOCK_F_TIMESTAMP | SOCK_F_OOBINLINE | SOCK_F_RECVERR |             \
	    SOCK_F_FOREIGN | SOCK_F_MINTTL | SOCK_F_CLAMP)

/* ---- the listener */

int tcp_listen(struct stack *s, uint32_t sk, uint32_t backlog)
{
	struct tcp_rec *t = tcb_get(s, sk);
	struct sock_rec *k = sock_get(s, sk);
	int ret;

	if (!t || !k)
		return -ENOMEM;
	if ((t->state != TCPS_CLOSE && t->state != TCPS_LISTEN) || (t->flags & TCB_WAS_OPEN))
		return -EINVAL;
	if (!(k->flags & SOCK_F_BOUND)) {
		struct endpoint own = {.addr = k->local.addr};

		if ((ret = port_take(s, sk, &own)))
			return ret;
	}
	/* As the kernel, which takes the number as unsigned: negative is the longest. */
	k->backlog = min_of(backlog, TCP_BACKLOG_MAX);
	if (t->state == TCPS_LISTEN)
		return 0;
	if ((ret = port_listen(s, sk)) || (ret = queue_open(s, sk)))
		return ret;
	k->flags &= ~(uint32_t)(SOCK_F_SHUT_RD | SOCK_F_SHUT_WR);
	t->flags &= ~(uint32_t)(TCB_DEAD | TCB_WAS_OPEN);
	t->cookie_s = 0;
	tcp_set_state(s, sk, t, TCPS_LISTEN);
	return 0;
}

int tcp_accept(struct stack *s, uint32_t sk, uint32_t *child)
{
	const struct tcp_rec *t = tcb_peek(s, sk);
	struct sock_rec *k;

	if (!t || t->state != TCPS_LISTEN)
		return -EINVAL;
	*child = queue_pop(s, sk);
	if (*child == NO_INDEX)
		return -EAGAIN;
	k = sock_get(s, *child);
	if (!k)
		return -ENOMEM;
	k->listener = NO_INDEX;
	sock_changed(s, sk);
	sock_changed(s, *child);
	return 0;
}

void tcp_stop_listening(struct stack *s, uint32_t sk)
{
	uint32_t child;

	port_unlisten(s, sk);
	while ((child = queue_pop(s, sk)) != NO_INDEX) {
		struct sock_rec *k = sock_get(s, child);
		struct tcp_rec *t = tcb_get(s, child);

		if (!k || !t)
			continue;
		k->flags |= SOCK_F_ORPHAN;
		k->listener = NO_INDEX;
		tcp_abort(s, child, t, 0);
	}
	queue_close(s, sk);
}

/* ---- half-open connections */

static const struct synrcv_rec *synrcv_peek(const struct stack *s, uint32_t index)
{
	return state_peek(s->state, KIND_SYNRCV, index);
}

static bool listener_lives(const struct stack *s, const struct synrcv_rec *r)
{
	const struct tcp_rec *t = tcb_peek(s, r->listener);

	return t && t->state == TCPS_LISTEN &&
	       state_generation(s->state, KIND_SOCK, r->listener) == r->listener_gen;
}

void tcp_synrcv_drop(struct stack *s, uint32_t index)
{
	const struct synrcv_rec *r = synrcv_peek(s, index);
	struct tcp_listener *q;

	if (!r)
		return;
	q = listener_lives(s, r) ? queue_of(s, r->listener) : NULL;
	if (q && q->half_open)
		q->half_open--;
	conn_remove(s, IPPROTO_TCP, &r->local, &r->remote, (struct conn_ref){KIND_SYNRCV, index});
	timer_cancel(s->timers, KIND_SYNRCV, index);
	state_free(s->state, KIND_SYNRCV, index);
}

/* `clock`: of its timestamp. */
static void send_syn_ack(struct stack *s, const struct synrcv_rec *r, uint32_t clock)
{
	const struct sock_rec *l = sock_peek(s, r->listener);
	struct tcp_bare b = {r->local, r->remote, l->bound_dev, l->ttl, l->tos};
	struct tcp_header h = {.seq = r->iss, .ack = r->irs + 1, .flags = TCP_F_SYN | TCP_F_ACK};

	h.flags |= r->flags & TCB_ECN ? TCP_F_ECE : 0;
	h.window = (uint16_t)min_of(r->rcv_wnd, 65535u);
	options_syn(&h, r->flags, r->our_mss, r->rcv_wscale, clock + r->ts_off, r->ts_recent);
	tcp_send_bare(s, &b, &h);
}

/* What the SYN says; `g` is it, or the segment that it was read from. */
static void fill(struct stack *s, uint32_t listener, struct synrcv_rec *r, const struct tcp_seg *g,
    const struct tcp_header *syn, uint32_t mtu)
{
	const struct sock_rec *l = sock_peek(s, listener);

	r->local = g->local;
	r->remote = g->remote;
	r->listener = listener;
	r->listener_gen = state_generation(s->state, KIND_SOCK, listener);
	r->dev = g->m->dev;
	r->irs = syn->seq;
	r->flags = options_agree(syn) | (ecn_asked(s, syn, g->m->tos) ? TCB_ECN : 0);
	r->peer_mss = syn->has_mss && syn->mss ? syn->mss : TCP_MSS_DEFAULT;
	r->our_mss = tcp_our_mss(l, mtu);
	r->peer_wnd = syn->window;
	r->snd_wscale = r->flags & TCB_WS ? syn->ws : 0;
	r->rcv_wscale = r->flags & TCB_WS ? tcp_window_scale(s, l) : 0;
	r->rx_cap = tcp_first_capacity(s, l, r->our_mss);
	r->rcv_wnd = tcp_first_window(s, listener, r->rx_cap, r->rcv_wscale);
	r->ts_recent = syn->ts_val;
	r->ts_off = tcp_ts_offset(s, &g->local, &g->remote);
}

static void answer_with_cookie(struct stack *s, uint32_t listener, const struct tcp_seg *g, uint32_t mtu)
{
	struct tcp_header syn = g->h;
	struct synrcv_rec r = {.retries = 0};

	cookie_trim(&syn);
	fill(s, listener, &r, g, &syn, mtu);
	r.iss = cookie_number(s, g, &syn);
	send_syn_ack(s, &r, cookie_clock(s, &syn));
	cookie_sent(s, listener);
}

/* False: there is no room for one more. */
static bool half_open(struct stack *s, uint32_t listener, const struct tcp_seg *g, uint32_t iss, uint32_t mtu)
{
	uint32_t index;
	struct synrcv_rec *r = state_alloc(s->state, KIND_SYNRCV, &index);

	if (!r)
		return false;
	fill(s, listener, r, g, &g->h, mtu);
	r->iss = iss ? iss : tcp_isn(s, &g->local, &g->remote);
	r->created_at = s->now;
	r->rtx_at = s->now + RTO_FIRST_NS;
	if (conn_insert(
		s, IPPROTO_TCP, &r->local, &r->remote, (struct conn_ref){KIND_SYNRCV, index})) {
		state_free(s->state, KIND_SYNRCV, index);
		return false;
	}
	queue_of(s, listener)->half_open++;
	timer_set(s->timers, KIND_SYNRCV, index, r->rtx_at);
	send_syn_ack(s, r, tcp_clock(s));
	return true;
}

/* Where a SYN came from, and can go back to? */
static bool route_back(struct stack *s, uint32_t listener, const struct tcp_seg *g, struct route *r)
{
	return !ip_route(s, &g->remote.addr, &g->local.addr, sock_peek(s, listener)->bound_dev, r) &&
	       !r->broadcast;
}

static void listen_syn(struct stack *s, uint32_t listener, const struct tcp_seg *g, uint32_t iss)
{
	uint32_t most = max_of(sock_peek(s, listener)->backlog, HALF_OPEN_MIN);
	struct route route;

	if (queue_full(s, listener)) {
		s->count.tcp_listen_full++;
		return;
	}
	if (!route_back(s, listener, g, &route))
		return;
	/* One that follows a TIME_WAIT has its number from there, which no cookie can have. */
	if ((queue_of(s, listener)->half_open >= most && !iss) || !half_open(s, listener, g, iss, route.mtu))
		answer_with_cookie(s, listener, g, route.mtu);
}

void tcp_synrcv_expired(struct stack *s, uint32_t index)
{
	const struct synrcv_rec *p = synrcv_peek(s, index);
	struct synrcv_rec *r;

	if (!p)
		return;
	if (p->rtx_at > s->now) {
		timer_set(s->timers, KIND_SYNRCV, index, p->rtx_at);
		return;
	}
	if (!listener_lives(s, p) || p->retries >= TCP_SYNACK_RETRIES) {
		tcp_synrcv_drop(s, index);
		return;
	}
	r = state_get(s->state, KIND_SYNRCV, index);
	if (!r)
		return;
	r->retries++;
	r->rtx_at = s->now + (RTO_FIRST_NS << r->retries);
	timer_set(s->timers, KIND_SYNRCV, index, r->rtx_at);
	s->count.tcp_retrans++;
	send_syn_ack(s, r, tcp_clock(s));
}

/* ---- the child */

static void inherit(struct sock_rec *k, const struct sock_rec *l)
{
	k->family = l->family;
	k->type = l->type;
	k->protocol = l->protocol;
	k->uid = l->uid;
	k->flags = l->flags & INHERITED;
	k->bound_dev = l->bound_dev;
	k->rcvbuf = l->rcvbuf;
	k->sndbuf = l->sndbuf;
	k->ttl = l->ttl;
	k->tos = l->tos;
	k->mtu_discover = l->mtu_discover;
	k->linger_s = l->linger_s;
	k->rcvlowat = l->rcvlowat;
	k->keep_idle_s = l->keep_idle_s;
	k->keep_intvl_s = l->keep_intvl_s;
	k->keep_cnt = l->keep_cnt;
	k->user_timeout_ms = l->user_timeout_ms;
	k->priority = l->priority;
	k->mark = l->mark;
	k->maxseg = l->maxseg;
	k->syncnt = l->syncnt;
}

static void fill_child(struct stack *s, struct tcp_rec *t, const struct synrcv_rec *r,
    const struct tcp_rec *l, const struct tcp_header *h)
{
	t->state = TCPS_CLOSE;
	t->flags = r->flags;
	t->cc = l->cc;
	t->notsent_lowat = l->notsent_lowat;
	t->linger2_s = l->linger2_s;
	t->iss = r->iss;
	t->irs = r->irs;
	t->snd_wscale = r->snd_wscale & 0xf;
	t->rcv_wscale = r->rcv_wscale & 0xf;
	t->peer_mss = r->peer_mss;
	t->snd_edge = (uint64_t)h->window << r->snd_wscale;
	t->snd_wl1 = h->seq;
	t->max_wnd = (uint32_t)h->window << r->snd_wscale;
	t->rcv_adv = r->rcv_wnd;
	t->rx_cap = r->rx_cap;
	t->ts_recent = r->ts_recent;
	t->ts_recent_s = clock_s(s);
	t->ts_off = r->ts_off;
	t->stall_at = s->now;
	t->segs_in = 1; /* the SYN */
	t->total_retrans = r->retries;
	t->retries = r->retries;
	if (r->created_at && !r->retries) {
		t->flags |= TCB_TIMING;
		t->rtt_us = (uint32_t)(r->created_at / NSEC_PER_USEC);
	}
}

/* The child of `r`, whose record (NO_INDEX: it has none, it was a cookie) is dropped. NO_INDEX: no room, or
 * the peer was refused; the half-open record stays where trying again makes sense. */
static uint32_t make_child(
    struct stack *s, const struct synrcv_rec *r, uint32_t index, const struct tcp_header *h)
{
	struct world_rec *w = world_get(s);
	uint32_t sk, listener = r->listener;
	struct sock_rec *k;
	struct tcp_rec *t;

	k = w ? sock_alloc(s, &sk) : NULL;
	if (!k)
		return NO_INDEX;
	t = state_alloc_at(s->state, KIND_TCP, sk);
	if (!t) {
		sock_free(s, sk);
		return NO_INDEX;
	}
	inherit(k, sock_peek(s, listener));
	sockx_inherit(s, sk, listener);
	k->local = r->local;
	k->remote = r->remote;
	k->listener = listener;
	k->listener_gen = r->listener_gen;
	k->arrival = w->arrival++;
	fill_child(s, t, r, tcb_peek(s, listener), h);
	tcp_synrcv_drop(s, index);
	if (sock_hash_connected(s, sk)) {
		tcp_free(s, sk);
		return NO_INDEX;
	}
	queue_push(s, listener, sk);
	if (!tcp_established(s, sk, t))
		return NO_INDEX;
	s->count.tcp_accepted++;
	sock_changed(s, listener);
	return sk;
}

/* An acknowledgement for nobody: of a cookie? */
static void listen_ack(struct stack *s, uint32_t listener, struct tcp_seg *g)
{
	struct synrcv_rec r = {.retries = 0};
	struct tcp_header syn;
	struct route route;
	uint32_t child;

	if (!cookie_awaited(s, listener) || !cookie_read(s, g, &syn)) {
		s->count.tcp_cookies_bad += cookie_awaited(s, listener);
		tcp_refuse(s, g);
		return;
	}
	if (queue_full(s, listener)) {
		s->count.tcp_listen_full++;
		return;
	}
	if (!route_back(s, listener, g, &route))
		return;
	s->count.tcp_cookies_ok++;
	fill(s, listener, &r, g, &syn, route.mtu);
	r.iss = g->h.ack - 1;
	child = make_child(s, &r, NO_INDEX, &g->h);
	if (child != NO_INDEX)
		tcp_segment(s, child, g);
}

void tcp_listen_segment(struct stack *s, uint32_t listener, struct tcp_seg *g, uint32_t iss)
{
	uint8_t flags = g->h.flags & (TCP_F_RST | TCP_F_SYN | TCP_F_ACK | TCP_F_FIN);

	if (!queue_of(s, listener))
		return;
	if (flags == TCP_F_SYN)
		listen_syn(s, listener, g, iss);
	else if ((flags & (TCP_F_RST | TCP_F_ACK | TCP_F_SYN)) == TCP_F_ACK)
		listen_ack(s, listener, g);
	else if (!(flags & TCP_F_RST) && (flags & TCP_F_ACK))
		tcp_refuse(s, g);
}

static bool deferred(struct stack *s, uint32_t index, const struct tcp_seg *g)
{
	const struct synrcv_rec *r = synrcv_peek(s, index);
	uint64_t defer = tcp_defer_seconds(sock_peek(s, r->listener)->defer_accept) * NSEC_PER_SEC;

	if (!defer || g->len || (g->h.flags & TCP_F_FIN) || s->now - r->created_at >= defer)
		return false;
	if (!r->acked) {
		struct synrcv_rec *w = state_get(s->state, KIND_SYNRCV, index);

		if (w) {
			w->acked = 1;
			w->rtx_at = max_of(
			    w->rtx_at, w->created_at + defer); /* the peer is quiet until then */
		}
	}
	return true;
}

static void acknowledge(struct stack *s, const struct synrcv_rec *r)
{
	const struct sock_rec *l = sock_peek(s, r->listener);
	struct tcp_bare b = {r->local, r->remote, l->bound_dev, l->ttl, l->tos};
	struct tcp_header h = {.seq = r->iss + 1,
	    .ack = r->irs + 1,
	    .flags = TCP_F_ACK,
	    .window = (uint16_t)(r->rcv_wnd >> r->rcv_wscale),
	    .has_ts = r->flags & TCB_TS,
	    .ts_ecr = r->ts_recent};

	h.ts_val = tcp_clock(s) + r->ts_off;
	if (tcp_may_challenge(s))
		tcp_send_bare(s, &b, &h);
}

/* RFC 9293, 3.10.7.4, for SYN-RECEIVED. True: the acknowledgement makes the child. */
static bool examine(struct stack *s, uint32_t index, struct tcp_seg *g)
{
	const struct synrcv_rec *r = synrcv_peek(s, index);
	const struct tcp_header *h = &g->h;

	if ((r->flags & TCB_TS) && h->has_ts && seq_before(h->ts_val, r->ts_recent) &&
	    !(h->flags & TCP_F_RST)) {
		s->count.tcp_paws++;
		acknowledge(s, r);
		return false;
	}
	if (h->flags & TCP_F_RST) {
		if (h->seq == r->irs + 1)
			tcp_synrcv_drop(s, index);
		else if (seq_between(r->irs + 1, h->seq, r->irs + r->rcv_wnd))
			acknowledge(s, r);
		return false;
	}
	if (h->flags & TCP_F_SYN) {
		if (h->seq == r->irs && !(h->flags & TCP_F_ACK))
			send_syn_ack(s, r, tcp_clock(s));
		else
			acknowledge(s, r);
		return false;
	}
	if (!(h->flags & TCP_F_ACK))
		return false;
	if (h->ack != r->iss + 1) {
		tcp_refuse(s, g);
		return false;
	}
	if (!seq_between(r->irs + 1, h->seq, r->irs + 1 + r->rcv_wnd)) {
		acknowledge(s, r);
		return false;
	}
	return true;
}

void tcp_synrcv_segment(struct stack *s, uint32_t index, struct tcp_seg *g)
{
	const struct synrcv_rec *r = synrcv_peek(s, index);
	struct synrcv_rec copy;
	uint32_t child;

	if (!r)
		return;
	if (!listener_lives(s, r)) {
		tcp_synrcv_drop(s, index);
		tcp_refuse(s, g);
		return;
	}
	if (segment_too_far(s, r->listener, g) || !examine(s, index, g))
		return;
	if (queue_full(s, r->listener)) {
		s->count.tcp_listen_full++;
		return;
	}
	if (deferred(s, index, g))
		return;
	copy = *r;
	child = make_child(s, &copy, index, &g->h);
	if (child != NO_INDEX)
		tcp_segment(s, child, g);
}

int synrcv_reindex(struct stack *s)
{
	for (uint32_t i = state_next(s->state, KIND_SYNRCV, 0); i != NO_INDEX;
	     i = state_next(s->state, KIND_SYNRCV, i + 1)) {
		const struct synrcv_rec *r = synrcv_peek(s, i);
		int ret = listener_lives(s, r) ? conn_insert(s, IPPROTO_TCP, &r->local, &r->remote,
						     (struct conn_ref){KIND_SYNRCV, i})
					       : -EADDRINUSE;

		if (ret == -EADDRINUSE) {
			state_free(s->state, KIND_SYNRCV, i);
			continue;
		}
		if (ret)
			return ret;
		queue_of(s, r->listener)->half_open++;
		timer_set(s->timers, KIND_SYNRCV, i, r->rtx_at);
	}
	return 0;
}
