/*
 * netd-inet, the protocol daemon. Started by the supervisor with its channel as descriptor 3; not
 * meant to be started by hand.
 *
 * Isolation, in stages: it starts with what it inherited, maps the memories that come with the first
 * message, then drops all privileges and every system call it does not need, and only then waits for
 * the role. It has no file system and no network of its own.
 */
#include "daemon/alone.h"
#include "daemon/daemon.h"
#include "daemon/world.h"
#include "base/log.h"
#include "base/sandbox.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void system_random(void *arg, void *buf, size_t len)
{
	uint8_t *p = buf;

	(void)arg;
	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
}

static const Netd__Component__Status *newest_status(void *arg)
{
	return ((struct daemon *)arg)->hand.status;
}

static const Netd__Component__Config *newest_config(void *arg)
{
	return ((struct daemon *)arg)->hand.config;
}

static bool supervised(void *arg)
{
	struct handover *h = &((struct daemon *)arg)->hand;

	return !alone(h) && !h->gone;
}

static int succession(void *arg)
{
	return alone_succession(&((struct daemon *)arg)->hand);
}

/* One process at a time formats the arena: the lock goes with the process. */
static int open_world(struct daemon *d)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int ret;

	if (fcntl(d->hand.arena_fd, F_SETLKW, &lock) < 0)
		return -errno;
	ret = world_open(&d->stack, d->hand.arena, d->hand.arena_size, d->hand.memory, d->hand.memory_size);
	lock.l_type = F_UNLCK;
	fcntl(d->hand.arena_fd, F_SETLK, &lock);
	return ret;
}

/*
 * Waits for the role. Returns 1 if a predecessor died, 0 if there was none, or a negative errno. "Hello" is said when all
 * threads are there: the supervisor raises the priority of those that it finds.
 */
static int wait_for_role(struct daemon *d)
{
	struct attendant a;
	int ret = state_lock(d->stack.state, false);

	if (ret == 1)
		d->hand.clock->down_ns = clock_now();
	if (ret != -EBUSY) {
		link_hello(d);
		return ret;
	}
	ret = handover_attend(&a, &d->hand);
	if (ret < 0)
		return ret;
	link_hello(d);
	ret = state_lock(d->stack.state, true);
	d->hand.clock->down_ns = clock_now();
	handover_leave(&a);
	return ret;
}

static int run(struct daemon *d)
{
	int died, ret;

	d->stack.random = system_random;
	d->stack.now = clock_now();
	d->env = (struct socket_env){.arg = d, .deposit = link_deposit, .withdraw = link_withdraw,
	    .status = newest_status, .config = newest_config, .supervised = supervised, .succession = succession};
	if ((ret = open_world(d)) < 0) {
		log_error("the arena cannot be used: %s", strerror(-ret));
		return ret;
	}
	if ((ret = sandbox_inet()) < 0) {
		log_error("sandbox: %s", strerror(-ret));
		return ret;
	}
	if ((died = wait_for_role(d)) < 0)
		return died;
	ret = takeover(d, died == 1);
	if (ret == -ECANCELED)
		return 0; /* asked to leave before it had begun */
	if (ret < 0) {
		log_error("takeover: %s", strerror(-ret));
		return ret;
	}
	d->hand.clock->ready_ns = clock_now();
	d->hand.clock->beat[d->hand.slot].started_ns = d->hand.clock->ready_ns;
	link_active(d);
	return cycle_run(d);
}

static void release(struct daemon *d)
{
	struct handed h;

	if (d->stack.socket)
		socket_layer_exit(&d->stack);
	world_close(&d->stack);
	while (handover_take(&d->hand, &h))
		for (int i = 0; i < h.nfds; i++)
			close(h.fds[i]);
	free(d->hand.handed);
	handover_forget_configs(&d->hand);
	fdtable_close(&d->hand.kept);
	if (d->hand.status)
		netd__component__status__free_unpacked(d->hand.status, NULL);
}

int main(void)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int ret;

	log_init_component("netd-inet");
	/* Large tables always have a mapping of their own: it grows without a copy, and goes back to the kernel. */
	mallopt(M_MMAP_THRESHOLD, 64 << 10);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C is for the supervisor, which stops us in order */
	if (!d)
		return 1;
	if (fcntl(CHANNEL_FD, F_GETFD) < 0) {
		log_error("started without a supervisor: run netd instead");
		return 2;
	}
	ret = handover_start(&d->hand, CHANNEL_FD);
	if (!ret)
		ret = run(d);
	release(d);
	free(d);
	return ret < 0 ? 1 : 0;
}
