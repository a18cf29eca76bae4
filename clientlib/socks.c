/* netd's sockets, whoever has them, as a program may ask for them: like interfaces (ifaces.c), from the daemon at each question. */
#include "clientlib/control.h"
#include <netinet/tcp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* TCP_ESTABLISHED ... by the daemon's words. */
static unsigned state_of(const char *name)
{
	static const char *const words[] = {[TCP_ESTABLISHED] = "ESTAB",
	    [TCP_SYN_SENT] = "SYN-SENT",
	    [TCP_SYN_RECV] = "SYN-RECV",
	    [TCP_FIN_WAIT1] = "FIN-WAIT-1",
	    [TCP_FIN_WAIT2] = "FIN-WAIT-2",
	    [TCP_TIME_WAIT] = "TIME-WAIT",
	    [TCP_CLOSE] = "UNCONN",
	    [TCP_CLOSE_WAIT] = "CLOSE-WAIT",
	    [TCP_LAST_ACK] = "LAST-ACK",
	    [TCP_LISTEN] = "LISTEN",
	    [TCP_CLOSING] = "CLOSING"};

	for (unsigned i = 1; name && i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i], name))
			return i;
	return TCP_CLOSE;
}

static bool address(const ProtobufCBinaryData *from, uint32_t port, struct endpoint *to)
{
	*to = (struct endpoint){.port = (uint16_t)port};
	if (from->len != sizeof(to->addr.b))
		return false;
	memcpy(to->addr.b, from->data, sizeof(to->addr.b));
	return true;
}

static bool take(const Netd__Control__Sock *k, struct ns_sock_row *to)
{
	*to = (struct ns_sock_row){.state = state_of(k->state),
	    .family = (int)k->family,
	    .uid = k->uid,
	    .recv_q = k->recv_q,
	    .send_q = k->send_q};
	if (k->proto)
		memcpy(to->proto, k->proto, strnlen(k->proto, sizeof(to->proto) - 1));
	if (k->tcp && k->tcp->mss) {
		to->rto_us = k->tcp->rto_us;
		to->cwnd = k->tcp->cwnd / k->tcp->mss;
		to->ssthresh =
		    k->tcp->ssthresh == UINT32_MAX ? -1 : (int)(k->tcp->ssthresh / k->tcp->mss);
	}
	return address(&k->local_addr, k->local_port, &to->local) &&
	       address(&k->remote_addr, k->remote_port, &to->remote);
}

/* Appends a page of them to the `n` there are. Their number then, or -ENOMEM. */
static int take_page(const Netd__Control__SockTable *t, struct ns_sock_row **v, int n)
{
	struct ns_sock_row *more = realloc(*v, ((size_t)n + t->n_sock + 1) * sizeof(**v));

	if (!more)
		return -ENOMEM;
	*v = more;
	for (size_t i = 0; i < t->n_sock; i++)
		n += take(t->sock[i], &more[n]);
	return n;
}

int ns_socks(struct ns_sock_row **out)
{
	Netd__Control__SockList from = NETD__CONTROL__SOCK_LIST__INIT;
	struct session *ss;
	int n = 0, ret = session_get(&ss);

	*out = NULL;
	if (ret < 0)
		return ret;
	do {
		Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
		Netd__Control__Response *a;
		struct reply r = {0};

		q.body_case = NETD__CONTROL__REQUEST__BODY_SOCK_LIST;
		q.sock_list = &from;
		ret = session_ask(ss, &q, &r, &a);
		if (ret < 0)
			break;
		from.cursor = 0;
		if (a->body_case == NETD__CONTROL__RESPONSE__BODY_SOCKS) {
			ret = n = take_page(a->socks, out, n);
			from.cursor = a->socks->next;
		}
		netd__control__response__free_unpacked(a, NULL);
		reply_free(&r);
	} while (ret >= 0 && from.cursor);
	if (ret >= 0)
		return n;
	free(*out);
	*out = NULL;
	return ret;
}
