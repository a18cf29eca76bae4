"""Multicast sockets in one process of netd: options, sources, several listeners, limits. usage: multicast.py OWN-ADDRESS"""
import errno
import select
import socket
import struct
import sys
import time

own = sys.argv[1]
GROUP, OTHER, PORT = "239.9.9.9", "239.9.9.8", 7100
IP_MULTICAST_ALL, IP_MSFILTER, IP_BLOCK_SOURCE, IP_UNBLOCK_SOURCE = 49, 41, 38, 37
IP_ADD_SOURCE, IP_DROP_SOURCE, MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP = 39, 40, 42, 45
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 46, 47
aton = socket.inet_aton


def listener(group=None, bind=""):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((bind, PORT))
    if group:
        s.setsockopt(0, socket.IP_ADD_MEMBERSHIP, aton(group) + aton(own))
    return s


sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(0, socket.IP_MULTICAST_IF, aton(own))


def drain(s):
    while select.select([s], [], [], 0)[0]:
        s.recv(100)


def hears(s, group=GROUP, port=PORT):
    """Does the socket hear what is sent to the group? On one's own host nothing is lost."""
    drain(s)
    text = str(time.monotonic()).encode()
    sender.sendto(text, (group, port))
    found = select.select([s], [], [], 0.2)[0] and s.recv(100) == text
    return bool(found)


def refused(number, s, *option):
    try:
        s.setsockopt(*option)
    except OSError as e:
        assert e.errno == number, (option, e)
        return
    raise AssertionError(f"{option} was not refused")


a, b = listener(GROUP), listener(GROUP, GROUP)
assert hears(a) and hears(b), "both listeners hear the group"
assert a.getsockname() == ("0.0.0.0", PORT) and b.getsockname() == (GROUP, PORT)

# A socket that has joined nothing hears what its host has joined, unless it does not want that.
c = listener()
assert hears(c)
c.setsockopt(0, IP_MULTICAST_ALL, 0)
assert not hears(c)
c.close()

# The sender may not want it to be heard here.
sender.setsockopt(0, socket.IP_MULTICAST_LOOP, 0)
assert not hears(a)
sender.setsockopt(0, socket.IP_MULTICAST_LOOP, 1)
sender.setsockopt(0, socket.IP_MULTICAST_TTL, 0)
assert hears(a)
sender.setsockopt(0, socket.IP_MULTICAST_TTL, 1)

# Connected to a group.
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.setsockopt(0, socket.IP_MULTICAST_IF, aton(own))
peer.connect((GROUP, PORT))
assert peer.getsockname()[0] == own
drain(b)
peer.send(b"connected")
assert b.recvfrom(100)[0] == b"connected"

# Sources that are not wanted, and only those that are.
mreqs = aton(GROUP) + aton(own) + aton(own)
a.setsockopt(0, IP_BLOCK_SOURCE, mreqs)
assert not hears(a) and hears(b)
refused(errno.EADDRNOTAVAIL, a, 0, IP_BLOCK_SOURCE, mreqs)
refused(errno.EINVAL, a, 0, IP_ADD_SOURCE, mreqs)
a.setsockopt(0, IP_UNBLOCK_SOURCE, mreqs)
assert hears(a)
ssm = listener()
ssm.setsockopt(0, IP_MULTICAST_ALL, 0)
ssm.setsockopt(0, IP_ADD_SOURCE, aton(GROUP) + aton(own) + aton("10.99.0.77"))
assert not hears(ssm)
ssm.setsockopt(0, IP_ADD_SOURCE, mreqs)
assert hears(ssm)
ssm.setsockopt(0, IP_DROP_SOURCE, mreqs)
assert not hears(ssm)
ssm.close()

# By interface index and the protocol-independent names.
index = next(i for i, n in socket.if_nameindex() if n != "lo")
storage = struct.pack("=H2x4s120x", socket.AF_INET, aton(OTHER))
d = listener()
d.setsockopt(0, MCAST_JOIN_GROUP, struct.pack("=I4x", index) + storage)
assert hears(d, OTHER)
refused(errno.EADDRINUSE, d, 0, MCAST_JOIN_GROUP, struct.pack("=I4x", index) + storage)
d.setsockopt(0, MCAST_LEAVE_GROUP, struct.pack("=I4x", index) + storage)
assert not hears(d, OTHER)
source = struct.pack("=H2x4s120x", socket.AF_INET, aton(own))
d.setsockopt(0, MCAST_JOIN_SOURCE_GROUP, struct.pack("=I4x", index) + storage + source)
assert hears(d, OTHER)
d.setsockopt(0, MCAST_LEAVE_SOURCE_GROUP, struct.pack("=I4x", index) + storage + source)
assert not hears(d, OTHER)

# Errors and limits.
mreq = aton(GROUP) + aton(own)
refused(errno.EADDRINUSE, a, 0, socket.IP_ADD_MEMBERSHIP, mreq)
refused(errno.EINVAL, a, 0, socket.IP_ADD_MEMBERSHIP, aton("10.99.0.9") + aton(own))
refused(errno.ENODEV, a, 0, socket.IP_ADD_MEMBERSHIP, aton(OTHER) + aton("192.0.2.1"))
refused(errno.EADDRNOTAVAIL, a, 0, socket.IP_DROP_MEMBERSHIP, aton(OTHER) + aton(own))
refused(errno.EINVAL, a, 0, socket.IP_ADD_MEMBERSHIP, b"1234567")
many = listener()
for i in range(20):
    many.setsockopt(0, socket.IP_ADD_MEMBERSHIP, aton(f"239.8.0.{i}") + aton(own))
refused(errno.ENOBUFS, many, 0, socket.IP_ADD_MEMBERSHIP, aton("239.8.0.20") + aton(own))
many.close()

# They end with their socket, and with leaving.
a.setsockopt(0, socket.IP_DROP_MEMBERSHIP, mreq)
assert hears(b)
b.close()
assert not hears(a)
print("multicast.py: passed")
