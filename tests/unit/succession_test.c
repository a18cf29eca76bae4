/*
 * netd-inet itself, twice, under a supervisor that is this test, and without one:
 *
 *   test --channel--> netd-inet (active)          "supervisor": a process that only sleeps,
 *    |  \---channel--> netd-inet (standby)         whose death is the supervisor's
 *    \-----control socket: who may succeed it?
 */
#include "supervisor/supervisor.h"
#include "base/office.h"
#include "proto/control.pb-c.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define INET_FILES 160 /* a netd-inet's */
#define ARENA  (3072ull << 20)
#define MEMORY (4096ull << 20)
#define TO(which)   NETD__COMPONENT__TO_COMPONENT__BODY_##which
#define FROM(which) NETD__COMPONENT__FROM_COMPONENT__BODY_##which

struct inet {
	int channel, pidfd;
	pid_t pid;
};

static int grave; /* who writes a pid there has it killed when this test is dead */
static int arena, memory, clock_page, listening;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static char dir[] = "/tmp/netd-succession-XXXXXX";
static struct inet a, b;
static pid_t sleeper;
static struct channel_msg msg;

static void say(int channel, to_component *m, const int *fds, int n)
{
	cr_assert_eq(channel_send_wait(channel, &m->base, fds, n, 10000), 0);
}

static void say_empty(int channel, int body)
{
	Netd__Component__Empty empty = NETD__COMPONENT__EMPTY__INIT;
	Netd__Component__Config config = NETD__COMPONENT__CONFIG__INIT;
	Netd__Component__TakeOverGranted granted = NETD__COMPONENT__TAKE_OVER_GRANTED__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;

	m.body_case = (Netd__Component__ToComponent__BodyCase)body;
	if (body == TO(CONFIG))
		m.config = &config;
	else if (body == TO(TAKE_OVER_GRANTED))
		m.take_over_granted = &granted;
	else
		m.stop = &empty;
	say(channel, &m, NULL, 0);
}

static void say_keep(int channel, const char *name, int fd)
{
	Netd__Component__Keep keep = NETD__COMPONENT__KEEP__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;

	keep.name = (char *)(uintptr_t)name;
	m.body_case = TO(KEEP);
	m.keep = &keep;
	say(channel, &m, &fd, 1);
}

/* Waits for it, whatever comes before; false at the channel's end. */
static bool expect(int channel, int body)
{
	for (;;) {
		struct pollfd p = {.fd = channel, .events = POLLIN};
		int ret = channel_recv(channel, &msg, 0);
		from_component *m;
		bool found;

		if (ret == -EAGAIN) {
			poll(&p, 1, -1);
			continue;
		}
		channel_close_fds(&msg);
		if (ret <= 0)
			return false;
		m = netd__component__from_component__unpack(NULL, msg.len, msg.data);
		found = m && (int)m->body_case == body;
		netd__component__from_component__free_unpacked(m, NULL);
		if (found)
			return true;
	}
}

/* netd-inet outlives whoever started it, also a test that was stopped. */
static void watch_over(void)
{
	int p[2];
	pid_t pid;

	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	if (fork()) {
		close(p[0]);
		grave = p[1];
		return;
	}
	close(p[1]);
	while (read(p[0], &pid, sizeof(pid)) == sizeof(pid)) {
		int fd = (int)syscall(SYS_pidfd_open, pid, 0);

		if (fd >= 0)
			fcntl(fd, F_DUPFD, 100);
	}
	for (int fd = 3; fd < 200; fd++)
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	_exit(0);
}

static int spawn_inet(struct inet *i)
{
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	cr_assert_eq(spawn("netd-inet", sv[1], STDERR_FILENO, &i->pid, &i->pidfd), 0);
	cr_assert_eq(write(grave, &i->pid, sizeof(i->pid)), sizeof(i->pid));
	close(sv[1]);
	return i->channel = sv[0];
}

static void start_inet(struct inet *i, unsigned slot)
{
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;
	const int fds[] = {arena, memory, clock_page, listening};

	spawn_inet(i);
	start.role = start.name = (char *)(uintptr_t) "inet";
	start.slot = slot;
	start.standby = slot > 0;
	start.arena_size = ARENA;
	start.memory_size = MEMORY;
	m.body_case = TO(START);
	m.start = &start;
	say(i->channel, &m, fds, 4);
	say_empty(i->channel, TO(CONFIG));
	say_empty(i->channel, TO(HANDED_END));
	cr_assert(expect(i->channel, FROM(HELLO)));
}

static void keep_all(int supervisor)
{
	const struct inet *of[] = {&a, &b};

	for (int i = 0; i < 2; i++) {
		say_keep(of[i]->channel, "arena", arena);
		say_keep(of[i]->channel, "control", listening);
		say_keep(of[i]->channel, "channel.inet.0", a.channel);
		say_keep(of[i]->channel, "channel.inet.1", b.channel);
		say_keep(of[i]->channel, "pidfd.inet.1", b.pidfd);
		say_keep(of[i]->channel, "supervisor", supervisor);
	}
}

/* It has read everything that was sent before: it answers what was sent last. */
static void settle(const struct inet *i, unsigned slot)
{
	const struct clock_page *clock = memory_map(clock_page, CLOCK_SIZE, PROT_READ);
	Netd__Component__Ping ping = NETD__COMPONENT__PING__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;

	cr_assert_not_null(clock);
	ping.number = 1;
	m.body_case = TO(PING);
	m.ping = &ping;
	say(i->channel, &m, NULL, 0);
	while (__atomic_load_n(&clock->beat[slot].beat, __ATOMIC_ACQUIRE) != 1)
		poll(NULL, 0, 1);
	munmap((void *)(uintptr_t)clock, CLOCK_SIZE);
}

static void die(pid_t *pid)
{
	if (*pid) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

/* What netd-inet may have open. */
static void limit_files(rlim_t n)
{
	struct rlimit r;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &r), 0);
	r.rlim_cur = min_of(n, r.rlim_max);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &r), 0);
}

static void setup(void)
{
	char libexec[256];

	snprintf(libexec, sizeof(libexec), "%s/netd", getenv("NETD_BUILD"));
	setenv("NETD_LIBEXEC", libexec, 1);
	setenv("NETD_LOG_LEVEL", "3", 1);
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(chmod(dir, 0755), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", dir);
	arena = memory_create("arena", ARENA);
	memory = memory_create("memory", MEMORY);
	clock_page = memory_create("clock", CLOCK_SIZE);
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert(arena >= 0 && memory >= 0 && clock_page >= 0 && listening >= 0);
	cr_assert_eq(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(chmod(address.sun_path, 0666), 0);
	cr_assert_eq(listen(listening, 64), 0);
	watch_over();
	limit_files(INET_FILES);
	start_inet(&a, 0);
	cr_assert(expect(a.channel, FROM(TAKE_OVER)));
	say_empty(a.channel, TO(TAKE_OVER_GRANTED));
	cr_assert(expect(a.channel, FROM(ACTIVE)));
	start_inet(&b, 1);
	limit_files(RLIM_INFINITY);
	sleeper = fork();
	if (!sleeper) {
		close(grave);
		pause();
		_exit(0);
	}
	keep_all((int)syscall(SYS_pidfd_open, sleeper, 0));
	settle(&a, 0);
	settle(&b, 1);
}

static void teardown(void)
{
	die(&a.pid);
	die(&b.pid);
	die(&sleeper);
	unlink(address.sun_path);
	rmdir(dir);
}

TestSuite(succession, .init = setup, .fini = teardown, .timeout = 60);

static int connected(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* The answer to "may I succeed?": 0 and how many names came, or the error. */
static int ask(int conn, unsigned *names)
{
	Netd__Control__Request q = NETD__CONTROL__REQUEST__INIT;
	Netd__Control__Empty empty = NETD__CONTROL__EMPTY__INIT;
	Netd__Control__Response *r;
	struct pollfd p = {.fd = conn, .events = POLLIN};
	int fd, error;

	q.id = 1;
	q.body_case = NETD__CONTROL__REQUEST__BODY_SUCCEED;
	q.succeed = &empty;
	if (channel_send(conn, &q.base, NULL, 0) < 0 || poll(&p, 1, -1) < 0 || channel_recv(conn, &msg, 0) <= 0)
		return -ECONNRESET;
	r = netd__control__response__unpack(NULL, msg.len, msg.data);
	error = r ? r->error : -EPROTO;
	if (r)
		netd__control__response__free_unpacked(r, NULL);
	fd = channel_take_fd(&msg, 0);
	channel_close_fds(&msg);
	if (names)
		*names = 0;
	for (; fd >= 0 && channel_recv(fd, &msg, 0) > 0; channel_close_fds(&msg))
		if (names)
			*names += msg.nfds == 1;
	if (fd >= 0)
		close(fd);
	else if (!error)
		error = -EPROTO;
	return error;
}

/* As a stranger, over a connection of its own or over one that root made. */
static int ask_as_stranger(int conn)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (setgid(12345) < 0 || setuid(12345) < 0)
			_exit(99);
		_exit(-ask(conn >= 0 ? conn : connected(), NULL));
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return -WEXITSTATUS(status);
}

static unsigned open_files(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	cr_assert_not_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* It may have read "take over" and died before it granted: its successor is told again, without a wait. */
Test(succession, a_takeover_that_nobody_grants_is_asked_for_again)
{
	die(&a.pid);
	cr_assert(expect(b.channel, FROM(TAKE_OVER)));
	say_empty(b.channel, TO(REDEPOSIT));
	cr_assert(expect(b.channel, FROM(TAKE_OVER)), "the standby gave up");
	say_empty(b.channel, TO(TAKE_OVER_GRANTED));
	cr_assert(expect(b.channel, FROM(ACTIVE)));
	cr_assert(expect(b.channel, FROM(ACTIVE)), "and says so to who asked, after its deposits");
}

/* Its supervisor is stopped: it waits, for it is the last that knows all. */
Test(succession, a_supervisor_that_says_nothing)
{
	struct pollfd p = {.events = POLLIN};

	die(&a.pid);
	p.fd = b.channel;
	cr_assert(expect(b.channel, FROM(TAKE_OVER)));
	cr_assert_eq(poll(&p, 1, 6000), 0, "the standby gave up");
	say_empty(b.channel, TO(TAKE_OVER_GRANTED));
	cr_assert(expect(b.channel, FROM(ACTIVE)));
}

Test(succession, while_the_supervisor_lives)
{
	unsigned before = open_files(a.pid);

	for (int i = 0; i < 50; i++) {
		int conn = connected();

		cr_assert_eq(ask(conn, NULL), -EBUSY);
		close(conn);
	}
	if (geteuid() == 0)
		cr_assert_eq(ask_as_stranger(-1), -EPERM);
	while (open_files(a.pid) != before)
		poll(NULL, 0, 1); /* it closes what we closed when it looks */
}

Test(succession, after_its_death)
{
	int conn = connected(), office;
	unsigned names;

	/* Dead, but somebody still has its office: a child that is not yet at its exec. */
	cr_assert_eq(office_take(arena, &office), OFFICE_TAKEN);
	die(&sleeper);
	cr_assert_eq(ask(conn, NULL), -EAGAIN);
	close(office);
	if (geteuid() == 0) {
		int ours = connected();

		cr_assert_eq(ask_as_stranger(-1), -EPERM);
		cr_assert_eq(ask_as_stranger(ours), -EPERM, "who asks counts, not who connected");
		close(ours);
	}
	cr_assert_eq(ask(conn, &names), 0);
	cr_assert_eq(names, 6);
	close(conn);
	/* One that has the office is a supervisor, whatever the pidfd of the last one says. */
	cr_assert_eq(office_take(arena, &office), OFFICE_TAKEN);
	say_keep(a.channel, "supervisor", (int)syscall(SYS_pidfd_open, getpid(), 0));
	say_empty(a.channel, TO(REDEPOSIT));
	conn = connected();
	while (ask(conn, NULL) != -EBUSY)
		poll(NULL, 0, 1);
	close(conn);
	close(office);
}

/* One that cannot have all of it takes nothing, and the next one finds it whole. */
Test(succession, more_than_it_may_open)
{
	static struct supervisor s;
	static struct config config = {.socket = address.sun_path};
	struct rlimit most, few;
	int next = dup(STDIN_FILENO);

	close(next);
	s.config = &config;
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &most), 0);
	few = most;
	few.rlim_cur = (rlim_t)next + 4; /* the connection, what it is given by, and two of six */
	die(&sleeper);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	cr_assert_lt(succession_ask(&s), 0, "the rest is lost");
	fdtable_close(&s.stored);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &most), 0);
	cr_assert_eq(succession_ask(&s), 0);
	cr_assert_eq(s.stored.n, 5);
	fdtable_close(&s.stored);
}

/* A second supervisor, at once or later, finds the office taken. */
Test(succession, one_office)
{
	int office, other;

	cr_assert_eq(office_take(arena, &office), OFFICE_TAKEN);
	cr_assert_eq(office_take(arena, &other), OFFICE_OCCUPIED);
	cr_assert_not(office_borrow(arena));
	close(office);
	cr_assert(office_borrow(arena));
	cr_assert_eq(office_take(arena, &other), OFFICE_BUSY);
	office_give_back(arena);
	cr_assert_eq(office_take(arena, &other), OFFICE_TAKEN);
	close(other);
}

/* Both in one instant; a deposit that nobody had read, and a control connection, live on. */
Test(succession, together_with_the_active_one)
{
	int conn = connected(), again;
	unsigned names;

	cr_assert_eq(ask(conn, NULL), -EBUSY); /* so it was accepted: a deposit, which lies in the channel */
	kill(sleeper, SIGKILL);
	die(&a.pid);
	die(&sleeper);
	again = ask(conn, &names);
	cr_assert_eq(again, 0, "error %d", again);
	cr_assert_eq(names, 6);
	close(conn);
}

/* Clients took every descriptor that they could have: the standby has as many, and keeps all that was given. */
Test(succession, a_full_table)
{
	int conn[INET_FILES], n = 0;
	unsigned names;

	die(&sleeper);
	while (n < INET_FILES && ask(conn[n] = connected(), &names) == 0)
		n++;
	cr_assert(n > INET_FILES / 4 && n < INET_FILES, "%d", n);
	die(&a.pid);
	for (int i = 0; i < n; i++)
		cr_assert(ask(conn[i], &names) == 0 && names == 6, "%d of %d", i, n);
	for (int i = 0; i <= n; i++)
		close(conn[i]);
}

/* One that the supervisor had not finished telling leaves the role to the next. */
Test(succession, one_that_was_not_told_everything)
{
	struct inet c;
	Netd__Component__Start start = NETD__COMPONENT__START__INIT;
	to_component m = NETD__COMPONENT__TO_COMPONENT__INIT;
	const int fds[] = {arena, memory, clock_page, listening};
	siginfo_t info;
	int conn = connected(), channel;

	cr_assert_eq(ask(conn, NULL), -EBUSY);
	channel = spawn_inet(&c);
	start.role = start.name = (char *)(uintptr_t) "inet";
	start.slot = 2;
	start.standby = true;
	start.arena_size = ARENA;
	start.memory_size = MEMORY;
	m.body_case = TO(START);
	m.start = &start;
	say(channel, &m, fds, 4);
	cr_assert(expect(channel, FROM(HELLO)));
	say_keep(channel, "supervisor", (int)syscall(SYS_pidfd_open, sleeper, 0));
	die(&sleeper);
	die(&b.pid); /* so that it is the only one */
	die(&a.pid);
	cr_assert_eq(waitid(P_PID, (id_t)c.pid, &info, WEXITED), 0);
	cr_assert(info.si_code == CLD_EXITED && info.si_status == 1);
	close(conn);
}
