#!/bin/bash
# nginx on netd in one process: epoll edge-triggered, sendfile, keep-alive, a proxy to the kernel's side.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
nginx=$(command -v nginx || echo /usr/sbin/nginx)
need curl python3 "$nginx"
mkdir "$work/www" "$work/tmp"
chmod 755 "$work" "$work/www"
head -c 20000000 /dev/urandom >"$work/www/big"
echo small >"$work/www/index.html"
cat >"$work/nginx.conf" <<CONF
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx-error.log;
worker_rlimit_nofile 4096;
events { worker_connections 1024; use epoll; multi_accept on; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_requests 100000;
	client_body_temp_path $work/tmp/b; proxy_temp_path $work/tmp/p; fastcgi_temp_path $work/tmp/f;
	uwsgi_temp_path $work/tmp/u; scgi_temp_path $work/tmp/s;
	server {
		listen $NETD:8080;
		listen [::]:8081 ipv6only=off;
		root $work/www;
		location /proxy/ { proxy_pass http://$KERNEL:8002/; }
	}
}
CONF
start nginx netctl run -- "$nginx" -c "$work/nginx.conf" -e "$work/nginx-error.log"
start kserver $PEER python3 -m http.server --bind "$KERNEL" --directory "$work/www" 8002
listening 8080
listening 8081

get() { # PREFIX URL FILE
	$1 curl -sS -m 30 -o "$work/out" "$2" || fail "curl $2"
	cmp "$work/out" "$work/www/$3" || fail "$2 gave something else"
}
watch_port "$work/seen-1" 8080
echo "kernel's curl"
get "$PEER" "http://$NETD:8080/" index.html
get "$PEER" "http://$NETD:8080/big" big
get "$PEER" "http://$NETD:8081/" index.html
echo "netd's curl"
get "netctl run --" "http://$NETD:8080/big" big
echo "through the proxy"
soon $PEER curl -sf "http://$KERNEL:8002/" || fail "the kernel's server does not answer"
get "$PEER" "http://$NETD:8080/proxy/big" big
[ -e "$work/seen-1" ] || fail "no connection was seen in netctl ss"

echo "4000 requests over eight connections that stay, then 300 that do not"
seq 500 | sed "s|.*|url = \"http://$NETD:8080/\"\noutput = \"/dev/null\"|" >"$work/urls"
clients=
for _ in $(seq 8); do
	$PEER curl -sSf -K "$work/urls" &
	clients="$clients $!"
done
for c in $clients; do wait "$c" || fail "a client"; done
for _ in $(seq 30); do
	$PEER curl -sSf -H 'Connection: close' -o /dev/null "http://$NETD:8080/?[1-10]" || fail "a short connection"
done
! grep -E 'alert|emerg|crit' "$work/nginx-error.log" || fail "nginx complained"
