#!/bin/bash
# haproxy on netd in front of two backends, one on netd and one on the kernel; memcached over TCP and UDP.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
haproxy=$(command -v haproxy || echo /usr/sbin/haproxy)
need python3 curl wrk "$haproxy" memcached
mkdir "$work/a" "$work/b"
head -c 2000000 /dev/urandom >"$work/a/big"
cp "$work/a/big" "$work/b/big"
echo a >"$work/a/who"
echo b >"$work/b/who"
cat >"$work/haproxy.cfg" <<CFG
global
	maxconn 500
	nbthread 2
defaults
	mode http
	timeout connect 10s
	timeout client 30s
	timeout server 30s
frontend f
	bind $NETD:8080
	default_backend b
backend b
	balance roundrobin
	server one $NETD:8001
	server two $KERNEL:8002
CFG
start one netctl run -- /usr/bin/python3 -m http.server --bind "$NETD" --directory "$work/a" 8001
start two $PEER /usr/bin/python3 -m http.server --bind "$KERNEL" --directory "$work/b" 8002
listening 8001
start haproxy netctl run -- "$haproxy" -db -f "$work/haproxy.cfg"
listening 8080
soon $PEER curl -sf "http://$KERNEL:8002/who" || fail "the kernel's server does not answer"
fetch() {
	for _ in $(seq 20); do
		curl -sS -m 30 -o "$work/out" "http://$NETD:8080/big" && cmp "$work/out" "$work/a/big" || return 1
	done
	curl -sS -m 30 "http://$NETD:8080/who?[1-20]" >"$work/who"
	[ "$(grep -c . "$work/who")" -eq 20 ] && [ "$(sort -u "$work/who" | tr -d '\n')" = ab ]
}
export -f fetch
export work NETD
echo "through haproxy, from both sides"
through 8080 $PEER bash -c fetch || fail "the kernel's client: $(sort "$work/who" | uniq -c)"
netctl run -- bash -c fetch || fail "netd's client"

echo "memcached"
start memcached netctl run -- memcached -u nobody -l "$NETD" -p 11211 -U 11211 -t 4
listening 11211
cat >"$work/mc.py" <<'PY'
import os, socket, struct, sys, threading
addr = (sys.argv[1], 11211)
def client(k):
    s = socket.create_connection(addr, timeout=30)
    f = s.makefile("rwb")
    for i in range(60):
        v = os.urandom(i * 500)
        f.write(b"set k%d-%d 0 0 %d\r\n" % (k, i, len(v)) + v + b"\r\n"); f.flush()
        assert f.readline() == b"STORED\r\n"
        f.write(b"get k%d-%d\r\n" % (k, i)); f.flush()
        assert f.readline() == b"VALUE k%d-%d 0 %d\r\n" % (k, i, len(v))
        assert f.read(len(v) + 2) == v + b"\r\n" and f.readline() == b"END\r\n"
    ok.append(k)
ok = []
ts = [threading.Thread(target=client, args=(k,)) for k in range(10)]
[t.start() for t in ts]; [t.join() for t in ts]
assert len(ok) == 10, ok
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(1)
for i in range(20):
    u.sendto(struct.pack("!HHHH", i, 0, 1, 0) + b"get k0-1\r\n", addr)
    try:
        if u.recv(2000)[8:].startswith(b"VALUE k0-1"): break
    except socket.timeout: pass
else: sys.exit("no answer over UDP")
print("10 clients, 600 values; UDP")
PY
through 11211 $PEER /usr/bin/python3 "$work/mc.py" "$NETD" || fail "the kernel's client"
netctl run -- /usr/bin/python3 "$work/mc.py" "$NETD" || fail "netd's client"
