/* The configuration file: defaults, and one line with file, line and key for every mistake. */
#include "supervisor/config.h"
#include "base/log.h"
#include "proto/component.pb-c.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int load(const char *text, struct config **c, char *err, size_t size)
{
	char path[] = "/tmp/netd-config-XXXXXX";
	int fd = mkstemp(path), ret;
	size_t len;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	err[0] = 0;
	ret = config_load(path, c, err, size);
	unlink(path);
	len = strlen(path);
	if (ret < 0 && !strncmp(err, path, len))
		memmove(err, err + len, strlen(err + len) + 1);
	return ret;
}

/* `want` is what follows the file's name: ":LINE: KEY: ..." up to where it matters. */
static void expect(const char *text, const char *want)
{
	struct config *c;
	char err[512];

	cr_assert_lt(load(text, &c, err, sizeof(err)), 0, "accepted: %s", text);
	cr_assert_null(c);
	cr_assert_null(strchr(err, '\n'), "more than one line: %s", err);
	cr_assert_eq(strncmp(err, want, strlen(want)), 0, "said '%s', not '%s'", err, want);
}

Test(config, defaults)
{
	struct config *c;
	char err[512];

	cr_assert_eq(load("devices:\n  - name: tap0\n", &c, err, sizeof(err)), 0, "%s", err);
	cr_assert_str_eq(c->socket, "/run/netd/netd.sock");
	cr_assert_eq(*c->standbys, 3);
	cr_assert_eq(c->hang_ms, 200);
	cr_assert_eq(c->log_level, LOG_LEVEL_INFO);
	cr_assert_eq(c->arena_mib, 3072);
	cr_assert_str_eq(c->devices[0].driver, "tap");
	cr_assert_str_eq(c->devices[0].ifname, "tap0");
	cr_assert_eq(c->devices[0].mtu, 1500);
	cr_assert_eq(c->devices[0].chunks, 8192);
	cr_assert(*c->devices[0].offloads);
	cr_assert_eq(c->devices[0].mac_bytes[0] & 3, 2);
	cr_assert_eq(c->limits.rcvbuf_max_kib, 6144);
	cr_assert_eq(c->tcp_ecn, NETD__COMPONENT__ECN__ECN_PASSIVE);
	config_free(c);
}

Test(config, everything)
{
	struct config *c;
	char err[512];

	cr_assert_eq(load("socket: /tmp/n.sock\npidfile_dir: /tmp\ncrash_dir: /tmp/c\nstandbys: 0\n"
			  "hang_ms: 500\nlog_level: debug\narena_mib: 128\ndaemon_memory_mib: 256\n"
			  "devices:\n  - {name: tap0, driver: tap, ifname: netd0, mtu: 9000, "
			  "mac: \"02:00:00:00:00:02\", host_address: 10.99.0.1/24, "
			  "addresses: [10.99.0.2/24, \"fd99::2/64\"], chunks: 1024, txqueuelen: 100, "
			  "offloads: false}\n"
			  "routes:\n  - {destination: default, gateway: 10.99.0.1, device: tap0, metric: 3}\n"
			  "pass_through:\n  - {address: 127.0.0.53, port: 53}\n"
			  "name_servers: [10.99.0.1]\nlimits: {session_sockets: 32}\nadmin_uids: [0, 7]\ntcp_ecn: on\n",
			 &c, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(*c->standbys, 0);
	cr_assert_eq(c->tcp_ecn, NETD__COMPONENT__ECN__ECN_ON);
	cr_assert_eq(c->devices[0].mac_bytes[5], 2);
	cr_assert_eq(c->devices[0].addresses_count, 2);
	cr_assert_not(*c->devices[0].offloads);
	cr_assert_eq(c->routes[0].metric, 3);
	cr_assert_eq(c->pass_through[0].port, 53);
	cr_assert_eq(c->limits.session_sockets, 32);
	cr_assert_eq(c->limits.user_sockets, 65536);
	cr_assert_eq(c->admin_uids[1], 7);
	config_free(c);
}

Test(config, mistakes_of_form)
{
	expect("", ":1: devices: missing");
	expect("- tap0\n", ":1: keys with values are expected");
	expect("hang_ms: 100\n", ":1: devices: missing");
	expect("devices: []\n", ":1: devices[0]: too few entries");
	expect("devices: tap0\n", ":1: devices: a list is expected");
	expect("devices: [tap0]\n", ":1: devices[0]: keys with values are expected");
	expect("devices:\n  - name: t\n    mtu: [1500]\n", ":3: devices[0].mtu: one value is expected");
	expect("devices:\n  - name: t\n   mtu: 5\n", ":3: syntax: ");
	expect("devices:\n  - name: t\n    mut: 5\n", ":3: devices[0].mut: there is no such key");
	expect("devices:\n  - name: t\n  - mtu: 1500\n", ":3: devices[1].name: missing");
	expect("devices:\n  - name: t\n    mtu: many\n", ":3: devices[0].mtu: no number of its range: 'many'");
	expect("devices:\n  - name: t\n    offloads: perhaps\nhang_ms: -1\n", ":4: hang_ms: no number of its range: '-1'");
	expect("devices:\n  - name: t\nlog_level: loud\n", ":3: log_level: none of its words: loud");
	expect("devices:\n  - name: t\ntcp_ecn: 2\n", ":3: tcp_ecn: none of its words: 2");
	expect("colour: red\ndevices:\n  - name: t\n", ":1: colour: there is no such key");
	expect("devices:\n  - name: t\n    name: u\n", ":2: devices[0].name: there twice");
	expect("devices:\n  - name: t\nlimits:\n  session_memory: 4\n", ":4: limits.session_memory: there is no such key");
}

/* Each list is within its bounds, but netd-inet could not be told all of it at once. */
Test(config, what_a_value_holds_stays_in_its_line)
{
	expect("devices:\n  - name: tap0\n    addresses: [\"a\\nb\\e[2Jc/1\"]\n", ":3: devices[0].addresses[0]: 'a?b?[2Jc/1' is not");
}

Test(config, more_than_one_message_takes)
{
	static char text[200000];
	char *at = text;

	at += sprintf(at, "devices:\n  - name: long-name\nroutes:\n");
	for (unsigned i = 0; i < 1024; i++)
		at += sprintf(at, "  - {destination: 100.100.%u.%u/32, gateway: 100.200.100.100, device: long-name}\n", 100 + i / 256, i % 256);
	expect(text, ":3: routes: all addresses and routes take ");
}

Test(config, mistakes_of_sense)
{
	expect("devices:\n  - name: t\n    mtu: 60\n", ":3: devices[0].mtu: 60 is not between");
	expect("devices:\n  - name: t\n    chunks: 3\n", ":3: devices[0].chunks: ");
	expect("devices:\n  - name: t\n    mac: 02:00\n", ":3: devices[0].mac: '02:00' is not");
	expect("devices:\n  - name: t\n    mac: \"01:00:00:00:00:01\"\n", ":3: devices[0].mac: ");
	expect("devices:\n  - name: t\n    driver: tup\n", ":3: devices[0].driver: there is no driver 'tup'");
	expect("devices:\n  - name: t\n  - name: t\n", ":3: devices[1].name: 't' is taken");
	expect("devices:\n  - name: lo\n", ":2: devices[0].name: 'lo' is taken");
	expect("devices:\n  - name: a/b\n", ":2: devices[0].name: 'a/b' is not a name");
	expect("devices:\n  - name: t\n    addresses:\n      - 10.0.0.1/8\n      - 10.0.0.300/8\n",
	    ":5: devices[0].addresses[1]: '10.0.0.300/8' is not");
	expect("devices:\n  - name: t\n    addresses: [10.0.0.1]\n", ":3: devices[0].addresses[0]: ");
	expect("devices:\n  - name: t\n    addresses: [10.0.0.1/33]\n", ":3: devices[0].addresses[0]: ");
	expect("devices:\n  - name: t\nsocket: netd.sock\n", ":3: socket: 'netd.sock' is not an absolute path");
	expect("devices:\n  - name: t\nstandbys: 99\n", ":3: standbys: 99 is not between 0 and 8");
	expect("devices:\n  - name: t\nhang_ms: 1\n", ":3: hang_ms: 1 is not between");
	expect("devices:\n  - name: t\nnice: -30\n", ":3: nice: -30 is not between -20 and 19");
	expect("devices:\n  - name: t\nroutes:\n  - destination: default\n    device: u\n",
	    ":5: routes[0].device: there is no device 'u'");
	expect("devices:\n  - name: t\nroutes:\n  - destination: default\n", ":4: routes[0].destination: ");
	expect("devices:\n  - name: t\nroutes:\n  - {destination: 10.0.0.0, device: t}\n", ":4: routes[0].destination: ");
	expect("devices:\n  - name: t\npass_through:\n  - {address: here}\n", ":4: pass_through[0].address: ");
	expect("devices:\n  - name: t\npass_through:\n  - {address: 1.2.3.4, port: 70000}\n", ":4: pass_through[0].port: ");
	expect("devices:\n  - name: t\nname_servers: [1.1.1.1, x]\n", ":3: name_servers[1]: 'x' is not an IP address");
	expect("devices:\n  - name: t\nlimits:\n  rcvbuf_max_kib: 1\n", ":4: limits.rcvbuf_max_kib: ");
}

Test(config, no_file)
{
	struct config *c;
	char err[512];

	cr_assert_eq(config_load("/nonexistent/netd.yaml", &c, err, sizeof(err)), -ENOENT);
	cr_assert_str_eq(err, "/nonexistent/netd.yaml: No such file or directory");
}
