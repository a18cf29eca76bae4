#!/bin/bash
# Error queues, urgent data, control messages, limits and lingering closes, again and again: the same answers as the kernel's
# each time, also while netd-inet is killed under them.
# timeout: 240
# storm: yes
. "$(dirname "$0")/apps.sh"
program=${NETD_BUILD:-$(dirname "$0")/../../build}/tests/differ/differ
ulimit -n 4096
end=$((SECONDS + 12))
rounds=0
while [ "$SECONDS" -lt "$end" ]; do
	"$(dirname "$0")/../differ/compare.py" "$program" data ready structs data calls >"$work/differ.log" || {
		cat "$work/differ.log"
		fail "netd and the kernel differ in round $rounds"
	}
	rounds=$((rounds + 1))
done
echo "$rounds rounds, all equal"
