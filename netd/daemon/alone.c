#include "daemon/alone.h"
#include "base/log.h"
#include "base/office.h"
#include "base/util.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_WAIT_MS 2000
#define RETRY_MS     10 /* the supervisor is dead, but somebody is in its office */
#define INETS        32 /* slots that are looked for */

typedef Netd__Component__FromComponent from_component;
typedef Netd__Component__ToComponent to_component;
#define FROM(which) NETD__COMPONENT__FROM_COMPONENT__BODY_##which
#define TO(which)   NETD__COMPONENT__TO_COMPONENT__BODY_##which

static int supervisor_pidfd(const struct handover *h)
{
	return fdtable_find(&h->kept, "supervisor");
}

static bool supervisor_died(const struct handover *h)
{
	struct pollfd p = {.fd = supervisor_pidfd(h), .events = POLLIN};

	return p.fd >= 0 && poll(&p, 1, 0) == 1;
}

/* The supervisor's end of that netd-inet's channel, or -1. */
static int channel_of(const struct handover *h, unsigned slot)
{
	char name[FDTABLE_NAME];

	snprintf(name, sizeof(name), "channel.inet.%u", slot);
	return fdtable_find(&h->kept, name);
}

/* Everything that is kept, as the supervisor would have given it. 0 or a negative errno. */
static int send_kept(const struct handover *h, int sock, int timeout_ms)
{
	int ret = 0;

	for (unsigned i = 0; i < h->kept.n && !ret; i++) {
		Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
		to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;

		keep.name = (char *)(uintptr_t)h->kept.item[i].name;
		m.body_case = TO(KEEP);
		m.keep = &keep;
		ret = channel_send_wait(sock, &m.base, &h->kept.item[i].fd, 1, timeout_ms);
	}
	return ret;
}

/* To every netd-inet but us and `not`. The dead do not count; one that lives and does not take it does. */
static int tell_others(struct handover *h, unsigned not, const to_component *m, const int *fds, int nfds)
{
	int ret = 0;

	for (unsigned slot = 0; slot < INETS; slot++) {
		int sock = slot == not || slot == h->slot ? -1 : channel_of(h, slot), err;

		err = sock < 0 ? 0 : channel_send_wait(sock, &m->base, fds, nfds, SEND_WAIT_MS);
		if (err && err != -EPIPE && err != -ECONNRESET)
			ret = err;
	}
	return ret;
}

/* What the netd-inet in slot `from` said to the supervisor, as the supervisor would have handed it on. */
static int hand_on(struct handover *h, unsigned from, const from_component *m, const int *fds, int nfds)
{
	Netd__Component__Handed handed = NETD__COMPONENT__HANDED__INIT;
	to_component out = NETD__COMPONENT__TO_COMPONENT__INIT;

	if (m->body_case == FROM(DEPOSIT)) {
		handed.key = m->deposit->key;
		out.body_case = TO(HANDED);
		out.handed = &handed;
	} else if (m->body_case == FROM(WITHDRAW)) {
		out.body_case = TO(WITHDRAWN);
		out.withdrawn = m->withdraw;
	} else {
		return 0;
	}
	return tell_others(h, from, &out, fds, nfds);
}

/* Handed on first, consumed after: a death between the two hands it on twice. */
static void read_channel(struct handover *h, unsigned slot)
{
	int sock = channel_of(h, slot), ret;

	while (sock >= 0 && ((ret = channel_recv(sock, &h->msg, MSG_PEEK)) > 0 || ret == -EMSGSIZE)) {
		from_component *m = ret < 0 ? NULL : netd__component__from_component__unpack(NULL, h->msg.len, h->msg.data);

		if (m) {
			hand_on(h, slot, m, h->msg.fds, h->msg.nfds);
			if (!h->taken && slot != h->slot)
				handover_note(h, m);
			netd__component__from_component__free_unpacked(m, NULL);
		}
		channel_close_fds(&h->msg);
		channel_consume(sock);
	}
}

bool alone(struct handover *h)
{
	if (h->alone || !supervisor_died(h))
		return h->alone;
	/* All that the dead one sent is there. Not later, under the lock: it ends when any copy of the arena's descriptor is closed. */
	handover_receive(h);
	if (!supervisor_died(h) || !office_borrow(h->arena_fd))
		return false;
	log_warn("the supervisor is gone; going on without it");
	handover_use_spares(h, true);
	for (unsigned slot = 0; slot < INETS; slot++)
		read_channel(h, slot);
	handover_use_spares(h, false);
	h->alone = true;
	h->redeposit = true; /* a standby that was just being started has not got everything */
	office_give_back(h->arena_fd);
	return true;
}

/* A standby that the supervisor was just starting has all of it now, too. */
static void complete_others(struct handover *h)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	to_component end = NETD__COMPONENT__TO_COMPONENT__INIT;

	for (unsigned slot = 0; slot < INETS; slot++) {
		int sock = slot == h->slot ? -1 : channel_of(h, slot);

		if (sock >= 0)
			send_kept(h, sock, SEND_WAIT_MS);
	}
	end.body_case = TO(HANDED_END);
	end.handed_end = &empty;
	tell_others(h, h->slot, &end, NULL, 0);
}

int alone_send(struct handover *h, const from_component *m, const int *fds, int nfds)
{
	if (m->body_case == FROM(ACTIVE))
		complete_others(h);
	return hand_on(h, h->slot, m, fds, nfds);
}

int alone_wait(struct handover *h, int timeout_ms)
{
	bool died = supervisor_died(h);
	struct pollfd p[2] = {{.fd = h->channel, .events = POLLIN}, {.fd = died ? -1 : supervisor_pidfd(h), .events = POLLIN}};

	if (h->gone)
		return -EPIPE;
	if (poll(p, 2, died ? RETRY_MS : timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return handover_receive(h);
}

int alone_succession(struct handover *h)
{
	int sv[2], ret;

	if (h->gone)
		return -ENODATA;
	if (!alone(h)) /* a dead one's office is held a moment longer by a child of its that is not yet at its exec */
		return supervisor_died(h) ? -EAGAIN : -EBUSY;
	handover_use_spares(h, true);
	ret = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0 ? -errno : 0;
	handover_use_spares(h, false);
	if (ret < 0)
		return ret;
	ret = send_kept(h, sv[1], 0);
	close(sv[1]);
	if (!ret)
		return sv[0];
	close(sv[0]);
	return ret;
}
