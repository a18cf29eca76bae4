#!/bin/bash
# iperf3 with netd at either end, both directions, TCP and UDP, several streams.
# timeout: 180
# storm: yes
. "$(dirname "$0")/apps.sh"
need iperf3
# Between two tests iperf3's server has its port closed: who comes then is refused or reset, by the kernel too. It says when it is open.
declare -A tests
open_again() {
	tests[$1]=$((${tests[$1]:-0} + 1))
	soon grep -q "Server listening.*#${tests[$1]})" "$work/$1.log" || fail "iperf3's $1 is not there for test ${tests[$1]}"
}
run() {
	what=$1
	shift
	echo "$what"
	case " $* " in
	*" -p 5202 "*) open_again kserver ;;
	*) open_again server ;;
	esac
	"$@" >"$work/iperf.log" 2>&1 || { cat "$work/iperf.log"; fail "$what"; }
	grep -E 'sender|receiver' "$work/iperf.log" | grep -E 'SUM|^\[ *[0-9]+\]\[|' | tail -4
	! grep -E ' 0\.00 Bytes .*(sender|receiver)' "$work/iperf.log" || fail "$what: a stream carried nothing"
}
start server netctl run -- iperf3 -s --forceflush -B "$NETD" -p 5201
start kserver $PEER iperf3 -s --forceflush -B "$KERNEL" -p 5202
listening 5201
watch_port "$work/seen-1" 5201
run "to netd's server" $PEER iperf3 -c "$NETD" -p 5201 -t 3
run "from netd's server" $PEER iperf3 -c "$NETD" -p 5201 -t 3 -R
[ -e "$work/seen-1" ] || fail "the connection was not seen in netctl ss"
watch_port "$work/seen-2" 5202
run "netd's client sends" netctl run -- iperf3 -c "$KERNEL" -p 5202 -t 3
run "netd's client receives" netctl run -- iperf3 -c "$KERNEL" -p 5202 -t 3 -R
[ -e "$work/seen-2" ] || fail "the connection was not seen in netctl ss"
run "eight streams to netd" $PEER iperf3 -c "$NETD" -p 5201 -t 2 -P 8
run "eight streams from netd" netctl run -- iperf3 -c "$KERNEL" -p 5202 -t 2 -P 8
run "both ways at once, from the kernel's side" $PEER iperf3 -c "$NETD" -p 5201 -t 2 --bidir
run "eight streams, both ways" netctl run -- iperf3 -c "$KERNEL" -p 5202 -t 3 -P 8 --bidir
run "a file by sendfile" netctl run -- iperf3 -c "$KERNEL" -p 5202 -t 2 -Z
run "both ends on netd" netctl run -- iperf3 -c "$NETD" -p 5201 -t 3
run "eight streams, both ends on netd" netctl run -- iperf3 -c "$NETD" -p 5201 -t 3 -P 8
run "UDP from netd" netctl run -- iperf3 -c "$KERNEL" -p 5202 -u -b 50M -t 2
run "UDP to netd" netctl run -- iperf3 -c "$KERNEL" -p 5202 -u -b 50M -t 2 -R
# However much there was to carry, netd-inet always had time to answer the supervisor.
! netctl blackbox | grep -w hung || fail "netd-inet was taken for hung"
