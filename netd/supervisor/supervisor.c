/* The whole: start and stop. See supervisor.h. */
#include "supervisor/supervisor.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define STOP_TERM_MS 1000

#define FILES_WANTED (1u << 20)
#define FILES_NEEDED 256u

static void lift(__rlimit_resource_t what, rlim_t wanted)
{
	struct rlimit r, more = {.rlim_cur = wanted, .rlim_max = wanted};

	if (getrlimit(what, &r) < 0 || (r.rlim_max < wanted && setrlimit(what, &more) == 0))
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(what, &r);
}

/*
 * Components inherit them. Escrow holds several descriptors a session, the memories are files for the kernel, and a
 * component's threads count with whatever else runs as nobody.
 */
static int raise_limits(struct supervisor *s)
{
	struct rlimit files;

	(void)s;
	lift(RLIMIT_FSIZE, RLIM_INFINITY);
	lift(RLIMIT_NPROC, RLIM_INFINITY);
	lift(RLIMIT_NOFILE, FILES_WANTED);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur >= FILES_NEEDED)
		return 0;
	log_error("cannot start: at most %u files may be open, and netd needs %u (ulimit -n)", (unsigned)files.rlim_cur, FILES_NEEDED);
	return -EMFILE;
}

/* Before the loop sleeps: tell once, however many things changed. */
static void on_flush(uv_prepare_t *p)
{
	struct supervisor *s = p->data;

	if (s->changed) {
		s->changed = false;
		if (!s->stopping)
			pidfiles_update(s);
		send_status(s);
	}
	systemd_flush(s);
}

static void on_signal(uv_signal_t *h, int signum)
{
	if (signum == SIGHUP) {
		supervisor_reload(h->data);
		return;
	}
	log_info("stopping");
	supervisor_stop(h->data);
}

static int start_loop(struct supervisor *s)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	int ret;

	s->escrow = escrow_new();
	if (!s->escrow)
		return -ENOMEM;
	ret = uv_loop_init(&s->loop);
	if (ret < 0)
		return ret;
	s->loop.data = s;
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++) {
		uv_signal_init(&s->loop, &s->signal[i]);
		s->signal[i].data = s;
		if ((ret = uv_signal_start(&s->signal[i], on_signal, signals[i])) < 0)
			return ret;
	}
	uv_prepare_init(&s->loop, &s->flush);
	s->flush.data = s;
	uv_prepare_start(&s->flush, on_flush);
	uv_timer_init(&s->loop, &s->stop_timer);
	s->stop_timer.data = s;
	settle_init(s);
	uv_timer_init(&s->loop, &s->inet.timer);
	s->inet.timer.data = s;
	return systemd_start(s);
}

int start_devices(struct supervisor *s)
{
	int ret;

	for (unsigned i = 0; i < s->config->devices_count; i++)
		if (!device_by_name(s, s->config->devices[i].name) && (ret = device_create(s, &s->config->devices[i])) < 0)
			return ret;
	return 0;
}

static int start_components(struct supervisor *s)
{
	int ret;

	if (!store_adopt(s)) {
		ret = component_spawn(s, NULL);
		if (ret < 0)
			return ret;
	}
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++) {
		if (!s->device[i] || driver_of(s, s->device[i]))
			continue;
		ret = component_spawn(s, s->device[i]);
		if (ret < 0)
			return ret;
	}
	maintain_inets(s);
	return 0;
}

static const struct step {
	int (*run)(struct supervisor *s);
	const char *what; /* for those that do not say themselves why they fail */
} steps[] = {
    {raise_limits, NULL},
    {succession_ask, NULL},
    {start_loop, "the event loop"},
    {memory_start, "the shared memories"},
    {succession_office, NULL},
    {store_sign, "its pidfd"},
    {listening_start, NULL},
    {tick_start, "the timer"},
    {start_devices, NULL},
    {start_components, NULL},
};

/* What was begun is stopped in order; but what lives from an earlier supervisor goes on, as after a death. */
static void give_up(struct supervisor *s)
{
	if (s->office < 0 || s->heir)
		return;
	supervisor_stop(s);
	supervisor_run(s);
}

int supervisor_start(struct supervisor *s, struct config *config, const char *path)
{
	int ret = 0;

	s->config = config;
	s->config_path = path;
	s->arena = s->memory = s->clock_fd = s->listening = s->office = s->systemd.sock = -1;
	s->started_ns = now_ns();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* it is said that a memory cannot be had */
	priority_set(0, PRIORITY_SUPERVISOR, *config->nice);
	systemd_take_all(s);
	for (unsigned i = 0; i < ARRAY_SIZE(steps) && !ret; i++) {
		ret = steps[i].run(s);
		if (ret < 0 && steps[i].what)
			log_error("cannot start: %s: %s", steps[i].what, strerror(-ret));
	}
	if (ret < 0) {
		give_up(s);
		return ret;
	}
	s->up = s->heir;
	store_close_rest(s);
	if (s->succeeded)
		log_info("took over from a netd that died");
	return 0;
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

int supervisor_run(struct supervisor *s)
{
	uv_run(&s->loop, UV_RUN_DEFAULT);
	pidfiles_remove(s);
	for (unsigned i = 0; i < CONFIG_DEVICES_MAX; i++)
		if (s->device[i])
			device_destroy(s, s->device[i]);
	if (s->own_socket)
		unlink(s->config->socket);
	store_remove(s, "control");
	store_remove(s, "arena");
	store_remove(s, "memory");
	store_remove(s, "clock");
	systemd_end(s);
	uv_walk(&s->loop, close_handle, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
	escrow_free(s->escrow);
	munmap(s->clock, CLOCK_SIZE);
	config_free(s->config);
	return s->failed;
}

/* ---- stop: netd-inet first, so that it can still say goodbye through the drivers */

static void stop_kind(struct supervisor *s, bool inet)
{
	for (struct component *c = s->components; c; c = c->next)
		if (is_inet(c) == inet && c->state != COMPONENT_STOPPING && c->state != COMPONENT_DEAD)
			send_stop(c);
}

void supervisor_stop_step(struct supervisor *s)
{
	bool inets = false;

	if (!s->components) {
		uv_stop(&s->loop);
		return;
	}
	for (struct component *c = s->components; c; c = c->next)
		inets |= is_inet(c);
	if (!inets)
		stop_kind(s, false);
}

/* The message was not enough. tick.c kills what does not go then either. */
static void on_stop_timer(uv_timer_t *t)
{
	struct supervisor *s = t->data;

	for (struct component *c = s->components; c; c = c->next)
		if (c->state == COMPONENT_STOPPING)
			syscall(SYS_pidfd_send_signal, c->pidfd, SIGTERM, NULL, 0);
}

void supervisor_stop(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	systemd_stopping(s);
	stop_kind(s, true);
	uv_timer_start(&s->stop_timer, on_stop_timer, STOP_TERM_MS, STOP_TERM_MS);
	supervisor_stop_step(s);
}
