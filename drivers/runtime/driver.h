/*
 * What every driver shares: the component's side of the channel, the region, the bells, the loop.
 *
 * A driver is a table of five functions (struct driver_ops) and a call of driver_main().
 */
#pragma once
#include "base/core.h"
#include "drivers/runtime/crowd.h"
#include "drivers/runtime/queue.h"
#include "proto/channel.h"
#include "proto/clock.h"
#include "proto/component.pb-c.h"
#include <uv.h>

#define DRIVER_HANDED_MAX 16

struct driver;

struct driver_ops {
	const char *type; /* "tap" */
	/*
	 * Opens the device (or takes it from what was handed, driver_handed()), configures it, puts
	 * facts into d->facts and its descriptor into d->dev_fd. Runs with the privileges that the
	 * supervisor gave. 0 or a negative errno, with the reason logged.
	 */
	int (*open)(struct driver *d);
	void (*close)(struct driver *d);
	/* Gives up all privileges, for good; called after open(), before the first frame. */
	int (*sandbox)(void);
	/* Device to region and region to device, at most about `budget` frames. Frames done, or a negative errno: the device is gone. */
	int (*receive)(struct driver *d, unsigned budget);
	int (*transmit)(struct driver *d, unsigned budget);
	/*
	 * Events (UV_READABLE, UV_WRITABLE) of dev_fd to wait for; 0 while it waits for netd-inet only. Fill
	 * entries at and after queue.seen, and d->wait_ms if it is not 0, end the wait for netd-inet.
	 */
	int (*wants)(struct driver *d);
};

struct driver_facts {
	uint8_t mac[6];
	uint32_t mtu, features; /* enum region_features */
};

struct driver_counters {
	uint64_t rx_frames, tx_frames, rx_dropped, tx_dropped, tx_errors;
};

struct driver {
	const struct driver_ops *ops;
	void *device; /* the driver's own */
	int dev_fd;   /* of the kernel's device, or -1 */
	Netd__Component__ToComponent *start; /* holds the configuration */
	const Netd__Component__DriverConfig *config;
	struct region *region;
	uint64_t region_size;
	struct clock_page *clock;
	uint32_t slot;
	int bell, inet_bell; /* reading end of ours, writing end of netd-inet's */
	struct queue queue;
	struct driver_facts facts;
	struct driver_counters count;
	struct {
		uint32_t kind, index, generation;
		int fd;
	} handed[DRIVER_HANDED_MAX];
	unsigned n_handed;
	struct core core;
	struct crowd crowd;

	uv_loop_t loop;
	uv_poll_t channel_watch, bell_watch, dev_watch;
	uv_timer_t wait_timer;
	unsigned wait_ms;
	int watched; /* events that dev_watch has now */
	bool channel_open, bell_open, stop;
	int failed; /* negative errno that ends the driver */
	struct channel_msg msg;
};

/* Runs a driver to its end; returns the exit status of the program. */
int driver_main(const struct driver_ops *ops);

/* A descriptor of this kind and index that the predecessor deposited, now the caller's; or -1. */
int driver_handed(struct driver *d, uint32_t kind, uint32_t index);
/* Puts a descriptor into escrow. 0 or a negative errno. */
int driver_deposit(struct driver *d, uint32_t kind, uint32_t index, int fd);
/* Is the feature (enum region_features) allowed by the configuration? */
bool driver_allows(const struct driver *d, uint32_t feature);
