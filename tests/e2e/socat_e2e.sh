#!/bin/bash
# socat: a forked child for each connection, and a program that is executed on the connection itself.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need socat
head -c 5000000 /dev/urandom >"$work/data"
start fork netctl run -- socat "TCP-LISTEN:7000,bind=$NETD,fork,reuseaddr" EXEC:/bin/cat
start pipe netctl run -- socat "TCP-LISTEN:7001,bind=$NETD,fork,reuseaddr" "EXEC:'wc -c',nofork"
start udp netctl run -- socat "UDP-RECVFROM:7002,bind=$NETD,fork" EXEC:/usr/bin/rev
listening 7000
listening 7001
echo "an echo by fork and exec, ten at once, from both sides"
clients=
watch_port "$work/seen-7000" 7000
for i in $(seq 10); do
	side=$PEER
	[ $((i % 2)) -eq 0 ] || side="netctl run --"
	($side socat -t 30 - "TCP:$NETD:7000" <"$work/data" >"$work/back-$i" && cmp "$work/back-$i" "$work/data") &
	clients="$clients $!"
done
for c in $clients; do wait "$c" || fail "a client of the echo"; done
[ -e "$work/seen-7000" ] || fail "no connection was seen in netctl ss"
echo "a program that owns the connection as its standard input and output"
n=$($PEER socat -t 30 - "TCP:$NETD:7001" <"$work/data") || fail "the connection"
[ "$n" -eq 5000000 ] || fail "wc -c said '$n'"
echo "datagrams, a child for each"
for i in $(seq 20); do
	for try in 1 2 3 4 5; do # a datagram may be lost with a driver
		got=$(echo "abc$i" | $PEER timeout 5 socat -t 1 - "UDP:$NETD:7002")
		[ -z "$got" ] || break
	done
	[ "$got" = "$(echo "abc$i" | rev)" ] || fail "rev said '$got'"
done
