/*
 * The cycle: gather, work, commit, speak, sleep. Everything netd-inet does is in one of the five; a
 * death before the commit's last store is as if the cycle had not begun, a death after it is repaired
 * by speaking again. The way of a packet starts here, and this is the only file of the data plane that
 * knows libuv.
 *
 * While there is work the loop polls memory and asks the kernel for news only now and then. When
 * there has been none for a while (proto/halt_poll.h) it arms the bells ("I sleep" in every region and session), looks
 * once more, and sleeps in libuv until a bell, a control message, the supervisor or the next timer.
 */
#include "daemon/daemon.h"
#include "daemon/world.h"
#include "proto/halt_poll.h"
#include "base/killpoint.h"
#include "base/log.h"
#include "base/util.h"
#include "device/device.h"
#include "tcp/tcp.h"
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUDGET        64 /* frames a device, requests a session, in one cycle */
#define ROUNDS_BUSY   64 /* cycles between two looks at the kernel while busy ... */
#define LOOK_NS       (2 * NSEC_PER_MSEC) /* ... and time: the supervisor waits for answers */
#define PLACE_NS      (2 * NSEC_PER_MSEC) /* between two choices of a processor */
#define ACCEPT_BUDGET 64

uint64_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void check_drivers(struct daemon *d)
{
	const char *reason, *device;

	for (unsigned i = 0; i < d->bells; i++) {
		if (d->device_index[i] >= 0 && device_restarted(&d->stack, (uint32_t)d->device_index[i]))
			tcp_driver_restarted(&d->stack, (uint32_t)d->device_index[i]);
	}
	while ((device = device_accused(&d->stack, &reason)))
		link_accuse(d, device, reason);
}

unsigned cycle_once(struct daemon *d)
{
	struct stack *s = &d->stack;
	unsigned work;

	KILLPOINT("cycle.gather");
	s->now = clock_now();
	work = socket_gather(s, BUDGET, d->look);
	d->look = false;
	KILLPOINT("cycle.work");
	work += world_work(s, BUDGET);
	check_drivers(d);
	KILLPOINT("cycle.commit");
	world_commit(s);
	KILLPOINT("cycle.speak");
	box_note(s->box, BOX_SPEAK, 0, 0);
	world_speak(s, false);
	KILLPOINT("cycle.speak_devices");
	socket_speak(s, false);
	KILLPOINT("cycle.spoken");
	box_note(s->box, BOX_NOTHING, 0, 0);
	return work;
}

/* ---- the kernel's news */

static void on_channel(uv_poll_t *p, int status, int events)
{
	struct daemon *d = p->data;

	(void)status;
	(void)events;
	if (handover_receive(&d->hand) < 0) {
		log_warn("the supervisor is gone; going on without it");
		uv_poll_stop(p);
	}
}

/*
 * Out of descriptors: the connection is taken with one of the spare ones, and closed, so that its
 * client is answered (end-of-file) and the level-triggered watch does not spin.
 */
static bool refuse_one(struct daemon *d)
{
	int fd;

	handover_use_spares(&d->hand, true);
	fd = accept4(d->hand.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	handover_use_spares(&d->hand, false);
	return fd >= 0;
}

static void on_listen(uv_poll_t *p, int status, int events)
{
	struct daemon *d = p->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_BUDGET; i++) {
		int fd = accept4(d->hand.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE) && refuse_one(d))
			continue;
		if (fd < 0)
			return;
		KILLPOINT("accept.control");
		socket_accept(&d->stack, fd);
	}
}

static void on_sockets(uv_poll_t *p, int status, int events)
{
	struct daemon *d = p->data;

	(void)status;
	(void)events;
	d->look = true;
}

static void on_bell(uv_poll_t *p, int status, int events)
{
	struct handed_device *dev = p->data;

	(void)status;
	(void)events;
	bell_drain(dev->bell);
}

static void on_alarm(uv_timer_t *t)
{
	(void)t; /* the next cycle finds the timers that are due */
}

static int watch_start(struct daemon *d)
{
	int ret = uv_loop_init(&d->loop);

	if (ret)
		return ret;
	uv_poll_init(&d->loop, &d->watch_channel, d->hand.channel);
	uv_poll_init(&d->loop, &d->watch_listen, d->hand.listen_fd);
	uv_poll_init(&d->loop, &d->watch_sockets, socket_epoll_fd(&d->stack));
	uv_timer_init(&d->loop, &d->alarm);
	d->watch_channel.data = d->watch_listen.data = d->watch_sockets.data = d;
	uv_poll_start(&d->watch_channel, UV_READABLE, on_channel);
	uv_poll_start(&d->watch_listen, UV_READABLE, on_listen);
	uv_poll_start(&d->watch_sockets, UV_READABLE, on_sockets);
	handover_spare_files(&d->hand);
	return 0;
}

/* Devices may be added by a reload. */
static void watch_bells(struct daemon *d)
{
	for (; d->bells < d->hand.devices; d->bells++) {
		uv_poll_t *p = &d->watch_bell[d->bells];

		if (d->hand.device[d->bells].bell < 0) /* added and taken out again */
			continue;
		uv_poll_init(&d->loop, p, d->hand.device[d->bells].bell);
		p->data = &d->hand.device[d->bells];
		uv_poll_start(p, UV_READABLE, on_bell);
	}
}

static void follow_supervisor(struct daemon *d)
{
	if (d->hand.config_new) {
		configure_limits(d);
		configure_devices(d);
		watch_bells(d);
		configure_remove(d);
		configure_addresses(d);
		configure_in_force(d);
	}
	if (d->hand.redeposit) {
		d->hand.redeposit = false;
		socket_redeposit(&d->stack);
		link_active(d); /* that was all of it */
	}
}

/* ---- sleep */

static bool anything_pending(struct daemon *d)
{
	for (unsigned i = 0; i < d->bells; i++)
		if (d->device_index[i] >= 0 && device_pending(&d->stack, (uint32_t)d->device_index[i]))
			return true;
	return false;
}

static void sleep_until_news(struct daemon *d)
{
	struct stack *s = &d->stack;
	uint64_t next = min_of(world_next_timer(s), socket_next_work(s)), now;
	bool quiet;

	KILLPOINT("cycle.sleep");
	device_arm(s, true);
	quiet = socket_arm(s, true) && !anything_pending(d);
	now = clock_now();
	if (!quiet || next <= now) {
		uv_run(&d->loop, UV_RUN_NOWAIT);
	} else {
		if (next != UINT64_MAX) {
			uv_update_time(&d->loop);
			uv_timer_start(&d->alarm, on_alarm, (next - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, 0);
		}
		KILLPOINT("cycle.armed");
		uv_run(&d->loop, UV_RUN_ONCE);
		uv_timer_stop(&d->alarm);
	}
	device_arm(s, false);
	socket_arm(s, false);
	KILLPOINT("cycle.woken");
}

static void watch_stop(struct daemon *d)
{
	uv_close((uv_handle_t *)&d->watch_channel, NULL);
	uv_close((uv_handle_t *)&d->watch_listen, NULL);
	uv_close((uv_handle_t *)&d->watch_sockets, NULL);
	uv_close((uv_handle_t *)&d->alarm, NULL);
	for (unsigned i = 0; i < d->bells; i++)
		if (d->watch_bell[i].data) /* else it was never watched: watch_bells() */
			uv_close((uv_handle_t *)&d->watch_bell[i], NULL);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	uv_loop_close(&d->loop);
}

/* Stays with a driver that asks for it: base/core.h. */
static void choose_core(struct daemon *d)
{
	if (!d->core.scarce)
		return;
	if (device_crowded(&d->stack))
		core_stay(&d->core);
	else
		core_leave(&d->core);
	device_tell_core(&d->stack, d->core.at);
}

int cycle_run(struct daemon *d)
{
	struct halt_poll poll = {0};
	unsigned rounds = 0;
	uint64_t from, looked = 0, placed = 0;
	int ret = watch_start(d);

	if (ret)
		return ret;
	watch_bells(d);
	d->look = true;
	core_init(&d->core);
	follow_supervisor(d); /* what was asked of us before we were active */
	while (!d->hand.stop) {
		if (cycle_once(d))
			halt_poll_busy(&poll);
		else if (!halt_poll_again(&poll, d->stack.now)) {
			from = d->stack.now;
			sleep_until_news(d);
			looked = clock_now();
			halt_poll_slept(&poll, from, looked);
			rounds = 0;
		}
		if (++rounds >= ROUNDS_BUSY || d->stack.now > looked + LOOK_NS) {
			uv_run(&d->loop, UV_RUN_NOWAIT);
			rounds = 0;
			looked = d->stack.now;
		}
		if (d->stack.now > placed + PLACE_NS) {
			choose_core(d);
			placed = d->stack.now;
		}
		follow_supervisor(d);
	}
	watch_stop(d);
	return 0;
}
