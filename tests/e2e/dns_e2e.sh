#!/bin/bash
# A name server on netd, asked by dig from both sides over UDP and TCP; netd's programs resolve through it.
# timeout: 90
# storm: yes
. "$(dirname "$0")/apps.sh"
dnsmasq=$(command -v dnsmasq || echo /usr/sbin/dnsmasq)
need dig "$dnsmasq"
start dnsmasq netctl run -- "$dnsmasq" -k -C /dev/null -u root --no-resolv --no-hosts --bind-interfaces --listen-address="$NETD" \
	--port 5353 --address=/one.test/192.0.2.1 "--txt-record=long.test,$(printf 'x%.0s' $(seq 250))" --pid-file="$work/pid" --log-facility=-
listening 5353
for side in "$PEER" "netctl run --"; do
	for way in +notcp +tcp; do
		for i in $(seq 15); do
			got=$($side dig $way +tries=5 +time=2 +short -p 5353 "@$NETD" "n$i.one.test") || fail "dig $way: $got"
			[ "$got" = 192.0.2.1 ] || fail "dig $way said '$got'"
		done
		[ "$($side dig $way +tries=5 +time=2 +short -p 5353 "@$NETD" long.test TXT | tr -d '"' | wc -c)" -eq 251 ] || fail "the long record by $way"
	done
done
echo "120 names over UDP and TCP, from both sides"
