#!/bin/bash
# traceroute by UDP, ICMP and TCP finds the router and the host behind it:
#
#   netd 10.99.0.2 -- TAP -- 10.99.0.1 "peer" 10.98.0.1 -- veth -- 10.98.0.2 "far"
#
# The router says "time exceeded", the host "port unreachable", an echo reply, or SYN/ACK.
# timeout: 90
# storm: yes
. "$(dirname "$0")/apps.sh"
need traceroute python3
no_route
FAR=10.98.0.2 far=nlab$$-far
ip netns add "$far" || fail "no namespace"
trap 'ip netns del "$far"; finish' EXIT
peer=${PEER##* }
ip -n "$peer" link add far type veth peer name near netns "$far" || fail "no veth"
ip -n "$peer" addr add 10.98.0.1/24 dev far && ip -n "$peer" link set far up || fail "the router's end"
ip -n "$far" addr add $FAR/24 dev near && ip -n "$far" link set near up && ip -n "$far" link set lo up || fail "the far end"
ip -n "$far" route add default via 10.98.0.1
$PEER sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0 || fail "forwarding"
ip netns exec "$far" sysctl -qw net.ipv4.icmp_ratelimit=0
start server ip netns exec "$far" python3 -m http.server 8000 --bind $FAR
soon ip netns exec "$far" bash -c "exec 3<>/dev/tcp/$FAR/8000" || fail "no server"

# hops NAME ARGS...: both hops, each by its own address. Waits that adapt to the first answer (-w) are left out: this machine may be slow.
hops() {
	netctl run -- traceroute -n -q 3 -w 5,0,0 "${@:2}" $FAR >"$work/$1" 2>&1 || { cat "$work/$1"; fail "traceroute $*"; }
	grep -Eq "^ 1 .* *10\.99\.0\.1  [0-9.]+ ms" "$work/$1" || { cat "$work/$1"; fail "$1: the router"; }
	grep -Eq "^ 2 .* *10\.98\.0\.2  [0-9.]+ ms" "$work/$1" || { cat "$work/$1"; fail "$1: the host"; }
	[ "$(grep -cE '^ *[0-9]+ ' "$work/$1")" -eq 2 ] || { cat "$work/$1"; fail "$1: not two hops"; }
	[ "${STORM:-}" ] || ! grep -q '\*' "$work/$1" || { cat "$work/$1"; fail "$1: a probe got no answer"; }
}
rounds=$([ "${STORM:-}" ] && echo 40 || echo 1)
for _ in $(seq "$rounds"); do
	hops udp
	hops icmp -I
	hops tcp -T -p 8000
	hops udp-one-port -U -p 33434
done
# The same said to ping: through the error queue of a ping socket, and to a raw socket by the ICMP packet itself.
for ident in "" "-e 0"; do
	netctl run -- ping $ident -c 3 -i 0.2 -W 9 -t 1 $FAR >"$work/ping" 2>&1 && fail "an answer from beyond the router"
	[ "$(grep -c "^From 10.99.0.1 icmp_seq=[123] Time to live exceeded" "$work/ping")" -eq 3 ] || [ "${STORM:-}" ] ||
		{ cat "$work/ping"; fail "ping $ident: time exceeded"; }
	grep -q "Time to live exceeded" "$work/ping" || { cat "$work/ping"; fail "ping $ident: time exceeded"; }
done
grep -q "$FAR" "$work/tcp" && echo "two hops by UDP, ICMP and TCP, $rounds times"
