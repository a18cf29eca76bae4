/*
 * Messages from components, and the takeover.
 *
 * A channel is read until it is empty, because a takeover waits behind what is in it; only a component
 * that never stops talking is interrupted after a fair share. Who may say what: hello, deposit
 * and withdraw everybody; take_over, active and accuse_driver netd-inet only.
 *
 * A message is consumed when what it asks for has been done: if we die before, whoever reads the channel next
 * (our successor, or netd-inet itself: daemon/alone.h) finds it, and does it again.
 */
#include "supervisor/supervisor.h"
#include "proto/barrier.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define FAIR_SHARE 256
#define SPARE_FILES 32
#define DRIVER_DEPOSITS 4 /* a compromised driver must not use our descriptors up, nor the store's places */
/* A successor maps and recovers everything before it answers pings again. */
#define RECOVERY_NS (10 * NSEC_PER_SEC)

static struct escrow_key key_in(const struct component *c, const Netd__Component__Key *k)
{
	return (struct escrow_key){.owner = escrow_owner(c->device), .kind = k->kind, .index = k->index,
	    .generation = k->generation};
}

static unsigned deposits_of(const struct component *c)
{
	unsigned n = 0;

	for (const struct deposit *d = escrow_first(c->sup->escrow, escrow_owner(c->device)); d; d = d->next)
		n++;
	return n;
}

/* Some are left for what we do ourselves, which is to replace the dead. A descriptor has the lowest number that is free. */
static bool room_for(const struct fdset *fds)
{
	struct rlimit r;

	return getrlimit(RLIMIT_NOFILE, &r) < 0 || (rlim_t)fds->fd[fds->n - 1] + SPARE_FILES < r.rlim_cur;
}

static void on_deposit(struct component *c, const Netd__Component__Key *k, struct fdset *fds)
{
	struct escrow_key key;

	if (!k || !fds || !fds->n) {
		log_warn("a deposit without key or descriptors from pid %d", c->pid);
		return;
	}
	key = key_in(c, k);
	if (c->device && (fds->n > 1 || (!escrow_find(c->sup->escrow, &key) && deposits_of(c) >= DRIVER_DEPOSITS))) {
		log_warn("driver %s deposits more than a driver has use for", c->device->name);
		return;
	}
	if (!room_for(fds)) { /* netd-inet does not get there (daemon/handover.h), unless we may open less than it */
		log_error("a deposit of pid %d is not kept: too many files are open (ulimit -n)", c->pid);
		escrow_remove(c->sup->escrow, &key);
	} else if (escrow_put(c->sup->escrow, &key, fdset_ref(fds)) < 0) {
		log_error("no memory to keep a deposit of pid %d", c->pid);
	} else if (c->device) {
		store_deposit(c->sup, c->device, escrow_find(c->sup->escrow, &key));
	}
	for (struct component *o = c->sup->components; is_inet(c) && o; o = o->next)
		if (o != c && is_inet(o))
			send_handed(o, &key, fds);
}

static void on_withdraw(struct component *c, const Netd__Component__Key *k)
{
	struct escrow_key key = key_in(c, k);

	if (c->device)
		store_withdraw(c->sup, c->device, &key);
	escrow_remove(c->sup->escrow, &key);
	for (struct component *o = c->sup->components; is_inet(c) && o; o = o->next)
		if (o != c && is_inet(o))
			send_withdrawn(o, &key);
}

/*
 * `c` holds the mutex: whoever was active is dead. Whatever any other netd-inet said before is worked
 * off first; the grant is the last message of the three (deposits, withdrawals, grant).
 */
static void on_take_over(struct component *c)
{
	struct supervisor *s = c->sup;
	struct component *prev;

	if (s->stopping)
		return;
	for (struct component *o = s->components; o; o = o->next)
		if (o != c && is_inet(o))
			dispatch(o, true);
	prev = s->active;
	if (prev && prev != c) {
		prev->state = COMPONENT_DEAD;
		prev->lost_ns = now_ns();
		component_priority(prev);
		if (!s->inet.died_ns && prev->killed_for[0])
			s->inet.died_ns = prev->hang.answered_ns; /* its clients waited since then */
	}
	/* Before the grant: with another processor the successor may be ready before we go on here. */
	c->take_over_ns = now_ns();
	send_granted(c, s->inet.died_ns);
	s->active = c;
	c->number = 0;
	c->ready_ns = 0;
	c->hang.grace_ns = c->take_over_ns + RECOVERY_NS;
	s->changed = true;
	settle_begin(s); /* the drivers are waited for as well */
}

static void note_pause(struct history *h, uint64_t from, uint64_t to)
{
	h->pause_last_us = to > from ? (to - from) / NSEC_PER_USEC : 0;
	h->pause_max_us = max_of(h->pause_max_us, h->pause_last_us);
}

static bool everybody_was_there(const struct supervisor *s)
{
	const struct component *c = s->components;

	while (c && (c->hello || c->number))
		c = c->next;
	return s->ready && !c;
}

static void on_active(struct component *c)
{
	struct supervisor *s = c->sup;
	uint64_t down = load_acquire(&s->clock->down_ns), ready = load_acquire(&s->clock->ready_ns);

	/* All that it had to deposit is here, also if we are new: nobody misses anything any more. */
	for (struct component *o = s->components; o; o = o->next)
		if (o != c && is_inet(o))
			send_handed_end(o);
	if ((s->active == c && c->state == COMPONENT_RUNNING) || c->state == COMPONENT_STOPPING)
		return;
	s->active = c;
	c->number = 0;
	c->state = COMPONENT_RUNNING;
	c->ready_ns = now_ns();
	c->hang.grace_ns = 0;
	if (s->ready)
		settle_begin(s); /* if the takeover took longer than the moment that began with it */
	component_priority(c);
	if (s->ready) {
		/* The clock page tells the pause best; if it is of an older takeover, our own clock does. */
		if (ready < down || ready < c->take_over_ns || !down) {
			down = c->take_over_ns;
			ready = now_ns();
		}
		if (s->inet.died_ns)
			down = min_of(down, s->inet.died_ns);
		note_pause(&s->inet, down, ready);
		log_info("netd-inet (pid %d) is active after a pause of %llu us", c->pid,
		    (unsigned long long)s->inet.pause_last_us);
	} else {
		log_info("netd-inet (pid %d) is active", c->pid);
	}
	s->inet.died_ns = 0;
	s->ready = true;
	s->up |= everybody_was_there(s);
	s->changed = true;
	maintain_inets(s);
}

static void note_driver(const struct component *c)
{
	struct history *h = &c->device->history;

	if (h->died_ns) {
		note_pause(h, h->died_ns, now_ns());
		log_info("driver %s (pid %d) is active after a pause of %llu us", c->device->name, c->pid,
		    (unsigned long long)h->pause_last_us);
		settle_begin(c->sup);
	}
	h->died_ns = 0;
}

static void on_hello(struct component *c)
{
	c->hello = true;
	c->hang.grace_ns = 0;
	c->hang.answered_ns = now_ns();
	if (c->state == COMPONENT_STARTING && is_inet(c) && c->number) {
		c->state = COMPONENT_STANDBY;
		c->ready_ns = now_ns();
	}
	if (c->state == COMPONENT_STARTING && !is_inet(c)) {
		c->state = COMPONENT_RUNNING;
		c->ready_ns = now_ns();
		note_driver(c);
	}
	component_priority(c);
	c->sup->up |= everybody_was_there(c->sup);
	c->sup->changed = true;
}

static void on_accuse(struct component *c, const Netd__Component__AccuseDriver *a)
{
	struct device *d = device_by_name(c->sup, a->device);
	struct component *driver = d ? driver_of(c->sup, d) : NULL;

	log_error("netd-inet accuses driver %s: %s", a->device, a->reason);
	if (driver)
		component_kill(driver, "accused of breaking the ring contract");
}

static void handle(struct component *c, const from_component *m, struct fdset *fds)
{
	switch (m->body_case) {
	case NETD__COMPONENT__FROM_COMPONENT__BODY_HELLO:
		on_hello(c);
		return;
	case NETD__COMPONENT__FROM_COMPONENT__BODY_DEPOSIT:
		on_deposit(c, m->deposit->key, fds);
		return;
	case NETD__COMPONENT__FROM_COMPONENT__BODY_WITHDRAW:
		on_withdraw(c, m->withdraw);
		return;
	default:
		break;
	}
	if (is_inet(c) && m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_TAKE_OVER)
		on_take_over(c);
	else if (is_inet(c) && m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_ACTIVE)
		on_active(c);
	else if (is_inet(c) && m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_ACCUSE_DRIVER)
		on_accuse(c, m->accuse_driver);
	else if (is_inet(c) && m->body_case == NETD__COMPONENT__FROM_COMPONENT__BODY_SET_ASIDE)
		aside_write(c->sup, m->set_aside->text, m->set_aside->frame.data, m->set_aside->frame.len);
	else
		log_warn("pid %d sent message %d, which is not its to send", c->pid, (int)m->body_case);
}

/* The descriptors leave the shared buffer before the message is worked: that may dispatch others. */
static struct fdset *take_fds(struct channel_msg *m)
{
	struct fdset *fds = m->nfds ? fdset_take(m->fds, m->nfds) : NULL;

	m->nfds = 0;
	return fds;
}

void dispatch(struct component *c, bool all)
{
	struct channel_msg *msg = &c->sup->msg;
	int ret = 0;

	if (c->channel < 0 || c->draining)
		return;
	c->draining = true;
	for (unsigned n = 0; all || n < FAIR_SHARE; n++) {
		from_component *m;
		struct fdset *fds;

		ret = channel_recv(c->channel, msg, MSG_PEEK);
		if (ret == -EMSGSIZE) {
			log_error("a message of pid %d lost its descriptors: too many are open", c->pid);
			channel_consume(c->channel);
			continue;
		}
		if (ret <= 0)
			break;
		fds = take_fds(msg);
		m = netd__component__from_component__unpack(NULL, msg->len, msg->data);
		if (m)
			handle(c, m, fds);
		else
			log_warn("pid %d sent something that is no message", c->pid);
		netd__component__from_component__free_unpacked(m, NULL);
		fdset_unref(fds);
		channel_consume(c->channel);
	}
	c->draining = false;
	if (ret == 0 || (ret < 0 && ret != -EAGAIN)) {
		/* Its end is closed. The rest is the pidfd's to tell. */
		watch_stop(c->channel_watch);
		c->channel_watch = NULL;
	}
}
