/*
 * The supervisor with components that are test doubles (component_rig.h):
 *
 *   test --fork--> supervisor --spawn--> this binary as netd-inet (active, standby) and netd-tap
 *     \________________ shared file: orders and observations ______________/
 */
#include "component_rig.h"
#include "supervisor/supervisor.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct rig {
	char dir[64], config[96];
	struct rig_shared *sh;
	pid_t supervisor;
};

/* We are its systemd, if `notify` is a socket. */
static struct {
	int notify;
	struct {
		char name[48];
		int fd;
	} entry[FDTABLE_MAX];
	int n;
} store = {.notify = -1};

static void store_serve(void);

#define eventually(condition, ms)                                                                  \
	({                                                                                         \
		uint64_t until = now_ns() + (ms)*NSEC_PER_MSEC;                                    \
		while (!(condition) && now_ns() < until) {                                         \
			store_serve();                                                             \
			usleep(500);                                                               \
		}                                                                                  \
		cr_assert(condition, "not within %d ms: %s", ms, #condition);                      \
	})

static void write_devices(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *devices)
{
	FILE *f = fopen(r->config, "we");

	cr_assert_not_null(f);
	fprintf(f, "socket: %s/netd.sock\npidfile_dir: %s/pid\ncrash_dir: %s/crash\n", r->dir, r->dir, r->dir);
	fprintf(f, "hang_ms: %u\nstandbys: %u\nlog_level: %s\n", hang_ms, standbys,
	    getenv("RIG_LOG") ? getenv("RIG_LOG") : "error");
	fprintf(f, "devices:\n%s", devices);
	fclose(f);
}

static void write_config(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *more)
{
	char devices[512];

	snprintf(devices, sizeof(devices), "  - name: tap0\n    chunks: 64\n%s", more);
	write_devices(r, hang_ms, standbys, devices);
}

/* The child: takes what the store holds at descriptors 3 and up, as systemd does it. */
static void become_supervisor(const struct rig *r)
{
	static struct supervisor s;
	struct config *config;
	char err[512], names[2048] = "", number[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < store.n; i++) {
		dup2(store.entry[i].fd, 3 + i);
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i ? ":" : "", store.entry[i].name);
	}
	if (store.n) {
		snprintf(number, sizeof(number), "%d", store.n);
		setenv("LISTEN_FDS", number, 1);
		setenv("LISTEN_FDNAMES", names, 1);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
	}
	if (config_load(r->config, &config, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s\n", err);
		_exit(1);
	}
	log_init("netd", (enum log_level)config->log_level);
	log_pass_level((enum log_level)config->log_level);
	if (supervisor_start(&s, config, r->config) < 0)
		_exit(1);
	exit(supervisor_run(&s));
}

static void start_supervisor(struct rig *r)
{
	r->supervisor = fork();
	cr_assert_geq(r->supervisor, 0);
	if (!r->supervisor)
		become_supervisor(r);
}

static void rig_start(struct rig *r, unsigned hang_ms, unsigned standbys)
{
	memset(r, 0, sizeof(*r));
	strcpy(r->dir, "/tmp/netd-rig-XXXXXX");
	cr_assert_not_null(mkdtemp(r->dir));
	snprintf(r->config, sizeof(r->config), "%s/netd.yaml", r->dir);
	r->sh = rig_create(r->dir);
	cr_assert_not_null(r->sh);
	setenv("RIG_DIR", r->dir, 1);
	setenv("NETD_LIBEXEC", r->dir, 1);
	unsetenv("NOTIFY_SOCKET");
	write_config(r, hang_ms, standbys, "");
}

static void rig_run(struct rig *r)
{
	start_supervisor(r);
	eventually(r->sh->actives == 1, 5000);
}

static int exists(const struct rig *r, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", r->dir, name);
	return access(path, F_OK) == 0;
}

static pid_t pid_in(const struct rig *r, const char *name)
{
	char path[160];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/pid/%s.pid", r->dir, name);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = 0;
		fclose(f);
	}
	return pid;
}

/* Also as a zombie that waits for whoever inherited it. */
static bool gone_for_good(pid_t pid)
{
	char path[64], state = 'Z';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = 'Z';
	fclose(f);
	return state == 'Z';
}

static void rig_stop(struct rig *r)
{
	char command[128];
	pid_t gone = 0;
	int status = 0;

	kill(r->supervisor, SIGTERM);
	eventually(gone || (gone = waitpid(r->supervisor, &status, WNOHANG)), 10000);
	cr_assert_eq(gone, r->supervisor);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	cr_assert_not(exists(r, "netd.sock"));
	cr_assert_not(exists(r, "pid/inet.pid"));
	cr_assert_not(exists(r, "pid/supervisor.pid"));
	cr_assert_not(exists(r, "pid/driver-tap0.pid"));
	eventually(gone_for_good(r->sh->active), 1000);
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(supervisor, .timeout = 60);

Test(backoff, first_at_once_then_exponential)
{
	static const unsigned want[] = {0, 0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000};
	struct backoff b = {0};
	uint64_t now = 1000 * NSEC_PER_SEC;

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		cr_assert_eq(backoff_death(&b, now, true), want[i], "death %u", i + 1);
		now += want[i] * NSEC_PER_MSEC + NSEC_PER_MSEC;
	}
	cr_assert_eq(backoff_death(&b, now, false), 0);
	cr_assert_eq(backoff_death(&b, now + 16 * NSEC_PER_SEC, true), 0);
}

Test(backoff, kills_from_outside_do_not_count)
{
	struct backoff b = {0};

	for (unsigned i = 0; i < 1000; i++)
		cr_assert_eq(backoff_death(&b, i * NSEC_PER_MSEC, false), 0);
	cr_assert_not(death_self_inflicted(SIGKILL, true, false));
	cr_assert_not(death_self_inflicted(SIGTERM, true, false));
	cr_assert_not(death_self_inflicted(0, false, false));
	cr_assert(death_self_inflicted(SIGSEGV, true, false));
	cr_assert(death_self_inflicted(SIGSYS, true, false));
	cr_assert(death_self_inflicted(1 << 8, true, false));
	cr_assert(death_self_inflicted(SIGKILL, true, true));
}

Test(hang, excuses)
{
	const uint64_t limit = 200 * NSEC_PER_MSEC, asked = NSEC_PER_SEC, now = asked + 300 * NSEC_PER_MSEC;
	struct hang h = {.number = 1, .asked_ns = asked, .sampled = true, .first = {.known = true}};
	struct hang_sample asleep = {.known = true}, starved = {.known = true, .runnable = true};
	struct hang_sample queued = {.known = true, .wait_ns = 150 * NSEC_PER_MSEC};
	struct hang_sample spinning = {.known = true, .runnable = true, .run_ns = 200 * NSEC_PER_MSEC};
	struct hang_sample disk = {.known = true, .blocked = true}, unknown = {.known = false};

	struct hang_sample stopped = {.known = true, .stopped = true, .run_ns = 150 * NSEC_PER_MSEC};

	cr_assert_eq(hang_verdict(&h, asked + limit, limit, &asleep), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_ASLEEP);
	cr_assert_eq(hang_verdict(&h, now, limit, &unknown), HANG_ASLEEP);
	cr_assert_eq(hang_verdict(&h, now, limit, &spinning), HANG_SPINNING);
	cr_assert_eq(hang_verdict(&h, now, limit, &stopped), HANG_STOPPED, "however long it ran before");
	cr_assert_eq(hang_verdict(&h, now, limit, &queued), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &starved), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now, limit, &disk), HANG_NOT);
	cr_assert_eq(hang_verdict(&h, now + 10 * limit, limit, &disk), HANG_ASLEEP);
	h.late_ns = 150 * NSEC_PER_MSEC;
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_NOT);
	h.late_ns = 0;
	h.grace_ns = now + 1;
	cr_assert_eq(hang_verdict(&h, now, limit, &asleep), HANG_NOT);
}

Test(supervisor, starts_and_stops)
{
	struct rig r;

	rig_start(&r, 1000, 2);
	rig_run(&r);
	eventually(r.sh->standbys == 2, 5000);
	eventually(r.sh->status_rows == 4, 1000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	eventually(pid_in(&r, "driver-tap0") == r.sh->driver, 1000);
	cr_assert_eq(pid_in(&r, "supervisor"), r.supervisor);
	cr_assert(exists(&r, "netd.sock"));
	rig_stop(&r);
}

/* The dead one's channel is full of deposits that nobody had read when it died. */
Test(supervisor, take_over_drains_the_dead)
{
	struct rig r;
	pid_t first;

	rig_start(&r, 1000, 2);
	rig_run(&r);
	for (unsigned round = 1; round <= 5; round++) {
		eventually(r.sh->standbys == 1 + round, 5000);
		first = r.sh->active;
		r.sh->withdraw_every = 4;
		r.sh->die_after = 1;
		__atomic_store_n(&r.sh->deposit, 600, __ATOMIC_SEQ_CST);
		eventually(r.sh->actives == 1 + round, 5000);
		cr_assert_neq(r.sh->active, first);
		cr_assert_eq(r.sh->held, 450, "%u held", r.sh->held);
		cr_assert_eq(r.sh->wrong, 0, "%u wrong", r.sh->wrong);
		cr_log_info("round %u: take over to grant %lu us\n", round, (unsigned long)r.sh->granted_ns / 1000);
		eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	}
	rig_stop(&r);
}

Test(supervisor, kills_from_outside_are_answered_at_once)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	for (unsigned i = 1; i <= 20; i++) {
		eventually(r.sh->standbys == i, 2000);
		kill(r.sh->active, SIGKILL);
		eventually(r.sh->actives == 1 + i, 2000);
		cr_log_info("take over to grant %lu us\n", (unsigned long)r.sh->granted_ns / 1000);
		/* Its moment before all others ends. */
		eventually(sched_getscheduler(r.sh->active) == SCHED_OTHER, 2000);
	}
	for (unsigned i = 1; i <= 20; i++) {
		eventually(r.sh->driver_starts == i && pid_in(&r, "driver-tap0") == r.sh->driver, 2000);
		usleep(2000);
		kill(r.sh->driver, SIGKILL);
		eventually(r.sh->driver_starts == 1 + i, 2000);
	}
	eventually(r.sh->driver_held == 1, 1000);
	eventually(r.sh->driver_restarted >= 20, 1000);
	cr_assert(exists(&r, "crash"));
	rig_stop(&r);
}

Test(supervisor, without_standby)
{
	struct rig r;

	rig_start(&r, 1000, 0);
	rig_run(&r);
	r.sh->die_after = 1;
	r.sh->deposit = 300;
	eventually(r.sh->actives == 2, 5000);
	cr_assert_eq(r.sh->held, 300);
	cr_assert_eq(r.sh->wrong, 0);
	rig_stop(&r);
}

Test(supervisor, finds_a_stopped_one)
{
	struct rig r;
	uint64_t from;
	pid_t driver;

	rig_start(&r, 100, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1, 5000);
	from = now_ns();
	kill(r.sh->active, SIGSTOP);
	eventually(r.sh->actives == 2, 2000);
	cr_log_info("hang_ms 100: replaced after %lu ms\n", (unsigned long)((now_ns() - from) / NSEC_PER_MSEC));
	cr_assert_geq(now_ns() - from, 100 * NSEC_PER_MSEC / 2);
	driver = r.sh->driver;
	kill(driver, SIGSTOP);
	eventually(r.sh->driver != driver, 2000);
	eventually(r.sh->driver_held == 1, 1000);
	rig_stop(&r);
}

Test(supervisor, crash_loop_backs_off)
{
	struct rig r;
	unsigned starts;

	rig_start(&r, 1000, 1);
	r.sh->driver_aborts = 1;
	rig_run(&r);
	usleep(1000000);
	starts = r.sh->driver_starts;
	cr_assert(starts >= 6 && starts <= 14, "%u starts in a second", starts);
	r.sh->driver_aborts = 0;
	eventually(r.sh->driver != 0, 5000);
	rig_stop(&r);
}

/* A standby that does not read: everything waits for it, nothing is lost, nobody else waits. */
Test(supervisor, a_full_channel_blocks_nobody)
{
	struct rig r;

	rig_start(&r, 60000, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->standby_pid, 5000);
	kill((pid_t)r.sh->standby_pid, SIGSTOP);
	r.sh->deposit = 8000;
	eventually(r.sh->deposited == 8000, 20000);
	kill((pid_t)r.sh->standby_pid, SIGCONT);
	eventually(r.sh->standby_held == 8000, 20000);
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2, 5000);
	cr_assert_eq(r.sh->held, 8000);
	cr_assert_eq(r.sh->wrong, 0);
	rig_stop(&r);
}

Test(supervisor, reload)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->devices == 1, 5000);
	write_config(&r, 1000, 2, "  - name: tap1\n    chunks: 64\nroutes: [{destination: default, gateway: 10.0.0.1}]\n");
	kill(r.supervisor, SIGHUP);
	eventually(r.sh->devices == 2 && !strcmp(r.sh->routes, "10.0.0.1"), 2000);
	eventually(r.sh->driver_starts == 2 && r.sh->standbys == 2, 2000);
	eventually(pid_in(&r, "driver-tap1") != 0, 1000);
	write_config(&r, 1000, 1, "    mtu: 9000\n"); /* refused */
	kill(r.supervisor, SIGHUP);
	usleep(100000);
	cr_assert_eq(r.sh->devices, 2);
	write_config(&r, 1000, 1, "");
	kill(r.supervisor, SIGHUP);
	eventually(r.sh->devices == 1, 2000);
	eventually(pid_in(&r, "driver-tap1") == 0, 2000);
	rig_stop(&r);
}

/* Components log at the level of the configuration; after a reload those that start. */
Test(supervisor, log_level_of_components)
{
	struct rig r;
	char want[8];

	rig_start(&r, 500, 1);
	setenv("RIG_LOG", "warn", 1);
	write_config(&r, 500, 1, "");
	rig_run(&r);
	eventually(r.sh->standbys == 1, 5000);
	snprintf(want, sizeof(want), "%d", LOG_LEVEL_WARN);
	cr_assert_str_eq(r.sh->log_level, want);
	setenv("RIG_LOG", "error", 1);
	write_config(&r, 500, 1, "");
	kill(r.supervisor, SIGHUP);
	kill(r.sh->inet_in_slot[1], SIGKILL);
	eventually(r.sh->standbys == 2, 5000);
	kill(r.sh->inet_in_slot[1], SIGKILL);
	eventually(r.sh->standbys == 3, 5000);
	snprintf(want, sizeof(want), "%d", LOG_LEVEL_ERROR);
	cr_assert_str_eq(r.sh->log_level, want);
	rig_stop(&r);
}

/* ---- the descriptor store */

static void store_listen(struct rig *r)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", r->dir);
	store.notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(store.notify, (struct sockaddr *)&addr, sizeof(addr)), 0);
	setenv("NOTIFY_SOCKET", addr.sun_path, 1);
}

static void store_message(char *text, int fd)
{
	char *name = strstr(text, "FDNAME=");

	if (!name)
		return;
	name += 7;
	name[strcspn(name, "\n")] = 0;
	if (strstr(text, "FDSTOREREMOVE=1")) {
		for (int i = 0; i < store.n; i++) {
			if (strcmp(store.entry[i].name, name) != 0)
				continue;
			close(store.entry[i].fd);
			store.entry[i--] = store.entry[--store.n];
		}
	} else if (fd >= 0) {
		for (int i = 0; i < store.n; i++)
			cr_assert_str_neq(store.entry[i].name, name, "stored twice");
		cr_assert_lt(store.n, FDTABLE_MAX);
		snprintf(store.entry[store.n].name, sizeof(store.entry[0].name), "%s", name);
		/* Far from where the child wants them. */
		store.entry[store.n++].fd = fcntl(fd, F_DUPFD_CLOEXEC, 500);
	}
}

static void store_serve(void)
{
	char text[1024];
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;

	while (store.notify >= 0) {
		struct iovec iov = {.iov_base = text, .iov_len = sizeof(text) - 1};
		struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf,
		    .msg_controllen = sizeof(control.buf)};
		ssize_t n = recvmsg(store.notify, &mh, MSG_CMSG_CLOEXEC);
		struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&mh);
		int fd = -1;

		if (n < 0)
			return;
		text[n] = 0;
		if (c && c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
		store_message(text, fd);
		if (fd >= 0)
			close(fd);
	}
}

Test(supervisor, its_own_death)
{
	struct rig r;
	pid_t active, driver;
	uint32_t redeposits;

	rig_start(&r, 500, 1);
	store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver_held == 0 && r.sh->driver, 5000);
	r.sh->deposit = 100;
	eventually(r.sh->standby_held == 100, 5000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	for (int round = 1; round <= 4; round++) {
		store_serve();
		active = r.sh->active;
		driver = r.sh->driver;
		redeposits = r.sh->redeposits;
		kill(r.supervisor, SIGKILL);
		waitpid(r.supervisor, NULL, 0);
		store_serve();
		start_supervisor(&r);
		eventually(r.sh->redeposits == redeposits + 1, 2000);
		eventually(pid_in(&r, "supervisor") == r.supervisor, 2000);
		cr_assert_eq(r.sh->active, active);
		cr_assert_eq(kill(active, 0), 0);
		/* The new one can do what the old one could. */
		usleep(50000);
		kill(active, SIGKILL);
		eventually(r.sh->actives == 1 + (uint32_t)round, 2000);
		cr_assert_eq(r.sh->held, 100);
		cr_assert_eq(r.sh->wrong, 0);
		eventually(r.sh->standbys == 1 + (uint32_t)round, 2000);
		eventually(r.sh->standby_held == 100, 2000);
		eventually(pid_in(&r, "inet") == r.sh->active, 1000);
		eventually(pid_in(&r, "driver-tap0") == driver, 1000);
		cr_assert_eq(r.sh->driver, driver);
		cr_assert_eq(r.sh->driver_starts, 1);
		cr_assert_not(gone_for_good(driver));
	}
	store_serve();
	rig_stop(&r);
	store_serve();
	cr_assert_eq(store.n, 0, "%d descriptors are left in the store, %s first", store.n, store.entry[0].name);
	close(store.notify);
}

/* What died while there was no supervisor, or was not buried yet by the last one, is no standby to count. */
Test(supervisor, its_own_death_and_a_standbys)
{
	struct rig r;
	pid_t living;

	rig_start(&r, 500, 2);
	store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 2 && r.sh->driver, 5000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	store_serve();
	kill(r.supervisor, SIGKILL);
	waitpid(r.supervisor, NULL, 0);
	store_serve();
	living = r.sh->inet_in_slot[1];
	kill(r.sh->inet_in_slot[2], SIGKILL);
	eventually(gone_for_good(r.sh->inet_in_slot[2]), 1000);
	write_config(&r, 500, 1, "");
	start_supervisor(&r);
	eventually(r.sh->redeposits == 1, 2000);
	eventually(exists(&r, "crash") && pid_in(&r, "supervisor") == r.supervisor, 2000);
	cr_assert_eq(r.sh->standbys, 2, "there was one already");
	cr_assert_not(gone_for_good(living));
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2, 2000);
	cr_assert_eq(r.sh->active, living);
	eventually(r.sh->standbys == 3, 2000);
	rig_stop(&r);
	store_serve();
	close(store.notify);
}

/* A reload moved the devices up in the configuration: a living driver keeps its slot in the clock page all the same. */
Test(supervisor, its_own_death_after_a_device_was_removed)
{
	struct rig r;
	pid_t driver;
	uint32_t pings;

	rig_start(&r, 100, 1);
	store_listen(&r);
	write_config(&r, 100, 1, "  - name: tap1\n    chunks: 64\n");
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver_starts == 2, 5000);
	eventually(pid_in(&r, "driver-tap0") && (driver = pid_in(&r, "driver-tap1")), 1000);
	write_devices(&r, 100, 1, "  - name: tap1\n    chunks: 64\n");
	kill(r.supervisor, SIGHUP);
	eventually(!pid_in(&r, "driver-tap0"), 2000);
	store_serve();
	kill(r.supervisor, SIGKILL);
	waitpid(r.supervisor, NULL, 0);
	store_serve();
	start_supervisor(&r);
	eventually(pid_in(&r, "supervisor") == r.supervisor, 2000);
	pings = r.sh->driver_pings;
	eventually(r.sh->driver_pings >= pings + 5 || r.sh->driver_starts > 2, 5000);
	cr_assert_eq(r.sh->driver_starts, 2, "it was replaced, for its beat was looked for in another's slot");
	cr_assert_eq(pid_in(&r, "driver-tap1"), driver);
	rig_stop(&r);
	store_serve();
	cr_assert_eq(store.n, 0, "%d descriptors are left in the store, %s first", store.n, store.entry[0].name);
	close(store.notify);
}

/* A driver that cannot be started ends what was begun; one that leaves by itself too; later they are restarted. */
Test(supervisor, a_start_that_fails)
{
	char path[128], command[128];
	struct rig r;
	int status;

	rig_start(&r, 1000, 1);
	r.sh->driver_exits = 1;
	start_supervisor(&r);
	cr_assert_eq(waitpid(r.supervisor, &status, 0), r.supervisor);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x", status);
	cr_assert_eq(r.sh->driver_starts, 1);
	cr_assert(gone_for_good(r.sh->inet_in_slot[0]));
	cr_assert_not(exists(&r, "netd.sock") || exists(&r, "netd.sock.lock") || exists(&r, "pid/supervisor.pid"));
	snprintf(path, sizeof(path), "%s/netd-tap", r.dir);
	unlink(path);
	start_supervisor(&r);
	cr_assert_eq(waitpid(r.supervisor, &status, 0), r.supervisor);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x", status);
	cr_assert(gone_for_good(r.sh->inet_in_slot[0]));
	cr_assert_not(exists(&r, "netd.sock") || exists(&r, "netd.sock.lock") || exists(&r, "pid/supervisor.pid"));
	snprintf(command, sizeof(command), "rm -rf %s", r.dir);
	cr_assert_eq(system(command), 0);
}

/* The newest crash file's text; "" if there is none. */
static const char *crash_text(const struct rig *r)
{
	static char text[128 << 10];
	char command[160];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "ls %s/crash/crash-*-tap0-*.txt 2>/dev/null | tail -1 | xargs -r cat", r->dir);
	f = popen(command, "re");
	cr_assert_not_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	pclose(f);
	return text;
}

/* What a component printed before it died is in its crash file, bounded, and without what a terminal would obey. */
Test(supervisor, last_words)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	eventually(r.sh->driver, 1000);
	r.sh->driver_talks = 50;
	eventually(strstr(crash_text(&r), "last words:\n  a line of ?[31m words\n  a line"), 5000);
	cr_assert(strstr(crash_text(&r), "\n  the end\n"));
	eventually(r.sh->driver_starts == 2 && r.sh->driver, 1000);
	r.sh->driver_talks = 1 << 20;
	eventually(strlen(crash_text(&r)) > 60000, 5000);
	cr_assert_lt(strlen(crash_text(&r)), 72000);
	rig_stop(&r);
}

/* Also if it said them, and died, while there was no supervisor. */
Test(supervisor, last_words_without_a_supervisor)
{
	struct rig r;
	pid_t driver;

	rig_start(&r, 1000, 1);
	store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver, 5000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	driver = r.sh->driver;
	store_serve();
	kill(r.supervisor, SIGKILL);
	waitpid(r.supervisor, NULL, 0);
	store_serve();
	r.sh->driver_talks = 50;
	kill(driver, SIGUSR1);
	eventually(gone_for_good(driver), 5000);
	start_supervisor(&r);
	eventually(strstr(crash_text(&r), "\n  the end\n"), 5000);
	eventually(r.sh->driver_starts == 2, 1000);
	rig_stop(&r);
	store_serve();
	cr_assert_eq(store.n, 0, "%d descriptors are left in the store, %s first", store.n, store.entry[0].name);
	close(store.notify);
}

/* The stated exception: connections are lost, but netd is not. */
Test(supervisor, its_own_death_and_every_inets)
{
	struct rig r;

	rig_start(&r, 500, 1);
	store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver, 5000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	store_serve();
	kill(r.supervisor, SIGKILL);
	waitpid(r.supervisor, NULL, 0);
	store_serve();
	kill(r.sh->inet_in_slot[1], SIGKILL);
	kill(r.sh->inet_in_slot[0], SIGKILL);
	for (unsigned i = 0; i < 2; i++)
		eventually(gone_for_good(r.sh->inet_in_slot[i]), 1000);
	start_supervisor(&r);
	eventually(r.sh->actives == 2 && r.sh->standbys == 2, 5000);
	eventually(pid_in(&r, "inet") == r.sh->active, 1000);
	cr_assert_eq(r.sh->driver_starts, 1);
	rig_stop(&r);
	store_serve();
	close(store.notify);
}
