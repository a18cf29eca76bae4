#!/bin/bash
# arping asks the neighbour, and is asked: netd's own address is found by the kernel's arping, too.
# timeout: 60
# storm: yes
. "$(dirname "$0")/apps.sh"
need arping
no_route
mac=$($PEER cat /sys/class/net/netd0/address)
(until netctl ss -a -0 2>/dev/null | grep -q "^p_dgr .*0x0806:tap0"; do sleep 0.01; done; : >"$work/seen") &
pids="$pids $!"
netctl run -- arping -c 4 -I tap0 "$KERNEL" >"$work/arping.log" 2>&1 || { cat "$work/arping.log"; fail "arping"; }
# In a storm a probe may die with its driver; the others must not.
got=$(grep -ci "reply from $KERNEL \[$mac\]" "$work/arping.log")
[ "$got" -ge "$([ "${STORM:-}" ] && echo 2 || echo 4)" ] || { cat "$work/arping.log"; fail "only $got replies"; }
[ -e "$work/seen" ] || fail "no packet socket was seen in netctl ss"
netctl run -- arping -c 1 -w 1 -I tap0 10.99.0.77 >"$work/arping.log" 2>&1 && fail "10.99.0.77 answered"
netctl run -- arping -c 1 -I lo 127.0.0.1 >"$work/arping.log" 2>&1
grep -q "not ARPable" "$work/arping.log" || { cat "$work/arping.log"; fail "lo"; }
ours=$(netctl link | sed -n 's/.*\(\([0-9a-f]\{2\}:\)\{5\}[0-9a-f]\{2\}\).*/\1/p' | grep -v 00:00:00:00:00:00 | head -1)
$PEER arping -c 2 -I netd0 "$NETD" >"$work/arping.log" 2>&1 || { cat "$work/arping.log"; fail "the kernel's arping"; }
grep -qi "$ours" "$work/arping.log" || { cat "$work/arping.log"; fail "another address than netd's $ours"; }
echo "$got replies from $mac"
