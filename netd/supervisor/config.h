/*
 * The configuration file: YAML to a plain structure. Every optional key has its default filled in, so
 * that nobody else needs to know which keys were there.
 */
#pragma once
#include "proto/endpoint.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_DEVICES_MAX  16
#define CONFIG_STANDBYS_MAX 8

struct config_device {
	char *name, *driver, *ifname, *mac, *host_address, *netns;
	char **addresses;
	unsigned addresses_count;
	uint32_t mtu, chunks, txqueuelen;
	bool *offloads;
	uint8_t mac_bytes[6]; /* of `mac`, or derived */
};

struct config_route {
	char *destination, *gateway, *device;
	uint32_t metric;
};

struct config_pass_through {
	char *address;
	uint32_t port;
};

struct config_limits {
	uint32_t session_memory_mib, session_sockets, user_sockets, user_memory_mib;
	uint32_t rcvbuf_max_kib, sndbuf_max_kib;
};

struct config {
	char *socket, *pidfile_dir, *crash_dir;
	uint32_t *standbys;
	int *nice;
	uint32_t hang_ms, log_level; /* enum log_level */
	uint32_t arena_mib, daemon_memory_mib;
	struct config_device *devices;
	unsigned devices_count;
	struct config_route *routes;
	unsigned routes_count;
	struct config_pass_through *pass_through;
	unsigned pass_through_count;
	char **name_servers;
	unsigned name_servers_count;
	struct config_limits limits;
	uint32_t tcp_ecn; /* Ecn in component.proto */
	uint32_t *admin_uids;
	unsigned admin_uids_count;
	uint32_t *raw_uids;
	unsigned raw_uids_count;
	uint32_t *ping_gids; /* none, or first and last */
	unsigned ping_gids_count;
};

/*
 * Reads, checks and completes a file. Returns 0, or a negative errno with one line in `err`:
 * "FILE:LINE: KEY: what is wrong".
 */
int config_load(const char *path, struct config **out, char *err, size_t err_size);
void config_free(struct config *c);
const struct config_device *config_find_device(const struct config *c, const char *name);
