"""What traffic.py has for raw, ping and packet sockets.

  traffic.py raw HOST      pings through a ping socket and through a raw socket, while a packet socket watches both ways:
                           every message is with each reader exactly once, in order; ends on SIGTERM
  traffic.py wire DEVICE   on the other side: no echo request is on the wire twice; ends on SIGTERM
"""
import ctypes
import json
import select
import socket
import struct

ETH_P_ALL, PACKET_OUTGOING, PATIENCE = 3, 4, 60
TAP = "tap0"  # the lab's device, as netd names it
TAG = b"netd raw "


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def echo(ident, n):
    body = TAG + struct.pack("!IB", n, 0)
    return struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, ident, n & 0xffff) + body), ident, n & 0xffff) + body


def number_of(icmp):
    """The number in one of our messages, and whether it is a request; None for others."""
    if len(icmp) < 8 + len(TAG) + 4 or icmp[8:8 + len(TAG)] != TAG:
        return None, False
    return struct.unpack_from("!I", icmp, 8 + len(TAG))[0], icmp[0] == 8


class Readers:
    """Each reader's next number; what comes otherwise is a failure."""

    def __init__(self):
        self.next, self.failure = {}, []

    def saw(self, who, n):
        want = self.next.setdefault(who, 0)
        if n != want:
            self.failure.append(f"{who} saw {n} instead of {want}")
        self.next[who] = n + 1


def only_icmp(s):
    """A filter, so that a bulk transfer beside it does not fill the ring."""
    program = ((0x28, 0, 0, 0xfffff000), (0x15, 0, 3, 0x800), (0x30, 0, 0, 9), (0x15, 0, 1, 1), (0x06, 0, 0, 0xffff), (0x06, 0, 0, 0))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in program))
    s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", len(program), ctypes.addressof(code)))  # SO_ATTACH_FILTER


def drain(s, each):
    while True:
        try:
            data, name = s.recvfrom(65536)
        except BlockingIOError:
            return
        each(data, name)


def raw(host, stopping):
    ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    raw_ = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    only_icmp(tap)
    tap.bind((TAP, ETH_P_ALL))  # from now on it hears; before the filter, other traffic would fill its ring
    # They have a transport's protocol but nothing of the transport; nothing comes for them.
    bystanders = [socket.socket(socket.AF_INET, socket.SOCK_RAW, p) for p in (socket.IPPROTO_TCP, socket.IPPROTO_UDP)]
    for s in (ping, raw_, tap):
        s.setblocking(False)
    poller = select.poll()
    for s in (ping, raw_, tap):
        poller.register(s, select.POLLIN)
    readers, asked = Readers(), 0

    def on_ping(data, _):
        readers.saw("ping", number_of(data)[0])

    def on_raw(data, _):
        n, request = number_of(data[(data[0] & 15) * 4:])
        if n is not None and not request:
            readers.saw("raw", n)

    def on_tap(data, name):
        if name[1] != 0x0800 or data[9] != 1:
            return
        n, request = number_of(data[(data[0] & 15) * 4:])
        if n is not None:
            readers.saw("tap out" if request else "tap in", n)
            if request != (name[2] == PACKET_OUTGOING):
                readers.failure.append(f"tap: packet type {name[2]} of {n}")

    while not stopping.is_set() and len(readers.failure) < 5:
        # By turns through the one and the other; the replies to the raw socket's have an identifier that no ping socket has.
        odd = asked & 1
        (raw_ if odd else ping).sendto(echo(0, asked), (host, 0))
        if odd:
            readers.next["ping"] = asked + 1
        asked += 1
        for s in bystanders:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1 + asked % 200)
        while any(readers.next.get(w, 0) < asked for w in ("ping", "raw", "tap out", "tap in")):
            if not poller.poll(PATIENCE * 1000):
                readers.failure.append(f"nothing came for {PATIENCE} seconds: {readers.next} of {asked}")
                break
            drain(ping, on_ping)
            drain(raw_, on_raw)
            drain(tap, on_tap)
            if readers.failure:
                break
    right = not readers.failure
    print(json.dumps({"end": "raw", "right": right, "asked": asked, "failure": readers.failure}), flush=True)
    return right


def wire(device, stopping):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    s.bind((device, ETH_P_ALL))
    s.settimeout(0.2)
    print("listening", flush=True)
    seen, failure = 0, []
    while not stopping.is_set():
        try:
            data, name = s.recvfrom(65536)
        except socket.timeout:
            continue
        if name[1] != 0x0800 or data[9] != 1 or name[2] == PACKET_OUTGOING:
            continue
        n, request = number_of(data[(data[0] & 15) * 4:])
        if n is None or not request:
            continue
        if n != seen:
            failure.append(f"request {n} instead of {seen}")
        seen = n + 1
    print(json.dumps({"end": "wire", "right": not failure, "seen": seen, "failure": failure[:5]}), flush=True)
    return not failure
