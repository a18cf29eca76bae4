/* The life of one component: start, death, restart. See supervisor.h. */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define START_NS     (10 * NSEC_PER_SEC)
#define CHANNEL_ROOM (4 << 20)
#define RETRY_MS     100u /* after a start that failed on our side */

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

static bool alive(const struct component *c)
{
	return c->state != COMPONENT_DEAD && c->state != COMPONENT_STOPPING;
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
		if (is_inet(c) && alive(c))
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

static void component_forget(struct component *c)
{
	struct component **at = &c->sup->components;

	while (*at && *at != c)
		at = &(*at)->next;
	if (*at)
		*at = c->next;
	if (c->sup->active == c)
		c->sup->active = NULL;
	watch_stop(c->pid_watch);
	watch_stop(c->channel_watch);
	outq_clear(&c->out);
	if (c->channel >= 0)
		close(c->channel);
	if (c->pidfd >= 0)
		close(c->pidfd);
	if (c->words >= 0)
		close(c->words);
	free(c);
}

void death_name(char *buf, size_t size, int status, bool known)
{
	if (!known)
		snprintf(buf, size, "died (its parent was an earlier supervisor)");
	else if (WIFSIGNALED(status))
		snprintf(buf, size, "killed by SIG%s", sigabbrev_np(WTERMSIG(status))
		    ? sigabbrev_np(WTERMSIG(status)) : "RT");
	else
		snprintf(buf, size, "exit status %d", WEXITSTATUS(status));
}

bool death_self_inflicted(int status, bool known, bool killed_by_us)
{
	if (killed_by_us)
		return true;
	if (!known)
		return false;
	return !WIFSIGNALED(status) || (WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM);
}

static void after_inet(struct supervisor *s, unsigned wait_ms);

static void on_inet_timer(uv_timer_t *t)
{
	maintain_inets(t->data);
}

static void on_driver_timer(uv_timer_t *t)
{
	struct device *d = t->data;

	restart_driver(d->history.timer.loop->data, d, 0);
}

static void after_inet(struct supervisor *s, unsigned wait_ms)
{
	if (wait_ms)
		uv_timer_start(&s->inet.timer, on_inet_timer, wait_ms, 0);
	else
		maintain_inets(s);
}

void restart_driver(struct supervisor *s, struct device *d, unsigned wait_ms)
{
	if (wait_ms) {
		uv_timer_start(&d->history.timer, on_driver_timer, wait_ms, 0);
		return;
	}
	if (s->stopping || d->removed || driver_of(s, d))
		return;
	if (component_spawn(s, d) < 0)
		uv_timer_start(&d->history.timer, on_driver_timer,
		    max_of(backoff_death(&d->history.backoff, 0, true), RETRY_MS), 0);
}

static struct history *history_of(const struct component *c)
{
	return c->device ? &c->device->history : c->number ? &c->sup->standby : &c->sup->inet;
}

/* For how long it did the work of its role. The pidfd tells a death late: the kernel takes its memory down first. */
static uint64_t worked_ns(const struct component *c, uint64_t now)
{
	uint64_t until = c->killed_for[0] ? c->hang.worked_ns : c->lost_ns ? c->lost_ns : now;

	return c->ready_ns && until > c->ready_ns ? until - c->ready_ns : 0;
}

/* What its death means for its role; the component itself is still there. Returns how long to wait. */
static unsigned record_death(struct component *c, const char *death, bool self, uint64_t now)
{
	struct history *h = history_of(c);
	unsigned wait_ms = backoff_death(&h->backoff, worked_ns(c, now), self);
	char name[48];

	component_name(c, name, sizeof(name));
	h->restarts++;
	snprintf(h->last_death, sizeof(h->last_death), "%s", death);
	if (c->state != COMPONENT_DEAD && (c == c->sup->active || c->device))
		h->died_ns = c->killed_for[0] && c->hang.answered_ns ? c->hang.answered_ns : now;
	if (wait_ms)
		log_error("%s (pid %d) %s: again before it had worked for long, restart in %u ms", name, c->pid, death, wait_ms);
	else
		log_warn("%s (pid %d) %s: restart at once", name, c->pid, death);
	return wait_ms;
}

static bool reap(const struct component *c, int *status, bool *known)
{
	siginfo_t info = {.si_pid = 0};

	*known = waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG) == 0;
	if (*known && !info.si_pid)
		return false;
	*status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status & 0x7f;
	return true;
}

/* An asked-for death: nobody's fault, nothing to restart. */
static void after_stop(struct supervisor *s, struct device *d)
{
	if (s->stopping)
		supervisor_stop_step(s);
	else if (d && d->removed)
		device_destroy(s, d);
}

/*
 * Before everybody was there once, one that leaves by itself has said why it cannot work (no privilege, no memory, no such
 * network namespace): then netd cannot either.
 */
static bool cannot_work(const struct component *c, int status, bool known)
{
	const struct supervisor *s = c->sup;

	return !s->up && !c->hello && !c->number && known && WIFEXITED(status) && WEXITSTATUS(status);
}

static void on_death(void *arg, int events)
{
	struct component *c = arg;
	struct supervisor *s = c->sup;
	struct device *d = c->device;
	uint64_t now = now_ns();
	bool known, self, asked = c->state == COMPONENT_STOPPING || s->stopping;
	char death[64];
	unsigned wait_ms = 0;
	int status;

	(void)events;
	if (!reap(c, &status, &known))
		return;
	dispatch(c, true);
	if (!asked && cannot_work(c, status, known)) {
		s->failed = asked = true;
		supervisor_stop(s);
	}
	self = death_self_inflicted(status, known, c->killed_for[0] && !c->stopped);
	death_name(death, sizeof(death), status, known);
	if (c->killed_for[0])
		snprintf(death, sizeof(death), "%s", c->killed_for);
	if (!asked)
		wait_ms = record_death(c, death, self, now);
	store_bury(c);
	if (s->active == c)
		s->active = NULL;
	c->state = COMPONENT_DEAD;
	/* A leak or a crash on the way out is worth a file too; a start that fails has said why. */
	if (!asked || (self && status && !s->failed))
		crash_write(c, death, now);
	component_forget(c);
	s->changed = true;
	if (asked)
		after_stop(s, d);
	else if (!d)
		after_inet(s, wait_ms);
	else if (!d->removed) {
		restart_driver(s, d, wait_ms);
		send_driver_restarted(s, d);
	}
}

void component_kill(struct component *c, const char *why)
{
	char name[48];

	component_name(c, name, sizeof(name));
	log_error("%s (pid %d) is killed: %s", name, c->pid, why);
	snprintf(c->killed_for, sizeof(c->killed_for), "%s", why);
	c->sup->changed = true;
	if (syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0) < 0)
		log_error("%s (pid %d) cannot be killed: %s", name, c->pid, strerror(errno));
}

void component_hung(struct component *c, enum hang_kind kind)
{
	static const char *const why[] = {
	    [HANG_STOPPED] = "hung, stopped", [HANG_ASLEEP] = "hung, asleep", [HANG_SPINNING] = "hung, spinning"};

	history_of(c)->hangs++;
	c->stopped = kind == HANG_STOPPED;
	/* Before the kill: the successor looks. */
	if (c == c->sup->active && kind == HANG_SPINNING)
		store_release(&c->sup->clock->hung_pid, (uint64_t)c->pid);
	component_kill(c, why[kind]);
}

static int watch_component(struct component *c)
{
	struct supervisor *s = c->sup;

	c->pid_watch = watch_start(&s->loop, c->pidfd, UV_READABLE, on_death, c);
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

void component_priority(const struct component *c)
{
	enum priority p = PRIORITY_WORKING;

	if (c->state == COMPONENT_STANDBY)
		p = PRIORITY_STANDBY;
	else if (c->state == COMPONENT_DEAD || (c->state == COMPONENT_STARTING && is_inet(c) && c->sup->active))
		p = PRIORITY_BACKGROUND;
	if (c->pid > 0)
		priority_set(c->pid, p, c->sup->nice);
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
		component_forget(c);
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

static pid_t pid_of(int pidfd)
{
	char path[64], line[128];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	if (f)
		fclose(f);
	return pid;
}

static bool is_dead(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
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
	c->pid = pid_of(pidfd);
	c->hello = true;
	c->ready_ns = c->started_ns;
	c->hang.grace_ns = 0;
	c->hang.number = __atomic_load_n(&s->clock->beat[slot].beat, __ATOMIC_ACQUIRE);
	c->state = d ? COMPONENT_RUNNING : COMPONENT_STANDBY;
	/* Its channel may hold deposits still, which on_death() takes; but it counts as nobody. */
	if (is_dead(pidfd))
		c->state = COMPONENT_DEAD;
	if (!d)
		c->number = c->state == COMPONENT_DEAD && c->pid == pidfile_read(s, "inet") ? 0 : 1 + slot; /* until the active one says that it is */
	if (watch_component(c) < 0) {
		component_forget(c);
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

void maintain_inets(struct supervisor *s)
{
	unsigned have = 0, want = 1 + *s->config->standbys;
	struct component *spare = NULL;
	bool unburied = false;

	if (s->stopping || uv_is_active((uv_handle_t *)&s->inet.timer))
		return;
	for (struct component *c = s->components; c; c = c->next) {
		unburied |= is_inet(c) && c->state == COMPONENT_DEAD;
		if (!is_inet(c) || !alive(c))
			continue;
		have++;
		if (c != s->active)
			spare = c;
	}
	if (!s->active && !have && unburied)
		return; /* on_death() drains its channel first, and comes back here */
	/* Standbys come after the one that they stand by for, so that it wins the race for the mutex. */
	if (!s->active || s->active->state != COMPONENT_RUNNING || settling(s))
		want = 1;
	else if (have > want && spare) {
		send_stop(spare);
		s->changed = true;
	}
	for (; have < want; have++) {
		if (component_spawn(s, NULL) < 0) {
			after_inet(s, max_of(backoff_death(&s->inet.backoff, 0, true), RETRY_MS));
			return;
		}
	}
}
