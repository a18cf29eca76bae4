#!/bin/bash
# BIND on netd as Debian runs it, another user with the capability to bind port 53: names by UDP and TCP, a whole zone,
# an answer that takes many segments, a dynamic update; and rndc, which speaks to it over netd's lo.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
named=$(command -v named || echo /usr/sbin/named)
rndc=$(command -v rndc || echo /usr/sbin/rndc)
need dig nsupdate "$named" "$rndc"
id bind >/dev/null 2>&1 || { echo "skipped: no user bind here"; exit 0; }
[ "$(id -u)" = 0 ] && setpriv --reuid bind --clear-groups true 2>/dev/null || { echo "skipped: cannot become bind here"; exit 0; }
mkdir "$work/zones"
chmod 755 "$work"
secret='key k { algorithm hmac-sha256; secret "c29tZSBzZWNyZXQgdGhhdCBpcyBub25l"; };'
cat >"$work/named.conf" <<CONF
$secret
options {
	directory "$work/zones"; pid-file none; session-keyfile none; listen-on { $NETD; 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; allow-transfer { any; };
};
controls { inet 127.0.0.1 allow { any; } keys { k; }; };
zone "test" { type master; file "test"; allow-update { any; }; };
CONF
echo "$secret options { default-server 127.0.0.1; default-key k; };" >"$work/rndc.conf"
{
	printf '$TTL 60\n@ SOA ns a 1 60 60 600 60\n@ NS ns\nns A %s\nlong TXT' "$NETD"
	for i in $(seq 100); do printf ' "%0200d"' "$i"; done
	echo
	for i in $(seq 1500); do echo "h$i A 10.1.$((i / 250)).$((i % 250))"; done
} >"$work/zones/test"
chown -R bind "$work/zones"
start named netctl run -- "$named" -g -u bind -c "$work/named.conf"
soon grep -q 'all zones loaded' "$work/named.log" || fail "named did not start"
listening 53
listening 953
for i in $(seq 300); do echo "h$i.test A"; done >"$work/names"
ask() { $side dig "@$NETD" +tries=8 +time=2 "$@"; }

asked="1${STORM:+ 2 3 4 5 6}" # kills need time
for _ in $asked; do for side in "$PEER" "netctl run --"; do
	for way in +notcp +tcp; do
		ask "$way" +keepopen +short -f "$work/names" >"$work/answers" || fail "dig $way"
		[ "$(sort -u "$work/answers" | grep -c '^10\.1\.')" -eq 300 ] || fail "answers are missing $way"
	done
	[ "$(ask +short long.test TXT | tr -dc 0-9 | wc -c)" -eq 20000 ] || fail "the long record"
	[ "$(ask +noall +answer test AXFR | grep -c '[[:space:]]10\.1\.')" -eq 1500 ] || fail "the zone"
done; done
netctl run -- "$rndc" -c "$work/rndc.conf" status | grep 'up and running' || fail "rndc"
printf 'server %s\nupdate add new.test 60 A 192.0.2.9\nsend\n' "$NETD" | $PEER nsupdate || fail "nsupdate"
[ "$(ask +short new.test)" = 192.0.2.9 ] || fail "the update"
