/*
 * The supervisor with components that are test doubles (supervisor_rig_double.h):
 *
 *   test --fork--> supervisor --spawn--> this binary as netd-inet (active, standby) and netd-tap
 *    |  \________________ shared file: orders and observations ______________/
 *    \---- may be its systemd: keeps its descriptor store
 */
#pragma once
#include "supervisor/supervisor.h"
#include "supervisor_rig_double.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

struct rig {
	char dir[64], config[96];
	struct rig_shared *sh;
	pid_t supervisor;
};

/* No measure of netd: what takes milliseconds takes longer on a machine that is busy with something else. */
#define PATIENCE_MS 20000

#define eventually(condition)                                                                      \
	({                                                                                         \
		uint64_t until = now_ns() + PATIENCE_MS * NSEC_PER_MSEC;                           \
		while (!(condition) && now_ns() < until) {                                         \
			rig_store_serve();                                                         \
			usleep(500);                                                               \
		}                                                                                  \
		cr_assert(condition, "not within %d ms: %s", PATIENCE_MS, #condition);             \
	})

/* A folder with a configuration of one device, tap0. */
void rig_start(struct rig *r, unsigned hang_ms, unsigned standbys);
/* `more` follows tap0's keys; `devices` is all of them. */
void write_config(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *more);
void write_devices(const struct rig *r, unsigned hang_ms, unsigned standbys, const char *devices);
/* A supervisor that has what the store holds at descriptors 3 and up, as systemd does it. */
void start_supervisor(struct rig *r);
/* The same, until there is an active netd-inet. */
void rig_run(struct rig *r);
/* Stops it in order; nothing is left behind, the folder neither. */
void rig_stop(struct rig *r);
void rig_remove(const struct rig *r);

bool exists(const struct rig *r, const char *name);
pid_t pid_in(const struct rig *r, const char *name);
/* Also as a zombie that waits for whoever inherited it. */
bool gone_for_good(pid_t pid);
/* The newest crash file's text of tap0's driver; "" if there is none. */
const char *crash_text(const struct rig *r);

/* From here on we are its systemd: what was said so far is noted by each eventually(), and by this. */
void rig_store_listen(struct rig *r);
void rig_store_serve(void);
/* Does not read from here on: there is no room for one word more. */
void rig_store_deafen(void);
/* Reads again. */
void rig_store_undeafen(void);
/* There is no socket from here on, until rig_store_listen() makes another of the same name; what it had stays. */
void rig_store_leave(void);
bool rig_store_has(const char *name);
/* Somebody put another one there. Takes `fd`. */
void rig_store_replace(const char *name, int fd);
/* It said READY=1. */
bool rig_store_ready(void);
/* At the end: the store is empty. */
void rig_store_close(void);
