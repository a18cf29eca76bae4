#!/bin/bash
# What programs are told about interfaces is netd's: getifaddrs, names and numbers, ioctl, and names of packet sockets.
# timeout: 60
. "$(dirname "$0")/apps.sh"
need python3 tcpdump
no_route
mac=$(netctl --json link | python3 -c 'import json,sys; print([l["mac"] for l in json.load(sys.stdin) if l["name"] == "tap0"][0])') || fail "netctl link"
for family in AF_INET AF_UNIX AF_NETLINK; do
netctl run -- python3 - "$NETD" "$mac" $family <<'PY' || fail "the program's view by $family"
import ctypes, fcntl, socket, struct, sys
addr, mac = sys.argv[1], bytes.fromhex(sys.argv[2].replace(":", ""))

# names and numbers
names = dict((n, i) for i, n in socket.if_nameindex())
assert set(names) == {"lo", "tap0"} and names["lo"] == 1, names
assert socket.if_nametoindex("tap0") == names["tap0"] and socket.if_indextoname(names["tap0"]) == "tap0"
for wrong in (lambda: socket.if_nametoindex("eth9"), lambda: socket.if_indextoname(77)):
    try:
        wrong()
        raise SystemExit("an interface that is not there")
    except OSError:
        pass

# ioctl, by a socket of whatever family
s = socket.socket(getattr(socket, sys.argv[3]), socket.SOCK_DGRAM)
def ask(req, name="tap0", n=40):
    return fcntl.ioctl(s, req, struct.pack(f"16s{n - 16}x", name.encode()))
inet = s.family == socket.AF_INET
if inet:  # addresses are no business of the others
    assert socket.inet_ntoa(ask(0x8915)[20:24]) == addr                  # SIOCGIFADDR
    assert socket.inet_ntoa(ask(0x891b)[20:24]) == "255.255.255.0"       # SIOCGIFNETMASK
    assert socket.inet_ntoa(ask(0x8919)[20:24]) == "10.99.0.255"         # SIOCGIFBRDADDR
assert struct.unpack_from("H", ask(0x8913), 16)[0] & 0x49 == 0x41        # SIOCGIFFLAGS: up, running, no loopback
assert struct.unpack_from("H", ask(0x8913, "lo"), 16)[0] & 0x49 == 0x49
assert struct.unpack_from("i", ask(0x8921), 16)[0] == 1500               # SIOCGIFMTU
assert ask(0x8927)[16:24] == struct.pack("H", 1) + mac                   # SIOCGIFHWADDR
assert struct.unpack_from("i", ask(0x8933), 16)[0] == names["tap0"]      # SIOCGIFINDEX
back = fcntl.ioctl(s, 0x8910, struct.pack("16si20x", b"", names["tap0"]))  # SIOCGIFNAME
assert back[:5] == b"tap0\0"
room = ctypes.create_string_buffer(400)
conf = fcntl.ioctl(s, 0x8912, struct.pack("iL", 400, ctypes.addressof(room)))  # SIOCGIFCONF
size = struct.unpack_from("i", conf)[0]
listed = {room.raw[i:i + 16].rstrip(b"\0"): socket.inet_ntoa(room.raw[i + 20:i + 24]) for i in range(0, size, 40)}
assert listed == {b"lo": "127.0.0.1", b"tap0": addr}, listed
up = struct.unpack_from("H", ask(0x8913), 16)[0]
fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"tap0", up))              # SIOCSIFFLAGS that changes nothing
for req, name, error in ((0x8915, "eth9", 19 if inet else 25), (0x8933, "eth9", 19), (0x8914, "eth9", 19),
                         (0x8914, "tap0", 1)):  # no such device; to put it down is not for programs
    try:
        ask(req, name)
        raise SystemExit("an ioctl that went well")
    except OSError as e:
        assert e.errno == error, e

# getifaddrs: a link and an address each
class Ifaddrs(ctypes.Structure):
    pass
Ifaddrs._fields_ = [("next", ctypes.POINTER(Ifaddrs)), ("name", ctypes.c_char_p), ("flags", ctypes.c_uint),
                    ("addr", ctypes.POINTER(ctypes.c_ubyte)), ("mask", ctypes.POINTER(ctypes.c_ubyte)),
                    ("broad", ctypes.POINTER(ctypes.c_ubyte)), ("data", ctypes.c_void_p)]
libc, first, seen = ctypes.CDLL(None), ctypes.POINTER(Ifaddrs)(), {}
assert libc.getifaddrs(ctypes.byref(first)) == 0
at = first
while at:
    family = at.contents.addr[0] | at.contents.addr[1] << 8
    a = bytes(at.contents.addr[:20])
    assert bool(at.contents.data) == (family == socket.AF_PACKET)   # what has passed
    seen[at.contents.name, family] = a[12:18] if family == socket.AF_PACKET else socket.inet_ntoa(a[4:8])
    at = at.contents.next
libc.freeifaddrs(first)
assert seen == {(b"lo", 17): bytes(6), (b"tap0", 17): mac, (b"lo", 2): "127.0.0.1", (b"tap0", 2): addr}, seen

# names of packet sockets, and what they refuse
p = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
p.bind(("tap0", 0))
assert p.getsockname() == ("tap0", 3, 0, 1, mac), p.getsockname()
for wrong, error in ((lambda: p.connect(("tap0", 3)), 95), (lambda: p.getpeername(), 95), (lambda: p.send(b"short"), 22),
                     (lambda: p.send(bytes(1600)), 90), (lambda: p.bind(("eth9", 3)), 19), (lambda: p.listen(), 95)):
    try:
        wrong()
        raise SystemExit("a packet socket did what it cannot")
    except OSError as e:
        assert e.errno == error, (e, error)
r = socket.socket(socket.AF_INET, socket.SOCK_RAW, 200)
r.bind((addr, 0))
assert r.getsockname() == (addr, 200), r.getsockname()
r.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"tap0")
print("all is netd's")
PY
done
netctl run -- python3 -c '
import fcntl
try:
    fcntl.ioctl(open("/dev/null"), 0x8913, bytes(40))
except OSError as e:
    assert e.errno == 25, e
else:
    raise SystemExit("/dev/null has interfaces")' || fail "a file that is no socket"
netctl run -- tcpdump -D | grep -q '^[0-9]*\.tap0 \[Up, Running' || fail "tcpdump -D: $(netctl run -- tcpdump -D)"

# A program that is killed with raw and packet sockets, filters and promiscuity leaves nothing behind.
held() { [ "$(netctl stats held.raw | awk '{print $2}')" -eq "$1" ]; }
start holder netctl run -- python3 -c '
import ctypes, socket, struct, time
code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 65535))
many = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(20)]
many += [socket.socket(socket.AF_INET, socket.SOCK_RAW, 200 + i) for i in range(20)]
for s in many:
    s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(code)))
many[0].setsockopt(263, 1, struct.pack("iHH8x", socket.if_nametoindex("tap0"), 1, 0))
time.sleep(1000)'
holder=$!
soon held 40 || fail "the sockets are not there: $(netctl stats held.raw)"
kill -9 "$holder"
soon held 0 || fail "records are left: $(netctl stats held.raw)"
[ -z "$(netctl ss -a -w -0 | tail -n +2)" ] || fail "sockets are left"
