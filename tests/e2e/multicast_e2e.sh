#!/bin/bash
# Multicast, from and to unmodified programs on both sides: joining, sending, several listeners, leaving, sources, and what
# the routers are told. The membership lasts as long as its socket, across every kill.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need socat tcpdump python3
GROUP=239.1.2.3
no_route

# hear NAME PORT SIDE ADDRESS [OPTIONS]: a listener whose datagrams come into NAME.log
hear() {
	start "$1" $3 socat -u "UDP4-RECV:$2,reuseaddr,ip-add-membership=$GROUP:$4${5:-}" STDOUT
}
# say SIDE ADDRESS PORT TEXT [OPTIONS]
say() {
	echo "$4" | $1 timeout 5 socat -u STDIN "UDP4-DATAGRAM:$GROUP:$3,ip-multicast-if=$2${5:-}"
}
# heard NAME TEXT
heard() { grep -qx "$2" "$work/$1.log"; }
# told SIDE ADDRESS PORT TEXT NAME...: a datagram may be lost with a driver, and is then said again
told() {
	for _ in $(seq 20); do
		say "$1" "$2" "$3" "$4"
		missing=
		for n in "${@:5}"; do soon1 heard "$n" "$4" || missing="$missing $n"; done
		[ "$missing" ] || return 0
	done
	fail "'$4' was not heard by$missing"
}
# soon1 COMMAND...: true within half a second
soon1() {
	for _ in $(seq 25); do "$@" && return 0; sleep 0.02; done
	return 1
}

start igmp $PEER tcpdump -l -n -v -i any igmp
soon grep -q "listening on" "$work/igmp.log" || fail "tcpdump does not listen"
hear one 7000 "netctl run --" "$NETD"
hear two 7000 "netctl run --" "$NETD"
hear kernel 7000 "$PEER" "$KERNEL"
soon seen UNCONN 7000 || fail "nobody listens in netctl ss: $(netctl ss -a)"
told "$PEER" "$KERNEL" 7000 ready one two

echo "from the kernel to two listeners of netd, and from netd to all three, its own included"
for i in $(seq 10); do
	told "$PEER" "$KERNEL" 7000 "kernel $i" one two kernel
	told "netctl run --" "$NETD" 7000 "netd $i" one two kernel
done
echo "the link was told: a report of version 3 for the group"
soon grep -q "gaddr $GROUP to_ex" "$work/igmp.log" || fail "no report was seen: $(tail -n 5 "$work/igmp.log")"

echo "a group that nobody joined is not heard, nor this one on another port"
$PEER socat -u "SYSTEM:echo foreign" "UDP4-DATAGRAM:239.1.2.4:7000,ip-multicast-if=$KERNEL"
told "$PEER" "$KERNEL" 7000 "after the foreign one" one two
if heard one foreign || heard two foreign; then fail "239.1.2.4 was heard"; fi

echo "options, sources, limits and errors: on the kernel, and the same on netd"
$PEER python3 "$(dirname "$0")/multicast.py" "$KERNEL" || fail "multicast.py does not know the kernel"
netctl run -- python3 "$(dirname "$0")/multicast.py" "$NETD" || fail "multicast.py"

echo "the last listener leaves, and the link is told"
for p in $pids; do
	grep -q "ip-add-membership=$GROUP:$NETD" "/proc/$p/cmdline" 2>/dev/null && kill "$p"
done
soon grep -q "gaddr $GROUP to_in" "$work/igmp.log" || fail "no leave was seen: $(tail -n 5 "$work/igmp.log")"
