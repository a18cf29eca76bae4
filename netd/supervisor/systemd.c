/*
 * systemd: readiness and status, watchdog, socket activation, and the descriptor store, which has what store.c has.
 * Channels are stored with FDPOLL=0: a dead component's channel may still hold deposits, so systemd is not to drop it.
 * What the store has handed out is still in it, so nothing is put there twice: a name must stand for one descriptor,
 * for it is removed by its name. Any starter that speaks this much of sd_notify(3) and sd_listen_fds(3) serves as
 * well. Without $NOTIFY_SOCKET all of this does nothing.
 */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

void systemd_take_all(struct supervisor *s)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		/* A socket unit's name for its socket is its own affair; ours is called "control". */
		bool ours = names[i] && !strcmp(names[i], "control");
		bool activated = !ours && sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0;

		if (names[i])
			fdtable_own(&s->stored, activated ? "activated" : names[i], fd);
		free(names[i]);
	}
	free(names);
}

void systemd_store(int fd, const char *name)
{
	char text[128];

	if (!getenv("NOTIFY_SOCKET"))
		return;
	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	if (sd_pid_notify_with_fds(0, 0, text, &fd, 1) < 0)
		log_warn("the descriptor store does not take %s", name);
}

void systemd_unstore(const char *name)
{
	if (getenv("NOTIFY_SOCKET"))
		sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void systemd_notify(const char *state)
{
	sd_notify(0, state);
}

void systemd_ready(struct supervisor *s, const char *status)
{
	bool ready = s->ready && s->up && !s->stopping && !s->told;

	if (!getenv("NOTIFY_SOCKET"))
		return;
	sd_notifyf(0, "%sSTATUS=%s", ready ? "READY=1\n" : "", status);
	s->told |= ready;
}

static void on_watchdog(uv_timer_t *t)
{
	(void)t;
	sd_notify(0, "WATCHDOG=1");
}

int systemd_watchdog(struct supervisor *s)
{
	uint64_t usec = 0;
	int ret = uv_timer_init(&s->loop, &s->watchdog);

	if (ret < 0 || sd_watchdog_enabled(0, &usec) <= 0)
		return ret;
	return uv_timer_start(&s->watchdog, on_watchdog, 0, max_of(usec / 2000, (uint64_t)1));
}
