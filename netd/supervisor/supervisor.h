/*
 * The supervisor: the smallest and longest-lived process. It spawns the components, watches them,
 * keeps their descriptors, and restarts them. It knows no packet and no protocol.
 *
 * Theory of operation
 *
 * - A *component* is one process: netd-inet (the active one and its standbys) or a driver. Its death is
 *   proven by its pidfd. What outlives it (how often it was restarted, its pauses, its back-off) is the
 *   *history* of its role: one for the active netd-inet, one for the standbys, one for each device.
 * - Takeover. A standby that got the mutex says take_over. The dead one's channel is drained at
 *   that moment, whether or not its pidfd has fired; what it deposited is handed on; then the takeover
 *   is granted. Everything else (pid files, status, a new standby) comes after that.
 * - Nothing here blocks on a component: see outq.h. A component that does not read is found by hang.c.
 * - The supervisor's own death is nothing to the components; its successor gets everything back from
 *   them, or from systemd (store.c, succession.c), and asks them to deposit again.
 */
#pragma once
#include "base/fdtable.h"
#include "base/log.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include "proto/component.pb-c.h"
#include "supervisor/backoff.h"
#include "supervisor/config.h"
#include "supervisor/escrow.h"
#include "supervisor/hang.h"
#include "supervisor/priority.h"
#include "supervisor/outq.h"
#include "supervisor/systemd.h"
#include "supervisor/watch.h"
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>
#include <uv.h>

/* Slots in the clock page: netd-inet's processes first, then one a device. */
#define SLOTS_INET   16u
#define OWNER_INET   0u

typedef Netd__Component__ToComponent to_component;
typedef Netd__Component__FromComponent from_component;

#define TO_COMPONENT(which, field, value)                                                                               \
	{.base = PROTOBUF_C_MESSAGE_INIT(&netd__component__to_component__descriptor),                                   \
	    .body_case = NETD__COMPONENT__TO_COMPONENT__BODY_##which, .field = (value)}

struct history {
	uint32_t restarts, hangs;
	char last_death[64];
	uint64_t pause_last_us, pause_max_us;
	uint64_t died_ns; /* of the one that is being replaced, 0 if nobody is */
	struct backoff backoff;
	uv_timer_t timer; /* runs while a restart waits */
};

struct device {
	char name[16];
	unsigned slot; /* index in supervisor.device */
	int region;
	uint64_t region_size;
	int inet_bell[2], driver_bell[2];
	bool removed; /* by a reload: goes when its driver has gone */
	struct history history;
};

enum component_state {
	COMPONENT_STARTING,
	COMPONENT_STANDBY,
	COMPONENT_RUNNING,
	COMPONENT_STOPPING, /* was asked to leave */
	COMPONENT_DEAD,     /* somebody proved its death before its pidfd did */
};

struct component {
	struct supervisor *sup;
	struct component *next;
	enum component_state state;
	struct device *device; /* of a driver; NULL: netd-inet */
	unsigned number;       /* netd-inet: 0, or n of "standby-n" */
	unsigned slot;         /* in the clock page */
	pid_t pid;
	int pidfd, channel;
	struct watch *pid_watch, *channel_watch;
	struct outq out;
	bool hello, draining;
	uint64_t started_ns, take_over_ns, stop_ns; /* stop_ns: asked to leave */
	uint64_t ready_ns; /* since when it has been doing the work of its role, 0: not yet */
	uint64_t lost_ns;  /* somebody proved its death, 0: not yet */
	struct hang hang;
	char killed_for[64]; /* why the supervisor killed it, or empty */
	bool stopped;        /* as hung, but somebody else had stopped it */
	int words;           /* its standard error: proto/channel.h; -1: unknown */
};

struct supervisor {
	uv_loop_t loop;
	struct config *config;
	const char *config_path;
	int arena, memory, clock_fd, listening;
	int office; /* the description that holds the lock */
	bool own_socket; /* its file is ours to remove */
	bool heir;       /* there was somebody before us: what runs is not ours alone */
	uint64_t arena_size, memory_size;
	struct clock_page *clock;
	struct escrow *escrow;
	struct component *components;
	struct component *active; /* the netd-inet that has the role */
	struct device *device[CONFIG_DEVICES_MAX];
	struct history inet, standby;
	struct channel_msg msg; /* the one being read */
	uv_signal_t signal[3];
	uv_timer_t tick, stop_timer, settle;
	uv_prepare_t flush;
	uint64_t started_ns, last_tick_ns;
	uint64_t tick_ms;    /* between the last tick and the next */
	bool somebody_late;  /* at the last tick: a ping was unanswered */
	bool changed; /* status and pid files are to be told */
	bool ready;   /* a netd-inet was active once */
	bool up;      /* every component of the first start was there, or we are an heir: what leaves is restarted */
	bool stopping;
	bool failed;  /* because somebody could not work */
	struct fdtable stored; /* what a predecessor had, until taken */
	struct fdtable store;  /* what a successor will need; owns nothing */
	struct systemd systemd;
	bool succeeded;        /* it was a living netd-inet that gave it, not systemd */
	pid_t written[1 + CONFIG_DEVICES_MAX]; /* pid files as they stand */
};

static inline uint64_t now_ns(void)
{
	return uv_hrtime(); /* CLOCK_MONOTONIC */
}

static inline bool is_inet(const struct component *c)
{
	return !c->device;
}

/* Not one that is dead or was asked to leave. */
static inline bool component_alive(const struct component *c)
{
	return c->state != COMPONENT_DEAD && c->state != COMPONENT_STOPPING;
}

static inline uint32_t escrow_owner(const struct device *d)
{
	return d ? 1 + d->slot : OWNER_INET;
}

/* ---- supervisor.c: life of the whole */
/* 0, or a negative errno: said why, and ended what it had begun. */
int supervisor_start(struct supervisor *s, struct config *config, const char *path);
int supervisor_run(struct supervisor *s);
/* A region, bells and escrow for each device of the configuration that has none. 0, or a negative errno: said why. */
int start_devices(struct supervisor *s);
void supervisor_stop(struct supervisor *s);
/* A component has gone while stopping: goes on to the next step. */
void supervisor_stop_step(struct supervisor *s);

/* ---- reload.c */
void supervisor_reload(struct supervisor *s);

/* ---- memory.c */
int memory_start(struct supervisor *s);
/* Can its size not change under us? */
bool memory_sealed(int fd);
/* A device's region and bells, from the store or new. 0, or a negative errno: said why. */
int device_create(struct supervisor *s, const struct config_device *d);
void device_destroy(struct supervisor *s, struct device *d);
struct device *device_by_name(const struct supervisor *s, const char *name);

/* ---- listening.c */
/* To who serves the control socket; a negative errno if nobody does. */
int listening_connect(const struct supervisor *s);
/* 0, or a negative errno: said why. */
int listening_start(struct supervisor *s);

/* ---- spawn.c */
/* Starts `program` ("netd-inet", "netd-tap") with its channel, and `words` as standard error. 0 or a negative errno. */
int spawn(const char *program, int channel, int words, pid_t *pid, int *pidfd);

/* ---- identity.c */
/* The process's number; 0 if that is no pidfd (or of a process that we cannot see), negative if it is gone. */
pid_t pidfd_pid(int pidfd);
bool pidfd_dead(int pidfd);
/* Dead, or by all that can be told a component of a netd's. */
bool pidfd_is_component(int pidfd);

/* ---- component.c */
/* Starts a netd-inet or (`d`) a driver and tells it everything. 0, or a negative errno: said why. */
int component_spawn(struct supervisor *s, struct device *d);
/* Takes a living one over from a supervisor that died. */
int component_adopt(struct supervisor *s, struct device *d, unsigned slot, int channel, int pidfd, int words);
struct component *driver_of(const struct supervisor *s, const struct device *d);
void component_name(const struct component *c, char *buf, size_t size);
const char *component_state_name(const struct component *c);
/* As its state demands. Best effort: without the privilege it stays as it is. */
void component_priority(const struct component *c);
/* It has no role any more, and no events come of it; its last words can still be read until it is freed. */
void component_detach(struct component *c);
void component_free(struct component *c);

/* ---- death.c */
/* Its pidfd says so: what is in its channel is worked off, and its role goes to the next one. Only then its end is written down. */
void component_died(void *component, int events);
/* SIGKILL, for this reason; the death is then self-inflicted. */
void component_kill(struct component *c, const char *why);
/* The same because it hangs. One that somebody else had stopped did not inflict its death on itself. */
void component_hung(struct component *c, enum hang_kind kind);
/* Did it cause its death itself? Not if it was killed from outside. `known`: the status is, for we are its parent. */
bool death_self_inflicted(int status, bool known, bool killed_by_us);

/* ---- restart.c */
/* As many netd-inet as there should be, unless back-off says to wait; in so many milliseconds. */
void maintain_inets(struct supervisor *s);
void restart_inets(struct supervisor *s, unsigned wait_ms);
void restart_driver(struct supervisor *s, struct device *d, unsigned wait_ms);

/* ---- settle.c: the moment after a pause, and what has time until it is over */
void settle_init(struct supervisor *s);
/* A netd-inet takes over or has, or a driver is there again. */
void settle_begin(struct supervisor *s);
/* Not long ago that was so. */
bool settling(const struct supervisor *s);

/* ---- send.c: messages to components */
void component_send(struct component *c, to_component *m, struct fdset *fds);
/* The message may have to wait, so it gets descriptors of its own. */
void component_send_copies(struct component *c, to_component *m, const int *fds, int n);
void component_flush(struct component *c);
void send_start(struct component *c);
void send_config(struct component *c); /* send_config.c */
void send_handed(struct component *c, const struct escrow_key *key, struct fdset *fds);
void send_deposits(struct component *c);
void send_withdrawn(struct component *c, const struct escrow_key *key);
void send_granted(struct component *c, uint64_t died_ns);
void send_ping(struct component *c, uint64_t number);
void send_redeposit(struct component *c);
void send_stop(struct component *c);
void send_keep(struct component *c, const char *name, int fd);
void send_forget(struct component *c, const char *name);
/* It has been handed every deposit. */
void send_handed_end(struct component *c);
void send_driver_restarted(struct supervisor *s, const struct device *d);

/* ---- status.c */
/* To every netd-inet and to systemd. */
void send_status(struct supervisor *s);

/* ---- dispatch.c: messages from components */
/* Works off what waits on the channel; `all` also beyond the fair share. */
void dispatch(struct component *c, bool all);

/* ---- watchdog of components: tick.c */
int tick_start(struct supervisor *s);
void tick_period(struct supervisor *s);

/* ---- crash.c */
struct crash_file {
	FILE *f;
	struct timespec time;
	char when[32], path[512];
};
/* A new one, whose name ends in `what`. False: said why. */
bool crash_open(const struct supervisor *s, struct crash_file *c, const char *what);
bool crash_close(const struct supervisor *s, struct crash_file *c);
/* aside.c: keeps a frame that netd-inet set aside as a pcapng file among the crash files. */
void aside_write(struct supervisor *s, const char *text, const uint8_t *frame, size_t n);
void crash_write(const struct component *c, const char *death, uint64_t died_ns);

/* ---- pidfiles.c */
void pidfiles_update(struct supervisor *s);
void pidfiles_remove(struct supervisor *s);
void pidfile_remove_device(struct supervisor *s, const struct device *d);
/* The process that the file names, or 0. */
pid_t pidfile_read(const struct supervisor *s, const char *name);
int make_directories(const char *path, bool parent_only);
/* Closes it; 0, or a negative errno (and errno) if not all that was written to it is there. */
int file_finish(FILE *f);

/* ---- store.c */
/* The name of our own pidfd there. */
#define STORE_SUPERVISOR "supervisor"
/* What a predecessor had under this name, now the caller's; -1 if there is none. */
int store_take(struct supervisor *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool store_has(const struct supervisor *s, const char *name);
/* Nobody wanted these. */
void store_close_rest(struct supervisor *s);
/* For a successor; the descriptor stays the caller's. */
void store_put(struct supervisor *s, int fd, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void store_remove(struct supervisor *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A driver's deposit, of which it and the driver may be the only holders, and its end. */
void store_deposit(struct supervisor *s, const struct device *d, const struct deposit *of);
void store_withdraw(struct supervisor *s, const struct device *d, const struct escrow_key *key);
/* Puts what the device's drivers deposited with a predecessor into escrow. */
void store_take_deposits(struct supervisor *s, const struct device *d);
/* What a successor adopts a component by, and its end. */
void store_component(const struct component *c);
void store_bury(const struct component *c);
/* All of it to a netd-inet. */
void store_send(struct component *c);
/* Puts our pidfd there. 0 or a negative errno. */
int store_sign(struct supervisor *s);
/* Finds the components that live on. Returns how many netd-inet. */
unsigned store_adopt(struct supervisor *s);

/* ---- succession.c */
/* Takes what a living netd-inet has kept of a dead supervisor, if there is one. 0, or a negative errno: said why. */
int succession_ask(struct supervisor *s);
/* Says that another supervisor is there; -EBUSY. */
int succession_occupied(const struct supervisor *s);
/* From here on nobody else is supervisor of this arena. 0, or a negative errno: said why. */
int succession_office(struct supervisor *s);

