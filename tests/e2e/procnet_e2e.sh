#!/bin/bash
# Files of /proc/net say what netd has, in the kernel's words.
# timeout: 60
. "$(dirname "$0")/apps.sh"
need python3 ping
no_route
tell() { netctl run -- "$@" 2>&1; }
tell ping -c 1 -W 5 "$KERNEL" >/dev/null || fail "no neighbour"
for file in dev route arp tcp udp raw tcp6 udp6 raw6; do
	[ "$(tell head -n 1 "/proc/net/$file" | od -c)" = "$($PEER head -n 1 "/proc/net/$file" | od -c)" ] || fail "the head of $file"
	[ "$(tell cat "/proc/net/$file" | head -n 2 | cut -d: -f1)" = "$(tell head -n 2 "/proc/self/net/$file" | cut -d: -f1)" ] || fail "/proc/self/net/$file"
done
for file in if_inet6 ipv6_route; do
	[ ! -e "/proc/net/$file" ] || [ -z "$(tell cat "/proc/net/$file")" ] || fail "$file has something"
done

start holder netctl run -- python3 -c '
import socket, sys, time
def open_one(kind, at):
    s = socket.socket(socket.AF_INET, kind)
    s.bind((sys.argv[1], at))
    return s
l, u = open_one(socket.SOCK_STREAM, 8001), open_one(socket.SOCK_DGRAM, 8002)
l.listen(5)
c = socket.create_connection((sys.argv[1], 8001), source_address=(sys.argv[1], 8003))
a = l.accept()[0]
c.send(b"x" * 256)
l6, u6 = socket.socket(socket.AF_INET6, socket.SOCK_STREAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
l6.bind(("::", 8004))
l6.listen(5)
u6.bind(("::ffff:" + sys.argv[1], 8005))
c6 = socket.create_connection((sys.argv[1], 8004), source_address=(sys.argv[1], 8006))
a6 = l6.accept()[0]
c6.send(b"y" * 16)
g = socket.create_connection((sys.argv[1], 8004), source_address=(sys.argv[1], 8007))
h = l6.accept()[0]
h.close()
g.recv(1)
g.close()
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 200)
time.sleep(1000)' "$NETD"
raw_is_there() { tell grep -q ": 00000000:00C8" /proc/net/raw; }
one_waits() { tell grep -q ":1F44 .*:1F47 06 " /proc/net/tcp6; }
soon one_waits || fail "none in TIME_WAIT: $(tell cat /proc/net/tcp6)"
soon raw_is_there || fail "no raw socket: $(tell cat /proc/net/raw)"

cat >"$work/check.py" <<'PY'
import json, os, socket, struct, subprocess, sys
addr, uid = sys.argv[1], os.getuid()
hexed = lambda a: "%08X" % struct.unpack("=I", socket.inet_aton(a))
own = hexed(addr)
def rows(name):
    with open("/proc/net/" + name) as f:
        return f.read().splitlines()
def sockets(name):
    return [line.split() for line in rows(name)[1:]]

# sockets: address, state, queues, user
tcp = {(k[1], k[2], k[3]): k for k in sockets("tcp")}
listener = tcp[own + ":1F41", "00000000:0000", "0A"]
there, here = tcp[own + ":1F41", own + ":1F43", "01"], tcp[own + ":1F43", own + ":1F41", "01"]
assert there[4] == "00000000:00000100" and here[4] == "00000000:00000000" and listener[7] == str(uid), (there, here)
assert len(here) == 17 and len(listener) == 17 and int(here[15]) > 0 and here[16] == "-1", here
assert {len(line) for line in rows("tcp")} == {149} and {len(line) for line in rows("udp")} == {127}
assert [k[1:5] for k in sockets("udp") if k[1] == own + ":1F42"] == [[own + ":1F42", "00000000:0000", "07", "00000000:00000000"]]
assert not [k for k in tcp if k[0].endswith((":1F44", ":1F46")) and k[2] == "0A"], tcp

# those of AF_INET6: any address, and mapped ones; what they connect to is of AF_INET
six = {(k[1], k[2], k[3]): k for k in sockets("tcp6")}
none, mapped = "0" * 32, "0" * 16 + "%08X" % struct.unpack("=I", b"\0\0\xff\xff") + own
assert len(six[none + ":1F44", none + ":0000", "0A"]) == 17, six
assert six[mapped + ":1F44", mapped + ":1F46", "01"][4] == "00000000:00000010", six
assert (own + ":1F46", own + ":1F44", "01") in tcp and (mapped + ":1F44", mapped + ":1F47", "06") in six, (tcp, six)
assert len(six) == 3 and {k[0] for k in sockets("tcp6")} == {"0:", "1:", "2:"}, six
assert [k[1:4] for k in sockets("udp6")] == [[mapped + ":1F45", none + ":0000", "07"]], sockets("udp6")
assert sockets("raw6") == []
assert [k[1:4] for k in sockets("raw")] == [["00000000:00C8", "00000000:0000", "07"]], sockets("raw")

# interfaces: what has passed
dev = {line.split(":")[0].strip(): line.split(":")[1].split() for line in rows("dev")[2:]}
assert set(dev) == {"lo", "tap0"} and all(len(v) == 16 for v in dev.values()), dev
assert int(dev["tap0"][1]) > 0 and int(dev["tap0"][0]) >= 60 * int(dev["tap0"][1]) // 2 and int(dev["tap0"][9]) > 0, dev

# routes and neighbours
route = [line.split() for line in rows("route")[1:]]
gateway = os.environ["KERNEL_ADDR"]
assert ["tap0", "00000000", hexed(gateway), "0003", "0", "0", "0", "00000000", "0", "0", "0"] in route, route
net = hexed(addr.rsplit(".", 1)[0] + ".0")
assert ["tap0", net, "00000000", "0001", "0", "0", "0", hexed("255.255.255.0"), "0", "0", "0"] in route, route
assert {len(line) for line in rows("route")} == {127}
neigh = [line.split() for line in rows("arp")[1:]]
assert [n[:3] + n[4:] for n in neigh if n[0] == gateway] == [[gateway, "0x1", "0x2", "*", "tap0"]], neigh

# A descriptor of it is as the kernel's: only for reading, closed at exec if asked for, from any call that opens.
f = os.open("/proc/net/dev", os.O_RDONLY)
assert not os.get_inheritable(f) and os.lseek(f, 0, 1) == 0 and b"tap0:" in os.read(f, 10000)
try:
    os.write(f, b"x")
    raise SystemExit("written to")
except OSError as e:
    assert e.errno == 9, e
at = os.open("/", os.O_PATH)
assert b"tap0" in os.read(os.open("/proc/net/route", os.O_RDONLY, dir_fd=at), 10000)
import ctypes
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.fopen64.restype = ctypes.c_void_p
room = ctypes.create_string_buffer(10000)
for opens in (libc.fopen, libc.fopen64):
    stream = opens(b"/proc/net/arp", b"r")
    n = libc.fread(room, 1, 10000, ctypes.c_void_p(stream))
    assert gateway.encode() in room.raw[:n], room.raw[:n]
    libc.fclose(ctypes.c_void_p(stream))
for fortified in ("__open_2", "__open64_2"):
    n = getattr(libc, fortified)(b"/proc/self/net/dev", os.O_RDONLY)
    assert b"tap0" in os.read(n, 10000)
    os.close(n)
assert libc.open(None, 0) == -1
for wrong in ("/proc/net/nothing", "/proc/net/dev/x"):
    try:
        open(wrong)
        raise SystemExit("there is no " + wrong)
    except OSError as e:
        assert e.errno in (2, 20), e
assert open("/proc/net/unix").readline().startswith("Num ")
PY
KERNEL_ADDR=$KERNEL netctl run -- python3 "$work/check.py" "$NETD" || fail "what they say"
has() { command -v "$1" >/dev/null; }
if has netstat; then
	tell netstat -tna | grep -q "^tcp  *0  *0 *$NETD:8001 *0.0.0.0:\* *LISTEN" || fail "netstat: $(tell netstat -tna)"
	tell netstat -i | grep -q "^tap0  *1500 " || fail "netstat -i: $(tell netstat -i)"
	tell route -n | grep -q "^0.0.0.0  *$KERNEL  *0.0.0.0  *UG .* tap0$" || fail "route: $(tell route -n)"
	tell arp -n | grep -q "^$KERNEL  *ether .* tap0$" || fail "arp: $(tell arp -n)"
	tell ifconfig -a | grep -q "inet $NETD  netmask 255.255.255.0  broadcast" || fail "ifconfig: $(tell ifconfig -a)"
fi
# Packets of its own, by what it learned of interfaces and routes.
if has nmap && [ "$(id -u)" = 0 ]; then
	tell nmap -sS -Pn -n -p 9 "$KERNEL" | grep -q "^9/tcp *closed" || fail "nmap: $(tell nmap -sS -Pn -n -p 9 "$KERNEL")"
fi
