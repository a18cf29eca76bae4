/* The supervisor's own death: its successor has what was in the descriptor store. */
#include "supervisor/supervisor.h"
#include "supervisor_rig.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

TestSuite(store, .timeout = 60);

/* And takes what it stored until then. */
static void kill_supervisor(struct rig *r)
{
	rig_store_serve();
	kill(r->supervisor, SIGKILL);
	waitpid(r->supervisor, NULL, 0);
	rig_store_serve();
}

Test(store, its_own_death)
{
	struct rig r;
	pid_t active, driver;
	uint32_t redeposits;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver_held == 0 && r.sh->driver);
	r.sh->deposit = 100;
	eventually(r.sh->standby_held == 100);
	eventually(pid_in(&r, "inet") == r.sh->active);
	for (int round = 1; round <= 4; round++) {
		rig_store_serve();
		active = r.sh->active;
		driver = r.sh->driver;
		redeposits = r.sh->redeposits;
		kill(r.supervisor, SIGKILL);
		waitpid(r.supervisor, NULL, 0);
		rig_store_serve();
		start_supervisor(&r);
		eventually(r.sh->redeposits == redeposits + 1);
		eventually(pid_in(&r, "supervisor") == r.supervisor);
		cr_assert_eq(r.sh->active, active);
		cr_assert_eq(kill(active, 0), 0);
		/* The new one can do what the old one could. */
		usleep(50000);
		kill(active, SIGKILL);
		eventually(r.sh->actives == 1 + (uint32_t)round);
		cr_assert_eq(r.sh->held, 100);
		cr_assert_eq(r.sh->wrong, 0);
		eventually(r.sh->standbys == 1 + (uint32_t)round);
		eventually(r.sh->standby_held == 100);
		eventually(pid_in(&r, "inet") == r.sh->active);
		eventually(pid_in(&r, "driver-tap0") == driver);
		cr_assert_eq(r.sh->driver, driver);
		cr_assert_eq(r.sh->driver_starts, 1);
		cr_assert_not(gone_for_good(driver));
	}
	rig_store_serve();
	rig_stop(&r);
	rig_store_close();
}

/* What died while there was no supervisor, or was not buried yet by the last one, is no standby to count. */
Test(store, its_own_death_and_a_standbys)
{
	struct rig r;
	pid_t living;

	rig_start(&r, 500, 2);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 2 && r.sh->driver);
	eventually(pid_in(&r, "inet") == r.sh->active);
	kill_supervisor(&r);
	living = r.sh->inet_in_slot[1];
	kill(r.sh->inet_in_slot[2], SIGKILL);
	eventually(gone_for_good(r.sh->inet_in_slot[2]));
	write_config(&r, 500, 1, "");
	start_supervisor(&r);
	eventually(r.sh->redeposits == 1);
	eventually(exists(&r, "crash") && pid_in(&r, "supervisor") == r.supervisor);
	cr_assert_eq(r.sh->standbys, 2, "there was one already");
	cr_assert_not(gone_for_good(living));
	kill(r.sh->active, SIGKILL);
	eventually(r.sh->actives == 2);
	cr_assert_eq(r.sh->active, living);
	eventually(r.sh->standbys == 3);
	rig_stop(&r);
	rig_store_close();
}

/* A reload moved the devices up in the configuration: a living driver keeps its slot in the clock page all the same. */
Test(store, its_own_death_after_a_device_was_removed)
{
	struct rig r;
	pid_t driver;
	uint32_t pings;

	rig_start(&r, 100, 1);
	rig_store_listen(&r);
	write_config(&r, 100, 1, "  - name: tap1\n    chunks: 64\n");
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver_starts == 2);
	eventually(pid_in(&r, "driver-tap0") && (driver = pid_in(&r, "driver-tap1")));
	write_devices(&r, 100, 1, "  - name: tap1\n    chunks: 64\n");
	kill(r.supervisor, SIGHUP);
	eventually(!pid_in(&r, "driver-tap0"));
	kill_supervisor(&r);
	start_supervisor(&r);
	eventually(pid_in(&r, "supervisor") == r.supervisor);
	pings = r.sh->driver_pings;
	eventually(r.sh->driver_pings >= pings + 5 || r.sh->driver_starts > 2);
	cr_assert_eq(r.sh->driver_starts, 2, "it was replaced, for its beat was looked for in another's slot");
	cr_assert_eq(pid_in(&r, "driver-tap1"), driver);
	rig_stop(&r);
	rig_store_close();
}

/* The driver's deposit outlives it and its supervisor, whoever dies first. */
Test(store, its_own_death_and_the_drivers)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_store_listen(&r);
	rig_run(&r);
	for (uint32_t i = 1; i <= 4; i++) {
		pid_t driver;

		eventually(r.sh->standbys == 1 && r.sh->driver_starts == i && rig_store_has("deposit.4.1.1.tap0"));
		eventually(pid_in(&r, "inet") == r.sh->active && pid_in(&r, "driver-tap0") == r.sh->driver);
		driver = r.sh->driver;
		if (i % 2)
			kill(driver, SIGKILL);
		kill_supervisor(&r);
		kill(driver, SIGKILL);
		eventually(gone_for_good(driver));
		r.sh->driver_held = 0;
		start_supervisor(&r);
		eventually(r.sh->driver_starts == 1 + i && r.sh->driver_held == 1);
	}
	rig_stop(&r);
	rig_store_close();
}

/* Also if it said them, and died, while there was no supervisor. */
Test(store, last_words_without_a_supervisor)
{
	struct rig r;
	pid_t driver;

	rig_start(&r, 1000, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	eventually(pid_in(&r, "inet") == r.sh->active);
	driver = r.sh->driver;
	kill_supervisor(&r);
	r.sh->driver_talks = 50;
	kill(driver, SIGUSR1);
	eventually(gone_for_good(driver));
	start_supervisor(&r);
	eventually(strstr(crash_text(&r), "\n  the end\n"));
	eventually(r.sh->driver_starts == 2);
	rig_stop(&r);
	rig_store_close();
}

/* A process that is nobody's component, and its pidfd. */
static pid_t stranger(int *pidfd)
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setsid();
		for (;;)
			pause();
	}
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	cr_assert_geq(*pidfd, 0);
	return pid;
}

/* Who keeps the pidfds for us could have been given any process's, and what is stopped at the end is our components. */
Test(store, a_strangers_pidfd)
{
	struct rig r;
	pid_t other, standby;
	int pidfd;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	eventually(pid_in(&r, "inet") == r.sh->active);
	kill_supervisor(&r);
	standby = r.sh->inet_in_slot[1];
	other = stranger(&pidfd);
	rig_store_replace("pidfd.inet.1", pidfd);
	start_supervisor(&r);
	eventually(r.sh->redeposits == 1);
	eventually(r.sh->standbys == 2);
	rig_stop(&r);
	rig_store_close();
	cr_assert_eq(waitpid(other, NULL, WNOHANG), 0, "it was killed");
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	kill(standby, SIGKILL);
}

static void other_words(bool sealed)
{
	static const char text[] = "somebody else's\n";
	int fd = memfd_create("words", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	cr_assert_eq(ftruncate(fd, WORDS_SIZE), 0);
	cr_assert_eq(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	cr_assert(!sealed || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
	rig_store_replace("words.driver.16.tap0", fd);
}

/* Who could cut the memory off while it is read would kill its reader. */
static void last_words_in(bool sealed)
{
	struct rig r;

	rig_start(&r, 1000, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	eventually(pid_in(&r, "inet") == r.sh->active);
	kill_supervisor(&r);
	other_words(sealed);
	start_supervisor(&r);
	eventually(r.sh->redeposits == 1);
	kill(r.sh->driver, SIGKILL);
	eventually(r.sh->driver_starts == 2);
	eventually(*crash_text(&r));
	cr_assert_eq(strstr(crash_text(&r), "somebody else's") != NULL, sealed);
	rig_stop(&r);
	rig_store_close();
}

Test(store, last_words_in_a_memory_of_fixed_size)
{
	last_words_in(true);
}

Test(store, last_words_in_a_memory_that_can_shrink)
{
	last_words_in(false);
}

/* The stated exception: connections are lost, but netd is not. */
Test(store, its_own_death_and_every_inets)
{
	struct rig r;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	eventually(pid_in(&r, "inet") == r.sh->active);
	kill_supervisor(&r);
	kill(r.sh->inet_in_slot[1], SIGKILL);
	kill(r.sh->inet_in_slot[0], SIGKILL);
	for (unsigned i = 0; i < 2; i++)
		eventually(gone_for_good(r.sh->inet_in_slot[i]));
	start_supervisor(&r);
	eventually(r.sh->actives == 2 && r.sh->standbys == 2);
	eventually(pid_in(&r, "inet") == r.sh->active);
	cr_assert_eq(r.sh->driver_starts, 1);
	rig_stop(&r);
	rig_store_close();
}

/* PID 1 does not read for a while: nobody waits for it, and then it is told what is, not what was meanwhile. */
Test(store, a_systemd_that_does_not_read)
{
	struct rig r;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_store_deafen();
	rig_run(&r);
	for (unsigned i = 1; i <= 30; i++) {
		eventually(r.sh->standbys == i && pid_in(&r, "inet") == r.sh->active);
		kill(r.sh->active, SIGKILL);
		eventually(r.sh->actives == 1 + i);
	}
	eventually(r.sh->standbys == 31);
	cr_assert_not(rig_store_ready());
	rig_store_undeafen();
	eventually(rig_store_ready() && rig_store_has("arena") && rig_store_has("pidfd.driver.16.tap0"));
	cr_assert_not(rig_store_has("supervisor"));

	/* It has what a successor needs. */
	kill_supervisor(&r);
	start_supervisor(&r);
	eventually(r.sh->redeposits == 1);
	cr_assert_eq(r.sh->driver_starts, 1);
	rig_stop(&r);
	rig_store_close();
}

/* What is told from then on goes to the new socket. */
Test(store, a_systemd_that_begins_anew)
{
	struct rig r;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver && rig_store_has("channel.inet.1") && rig_store_ready());
	rig_store_leave();
	rig_store_listen(&r);
	write_config(&r, 500, 2, "");
	kill(r.supervisor, SIGHUP);
	eventually(rig_store_has("channel.inet.2"));
	rig_stop(&r);
	rig_store_close();
}

/* And what is to be told while there is none is told then. */
Test(store, a_systemd_that_is_away_for_a_while)
{
	struct rig r;
	uint32_t pings;

	rig_start(&r, 100, 1);
	rig_store_listen(&r);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver && rig_store_has("channel.inet.1") && rig_store_ready());
	rig_store_leave();
	write_config(&r, 100, 2, "");
	kill(r.supervisor, SIGHUP);
	eventually(r.sh->standbys == 2);
	/* The loop has turned since then: it was tried in vain. */
	pings = r.sh->driver_pings;
	eventually(r.sh->driver_pings >= pings + 3);
	rig_store_listen(&r);
	eventually(rig_store_has("channel.inet.2"));
	rig_store_leave(); /* nobody waits for it at the end */
	rig_stop(&r);
}

/* What waits for room at the old socket goes to the new one, whoever finds out first: the watchdog may. */
Test(store, a_deaf_systemd_that_begins_anew)
{
	struct rig r;

	rig_start(&r, 500, 1);
	rig_store_listen(&r);
	rig_store_deafen();
	setenv("WATCHDOG_USEC", "2000", 1);
	rig_run(&r);
	eventually(r.sh->standbys == 1 && r.sh->driver);
	rig_store_leave();
	rig_store_undeafen();
	rig_store_listen(&r);
	eventually(rig_store_ready() && rig_store_has("arena") && rig_store_has("channel.inet.1"));
	rig_stop(&r);
	rig_store_close();
}
