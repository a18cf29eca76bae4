/*
 * A driver's life: attach, open, give up privileges, announce, turn until told to stop.
 *
 * A turn takes a budget of frames each way, so that neither direction starves the other, and rings
 * netd-inet once a batch if it sleeps. When turns have found nothing for a while (halt_poll.h) it announces the sleep, looks
 * once more (ring.h: bells), and waits for the device, the bell or the channel. libuv is called without waiting
 * every few busy turns, so that pings are answered under load.
 *
 * The end of the channel means that the supervisor is dead. That is no reason to stop: frames go on.
 * Only when the bell's other end is gone too (every netd-inet, and whoever could start one, is dead),
 * nobody can ever reach this process again, and it leaves.
 */
#include "drivers/runtime/attach.h"
#include "proto/halt_poll.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TURN_BUDGET 64
#define TURNS_PER_POLL 4
#define CROWD_IDLE_NS 10000000u /* after a sleep of this length there is no crowd */

static void on_channel(uv_poll_t *watch, int status, int events)
{
	struct driver *d = watch->data;
	int ret;

	(void)status;
	(void)events;
	while ((ret = channel_recv(CHANNEL_FD, &d->msg, 0)) > 0) {
		Netd__Component__ToComponent *m =
		    netd__component__to_component__unpack(NULL, d->msg.len, d->msg.data);

		if (m && !attach_message(d, m))
			log_warn("message %d is not for a driver", (int)m->body_case);
		if (m)
			netd__component__to_component__free_unpacked(m, NULL);
		channel_close_fds(&d->msg);
	}
	if (ret == -EAGAIN || ret == -EMSGSIZE)
		return;
	log_warn("the supervisor is gone; going on without it");
	d->channel_open = false;
	d->stop |= !d->bell_open;
	uv_poll_stop(watch);
}

static void on_bell(uv_poll_t *watch, int status, int events)
{
	struct driver *d = watch->data;
	char buf[512];
	ssize_t n;

	(void)events;
	do
		n = read(d->bell, buf, sizeof(buf));
	while (n == (ssize_t)sizeof(buf));
	if (status < 0 || n == 0) {
		d->bell_open = false;
		d->stop |= !d->channel_open;
		uv_poll_stop(watch);
	}
}

static void on_device(uv_poll_t *watch, int status, int events)
{
	struct driver *d = watch->data;

	(void)events;
	if (status < 0) {
		log_error("the device is gone");
		d->failed = -ENODEV;
	}
}

static void driver_rewatch(struct driver *d)
{
	int want = d->ops->wants(d);

	if (want == d->watched)
		return;
	d->watched = want;
	if (want)
		uv_poll_start(&d->dev_watch, want, on_device);
	else
		uv_poll_stop(&d->dev_watch);
}

static void driver_count(struct driver *d)
{
	store_once(&d->region->drv_rx_frames, d->count.rx_frames);
	store_once(&d->region->drv_tx_frames, d->count.tx_frames);
	store_once(&d->region->drv_rx_dropped, d->count.rx_dropped);
	store_once(&d->region->drv_tx_dropped, d->count.tx_dropped);
	store_once(&d->region->drv_tx_errors, d->count.tx_errors);
}

/* Something was published; the fence stands between that and the look at netd-inet's word. */
static void driver_ring(struct driver *d)
{
	fence_full();
	if (load_once(&d->region->inet_sleeps))
		bell_ring(d->inet_bell);
}

/* Where to run: with netd-inet, or where the kernel likes. */
static void driver_place(struct driver *d)
{
	store_once(&d->region->crowded, d->crowd.on);
	if (d->crowd.on)
		core_join(&d->core, (int)load_once(&d->region->inet_core) - 1);
	else
		core_leave(&d->core);
}

/* One budgeted batch each way. Returns whether anything moved. */
static bool driver_turn(struct driver *d)
{
	uint64_t rx = d->queue.rx, tx = d->queue.tx;
	int got, sent;

	got = d->ops->receive(d, TURN_BUDGET);
	if (d->queue.rx != rx)
		driver_ring(d);
	sent = d->ops->transmit(d, TURN_BUDGET);
	if (d->queue.tx != tx)
		driver_ring(d);
	if (got < 0 || sent < 0)
		d->failed = got < 0 ? got : sent;
	if (got <= 0 && sent <= 0)
		return false;
	driver_count(d);
	if (d->core.scarce && crowd_turn(&d->crowd, (unsigned)got, (unsigned)sent, d->queue.rx - rx + d->queue.tx - tx))
		driver_place(d);
	return true;
}

/* Is there work that no descriptor would wake us for? */
static bool driver_pending(struct driver *d)
{
	int waits = d->ops->wants(d);

	return (!(waits & UV_WRITABLE) && queue_transmit_pending(&d->queue)) ||
	       (!(waits & UV_READABLE) && queue_fill_avail(&d->queue, d->queue.seen));
}

static void on_wait_over(uv_timer_t *timer)
{
	(void)timer; /* it ended the wait: the next turn looks at the clock itself */
}

static void driver_sleep(struct driver *d)
{
	if (d->wait_ms)
		uv_timer_start(&d->wait_timer, on_wait_over, d->wait_ms, 0);
	store_once(&d->region->driver_sleeps, 1);
	fence_full();
	driver_rewatch(d);
	uv_run(&d->loop, driver_pending(d) ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	store_once(&d->region->driver_sleeps, 0);
	if (d->wait_ms)
		uv_timer_stop(&d->wait_timer);
}

static void driver_loop(struct driver *d)
{
	struct halt_poll poll = {0};
	unsigned turns = 0;
	uint64_t now, woken;

	core_init(&d->core);
	driver_place(d);

	while (!d->stop && !d->failed) {
		if (driver_turn(d)) {
			halt_poll_busy(&poll);
			if (++turns % TURNS_PER_POLL == 0)
				uv_run(&d->loop, UV_RUN_NOWAIT);
			continue;
		}
		now = halt_poll_now();
		if (halt_poll_again(&poll, now))
			continue;
		driver_sleep(d);
		woken = halt_poll_now();
		halt_poll_slept(&poll, now, woken);
		if (d->crowd.on && woken - now > CROWD_IDLE_NS) {
			d->crowd = (struct crowd){0};
			driver_place(d);
		}
	}
}

static int driver_watch(struct driver *d)
{
	int ret;

	if ((ret = uv_timer_init(&d->loop, &d->wait_timer)) < 0 ||
	    (ret = uv_poll_init(&d->loop, &d->channel_watch, CHANNEL_FD)) < 0 ||
	    (ret = uv_poll_init(&d->loop, &d->bell_watch, d->bell)) < 0 ||
	    (ret = uv_poll_init(&d->loop, &d->dev_watch, d->dev_fd)) < 0)
		return ret;
	d->channel_watch.data = d->bell_watch.data = d->dev_watch.data = d;
	if ((ret = uv_poll_start(&d->channel_watch, UV_READABLE, on_channel)) < 0)
		return ret;
	return uv_poll_start(&d->bell_watch, UV_READABLE, on_bell);
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

static int driver_run(struct driver *d)
{
	int ret = uv_loop_init(&d->loop);

	if (ret < 0)
		return ret;
	ret = d->ops->open(d);
	if (ret < 0)
		goto out;
	ret = driver_watch(d);
	if (ret < 0) {
		log_error("cannot watch the device: %s", uv_strerror(ret));
		goto out;
	}
	ret = d->ops->sandbox();
	if (ret < 0) {
		log_error("cannot give up privileges: %s", strerror(-ret));
		goto out;
	}
	ret = attach_announce(d);
	if (ret < 0) {
		log_error("cannot tell the supervisor: %s", strerror(-ret));
		goto out;
	}
	log_info("%s is up", d->config->ifname);
	driver_loop(d);
	ret = d->failed;
	if (ret < 0)
		log_error("ends: %s", strerror(-ret));
out:
	uv_walk(&d->loop, close_handle, NULL);
	while (uv_run(&d->loop, UV_RUN_DEFAULT))
		;
	uv_loop_close(&d->loop);
	d->ops->close(d);
	return ret;
}

int driver_main(const struct driver_ops *ops)
{
	struct driver *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return EXIT_FAILURE;
	signal(SIGPIPE, SIG_IGN);
	log_init_component(ops->type);
	if (fcntl(CHANNEL_FD, F_GETFD) < 0) {
		log_error("started without a supervisor: run netd instead");
		free(d);
		return 2;
	}
	d->ops = ops;
	d->dev_fd = d->bell = d->inet_bell = -1;
	d->channel_open = d->bell_open = true;
	ret = attach_await(d);
	if (!ret && !d->stop)
		ret = driver_run(d);
	attach_release(d);
	free(d);
	return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
