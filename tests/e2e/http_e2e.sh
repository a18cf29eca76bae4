#!/bin/bash
# curl and python's http.server: server on netd, client on netd, and both.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need curl python3
mkdir "$work/www"
head -c 30000000 /dev/urandom >"$work/www/big"
for i in $(seq 40); do head -c $((i * i * 97)) /dev/urandom >"$work/www/f$i"; done
start server netctl run -- python3 -m http.server --bind "$NETD" --directory "$work/www" 8000
start kserver $PEER python3 -m http.server --bind "$KERNEL" --directory "$work/www" 8001
listening 8000

echo "kernel's curl, netd's server"
watch_port "$work/seen-1" 8000
$PEER curl -sS --limit-rate 60M -o "$work/out" "http://$NETD:8000/big" || fail "curl"
cmp "$work/www/big" "$work/out" || fail "the file changed on its way"
[ -e "$work/seen-1" ] || fail "the connection was not seen in netctl ss"

echo "netd's curl, kernel's server"
soon $PEER curl -sf "http://$KERNEL:8001/f1" || fail "the kernel's server does not answer"
watch_port "$work/seen-2" 8001
netctl run -- curl -sS --limit-rate 60M -o "$work/out" "http://$KERNEL:8001/big" || fail "curl"
cmp "$work/www/big" "$work/out" || fail "the file changed on its way"
[ -e "$work/seen-2" ] || fail "the connection was not seen in netctl ss"

echo "both on netd, many files, several at a time"
urls=
for i in $(seq 40); do urls="$urls -o $work/got$i http://$NETD:8000/f$i"; done
# shellcheck disable=SC2086
netctl run -- curl -sS --parallel --parallel-max 8 $urls || fail "curl"
for i in $(seq 40); do cmp "$work/www/f$i" "$work/got$i" || fail "file $i"; done

echo "upload by a python client, and a refused connection"
netctl run -- python3 - "$NETD" <<'PY' || fail "python"
import socket, sys, threading
data = bytes(range(256)) * 20000
srv = socket.create_server((sys.argv[1], 0))
got = []
def serve():
    c, _ = srv.accept()
    with c, c.makefile("rb") as f:
        got.append(f.read())
t = threading.Thread(target=serve)
t.start()
with socket.create_connection(srv.getsockname(), timeout=10) as c:
    c.sendall(data)
t.join()
assert got[0] == data
srv.close()
try:
    socket.create_connection((sys.argv[1], 9), timeout=5)
    sys.exit("port 9 answered")
except ConnectionRefusedError:
    pass
PY
