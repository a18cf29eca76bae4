/*
 * systemd: readiness and status, watchdog, socket activation, and the descriptor store.
 *
 * Theory of operation. Whatever a successor of this process needs lies in the store under a name:
 * "arena", "memory", "clock", "control" (the listening socket), "region.DEV", "inet-read.DEV" and the
 * other bell ends, and for each component "channel.KEY" and "pidfd.KEY", where KEY is "inet.SLOT" or
 * "driver.DEV". Channels are stored with FDPOLL=0: a dead component's channel may still hold deposits,
 * so systemd is not to drop it. Deposits themselves are not stored: the living deposit again when they
 * are asked. Which netd-inet is active stands in inet.pid. What the store has handed out is still in it, so
 * nothing is put there twice: a name must stand for one descriptor, for it is removed by its name. Any starter that
 * speaks this much of sd_notify(3) and sd_listen_fds(3) serves as well. Without $NOTIFY_SOCKET all of this does nothing.
 */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

struct stored {
	char *name; /* NULL: taken */
	int fd;
};

void store_take_all(struct supervisor *s)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	if (n <= 0)
		return;
	s->stored = calloc((size_t)n, sizeof(*s->stored));
	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		/* A socket unit's name for its socket is its own affair; ours is called "control". */
		bool ours = names[i] && !strcmp(names[i], "control");

		if (!ours && sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0) {
			free(names[i]);
			names[i] = strdup("activated");
		}
		if (!s->stored || !names[i]) {
			close(fd);
			free(names[i]);
			continue;
		}
		s->stored[s->n_stored++] = (struct stored){.name = names[i], .fd = fd};
	}
	free(names);
}

static int take(struct supervisor *s, const char *name)
{
	for (unsigned i = 0; i < s->n_stored; i++) {
		struct stored *f = &s->stored[i];

		if (!f->name || strcmp(f->name, name) != 0)
			continue;
		free(f->name);
		f->name = NULL;
		return f->fd;
	}
	return -1;
}

int store_take(struct supervisor *s, const char *fmt, ...)
{
	char name[64];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	return take(s, name);
}

void store_close_rest(struct supervisor *s)
{
	for (unsigned i = 0; i < s->n_stored; i++) {
		if (!s->stored[i].name)
			continue;
		log_debug("nobody wants the stored descriptor %s", s->stored[i].name);
		store_remove("%s", s->stored[i].name);
		close(s->stored[i].fd);
		free(s->stored[i].name);
	}
	free(s->stored);
	s->stored = NULL;
	s->n_stored = 0;
}

void store_put(int fd, const char *fmt, ...)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=");
	va_list ap;

	if (!getenv("NOTIFY_SOCKET"))
		return;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	if (sd_pid_notify_with_fds(0, 0, text, &fd, 1) < 0)
		log_warn("the descriptor store does not take %s", text + n);
}

void store_remove(const char *fmt, ...)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=");
	va_list ap;

	if (!getenv("NOTIFY_SOCKET"))
		return;
	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	sd_notify(0, text);
}

static bool adopt(struct supervisor *s, struct device *d, unsigned slot, const char *key)
{
	int channel = store_take(s, "channel.%s", key), pidfd = store_take(s, "pidfd.%s", key);

	if (channel >= 0 && pidfd >= 0)
		return component_adopt(s, d, slot, channel, pidfd) == 0;
	if (channel >= 0)
		close(channel);
	if (pidfd >= 0)
		close(pidfd);
	return false;
}

unsigned store_adopt(struct supervisor *s)
{
	unsigned n = 0;
	char key[32];

	for (unsigned i = 0; i < SLOTS_INET; i++) {
		snprintf(key, sizeof(key), "inet.%u", i);
		n += adopt(s, NULL, i, key);
	}
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		if (!s->device[i])
			continue;
		snprintf(key, sizeof(key), "driver.%s", s->device[i]->name);
		adopt(s, s->device[i], SLOTS_INET + i, key);
	}
	return n;
}

void systemd_notify(const char *state)
{
	sd_notify(0, state);
}

void systemd_ready(struct supervisor *s, const char *status)
{
	if (!getenv("NOTIFY_SOCKET"))
		return;
	sd_notifyf(0, "%sSTATUS=%s", s->ready && !s->told ? "READY=1\n" : "", status);
	s->told = s->ready;
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
