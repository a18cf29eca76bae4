#!/bin/bash
# README's example, as a user would have it: installed library, pkg-config, a compiler; then it echoes.
# timeout: 120
. "$(dirname "$0")/apps.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
need cc pkg-config
awk '/^```c$/ {on = 1; next} /^```$/ {on = 0} on' "$root/README.md" >"$work/echo.c"
cmp "$work/echo.c" "$root/clientlib/examples/echo.c" || fail "README's example is not clientlib/examples/echo.c"
cmake --install "${NETD_BUILD:-$root/build}" --prefix "$work/usr" >"$work/install.log" 2>&1 || fail "install"
pc=$(find "$work/usr" -name netd.pc)
export PKG_CONFIG_PATH=${pc%/netd.pc} LD_LIBRARY_PATH=${pc%/pkgconfig/netd.pc}
# A sanitizer build's library wants its runtime in the program too.
flags=$(grep -q 'NETD_SANITIZE:BOOL=ON' "${NETD_BUILD:-$root/build}/CMakeCache.txt" && echo -fsanitize=address,undefined)
# shellcheck disable=SC2046,SC2086
cc -Wall -Werror $flags -o "$work/echo" "$work/echo.c" $(pkg-config --cflags --libs netd) || fail "compile"
start echo "$work/echo" 7000
listening 7000
$PEER python3 - <<'PY' || fail "echo"
import os, socket
data = os.urandom(3000000)
with socket.create_connection(("10.99.0.2", 7000), timeout=20) as c:
    got = b""
    sent = 0
    c.setblocking(True)
    import threading
    t = threading.Thread(target=lambda: (c.sendall(data), c.shutdown(socket.SHUT_WR)))
    t.start()
    while len(got) < len(data):
        b = c.recv(1 << 16)
        if not b:
            break
        got += b
    t.join()
assert got == data, (len(got), len(data))
PY
