/* The death of a component: proven by its pidfd, or ours to bring about. See supervisor.h. */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void death_name(char *buf, size_t size, int status, bool known)
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

static void replace(struct supervisor *s, struct device *d, unsigned wait_ms)
{
	if (!d)
		restart_inets(s, wait_ms);
	else if (!d->removed) {
		restart_driver(s, d, wait_ms);
		send_driver_restarted(s, d);
	}
}

void component_died(void *arg, int events)
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
	component_detach(c);
	if (!asked)
		replace(s, d, wait_ms);
	/* A leak or a crash on the way out is worth a file too; a start that fails has said why. */
	if (!asked || (self && status && !s->failed))
		crash_write(c, death, now);
	component_free(c);
	if (asked)
		after_stop(s, d);
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
