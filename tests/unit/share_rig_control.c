/* The control connection: sessions, shares, clones, tokens. See share_rig_parts.h. */
#include "share_rig_parts.h"
#include "proto/channel.h"
#include "proto/control.pb-c.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct token rig_tokens[TOKENS];

typedef Netd__Control__Response Answer;

/* Descriptors for the client go to fds[]: memory, bell, set 0's bell. */
static void session_ready(unsigned n, Netd__Control__Attached *a, int *fds)
{
	int bell[2], set[2];

	if (bell_create(bell) < 0 || bell_create(set) < 0)
		abort();
	rig_mems[n].bell = bell[0];
	rig_mems[n].set_bell[0] = set[1];
	a->version = CM_VERSION;
	a->session = n;
	a->memory_size = SIZE;
	fds[0] = dup(rig_mems[n].fd);
	fds[1] = bell[1];
	fds[2] = set[0];
	share_rig->sessions++;
}

static void share_slots(
    unsigned n, const Netd__Control__Share *q, Netd__Control__Shared *a, int *fds)
{
	unsigned to = rig_memory_new();

	share_rig->shares++;
	a->share = to;
	a->memory_size = SIZE;
	a->slots = SLOTS;
	a->n_slot = q->n_slot;
	a->slot = calloc(q->n_slot, sizeof(*a->slot));
	for (unsigned i = 0; i < q->n_slot; i++) {
		int s = rig_mems[n].held[q->slot[i]] - 1;
		struct sock *k = &rig_socks[s];
		struct cm_slot *own = rig_slot(n, q->slot[i]), *m;

		if (s < 0 || k->mem != n)
			abort();
		if (share_rig->crowded && i == q->n_slot - 1) {
			rig_let_go(n, q->slot[i]);
			own->state = CM_ST_OPEN | CM_ST_DEAD | CM_ST_HUP;
			a->slot[i] = UINT32_MAX;
			continue;
		}
		k->mem = to;
		k->slot = a->slot[i] = rig_mems[to].slots++;
		rig_mems[to].holds++;
		m = rig_slot(to, k->slot);
		m->rx_head = own->rx_head;
		m->tx_tail = own->tx_tail;
		if (k->rx.cap)
			rig_move_ring(k, &k->rx, k->rx.cap, own->rx_head, k->rx_tail, n);
		if (k->tx.cap)
			rig_move_ring(k, &k->tx, k->tx.cap, k->tx_head, own->tx_tail, n);
		store_release(&own->state, CM_ST_OPEN | CM_ST_SHARED);
		rig_tell(s);
	}
	fds[0] = dup(rig_mems[to].fd);
}

int rig_with_credentials(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int));
	return fd;
}

static void clone_session(unsigned n, Netd__Control__Attached *a, int *fds)
{
	unsigned to = rig_memory_new();
	int ctl[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ctl) < 0)
		abort();
	rig_mems[to].ctl = rig_with_credentials(ctl[0]);
	fds[0] = ctl[1];
	session_ready(to, a, fds + 1);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct cm_slot *own = rig_slot(to, slot);

		for (int i = 0; i < CM_SLOT_SETS; i++)
			own->set[i] = CM_NO_SET;
		if (rig_mems[n].held[slot] && rig_socks[rig_mems[n].held[slot] - 1].mem != n)
			rig_hold(to, slot, rig_mems[n].held[slot] - 1, CM_ST_OPEN | CM_ST_SHARED);
	}
}

static void make_token(unsigned n, unsigned slot, int *fds)
{
	struct cm_token t = {.magic = CM_TOKEN_MAGIC, .family = AF_INET, .type = SOCK_STREAM};
	int p[2];

	while (rig_tokens[t.index].fd > 0)
		t.index++;
	if (t.index == TOKENS || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) < 0)
		abort();
	for (int i = 0; i < 16; i++)
		t.secret[i] = (uint8_t)rand();
	rig_tokens[t.index] = (struct token){.fd = p[0], .sock = rig_mems[n].held[slot] - 1};
	memcpy(rig_tokens[t.index].secret, t.secret, 16);
	if (send(p[0], &t, sizeof(t), 0) != sizeof(t))
		abort();
	fds[0] = p[1];
	share_rig->tokens++;
}

static int join(unsigned n, const Netd__Control__Join *q, Netd__Control__Shared *a, int *fds)
{
	struct token *t = &rig_tokens[q->index];
	struct sock *k = &rig_socks[t->sock];

	if (q->index >= TOKENS || t->fd <= 0 || q->secret.len != 16 ||
	    memcmp(t->secret, q->secret.data, 16))
		return -EPERM;
	rig_hold(n, q->slot, t->sock, CM_ST_OPEN | CM_ST_SHARED);
	a->share = k->mem;
	a->memory_size = SIZE;
	a->slots = SLOTS;
	a->n_slot = 1;
	a->slot = calloc(1, sizeof(*a->slot));
	a->slot[0] = k->slot;
	a->family = AF_INET;
	a->type = SOCK_STREAM;
	fds[0] = dup(rig_mems[k->mem].fd);
	return 0;
}

static void end_session(unsigned n)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		rig_let_go(n, slot);
	close(rig_mems[n].ctl);
	close(rig_mems[n].bell);
	for (unsigned i = 0; i < CM_SETS; i++)
		if (rig_mems[n].set_bell[i] >= 0)
			close(rig_mems[n].set_bell[i]);
	rig_memory_free(n);
	share_rig->sessions--;
}

/* Who sends the next request. */
static void learn_sender(unsigned n)
{
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} c;
	struct msghdr m = {.msg_control = &c, .msg_controllen = sizeof(c)};
	struct ucred who;

	if (recvmsg(rig_mems[n].ctl, &m, MSG_PEEK | MSG_DONTWAIT) < 0 ||
	    m.msg_controllen < CMSG_LEN(sizeof(who)) || c.h.cmsg_type != SCM_CREDENTIALS)
		return;
	memcpy(&who, CMSG_DATA(&c.h), sizeof(who));
	rig_mems[n].uid = who.uid;
}

void rig_serve_control(unsigned n)
{
	static struct channel_msg m;
	Answer r = NETD__CONTROL__RESPONSE__INIT;
	Netd__Control__Attached attached = NETD__CONTROL__ATTACHED__INIT;
	Netd__Control__SetReady ready = NETD__CONTROL__SET_READY__INIT;
	Netd__Control__Shared shared = NETD__CONTROL__SHARED__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Request *q;
	int fds[4] = {-1, -1, -1, -1}, count = 0, got;

	learn_sender(n);
	got = channel_recv(rig_mems[n].ctl, &m, 0);
	if (got == -EAGAIN)
		return;
	if (got != 1) {
		end_session(n);
		return;
	}
	q = netd__control__request__unpack(NULL, m.len, m.data);
	r.id = q->id;
	rig_serve_rings(n);
	switch (q->body_case) {
	case NETD__CONTROL__REQUEST__BODY_ATTACH:
		session_ready(n, &attached, fds);
		count = 3;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_ATTACHED;
		r.attached = &attached;
		break;
	case NETD__CONTROL__REQUEST__BODY_NEW_SET: {
		int p[2];

		if (bell_create(p) < 0)
			abort();
		rig_mems[n].set_bell[q->new_set->set] = p[1];
		fds[0] = p[0];
		count = 1;
		ready.set = q->new_set->set;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_SET_READY;
		r.set_ready = &ready;
		break;
	}
	case NETD__CONTROL__REQUEST__BODY_SHARE:
		share_slots(n, q->share, &shared, fds);
		count = 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_SHARED;
		r.shared = &shared;
		break;
	case NETD__CONTROL__REQUEST__BODY_CLONE:
		clone_session(n, &attached, fds);
		count = 4;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_CLONED;
		r.cloned = &attached;
		break;
	case NETD__CONTROL__REQUEST__BODY_TOKEN:
		make_token(n, q->token->slot, fds);
		count = 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_TOKEN;
		r.token = &empty;
		break;
	case NETD__CONTROL__REQUEST__BODY_JOIN:
		r.error = join(n, q->join, &shared, fds);
		count = r.error ? 0 : 1;
		r.body_case = NETD__CONTROL__RESPONSE__BODY_JOINED;
		r.joined = &shared;
		break;
	default:
		break;
	}
	channel_send(rig_mems[n].ctl, &r.base, fds, count);
	if (share_rig->twice)
		channel_send(rig_mems[n].ctl, &r.base, fds, count);
	for (int i = 0; i < count; i++)
		close(fds[i]);
	free(shared.slot);
	netd__control__request__free_unpacked(q, NULL);
}

void rig_token_end(int t)
{
	char c;

	if (rig_tokens[t].fd <= 0 || recv(rig_tokens[t].fd, &c, 1, MSG_DONTWAIT) != 0)
		return;
	close(rig_tokens[t].fd);
	rig_tokens[t].fd = 0;
	share_rig->tokens--;
	rig_sock_check(rig_tokens[t].sock);
}
