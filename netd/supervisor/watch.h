/*
 * A descriptor watched by the loop. libuv closes its handles later than it is told to; this hides it,
 * so that a component can be forgotten in the middle of its own callback.
 */
#pragma once
#include <uv.h>

struct watch;
typedef void watch_fn(void *arg, int events);

/* `events`: UV_READABLE, UV_WRITABLE. NULL without memory or if the descriptor cannot be watched. */
struct watch *watch_start(uv_loop_t *loop, int fd, int events, watch_fn *fn, void *arg);
void watch_events(struct watch *w, int events);
/* No callback comes any more; the descriptor may be closed at once. NULL is fine. */
void watch_stop(struct watch *w);
