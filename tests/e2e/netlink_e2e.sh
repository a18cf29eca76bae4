#!/bin/bash
# What programs are told over netlink about interfaces, addresses, routes and neighbours is netd's, in the kernel's messages.
# timeout: 60
. "$(dirname "$0")/apps.sh"
need ip python3
no_route
tell() { netctl run -- "$@" 2>&1; }
is() { # WHAT IT-SAYS COMMAND...
	local want=$2 got
	got=$(tell "${@:3}" | tr -s ' \t\n' ' ')
	[ "$got" = "$want" ] || fail "$1: '$got' is not '$want'"
}
tell ping -c 1 -W 5 "$KERNEL" >/dev/null || fail "no neighbour"
mac=$(netctl --json link | python3 -c 'import json,sys; print([l["mac"] for l in json.load(sys.stdin) if l["name"] == "tap0"][0])') || fail "netctl link"
is "all addresses" "1: lo inet 127.0.0.1/8 scope host lo\\ valid_lft forever preferred_lft forever 2: tap0 inet $NETD/24 brd 10.99.0.255 scope global tap0\\ valid_lft forever preferred_lft forever " ip -o addr
is "a link" "2: tap0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000\\ link/ether $mac brd ff:ff:ff:ff:ff:ff " ip -o link show dev tap0
counts() { # what has come and gone by tap0, of the answer's lines of numbers
	tell ip -s link show dev tap0 | awk '/RX:/ { getline; rx = $2 } /TX:/ { getline; tx = $2 } END { print (rx > 0 && tx > 0) }'
}
[ "$(counts)" = 1 ] || fail "what has passed: $(tell ip -s link show dev tap0)"
is "no link" 'Device "eth9" does not exist. ' ip link show dev eth9
is "routes" "10.99.0.0/24 dev tap0 proto kernel scope link src $NETD default via $KERNEL dev tap0 " ip route
is "the way to a neighbour" "$KERNEL dev tap0 src $NETD uid $(id -u) cache " ip route get "$KERNEL"
is "the way out" "192.0.2.1 via $KERNEL dev tap0 src $NETD uid $(id -u) cache " ip route get 192.0.2.1
is "the way home" "local $NETD dev lo src $NETD uid $(id -u) cache <local> " ip route get "$NETD"
tell ip neigh | grep -q "^$KERNEL dev tap0 lladdr .*:.* [A-Z]" || fail "neighbours: $(tell ip neigh)"
# As the kernel tells the way: the same attributes, in the same order.
cat >"$work/way.py" <<'PY'
import socket, struct, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
s.send(struct.pack("IHHII8BIHH4s", 36, 26, 1, 7, 0, 2, 32, 0, 0, 0, 0, 0, 0, 0, 8, 1, socket.inet_aton(sys.argv[1])))
data, kinds = s.recv(4096)[28:], []
while data:
    n, kind = struct.unpack_from("HH", data)
    kinds.append((kind, n))
    data = data[n + 3 & ~3:]
print(kinds)
PY
is "the way's attributes" "$($PEER python3 "$work/way.py" "$NETD" | tr -s '\n' ' ')" python3 "$work/way.py" "$KERNEL"
is "rules" "0: from all lookup local 32766: from all lookup main 32767: from all lookup default " ip rule
is "no IPv6" "" ip -6 addr
is "what is up is brought up" "" ip link set lo up
is "nothing is put down" "RTNETLINK answers: Operation not permitted " ip link set tap0 down
is "nothing can be changed" "RTNETLINK answers: Operation not permitted " ip addr add 192.0.2.1/24 dev tap0

netctl run -- python3 - <<'PY' || fail "the socket itself"
import ctypes, fcntl, os, select, socket, struct
def open_one():
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    s.settimeout(10)
    return s
def message(kind, flags, seq, body=b"\0" * 16):
    return struct.pack("IHHII", 16 + len(body), kind, flags, seq, 0) + body
def answers(s):
    got = []
    while True:
        data, name = s.recvfrom(65536)
        assert name == (0, 0), name
        while data:
            n, kind, flags, seq, port = struct.unpack_from("IHHII", data)
            assert 16 <= n <= len(data) and port == s.getsockname()[0], (n, port)
            got.append((kind, seq, data[16:n]))
            data = data[n + 3 & ~3:]
        if got[-1][0] in (2, 3) or not flags & 2:
            return got
def refused(s):
    kind, _, body = answers(s)[-1]
    assert kind == 2
    return -struct.unpack_from("i", body)[0]

s, t = open_one(), open_one()
s.bind((0, 0)), t.bind((0, 0))
assert s.getsockname()[0] != t.getsockname()[0] != 0
kind = [s.getsockopt(socket.SOL_SOCKET, o) for o in (socket.SO_DOMAIN, socket.SO_TYPE, socket.SO_PROTOCOL)]
assert kind == [socket.AF_NETLINK, socket.SOCK_RAW, 0], kind
assert select.select([s], [], [], 0)[0] == []
s.send(message(18, 0x301, 7))                        # RTM_GETLINK, all
assert select.select([s], [], [], 0)[0] == [s] and select.select([t], [], [], 0)[0] == []
size = len(s.recv(1, socket.MSG_PEEK | socket.MSG_TRUNC)) and s.recv_into(bytearray(1), 1, socket.MSG_PEEK | socket.MSG_TRUNC)
assert size > 100, size
got = answers(s)
assert [(k, q) for k, q, _ in got] == [(16, 7), (16, 7), (3, 7)], got
for request, error in ((message(18, 1, 1), 22),      # one, and not which
                       (message(18, 1, 2, struct.pack("BxHiII", 0, 0, 77, 0, 0)), 19),
                       (message(16, 1, 3), 1), (message(38, 0x301, 4), 95),
                       (message(26, 1, 5, struct.pack("8BI", 2, 0, 0, 0, 0, 0, 0, 0, 0)), 22)):
    s.sendmsg([request[:10], request[10:]])
    assert refused(s) == error, (request, error)
os.write(s.fileno(), message(18, 5, 6, struct.pack("BxHiII", 0, 0, 1, 0, 0)))   # lo, and an acknowledgement
assert [(k, q) for k, q, _ in answers(s) + answers(s)] == [(16, 6), (2, 6)]
s.setsockopt(270, 1, 33)                             # NETLINK_ADD_MEMBERSHIP, NETLINK_LIST_MEMBERSHIPS
assert s.getsockopt(270, 9, 20) == struct.pack("II", 0, 1)
for broken in (b"x", struct.pack("IHHII", 4, 18, 0x301, 1, 0), struct.pack("IHHII", 900, 18, 0x301, 1, 0)):
    assert s.send(broken) == len(broken)
    assert select.select([s], [], [], 0)[0] == []
s.close()

# Who left for a network namespace of its own is told of that: it has a loopback, which is down.
libc = ctypes.CDLL(None, use_errno=True)
if os.fork() == 0:
    if libc.unshare(0x40000000) and ctypes.get_errno() == 1:   # not allowed here
        os._exit(0)
    s = open_one()
    s.bind((0, 0))
    s.send(message(18, 0x301, 5))
    links = [body for kind, _, body in answers(s) if kind == 16]
    os._exit(0 if struct.unpack_from("I", links[0], 8)[0] & 1 == 0 else 1)
assert os.wait()[1] == 0

# Copies by dup() are the same socket, before and after it got its name, whichever is closed first.
first = open_one()
copies = [first.dup(), socket.socket(fileno=fcntl.fcntl(first, fcntl.F_DUPFD, 200))]
os.dup2(first.fileno(), 300)
copies.append(socket.socket(fileno=300))
first.close()
copies[0].bind((0, 1 << 16))
copies[1].setsockopt(270, 1, 1)
name = copies[1].getsockname()
assert name[1] == 1 << 16 | 1, name
for copy in copies:
    copy.send(message(18, 0x301, 8))
    assert [k for k, _, _ in answers(copy)] == [16, 16, 3]
    assert copy.getsockname() == name
    copy.close()

# A number that was one is another socket now.
n = t.fileno()
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
os.dup2(a.fileno(), n)
t.send(b"plain")
assert b.recv(10) == b"plain"

# A child asks for itself.
s = open_one()
if os.fork() == 0:
    s.send(message(22, 0x301, 5))
    os._exit(0 if [k for k, _, _ in answers(s)] == [20, 20, 3] else 1)
assert os.wait()[1] == 0
PY
