/*
 * Ping sockets: SOCK_DGRAM with IPPROTO_ICMP. An echo request goes out, its reply comes in, and
 * nothing else: so no privilege is needed.
 *
 * The ICMP identifier is the socket's port and stands in the port table (protocol ICMP) like UDP's;
 * two sockets never get each other's replies. Identifier and checksum of what goes out are ours.
 */
#include "inet/layer.h"
#include "base/util.h"
#include "device/device.h"
#include "inet/errq.h"
#include "inet/raw.h"
#include "proto/endian.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipopt.h"
#include "wire/ipv4.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CSUM_AT 2
#define ID_AT	4

static int ping_create(struct stack *s, uint32_t sk)
{
	(void)s;
	(void)sk;
	return 0;
}

static int ping_bind(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	int ret;

	if (ip_is_multicast(&ep->addr) || ip_is_broadcast(s, &ep->addr))
		return -EADDRNOTAVAIL;
	ret = port_bind(s, sk, ep);
	if (ret)
		return ret;
	ret = mailbox_open(s, sk);
	if (ret)
		port_release(s, sk);
	return ret;
}

static int autobind(struct stack *s, uint32_t sk)
{
	static const struct ipaddr any;
	int ret;

	if (sock_peek(s, sk)->flags & SOCK_F_BOUND)
		return 0;
	ret = port_autobind(s, sk, &any, NULL);
	return ret ? ret : mailbox_open(s, sk);
}

static int ping_connect(struct stack *s, uint32_t sk, const struct endpoint *ep)
{
	int ret = autobind(s, sk);

	return ret ? ret : raw_connect(s, sk, ep);
}

static int ping_disconnect(struct stack *s, uint32_t sk)
{
	struct sock_rec *k = sock_get(s, sk);

	memset(&k->remote, 0, sizeof(k->remote));
	if (!(k->flags & SOCK_F_BOUND_ADDR))
		memset(&k->local.addr, 0, sizeof(k->local.addr));
	if (!(k->flags & SOCK_F_PORT_USER))
		port_release(s, sk);
	sock_changed(s, sk);
	return 0;
}

/* ---- send */

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

/* The client's message becomes an echo request of this socket. */
static int complete(struct packet *p, uint16_t id)
{
	uint8_t *h = p->seg[0].data;

	if (p->seg[0].len < ICMP_LEN)
		return -EINVAL;
	if (h[0] != ICMP_T_ECHO || h[1])
		return -EINVAL;
	put16(h + ID_AT, id);
	put16(h + CSUM_AT, 0);
	put16(h + CSUM_AT, csum_finish(packet_sum(p, 0, p->len, 0)));
	return 0;
}

static int ping_send(struct stack *s, uint32_t sk, const struct mailbox_job *j)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct ip_send how = {.ttl = 0};
	struct ipopt options;
	struct packet p;
	struct route r;
	int ret;

	if (j->len > UINT16_MAX - IPV4_LEN)
		return -EMSGSIZE;
	if (j->len < ICMP_LEN)
		return -EINVAL;
	ret = autobind(s, sk);
	k = sock_peek(s, sk);
	if (ret || (ret = raw_choose(s, sk, j, &how, &r, &options)) ||
	    (ret = raw_fragmenting(s, sk, j->len + IPV4_LEN + options.len, false, &how, &r)))
		return ret;
	if (!mailbox_room(s, r.dev, j->len + IPV4_LEN, 0))
		return MAILBOX_FULL;
	ret = mailbox_packet(s, sk, j, r.dev, 0, &p);
	if (ret)
		return ret;
	ret = complete(&p, k->local.port);
	if (ret) {
		packet_free(s, &p);
		return ret;
	}
	s->count.icmp_out++;
	ret = ip_output(s, &p, &r, &how);
	return ret == -ENOBUFS ? 0 : ret;
}

static const struct mailbox_way ping_way = {.send = ping_send, .flags = CM_DGRAM_OPTIONS};

/* ---- receive */

void ping_input(struct stack *s, struct packet *p, const struct ip_meta *m)
{
	struct letter l = {.h = mailbox_header(s, m, p->len), .p = p};
	struct endpoint from = {.addr = m->src}, to = {.addr = m->dst};
	struct filter_ip v = {.header = m->header,
	    .header_len = m->header_len,
	    .p = p,
	    .len = p->len,
	    .gap = p->len,
	    .transport = true};
	struct cm_options options;
	uint8_t id[2];
	uint32_t b;

	l.h.spec_dst = 0; /* not told, as in the kernel */
	l.tail = &options;
	if (!packet_read(p, ID_AT, id, sizeof(id)) || p->len > UINT16_MAX)
		return;
	to.port = be16_at(id);
	b = bucket_find(s, IPPROTO_ICMP, to.port);
	for (uint32_t i = b ? bucket_at(s, b)->idle : 0; i; i = s->inet->node[i - 1].next) {
		const struct sock_rec *k = sock_peek(s, i - 1);

		/* Whoever is connected takes replies of its peer only; ports have no part in it. */
		if (k && sock_connected(k))
			from.port = k->remote.port;
		if (!k || !sock_score(k, &to, &from, m->dev))
			continue;
		l.h.len = min_of(p->len, filter_run_ip(s, k, m, &v));
		if (!l.h.len)
			return;
		l.tail_len = mailbox_options(s, i - 1, m, &l.h, &options);
		mailbox_put(s, i - 1, &l);
		return;
	}
}

static void ping_error(struct stack *s, const struct ip_error *e)
{
	const uint8_t *head = e->quote;
	struct endpoint local = {.addr = e->about.src, .port = be16_at(head + ID_AT)};
	struct endpoint remote = {.addr = e->about.dst}, name = remote;
	uint32_t b = head[0] == ICMP_T_ECHO ? bucket_find(s, IPPROTO_ICMP, local.port) : 0;

	for (uint32_t i = b ? bucket_at(s, b)->idle : 0; i; i = s->inet->node[i - 1].next) {
		const struct sock_rec *k = sock_peek(s, i - 1);

		if (k && sock_connected(k))
			remote.port = k->remote.port;
		if (!k || !sock_score(k, &local, &remote, NO_INDEX))
			continue;
		if (e->mtu)
			ip_pmtu_update(s, &e->about.dst, e->mtu);
		if (k->flags & SOCK_F_RECVERR)
			errq_icmp(s, i - 1, e, &name, 0);
		if ((k->flags & SOCK_F_RECVERR) || (sock_connected(k) && (e->hard || e->mtu)))
			sock_set_error(s, i - 1, e->err);
		return;
	}
}

/* ---- the table */

static void ping_close(struct stack *s, uint32_t sk, bool killed)
{
	(void)killed;
	mailbox_close(s, sk, &ping_way);
}

static int ping_poke(struct stack *s, uint32_t sk, uint64_t rx_head, uint64_t tx_tail)
{
	return mailbox_poke(s, sk, rx_head, tx_tail, &ping_way);
}

static void ping_resume(struct stack *s, uint32_t sk)
{
	mailbox_resume(s, sk, &ping_way);
}

const struct sock_ops ping_ops = {
    .name = "icmp",
    .create = ping_create,
    .bind = ping_bind,
    .connect = ping_connect,
    .disconnect = ping_disconnect,
    .shutdown = mailbox_shutdown,
    .close = ping_close,
    .poke = ping_poke,
    .setsockopt = mailbox_setsockopt,
    .getsockopt = sock_getsockopt,
    .filter = filter_piece,
    .publish = mailbox_publish,
    .live_range = mailbox_live_range,
    .resume = ping_resume,
    .reindex = mailbox_reindex,
};

const struct inet_proto ping_proto = {.number = IPPROTO_ICMP, .error = ping_error};
