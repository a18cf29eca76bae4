#!/bin/bash
# Every option and every errno of the socket calls, on the kernel and on netd, with the same program: they must be equal, but
# for what tests/differ/allowed lists with its reason.
# timeout: 400
. "$(dirname "$0")/apps.sh"
program=${NETD_BUILD:-$(dirname "$0")/../../build}/tests/differ/differ
ulimit -n 4096
$PEER sh -c "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range" # as on systems with systemd, and in netd
watch_port "$work/seen" "[0-9]*"
"$(dirname "$0")/../differ/compare.py" "$program" || fail "netd and the kernel differ"
[ -e "$work/seen" ] || fail "no connection was seen in netctl ss"
