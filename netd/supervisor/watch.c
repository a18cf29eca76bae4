#include "supervisor/watch.h"
#include <stdlib.h>

struct watch {
	uv_poll_t poll;
	watch_fn *fn;
	void *arg;
	int events;
};

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;

	/* An error condition is told as "readable": reading finds out what it is. */
	w->fn(w->arg, status < 0 ? UV_READABLE : events);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

struct watch *watch_start(uv_loop_t *loop, int fd, int events, watch_fn *fn, void *arg)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fn = fn;
	w->arg = arg;
	w->events = events;
	if (uv_poll_init(loop, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	if (uv_poll_start(&w->poll, events, on_event) < 0) {
		watch_stop(w);
		return NULL;
	}
	return w;
}

void watch_events(struct watch *w, int events)
{
	if (!w || w->events == events)
		return;
	w->events = events;
	uv_poll_start(&w->poll, events, on_event);
}

void watch_stop(struct watch *w)
{
	if (!w)
		return;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_closed);
}
