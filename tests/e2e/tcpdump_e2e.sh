#!/bin/bash
# tcpdump sees what a program of netd's sends and gets: a transfer is put together again from the capture.
# timeout: 120
# storm: yes
. "$(dirname "$0")/apps.sh"
need tcpdump curl python3 ping
no_route
chmod 777 "$work" # tcpdump changes its user
head -c 3000000 /dev/urandom >"$work/file"
start server $PEER python3 -m http.server 8000 --bind "$KERNEL" --directory "$work"
soon $PEER curl -sfo /dev/null "http://$KERNEL:8000/" || fail "no server"

# capture NAME ARGS...: until finished NAME; begins when tcpdump listens
capture() {
	name=$1
	shift
	start "$name" netctl run -- tcpdump -n -B 16384 -w "$work/$name.pcap" "$@"
	eval "pid_$name=$!"
	soon grep -q "listening on" "$work/$name.log" || { cat "$work/$name.log"; fail "tcpdump $*"; }
}
finished() {
	name=pid_$1
	soon stopped_growing "$work/$1.pcap"
	kill -INT "${!name}" && wait "${!name}" || { cat "$work/$1.log"; fail "tcpdump's end"; }
	grep -q "packets captured" "$work/$1.log" || { cat "$work/$1.log"; fail "tcpdump's counts"; }
	grep -q "^0 packets dropped by kernel" "$work/$1.log" || { cat "$work/$1.log"; fail "frames were dropped"; }
}
stopped_growing() {
	a=$(stat -c %s "$1"); sleep 0.3
	[ "$a" -eq "$(stat -c %s "$1")" ]
}
# On netd, for the interfaces' names.
show() { netctl run -- tcpdump -n -r "$work/$1.pcap" "${@:2}" 2>/dev/null; }

capture both -U -i tap0 "tcp port 8000"
capture none -U -i tap0 "udp port 9"
capture any -U -i any "tcp port 8000 or arp or icmp"
netctl ss -a -0 | grep -q '^p_raw .*\*:tap0' || fail "netctl ss does not list the capture: $(netctl ss -a)"
netctl run -- curl -sfo "$work/copy" "http://$KERNEL:8000/file" || fail "curl"
cmp -s "$work/file" "$work/copy" || fail "the copy differs"
netctl run -- ping -c 1 -W 9 "$NETD" >/dev/null || fail "ping"
for c in both none any; do finished "$c"; done

[ "$(show none | wc -l)" -eq 0 ] || fail "the filter let something pass"
show both | grep -q "IP $NETD\.[0-9]* > $KERNEL.8000: Flags \[S\]" || fail "what goes out is not there"
show both | grep -q "IP $KERNEL.8000 > $NETD\.[0-9]*: Flags \[S\.\]" || fail "what comes in is not there"
[ "$(show both "not (host $NETD and tcp port 8000)" | wc -l)" -eq 0 ] || fail "the filter let others pass"
show any | grep -q "tap0 *Out.*8000" || fail "-i any: outgoing"
show any | grep -q "tap0 *In.*8000" || fail "-i any: incoming"
show any | grep -q "lo *In.*ICMP echo request" || fail "-i any: lo"
python3 - "$work/both.pcap" "$work/file" <<'PY' || fail "the transfer in the capture"
import struct, sys
data, want = open(sys.argv[1], "rb").read(), open(sys.argv[2], "rb").read()
assert struct.unpack_from("<I", data)[0] == 0xa1b2c3d4 and struct.unpack_from("<I", data, 20)[0] == 1
at, stream, first, last_time = 24, {}, None, 0
while at < len(data):
    sec, usec, kept, length = struct.unpack_from("<IIII", data, at)
    frame = data[at + 16:at + 16 + kept]
    at += 16 + kept
    assert kept == length and (sec, usec) >= (0, 0)
    ip = 14 + (frame[14] & 15) * 4
    if struct.unpack_from("!H", frame, ip)[0] != 8000:
        continue
    seq, = struct.unpack_from("!I", frame, ip + 4)
    total, = struct.unpack_from("!H", frame, 16)
    payload = frame[ip + (frame[ip + 12] >> 4) * 4:14 + total]
    if frame[ip + 13] & 2:
        first = seq + 1
    elif payload:
        off = seq - first & 0xffffffff
        if len(stream.get(off, b"")) < len(payload):
            stream[off] = payload
body, end = bytearray(), 0
for off in sorted(stream):
    assert off <= end, f"a hole at {end}"
    body += stream[off][end - off:] if end - off < len(stream[off]) else b""
    end = max(end, off + len(stream[off]))
got = bytes(body).split(b"\r\n\r\n", 1)[1]
assert got == want, f"{len(got)} bytes differ from the {len(want)} sent"
print(f"{len(got)} bytes of a transfer found in {len(stream)} captured segments")
PY
