/* The supervisor's work: start, takeover, restart, hangs, reload, last words, stop. */
#include "supervisor/supervisor.h"
#include "supervisor_rig.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

TestSuite(supervisor, .timeout = 60);

Test(supervisor, starts_and_stops)
{
	struct rig r;

	rig_start(&r, 1000, 2);
	rig_run(&r);
	eventually(r.sh->standbys == 2);
	eventually(r.sh->status_rows == 4);
	eventually(pid_in(&r, "inet") == r.sh->active);
	eventually(pid_in(&r, "driver-tap0") == r.sh->driver);
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
		eventually(r.sh->standbys == 1 + round);
		first = r.sh->active;
		r.sh->withdraw_every = 4;
		r.sh->die_after = 1;
		__atomic_store_n(&r.sh->deposit, 600, __ATOMIC_SEQ_CST);
		eventually(r.sh->actives == 1 + round);
		cr_assert_neq(r.sh->active, first);
		cr_assert_eq(r.sh->held, 450, "%u held", r.sh->held);
		cr_assert_eq(r.sh->wrong, 0, "%u wrong", r.sh->wrong);
		cr_log_info("round %u: take over to grant %lu us\n", round, (unsigned long)r.sh->granted_ns / 1000);
		eventually(pid_in(&r, "inet") == r.sh->active);
	}
	rig_stop(&r);
}

Test(supervisor, kills_from_outside_are_answered_at_once)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	for (unsigned i = 1; i <= 20; i++) {
		eventually(r.sh->standbys == i);
		kill(r.sh->active, SIGKILL);
		eventually(r.sh->actives == 1 + i);
		cr_log_info("take over to grant %lu us\n", (unsigned long)r.sh->granted_ns / 1000);
		/* Its moment before all others ends. */
		eventually(sched_getscheduler(r.sh->active) == SCHED_OTHER);
	}
	eventually(r.sh->driver);
	for (unsigned i = 1; i <= 20; i++) {
		pid_t driver = r.sh->driver;

		eventually(pid_in(&r, "driver-tap0") == driver);
		usleep(2000);
		kill(driver, SIGKILL);
		eventually(r.sh->driver_starts == 1 + i && r.sh->driver != driver);
	}
	eventually(r.sh->driver_held == 1);
	eventually(r.sh->driver_restarted >= 20);
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
	eventually(r.sh->actives == 2);
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
	eventually(r.sh->standbys == 1);
	from = now_ns();
	kill(r.sh->active, SIGSTOP);
	eventually(r.sh->actives == 2);
	cr_log_info("hang_ms 100: replaced after %lu ms\n", (unsigned long)((now_ns() - from) / NSEC_PER_MSEC));
	cr_assert_geq(now_ns() - from, 100 * NSEC_PER_MSEC / 2);
	driver = r.sh->driver;
	kill(driver, SIGSTOP);
	eventually(r.sh->driver != driver);
	eventually(r.sh->driver_held == 1);
	rig_stop(&r);
}

Test(supervisor, crash_loop_backs_off)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	r.sh->driver_aborts = 1;
	rig_run(&r);
	eventually(!strcmp(r.sh->waits, "driver tap0"));
	cr_assert_geq(r.sh->driver_starts, 6);
	r.sh->driver_aborts = 0;
	eventually(r.sh->driver != 0 && r.sh->standbys == 1);
	r.sh->standby_aborts = 1;
	kill(r.sh->inet_in_slot[1], SIGKILL);
	eventually(!strcmp(r.sh->waits, "standby"));
	r.sh->standby_aborts = 0;
	eventually(r.sh->standbys == 2);
	rig_stop(&r);
}

/* However often it crashes: it worked in between. */
Test(supervisor, what_works_is_replaced_at_once)
{
	struct rig r;

	rig_start(&r, 300, 1);
	rig_run(&r);
	for (unsigned i = 1; i <= 12; i++) {
		eventually(r.sh->standbys == i && r.sh->inet_pings >= 3);
		kill(r.sh->active, SIGABRT);
		eventually(r.sh->actives == 1 + i);
	}
	eventually(r.sh->standbys == 13 && r.sh->inet_pings >= 3);
	cr_assert_str_empty(r.sh->waits);
	rig_stop(&r);
}

/* A standby that does not read: everything waits for it, nothing is lost, nobody else waits. */
Test(supervisor, a_full_channel_blocks_nobody)
{
	struct rig r;

	rig_start(&r, 60000, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->standby_pid);
	kill((pid_t)r.sh->standby_pid, SIGSTOP);
	r.sh->deposit = 8000;
	eventually(r.sh->deposited == 8000);
	kill((pid_t)r.sh->standby_pid, SIGCONT);
	eventually(r.sh->standby_held == 8000);
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2);
	cr_assert_eq(r.sh->held, 8000);
	cr_assert_eq(r.sh->wrong, 0);
	rig_stop(&r);
}

Test(supervisor, reload)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->devices == 1);
	write_config(&r, 1000, 2, "  - name: tap1\n    chunks: 64\nroutes: [{destination: default, gateway: 10.0.0.1}]\n");
	kill(r.supervisor, SIGHUP);
	eventually(r.sh->devices == 2 && !strcmp(r.sh->routes, "10.0.0.1"));
	eventually(r.sh->driver_starts == 2 && r.sh->standbys == 2);
	eventually(pid_in(&r, "driver-tap1") != 0);
	write_config(&r, 1000, 1, "    mtu: 9000\n"); /* refused */
	kill(r.supervisor, SIGHUP);
	usleep(100000);
	cr_assert_eq(r.sh->devices, 2);
	write_config(&r, 1000, 1, "");
	kill(r.supervisor, SIGHUP);
	eventually(r.sh->devices == 1);
	eventually(pid_in(&r, "driver-tap1") == 0);
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
	eventually(r.sh->standbys == 1);
	snprintf(want, sizeof(want), "%d", LOG_LEVEL_WARN);
	cr_assert_str_eq(r.sh->log_level, want);
	setenv("RIG_LOG", "error", 1);
	write_config(&r, 500, 1, "");
	kill(r.supervisor, SIGHUP);
	kill(r.sh->inet_in_slot[1], SIGKILL);
	eventually(r.sh->standbys == 2);
	kill(r.sh->inet_in_slot[1], SIGKILL);
	eventually(r.sh->standbys == 3);
	snprintf(want, sizeof(want), "%d", LOG_LEVEL_ERROR);
	cr_assert_str_eq(r.sh->log_level, want);
	rig_stop(&r);
}

/* By a netd-inet that may open more than we, or obeys a stranger: what is beyond us the standbys have, and we go on. */
Test(supervisor, more_deposits_than_it_may_open)
{
	const struct rlimit few = {.rlim_cur = 120, .rlim_max = 120};
	struct rig r;

	rig_start(&r, 500, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	cr_assert_eq(prlimit(r.supervisor, RLIMIT_NOFILE, &few, NULL), 0);
	r.sh->deposit = 200;
	eventually(r.sh->standby_held == 200);
	kill(r.sh->driver, SIGKILL);
	eventually(r.sh->driver_starts == 2);
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2);
	cr_assert_eq(r.sh->held, 200);
	cr_assert_eq(r.sh->wrong, 0);
	rig_stop(&r);
}

/* For want of room, say: then there is none, and not the last one's. */
Test(supervisor, a_pid_file_that_cannot_be_written)
{
	char fresh[96];
	struct rig r;

	rig_start(&r, 500, 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && pid_in(&r, "inet") == r.sh->active);
	snprintf(fresh, sizeof(fresh), "%s/pid/inet.pid.new", r.dir);
	cr_assert_eq(mkdir(fresh, 0755), 0);
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2);
	eventually(!exists(&r, "pid/inet.pid"));
	rig_stop(&r);
}

/* Memories are files for the kernel: what a shell allows a file is not meant for them. */
Test(supervisor, a_limit_of_file_sizes)
{
	struct rlimit r, small;
	struct rig rig;

	rig_start(&rig, 500, 1);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &r), 0);
	small = (struct rlimit){.rlim_cur = 4096, .rlim_max = r.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	start_supervisor(&rig);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &r), 0);
	eventually(rig.sh->standbys == 1 && rig.sh->driver);
	rig_stop(&rig);
}

/* A driver that cannot be started ends what was begun; one that leaves by itself too; later they are restarted. */
Test(supervisor, a_start_that_fails)
{
	char path[128];
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
	rig_remove(&r);
}

/* What a component printed before it died is in its crash file, bounded, and without what a terminal would obey. */
Test(supervisor, last_words)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_run(&r);
	eventually(r.sh->driver);
	r.sh->driver_talks = 50;
	eventually(strstr(crash_text(&r), "last words:\n  a line of ?[31m words\n  a line"));
	cr_assert(strstr(crash_text(&r), "\n  the end\n"));
	eventually(r.sh->driver_starts == 2 && r.sh->driver);
	r.sh->driver_talks = 1 << 20;
	eventually(strlen(crash_text(&r)) > 60000);
	cr_assert_lt(strlen(crash_text(&r)), 72000);
	rig_stop(&r);
}

/* A sanitizer's report takes longer than hang_ms; one that never ends is ended. */
Test(supervisor, a_report_is_not_cut_off)
{
	struct rig r;
	uint32_t pings;

	rig_start(&r, 100, 0);
	rig_run(&r);
	eventually(r.sh->driver);
	r.sh->driver_reports = 1;
	pings = r.sh->inet_pings;
	eventually(r.sh->inet_pings >= pings + 30); /* ten times hang_ms */
	cr_assert_eq(r.sh->driver_starts, 1, "it was not let finish");
	r.sh->driver_reports = 0;
	eventually(strstr(crash_text(&r), "\n  the end\n"));
	cr_assert(strstr(crash_text(&r), "cause: killed by SIGABRT"));
	r.sh->driver_reports = 1;
	eventually(strstr(crash_text(&r), "cause: hung"));
	r.sh->driver_reports = 0;
	rig_stop(&r);
}
