#include "supervisor/systemd.h"
#include "supervisor/supervisor.h"
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define END_MS   1000
#define RETRY_MS 10

void systemd_take_all(struct supervisor *s)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		/* A socket unit's name for its socket is its own affair; ours is called "control". */
		bool ours = names[i] && !strcmp(names[i], "control");
		bool activated = !ours && sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) > 0;
		const char *name = activated ? "activated" : names[i];

		if (name && fdtable_own(&s->stored, name, fd) == 0)
			fdtable_put(&s->systemd.told, name, fd);
		free(names[i]);
	}
	free(names);
}

/* Non-blocking; -1 without $NOTIFY_SOCKET, or if nobody is there, which can be said. */
static int notify_connect(bool say)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(addr.sun_path))
		return -1;
	memcpy(addr.sun_path, path, len);
	if (*path == '@') /* abstract */
		addr.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0) {
		if (say)
			log_warn("NOTIFY_SOCKET %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/* Whoever listened there has begun anew, or is about to: it may be a while until somebody does again. */
static void reconnect(struct systemd *d)
{
	bool lost = d->sock >= 0;

	watch_stop(d->room);
	d->room = NULL;
	if (lost)
		close(d->sock);
	d->sock = notify_connect(lost);
}

static int notify(const struct systemd *d, const char *text, int fd)
{
	return d->sock < 0 ? -ENOTCONN : channel_send_packed(d->sock, text, strlen(text), &fd, fd >= 0);
}

/* One message, with `fd` if it is not -1. False: it cannot be told now. */
static bool tell(struct systemd *d, const char *text, int fd)
{
	int ret;

	if (!d->there)
		return true;
	ret = notify(d, text, fd);
	if (ret == -ECONNREFUSED || ret == -ENOTCONN) {
		reconnect(d);
		ret = notify(d, text, fd);
	}
	d->full = ret == -EAGAIN;
	if (d->full || ret == -ECONNREFUSED || ret == -ENOTCONN || channel_starved(ret))
		return false;
	if (ret < 0)
		log_warn("systemd is not told '%s': %s", text, strerror(-ret));
	return true;
}

static bool tell_store(struct supervisor *s)
{
	struct systemd *d = &s->systemd;
	char text[128];

	for (; d->gone.n; d->gone.n--) {
		snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", d->gone.item[d->gone.n - 1].name);
		if (!tell(d, text, -1))
			return false;
	}
	for (unsigned i = 0; i < s->store.n; i++) {
		const struct fdtable_item *f = &s->store.item[i];

		if (fdtable_find(&d->told, f->name) >= 0 || !strcmp(f->name, STORE_SUPERVISOR))
			continue;
		snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", f->name);
		if (!tell(d, text, f->fd))
			return false;
		fdtable_put(&d->told, f->name, f->fd);
	}
	return true;
}

static bool tell_state(struct supervisor *s)
{
	struct systemd *d = &s->systemd;
	bool ready = s->ready && s->up && !s->stopping && !d->ready;
	char text[sizeof(d->status) + 32];

	snprintf(text, sizeof(text), "%sSTATUS=%s", ready ? "READY=1\n" : "", d->status);
	if (d->status_due && !tell(d, text, -1))
		return false;
	d->ready |= d->status_due && ready;
	d->status_due = false;
	if (d->stopping_due && !tell(d, "STOPPING=1", -1))
		return false;
	d->stopping_due = false;
	return true;
}

static void on_room(void *arg, int events)
{
	struct supervisor *s = arg;

	(void)events;
	watch_stop(s->systemd.room);
	s->systemd.room = NULL;
	systemd_flush(s);
}

void systemd_flush(struct supervisor *s)
{
	struct systemd *d = &s->systemd;

	if (!d->due || d->room)
		return;
	d->due = !tell_store(s) || !tell_state(s);
	if (d->due && d->full) /* else the next turn of the loop tries again, at the latest that of the next tick */
		d->room = watch_start(&s->loop, d->sock, UV_WRITABLE, on_room, s);
}

void systemd_store_changed(struct supervisor *s)
{
	s->systemd.due = true;
}

void systemd_unstore(struct supervisor *s, const char *name)
{
	int fd = fdtable_take(&s->systemd.told, name);

	if (fd >= 0)
		fdtable_put(&s->systemd.gone, name, fd);
	s->systemd.due = true;
}

void systemd_status(struct supervisor *s, const char *status)
{
	snprintf(s->systemd.status, sizeof(s->systemd.status), "%s", status);
	s->systemd.due = s->systemd.status_due = true;
}

void systemd_stopping(struct supervisor *s)
{
	s->systemd.due = s->systemd.stopping_due = true;
}

static void on_watchdog(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	tell(&s->systemd, "WATCHDOG=1", -1); /* without room there is enough to read that proves that we live */
}

int systemd_start(struct supervisor *s)
{
	uint64_t usec = 0;
	int ret = uv_timer_init(&s->loop, &s->systemd.watchdog);

	s->systemd.watchdog.data = s;
	s->systemd.sock = notify_connect(true);
	s->systemd.there = s->systemd.sock >= 0;
	if (ret < 0 || sd_watchdog_enabled(0, &usec) <= 0)
		return ret;
	return uv_timer_start(&s->systemd.watchdog, on_watchdog, 0, max_of(usec / 2000, (uint64_t)1));
}

void systemd_end(struct supervisor *s)
{
	struct systemd *d = &s->systemd;
	uint64_t until = now_ns() + END_MS * NSEC_PER_MSEC;

	watch_stop(d->room);
	d->room = NULL;
	while (!(tell_store(s) && tell_state(s)) && d->sock >= 0 && now_ns() < until) {
		struct pollfd p = {.fd = d->full ? d->sock : -1, .events = POLLOUT};

		poll(&p, 1, RETRY_MS);
	}
	if (d->sock >= 0)
		close(d->sock);
	d->sock = -1;
	d->there = false;
}
