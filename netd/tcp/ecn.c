/*
 * Explicit congestion notification, RFC 3168.
 *
 * Whether both ends speak it is agreed upon with the SYNs: one that asks has ECE and CWR, the answer ECE. netd answers
 * those who ask; whether it asks is configured (tcp_ecn). A SYN that is repeated does not ask: what drops it may be
 * what cannot bear the question. A cookie does not remember the question, so it is not answered.
 *
 *   as a sender    new data is marked ECT(0), never what is sent again and never an acknowledgement. An echo (ECE) is a loss
 *                  that did not happen: the window goes down once a round trip, by PRR (CA_CWR); the next new segment
 *                  says so (CWR)
 *   as a receiver  a mark (CE) is echoed by every segment until the peer says that it has heard
 *
 * All that is known of it stands in the flags of the record, so it outlives a restart.
 */
#include "tcp/layer.h"

#define ECT0	 2u
#define CE	 3u
#define IP_ECN	 3u
#define ASKS	 (TCP_F_ECE | TCP_F_CWR)
#define FEW_ACKS 2u /* in a row that are not delayed: the sender's window may be down to one segment */

bool ecn_asked(const struct stack *s, const struct tcp_header *syn, uint8_t tos)
{
	return s->ecn != STACK_ECN_OFF && (syn->flags & (ASKS | TCP_F_ACK)) == ASKS && !(tos & IP_ECN);
}

bool ecn_granted(const struct tcp_rec *t, const struct tcp_header *syn_ack)
{
	return (t->flags & TCB_ECN) && !t->retries && (syn_ack->flags & (ASKS | TCP_F_ACK)) == (TCP_F_ECE | TCP_F_ACK);
}

uint8_t ecn_question(const struct tcp_rec *t)
{
	return t->state == TCPS_SYN_SENT && (t->flags & TCB_ECN) && !t->retries ? ASKS : 0;
}

void ecn_fill(const struct tcp_rec *t, uint64_t off, uint32_t len, struct tcp_header *h, uint8_t *tos)
{
	if (!(t->flags & TCB_ECN))
		return;
	if (t->flags & TCB_ECN_ECHO)
		h->flags |= TCP_F_ECE;
	if (!len || off < t->snd_nxt)
		return;
	*tos |= ECT0;
	if (t->flags & TCB_ECN_CWR)
		h->flags |= TCP_F_CWR;
}

void ecn_sent(struct tcp_rec *t, const struct tcp_header *h)
{
	if (h->flags & TCP_F_CWR)
		t->flags &= ~(uint32_t)TCB_ECN_CWR;
}

void ecn_reduced(struct tcp_rec *t)
{
	if (t->flags & TCB_ECN)
		t->flags |= TCB_ECN_CWR;
}

bool ecn_echoed(const struct tcp_rec *t, const struct tcp_header *h)
{
	return (t->flags & TCB_ECN) && (h->flags & (TCP_F_ECE | TCP_F_SYN)) == TCP_F_ECE;
}

static void not_delayed(struct tcp_rec *t)
{
	t->quick = max_of(t->quick, (uint8_t)FEW_ACKS);
}

void ecn_arrived(struct stack *s, struct tcp_rec *t, const struct tcp_seg *g)
{
	uint8_t mark = g->m->tos & IP_ECN;

	if (!(t->flags & TCB_ECN))
		return;
	if (g->h.flags & TCP_F_CWR) {
		t->flags &= ~(uint32_t)TCB_ECN_ECHO;
		t->flags |= TCB_ACK_NOW;
	}
	if (mark == CE) {
		s->count.tcp_ce++;
		if (!(t->flags & TCB_ECN_ECHO))
			not_delayed(t);
		t->flags |= TCB_ECN_ECHO;
	} else if (!mark && (t->flags & TCB_ECN_SEEN)) { /* of a peer that marks all new data: it was sent again */
		not_delayed(t);
	}
	if (mark)
		t->flags |= TCB_ECN_SEEN;
}
