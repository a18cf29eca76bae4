/*
 * Building segments and giving them to IP.
 *
 * Payload goes from the transmit ring straight into the chunks. Where the device takes care of
 * checksums the field holds the sum of the pseudo header; where it cuts super-frames one segment
 * may be as long as IP allows. Whatever IP answers, a segment that was built counts as sent: what
 * is lost here is lost like anywhere on its way.
 */
#include "tcp/layer.h"
#include "wire/checksum.h"
#include <netinet/in.h>

int tcp_path_to(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_path *path)
{
	const struct sock_rec *k = sock_peek(s, sk);
	const struct device_rec *d;
	uint32_t mss;
	int ret = sock_route(s, sk, &k->remote.addr, &k->local.addr, k->bound_dev, &path->r);

	if (ret)
		return ret;
	d = device_peek(s, path->r.dev);
	path->csum = d && (d->features & REGION_F_CSUM);
	path->tso = path->csum && (d->features & REGION_F_TSO4);
	mss = tcp_our_mss(k, path->r.mtu);
	mss = min_of(mss, t->peer_mss ? t->peer_mss : TCP_MSS_DEFAULT);
	path->mss = max_of(mss, TCP_MSS_MIN) - (t->flags & TCB_TS ? TCP_TS_LEN : 0);
	t->mss = t->flags & TCB_MSS_LOW ? blackhole_mss(s, sk, path->mss) : path->mss;
	return 0;
}

/* ---- one packet */

/* Copies ring bytes into the packet behind the header; returns their sum if `sum`. */
static uint32_t fill_payload(struct stack *s, const struct sock_rec *k, struct packet *p,
    uint32_t hdr_len, uint64_t off, uint32_t len, bool sum)
{
	uint32_t total = 0, done = 0;

	for (unsigned i = 0; i < p->segs && done < len; i++) {
		uint32_t at = i ? 0 : hdr_len;

		while (at < p->seg[i].len && done < len) {
			uint32_t n = min_of(p->seg[i].len - at, len - done), run;
			const uint8_t *src = ring_span(s->mem, &k->tx, off + done, n, &run);

			if (!src) { /* its memory is gone: the connection is about to be, too */
				memset(p->seg[i].data + at, 0, n);
				run = n;
			} else if (sum) {
				total = csum_add_at(
				    total, csum_copy(p->seg[i].data + at, src, run, 0), done);
			} else {
				memcpy(p->seg[i].data + at, src, run);
			}
			at += run;
			done += run;
		}
	}
	return total;
}

/* Finishes the checksum (`sum` is the payload's) and hands over. */
static void send_packet(struct stack *s, struct packet *p, const struct tcp_path *path,
    const struct ip_send *how, struct tcp_header *h, uint8_t hdr_len, uint32_t sum)
{
	uint8_t *front = p->seg[0].data;
	uint32_t pseudo = ip_pseudo_sum(&how->src, &how->dst, IPPROTO_TCP, p->len);

	if (path->csum) {
		h->checksum = (uint16_t)csum_fold(pseudo);
		tcp_emit(h, front, hdr_len);
		p->flags |= DESC_CSUM_NEEDED;
		p->csum_at = front;
		p->csum_offset = TCP_CSUM_OFFSET;
	} else {
		uint16_t c;

		h->checksum = 0;
		tcp_emit(h, front, hdr_len);
		c = csum_finish(csum_add(csum(front, hdr_len, pseudo), sum));
		front[TCP_CSUM_OFFSET] = (uint8_t)(c >> 8);
		front[TCP_CSUM_OFFSET + 1] = (uint8_t)c;
	}
	s->count.tcp_out++;
	(void)ip_output(s, p, &path->r, how);
}

/* ---- segments of a connection */

static void fill_header(struct stack *s, uint32_t sk, struct tcp_rec *t, struct tcp_header *h,
    uint8_t flags, uint32_t seq)
{
	const struct sock_rec *k = sock_peek(s, sk);

	*h = (struct tcp_header){
	    .src = k->local.port, .dst = k->remote.port, .seq = seq, .flags = flags};
	if (flags & TCP_F_ACK)
		h->ack = rcv_seq(t, t->rcv_nxt);
	if (t->flags & TCB_TS) {
		h->has_ts = true;
		h->ts_val = tcp_clock(s) + t->ts_off;
		h->ts_ecr = t->ts_recent;
	}
}

/* The peer has been told all that we know. */
static void acknowledged(struct tcp_rec *t)
{
	t->rcv_acked = (uint32_t)t->rcv_nxt;
	t->ack_at = 0;
	if ((t->flags & TCB_ACK_NOW) && t->quick)
		t->quick--;
	t->flags &= ~(uint32_t)(TCB_ACK_NOW | TCB_DSACK);
}

static struct ip_send how_of(const struct sock_rec *k)
{
	return (struct ip_send){.src = k->local.addr,
	    .dst = k->remote.addr,
	    .proto = IPPROTO_TCP,
	    .ttl = k->ttl,
	    .tos = k->tos,
	    .dont_fragment = k->mtu_discover != IP_PMTUDISC_DONT};
}

uint32_t tcp_payload_max(const struct stack *s, uint32_t sk, const struct tcp_rec *t)
{
	struct tcp_header h = {.n_sack = 0};

	options_sack(s, sk, t, &h);
	return t->mss - (h.n_sack ? 4 + 8u * h.n_sack : 0);
}

int tcp_transmit(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path,
    uint8_t flags, uint64_t off, uint32_t len)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct ip_send how = how_of(k);
	struct tcp_header h;
	struct packet p;
	uint32_t sum, full = tcp_payload_max(s, sk, t);
	uint8_t hdr_len;
	int ret;

	fill_header(s, sk, t, &h, flags | TCP_F_ACK, snd_seq(t, off));
	if (t->flags & TCB_URGENT)
		urgent_fill(s, sk, t, off, &h);
	ecn_fill(t, off, len, &h, &how.tos);
	options_sack(s, sk, t, &h);
	hdr_len = tcp_emit_len(&h);
	ret = packet_alloc(s, &p, path->r.dev, hdr_len + len);
	if (ret)
		return ret;
	ecn_sent(t, &h);
	h.window = tcp_window(s, sk, t);
	sum = fill_payload(s, k, &p, hdr_len, off, len, !path->csum);
	t->segs_out += len > full ? (len + full - 1) / full : 1;
	if (len)
		t->data_out += len > full ? (len + full - 1) / full : 1;
	if (len > full) {
		p.gso_type = GSO_TCPV4;
		p.gso_size = (uint16_t)full;
		s->count.tcp_tso++;
	}
	acknowledged(t);
	send_packet(s, &p, path, &how, &h, hdr_len, sum);
	return 0;
}

int tcp_send_syn(struct stack *s, uint32_t sk, struct tcp_rec *t, const struct tcp_path *path)
{
	const struct sock_rec *k = sock_peek(s, sk);
	uint8_t flags = (t->state == TCPS_SYN_RECV ? TCP_F_SYN | TCP_F_ACK : TCP_F_SYN) | ecn_question(t);
	struct ip_send how = how_of(k);
	struct tcp_header h;
	struct packet p;
	uint8_t hdr_len;
	int ret;

	fill_header(s, sk, t, &h, flags, snd_seq(t, t->snd_una) - 1);
	options_syn(&h, t->flags, tcp_our_mss(k, path->r.mtu), t->rcv_wscale,
	    tcp_clock(s) + t->ts_off, flags & TCP_F_ACK ? t->ts_recent : 0);
	h.window = (uint16_t)min_of(t->rcv_adv - t->rcv_nxt, 65535ull);
	hdr_len = tcp_emit_len(&h);
	ret = packet_alloc(s, &p, path->r.dev, hdr_len);
	if (ret)
		return ret;
	t->segs_out++;
	send_packet(s, &p, path, &how, &h, hdr_len, 0);
	return 0;
}

/* ---- segments without a control block */

void tcp_send_bare(struct stack *s, const struct tcp_bare *b, struct tcp_header *h)
{
	struct ip_send how = {.src = b->local.addr,
	    .dst = b->remote.addr,
	    .proto = IPPROTO_TCP,
	    .ttl = b->ttl,
	    .tos = b->tos,
	    .dont_fragment = true};
	uint8_t hdr_len = tcp_emit_len(h);
	const struct device_rec *d;
	struct tcp_path path;
	struct packet p;

	h->src = b->local.port;
	h->dst = b->remote.port;
	if (ip_route(s, &how.dst, &how.src, b->oif, &path.r) ||
	    packet_alloc(s, &p, path.r.dev, hdr_len))
		return;
	d = device_peek(s, path.r.dev);
	path.csum = d && (d->features & REGION_F_CSUM);
	path.tso = false;
	send_packet(s, &p, &path, &how, h, hdr_len, 0);
}

void tcp_send_rst(struct stack *s, uint32_t sk, struct tcp_rec *t)
{
	const struct sock_rec *k = sock_peek(s, sk);
	struct tcp_bare b = {k->local, k->remote, k->bound_dev, k->ttl, k->tos};
	struct tcp_header h;

	fill_header(s, sk, t, &h, TCP_F_RST | TCP_F_ACK, snd_seq(t, t->snd_nxt));
	s->count.tcp_rst_out++;
	tcp_send_bare(s, &b, &h);
}

void tcp_refuse(struct stack *s, const struct tcp_seg *g)
{
	struct tcp_bare b = {.local = g->local, .remote = g->remote, .oif = NO_INDEX};
	struct tcp_header h = {.flags = TCP_F_RST};

	if (g->h.flags & TCP_F_RST)
		return;
	if (g->h.flags & TCP_F_ACK) {
		h.seq = g->h.ack;
	} else {
		h.flags |= TCP_F_ACK;
		h.ack = g->h.seq + g->len + !!(g->h.flags & TCP_F_SYN) + !!(g->h.flags & TCP_F_FIN);
	}
	s->count.tcp_rst_out++;
	tcp_send_bare(s, &b, &h);
}
