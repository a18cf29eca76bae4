#!/bin/bash
# A flood of SYNs from addresses that never answer: whoever answers is let in all the same, by cookie, and the flood takes
# no more memory than a listener's share.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need socat python3
no_route
stat() { netctl stats "$1" 2>/dev/null | awk '{ print $2 }'; }
more() { [ "$(stat "$1")" -ge "$2" ] 2>/dev/null; }

start server netctl run -- socat TCP4-LISTEN:7100,reuseaddr,fork,backlog=64 EXEC:cat
listening 7100
start flood $PEER python3 "$(dirname "$0")/flood.py" "$NETD" 7100 5000
soon more held.synrcv 256 || fail "there is no flood: $(netctl stats held.synrcv)"

ok=0 calls=20
[ "${STORM:-}" ] && calls=150 # so that there are deaths enough
for i in $(seq $calls); do
	soon more held.synrcv 256
	got=$(echo "call $i" | $PEER timeout 20 socat -t 10 - TCP4:$NETD:7100) || fail "connection $i"
	[ "$got" = "call $i" ] || fail "connection $i: '$got'"
	now=$(stat tcp.cookies_ok) # starts again from 0 with a successor of netd-inet
	[ "${now:-0}" -gt 0 ] && ok=$((ok + 1))
	half=$(stat held.synrcv)
	[ "${half:-0}" -le 257 ] || fail "$half half-open connections"
done
[ "$ok" -gt 0 ] || fail "no connection was opened by a cookie"
echo "$calls connections under a flood; the last count says: $(netctl stats tcp.cookies_sent | awk '{ print $2 }') cookies sent, $(stat tcp.cookies_ok) came back"
