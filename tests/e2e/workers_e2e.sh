#!/bin/bash
# nginx as it is usually run: a master that changes its user, two workers that accept on what the master opened, wrk
# from both sides, a reload in the middle; then TLS and HTTP/2.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
nginx=$(command -v nginx || echo /usr/sbin/nginx)
need curl wrk openssl "$nginx"
mkdir "$work/www" "$work/tmp"
chmod 755 "$work" "$work/www"
chmod 777 "$work/tmp"
head -c 3000000 /dev/urandom >"$work/www/big"
echo small >"$work/www/index.html"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key.pem" -out "$work/cert.pem" -days 2 -subj /CN=netd \
	-addext "subjectAltName=IP:$NETD" 2>/dev/null || fail "openssl"
cat >"$work/nginx.conf" <<CONF
daemon off;
user nobody nogroup;
worker_processes 2;
pid $work/nginx.pid;
error_log $work/nginx-error.log;
worker_rlimit_nofile 4096;
events { worker_connections 1024; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	client_body_temp_path $work/tmp/b; proxy_temp_path $work/tmp/p; fastcgi_temp_path $work/tmp/f;
	uwsgi_temp_path $work/tmp/u; scgi_temp_path $work/tmp/s;
	server { listen $NETD:80; root $work/www; location /pid { return 200 "\$pid\n"; } }
	server {
		listen $NETD:443 ssl http2;
		ssl_certificate $work/cert.pem;
		ssl_certificate_key $work/key.pem;
		root $work/www;
	}
}
CONF
start nginx netctl run -- "$nginx" -c "$work/nginx.conf" -e "$work/nginx-error.log"
listening 80
listening 443

bench() { # SECONDS COMMAND...: wrk must see no error
	echo "wrk for $1 s: ${*:2}"
	"${@:2}" wrk -t 2 -c 40 -d "$1" "http://$NETD/" >"$work/wrk.log" 2>&1 || fail "wrk"
	grep -E 'requests in|Requests/sec' "$work/wrk.log"
	! grep -E 'Socket errors|Non-2xx' "$work/wrk.log" || fail "wrk saw errors"
}
through 80 bench 3 $PEER
bench 2 netctl run --
pids_seen=$(for _ in $(seq 40); do $PEER curl -sS -m 20 "http://$NETD/pid"; done | sort -u | wc -l)
[ "$pids_seen" -ge 1 ] || fail "no worker answered"
echo "answers from $pids_seen workers"

echo "a reload under load: nothing fails"
($PEER wrk -t 1 -c 20 -d 4 "http://$NETD/" >"$work/reload.log" 2>&1) &
load=$!
sleep 1
old=$(pgrep -P "$(cat "$work/nginx.pid")" | sort | tr '\n' ' ')
kill -HUP "$(cat "$work/nginx.pid")"
soon sh -c "[ \"\$(pgrep -P \$(cat $work/nginx.pid) | sort | tr '\n' ' ')\" != '$old' ]" || fail "no new workers"
wait "$load" || fail "wrk during the reload"
! grep 'Non-2xx' "$work/reload.log" || fail "wrong answers during the reload"
$PEER curl -sS -m 20 -o "$work/out" "http://$NETD/big" && cmp "$work/out" "$work/www/big" || fail "after the reload"

echo "HTTP/1.1 and HTTP/2 over TLS, from both sides"
for side in "$PEER" "netctl run --"; do
	for version in --http1.1 --http2; do
		got=$($side curl -sS -m 30 $version --cacert "$work/cert.pem" -o "$work/out" -w '%{http_version}' "https://$NETD/big") ||
			fail "curl $version"
		cmp "$work/out" "$work/www/big" || fail "curl $version gave something else"
		[ "--http$got" = "$version" ] || fail "asked for $version, got $got"
	done
done
! grep -E 'alert|emerg|crit' "$work/nginx-error.log" || fail "nginx complained"
