/* One component: its start, or its adoption from an earlier supervisor. See supervisor.h. */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define START_NS     (10 * NSEC_PER_SEC)
#define CHANNEL_ROOM (4 << 20)

struct component *driver_of(const struct supervisor *s, const struct device *d)
{
	struct component *c = s->components;

	while (c && c->device != d)
		c = c->next;
	return c;
}

void component_name(const struct component *c, char *buf, size_t size)
{
	if (c->device)
		snprintf(buf, size, "driver %s", c->device->name);
	else if (c->number)
		snprintf(buf, size, "standby-%u", c->number);
	else
		snprintf(buf, size, "netd-inet");
}

const char *component_state_name(const struct component *c)
{
	static const char *const names[] = {"starting", "standby", "running", "stopping", "stopped"};

	return names[c->state];
}

/* The first one in the clock page, from `first` on, that nobody has. */
static unsigned free_slot(const struct supervisor *s, unsigned first)
{
	uint64_t taken = 0;

	for (const struct component *c = s->components; c; c = c->next)
		taken |= 1ull << c->slot;
	return first + (unsigned)__builtin_ctzll(~(taken >> first));
}

/* 0 for the first, n for standby-n. */
static unsigned free_number(const struct supervisor *s)
{
	uint32_t taken = 0;

	for (const struct component *c = s->components; c; c = c->next)
		if (is_inet(c) && component_alive(c))
			taken |= 1u << c->number;
	return taken ? (unsigned)__builtin_ctz(~(taken | 1u)) : 0;
}

static void on_channel(void *arg, int events)
{
	struct component *c = arg;

	if (events & UV_WRITABLE)
		component_flush(c);
	if (events & UV_READABLE)
		dispatch(c, false);
}

void component_detach(struct component *c)
{
	struct component **at = &c->sup->components;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	if (c->sup->active == c)
		c->sup->active = NULL;
	c->sup->changed = true;
	watch_stop(c->pid_watch);
	watch_stop(c->channel_watch);
	outq_clear(&c->out);
}

void component_free(struct component *c)
{
	const int fds[] = {c->channel, c->pidfd, c->words};

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(c);
}

static void forget(struct component *c)
{
	component_detach(c);
	component_free(c);
}

static int watch_component(struct component *c)
{
	struct supervisor *s = c->sup;

	c->pid_watch = watch_start(&s->loop, c->pidfd, UV_READABLE, component_died, c);
	c->channel_watch = watch_start(&s->loop, c->channel, UV_READABLE, on_channel, c);
	return c->pid_watch && c->channel_watch ? 0 : -ENOMEM;
}

static struct component *component_new(struct supervisor *s, struct device *d)
{
	struct component *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->sup = s;
	c->device = d;
	c->slot = free_slot(s, d ? SLOTS_INET : 0);
	c->number = d ? 0 : free_number(s);
	c->channel = c->pidfd = c->words = -1;
	c->started_ns = now_ns();
	c->hang.grace_ns = c->started_ns + START_NS;
	c->next = s->components;
	s->components = c;
	s->changed = true;
	return c;
}

static int make_channel(int sv[2])
{
	int room = CHANNEL_ROOM;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		if (setsockopt(sv[i], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
			setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

static enum priority priority_of(const struct component *c)
{
	const struct supervisor *s = c->sup;

	switch (c->state) {
	case COMPONENT_STANDBY:
		return PRIORITY_URGENT;
	case COMPONENT_STARTING:
		if (is_inet(c) && s->active)
			return PRIORITY_BACKGROUND;
		return s->ready ? PRIORITY_URGENT : PRIORITY_WORKING;
	case COMPONENT_RUNNING:
		return settling(s) ? PRIORITY_URGENT : PRIORITY_WORKING;
	case COMPONENT_DEAD:
		return PRIORITY_BACKGROUND;
	default:
		return PRIORITY_WORKING;
	}
}

void component_priority(const struct component *c)
{
	if (c->pid > 0)
		priority_set(c->pid, priority_of(c), *c->sup->config->nice);
}

static int start_process(struct component *c)
{
	const struct config_device *conf = c->device ? config_find_device(c->sup->config, c->device->name) : NULL;
	char program[64];
	int sv[2], ret;

	c->words = memory_create("words", WORDS_SIZE);
	if (c->words < 0)
		return c->words;
	ret = make_channel(sv);
	if (ret < 0)
		return ret;
	c->channel = sv[0];
	snprintf(program, sizeof(program), "netd-%s", conf ? conf->driver : "inet");
	ret = spawn(program, sv[1], c->words, &c->pid, &c->pidfd);
	close(sv[1]);
	return ret;
}

int component_spawn(struct supervisor *s, struct device *d)
{
	struct component *c = component_new(s, d);
	char name[48];
	int ret;

	if (!c) {
		log_error("no memory to start a component");
		return -ENOMEM;
	}
	__atomic_store_n(&s->clock->beat[c->slot].beat, 0, __ATOMIC_RELAXED);
	ret = start_process(c);
	component_priority(c); /* until here it was ours: we waited for its exec */
	if (!ret)
		ret = watch_component(c);
	if (ret < 0) {
		component_name(c, name, sizeof(name));
		log_error("%s cannot be started: %s", name, strerror(-ret));
		forget(c);
		return ret;
	}
	send_start(c); /* first of all */
	store_component(c);
	if (is_inet(c)) {
		store_send(c);
		send_config(c);
	}
	send_deposits(c);
	log_debug("pid %d started in slot %u", c->pid, c->slot);
	return 0;
}

int component_adopt(struct supervisor *s, struct device *d, unsigned slot, int channel, int pidfd, int words)
{
	struct component *c = component_new(s, d);

	if (!c) {
		close(channel);
		close(pidfd);
		if (words >= 0)
			close(words);
		return -ENOMEM;
	}
	c->slot = slot;
	c->words = words;
	c->channel = channel;
	c->pidfd = pidfd;
	c->pid = pidfd_pid(pidfd);
	c->hello = true;
	c->ready_ns = c->started_ns;
	c->hang.grace_ns = 0;
	c->hang.number = __atomic_load_n(&s->clock->beat[slot].beat, __ATOMIC_ACQUIRE);
	c->state = d ? COMPONENT_RUNNING : COMPONENT_STANDBY;
	/* Its channel may hold deposits still, which component_died() takes; but it counts as nobody. */
	if (pidfd_dead(pidfd))
		c->state = COMPONENT_DEAD;
	if (!d)
		c->number = c->state == COMPONENT_DEAD && c->pid == pidfile_read(s, "inet") ? 0 : 1 + slot; /* until the active one says that it is */
	if (watch_component(c) < 0) {
		forget(c);
		return -ENOMEM;
	}
	if (c->state == COMPONENT_DEAD)
		return 0;
	if (!d) {
		store_send(c);
		send_config(c);
	}
	/* Only the active one and drivers have anything to deposit; a standby remembers it until it is active. */
	send_redeposit(c);
	log_debug("pid %d lives on from an earlier supervisor", c->pid);
	return 0;
}
