/*
 * What netd-inet is given by its supervisor: shared memories, configuration, deposits. Gathered while
 * standing by, so that a takeover finds everything mapped.
 */
#pragma once
#include "base/fdtable.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include "proto/component.pb-c.h"
#include <pthread.h>
#include <stdbool.h>

struct handed { /* one deposit */
	uint32_t kind, index, generation;
	int nfds;
	int fds[4];
	void *map; /* client memory mapped in advance, or NULL */
	uint64_t map_size;
};

struct handed_device {
	char name[32];
	char driver[16];
	void *region;
	uint64_t region_size;
	int bell;        /* reading end of ours */
	int driver_bell; /* writing end of the driver's */
	bool attached;
	bool gone;       /* not in the configuration any more; its place is not used again */
};

#define HANDOVER_DEVICES 16
#define HANDOVER_CONFIGS 4

struct handover {
	int channel;
	uint32_t slot; /* of our beat */
	uint64_t arena_size, memory_size;
	int arena_fd, memory_fd, clock_fd, listen_fd;
	void *arena, *memory;
	struct clock_page *clock;
	Netd__Component__Config *config; /* newest, or NULL */
	uint32_t config_id;
	struct config_was {
		Netd__Component__Config *config;
		uint32_t id;
	} was[HANDOVER_CONFIGS]; /* the ones before it, the oldest first, from the one that is in force on if it is known */
	unsigned n_was;
	Netd__Component__Status *status; /* newest, or NULL */
	struct handed_device device[HANDOVER_DEVICES];
	unsigned devices;
	struct handed *handed; /* hash by key, open addressing */
	uint32_t handed_n, handed_room, take_at;
	bool synced;   /* handed_end was seen */
	bool granted;  /* take_over_granted was seen */
	bool stop;     /* the supervisor asks us to leave */
	bool leading;  /* we have the role: one thread from now on */
	bool taken;    /* the deposits were taken out of the table */
	bool alone;    /* there is no supervisor: daemon/alone.h */
	bool redeposit;
	uint64_t files; /* that may be open, of which some are spared; 0: none are */
	uint32_t heard; /* messages of the supervisor */
	uint32_t asked; /* how often a new supervisor asked for everything */
	struct fdtable kept; /* for the supervisor's successor: daemon/alone.h */
	bool config_new; /* the newest is not in force yet */
	bool status_new;
	bool gone;     /* the channel is at its end: the supervisor died before it gave us anything to keep */
	uint64_t died_ns;
	struct channel_msg msg; /* the one being read */
};

/* Waits for Start on the channel and maps what comes with it. 0 or a negative errno. */
int handover_start(struct handover *h, int channel);
/*
 * Takes every message that waits on the channel; sets the flags above. Returns 0, or -EPIPE when
 * the supervisor is gone (the daemon goes on without).
 */
int handover_receive(struct handover *h);
/* Waits (poll) until there is a message, at most `timeout_ms` (-1: for ever), then handover_receive(). */
int handover_wait(struct handover *h, int timeout_ms);
/*
 * From now on clients cannot have the last places of our table of descriptors: a successor needs some more than we do,
 * and what the supervisor gives has to find a place. So our limit is lower, but while we receive from it.
 */
void handover_spare_files(struct handover *h);
/* For a moment we may use them. */
void handover_use_spares(const struct handover *h, bool use);
/* A deposit or withdrawal that is in `msg`, said by a predecessor: into the table. */
void handover_note(struct handover *h, const Netd__Component__FromComponent *m);
/* Gives up what a device that is gone was handed over with. */
void handover_drop_device(struct handed_device *d);
/*
 * Configurations. A standby is told of each, but only the active one carries them out, and may die before: the id of the
 * one that is in force is a fact in the world's record, committed with what it brought. This says which one it is; those
 * before it are forgotten.
 */
void handover_in_force(struct handover *h, uint32_t config_id);
/* At the end: nothing of any configuration is needed any more. */
void handover_forget_configs(struct handover *h);
/* The next deposit, taken out of the table; false when there is none. */
bool handover_take(struct handover *h, struct handed *out);

/*
 * While the main thread waits for the mutex, a second one keeps receiving. handover_attend() starts
 * it, handover_leave() ends and joins it: an active daemon has one thread.
 */
struct attendant {
	struct handover *h;
	pthread_t thread;
	int wake[2];
};
int handover_attend(struct attendant *a, struct handover *h);
void handover_leave(struct attendant *a);
