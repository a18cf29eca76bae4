#!/usr/bin/env python3
"""Traffic for the fault tests: plain socket programs that know nothing of netd.

  traffic.py serve PORT BYTES            accept one connection, send and receive at once: BYTES, and more until SIGTERM
  traffic.py fetch HOST PORT BYTES       the other end of it; each says the SHA-256 of what it sent and of what it got
  traffic.py echo PORT                   echo single bytes until the peer closes
  traffic.py probe HOST PORT SECONDS [CALM]   a byte there and back, all the time; says "probing" when it begins, "start end"
                                         of each round over 1 ms, and how long each round of the first CALM seconds took
  traffic.py udp-recv PORT COUNT         numbered datagrams: reports lost, doubled and disordered ones
  traffic.py udp-send HOST PORT COUNT SECONDS   sends them, waiting for the receiver to keep up
  traffic.py flow-serve PORT             bytes both ways, checked as they come, until the peer ends
  traffic.py flow HOST PORT              the other end; ends on SIGTERM
  traffic.py hello-serve PORT            answer one number per connection with its successor; ends on SIGTERM
  traffic.py hello HOST PORT             connect, ask, check, close, again and again; ends on SIGTERM

  and rawtraffic.py's raw and wire, grouptraffic.py's group

Each prints one JSON line at its end and leaves with 0 only if all it saw was right.
"""
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

import grouptraffic
import rawtraffic

BLOCK = random.Random(42).randbytes(1 << 20)
stopping = threading.Event()


def block(i):
    cut = (i * 7919) % len(BLOCK)
    return BLOCK[cut:] + BLOCK[:cut]


def tune(conn):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn


def both_ways(conn, least, name):
    """At least so many bytes each way, and on until SIGTERM. Who compares is our caller: it has both ends' words."""
    sent, got = hashlib.sha256(), hashlib.sha256()
    count = {"sent": 0, "got": 0}
    failure = []

    def send():
        i = 0
        try:
            while count["sent"] < least or not stopping.is_set():
                part = block(i)
                conn.sendall(part)
                sent.update(part)
                count["sent"] += len(part)
                i += 1
            conn.shutdown(socket.SHUT_WR)
        except OSError as e:
            failure.append(f"send: {e}")

    sender = threading.Thread(target=send)
    start = last = time.monotonic()
    standstill = 0.0
    sender.start()
    buf = bytearray(1 << 18)
    try:
        while True:
            n = conn.recv_into(buf)
            now = time.monotonic()
            standstill, last = max(standstill, now - last), now
            if n == 0:
                break
            got.update(memoryview(buf)[:n])
            count["got"] += n
    except OSError as e:
        failure.append(f"recv: {e}")
        stopping.set()
    sender.join()
    print(json.dumps({"end": name, "right": not failure, "failure": failure, **count, "sha256_sent": sent.hexdigest(),
                      "sha256_got": got.hexdigest(), "seconds": round(last - start, 3), "standstill": round(standstill, 4)}), flush=True)
    return not failure


def listener(port):
    l = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.bind(("0.0.0.0", port))
    l.listen(64)
    print("listening", flush=True)
    return l


def serve(port, total):
    conn, _ = listener(port).accept()
    return both_ways(tune(conn), total, "serve")


def connect(host, port):
    return tune(socket.create_connection((host, port)))


def fetch(host, port, total):
    return both_ways(connect(host, port), total, "fetch")


def measuring():
    """What is measured is netd, not how long a busy machine lets this process wait for a processor."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pass


def echo(port):
    measuring()
    conn, _ = listener(port).accept()
    tune(conn)
    while True:
        b = conn.recv(64)
        if not b:
            return True
        conn.sendall(b)


def probe(host, port, seconds, calm):
    measuring()
    conn = connect(host, port)
    start = time.monotonic()
    rounds, slow, calm_rounds = 0, [], []
    print("probing", flush=True)
    while True:
        t0 = time.monotonic()
        if t0 > start + seconds:
            break
        conn.sendall(bytes([rounds & 255]))
        b = conn.recv(64)
        t1 = time.monotonic()
        if b != bytes([rounds & 255]):
            print(json.dumps({"end": "probe", "right": False, "rounds": rounds, "answer": len(b)}), flush=True)
            return False
        rounds += 1
        if t1 < start + calm:
            calm_rounds.append(round((t1 - t0) * 1000, 3))
        elif t1 - t0 > 0.001:
            slow.append((t0, t1))
        time.sleep(0.0002)
    print(json.dumps({"end": "probe", "right": True, "rounds": rounds, "slow": slow, "calm_ms": calm_rounds}), flush=True)
    return True


def udp_recv(port, total):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    print("listening", flush=True)
    seen, doubled, disordered, last = set(), 0, 0, -1
    s.settimeout(30)
    try:
        while len(seen) < total:
            data, peer = s.recvfrom(2048)
            (n,) = struct.unpack_from("!Q", data)
            if n in seen:
                doubled += 1
            seen.add(n)
            if n < last:
                disordered += 1
            last = n
            if n % 64 == 63:
                s.sendto(data[:8], peer)
    except socket.timeout:
        pass
    lost = total - len(seen)
    right = lost == 0 and doubled == 0
    print(json.dumps({"end": "udp-recv", "right": right, "lost": lost, "doubled": doubled, "disordered": disordered}), flush=True)
    return right


def udp_send(host, port, total, seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((host, port))
    s.settimeout(30)
    acked, start = -1, time.monotonic()
    doubled = 0
    for n in range(total):
        s.send(struct.pack("!Q", n) + b"x" * (n % 1000))
        if n % 64 == 63:
            while acked < n:
                (a,) = struct.unpack("!Q", s.recv(64))
                if a <= acked:
                    doubled += 1
                acked = a
        pace = start + seconds * n / total - time.monotonic()
        if pace > 0:
            time.sleep(pace)
    print(json.dumps({"end": "udp-send", "right": doubled == 0, "sent": total, "doubled": doubled}), flush=True)
    return doubled == 0


def flow_both(conn, name):
    """Like both_ways, without an end of its own: content is compared as it comes."""
    count = {"sent": 0, "got": 0}
    failure = []

    def send():
        i = 0
        try:
            while not stopping.is_set():
                part = block(i)[:65536]
                conn.sendall(part)
                count["sent"] += len(part)
                i += 1
            conn.shutdown(socket.SHUT_WR)
        except OSError as e:
            failure.append(f"send: {e}")

    sender = threading.Thread(target=send)
    sender.start()
    i, want = 0, b""
    try:
        while True:
            got = conn.recv(1 << 17)
            if not got:
                break
            count["got"] += len(got)
            while got:
                if not want:
                    want = block(i)[:65536]
                    i += 1
                n = min(len(want), len(got))
                if want[:n] != got[:n]:
                    failure.append(f"content differs near byte {count['got']}")
                    stopping.set()
                    return report_flow(name, count, failure)
                want, got = want[n:], got[n:]
    except OSError as e:
        failure.append(f"recv: {e}")
    stopping.set()
    sender.join()
    return report_flow(name, count, failure)


def report_flow(name, count, failure):
    print(json.dumps({"end": name, "right": not failure, "failure": failure, **count}), flush=True)
    return not failure


def flow_serve(port):
    conn, _ = listener(port).accept()
    return flow_both(tune(conn), "flow-serve")


def flow(host, port):
    return flow_both(connect(host, port), "flow")


def hello_serve(port):
    l = listener(port)
    served = 0
    l.settimeout(0.2)
    while not stopping.is_set():
        try:
            conn, _ = l.accept()
        except socket.timeout:
            continue
        conn.settimeout(60)
        n = conn.recv(8, socket.MSG_WAITALL)
        if len(n) == 8:
            conn.sendall(struct.pack("!Q", struct.unpack("!Q", n)[0] + 1))
            served += 1
        conn.close()
    print(json.dumps({"end": "hello-serve", "right": True, "served": served}), flush=True)
    return True


def hello(host, port):
    asked, failure = 0, []
    while not stopping.is_set():
        try:
            conn = socket.create_connection((host, port), timeout=60)
            conn.sendall(struct.pack("!Q", asked))
            answer = conn.recv(8, socket.MSG_WAITALL)
            rest = conn.recv(1)
            if answer != struct.pack("!Q", asked + 1) or rest:
                failure.append(f"request {asked}: answer {answer!r} rest {rest!r}")
            conn.close()
        except OSError as e:
            failure.append(f"request {asked}: {e}")
        asked += 1
        time.sleep(0.002)
        if len(failure) > 5:
            break
    print(json.dumps({"end": "hello", "right": not failure, "asked": asked, "failure": failure}), flush=True)
    return not failure


def main(a):
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    if a[0] == "flow-serve":
        return flow_serve(int(a[1]))
    if a[0] == "flow":
        return flow(a[1], int(a[2]))
    if a[0] == "hello-serve":
        return hello_serve(int(a[1]))
    if a[0] == "hello":
        return hello(a[1], int(a[2]))
    if a[0] == "raw":
        return rawtraffic.raw(a[1], stopping)
    if a[0] == "wire":
        return rawtraffic.wire(a[1], stopping)
    if a[0] == "group":
        return grouptraffic.group(a[1], stopping)
    if a[0] == "serve":
        return serve(int(a[1]), int(a[2]))
    if a[0] == "fetch":
        return fetch(a[1], int(a[2]), int(a[3]))
    if a[0] == "echo":
        return echo(int(a[1]))
    if a[0] == "probe":
        return probe(a[1], int(a[2]), float(a[3]), float(a[4]) if len(a) > 4 else 0)
    if a[0] == "udp-recv":
        return udp_recv(int(a[1]), int(a[2]))
    if a[0] == "udp-send":
        return udp_send(a[1], int(a[2]), int(a[3]), float(a[4]))
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
