#!/bin/bash
# Every interposed call, on sockets of netd over its own address: the checks that hold on the kernel
# (tests/apps) must hold here.
# timeout: 300
. "$(dirname "$0")/apps.sh"
bin=${NETD_BUILD:-$(dirname "$0")/../../build}/tests/apps
bad=0
ulimit -n 4096
for t in calls wait epoll process handed threads files calls_fortified wait_fortified files_fortified; do
	watch_port "$work/seen-$t" "[0-9]*"
	netctl run -- "$bin/test_$t" tcp "$NETD" || bad=1
	[ -e "$work/seen-$t" ] || fail "no connection of test_$t was seen in netctl ss"
done
exit $bad
