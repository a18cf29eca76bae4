#!/bin/bash
# The examples of libnetd, as a user builds them: netd installed somewhere, a CMake project elsewhere that finds it
# through netd.pc. Then each does its work against the kernel's side, and its connections must show in netctl ss.
# timeout: 180
# storm: yes
. "$(dirname "$0")/apps.sh"
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${NETD_BUILD:-$root/build}
need cc cmake pkg-config
cmake --install "$build" --prefix "$work/usr" >"$work/install.log" 2>&1 || fail "install"
cp -r "$root/clientlib/examples" "$work/project"
pc=$(find "$work/usr" -name netd.pc)
export PKG_CONFIG_PATH=${pc%/netd.pc} LD_LIBRARY_PATH=${pc%/pkgconfig/netd.pc}
# A sanitizer build's library wants its runtime in the program too, and there is none to link statically.
options=(-DSTATIC_TOO=ON)
! grep -q 'NETD_SANITIZE:BOOL=ON' "$build/CMakeCache.txt" || options=(-DCMAKE_C_FLAGS=-fsanitize=address,undefined)
cmake -S "$work/project" -B "$work/project/build" "${options[@]}" >"$work/cmake.log" 2>&1 &&
	cmake --build "$work/project/build" >>"$work/cmake.log" 2>&1 || fail "the outside project does not build"
bin=$work/project/build
ldd "$bin/echo" | grep -q "$work/usr/.*libnetd.so" || fail "echo is not linked with the installed libnetd"
client="$root/tests/e2e/examples_client.py"

# The client stops in the middle, when all its connections are open, until it is told to go on.
count_connections() { # PORT
	netctl ss -t | grep ESTAB | awk '{print $5}' | grep -c ":$1\$"
}
echoes() { # PROGRAM PORT CONNECTIONS BYTES
	local go=$work/go-$2
	echo "$1: $3 connections, $4 bytes each"
	start "$1" "$bin/$1" "$2"
	listening "$2"
	mkfifo "$go"
	$PEER python3 "$client" echo "$NETD" "$2" "$3" "$4" <"$go" >"$work/client-$1.log" 2>&1 &
	local c=$!
	exec 7>"$go"
	soon grep -q open "$work/client-$1.log" || fail "$1: the client's connections do not open"
	[ "$(count_connections "$2")" -eq "$3" ] || fail "$1: netctl ss shows $(count_connections "$2") connections, not $3"
	exec 7>&-
	wait "$c" || fail "$1"
	cat "$work/client-$1.log"
	# Nothing is left of those that ended.
	none() { [ "$(count_connections "$1")" -eq 0 ]; }
	soon none "$2" || fail "$1: connections stay open"
}
echoes echo 7000 20 2000000
echoes uv_echo 7001 1200 60000
[ ! -x "$bin/echo_static" ] || {
	! ldd "$bin/echo_static" >/dev/null 2>&1 || fail "echo_static is not static"
	echoes echo_static 7002 5 2000000
}

echo "send_file: 50 MB"
head -c 50000000 /dev/urandom >"$work/file"
mkfifo "$work/go-file"
$PEER python3 "$client" take "$KERNEL" 7003 "$work/copy" <"$work/go-file" >"$work/take.log" 2>&1 &
taker=$!
exec 7>"$work/go-file"
soon grep -q listening "$work/take.log" || fail "the taker"
start send_file "$bin/send_file" "$work/file" "$KERNEL" 7003 7>&-
soon seen ESTAB 7003 || fail "netctl ss does not show the sender's connection"
exec 7>&-
wait "$taker" || fail "the taker"
cmp "$work/file" "$work/copy" || fail "the file came out differently"
soon grep -q '^50000000 bytes sent$' "$work/send_file.log" || fail "send_file did not say that it was done"
"$bin/send_file" "$work/file" "$KERNEL" 9 >"$work/refused.log" 2>&1 && fail "sending to a closed port succeeded"
grep -q 'Connection refused' "$work/refused.log" || fail "send_file does not say what was wrong: $(cat "$work/refused.log")"
