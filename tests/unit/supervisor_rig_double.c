/* See supervisor_rig_double.h. */
#include "supervisor_rig_double.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include "proto/component.pb-c.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef Netd__Component__ToComponent to_component;
typedef Netd__Component__FromComponent from_component;
#define TO(which)   NETD__COMPONENT__TO_COMPONENT__BODY_##which
#define FROM(which) NETD__COMPONENT__FROM_COMPONENT__BODY_##which

struct double_state {
	struct rig_shared *sh;
	struct clock_page *clock;
	uint32_t slot;
	bool driver, standby, active, granted;
	bool asked; /* for everything again, while it was not active */
	int fd[RIG_KEYS]; /* 0: not held */
	uint32_t held;
	int locked[2]; /* written by the thread that waits for the role */
	struct channel_msg msg;
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct rig_shared *map_shared(const char *dir, bool create)
{
	char path[512];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/shared", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);
	if (fd < 0 || (create && ftruncate(fd, sizeof(struct rig_shared)) < 0))
		return NULL;
	p = mmap(NULL, sizeof(struct rig_shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

struct rig_shared *rig_create(const char *dir)
{
	struct rig_shared *sh = map_shared(dir, true);
	pthread_mutexattr_t attr;
	char self[512], path[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (!sh || n < 0)
		return NULL;
	self[n] = 0;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&sh->role, &attr);
	pthread_mutexattr_destroy(&attr);
	snprintf(path, sizeof(path), "%s/netd-inet", dir);
	if (symlink(self, path) < 0)
		return NULL;
	snprintf(path, sizeof(path), "%s/netd-tap", dir);
	return symlink(self, path) < 0 ? NULL : sh;
}

static void say(from_component *m, const int *fds, int n)
{
	if (channel_send_wait(CHANNEL_FD, &m->base, fds, n, 5000) < 0)
		_exit(2);
}

static void say_empty(int body)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	Netd__Component__Hello hello = NETD__COMPONENT__HELLO__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	hello.version = 1;
	m.body_case = (Netd__Component__FromComponent__BodyCase)body;
	if (body == FROM(HELLO))
		m.hello = &hello;
	else
		m.active = &empty;
	say(&m, NULL, 0);
}

static void say_key(bool deposit, uint32_t kind, uint32_t index, int fd)
{
	Netd__Component__Key key = NETD__COMPONENT__KEY__INIT;
	Netd__Component__Deposit d = NETD__COMPONENT__DEPOSIT__INIT;
	from_component m = NETD__COMPONENT__FROM_COMPONENT__INIT;

	key.kind = kind;
	key.index = index;
	key.generation = 1;
	d.key = &key;
	m.body_case = deposit ? FROM(DEPOSIT) : FROM(WITHDRAW);
	if (deposit)
		m.deposit = &d;
	else
		m.withdraw = &key;
	say(&m, &fd, deposit ? 1 : 0);
}

/* The descriptor that belongs to a key: a memfd of that size. */
static int fd_for(uint32_t index)
{
	int fd = memfd_create("rig", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, index) < 0)
		_exit(3);
	return fd;
}

static void hold(struct double_state *d, uint32_t index, int fd)
{
	if (index >= RIG_KEYS)
		return;
	if (d->fd[index])
		close(d->fd[index]);
	else
		d->held++;
	d->fd[index] = fd;
}

static void let_go(struct double_state *d, uint32_t index)
{
	if (index >= RIG_KEYS || !d->fd[index])
		return;
	close(d->fd[index]);
	d->fd[index] = 0;
	d->held--;
}

static bool withdrawn(const struct rig_shared *sh, uint32_t i)
{
	return sh->withdraw_every && i % sh->withdraw_every == 0;
}

static void count_wrong(struct double_state *d)
{
	d->sh->wrong = 0;
	d->sh->held = d->held;
	for (uint32_t i = 0; i < RIG_KEYS; i++) {
		struct stat st;

		if (d->fd[i] && (withdrawn(d->sh, i) || fstat(d->fd[i], &st) < 0 || st.st_size != i))
			d->sh->wrong++;
	}
}

static void redeposit(struct double_state *d)
{
	d->asked = !d->active;
	if (d->asked)
		return; /* when it becomes active */
	for (uint32_t i = 0; i < RIG_KEYS; i++)
		if (d->fd[i])
			say_key(true, DEPOSIT_SESSION, i, d->fd[i]);
	say_empty(FROM(ACTIVE));
	d->sh->redeposits++;
}

static void on_config(struct rig_shared *sh, const Netd__Component__Config *c)
{
	sh->devices = (uint32_t)c->n_device;
	snprintf(sh->routes, sizeof(sh->routes), "%s", c->n_route ? c->route[0]->gateway : "");
}

static void on_status(const struct double_state *d, const Netd__Component__Status *s)
{
	d->sh->status_rows = (uint32_t)s->n_component;
	for (size_t i = 0; d->active && i < s->n_component; i++)
		if (!strcmp(s->component[i]->state, "backoff"))
			snprintf(d->sh->waits, sizeof(d->sh->waits), "%s", s->component[i]->name);
}

static void talk(struct rig_shared *sh)
{
	static const char line[] = "a line of \033[31m words\n";
	uint32_t n = __atomic_exchange_n(&sh->driver_talks, 0, __ATOMIC_SEQ_CST);
	ssize_t written = 1;

	if (!n)
		return;
	for (uint32_t i = 0; i < n && written > 0; i += (uint32_t)written)
		written = write(STDERR_FILENO, line, sizeof(line) - 1);
	written = write(STDERR_FILENO, "the end", 7);
	abort();
}

static void report(const volatile struct rig_shared *sh)
{
	if (!sh->driver_reports)
		return;
	dprintf(STDERR_FILENO, "==%d==ERROR: a report\n", (int)getpid());
	while (sh->driver_reports)
		usleep(1000);
	dprintf(STDERR_FILENO, "the end\n");
	abort();
}

static void on_message(struct double_state *d, const to_component *m)
{
	switch (m->body_case) {
	case TO(HANDED):
		hold(d, m->handed->key->index, channel_take_fd(&d->msg, 0));
		break;
	case TO(WITHDRAWN):
		let_go(d, m->withdrawn->index);
		break;
	case TO(PING):
		__atomic_store_n(&d->clock->beat[d->slot].beat, m->ping->number, __ATOMIC_RELEASE);
		d->sh->driver_pings += d->driver;
		d->sh->inet_pings += d->active;
		if (d->driver) {
			talk(d->sh);
			report(d->sh);
		}
		break;
	case TO(TAKE_OVER_GRANTED):
		d->granted = true;
		break;
	case TO(REDEPOSIT):
		redeposit(d);
		break;
	case TO(CONFIG):
		on_config(d->sh, m->config);
		break;
	case TO(DRIVER_RESTARTED):
		if (d->active)
			d->sh->driver_restarted++;
		break;
	case TO(STATUS):
		on_status(d, m->status);
		break;
	case TO(STOP):
		_exit(0);
	default:
		break;
	}
	if (d->standby && !d->active) {
		d->sh->standby_held = d->held;
		d->sh->standby_pid = (uint32_t)getpid();
	}
}

/* Returns false when there is nothing more now. */
static bool receive(struct double_state *d)
{
	int ret = channel_recv(CHANNEL_FD, &d->msg, 0);
	to_component *m;

	if (ret == -EAGAIN)
		return false;
	if (ret <= 0)
		_exit(0);
	m = netd__component__to_component__unpack(NULL, d->msg.len, d->msg.data);
	if (!m)
		_exit(4);
	on_message(d, m);
	netd__component__to_component__free_unpacked(m, NULL);
	channel_close_fds(&d->msg);
	return true;
}

static void start(struct double_state *d, int clock_at)
{
	to_component *m;
	struct pollfd p = {.fd = CHANNEL_FD, .events = POLLIN};

	poll(&p, 1, -1);
	if (channel_recv(CHANNEL_FD, &d->msg, 0) <= 0)
		_exit(5);
	m = netd__component__to_component__unpack(NULL, d->msg.len, d->msg.data);
	if (!m || m->body_case != TO(START))
		_exit(6);
	d->slot = m->start->slot;
	d->standby = m->start->standby;
	d->clock = memory_map(d->msg.fds[clock_at], CLOCK_SIZE, PROT_READ | PROT_WRITE);
	if (!d->clock)
		_exit(7);
	netd__component__to_component__free_unpacked(m, NULL);
	channel_close_fds(&d->msg);
}

static void *wait_for_role(void *arg)
{
	struct double_state *d = arg;
	int ret = pthread_mutex_lock(&d->sh->role);

	if (ret == EOWNERDEAD)
		pthread_mutex_consistent(&d->sh->role);
	bell_ring(d->locked[1]);
	pause();
	return NULL;
}

static void take_over(struct double_state *d)
{
	uint64_t from = now();

	d->clock->down_ns = from;
	say_empty(FROM(TAKE_OVER));
	while (!d->granted) {
		struct pollfd p = {.fd = CHANNEL_FD, .events = POLLIN};

		if (!receive(d))
			poll(&p, 1, -1);
	}
	d->sh->granted_ns = now() - from;
	d->active = true;
	count_wrong(d);
	d->sh->active = getpid();
	d->sh->inet_pings = 0;
	d->clock->ready_ns = now();
	say_empty(FROM(ACTIVE));
	if (d->asked)
		redeposit(d);
	__atomic_fetch_add(&d->sh->actives, 1, __ATOMIC_SEQ_CST);
}

static void obey(struct double_state *d)
{
	uint32_t n = __atomic_exchange_n(&d->sh->deposit, 0, __ATOMIC_SEQ_CST);

	for (uint32_t i = 0; i < n; i++) {
		int fd = fd_for(i);

		say_key(true, DEPOSIT_SESSION, i, fd);
		hold(d, i, fd);
		if (withdrawn(d->sh, i)) {
			say_key(false, DEPOSIT_SESSION, i, -1);
			let_go(d, i);
		}
	}
	if (n && d->sh->die_after)
		kill(getpid(), SIGKILL);
	d->sh->deposited += n;
}

static void be_inet(struct double_state *d)
{
	pthread_t thread;

	start(d, 2);
	if (bell_create(d->locked) < 0 || pthread_create(&thread, NULL, wait_for_role, d) != 0)
		_exit(8);
	if (d->slot < RIG_SLOTS)
		d->sh->inet_in_slot[d->slot] = getpid();
	if (getenv("NETD_LOG_LEVEL"))
		snprintf(d->sh->log_level, sizeof(d->sh->log_level), "%s", getenv("NETD_LOG_LEVEL"));
	if (d->standby && d->sh->standby_aborts)
		abort();
	say_empty(FROM(HELLO));
	if (d->standby)
		__atomic_fetch_add(&d->sh->standbys, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		struct pollfd p[2] = {{.fd = CHANNEL_FD, .events = POLLIN}, {.fd = d->locked[0], .events = POLLIN}};

		poll(p, d->active ? 1 : 2, 5);
		while (receive(d))
			;
		if (!d->active && p[1].revents)
			take_over(d);
		if (d->active)
			obey(d);
	}
}

static struct rig_shared *talker;

static void on_usr1(int sig)
{
	(void)sig;
	talk(talker);
}

static void be_driver(struct double_state *d)
{
	bool first;

	start(d, 3);
	talker = d->sh;
	signal(SIGUSR1, on_usr1);
	d->driver = true;
	d->sh->driver_starts++;
	if (d->sh->driver_aborts)
		abort();
	if (d->sh->driver_exits)
		_exit(1);
	d->sh->driver = getpid();
	say_empty(FROM(HELLO));
	while (receive(d))
		;
	d->sh->driver_held = d->held;
	first = !d->held;
	if (first) {
		int fd = fd_for(1);

		say_key(true, DEPOSIT_TAP, 1, fd);
		hold(d, 1, fd);
	}
	for (;;) {
		struct pollfd p = {.fd = CHANNEL_FD, .events = POLLIN};

		poll(&p, 1, -1);
		while (receive(d))
			if (!first) /* else what it holds is its own */
				d->sh->driver_held = d->held;
	}
}

/* Runs before the test framework's main. */
__attribute__((constructor)) static void act(int argc, char **argv)
{
	static struct double_state d;
	const struct rlimit no_core = {0, 0};
	const char *name = argc ? strrchr(argv[0], '/') : NULL, *dir = getenv("RIG_DIR");

	if (!name || !dir || strncmp(name, "/netd-", 6) != 0)
		return;
	setrlimit(RLIMIT_CORE, &no_core);
	d.sh = map_shared(dir, false);
	if (!d.sh)
		_exit(9);
	if (!strcmp(name, "/netd-inet"))
		be_inet(&d);
	be_driver(&d);
}
