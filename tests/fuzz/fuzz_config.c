/*
 * Configuration files that are broken in any way: each is refused with one line that says where, or is sound in
 * every value that netd goes by. Nothing of it is left in memory.
 */
#include "fuzz.h"
#include "supervisor/config.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_MAX 8192

static const char sound[] = "log_level: info\n"
			    "hang_ms: 200\n"
			    "standbys: 2\n"
			    "nice: -5\n"
			    "tcp_ecn: on\n"
			    "devices:\n"
			    "  - name: tap0\n"
			    "    mac: 02:00:00:00:00:02\n"
			    "    mtu: 1500\n"
			    "    chunks: 8192\n"
			    "    offloads: true\n"
			    "    host_address: 10.99.0.1/24\n"
			    "    addresses: [10.99.0.2/24, 'fd99::2/64']\n"
			    "  - {name: tap1, netns: /run/netns/x, txqueuelen: 1000}\n"
			    "routes:\n"
			    "  - {destination: default, gateway: 10.99.0.1, device: tap0}\n"
			    "  - {destination: 10.5.0.0/16, device: tap1, metric: 5}\n"
			    "pass_through: [{address: 127.0.0.53, port: 53}]\n"
			    "name_servers: [9.9.9.9, '2620:fe::fe']\n"
			    "limits: {session_sockets: 1024, user_memory_mib: 64}\n"
			    "admin_uids: [1, 2]\n"
			    "raw_uids: [3]\n"
			    "ping_gids: [0, 2147483647]\n";

static const char *const pieces[] = {"devices:", "- ", "{", "}", "[", "]", ": ", "\n", "  ", "&a ", "*a", "!!int ", "!!binary ", "|\n",
    "- name: tap0\n", "~", "0x7fffffff", "-1", "18446744073709551616", "1e9", "\"\\u0000\"", "'", "#", "%YAML 1.1\n---\n", "...\n",
    "\t", "\xff\xfe", "\xef\xbb\xbf", "? ", "<<: *a\n", "limits: {}\n", "name: lo", "/0", "10.0.0.0/33", "yes"};

static uint32_t insert(char *text, uint32_t len, const char *piece, uint32_t n)
{
	uint32_t at = rnd(len + 1);

	if (len + n > FILE_MAX)
		return len;
	memmove(text + at + n, text + at, len - at);
	memcpy(text + at, piece, n);
	return len + n;
}

static uint32_t cut(char *text, uint32_t len)
{
	uint32_t at = rnd(len + 1), n = rnd(1 + (one_in(4) ? len - at : (len - at) / 8));

	memmove(text + at, text + at + n, len - at - n);
	return len - n;
}

static uint32_t broken(char *text)
{
	uint32_t len = sizeof(sound) - 1;
	static char copy[300];

	memcpy(text, sound, len);
	for (uint32_t n = rnd(5); n; n--) {
		uint32_t from = rnd(len ? len : 1), size = rnd(sizeof(copy));
		const char *piece = pieces[rnd(sizeof(pieces) / sizeof(pieces[0]))];

		switch (rnd(4)) {
		case 0:
			mutate((uint8_t *)text, len);
			break;
		case 1:
			len = cut(text, len);
			break;
		case 2: /* a part of it once more, perhaps elsewhere */
			size = from + size > len ? len - from : size;
			memcpy(copy, text + from, size);
			len = insert(text, len, copy, size);
			break;
		default:
			len = insert(text, len, piece, (uint32_t)strlen(piece));
		}
	}
	return len;
}

static void check_sound(const struct config *c)
{
	check(c->devices_count >= 1 && c->devices_count <= CONFIG_DEVICES_MAX, "%u devices", c->devices_count);
	check(c->socket[0] == '/' && c->pidfile_dir[0] == '/' && c->crash_dir[0] == '/', "places");
	check(*c->standbys <= CONFIG_STANDBYS_MAX && *c->nice >= -20 && *c->nice <= 19, "%u standbys, nice %d", *c->standbys, *c->nice);
	check(c->hang_ms >= 20 && c->arena_mib >= 64, "hang_ms %u, arena_mib %u", c->hang_ms, c->arena_mib);
	for (unsigned i = 0; i < c->devices_count; i++) {
		const struct config_device *d = &c->devices[i];

		check(*d->name && strlen(d->name) < 16 && config_find_device(c, d->name) == d, "name %s", d->name);
		check(strlen(d->ifname) < 16 && d->driver && d->netns && d->host_address && d->offloads, "device %s", d->name);
		check(d->mtu >= 576 && d->mtu <= 65521 && d->chunks >= 64 && d->chunks <= 1u << 20, "mtu %u, %u chunks", d->mtu, d->chunks);
		check(!(d->mac_bytes[0] & 1), "a multicast address");
	}
	for (unsigned i = 0; i < c->routes_count; i++)
		check(c->routes[i].destination && (c->routes[i].gateway || c->routes[i].device), "route %u", i);
	for (unsigned i = 0; i < c->pass_through_count; i++)
		check(c->pass_through[i].address && c->pass_through[i].port <= 65535, "pass_through %u", i);
	check(!c->ping_gids_count || c->ping_gids_count == 2, "%u ping_gids", c->ping_gids_count);
}

static void round_config(void)
{
	static char text[FILE_MAX];
	char path[64], err[512] = "";
	uint32_t len = broken(text);
	int fd = memfd_create("fuzz", MFD_CLOEXEC), ret;
	struct config *c;

	check(fd >= 0 && write(fd, text, len) == (ssize_t)len, "memfd");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ret = config_load(path, &c, err, sizeof(err));
	close(fd);
	if (!ret) {
		check_sound(c);
		config_free(c);
		return;
	}
	check(ret < 0 && !c, "%d and a configuration", ret);
	check(!strncmp(err, path, strlen(path)) && !strchr(err, '\n'), "it says: %s", err);
}

int main(void)
{
	return fuzz_main("fuzz_config", 20000, round_config);
}
