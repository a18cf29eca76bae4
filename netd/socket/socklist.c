/*
 * The list of sockets, a page a request: the cursor is the record index to go on at. What is between
 * two pages may change; each row is true for itself.
 *
 * TCP's facts come from getsockopt(TCP_INFO), so that this file need not know a control block.
 */
#include "socket/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "proto/channel.h"
#include "proto/link.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#define PAGE_ROWS 64 /* at most about 250 bytes each: 16 KiB */
#define CA_NAME	  16

const char *tcp_state_name(uint8_t state)
{
	static const char *const names[] = {"UNCONN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1",
	    "FIN-WAIT-2", "TIME-WAIT", "UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"};

	return state < ARRAY_SIZE(names) ? names[state] : "?";
}

static const char *ca_state_name(uint8_t state)
{
	static const char *const names[] = {"open", "disorder", "cwr", "recovery", "loss"};

	return state < ARRAY_SIZE(names) ? names[state] : "?";
}

struct page_row {
	Netd__Control__Sock sock;
	Netd__Control__TcpInfo tcp;
	char congestion[CA_NAME];
};

static void fill_tcp(struct stack *s, const struct sock_ops *ops, uint32_t sk, struct page_row *row)
{
	struct tcp_info i = {0};
	uint32_t len = sizeof(i), name_len = sizeof(row->congestion) - 1;
	Netd__Control__TcpInfo *t = &row->tcp;

	if (ops->getsockopt(s, sk, IPPROTO_TCP, TCP_INFO, &i, &len) < 0)
		return;
	*t = (Netd__Control__TcpInfo)NETD__CONTROL__TCP_INFO__INIT;
	t->rtt_us = i.tcpi_rtt;
	t->rttvar_us = i.tcpi_rttvar;
	t->rto_us = i.tcpi_rto;
	t->mss = i.tcpi_snd_mss;
	t->cwnd = i.tcpi_snd_cwnd * i.tcpi_snd_mss;
	t->ssthresh =
	    i.tcpi_snd_ssthresh >= 0x7fffffff ? UINT32_MAX : i.tcpi_snd_ssthresh * i.tcpi_snd_mss;
	t->snd_wnd = i.tcpi_snd_wnd;
	t->rcv_wnd = i.tcpi_rcv_space;
	t->bytes_acked = i.tcpi_bytes_acked;
	t->bytes_received = i.tcpi_bytes_received;
	t->retransmits = i.tcpi_total_retrans;
	t->unacked = i.tcpi_unacked;
	t->snd_wscale = i.tcpi_snd_wscale;
	t->rcv_wscale = i.tcpi_rcv_wscale;
	t->sack = i.tcpi_options & TCPI_OPT_SACK;
	t->timestamps = i.tcpi_options & TCPI_OPT_TIMESTAMPS;
	t->ca_state = (char *)(uintptr_t)ca_state_name(i.tcpi_ca_state);
	if (!ops->getsockopt(s, sk, IPPROTO_TCP, TCP_CONGESTION, row->congestion, &name_len))
		t->congestion = row->congestion;
	row->sock.tcp = t;
}

static uint64_t queued(const struct stack *s, const struct sock_ops *ops, uint32_t sk, bool rx)
{
	uint64_t from = 0, to = 0;

	if (ops->live_range)
		ops->live_range(s, sk, rx, &from, &to);
	return to - from;
}

static const char *datagram_state(const struct sock_rec *k)
{
	return k->remote.port ? "ESTAB" : "UNCONN";
}

/* A packet socket's name is of another kind. */
static void fill_link(struct stack *s, const struct sock_rec *k, Netd__Control__Sock *m)
{
	const struct device_rec *d = device_peek(s, link_of_endpoint(&k->local).ifindex - 1);

	m->proto = (char *)(uintptr_t)(k->type == SOCK_RAW ? "p_raw" : "p_dgr");
	m->local_addr.len = 0;
	m->local_port = 0;
	m->ethertype = k->local.port;
	if (d)
		m->device = (char *)(uintptr_t)d->name;
}

static void fill_row(struct stack *s, uint32_t sk, struct page_row *row)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct sock_ops *ops = sock_ops_of(s, k);
	struct session *ss = k->session == NO_INDEX ? NULL : session_at(s, k->session);
	const struct session_rec *r = ss ? session_peek(s, ss) : NULL;
	Netd__Control__Sock *m = &row->sock;
	struct sock_view v = {0};
	uint32_t slot, h = holder_first(s, sk);

	*m = (Netd__Control__Sock)NETD__CONTROL__SOCK__INIT;
	ops->publish(s, sk, &v);
	m->index = sk;
	m->proto = (char *)(uintptr_t)ops->name;
	m->state = (char *)(uintptr_t)(k->type == SOCK_STREAM ? tcp_state_name(v.tcp_state)
							      : datagram_state(k));
	m->local_addr =
	    (ProtobufCBinaryData){sizeof(k->local.addr.b), (uint8_t *)(uintptr_t)k->local.addr.b};
	m->local_port = k->local.port;
	m->remote_addr =
	    (ProtobufCBinaryData){sizeof(k->remote.addr.b), (uint8_t *)(uintptr_t)k->remote.addr.b};
	m->remote_port = k->remote.port;
	if (k->family == AF_PACKET)
		fill_link(s, k, m);
	m->family = k->family;
	m->recv_q = v.state & CM_ST_LISTENING ? v.accept_ready : queued(s, ops, sk, true);
	m->send_q = v.state & CM_ST_LISTENING ? k->backlog : queued(s, ops, sk, false);
	m->uid = k->uid;
	m->session = k->session;
	while (h && holder_watches(s, h))
		h = holder_next(s, h);
	if (h && (ss = holder_session(s, h, &slot)))
		r = session_peek(s, ss); /* the newest of them */
	if (r) {
		m->pid = r->pid;
		m->program = (char *)(uintptr_t)r->name;
	}
	if (k->type == SOCK_STREAM && !(v.state & CM_ST_LISTENING))
		fill_tcp(s, ops, sk, row);
}

/* The records that are connections of a kind, in the order of their pages. */
static const enum record_kind listed[] = {KIND_SOCK, KIND_SYNRCV, KIND_TIMEWAIT};

static void fill_any(struct stack *s, enum record_kind kind, uint32_t index, struct page_row *row)
{
	if (kind == KIND_SOCK)
		fill_row(s, index, row);
	else
		socklist_small(s, kind, index, &row->sock);
}

/* A cursor is the place in `listed` above an index. */
#define CURSOR_SHIFT 28
#define CURSOR_INDEX ((1u << CURSOR_SHIFT) - 1)

int socklist_answer(
    struct stack *s, int conn, const Netd__Control__Request *r, Netd__Control__Response *a)
{
	Netd__Control__SockTable t = NETD__CONTROL__SOCK_TABLE__INIT;
	Netd__Control__Sock *out[PAGE_ROWS];
	struct page_row row[PAGE_ROWS];
	uint32_t at = r->sock_list->cursor >> CURSOR_SHIFT, i = r->sock_list->cursor & CURSOR_INDEX;

	for (; at < ARRAY_SIZE(listed); at++, i = 0) {
		for (i = state_next(s->state, listed[at], i); i != NO_INDEX && t.n_sock < PAGE_ROWS;
		     i = state_next(s->state, listed[at], i + 1)) {
			row[t.n_sock].congestion[CA_NAME - 1] = 0;
			fill_any(s, listed[at], i, &row[t.n_sock]);
			out[t.n_sock] = &row[t.n_sock].sock;
			t.n_sock++;
		}
		if (i != NO_INDEX)
			break; /* the page is full */
	}
	t.sock = out;
	t.next = at < ARRAY_SIZE(listed) ? at << CURSOR_SHIFT | i : 0;
	a->body_case = NETD__CONTROL__RESPONSE__BODY_SOCKS;
	a->socks = &t;
	return channel_send(conn, &a->base, NULL, 0);
}
