#!/bin/bash
# Every interposed call, on sockets of netd over its own address: the checks that hold on the kernel
# (tests/apps) must hold here, also while netd-inet is killed.
# timeout: 300
# storm: yes
. "$(dirname "$0")/apps.sh"
bin=${NETD_BUILD:-$(dirname "$0")/../../build}/tests/apps
bad=0
ulimit -n 4096
accepted() { netctl stats | awk '$1 == "tcp.accepted" { print $2 }'; }
for t in calls wait epoll epfork self process handed threads signals files stdio full fault limit plugin calls_fortified wait_fortified files_fortified stdio_fortified; do
	before=$(accepted)
	netctl run -- "$bin/test_$t" tcp "$NETD" || bad=1
	# Proof that the connections were netd's; a successor counts from nothing.
	[ "${STORM:-}" ] || [ "$(accepted)" -gt $((before + 5)) ] || fail "test_$t made no connections on netd"
done
# Limits of address space, and of descriptors, that were there before, and that nobody may lift.
limited() { # TEST
	LIMITED=1 exec setpriv --bounding-set -sys_resource env LD_PRELOAD="$bin/../../clientlib/libnetd-preload.so" \
		"$bin/$1" tcp "$NETD"
}
(ulimit -v 204800 && limited test_limit) || bad=1
(ulimit -n 64 && limited test_full) || bad=1
exit $bad
