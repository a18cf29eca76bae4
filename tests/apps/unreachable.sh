#!/bin/sh
# Without netd a program must be told so, once, and must not end up on the kernel's sockets.
set -u
command -v curl >/dev/null || exit 77
case "$(ldd "$1")" in *libasan*) exit 77 ;; esac
out=$(NETD_SOCKET=/nonexistent/netd.sock LD_PRELOAD=$1 curl -sS http://127.0.0.1:1/ http://127.0.0.1:2/ 2>&1)
status=$?
echo "$out"
[ "$status" -ne 0 ] || exit 1
[ "$(echo "$out" | grep -c '^netctl run: cannot reach netd at /nonexistent/netd.sock: ')" -eq 1 ] || exit 1
